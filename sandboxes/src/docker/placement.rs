//! Which engine gets a sandbox: the one with the most free capacity, without those that are
//! down. Nothing here reads a clock: callers pass the time.

use std::time::Duration;

/// The wait before an engine that is down is asked again; it doubles each time, up to
/// [`MAX_PAUSE`].
const PAUSE: Duration = Duration::from_secs(5);
const MAX_PAUSE: Duration = Duration::from_secs(300);

/// Processors and memory: of an engine, or of the sandboxes on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) processors: u64,
    /// Mebibytes.
    pub(super) memory_mb: u64,
}

#[derive(Debug, Default)]
struct Engine {
    /// Its capacity, once it has answered.
    capacity: Option<Size>,
    /// What this run placed on it.
    placed: Size,
    health: Health,
    last_error: String,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Health {
    #[default]
    Up,
    /// A sandbox on it failed: it is asked before it gets another.
    Suspect,
    /// It gets no sandboxes, and is asked again at this time.
    Down { until: Duration, times: u32 },
}

/// The engines of a run, without their connections.
#[derive(Debug)]
pub(super) struct Placement {
    engines: Vec<Engine>,
}

impl Placement {
    pub(super) fn new(engines: usize) -> Placement {
        Placement { engines: (0..engines).map(|_| Engine::default()).collect() }
    }

    /// The engines that may get a sandbox of this size, best first: the one whose scarcest
    /// resource then has the largest free share. If all are down, all of them.
    pub(super) fn order(&self, size: Size) -> Vec<usize> {
        let all = 0..self.engines.len();
        let mut order: Vec<usize> = all.clone().filter(|at| !self.is_down(*at)).collect();
        if order.is_empty() {
            order = all.collect();
        }
        order.sort_by(|one, other| self.load(*one, size).total_cmp(&self.load(*other, size)));
        order
    }

    /// The share of an engine's scarcest resource that is used with this sandbox. More than
    /// 1 if it is too small.
    fn load(&self, at: usize, size: Size) -> f64 {
        let Engine { capacity, placed, .. } = &self.engines[at];
        let Some(capacity) = capacity else { return f64::INFINITY };
        let share = |used: u64, of: u64| used as f64 / of.max(1) as f64;
        share(placed.processors + size.processors, capacity.processors)
            .max(share(placed.memory_mb + size.memory_mb, capacity.memory_mb))
    }

    /// Counts a sandbox on an engine.
    pub(super) fn add(&mut self, at: usize, size: Size) {
        let placed = &mut self.engines[at].placed;
        placed.processors += size.processors;
        placed.memory_mb += size.memory_mb;
    }

    /// Counts a sandbox no longer.
    pub(super) fn remove(&mut self, at: usize, size: Size) {
        let placed = &mut self.engines[at].placed;
        placed.processors = placed.processors.saturating_sub(size.processors);
        placed.memory_mb = placed.memory_mb.saturating_sub(size.memory_mb);
    }

    /// A sandbox on this engine failed, possibly because of the engine.
    pub(super) fn suspect(&mut self, at: usize) {
        let health = &mut self.engines[at].health;
        if *health == Health::Up {
            *health = Health::Suspect;
        }
    }

    /// The engines that have to be asked now. Until they answer nobody else asks them.
    pub(super) fn take_due(&mut self, now: Duration) -> Vec<usize> {
        let mut due = Vec::new();
        for (at, engine) in self.engines.iter_mut().enumerate() {
            match engine.health {
                Health::Suspect => engine.health = Health::Up,
                Health::Down { until, times } if until <= now => {
                    engine.health = Health::Down { until: now + pause(times), times };
                }
                Health::Up | Health::Down { .. } => continue,
            }
            due.push(at);
        }
        due
    }

    /// An engine answered. Returns whether it was down.
    pub(super) fn answered(&mut self, at: usize, capacity: Size) -> bool {
        let engine = &mut self.engines[at];
        engine.capacity = Some(capacity);
        matches!(std::mem::take(&mut engine.health), Health::Down { .. })
    }

    /// An engine did not answer. Returns whether it was up.
    pub(super) fn failed(&mut self, at: usize, why: &str, now: Duration) -> bool {
        let engine = &mut self.engines[at];
        why.clone_into(&mut engine.last_error);
        let times = match engine.health {
            Health::Down { times, .. } => times + 1,
            Health::Up | Health::Suspect => 0,
        };
        let was_up = !matches!(engine.health, Health::Down { .. });
        engine.health = Health::Down { until: now + pause(times), times };
        was_up
    }

    pub(super) fn is_down(&self, at: usize) -> bool {
        matches!(self.engines[at].health, Health::Down { .. })
    }

    /// Why an engine did not answer last; empty if it always did.
    pub(super) fn last_error(&self, at: usize) -> &str {
        &self.engines[at].last_error
    }
}

fn pause(times: u32) -> Duration {
    PAUSE.saturating_mul(2u32.saturating_pow(times)).min(MAX_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn size(processors: u64, memory_mb: u64) -> Size {
        Size { processors, memory_mb }
    }

    /// Engines of these sizes, all up.
    fn engines(sizes: &[Size]) -> Placement {
        let mut placement = Placement::new(sizes.len());
        for (at, size) in sizes.iter().enumerate() {
            assert!(!placement.answered(at, *size));
        }
        placement
    }

    /// Places sandboxes of one size one after the other.
    #[track_caller]
    fn check(sizes: &[Size], sandbox: Size, expected: &[usize]) {
        let mut placement = engines(sizes);
        let mut places = Vec::new();
        for _ in expected {
            let at = placement.order(sandbox)[0];
            placement.add(at, sandbox);
            places.push(at);
        }
        assert_eq!(places, expected);
    }

    #[test]
    fn a_sandbox_goes_where_the_scarcest_resource_has_the_most_room() {
        let (small, large) = (size(4, 16_000), size(16, 64_000));
        check(&[small, small], size(2, 4_000), &[0, 1, 0, 1]);
        // One of five on the small engine, until both are full; then the same again.
        check(&[small, large], size(2, 4_000), &[1, 1, 1, 0, 1, 1, 1, 1, 0, 1, 1]);
        // Memory is scarcer than processors on the first.
        check(&[size(64, 8_000), size(8, 64_000)], size(1, 4_000), &[1, 1, 1, 0, 1]);
        check(&[size(0, 0), small], size(2, 4_000), &[1, 1]);
    }

    #[test]
    fn what_is_closed_frees_its_place() {
        let (engine, sandbox) = (size(4, 16_000), size(2, 4_000));
        let mut placement = engines(&[engine, engine]);
        placement.add(0, sandbox);
        assert_eq!(placement.order(sandbox), [1, 0]);
        placement.remove(0, sandbox);
        placement.remove(0, sandbox);
        assert_eq!(placement.order(sandbox), [0, 1]);
    }

    #[test]
    fn an_engine_that_fails_gets_nothing_until_it_answers() {
        let (engine, sandbox) = (size(4, 16_000), size(2, 4_000));
        let mut placement = engines(&[engine, engine]);
        assert!(placement.take_due(Duration::ZERO).is_empty());
        placement.suspect(0);
        assert_eq!(placement.order(sandbox), [0, 1], "it is not down yet");
        assert_eq!(placement.take_due(SECOND), [0]);
        assert!(placement.take_due(SECOND).is_empty(), "one asks it");
        assert!(placement.failed(0, "gone", SECOND) && placement.is_down(0));
        assert_eq!((placement.order(sandbox), placement.last_error(0)), (vec![1], "gone"));
        placement.suspect(0);
        assert!(placement.take_due(5 * SECOND).is_empty());
        assert_eq!(placement.take_due(6 * SECOND), [0]);
        assert!(placement.take_due(10 * SECOND).is_empty(), "one asks it");
        assert!(!placement.failed(0, "still gone", 6 * SECOND), "it was down already");
        assert!(placement.take_due(15 * SECOND).is_empty(), "the wait doubles");
        assert_eq!(placement.take_due(16 * SECOND), [0]);
        assert!(placement.answered(0, engine), "it was down");
        assert_eq!(placement.order(sandbox), [0, 1]);
        assert_eq!((pause(0), pause(1), pause(60)), (PAUSE, 2 * PAUSE, MAX_PAUSE));
    }

    #[test]
    fn with_all_engines_down_each_is_tried() {
        let mut placement = engines(&[size(4, 16_000), size(8, 32_000)]);
        placement.failed(0, "gone", SECOND);
        placement.failed(1, "gone", SECOND);
        assert_eq!(placement.order(size(2, 4_000)), [1, 0]);
        // One that never answered comes last.
        let mut placement = Placement::new(2);
        placement.answered(1, size(1, 1));
        assert_eq!(placement.order(size(2, 4_000)), [1, 0]);
    }
}
