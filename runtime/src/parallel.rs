//! Runs a limited number of futures in parallel.

use std::collections::VecDeque;
use std::iter::Fuse;
use std::sync::{Mutex, PoisonError};

use tokio::task::{JoinError, JoinSet};

/// Work in ranges of neighbours, one for each worker. Neighbours have preparations in common,
/// which a worker's sandbox keeps.
pub struct Ranges<T>(Mutex<Vec<VecDeque<T>>>);

impl<T> Ranges<T> {
    /// Divides the work evenly.
    pub fn new(work: Vec<T>, workers: usize) -> Self {
        let (total, workers) = (work.len(), workers.max(1));
        let mut work = work.into_iter();
        let size = |worker| (worker + 1) * total / workers - worker * total / workers;
        Ranges(Mutex::new(
            (0..workers).map(|worker| work.by_ref().take(size(worker)).collect()).collect(),
        ))
    }

    /// The next work of a worker. When its range is empty, it takes over the second half of
    /// the longest one.
    pub fn next(&self, worker: usize) -> Option<T> {
        let mut ranges = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(next) = ranges.get_mut(worker)?.pop_front() {
            return Some(next);
        }
        let longest = ranges.iter_mut().max_by_key(|range| range.len())?;
        let mut taken = longest.split_off(longest.len() / 2);
        let next = taken.pop_front();
        ranges[worker] = taken;
        next
    }
}

/// Runs the futures of an iterator as tasks, at most `jobs` at a time. Outputs come in the
/// order of completion; a panic becomes an error. Dropping this aborts the running tasks.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use fixfly_runtime::Parallel;
///
/// let mut squares = Parallel::new(2, (1..=3).map(|number| async move { number * number }));
/// let mut sum = 0;
/// while let Some(square) = squares.next().await {
///     sum += square.expect("no panic");
/// }
/// assert_eq!(sum, 14);
/// # }
/// ```
pub struct Parallel<I: Iterator<Item: Future>> {
    jobs: usize,
    waiting: Fuse<I>,
    added: VecDeque<I::Item>,
    stopped: bool,
    running: JoinSet<<I::Item as Future>::Output>,
}

impl<I> Parallel<I>
where
    I: Iterator<Item: Future<Output: Send + 'static> + Send + 'static>,
{
    /// Takes a future from `waiting` only when it can start.
    pub fn new(jobs: usize, waiting: I) -> Self {
        Parallel {
            jobs: jobs.max(1),
            waiting: waiting.fuse(),
            added: VecDeque::new(),
            stopped: false,
            running: JoinSet::new(),
        }
    }

    /// Starts what can start and waits for the next output; `None` if nothing is running.
    /// Cancelling this call loses nothing.
    pub async fn next(&mut self) -> Option<Result<<I::Item as Future>::Output, JoinError>> {
        while !self.stopped
            && self.running.len() < self.jobs
            && let Some(work) = self.waiting.next().or_else(|| self.added.pop_front())
        {
            self.running.spawn(work);
        }
        self.running.join_next().await
    }

    /// Adds a future, which starts after all others.
    pub fn add(&mut self, work: I::Item) {
        self.added.push_back(work);
    }

    /// Starts no more futures.
    pub fn stop(&mut self) {
        self.stopped = true;
    }

    /// The number of running futures.
    pub fn running(&self) -> usize {
        self.running.len()
    }

    /// Starts no more futures and aborts the running ones. Returns their number.
    pub async fn abort(&mut self) -> usize {
        self.stop();
        let running = self.running.len();
        self.running.shutdown().await;
        running
    }

    /// The number of futures that were never started.
    pub fn unstarted(self) -> usize {
        self.waiting.count() + self.added.len()
    }
}

#[cfg(test)]
mod tests {
    use std::pin::Pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;
    use std::vec;

    use super::*;

    /// The number of futures that are running, and the highest that it was.
    #[derive(Default)]
    struct Gauge {
        now: AtomicUsize,
        most: AtomicUsize,
    }

    impl Gauge {
        fn enter(self: Arc<Self>) -> Inside {
            let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
            self.most.fetch_max(now, Ordering::SeqCst);
            Inside(self)
        }
    }

    struct Inside(Arc<Gauge>);

    impl Drop for Inside {
        fn drop(&mut self) {
            self.0.now.fetch_sub(1, Ordering::SeqCst);
        }
    }

    async fn sleep(milliseconds: u64) -> u64 {
        tokio::time::sleep(Duration::from_millis(milliseconds)).await;
        milliseconds
    }

    /// Sleeps for these milliseconds, `jobs` at a time, and compares the order in which the
    /// sleeps end.
    async fn check(jobs: usize, sleeps: &[u64], expected: &[u64], most: usize) {
        let gauge = Arc::new(Gauge::default());
        let work = sleeps.iter().map(|milliseconds| {
            let (gauge, milliseconds) = (gauge.clone(), *milliseconds);
            async move {
                let _inside = gauge.enter();
                sleep(milliseconds).await
            }
        });
        let mut work = Parallel::new(jobs, work);
        let mut ended = Vec::new();
        while let Some(one) = work.next().await {
            ended.push(one.unwrap());
        }
        assert_eq!(ended, expected, "{jobs} jobs");
        assert_eq!(gauge.most.load(Ordering::SeqCst), most, "{jobs} jobs");
    }

    #[tokio::test(start_paused = true)]
    async fn outputs_come_in_the_order_of_completion() {
        check(1, &[30, 10, 20], &[30, 10, 20], 1).await;
        check(2, &[30, 10, 15], &[10, 15, 30], 2).await;
        check(8, &[30, 10, 20], &[10, 20, 30], 3).await;
        check(0, &[20, 10], &[20, 10], 1).await;
        check(4, &[], &[], 0).await;
    }

    #[tokio::test(start_paused = true)]
    async fn futures_are_taken_only_when_they_can_start() {
        let taken = AtomicUsize::new(0);
        let mut work = Parallel::new(
            2,
            (0..5).map(|_| {
                taken.fetch_add(1, Ordering::SeqCst);
                sleep(1)
            }),
        );
        work.next().await.unwrap().unwrap();
        assert_eq!(taken.load(Ordering::SeqCst), 2);
        work.next().await.unwrap().unwrap();
        assert_eq!(taken.load(Ordering::SeqCst), 3);
    }

    #[tokio::test]
    async fn a_panic_is_an_error_and_costs_one_output() {
        let mut work = Parallel::new(
            1,
            [1, 0, 2].into_iter().map(|number: u32| async move {
                assert!(number > 0, "a bug");
                number
            }),
        );
        assert_eq!(work.next().await.unwrap().unwrap(), 1);
        let bug = work.next().await.unwrap().unwrap_err().to_string();
        assert!(bug.contains("a bug"), "{bug}");
        assert_eq!(work.next().await.unwrap().unwrap(), 2);
        assert!(work.next().await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn added_futures_start_last() {
        let mut work = Parallel::new(1, [3, 2].map(sleep).into_iter());
        assert_eq!(work.next().await.unwrap().unwrap(), 3);
        work.add(sleep(1));
        assert_eq!(work.next().await.unwrap().unwrap(), 2);
        assert_eq!(work.next().await.unwrap().unwrap(), 1);
        assert!(work.next().await.is_none());
        work.add(sleep(4));
        assert_eq!(work.next().await.unwrap().unwrap(), 4, "also after the others ended");
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_stop_what_runs_ends_and_the_rest_is_unstarted() {
        let mut work = Parallel::new(2, [1, 2, 3, 4].map(sleep).into_iter());
        assert_eq!(work.next().await.unwrap().unwrap(), 1);
        work.stop();
        work.add(sleep(5));
        assert_eq!(work.running(), 1);
        assert_eq!(work.next().await.unwrap().unwrap(), 2);
        assert!(work.next().await.is_none());
        assert_eq!(work.unstarted(), 3);
    }

    type Boxed = Pin<Box<dyn Future<Output = ()> + Send>>;

    /// Two futures that never end, and one that waits.
    async fn endless(gauge: &Arc<Gauge>) -> Parallel<vec::IntoIter<Boxed>> {
        let one = |gauge: Arc<Gauge>| -> Boxed {
            Box::pin(async move {
                let _inside = gauge.enter();
                std::future::pending().await
            })
        };
        let all = vec![one(gauge.clone()), one(gauge.clone()), one(gauge.clone())];
        let mut work = Parallel::new(2, all.into_iter());
        let second = Duration::from_secs(1);
        assert!(tokio::time::timeout(second, work.next()).await.is_err());
        work
    }

    #[tokio::test(start_paused = true)]
    async fn an_abort_ends_what_runs() {
        let gauge = Arc::new(Gauge::default());
        let mut work = endless(&gauge).await;
        assert_eq!(gauge.now.load(Ordering::SeqCst), 2);
        assert_eq!(work.abort().await, 2);
        assert_eq!(gauge.now.load(Ordering::SeqCst), 0);
        assert!(work.next().await.is_none());
        assert_eq!(work.unstarted(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn dropping_it_ends_what_runs() {
        let gauge = Arc::new(Gauge::default());
        let work = endless(&gauge).await;
        assert_eq!(gauge.now.load(Ordering::SeqCst), 2);
        drop(work);
        tokio::task::yield_now().await;
        assert_eq!(gauge.now.load(Ordering::SeqCst), 0);
    }

    #[test]
    fn a_worker_takes_its_range_and_then_half_of_the_longest() {
        let ranges = Ranges::new((0..10).collect(), 3);
        let taken: Vec<i32> = std::iter::from_fn(|| ranges.next(0)).take(5).collect();
        assert_eq!(taken, [0, 1, 2, 8, 9]);
        let turns = [1, 2, 1, 2, 1, 2];
        let rest: Vec<Option<i32>> = turns.map(|worker| ranges.next(worker)).into();
        assert_eq!(rest, [Some(3), Some(6), Some(4), Some(7), Some(5), None]);
        assert_eq!(Ranges::new(vec![1], 4).next(3), Some(1));
        assert_eq!(Ranges::<i32>::new(Vec::new(), 0).next(0), None);
    }
}
