use std::pin::pin;
use std::sync::atomic::AtomicU64;
use std::task::{Context, Poll, Waker};

use super::*;

/// A machine of 8 GiB, of which tests say what is free and idle.
#[derive(Default)]
struct Machine {
    available_mb: AtomicU64,
    idle_tenths: AtomicU64,
}

impl Meter for Arc<Machine> {
    fn memory(&self) -> Option<Memory> {
        let available = self.available_mb.load(Ordering::SeqCst) << 20;
        Some(Memory { total: 8 << 30, available })
    }

    fn idle_cpus(&self) -> Option<f64> {
        Some(self.idle_tenths.load(Ordering::SeqCst) as f64 / 10.0)
    }
}

fn machine(cpus: usize, available_mb: u64) -> (Arc<Machine>, Arc<Admission>) {
    let machine = Arc::new(Machine { available_mb: available_mb.into(), ..Machine::default() });
    (machine.clone(), Admission::new(cpus, Box::new(machine)))
}

/// Whether it is done when it is polled once.
pub(crate) fn is_ready<T>(future: std::pin::Pin<&mut impl Future<Output = T>>) -> Option<T> {
    match future.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => Some(done),
        Poll::Pending => None,
    }
}

#[test]
fn no_more_commands_run_than_processors_can_take_and_the_others_are_counted() {
    let (_, admission) = machine(2, 8192);
    assert_eq!(admission.running_at_once(), 4);
    let mut running: Vec<_> =
        (0..4).map(|_| is_ready(pin!(admission.cpu())).expect("there is room")).collect();
    let mut fifth = pin!(admission.cpu());
    assert!(is_ready(fifth.as_mut()).is_none());
    assert_eq!(admission.waiting()[0], (Resource::Cpu, 1));
    {
        let mut sixth = Box::pin(admission.cpu());
        assert!(is_ready(sixth.as_mut()).is_none());
        assert_eq!(admission.waiting()[0], (Resource::Cpu, 2));
    }
    assert_eq!(admission.waiting()[0], (Resource::Cpu, 1), "one stopped waiting");
    running.pop();
    let _fifth = is_ready(fifth).expect("a permit was given back");
    assert_eq!(admission.waiting()[0], (Resource::Cpu, 0));
}

#[test]
fn idle_processors_admit_more_and_busy_ones_take_it_back() {
    let (machine, admission) = machine(2, 8192);
    let idle = |tenths| {
        machine.idle_tenths.store(tenths, Ordering::SeqCst);
        admission.refresh();
    };
    idle(20);
    let mut running: Vec<_> = (0..4).map(|_| is_ready(pin!(admission.cpu())).unwrap()).collect();
    let mut fifth = pin!(admission.cpu());
    assert!(is_ready(fifth.as_mut()).is_none(), "nobody waited, so nothing was added");
    idle(4);
    assert!(is_ready(fifth.as_mut()).is_none(), "less than a processor is idle");
    idle(19);
    running.push(is_ready(fifth).expect("one more"));
    idle(0);
    running.pop();
    let mut next = pin!(admission.cpu());
    assert!(is_ready(next.as_mut()).is_none(), "four run again");

    let mut others: Vec<_> = (0..30).map(|_| Box::pin(admission.cpu())).collect();
    assert!(others.iter_mut().all(|one| is_ready(one.as_mut()).is_none()));
    (0..30).for_each(|_| idle(20));
    let mut admitted: Vec<Permit> = is_ready(next).into_iter().collect();
    admitted.extend(others.iter_mut().filter_map(|one| is_ready(one.as_mut())));
    assert_eq!(admitted.len(), 12, "at most eight per processor, even if all sleep");
}

#[test]
fn sandboxes_wait_for_memory_but_the_first_one_never_does() {
    let (machine, admission) = machine(2, 100);
    let mut first = is_ready(pin!(admission.memory(4096))).expect("the first one");
    let mut second = pin!(admission.memory(4096));
    assert!(is_ready(second.as_mut()).is_none());
    assert!(admission.try_memory(1).is_none(), "nobody overtakes");
    assert_eq!(admission.waiting()[1], (Resource::Memory, 1));
    // An eighth of 8 GiB is less than the limit of 4 GiB. What the first one takes is not
    // measured yet, so it counts once more.
    machine.available_mb.store(2047, Ordering::SeqCst);
    admission.freed.notify_waiters();
    assert!(is_ready(second.as_mut()).is_none());
    first.settle();
    admission.refresh();
    let mut second = is_ready(second).expect("its memory was measured");
    assert_eq!(admission.waiting()[1], (Resource::Memory, 0));
    assert!(admission.try_memory(4096).is_none());
    second.settle();
    second.settle();
    let third = admission.try_memory(4096).expect("enough is free");
    assert!(admission.try_memory(256).is_some(), "a small limit needs less");
    machine.available_mb.store(0, Ordering::SeqCst);
    drop((first, second));
    assert!(admission.try_memory(256).is_none(), "the third is there");
    drop(third);
    assert!(admission.try_memory(256).is_some(), "nothing runs");
}

#[test]
fn as_many_sandboxes_start_at_once_as_there_are_processors() {
    for (cpus, expected) in [(1, 2), (2, 2), (4, 4)] {
        let (_, admission) = machine(cpus, 8192);
        let mut starting = Vec::new();
        while let Some(permit) = is_ready(pin!(admission.start())) {
            starting.push(permit);
        }
        assert_eq!(starting.len(), expected);
        starting.pop();
        assert!(is_ready(pin!(admission.start())).is_some());
    }
}

#[test]
fn the_limiting_resource_is_the_one_that_most_wait_for() {
    #[track_caller]
    fn check(counts: &[(Resource, usize)], expected: &str) {
        let limiting = Limiting::of(counts.iter().copied());
        assert_eq!(limiting.map(|limiting| limiting.to_string()).unwrap_or_default(), expected);
    }
    check(&[], "");
    check(&[(Resource::Cpu, 0), (Resource::Memory, 0)], "");
    check(&[(Resource::Cpu, 1)], "waiting for CPU: 1 episode");
    check(&[(Resource::Cpu, 2), (Resource::Memory, 9)], "waiting for memory: 9 episodes");
    check(
        &[(Resource::Cpu, 2), (Resource::Tokens, 1), (Resource::Tokens, 2)],
        "waiting for the server's limit of tokens per minute: 3 episodes",
    );
    check(
        &[(Resource::Starts, 2), (Resource::Requests, 2)],
        "waiting for the server's limit of requests: 2 episodes",
    );
}
