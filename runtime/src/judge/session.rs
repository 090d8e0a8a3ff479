//! What runs, what waits and what came before.

use std::collections::HashMap;
use std::slice;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::task::{Id, JoinError, JoinSet};

use super::candidate::{self, Judged};
use super::line::{BadLine, JudgeAnswer, request};
use super::order::{Chains, Outbox};
use super::{Judge, JudgeCounts};
use crate::benchmark::BenchmarkError;
use crate::budget::Budget;
use crate::task::Task;
use crate::turn::{Action, Call, Observation, Timings, Turn, Usage};

/// Lines per job that are read before their answers are taken: enough to keep all jobs busy
/// while one line holds up the answers of others.
const AHEAD: usize = 8;

/// What a running candidate returns: its result and its seconds.
type Ended = (Result<Judged, BenchmarkError>, f64);

/// A candidate that runs or ran.
struct Started {
    line: u64,
    id: Option<Value>,
    task: Arc<Task>,
    /// The line of the same task that is compared first.
    before: Option<u64>,
}

/// A result that was not compared with the candidate before it.
struct Done {
    started: Started,
    result: Result<Judged, BenchmarkError>,
    seconds: Option<f64>,
}

/// The state of [`Judge::serve`].
pub(super) struct Session {
    judge: Arc<Judge>,
    pub(super) running: JoinSet<Ended>,
    started: HashMap<Id, Started>,
    chains: Chains<Done>,
    /// The last candidate of each task whose tests ran.
    previous: HashMap<String, Turn>,
    outbox: Outbox,
    /// Lines read.
    lines: u64,
    pub(super) counts: JudgeCounts,
}

impl Session {
    pub(super) fn new(judge: Judge) -> Self {
        let outbox = Outbox::new(judge.options.ordered);
        Session {
            judge: Arc::new(judge),
            running: JoinSet::new(),
            started: HashMap::new(),
            chains: Chains::new(),
            previous: HashMap::new(),
            outbox,
            lines: 0,
            counts: JudgeCounts::default(),
        }
    }

    /// Whether another line can be read and its candidate started.
    pub(super) fn has_room(&self) -> bool {
        let jobs = self.judge.options.jobs.max(1);
        self.running.len() < jobs && self.outbox.open() < jobs * AHEAD
    }

    pub(super) fn is_idle(&self) -> bool {
        self.running.is_empty() && !self.has_answer()
    }

    pub(super) fn has_answer(&self) -> bool {
        self.outbox.has_answer()
    }

    /// The next answer to send.
    pub(super) fn take(&mut self) -> Option<JudgeAnswer> {
        self.outbox.take()
    }

    /// Starts the candidate of a line, or answers that the line is bad. An empty line is
    /// counted and not answered.
    pub(super) fn read(&mut self, line: &[u8]) {
        self.lines += 1;
        if line.trim_ascii().is_empty() {
            return;
        }
        self.outbox.expect(self.lines);
        match self.asked(line) {
            Ok((started, candidate)) => self.start(started, candidate),
            Err(bad) => self.answer(bad.answer(self.lines)),
        }
    }

    /// The candidate of a line, and its text.
    fn asked(&mut self, line: &[u8]) -> Result<(Started, String), BadLine> {
        let number = self.lines;
        let asked = request(number, line)?;
        let id = asked.id;
        let task = match self.judge.task(&asked.task) {
            Ok(task) => task,
            Err(why) => return Err(BadLine { id, why: format!("line {number} {why}") }),
        };
        let before = self.chains.add(number, &task.id);
        Ok((Started { line: number, id, task, before }, asked.candidate))
    }

    fn start(&mut self, started: Started, answer: String) {
        let (judge, task) = (self.judge.clone(), started.task.clone());
        let judged = async move { candidate::judged(&judge, &task, &answer).await };
        let handle = self.running.spawn(judged);
        self.started.insert(handle.id(), started);
    }

    /// Takes the result of a candidate and answers what can be compared now.
    pub(super) fn finish(&mut self, ended: Result<(Id, Ended), JoinError>) {
        let (task, result, seconds) = match ended {
            Ok((task, (result, seconds))) => (task, result, Some(seconds)),
            Err(bug) => (bug.id(), Err(BenchmarkError::bug("a candidate")(bug)), None),
        };
        let Some(started) = self.started.remove(&task) else { return };
        let (line, before) = (started.line, started.before);
        for done in self.chains.ended(line, before, Done { started, result, seconds }) {
            let answer = self.compared(done);
            self.answer(answer);
        }
    }

    fn answer(&mut self, answer: JudgeAnswer) {
        self.counts.add(&answer);
        self.outbox.put(answer);
    }

    /// The answer to a candidate, whose tests are compared with those before it.
    fn compared(&mut self, Done { started, result, seconds }: Done) -> JudgeAnswer {
        let Started { line, id, task, .. } = started;
        let mut answer = JudgeAnswer {
            line,
            id,
            task: Some(task.id.clone()),
            seconds,
            ..JudgeAnswer::default()
        };
        let judged = match result {
            Ok(judged) => judged,
            Err(why) => return JudgeAnswer { infrastructure: Some(why.to_string()), ..answer },
        };
        let solved = judged.solved();
        let previous = self.previous.get(&task.id);
        let turn =
            turn(&task, judged.code, judged.observation, previous.map_or(&[], slice::from_ref));
        if previous.is_some() && turn.observation.tests.is_some() {
            answer.fixed = Some(turn.feedback.delta.fixed.clone());
            answer.broken = Some(turn.feedback.delta.broken.clone());
        }
        answer.solved = Some(solved);
        answer.outcome = Some(turn.observation.outcome);
        answer.tests = turn.observation.tests.clone().map(Into::into);
        answer.confirmed = judged.verdict.is_some();
        if let Some(verdict) = judged.verdict {
            answer.hidden_tests_pass = verdict.hidden_tests_pass;
            answer.tampering = verdict.tampering;
            answer.review = verdict.review;
        }
        if !solved {
            let turns = slice::from_ref(&turn);
            let shown = task.statement.messages(turns, &self.judge.templates).pop();
            answer.feedback = shown.map(|message| message.content);
        }
        if turn.observation.tests.is_some() {
            self.previous.insert(task.id.clone(), turn);
        }
        answer
    }

    /// Aborts what runs.
    pub(super) async fn abort(mut self, stopped: bool) -> JudgeCounts {
        let aborted = self.running.len();
        self.running.shutdown().await;
        JudgeCounts { stopped, aborted, ..self.counts }
    }
}

/// The turn that a candidate would be, after the turns before it.
fn turn(task: &Task, code: String, observation: Observation, before: &[Turn]) -> Turn {
    let name = task.tools.first().cloned().unwrap_or_default();
    let call = Call::Tool { name, args: json!({ "code": code }) };
    // What is left does not show in the feedback.
    let left = Budget { turns: 0, tokens: None, seconds: None, usd: None };
    let feedback = task.statement.feedback(before, &call, &observation, left);
    let action =
        Action { text: code, reasoning: None, call, usage: Usage::default(), generation: None };
    Turn { action, observation, feedback, timings: Timings::default() }
}
