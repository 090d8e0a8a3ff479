//! Admits work to what a machine has little of, and names what a run waits for.
//!
//! [`Admission`] limits what this machine has: processors, memory and sandboxes that start at
//! the same time. Requests and tokens a minute, money and cells of a key-value cache have
//! owners of their own, in the policies, that count who waits for them in the same terms
//! ([`Resource`]). Nothing here reads a clock: [`Admission::refresh`] is called from outside.

mod meter;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use meter::{Elsewhere, Linux};
pub use meter::{Memory, Meter};

/// Candidates and commands that run at the same time, per processor: some of them wait for a
/// disk or for a time limit.
const RUNNING_PER_CPU: usize = 2;
/// How many run per processor at most, where processors stay idle because commands sleep.
const SLEEPING_PER_CPU: usize = 8;
/// Sandboxes that start at the same time, at least.
const MIN_STARTS: usize = 2;
/// The part of the memory that stays free for one more sandbox, if its limit is not smaller.
const RESERVED_PART: u64 = 8;

/// Something that an episode waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resource {
    /// Requests that a model's server takes, a minute or at the same time.
    Requests,
    /// Tokens that a model's server takes in a minute.
    Tokens,
    /// Money that is reserved for calls in flight.
    Money,
    /// Cells of a local model's key-value cache.
    KvCells,
    /// Processors.
    Cpu,
    /// Memory for one more sandbox.
    Memory,
    /// Sandboxes that start at the same time.
    Starts,
}

impl Resource {
    /// Its name in progress lines.
    pub fn name(self) -> &'static str {
        match self {
            Resource::Requests => "the server's limit of requests",
            Resource::Tokens => "the server's limit of tokens per minute",
            Resource::Money => "the spend limit",
            Resource::KvCells => "the model's key-value cache",
            Resource::Cpu => "CPU",
            Resource::Memory => "memory",
            Resource::Starts => "sandboxes that start",
        }
    }
}

/// The resource that most episodes wait for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limiting {
    /// The resource.
    pub resource: Resource,
    /// The number of episodes that wait for it.
    pub waiting: usize,
}

impl Limiting {
    /// Finds it among counts of who waits for what; `None` if nobody waits.
    pub fn of(counts: impl IntoIterator<Item = (Resource, usize)>) -> Option<Limiting> {
        let mut sums = BTreeMap::<Resource, usize>::new();
        for (resource, waiting) in counts {
            *sums.entry(resource).or_default() += waiting;
        }
        let waiting = sums.into_iter().filter(|(_, waiting)| *waiting > 0);
        let most = waiting.rev().max_by_key(|(_, waiting)| *waiting);
        most.map(|(resource, waiting)| Limiting { resource, waiting })
    }
}

impl fmt::Display for Limiting {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Limiting { resource, waiting } = self;
        let episodes = if *waiting == 1 { "episode" } else { "episodes" };
        write!(to, "waiting for {}: {waiting} {episodes}", resource.name())
    }
}

/// Counts who waits for a resource.
#[derive(Debug, Default)]
pub struct WaitCount(AtomicUsize);

/// Somebody who waits, until this is dropped.
#[derive(Debug)]
pub struct Waiting<'a>(&'a WaitCount);

impl WaitCount {
    /// Counts one more until the result is dropped.
    pub fn enter(&self) -> Waiting<'_> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Waiting(self)
    }

    /// The number of those who wait.
    pub fn get(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Admits work to processors, memory and starts of sandboxes.
pub struct Admission {
    cpus: usize,
    cpu: Arc<Semaphore>,
    starts: Arc<Semaphore>,
    /// Held by the one that gets memory next.
    next: tokio::sync::Mutex<()>,
    state: Mutex<State>,
    /// Memory may have become free.
    freed: Notify,
    meter: Box<dyn Meter>,
    waiting: [WaitCount; 3],
}

#[derive(Debug, Default)]
struct State {
    /// Permits for processors beyond the usual number, because processors were idle.
    extra: usize,
    /// Whether no processor was idle at the last measurement.
    busy: bool,
    /// Sandboxes that memory was found for.
    sandboxes: usize,
    /// Those of them that may not have taken their memory yet, so that no measurement shows it.
    young: usize,
}

/// A share of a resource; dropping it gives it back.
#[must_use = "dropping it gives it back"]
pub struct Permit {
    admission: Arc<Admission>,
    held: Held,
}

enum Held {
    Cpu(Option<OwnedSemaphorePermit>),
    Start { _permit: OwnedSemaphorePermit },
    Memory { is_young: bool },
}

impl Permit {
    /// Call this when a sandbox has run something: its memory is in the measurements now.
    pub fn settle(&mut self) {
        if let Held::Memory { is_young: is_young @ true } = &mut self.held {
            *is_young = false;
            self.admission.state().young -= 1;
        }
    }
}

impl Admission {
    /// Admits work to this machine.
    pub fn of_machine() -> Arc<Admission> {
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        Admission::new(cpus, Box::new(Linux::default()))
    }

    /// Admits work to other machines, which limit it themselves: so many sandboxes, however
    /// many start at once.
    pub fn elsewhere(sandboxes: usize) -> Arc<Admission> {
        Admission::new(sandboxes, Box::new(Elsewhere))
    }

    /// Admits work to a machine with so many processors that the meter measures.
    pub fn new(cpus: usize, meter: Box<dyn Meter>) -> Arc<Admission> {
        let cpus = cpus.max(1);
        Arc::new(Admission {
            cpus,
            cpu: Arc::new(Semaphore::new(cpus * RUNNING_PER_CPU)),
            starts: Arc::new(Semaphore::new(cpus.max(MIN_STARTS))),
            next: tokio::sync::Mutex::default(),
            state: Mutex::default(),
            freed: Notify::new(),
            meter,
            waiting: Default::default(),
        })
    }

    /// Candidates and commands that run at the same time while none of them sleeps.
    pub fn running_at_once(&self) -> usize {
        self.cpus * RUNNING_PER_CPU
    }

    /// Waits until a candidate or a command may run.
    pub async fn cpu(self: &Arc<Self>) -> Permit {
        let permit = permit(&self.cpu, self.count(Resource::Cpu)).await;
        Permit { admission: self.clone(), held: Held::Cpu(Some(permit)) }
    }

    /// Waits until a sandbox may start.
    pub async fn start(self: &Arc<Self>) -> Permit {
        let permit = permit(&self.starts, self.count(Resource::Starts)).await;
        Permit { admission: self.clone(), held: Held::Start { _permit: permit } }
    }

    /// The same, without waiting.
    pub fn try_start(self: &Arc<Self>) -> Option<Permit> {
        let permit = self.starts.clone().try_acquire_owned().ok()?;
        Some(Permit { admission: self.clone(), held: Held::Start { _permit: permit } })
    }

    /// Waits until there is memory for one more sandbox, of this limit in mebibytes: as much
    /// as its limit, or an eighth of the machine's memory if that is less. The first one
    /// never waits, so work always continues.
    pub async fn memory(self: &Arc<Self>, limit_mb: u64) -> Permit {
        let waiting = self.count(Resource::Memory);
        // Nobody overtakes those who wait.
        if waiting.get() > 0 || !self.take_memory(limit_mb) {
            let _waiting = waiting.enter();
            let _next = self.next.lock().await;
            loop {
                let freed = self.freed.notified();
                if self.take_memory(limit_mb) {
                    break;
                }
                freed.await;
            }
        }
        Permit { admission: self.clone(), held: Held::Memory { is_young: true } }
    }

    /// The same, without waiting; `None` if there is too little, or if others wait for it.
    pub fn try_memory(self: &Arc<Self>, limit_mb: u64) -> Option<Permit> {
        let is_free = self.count(Resource::Memory).get() == 0 && self.take_memory(limit_mb);
        let held = Held::Memory { is_young: true };
        is_free.then(|| Permit { admission: self.clone(), held })
    }

    fn take_memory(&self, limit_mb: u64) -> bool {
        let measured = self.meter.memory();
        let mut state = self.state();
        let has_room = measured.is_none_or(|Memory { total, available }| {
            let needed = limit_mb.saturating_mul(1 << 20).min(total / RESERVED_PART);
            available >= needed.saturating_mul(state.young as u64 + 1)
        });
        let taken = has_room || state.sandboxes == 0;
        state.sandboxes += usize::from(taken);
        state.young += usize::from(taken);
        taken
    }

    /// Measures again; called now and then. Admits more work if processors were idle although
    /// somebody waits for one.
    pub fn refresh(&self) {
        let idle = self.meter.idle_cpus().unwrap_or_default();
        let waiting = self.count(Resource::Cpu).get();
        let mut state = self.state();
        state.busy = idle < 0.5;
        let room = self.cpus * (SLEEPING_PER_CPU - RUNNING_PER_CPU) - state.extra;
        let more = (idle as usize).min(waiting).min(room);
        state.extra += more;
        drop(state);
        self.cpu.add_permits(more);
        self.freed.notify_waiters();
    }

    /// How many wait for what.
    pub fn waiting(&self) -> [(Resource, usize); 3] {
        [Resource::Cpu, Resource::Memory, Resource::Starts]
            .map(|resource| (resource, self.count(resource).get()))
    }

    fn count(&self, resource: Resource) -> &WaitCount {
        &self.waiting[match resource {
            Resource::Cpu => 0,
            Resource::Memory => 1,
            _ => 2,
        }]
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The next permit, first come, first served.
async fn permit(of: &Arc<Semaphore>, count: &WaitCount) -> OwnedSemaphorePermit {
    if let Ok(permit) = of.clone().try_acquire_owned() {
        return permit;
    }
    let _waiting = count.enter();
    match of.clone().acquire_owned().await {
        Ok(permit) => permit,
        Err(_) => unreachable!("it is never closed"),
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut state = self.admission.state();
        match &mut self.held {
            Held::Cpu(permit) if state.busy && state.extra > 0 => {
                state.extra -= 1;
                if let Some(permit) = permit.take() {
                    permit.forget();
                }
            }
            Held::Cpu(_) | Held::Start { .. } => {}
            Held::Memory { is_young } => {
                state.sandboxes -= 1;
                state.young -= usize::from(*is_young);
                self.admission.freed.notify_waiters();
            }
        }
    }
}

impl fmt::Debug for Admission {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        to.debug_struct("Admission").field("cpus", &self.cpus).finish_non_exhaustive()
    }
}

#[cfg(test)]
pub(crate) mod tests;
