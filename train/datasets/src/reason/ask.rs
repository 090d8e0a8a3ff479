//! Asks a teacher about many rows in parallel. Each answer is on disk before it is
//! used, so that the same command resumes where the last one ended.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use fixfly_runtime::{Completion, Message, Policy, PolicyError, Request, episode_seed, sha256};
use tokio::task::JoinSet;

use super::answers::{Answered, Answers, Outcome, Tally};
use crate::error::DatasetError;

/// A request about a row.
#[async_trait]
pub trait TraceRequest: Send + Sync {
    /// The row.
    fn row(&self) -> &str;

    /// The prompt's name.
    fn prompt(&self) -> &str;

    /// The messages of the request, given the last rejected answer.
    fn messages(&self, before: Option<&Answered>) -> Vec<Message>;

    /// Judges an answer; an error if the infrastructure failed.
    async fn judge(&self, words: &Completion) -> Result<Outcome, String>;
}

/// Requests, row by row.
pub type TraceRequests<'a> =
    Box<dyn Iterator<Item = Result<Box<dyn TraceRequest>, DatasetError>> + 'a>;

/// Observes the requests, and can stop them.
#[async_trait]
pub trait AskWatch: Send {
    /// Waits for the next interrupt. After the first one, running requests finish; the
    /// second aborts them.
    async fn interrupted(&mut self);

    /// Called after the first interrupt.
    fn stopping(&mut self);

    /// Called at intervals, with the number of rows that are done.
    fn progress(&mut self, done: usize, tally: &Tally);
}

/// A teacher and its answers so far.
pub struct Asking {
    policy: Box<dyn Policy>,
    answers: Mutex<Answers>,
    max_attempts: u32,
    seed: u64,
    stopped: AtomicBool,
}

/// How the requests ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AskEnd {
    /// Whether the user interrupted them.
    pub stopped: bool,
    /// Rows that are not done.
    pub left: usize,
    /// Why a request failed, if one did.
    pub why: Option<String>,
}

impl Asking {
    /// A teacher, the existing answers, the maximum number of answers per row, and the seed
    /// from which the seed of each answer is derived.
    pub fn new(policy: Box<dyn Policy>, answers: Answers, max_attempts: u32, seed: u64) -> Self {
        let (answers, stopped) = (Mutex::new(answers), AtomicBool::new(false));
        Asking { policy, answers, max_attempts, seed, stopped }
    }

    /// The answers so far.
    pub fn answers(&self) -> MutexGuard<'_, Answers> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends requests for all rows that are not done, `jobs` in parallel. `total` is the
    /// number of rows.
    ///
    /// # Errors
    /// [`DatasetError`] if a row cannot be read, or a request panicked.
    pub async fn all(
        self: Arc<Self>,
        mut requests: TraceRequests<'_>,
        jobs: usize,
        total: usize,
        watch: &mut dyn AskWatch,
    ) -> Result<AskEnd, DatasetError> {
        let mut running: JoinSet<Result<(), String>> = JoinSet::new();
        let mut ended = AskEnd::default();
        let mut clock = tokio::time::interval(Duration::from_millis(500));
        let mut done = 0;
        loop {
            while !ended.stopped && ended.why.is_none() && running.len() < jobs {
                let Some(next) = requests.next() else { break };
                let next = next?;
                match self.answers().next(next.row(), self.max_attempts) {
                    None => done += 1,
                    Some(_) => drop(running.spawn(self.clone().row(next))),
                }
            }
            if running.is_empty() {
                break;
            }
            tokio::select! {
                Some(row) = running.join_next() => match row.map_err(|why| DatasetError::Bug(why.to_string()))? {
                    Ok(()) => done += 1,
                    Err(why) => {
                        ended.left += 1;
                        ended.why.get_or_insert(why);
                    }
                },
                () = watch.interrupted() => match ended.stopped {
                    false => {
                        ended.stopped = true;
                        self.stopped.store(true, Ordering::Relaxed);
                        self.policy.stop();
                        watch.stopping();
                    }
                    true => {
                        ended.left += running.len();
                        running.shutdown().await;
                    }
                },
                _ = clock.tick() => {}
            }
            watch.progress(done, &self.answers().tally);
        }
        if ended.stopped || ended.why.is_some() {
            ended.left = total.saturating_sub(done);
        }
        Ok(ended)
    }

    /// Sends requests for a row until a trace is accepted or no further attempt is useful.
    async fn row(self: Arc<Self>, request: Box<dyn TraceRequest>) -> Result<(), String> {
        let row = request.row();
        loop {
            let (next, before) = {
                let answers = self.answers();
                (answers.next(row, self.max_attempts), answers.last(row).cloned())
            };
            let Some(attempt) = next else { return Ok(()) };
            if self.stopped.load(Ordering::Relaxed) {
                return Err("interrupted".into());
            }
            let messages = request.messages(before.as_ref());
            let answered = self.once(&*request, attempt, &messages).await?;
            self.answers().add(answered).map_err(|e| e.to_string())?;
        }
    }

    async fn once(
        &self,
        about: &dyn TraceRequest,
        attempt: u32,
        messages: &[Message],
    ) -> Result<Answered, String> {
        let row = about.row();
        let request = Request {
            messages,
            name: row,
            sample: attempt - 1,
            seed: episode_seed(self.seed, row, attempt),
        };
        let said = serde_json::to_string(messages).unwrap_or_default();
        let prompt_sha256 = sha256(said);
        let mut answered = Answered {
            row: row.into(),
            attempt,
            prompt: about.prompt().into(),
            prompt_sha256,
            text: String::new(),
            reasoning: None,
            generation: None,
            usage: Default::default(),
            outcome: Outcome::Rejected { why: String::new(), again: false },
        };
        let never = |why: String| Outcome::Rejected { why, again: false };
        match self.policy.complete(request).await {
            Ok(words) => {
                answered.outcome = about.judge(&words).await?;
                answered.text = words.text;
                answered.reasoning = words.reasoning;
                answered.usage = words.usage;
                answered.generation = Some(words.generation);
            }
            Err(PolicyError::Infrastructure(why)) => {
                return Err(self.policy.halted().unwrap_or(why));
            }
            Err(PolicyError::Model(why)) => answered.outcome = never(why),
            Err(PolicyError::Spent(_)) => {
                answered.outcome = never("longer than the teacher's context window".into());
            }
        }
        Ok(answered)
    }
}
