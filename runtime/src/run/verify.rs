//! Checks a benchmark by controls: policies whose results are known in advance.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use super::now;
use super::queue::MAX_TRIES;
use crate::attempt::{Attempt, attempt};
use crate::benchmark::{Benchmark, BenchmarkError};
use crate::episode::Episode;
use crate::parallel::{Parallel, Ranges};
use crate::policy::Policy;
use crate::sandbox::Host;
use crate::task::Task;
use crate::templates::Templates;
use crate::tool::Tool;

/// A policy whose results are known in advance.
pub struct Control {
    /// The policy's name.
    pub name: &'static str,
    /// Whether it must solve every task; if not, it must solve none.
    pub solves: bool,
    /// The policy.
    pub policy: Box<dyn Policy>,
}

/// Makes one attempt of one turn at a task under each control.
pub struct Verifier {
    /// The controls, in the order in which they run.
    pub controls: Vec<Control>,
    /// The benchmark to check.
    pub benchmark: Arc<dyn Benchmark>,
    /// All tools; a task names those it allows.
    pub tools: Vec<Box<dyn Tool>>,
    /// Opens sandboxes.
    pub host: Arc<dyn Host>,
    /// The wording of the conversation.
    pub templates: Templates,
}

/// The result of one task under one control.
#[derive(Clone, Debug, PartialEq)]
pub struct ControlResult {
    /// The task's id.
    pub id: String,
    /// The control's name.
    pub control: &'static str,
    /// Whether it solved the task.
    pub solved: bool,
    /// Why the episode is not what the control requires, if it is not.
    pub fault: Option<String>,
    /// Seconds of the episode.
    pub seconds: f64,
}

/// The results of all tasks under all controls, in the order of completion.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Verification(pub Vec<ControlResult>);

/// The results of all tasks under one control.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ControlSummary {
    /// The number of tasks that it solved.
    pub solved: usize,
    /// The number of tasks.
    pub total: usize,
    /// Median of the episodes' seconds.
    pub median: f64,
    /// The seconds that 95 % of the episodes do not exceed.
    pub p95: f64,
}

impl Verifier {
    /// Checks the tasks, `jobs` at a time. `checked` gets the results of each task when it is
    /// finished.
    ///
    /// # Errors
    /// [`BenchmarkError::Bug`] if an attempt panicked. Faults are in the results.
    pub async fn verify(
        self,
        tasks: impl IntoIterator<Item = Task>,
        jobs: usize,
        mut checked: impl FnMut(&[ControlResult]),
    ) -> Result<Verification, BenchmarkError> {
        let verifier = Arc::new(self);
        let ranges = Arc::new(Ranges::new(tasks.into_iter().collect(), jobs));
        let (found, mut results) = unbounded_channel();
        let workers: Vec<_> = (0..jobs.max(1))
            .map(|worker| verifier.clone().work(worker, Arc::clone(&ranges), found.clone()))
            .collect();
        drop(found);
        let mut workers = Parallel::new(jobs, workers.into_iter());
        let mut all = Vec::new();
        loop {
            tokio::select! {
                biased;
                Some(of_task) = results.recv() => {
                    checked(&of_task);
                    all.extend(of_task);
                }
                ended = workers.next() => match ended {
                    Some(ended) => ended.map_err(BenchmarkError::bug("an item"))?,
                    None => return Ok(Verification(all)),
                },
            }
        }
    }

    /// Checks tasks of the worker's range, then of others, until none is left.
    async fn work(
        self: Arc<Self>,
        worker: usize,
        ranges: Arc<Ranges<Task>>,
        found: UnboundedSender<Vec<ControlResult>>,
    ) {
        while let Some(task) = ranges.next(worker) {
            if found.send(self.clone().check(task).await).is_err() {
                return;
            }
        }
    }

    /// Checks one task under every control. As in a run, infrastructure may fail twice.
    async fn check(self: Arc<Self>, mut task: Task) -> Vec<ControlResult> {
        task.budget.turns = 1;
        let mut all = Vec::new();
        for control in &self.controls {
            let with = Attempt {
                policy: (control.name, &*control.policy),
                tools: &self.tools,
                host: &*self.host,
                benchmark: &*self.benchmark,
                templates: &self.templates,
            };
            let mut episode = attempt(&with, &task, 0, 0, now()).await;
            for _ in 1..MAX_TRIES {
                if !episode.infrastructure_failure() {
                    break;
                }
                tracing::warn!(id = task.id, end = ?episode.end, "infrastructure failed; the control is tried again");
                episode = attempt(&with, &task, 0, 0, now()).await;
            }
            all.push(ControlResult {
                id: task.id.clone(),
                control: control.name,
                solved: episode.solved(),
                fault: fault(control, &episode),
                seconds: episode.provenance.seconds,
            });
        }
        all
    }
}

impl Verification {
    /// What the controls `oracle` and `null` found, in lines.
    pub fn text(&self) -> String {
        let (oracle, stub) = (self.summary("oracle"), self.summary("null"));
        format!(
            "\x20 original solves {} / {}   median {:.2} s, p95 {:.2} s (including cold confirmation, sabotage control and hidden tests)\n\
             \x20 stub solves     {} / {}   median {:.2} s, p95 {:.2} s\n\
             \x20 items that failed: {}\n",
            oracle.solved,
            oracle.total,
            oracle.median,
            oracle.p95,
            stub.solved,
            stub.total,
            stub.median,
            stub.p95,
            self.failed().len(),
        )
    }

    /// Tasks with a fault, and how often they had one.
    pub fn failed(&self) -> BTreeMap<&str, usize> {
        let mut failed = BTreeMap::new();
        for result in self.0.iter().filter(|result| result.fault.is_some()) {
            *failed.entry(result.id.as_str()).or_default() += 1;
        }
        failed
    }

    /// The results under the control of this name.
    pub fn summary(&self, control: &str) -> ControlSummary {
        let all: Vec<_> = self.0.iter().filter(|result| result.control == control).collect();
        let mut seconds: Vec<f64> = all.iter().map(|result| result.seconds).collect();
        seconds.sort_by(f64::total_cmp);
        let at =
            |part: f64| seconds.get((seconds.len() as f64 * part) as usize).copied().unwrap_or(0.0);
        ControlSummary {
            solved: all.iter().filter(|result| result.solved).count(),
            total: all.len(),
            median: at(0.5),
            p95: at(0.95),
        }
    }
}

/// Why an episode does not match its control, if it does not.
fn fault(control: &Control, episode: &Episode) -> Option<String> {
    let hidden_tests_pass = episode.verdict.as_ref().and_then(|verdict| verdict.hidden_tests_pass);
    let broken = episode.infrastructure_failure();
    if !broken && episode.solved() == control.solves && hidden_tests_pass != Some(false) {
        return None;
    }
    let id = &episode.task.id;
    let seen = episode.turns.last().map_or("", |turn| turn.observation.text.as_str());
    let wider = episode.verdict.iter().flat_map(|v| &v.wider_failed).cloned().collect::<Vec<_>>();
    Some(format!(
        "{id}: {} ended {:?}; failed hidden tests: [{}]\n{seen}",
        control.name,
        episode.end,
        wider.join(", ")
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(id: &str, control: &'static str, fault: Option<&str>, seconds: f64) -> ControlResult {
        let (id, fault) = (id.to_owned(), fault.map(str::to_owned));
        ControlResult { id, control, solved: control == "oracle", fault, seconds }
    }

    #[test]
    fn results_are_summed_up_by_control_and_by_task() {
        let found = Verification(vec![
            result("b", "oracle", None, 3.0),
            result("b", "null", Some("solved"), 0.5),
            result("a", "oracle", None, 1.0),
            result("a", "null", None, 0.25),
            result("b", "oracle", None, 2.0),
            result("b", "null", Some("solved"), 0.75),
        ]);
        assert_eq!(found.failed(), BTreeMap::from([("b", 2)]));
        let oracle = ControlSummary { solved: 3, total: 3, median: 2.0, p95: 3.0 };
        assert_eq!(found.summary("oracle"), oracle);
        let null = ControlSummary { solved: 0, total: 3, median: 0.5, p95: 0.75 };
        assert_eq!(found.summary("null"), null);
        assert_eq!(found.summary("other"), ControlSummary::default());
    }
}
