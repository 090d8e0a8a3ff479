//! One candidate: its tests and, if asked or if they pass, the benchmark's verdict.

use std::time::Instant;

use super::{Judge, JudgeOptions};
use crate::answer::method;
use crate::attempt::{judge_unused, show_rejection};
use crate::benchmark::{BenchmarkError, Evaluator};
use crate::episode::Verdict;
use crate::run::MAX_TRIES;
use crate::task::Task;
use crate::turn::{Observation, Outcome};

/// The result of a candidate.
pub(super) struct Judged {
    /// The code that was found in the answer.
    pub(super) code: String,
    pub(super) observation: Observation,
    /// The benchmark's verdict, if it judged the candidate.
    pub(super) verdict: Option<Verdict>,
}

impl Judged {
    pub(super) fn solved(&self) -> bool {
        self.verdict.as_ref().is_some_and(|verdict| verdict.solved)
    }
}

/// The code in an answer, as a policy reads it; the whole answer if there is none, so that
/// the benchmark explains what is wrong with it.
fn code(task: &Task, answer: &str) -> String {
    match method(answer, &task.statement.asked()) {
        Ok(code) if code.found => code.text,
        _ => answer.to_owned(),
    }
}

/// Judges a candidate, again after an infrastructure failure, as often as a run does. Also
/// returns the seconds that it took.
pub(super) async fn judged(
    judge: &Judge,
    task: &Task,
    answer: &str,
) -> (Result<Judged, BenchmarkError>, f64) {
    let clock = Instant::now();
    let code = code(task, answer);
    let mut judged = once(judge, task, &code).await;
    for _ in 1..MAX_TRIES {
        let Err(error) = &judged else { break };
        tracing::info!("{}: {error}; retrying the candidate", task.id);
        judged = once(judge, task, &code).await;
    }
    (judged, clock.elapsed().as_secs_f64())
}

async fn once(judge: &Judge, task: &Task, code: &str) -> Result<Judged, BenchmarkError> {
    let Judge { benchmark, host, options: JudgeOptions { confirm, .. }, .. } = judge;
    let mut observation = evaluated(judge, judge.evaluator()?, task, code).await?;
    let passed = observation.outcome == Outcome::Passed;
    let submission = observation.submission().filter(|_| passed || *confirm);
    let verdict = match submission {
        Some(submission) => Some(judge_unused(&**host, &**benchmark, task, submission).await?),
        None => None,
    };
    match &verdict {
        Some(verdict) if verdict.solved => {
            observation.outcome = Outcome::Passed;
            observation.tests = Some(verdict.tests.clone());
        }
        Some(verdict) if passed => show_rejection(&mut observation, verdict),
        _ => {}
    }
    Ok(Judged { code: code.to_owned(), observation, verdict })
}

async fn evaluated(
    judge: &Judge,
    evaluator: &dyn Evaluator,
    task: &Task,
    code: &str,
) -> Result<Observation, BenchmarkError> {
    let sandbox = judge.host.open(&task.sandbox).await?;
    let observed = evaluator.evaluate(task, code, &*sandbox).await;
    sandbox.close().await?;
    observed
}
