//! Whether an item's tests hold: they pass in a fresh process in both orders, notice the
//! stub, and report it in the same words each time.

use fixfly_runtime::{BenchmarkError, Outcome, TestResult};

use super::examine::{Bench, Examiner, Found, first_failure, left_out};
use super::repeat::{FLAKY, ORDER, Unreliable};
use crate::manifest::RunPath;
use crate::server::{Answer, Limits};

/// Item tests that take longer on the cold path, in CPU seconds, are too slow.
const SLOWEST: f64 = 10.0;

/// The tests of an item, as they are chosen.
pub(super) struct Choice<'a> {
    pub(super) bench: &'a Bench<'a>,
    /// The original, the stub and a mutant, or of several methods the stub of one.
    pub(super) trio: [&'a [String]; 3],
    pub(super) tests: &'a [String],
    pub(super) limits: Limits,
    /// The path that the method's runs took so far.
    pub(super) path: RunPath,
    /// The report of the stub, with more tests.
    pub(super) stubbed: &'a Answer,
}

/// What became of a choice.
pub(super) enum Held {
    Yes(Holding),
    No(Found),
    /// Some of the tests are unreliable; others may be chosen.
    Unreliable(Vec<Unreliable>),
}

/// The facts of tests that hold.
pub(super) struct Holding {
    pub(super) path: RunPath,
    /// CPU seconds on the cold path.
    pub(super) seconds: f64,
    /// Why the hot path is not taken, if it was tried.
    pub(super) cold_because: Option<String>,
}

impl Examiner {
    /// Tries the tests of an item.
    pub(super) async fn hold(&self, choice: &Choice<'_>) -> Result<Held, BenchmarkError> {
        let Choice { bench, trio, tests, limits, mut path, .. } = *choice;
        // The mutant's report is only compared with that of the hot path.
        let needed = if path == RunPath::Hot { 3 } else { 2 };
        let mut cold = Vec::new();
        for candidate in &trio[..needed] {
            cold.push(bench.run(candidate, RunPath::Cold, tests, limits).await?);
        }
        if let Some(held) = self.unusable(choice, &cold).await? {
            return Ok(held);
        }
        let mut cold_because = None;
        if path == RunPath::Hot {
            cold_because = self.disagreement(bench, &trio, tests, limits, &cold).await?;
            if cold_because.is_some() {
                path = RunPath::Cold;
            }
        }
        let unsteady = match self.project.drops_unreliable_tests() {
            true => match self.out_of_order(choice).await? {
                None => self.reads_differently(choice, path, &cold[1]).await?,
                unreliable => unreliable,
            },
            false => self.unsteady(choice, path, &cold[1]).await?,
        };
        let seconds = cold[0].cpu;
        Ok(unsteady.unwrap_or(Held::Yes(Holding { path, seconds, cold_because })))
    }

    /// Why the tests are of no use on the cold path, the reference.
    async fn unusable(
        &self,
        choice: &Choice<'_>,
        cold: &[Answer],
    ) -> Result<Option<Held>, BenchmarkError> {
        let Choice { bench, trio, tests, limits, path, .. } = *choice;
        let (original, stub) = (&cold[0], &cold[1]);
        let found = if original.outcome != Outcome::Passed {
            // On the same path, they passed together with other tests.
            if self.project.drops_unreliable_tests()
                && path == RunPath::Cold
                && original.bad().next().is_some()
            {
                let again = bench.run(trio[0], RunPath::Cold, tests, limits).await?;
                return Ok(Some(twice("with fewer tests", original, &again)));
            }
            left_out("its tests do not pass in a fresh process", first_failure(original))
        } else if stub.outcome == Outcome::Passed {
            left_out("no test notices its absence in a fresh process", String::new())
        } else if original.cpu > SLOWEST {
            left_out("its tests are slow", format!("{} CPU seconds", original.cpu))
        } else {
            return Ok(None);
        };
        Ok(Some(Held::No(found)))
    }

    /// Runs the original again, its tests in the reverse order.
    async fn out_of_order(&self, choice: &Choice<'_>) -> Result<Option<Held>, BenchmarkError> {
        let Choice { bench, trio, tests, limits, .. } = *choice;
        let reversed = bench.reversed(trio[0], tests, limits).await?;
        if reversed.outcome == Outcome::Passed {
            return Ok(None);
        }
        if reversed.bad().next().is_none() {
            let why = first_failure(&reversed);
            return Ok(Some(Held::No(left_out("flaky: the original failed once", why))));
        }
        let again = bench.reversed(trio[0], tests, limits).await?;
        Ok(Some(twice("in the reverse order", &reversed, &again)))
    }

    /// Two reports of the stub by the same path; that of the cold path is there already.
    async fn stub_twice(
        &self,
        choice: &Choice<'_>,
        path: RunPath,
        cold_stub: &Answer,
    ) -> Result<[Answer; 2], BenchmarkError> {
        let Choice { bench, trio, tests, limits, .. } = *choice;
        let once = match path {
            RunPath::Cold => cold_stub.clone(),
            RunPath::Hot => bench.run(trio[1], path, tests, limits).await?,
        };
        Ok([once, bench.run(trio[1], path, tests, limits).await?])
    }

    /// The tests that report the stub in other words when they run again. A run with more
    /// tests counts, if its words are the same.
    async fn reads_differently(
        &self,
        choice: &Choice<'_>,
        path: RunPath,
        cold_stub: &Answer,
    ) -> Result<Option<Held>, BenchmarkError> {
        let same = |result: &TestResult| choice.stubbed.results.contains(result);
        if choice.path == RunPath::Cold && cold_stub.results.iter().all(same) {
            return Ok(None);
        }
        let [once, twice] = self.stub_twice(choice, path, cold_stub).await?;
        let pairs = once.results.iter().zip(&twice.results).filter(|(one, two)| one != two);
        let unreliable = pairs.map(|(one, two)| {
            let evidence = format!("{}\n---\n{}", words(one), words(two));
            Unreliable::new(&one.id, FLAKY, format!("its failure reads differently: {evidence}"))
        });
        let unreliable: Vec<Unreliable> = unreliable.collect();
        Ok((!unreliable.is_empty()).then_some(Held::Unreliable(unreliable)))
    }

    /// Runs the original and the stub again: the original must pass again, and the stub's
    /// report must be the same byte for byte.
    async fn unsteady(
        &self,
        choice: &Choice<'_>,
        path: RunPath,
        cold_stub: &Answer,
    ) -> Result<Option<Held>, BenchmarkError> {
        let Choice { bench, trio, tests, limits, .. } = *choice;
        let again = bench.run(trio[0], path, tests, limits).await?;
        if again.outcome != Outcome::Passed {
            let why = first_failure(&again);
            return Ok(Some(Held::No(left_out("flaky: the original failed once", why))));
        }
        let [once, twice] = self.stub_twice(choice, path, cold_stub).await?;
        if once.results != twice.results {
            let evidence = format!("{}\n---\n{}", first_failure(&once), first_failure(&twice));
            let found = left_out("flaky: the same failure reads differently", evidence);
            return Ok(Some(Held::No(found)));
        }
        Ok(None)
    }
}

/// The tests that failed `how`: each time, or once.
fn twice(how: &str, first: &Answer, again: &Answer) -> Held {
    let test = |result: &TestResult| {
        let fails_again = again.bad().any(|other| other.id == result.id);
        let (reason, times) = if fails_again { (ORDER, "twice") } else { (FLAKY, "once") };
        Unreliable::new(&result.id, reason, format!("it failed {times} {how}: {}", words(result)))
    };
    Held::Unreliable(first.bad().map(test).collect())
}

fn words(result: &TestResult) -> String {
    let text = result.failure.as_ref().map_or("", |failure| failure.traceback.as_str());
    crate::observe::clip(text.trim_end(), 600)
}

#[cfg(test)]
mod tests {
    use fixfly_runtime::{TestFailure, TestOutcome};

    use super::*;

    fn answer(bad: &[&str]) -> Answer {
        let result = |id: &&str| TestResult {
            id: id.to_string(),
            outcome: match bad.contains(id) {
                true => TestOutcome::Failed,
                false => TestOutcome::Passed,
            },
            failure: bad.contains(id).then(|| TestFailure {
                exception: "E".into(),
                message: String::new(),
                traceback: "E: why\n".into(),
                output: String::new(),
            }),
        };
        Answer {
            path: RunPath::Cold,
            outcome: Outcome::Failed,
            results: ["a", "b", "c"].iter().map(result).collect(),
            cpu: 0.0,
            shared: false,
            unsure: None,
        }
    }

    #[test]
    fn a_test_that_fails_again_depends_on_the_order() {
        let Held::Unreliable(unreliable) =
            twice("alone", &answer(&["a", "b"]), &answer(&["b", "c"]))
        else {
            unreachable!("tests failed")
        };
        let expected = [
            Unreliable::new("a", FLAKY, "it failed once alone: E: why"),
            Unreliable::new("b", ORDER, "it failed twice alone: E: why"),
        ];
        assert_eq!(unreliable, expected);
    }
}
