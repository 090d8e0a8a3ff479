//! Verdicts for other programs: candidates in, answers out, many at a time.
//!
//! [`Judge::serve`] takes a line from a channel only when it can start the line's candidate,
//! so the writer waits. Candidates of one task run at the same time, and are compared in the
//! order of their lines ([`order`]).

mod candidate;
mod line;
mod order;
mod session;
mod stdio;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use tokio::sync::mpsc::{Receiver, Sender};

use crate::benchmark::{Benchmark, BenchmarkError, Evaluator, Split};
use crate::run::{ExecuteError, Interrupts, require_protections};
use crate::sandbox::Host;
use crate::statement::TaskKind;
use crate::task::{SandboxSpec, Task};
use crate::templates::{TemplateError, Templates};
pub use line::{JudgeAnswer, JudgeLine, JudgeRequest, JudgeTests};
use session::Session;

/// How to judge.
#[derive(Clone, Debug, PartialEq)]
pub struct JudgeOptions {
    /// Name of the sandbox.
    pub sandbox: String,
    /// The only split whose tasks are accepted; all splits if `None`.
    pub split: Option<Split>,
    /// Candidates in parallel.
    pub jobs: usize,
    /// Whether answers come in the order of the lines.
    pub ordered: bool,
    /// Whether the benchmark judges every candidate that can run. Otherwise it judges those
    /// that pass the task's own tests.
    pub confirm: bool,
    /// Whether to judge in a sandbox that lacks a required protection.
    pub allow_weak: bool,
}

/// Judges candidates of a benchmark for another program.
pub struct Judge {
    benchmark: Arc<dyn Benchmark>,
    host: Arc<dyn Host>,
    templates: Templates,
    options: JudgeOptions,
    /// The tasks, or why the sandbox does not support them.
    tasks: HashMap<String, Result<Arc<Task>, String>>,
}

/// Why a benchmark's candidates cannot be judged.
#[derive(Debug, thiserror::Error)]
pub enum JudgeError {
    /// It has no evaluator.
    #[error("this benchmark does not evaluate candidates; for patches use `fixfly grade swebench`")]
    NoEvaluator,
    /// The sandbox lacks a required protection.
    #[error(transparent)]
    Unprotected(#[from] ExecuteError),
    /// Its tasks cannot be read.
    #[error(transparent)]
    Benchmark(#[from] BenchmarkError),
    /// The wording of the feedback cannot be used.
    #[error(transparent)]
    Templates(#[from] TemplateError),
}

/// The number of lines by answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JudgeCounts {
    /// Candidates that solve their task.
    pub solved: usize,
    /// Candidates that do not.
    pub unsolved: usize,
    /// Candidates without a verdict, because the environment failed.
    pub unknown: usize,
    /// Lines that could not be used.
    pub bad: usize,
    /// Candidates that were aborted and have no answer.
    pub aborted: usize,
    /// Whether the user asked to stop.
    pub stopped: bool,
}

impl JudgeCounts {
    /// True if every line has a verdict.
    pub fn is_complete(&self) -> bool {
        self.unknown == 0 && self.bad == 0 && self.aborted == 0
    }

    fn add(&mut self, answer: &JudgeAnswer) {
        let count = match answer {
            JudgeAnswer { error: Some(_), .. } => &mut self.bad,
            JudgeAnswer { solved: Some(true), .. } => &mut self.solved,
            JudgeAnswer { solved: Some(false), .. } => &mut self.unsolved,
            JudgeAnswer { solved: None, .. } => &mut self.unknown,
        };
        *count += 1;
    }
}

impl fmt::Display for JudgeCounts {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        let JudgeCounts { solved, unsolved, unknown, bad, aborted, .. } = self;
        let candidates = solved + unsolved + unknown;
        let noun = if candidates == 1 { "candidate" } else { "candidates" };
        write!(to, "{candidates} {noun}: {solved} solved, {unsolved} not solved")?;
        for (count, what) in [(unknown, "unknown"), (bad, "bad lines"), (aborted, "aborted")] {
            if *count > 0 {
                write!(to, ", {count} {what}")?;
            }
        }
        Ok(())
    }
}

impl Judge {
    /// Reads the tasks of a benchmark. A pool as `host` needs room for
    /// [`JudgeOptions::jobs`] sandboxes.
    ///
    /// # Errors
    /// [`JudgeError`] if the benchmark evaluates no candidates or cannot be read, or the
    /// sandbox is too weak.
    pub async fn open(
        benchmark: Arc<dyn Benchmark>,
        host: Arc<dyn Host>,
        options: JudgeOptions,
    ) -> Result<Judge, JudgeError> {
        if benchmark.evaluator().is_none() {
            return Err(JudgeError::NoEvaluator);
        }
        if !options.allow_weak {
            require_protections(&options.sandbox, &host.protections().await)?;
        }
        let mut tasks = HashMap::new();
        for split in Split::ALL.into_iter().filter(|one| options.split.is_none_or(|s| s == *one)) {
            for mut task in benchmark.tasks(split).await? {
                // Only a prompt shows the file, and all files of all tasks are many.
                task.statement.set_content(String::new());
                let (id, why) = (task.id.clone(), benchmark.unsupported(&task, &options.sandbox));
                tasks.insert(id, why.map_or_else(|| Ok(Arc::new(task)), Err));
            }
        }
        let kind = tasks.values().flatten().next().map(|task: &Arc<Task>| task.statement.kind());
        let templates = Templates::load(kind.unwrap_or(TaskKind::Method), None)?;
        Ok(Judge { benchmark, host, templates, options, tasks })
    }

    /// The sandboxes that the tasks need.
    pub fn sandboxes(&self) -> impl Iterator<Item = &SandboxSpec> {
        self.tasks.values().flatten().map(|task| &task.sandbox)
    }

    /// Answers each line until there are no more. After the first interrupt, running
    /// candidates finish; the second aborts them, and so does the end of `answers`.
    pub async fn serve(
        self,
        mut lines: Receiver<Vec<u8>>,
        answers: Sender<JudgeAnswer>,
        interrupts: &mut Interrupts,
    ) -> JudgeCounts {
        let mut session = Session::new(self);
        let (mut stopped, mut ended) = (false, false);
        while !((stopped || ended) && session.is_idle()) {
            tokio::select! {
                line = lines.recv(), if !stopped && !ended && session.has_room() => match line {
                    Some(line) => session.read(&line),
                    None => ended = true,
                },
                Some(done) = session.running.join_next_with_id() => session.finish(done),
                room = answers.reserve(), if session.has_answer() => match (room, session.take()) {
                    (Ok(room), Some(answer)) => room.send(answer),
                    _ => return session.abort(stopped).await,
                },
                () = interrupts.next() => match stopped {
                    false => stopped = true,
                    true => return session.abort(true).await,
                },
            }
        }
        JudgeCounts { stopped, ..session.counts }
    }

    fn evaluator(&self) -> Result<&dyn Evaluator, BenchmarkError> {
        let none = || BenchmarkError::Broken(JudgeError::NoEvaluator.to_string());
        self.benchmark.evaluator().ok_or_else(none)
    }

    /// The task of this id, or why a line cannot name it.
    fn task(&self, id: &str) -> Result<Arc<Task>, String> {
        let JudgeOptions { sandbox, split, .. } = &self.options;
        match self.tasks.get(id) {
            Some(Ok(task)) => Ok(task.clone()),
            Some(Err(why)) => Err(format!("names `{id}`, which {sandbox} does not support: {why}")),
            None => Err(match split {
                Some(split) => format!("names no task of the split {}: `{id}`", split.name()),
                None => format!("names no task of the benchmark: `{id}`"),
            }),
        }
    }
}
