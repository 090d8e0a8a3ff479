//! A pool of reusable sandboxes.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use fixfly_runtime::{
    Admission, Command, Host, Lifetime, Output, Permit, Process, Protection, Sandbox, SandboxError,
    SandboxSpec, WaitCount,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A host that keeps closed sandboxes, with their long-lived processes, and returns them
/// when an equal sandbox is opened.
///
/// This is sound only for [`Lifetime::Turn`], which means that actions leave nothing
/// behind: untrusted code runs in namespaces of its own inside the sandbox, which are
/// created for it and disappear with it. A sandbox of [`Lifetime::Episode`], and one in
/// which any call failed, is really closed.
///
/// If there is room, the pool opens another sandbox of the last single-use spec ahead of
/// time, so that the next caller need not wait.
///
/// At most `size` sandboxes exist at once, used and idle together. Opening another one
/// waits.
///
/// The pool also keeps the load of the machine within its [`Admission`], however large it is:
/// a sandbox of [`Lifetime::Turn`] is open only while a candidate runs, so it counts as running
/// until it is closed, and needs memory when it is new; in one of [`Lifetime::Episode`], each
/// command counts while it runs.
pub struct Pool {
    host: Arc<dyn Host>,
    leases: Arc<Semaphore>,
    idle: Arc<Mutex<Vec<Idle>>>,
    ahead: Arc<tokio::sync::Mutex<()>>,
    admission: Arc<Admission>,
    /// How many callers need memory that idle sandboxes must not take.
    short: Arc<WaitCount>,
    /// How many sandboxes are being opened, and how many were.
    opening: WaitCount,
    opened: AtomicUsize,
    /// A separate pool for verdicts, if another host reaches them.
    judge: Option<Arc<Pool>>,
}

struct Idle {
    spec: SandboxSpec,
    opened: Opened,
    /// The task that closed it: the next thing that it does often needs what this one
    /// prepared.
    closed_by: Option<tokio::task::Id>,
}

/// A sandbox, and the memory that was found for it.
struct Opened {
    sandbox: Box<dyn Sandbox>,
    memory: Option<Permit>,
}

impl Pool {
    /// Makes a pool of at most `size` sandboxes of `host`, and at least one, that keeps within
    /// what this machine has, if the sandboxes run here.
    pub fn new(host: Arc<dyn Host>, size: usize) -> Pool {
        let admission = match host.runs_here() {
            true => Admission::of_machine(),
            false => Admission::elsewhere(size),
        };
        Pool::within(admission, host, size)
    }

    /// Makes a pool that keeps within this admission.
    pub fn within(admission: Arc<Admission>, host: Arc<dyn Host>, size: usize) -> Pool {
        let judge = host.judge();
        let judge = judge.map(|judge| Arc::new(Pool::within(admission.clone(), judge, size)));
        let leases = Arc::new(Semaphore::new(size.max(1)));
        let (idle, ahead, short) = (Arc::default(), Arc::default(), Arc::default());
        let (opening, opened) = (WaitCount::default(), AtomicUsize::new(0));
        Pool { host, leases, idle, ahead, admission, short, opening, opened, judge }
    }

    /// How many sandboxes callers wait for, and how many they got.
    pub fn opened(&self) -> (usize, usize) {
        (self.opening.get(), self.opened.load(Ordering::Relaxed))
    }

    /// Opens a sandbox of the host for a caller.
    async fn open_now(&self, spec: &SandboxSpec) -> Result<Opened, SandboxError> {
        let memory = match spec.lifetime {
            Lifetime::Turn => Some(self.memory(spec.limits.memory_mb).await?),
            // Its attempt waited for memory before it asked.
            Lifetime::Episode => None,
        };
        let _start = self.admission.start().await;
        let opening = self.opening.enter();
        let sandbox = self.host.open(spec).await;
        drop(opening);
        self.opened.fetch_add(usize::from(sandbox.is_ok()), Ordering::Relaxed);
        Ok(Opened { sandbox: sandbox?, memory })
    }

    /// Finds memory for one more sandbox; closes idle ones if there is too little.
    async fn memory(&self, limit_mb: u64) -> Result<Permit, SandboxError> {
        if let Some(permit) = self.admission.try_memory(limit_mb) {
            return Ok(permit);
        }
        let _short = self.short.enter();
        let idle = std::mem::take(&mut *lock(&self.idle));
        close_all(idle).await?;
        Ok(self.admission.memory(limit_mb).await)
    }

    /// Closes the idle sandboxes, so that none of their processes is left.
    ///
    /// # Errors
    /// The first [`SandboxError`], after all sandboxes have been closed.
    pub async fn drain(&self) -> Result<(), SandboxError> {
        let judged = match &self.judge {
            Some(judge) => Box::pin(judge.drain()).await,
            None => Ok(()),
        };
        // From now on nothing is opened ahead, and what was being opened is finished.
        self.leases.close();
        let _ahead = self.ahead.lock().await;
        let idle = std::mem::take(&mut *lock(&self.idle));
        close_all(idle).await.and(judged)
    }

    /// Opens a sandbox of a single-use spec ahead of time, if there is room.
    fn open_ahead(&self, spec: &SandboxSpec) {
        if spec.lifetime == Lifetime::Turn {
            return;
        }
        let Ok(turn) = Arc::clone(&self.ahead).try_lock_owned() else { return };
        let Ok(lease) = Arc::clone(&self.leases).try_acquire_owned() else { return };
        let Some(start) = self.admission.try_start() else { return };
        let full = lock(&self.idle).len() > self.leases.available_permits();
        if full {
            return;
        }
        let (host, idle) = (Arc::clone(&self.host), Arc::clone(&self.idle));
        let spec = spec.clone();
        tokio::spawn(async move {
            if let Ok(sandbox) = host.open(&spec).await {
                let mut idle = lock(&idle);
                drop(lease);
                idle.push(Idle { spec, opened: Opened { sandbox, memory: None }, closed_by: None });
            }
            drop((turn, start));
        });
    }

    /// Takes an idle sandbox of this spec, and those that must be closed to make room.
    fn pick(&self, spec: &SandboxSpec) -> (Option<Opened>, Vec<Idle>) {
        let mut idle = lock(&self.idle);
        // What is on a machine that went down would fail the next caller.
        idle.retain(|idle| !idle.opened.sandbox.is_lost());
        let own = tokio::task::try_id();
        let is_own = |idle: &Idle| own.is_some() && idle.closed_by == own && idle.spec == *spec;
        let equal = idle.iter().rposition(is_own);
        let equal = equal.or_else(|| idle.iter().rposition(|idle| idle.spec == *spec));
        let found = equal.map(|at| idle.remove(at).opened);
        // No more are kept than could run at the same time.
        let room = self.leases.available_permits().min(self.admission.running_at_once());
        let surplus = idle.len().saturating_sub(room);
        (found, idle.drain(..surplus).collect())
    }
}

#[async_trait]
impl Host for Pool {
    async fn open(&self, spec: &SandboxSpec) -> Result<Box<dyn Sandbox>, SandboxError> {
        let (running, admission) = match spec.lifetime {
            Lifetime::Turn => (Some(self.admission.cpu().await), None),
            Lifetime::Episode => (None, Some(Arc::clone(&self.admission))),
        };
        let leases = Arc::clone(&self.leases);
        let lease =
            leases.acquire_owned().await.map_err(|why| SandboxError::Open(why.to_string()))?;
        let (found, surplus) = self.pick(spec);
        close_all(surplus).await?;
        let opened = match found {
            Some(opened) => opened,
            None => self.open_now(spec).await?,
        };
        self.open_ahead(spec);
        Ok(Box::new(Leased {
            opened,
            spec: spec.clone(),
            sound: Sound::default(),
            idle: Arc::clone(&self.idle),
            short: Arc::clone(&self.short),
            running,
            admission,
            lease,
        }))
    }

    fn isolation(&self) -> String {
        self.host.isolation()
    }

    async fn protections(&self) -> Vec<Protection> {
        self.host.protections().await
    }

    async fn offers(&self, image: &str) -> bool {
        self.host.offers(image).await
    }

    fn judge(&self) -> Option<Arc<dyn Host>> {
        self.judge.clone().map(|judge| judge as Arc<dyn Host>)
    }

    fn admission(&self) -> Option<Arc<Admission>> {
        Some(Arc::clone(&self.admission))
    }
}

async fn close_all(idle: Vec<Idle>) -> Result<(), SandboxError> {
    let mut closed = Ok(());
    for idle in idle {
        closed = closed.and(idle.opened.sandbox.close().await);
    }
    closed
}

fn lock(idle: &Mutex<Vec<Idle>>) -> MutexGuard<'_, Vec<Idle>> {
    idle.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits until a command may run, if each is admitted on its own.
async fn admitted(each: Option<&Arc<Admission>>) -> Option<Permit> {
    Some(each?.cpu().await)
}

/// A sandbox in use.
struct Leased {
    opened: Opened,
    spec: SandboxSpec,
    sound: Sound,
    idle: Arc<Mutex<Vec<Idle>>>,
    short: Arc<WaitCount>,
    /// The whole lease counts as running.
    running: Option<Permit>,
    /// Admits each command, unless the whole lease counts as running.
    admission: Option<Arc<Admission>>,
    lease: OwnedSemaphorePermit,
}

#[async_trait]
impl Sandbox for Leased {
    async fn exec(&self, command: &Command) -> Result<Output, SandboxError> {
        let _running = admitted(self.admission.as_ref()).await;
        self.sound.unless_err(self.opened.sandbox.exec(command).await)
    }

    async fn spawn(&self, name: &str, command: &Command) -> Result<Arc<dyn Process>, SandboxError> {
        let _running = admitted(self.admission.as_ref()).await;
        let process = self.sound.unless_err(self.opened.sandbox.spawn(name, command).await)?;
        let admission = self.admission.clone();
        Ok(Arc::new(Watched { process, sound: self.sound.clone(), admission }))
    }

    async fn read(&self, path: &str) -> Result<Vec<u8>, SandboxError> {
        self.sound.unless_err(self.opened.sandbox.read(path).await)
    }

    async fn write(&self, path: &str, bytes: &[u8]) -> Result<(), SandboxError> {
        self.sound.unless_err(self.opened.sandbox.write(path, bytes).await)
    }

    fn is_lost(&self) -> bool {
        self.opened.sandbox.is_lost()
    }

    async fn close(self: Box<Self>) -> Result<(), SandboxError> {
        let Leased { mut opened, spec, sound, idle, short, running, lease, .. } = *self;
        if spec.lifetime == Lifetime::Episode || !sound.holds() {
            return opened.sandbox.close().await;
        }
        if let Some(memory) = &mut opened.memory {
            memory.settle();
        }
        let needed = {
            // Under one lock, so that a caller that wakes up finds this sandbox.
            let mut idle = lock(&idle);
            drop(lease);
            match short.get() {
                0 => {
                    idle.push(Idle { spec, opened, closed_by: tokio::task::try_id() });
                    None
                }
                _ => Some(opened),
            }
        };
        drop(running);
        match needed {
            // Another caller needs its memory.
            Some(opened) => opened.sandbox.close().await,
            None => Ok(()),
        }
    }
}

/// A long-lived process of a leased sandbox.
struct Watched {
    process: Arc<dyn Process>,
    sound: Sound,
    /// Admits each question, unless the whole lease counts as running.
    admission: Option<Arc<Admission>>,
}

#[async_trait]
impl Process for Watched {
    async fn ask(&self, line: &str, timeout: Duration) -> Result<String, SandboxError> {
        let _running = admitted(self.admission.as_ref()).await;
        self.sound.unless_err(self.process.ask(line, timeout).await)
    }
}

/// Whether no call has failed.
#[derive(Clone, Default)]
struct Sound {
    lost: Arc<AtomicBool>,
}

impl Sound {
    fn unless_err<T>(&self, result: Result<T, SandboxError>) -> Result<T, SandboxError> {
        if result.is_err() {
            self.lost.store(true, Ordering::Relaxed);
        }
        result
    }

    fn holds(&self) -> bool {
        !self.lost.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, AtomicUsize};

    use fixfly_runtime::{Memory, Meter, Resource};

    use super::*;

    #[derive(Default)]
    struct Counted {
        opened: AtomicUsize,
        live: Arc<AtomicUsize>,
        lost: Arc<AtomicBool>,
        elsewhere: bool,
    }

    struct Place(Arc<AtomicUsize>, Arc<AtomicBool>, usize);

    impl Drop for Place {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::SeqCst);
        }
    }

    #[async_trait]
    impl Host for Counted {
        fn runs_here(&self) -> bool {
            !self.elsewhere
        }

        async fn open(&self, _: &SandboxSpec) -> Result<Box<dyn Sandbox>, SandboxError> {
            let number = self.opened.fetch_add(1, Ordering::SeqCst);
            self.live.fetch_add(1, Ordering::SeqCst);
            Ok(Box::new(Place(Arc::clone(&self.live), Arc::clone(&self.lost), number)))
        }

        fn isolation(&self) -> String {
            "none".into()
        }
    }

    #[async_trait]
    impl Sandbox for Place {
        async fn exec(&self, _: &Command) -> Result<Output, SandboxError> {
            Err(SandboxError::Open("broken".into()))
        }

        async fn spawn(&self, _: &str, _: &Command) -> Result<Arc<dyn Process>, SandboxError> {
            Err(SandboxError::Open("broken".into()))
        }

        async fn read(&self, _: &str) -> Result<Vec<u8>, SandboxError> {
            Ok(vec![self.2 as u8])
        }

        async fn write(&self, _: &str, _: &[u8]) -> Result<(), SandboxError> {
            Ok(())
        }

        fn is_lost(&self) -> bool {
            self.1.load(Ordering::SeqCst)
        }

        async fn close(self: Box<Self>) -> Result<(), SandboxError> {
            Ok(())
        }
    }

    /// A machine that always has memory.
    struct Plenty;

    impl Meter for Plenty {
        fn memory(&self) -> Option<Memory> {
            None
        }

        fn idle_cpus(&self) -> Option<f64> {
            None
        }
    }

    fn pool(host: Arc<dyn Host>, size: usize) -> Pool {
        Pool::within(Admission::new(4, Box::new(Plenty)), host, size)
    }

    fn spec(workdir: &str, lifetime: Lifetime) -> SandboxSpec {
        SandboxSpec { workdir: workdir.into(), lifetime, ..SandboxSpec::default() }
    }

    fn counts(host: &Counted) -> (usize, usize) {
        (host.opened.load(Ordering::SeqCst), host.live.load(Ordering::SeqCst))
    }

    #[tokio::test]
    async fn a_task_gets_the_sandbox_again_that_it_closed() {
        let pool = Arc::new(pool(Arc::new(Counted::default()), 2));
        let barrier = Arc::new(tokio::sync::Barrier::new(2));
        let numbers = |pool: Arc<Pool>, barrier: Arc<tokio::sync::Barrier>| async move {
            let mut numbers = Vec::new();
            for _ in 0..3 {
                let sandbox = pool.open(&spec("/a", Lifetime::Turn)).await.unwrap();
                numbers.push(sandbox.read("").await.unwrap()[0]);
                barrier.wait().await;
                sandbox.close().await.unwrap();
                barrier.wait().await;
            }
            numbers
        };
        let tasks = [0, 1].map(|_| tokio::spawn(numbers(Arc::clone(&pool), Arc::clone(&barrier))));
        for task in tasks {
            let numbers = task.await.unwrap();
            assert!(numbers.iter().all(|number| *number == numbers[0]), "{numbers:?}");
        }
    }

    #[tokio::test]
    async fn an_equal_sandbox_of_a_turn_is_used_again() {
        let host = Arc::new(Counted::default());
        let pool = pool(host.clone(), 2);
        for _ in 0..3 {
            pool.open(&spec("/a", Lifetime::Turn)).await.unwrap().close().await.unwrap();
        }
        assert_eq!(counts(&host), (1, 1));
        assert_eq!(pool.opened(), (0, 1), "none waits, and one was opened");
        pool.drain().await.unwrap();
        assert_eq!(counts(&host), (1, 0));
    }

    #[tokio::test]
    async fn a_sandbox_of_an_episode_is_closed() {
        let host = Arc::new(Counted::default());
        let pool = pool(host.clone(), 2);
        for _ in 0..3 {
            pool.open(&spec("/a", Lifetime::Episode)).await.unwrap().close().await.unwrap();
        }
        pool.drain().await.unwrap();
        assert_eq!(counts(&host).1, 0);
    }

    #[tokio::test]
    async fn one_that_is_used_once_is_opened_ahead_where_there_is_room() {
        for (size, ahead) in [(1, 0), (2, 1), (4, 1)] {
            let host = Arc::new(Counted::default());
            let pool = pool(host.clone(), size);
            let first = pool.open(&spec("/a", Lifetime::Episode)).await.unwrap();
            tokio::task::yield_now().await;
            assert_eq!(counts(&host), (1 + ahead, 1 + ahead), "{size}");
            first.close().await.unwrap();
            pool.open(&spec("/a", Lifetime::Episode)).await.unwrap().close().await.unwrap();
            pool.drain().await.unwrap();
            assert_eq!(counts(&host).1, 0);
        }
    }

    #[tokio::test]
    async fn a_sandbox_in_which_a_call_failed_is_closed() {
        let host = Arc::new(Counted::default());
        let pool = pool(host.clone(), 2);
        let sandbox = pool.open(&spec("/a", Lifetime::Turn)).await.unwrap();
        sandbox.exec(&Command::new(["x"])).await.unwrap_err();
        sandbox.close().await.unwrap();
        assert_eq!(counts(&host), (1, 0));
    }

    #[tokio::test]
    async fn an_idle_one_that_is_lost_is_not_used_again() {
        let host = Arc::new(Counted::default());
        let pool = pool(host.clone(), 2);
        pool.open(&spec("/a", Lifetime::Turn)).await.unwrap().close().await.unwrap();
        host.lost.store(true, Ordering::SeqCst);
        let other = pool.open(&spec("/a", Lifetime::Turn)).await.unwrap();
        assert_eq!(counts(&host), (2, 1));
        other.close().await.unwrap();
    }

    #[tokio::test]
    async fn an_idle_one_makes_room_for_another_spec_and_no_more_than_size_live() {
        let host = Arc::new(Counted::default());
        let pool = pool(host.clone(), 2);
        for workdir in ["/a", "/b", "/c", "/d"] {
            pool.open(&spec(workdir, Lifetime::Turn)).await.unwrap().close().await.unwrap();
            assert!(counts(&host).1 <= 2);
        }
        pool.open(&spec("/c", Lifetime::Turn)).await.unwrap().close().await.unwrap();
        assert_eq!(counts(&host), (4, 2));
    }

    #[tokio::test]
    async fn who_opens_too_many_waits_and_gets_the_one_given_back() {
        let host = Arc::new(Counted::default());
        let pool = Arc::new(pool(host.clone(), 1));
        let first = pool.open(&spec("/a", Lifetime::Turn)).await.unwrap();
        let waiting = tokio::spawn({
            let pool = Arc::clone(&pool);
            async move { pool.open(&spec("/a", Lifetime::Turn)).await.map(drop) }
        });
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished());
        first.close().await.unwrap();
        waiting.await.unwrap().unwrap();
        assert_eq!(counts(&host), (1, 0));
    }

    /// Opens a sandbox, if that needs no wait.
    async fn at_once(pool: &Pool, spec: &SandboxSpec) -> Option<Box<dyn Sandbox>> {
        let soon = tokio::time::timeout(Duration::from_secs(1), pool.open(spec));
        soon.await.ok().map(|opened| opened.unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn a_large_pool_runs_no_more_candidates_than_the_machine_can_take() {
        let host = Arc::new(Counted::default());
        let admission = Admission::new(2, Box::new(Plenty));
        let pool = Pool::within(admission.clone(), host.clone(), 256);
        let turn = spec("/a", Lifetime::Turn);
        let mut open = Vec::new();
        while let Some(sandbox) = at_once(&pool, &turn).await {
            open.push(sandbox);
        }
        assert_eq!((open.len(), counts(&host).1), (4, 4), "two per processor");
        let fifth = pool.open(&turn);
        let (fifth, ()) = tokio::join!(fifth, async {
            assert_eq!(admission.waiting()[0], (Resource::Cpu, 1));
            open.pop().unwrap().close().await.unwrap();
        });
        assert_eq!(counts(&host), (4, 4), "it got the one that was closed");
        drop((fifth, open));
    }

    #[tokio::test(start_paused = true)]
    async fn this_machine_limits_no_sandboxes_of_another_one() {
        let host = Arc::new(Counted { elsewhere: true, ..Counted::default() });
        let pool = Pool::new(host.clone(), 900);
        let turn = spec("/a", Lifetime::Turn);
        let mut open = Vec::new();
        while let Some(sandbox) = at_once(&pool, &turn).await {
            open.push(sandbox);
        }
        assert_eq!((open.len(), counts(&host).1), (900, 900));
    }

    #[tokio::test(start_paused = true)]
    async fn sandboxes_of_an_episode_wait_only_while_a_command_runs() {
        let host = Arc::new(Counted::default());
        let admission = Admission::new(1, Box::new(Plenty));
        let pool = Pool::within(admission.clone(), host.clone(), 64);
        let mut open = Vec::new();
        for _ in 0..9 {
            open.push(at_once(&pool, &spec("/a", Lifetime::Episode)).await.expect("it waits"));
        }
        let running = [admission.cpu().await, admission.cpu().await];
        let second = Duration::from_secs(1);
        let command = Command::new(["x"]);
        assert!(tokio::time::timeout(second, open[0].exec(&command)).await.is_err());
        drop(running);
        assert!(tokio::time::timeout(second, open[0].exec(&command)).await.is_ok());
    }

    /// A machine of 8 GiB, of which so many mebibytes are free.
    struct Free(Arc<AtomicU64>);

    impl Meter for Free {
        fn memory(&self) -> Option<Memory> {
            let available = self.0.load(Ordering::SeqCst) << 20;
            Some(Memory { total: 8 << 30, available })
        }

        fn idle_cpus(&self) -> Option<f64> {
            None
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_lacks_memory_gets_that_of_idle_sandboxes() {
        let host = Arc::new(Counted::default());
        let free = Arc::new(AtomicU64::new(0));
        let admission = Admission::new(4, Box::new(Free(free.clone())));
        let pool = Pool::within(admission, host.clone(), 8);
        let (a, b) = (spec("/a", Lifetime::Turn), spec("/b", Lifetime::Turn));
        let first = at_once(&pool, &a).await.expect("the first one needs no free memory");
        first.close().await.unwrap();
        let second = at_once(&pool, &b).await.expect("the idle one is closed for it");
        assert_eq!(counts(&host), (2, 1));
        assert!(at_once(&pool, &a).await.is_none(), "the other one is in use");
        let (third, ()) = tokio::join!(pool.open(&b), async {
            tokio::task::yield_now().await;
            second.close().await.unwrap();
        });
        assert_eq!(counts(&host), (3, 1), "it was closed, because its memory was needed");
        free.store(8192, Ordering::SeqCst);
        assert!(at_once(&pool, &a).await.is_some());
        drop(third);
    }
}
