//! A pool of reusable sandboxes.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use fixfly_runtime::{
    Command, Host, Lifetime, Output, Process, Protection, Sandbox, SandboxError, SandboxSpec,
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
pub struct Pool {
    host: Arc<dyn Host>,
    leases: Arc<Semaphore>,
    idle: Arc<Mutex<Vec<Idle>>>,
    ahead: Arc<tokio::sync::Mutex<()>>,
    /// How many sandboxes are being opened, and how many were.
    opening: AtomicUsize,
    opened: AtomicUsize,
    /// A separate pool for verdicts, if another host reaches them.
    judge: Option<Arc<Pool>>,
}

struct Idle {
    spec: SandboxSpec,
    sandbox: Box<dyn Sandbox>,
}

impl Pool {
    /// Makes a pool of at most `size` sandboxes of `host`, and at least one.
    pub fn new(host: Arc<dyn Host>, size: usize) -> Pool {
        let judge = host.judge().map(|judge| Arc::new(Pool::new(judge, size)));
        let leases = Arc::new(Semaphore::new(size.max(1)));
        let (idle, ahead) = (Arc::default(), Arc::default());
        let (opening, opened) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Pool { host, leases, idle, ahead, opening, opened, judge }
    }

    /// How many sandboxes callers wait for, and how many they got.
    pub fn opened(&self) -> (usize, usize) {
        (self.opening.load(Ordering::Relaxed), self.opened.load(Ordering::Relaxed))
    }

    /// Opens a sandbox of the host for a caller.
    async fn open_now(&self, spec: &SandboxSpec) -> Result<Box<dyn Sandbox>, SandboxError> {
        self.opening.fetch_add(1, Ordering::Relaxed);
        let sandbox = self.host.open(spec).await;
        self.opening.fetch_sub(1, Ordering::Relaxed);
        self.opened.fetch_add(usize::from(sandbox.is_ok()), Ordering::Relaxed);
        sandbox
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
        let Ok(turn) = Arc::clone(&self.ahead).try_lock_owned() else { return };
        let Ok(lease) = Arc::clone(&self.leases).try_acquire_owned() else { return };
        let full = lock(&self.idle).len() > self.leases.available_permits();
        if spec.lifetime == Lifetime::Turn || full {
            return;
        }
        let (host, idle) = (Arc::clone(&self.host), Arc::clone(&self.idle));
        let spec = spec.clone();
        tokio::spawn(async move {
            if let Ok(sandbox) = host.open(&spec).await {
                let mut idle = lock(&idle);
                drop(lease);
                idle.push(Idle { spec, sandbox });
            }
            drop(turn);
        });
    }

    /// Takes an idle sandbox of this spec, and those that must be closed to make room.
    fn pick(&self, spec: &SandboxSpec) -> (Option<Box<dyn Sandbox>>, Vec<Idle>) {
        let mut idle = lock(&self.idle);
        // What is on a machine that went down would fail the next caller.
        idle.retain(|idle| !idle.sandbox.is_lost());
        let equal = idle.iter().rposition(|idle| idle.spec == *spec);
        let found = equal.map(|at| idle.remove(at).sandbox);
        let surplus = idle.len().saturating_sub(self.leases.available_permits());
        (found, idle.drain(..surplus).collect())
    }
}

#[async_trait]
impl Host for Pool {
    async fn open(&self, spec: &SandboxSpec) -> Result<Box<dyn Sandbox>, SandboxError> {
        let leases = Arc::clone(&self.leases);
        let lease =
            leases.acquire_owned().await.map_err(|why| SandboxError::Open(why.to_string()))?;
        let (found, surplus) = self.pick(spec);
        close_all(surplus).await?;
        let sandbox = match found {
            Some(sandbox) => sandbox,
            None => self.open_now(spec).await?,
        };
        self.open_ahead(spec);
        let idle = Arc::clone(&self.idle);
        Ok(Box::new(Leased { sandbox, spec: spec.clone(), sound: Sound::default(), idle, lease }))
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
}

async fn close_all(idle: Vec<Idle>) -> Result<(), SandboxError> {
    let mut closed = Ok(());
    for idle in idle {
        closed = closed.and(idle.sandbox.close().await);
    }
    closed
}

fn lock(idle: &Mutex<Vec<Idle>>) -> MutexGuard<'_, Vec<Idle>> {
    idle.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A sandbox in use.
struct Leased {
    sandbox: Box<dyn Sandbox>,
    spec: SandboxSpec,
    sound: Sound,
    idle: Arc<Mutex<Vec<Idle>>>,
    lease: OwnedSemaphorePermit,
}

#[async_trait]
impl Sandbox for Leased {
    async fn exec(&self, command: &Command) -> Result<Output, SandboxError> {
        self.sound.unless_err(self.sandbox.exec(command).await)
    }

    async fn spawn(&self, name: &str, command: &Command) -> Result<Arc<dyn Process>, SandboxError> {
        let process = self.sound.unless_err(self.sandbox.spawn(name, command).await)?;
        Ok(Arc::new(Watched { process, sound: self.sound.clone() }))
    }

    async fn read(&self, path: &str) -> Result<Vec<u8>, SandboxError> {
        self.sound.unless_err(self.sandbox.read(path).await)
    }

    async fn write(&self, path: &str, bytes: &[u8]) -> Result<(), SandboxError> {
        self.sound.unless_err(self.sandbox.write(path, bytes).await)
    }

    fn is_lost(&self) -> bool {
        self.sandbox.is_lost()
    }

    async fn close(self: Box<Self>) -> Result<(), SandboxError> {
        let Leased { sandbox, spec, sound, idle, lease } = *self;
        if spec.lifetime == Lifetime::Episode || !sound.holds() {
            return sandbox.close().await;
        }
        // Under one lock, so that a caller that wakes up finds this sandbox.
        let mut idle = lock(&idle);
        drop(lease);
        idle.push(Idle { spec, sandbox });
        Ok(())
    }
}

/// A long-lived process of a leased sandbox.
struct Watched {
    process: Arc<dyn Process>,
    sound: Sound,
}

#[async_trait]
impl Process for Watched {
    async fn ask(&self, line: &str, timeout: Duration) -> Result<String, SandboxError> {
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
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[derive(Default)]
    struct Counted {
        opened: AtomicUsize,
        live: Arc<AtomicUsize>,
        lost: Arc<AtomicBool>,
    }

    struct Place(Arc<AtomicUsize>, Arc<AtomicBool>);

    impl Drop for Place {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::SeqCst);
        }
    }

    #[async_trait]
    impl Host for Counted {
        async fn open(&self, _: &SandboxSpec) -> Result<Box<dyn Sandbox>, SandboxError> {
            self.opened.fetch_add(1, Ordering::SeqCst);
            self.live.fetch_add(1, Ordering::SeqCst);
            Ok(Box::new(Place(Arc::clone(&self.live), Arc::clone(&self.lost))))
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
            Ok(Vec::new())
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

    fn spec(workdir: &str, lifetime: Lifetime) -> SandboxSpec {
        SandboxSpec { workdir: workdir.into(), lifetime, ..SandboxSpec::default() }
    }

    fn counts(host: &Counted) -> (usize, usize) {
        (host.opened.load(Ordering::SeqCst), host.live.load(Ordering::SeqCst))
    }

    #[tokio::test]
    async fn an_equal_sandbox_of_a_turn_is_used_again() {
        let host = Arc::new(Counted::default());
        let pool = Pool::new(host.clone(), 2);
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
        let pool = Pool::new(host.clone(), 2);
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
            let pool = Pool::new(host.clone(), size);
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
        let pool = Pool::new(host.clone(), 2);
        let sandbox = pool.open(&spec("/a", Lifetime::Turn)).await.unwrap();
        sandbox.exec(&Command::new(["x"])).await.unwrap_err();
        sandbox.close().await.unwrap();
        assert_eq!(counts(&host), (1, 0));
    }

    #[tokio::test]
    async fn an_idle_one_that_is_lost_is_not_used_again() {
        let host = Arc::new(Counted::default());
        let pool = Pool::new(host.clone(), 2);
        pool.open(&spec("/a", Lifetime::Turn)).await.unwrap().close().await.unwrap();
        host.lost.store(true, Ordering::SeqCst);
        let other = pool.open(&spec("/a", Lifetime::Turn)).await.unwrap();
        assert_eq!(counts(&host), (2, 1));
        other.close().await.unwrap();
    }

    #[tokio::test]
    async fn an_idle_one_makes_room_for_another_spec_and_no_more_than_size_live() {
        let host = Arc::new(Counted::default());
        let pool = Pool::new(host.clone(), 2);
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
        let pool = Arc::new(Pool::new(host.clone(), 1));
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
}
