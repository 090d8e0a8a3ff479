//! Runs each test of the unchanged project again, in other company, to find the tests whose
//! result does not depend on the project alone.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;
use fixfly_runtime::BenchmarkError;
use serde::{Deserialize, Serialize};

/// Why a test is left out: it passes only sometimes.
pub(crate) const FLAKY: &str = "flaky";
/// It passes only after, or only without, other tests.
pub(crate) const ORDER: &str = "depends on the order";
/// It passes only until some date.
pub(crate) const CLOCK: &str = "depends on the clock";
/// It needs a network or a service.
pub(crate) const NETWORK: &str = "depends on the network";

/// How far ahead the clock is set, in seconds: more than a year, so that each date that is
/// written in a test is over.
const LATER: u64 = 400 * 86_400;

/// A test that is left out, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Unreliable {
    pub(crate) id: String,
    pub(crate) reason: String,
    /// The end of a failure, or what else shows it.
    pub(crate) evidence: String,
}

impl Unreliable {
    pub(crate) fn new(id: &str, reason: &str, evidence: impl Into<String>) -> Self {
        Unreliable { id: id.to_string(), reason: reason.to_string(), evidence: evidence.into() }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) enum Order {
    #[serde(rename = "in order")]
    Forward,
    #[serde(rename = "reversed")]
    Reversed,
}

/// Tests to run together, in a process that has run no other.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Batch {
    pub(super) order: Order,
    pub(super) tests: Vec<String>,
    /// Wall-clock seconds.
    pub(super) wall: u64,
}

/// What a batch came to.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct BatchResult {
    /// The tests that did not pass, with the end of their failure.
    pub(super) bad: BTreeMap<String, String>,
    /// The tests that did not start, because the process ended before.
    pub(super) left: Vec<String>,
}

/// Where batches take place.
#[async_trait]
pub(super) trait Runs: Sync {
    /// Runs batches, with the clock so many seconds ahead; `None` where one did not take
    /// place, because the process that makes them ended before.
    async fn run(
        &self,
        batches: &[Batch],
        clock: Option<u64>,
    ) -> Result<Vec<Option<BatchResult>>, BenchmarkError>;
}

/// The failures of one kind of batch, by test.
type Failures = BTreeMap<String, String>;

/// The tests whose result is not the project's alone. `tests` have passed once, together;
/// each is given with its CPU seconds.
pub(super) async fn unreliable(
    runs: &dyn Runs,
    tests: &[(String, f64)],
) -> Result<Vec<Unreliable>, BenchmarkError> {
    if tests.is_empty() {
        return Ok(Vec::new());
    }
    let first = all(runs, tests, &|_| true).await?;
    let suspect = |id: &String| first.iter().any(|failures| failures.contains_key(id));
    let mut found = Vec::new();
    if tests.iter().any(|(id, _)| suspect(id)) {
        let again = all(runs, tests, &suspect).await?;
        let suspects = tests.iter().map(|(id, _)| id).filter(|id| suspect(id));
        found.extend(suspects.map(|id| explained(id, &first, &again)));
    }
    let known: BTreeSet<&String> = found.iter().map(|test: &Unreliable| &test.id).collect();
    let honest: Vec<_> = tests.iter().filter(|(id, _)| !known.contains(id)).cloned().collect();
    let late = by_the_clock(runs, &honest).await?;
    found.extend(late);
    Ok(found)
}

/// The failures in order, in reverse, and alone. Only tests that `alone` accepts run alone;
/// an order without any of them is not needed.
async fn all(
    runs: &dyn Runs,
    tests: &[(String, f64)],
    alone: &(dyn Fn(&String) -> bool + Sync),
) -> Result<[Failures; 3], BenchmarkError> {
    let mut batches = vec![together(Order::Forward, tests), together(Order::Reversed, tests)];
    let single = tests.iter().filter(|(id, _)| alone(id));
    batches.extend(single.map(|test| together(Order::Forward, std::slice::from_ref(test))));
    let mut failures = tried(runs, &batches, None).await?.into_iter();
    let (forward, reversed) = (failures.next(), failures.next());
    Ok([forward.unwrap_or_default(), reversed.unwrap_or_default(), failures.flatten().collect()])
}

fn together(order: Order, tests: &[(String, f64)]) -> Batch {
    let seconds: f64 = tests.iter().map(|(_, seconds)| seconds).sum();
    let tests = tests.iter().map(|(id, _)| id.clone()).collect();
    // A busy machine must not cost tests.
    Batch { order, tests, wall: 30 + (8.0 * seconds).ceil() as u64 }
}

/// Why a test failed in one of the batches: it fails again in the same company, or not.
fn explained(id: &str, first: &[Failures; 3], again: &[Failures; 3]) -> Unreliable {
    const COMPANY: [&str; 3] =
        ["in the order of its file", "in the reverse order of its file", "alone"];
    let failed = |all: &[Failures; 3]| [0, 1, 2].map(|at| all[at].contains_key(id));
    let (once, twice) = (failed(first), failed(again));
    let at = once.iter().position(|failed| *failed).unwrap_or_default();
    let evidence = &first[at][id];
    let (reason, how) = match once == twice && once != [true; 3] {
        true => (ORDER, "twice"),
        false => (FLAKY, "once"),
    };
    Unreliable::new(id, reason, format!("it failed {how} {}: {evidence}", COMPANY[at]))
}

/// The tests that fail with the clock set ahead, and pass with the same clock set to now:
/// the stand-in for the clock alone makes some tests fail.
async fn by_the_clock(
    runs: &dyn Runs,
    tests: &[(String, f64)],
) -> Result<Vec<Unreliable>, BenchmarkError> {
    let mut suspects = tests.to_vec();
    let mut evidence = Failures::new();
    for ahead in [LATER, 0] {
        if suspects.is_empty() {
            break;
        }
        let batches = [together(Order::Forward, &suspects)];
        let failed = tried(runs, &batches, Some(ahead)).await?.pop().unwrap_or_default();
        match ahead {
            0 => suspects.retain(|(id, _)| !failed.contains_key(id)),
            _ => {
                suspects.retain(|(id, _)| failed.contains_key(id));
                evidence = failed;
            }
        }
    }
    let test = |(id, _): &(String, f64)| {
        let said = format!("it fails when the clock is 400 days ahead: {}", evidence[id]);
        Unreliable::new(id, CLOCK, said)
    };
    Ok(suspects.iter().map(test).collect())
}

/// The failures of each batch. Tests that another one kept from running, because it hung or
/// ended the process, run again without it.
async fn tried(
    runs: &dyn Runs,
    batches: &[Batch],
    clock: Option<u64>,
) -> Result<Vec<Failures>, BenchmarkError> {
    let mut bad = vec![Failures::new(); batches.len()];
    let mut open: Vec<(usize, Batch)> = batches.iter().cloned().enumerate().collect();
    let count = |open: &[(usize, Batch)]| open.iter().map(|(_, t)| t.tests.len()).sum::<usize>();
    while !open.is_empty() {
        let asked: Vec<Batch> = open.iter().map(|(_, batch)| batch.clone()).collect();
        let found = runs.run(&asked, clock).await?;
        let before = count(&open);
        let mut next = Vec::new();
        let found = found.into_iter().chain(std::iter::repeat(None));
        for ((at, mut batch), found) in open.into_iter().zip(found) {
            if let Some(tried) = found {
                bad[at].extend(tried.bad);
                batch.tests.retain(|test| tried.left.contains(test));
            }
            if !batch.tests.is_empty() {
                next.push((at, batch));
            }
        }
        if count(&next) == before {
            for (at, batch) in next {
                let silent = batch.tests.into_iter().map(|id| (id, "it did not run".to_string()));
                bad[at].extend(silent);
            }
            break;
        }
        open = next;
    }
    Ok(bad)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// A project whose tests fare as their names say.
    #[derive(Default)]
    struct Named {
        batches: Mutex<usize>,
    }

    /// Whether a test passes after these; `None` if it hangs.
    fn passes(test: &str, before: &[String], batches: usize, clock: Option<u64>) -> Option<bool> {
        Some(match test {
            "needs_a" => before.iter().any(|test| test == "a"),
            "alone_only" => before.is_empty(),
            "flaky" => batches > 3,
            "dated" => clock.unwrap_or_default() < 1000,
            "no_stand_in" => clock.is_none(),
            "hangs_first" if before.is_empty() => return None,
            _ => true,
        })
    }

    #[async_trait]
    impl Runs for Named {
        async fn run(
            &self,
            batches: &[Batch],
            clock: Option<u64>,
        ) -> Result<Vec<Option<BatchResult>>, BenchmarkError> {
            let run = |batch: &Batch| {
                let mut count = self.batches.lock().unwrap();
                *count += 1;
                let mut tests = batch.tests.clone();
                if batch.order == Order::Reversed {
                    tests.reverse();
                }
                let mut tried = BatchResult::default();
                for (at, test) in tests.iter().enumerate() {
                    match passes(test, &tests[..at], *count, clock) {
                        Some(true) => {}
                        Some(false) => drop(tried.bad.insert(test.clone(), "why".into())),
                        None => {
                            tried.bad.insert(test.clone(), "it did not end".into());
                            tried.left = tests[at + 1..].to_vec();
                            break;
                        }
                    }
                }
                Some(tried)
            };
            Ok(batches.iter().map(run).collect())
        }
    }

    #[track_caller]
    fn check(tests: &[&str], expected: &[(&str, &str, &str)]) {
        let tests: Vec<_> = tests.iter().map(|test| (test.to_string(), 0.1)).collect();
        let named = Named::default();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let found = runtime.block_on(unreliable(&named, &tests)).unwrap();
        let found: Vec<_> = found
            .iter()
            .map(|test| (test.id.as_str(), test.reason.as_str(), test.evidence.as_str()))
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn each_test_that_lies_is_found_with_its_reason() {
        check(&[], &[]);
        check(&["a", "b"], &[]);
        let reverse = "it failed twice in the reverse order of its file: why";
        check(&["a", "needs_a"], &[("needs_a", ORDER, reverse)]);
        let forward = "it failed twice in the order of its file: why";
        check(&["a", "alone_only", "b"], &[("alone_only", ORDER, forward)]);
        let once = "it failed once in the order of its file: why";
        check(&["flaky"], &[("flaky", FLAKY, once)]);
        let late = "it fails when the clock is 400 days ahead: why";
        check(&["dated", "no_stand_in", "a"], &[("dated", CLOCK, late)]);
    }

    #[test]
    fn a_test_that_hangs_costs_none_of_those_after_it() {
        let hung = "it failed twice in the reverse order of its file: it did not end";
        check(&["a", "b", "hangs_first"], &[("hangs_first", ORDER, hung)]);
    }
}
