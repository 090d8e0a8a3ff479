//! Selects the tasks of a run.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::glob::matches;
use super::spec::{IssueSpec, RunSpec};
use crate::answer::EditForm;
use crate::benchmark::{Benchmark, BenchmarkError};
use crate::hash::hex;
use crate::shard::{Shard, divide, expected_cost};
use crate::statement::{Statement, TaskKind};
use crate::task::{Lifetime, Task};

/// The tasks of a run, ready to be attempted.
#[derive(Clone, Debug, PartialEq)]
pub struct Selection {
    /// The tasks, with their limits, sorted by id. A shard can have none.
    pub tasks: Vec<Task>,
    /// The number of tasks of all shards.
    pub selected: usize,
    /// The kind of the tasks.
    pub kind: TaskKind,
    /// Maximum turns of an episode.
    pub turns: u32,
    /// Facts that identify the split of the tasks, for the record.
    pub facts: BTreeMap<String, Value>,
    /// The number of tasks that the sandbox supports, before `limit`.
    pub supported: usize,
    /// Tasks that the sandbox does not support, by reason.
    pub unsupported: BTreeMap<String, usize>,
}

/// Why no task was selected.
#[derive(Debug, thiserror::Error)]
pub enum SelectError {
    /// The pattern matches no task.
    #[error("no task of {benchmark} ({split}) matches `{pattern}`")]
    NoMatch {
        /// The benchmark.
        benchmark: String,
        /// The split.
        split: &'static str,
        /// The pattern.
        pattern: String,
    },
    /// The split is empty.
    #[error("{benchmark} has no tasks in its split {split}; name another one with --split")]
    NoTasks {
        /// The benchmark.
        benchmark: String,
        /// The split.
        split: &'static str,
    },
    /// The sandbox supports none of the tasks.
    #[error("the sandbox `{sandbox}` supports none of the tasks")]
    Unsupported {
        /// The sandbox.
        sandbox: String,
        /// The number of tasks by reason.
        reasons: BTreeMap<String, usize>,
    },
    /// An option needs tasks that show a faulty method.
    #[error(
        "{option} needs tasks that show a faulty method, and {task} of {benchmark} shows none: \
         remove {option}"
    )]
    NoFault {
        /// The flag.
        option: &'static str,
        /// The benchmark.
        benchmark: String,
        /// The first such task.
        task: String,
    },
    /// The grammar has no parts of lines.
    #[error("--answer-grammar makes changes of whole lines: remove --edit text or the grammar")]
    GrammarOfParts,
    /// The benchmark cannot be read.
    #[error(transparent)]
    Benchmark(#[from] BenchmarkError),
}

impl RunSpec {
    /// The tasks to run.
    ///
    /// # Errors
    /// [`SelectError`] if there are none.
    pub async fn select(&self, benchmark: &dyn Benchmark) -> Result<Selection, SelectError> {
        let grammar = self.model.as_ref().is_some_and(|model| model.local.answer_grammar);
        if grammar && self.fault_options.edit == EditForm::Text {
            return Err(SelectError::GrammarOfParts);
        }
        let split = benchmark.tasks(self.split).await?;
        let facts = facts(benchmark, &split);
        let asked = self.matching(split)?;
        // Tasks that are only recorded need no sandbox.
        let (tasks, unsupported) = match self.turns {
            Some(0) => (asked, BTreeMap::new()),
            _ => split_supported(&self.sandbox, benchmark, asked),
        };
        if tasks.is_empty() {
            let sandbox = self.sandbox.clone();
            return Err(SelectError::Unsupported { sandbox, reasons: unsupported });
        }
        let supported = tasks.len();
        let mut tasks = match self.until_solved {
            true => tasks,
            false => first(tasks, self.limit),
        };
        for task in &mut tasks {
            self.prepare(task)?;
        }
        let (selected, turns) = (tasks.len(), tasks.first().map_or(0, |task| task.budget.turns));
        let kind = tasks.first().map_or(TaskKind::Method, |task| task.statement.kind());
        let tasks = match self.shard {
            Some(shard) => tasks_of(shard, benchmark, tasks),
            None => tasks,
        };
        Ok(Selection { tasks, selected, kind, turns, facts, supported, unsupported })
    }

    fn matching(&self, mut tasks: Vec<Task>) -> Result<Vec<Task>, SelectError> {
        let (benchmark, split) = (self.benchmark.clone(), self.split.name());
        if let Some(pattern) = &self.task_id {
            tasks.retain(|task| matches(pattern, &task.id));
            if tasks.is_empty() {
                let pattern = pattern.clone();
                return Err(SelectError::NoMatch { benchmark, split, pattern });
            }
        }
        match tasks.is_empty() {
            true => Err(SelectError::NoTasks { benchmark, split }),
            false => Ok(tasks),
        }
    }

    /// The flag of the first option that needs a faulty method.
    fn fault_option(&self) -> Option<&'static str> {
        let local = self.model.as_ref().map(|model| &model.local);
        let set = [
            ("--answer-grammar", local.is_some_and(|local| local.answer_grammar)),
            ("--distinct-answers", local.is_some_and(|local| local.distinct_answers)),
        ];
        let of_model = set.iter().find(|(_, is)| *is).map(|(flag, _)| *flag);
        of_model.or_else(|| self.fault_options.first_set())
    }

    /// Sets a task's options, limits and tools.
    fn prepare(&self, task: &mut Task) -> Result<(), SelectError> {
        if let Some(option) = self.fault_option()
            && !task.statement.set_fault_options(self.fault_options)
        {
            let (benchmark, task) = (self.benchmark.clone(), task.id.clone());
            return Err(SelectError::NoFault { option, benchmark, task });
        }
        task.budget.turns = self.turns.unwrap_or(task.budget.turns);
        task.budget.usd = self.model.as_ref().and_then(|model| model.remote.episode_budget_usd);
        let (Statement::Issue(issue), Some(spec)) = (&mut task.statement, &self.issues) else {
            return Ok(());
        };
        let IssueSpec { tools, manual, history, tokens, seconds, .. } = spec;
        issue.history = *history;
        issue.manual.clone_from(manual);
        task.tools.clone_from(tools);
        task.budget.tokens = *tokens;
        task.budget.seconds = *seconds;
        Ok(())
    }
}

impl Selection {
    /// The number of sandboxes that one attempt needs at a time. An attempt that keeps a
    /// sandbox for all of its turns needs a second one for the judge; otherwise attempts
    /// could wait for each other.
    pub fn sandboxes_per_attempt(&self) -> usize {
        match self.tasks.iter().any(|task| task.sandbox.lifetime == Lifetime::Episode) {
            true => 2,
            false => 1,
        }
    }
}

/// Separates the tasks that the sandbox supports from the others, which are counted by
/// reason.
pub fn split_supported(
    sandbox: &str,
    benchmark: &dyn Benchmark,
    tasks: Vec<Task>,
) -> (Vec<Task>, BTreeMap<String, usize>) {
    let mut unsupported = BTreeMap::<String, usize>::new();
    let supported = tasks
        .into_iter()
        .filter(|task| match benchmark.unsupported(task, sandbox) {
            Some(why) => {
                *unsupported.entry(why).or_default() += 1;
                false
            }
            None => true,
        })
        .collect();
    (supported, unsupported)
}

/// The first `limit` tasks, sorted by id: sandboxes keep the fixtures of a file's tests for
/// a while, so tasks of one file should be neighbours.
pub fn first(mut tasks: Vec<Task>, limit: Option<u32>) -> Vec<Task> {
    tasks.truncate(limit.map_or(usize::MAX, |limit| limit as usize));
    tasks.sort_by(|one, other| one.id.cmp(&other.id));
    tasks
}

/// The tasks of a shard. All samples of a task are in one shard: they share its prompt, which
/// servers cache, and its tests.
fn tasks_of(shard: Shard, benchmark: &dyn Benchmark, mut tasks: Vec<Task>) -> Vec<Task> {
    let cost = |task: &Task| {
        let bytes = json!(task.statement).to_string().len();
        expected_cost(bytes, benchmark.test_seconds(task))
    };
    let costs: Vec<(&str, u64)> = tasks.iter().map(|task| (&*task.id, cost(task))).collect();
    let mut shards = divide(&costs, shard.of()).into_iter();
    tasks.retain(|_| shards.next() == Some(shard.index()));
    tasks
}

/// Reasons with their counts, the most frequent first.
pub fn unsupported_reasons(unsupported: BTreeMap<String, usize>) -> String {
    const MOST: usize = 12;
    let mut rows: Vec<(String, usize)> = unsupported.into_iter().collect();
    rows.sort_by(|(one, few), (other, many)| many.cmp(few).then(one.cmp(other)));
    let rest: usize = rows.iter().skip(MOST).map(|(_, count)| count).sum();
    rows.truncate(MOST);
    rows.extend((rest > 0).then(|| ("other reasons".to_owned(), rest)));
    rows.iter().map(|(why, count)| format!("  {count:5}  {why}\n")).collect()
}

/// Facts that identify the split. They do not depend on the benchmark directory.
fn facts(benchmark: &dyn Benchmark, tasks: &[Task]) -> BTreeMap<String, Value> {
    let mut hasher = Sha256::new();
    for task in tasks {
        hasher.update(&task.id);
        hasher.update(json!(task.statement).to_string());
    }
    let mut facts: BTreeMap<String, Value> =
        benchmark.facts().into_iter().map(|(name, fact)| (name, fact.into())).collect();
    facts.insert("tasks".to_string(), tasks.len().into());
    facts.insert("tasks_sha256".to_string(), hex(hasher.finalize()).into());
    facts
}
