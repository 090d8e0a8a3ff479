//! Gets answers from a server: within the pace, the budget and reason.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use fixfly_runtime::{Finish, Limit, PolicyError, Request, View, sha256};
use serde_json::{Value, json};

use super::OpenAi;
use super::journal::{Journal, Line};
use super::pace::backoff;
use super::profile::Profile;
use super::purse::SpendLimit;
use super::request::{request, tokens_at_least, tokens_at_most, words};
use super::response::{Reply, Tokens};
use super::wire::CallError;
use crate::settings::Teacher;

/// How servers say that a prompt does not fit.
const TOO_LONG: [&str; 6] = [
    "context length",
    "context_length",
    "context size",
    "context window",
    "too long",
    "too many tokens",
];
/// How they say that they will not hear it.
const FILTERED: [&str; 3] = ["content filter", "content_filter", "content management policy"];

/// A call to make.
pub(super) struct Asked {
    body: Value,
    /// What its answer is kept under: all that it depends on.
    pub(super) key: String,
    /// What it may take at most.
    worst: Tokens,
    seed: u64,
    /// US dollars that its episode may cost yet.
    left: Option<f64>,
}

/// What was bought, and what may be spent yet.
pub(super) struct Ledger {
    pub(super) journal: Arc<Journal>,
    purse: SpendLimit,
}

/// An answer, and what it took to get it.
pub(super) struct Bought {
    pub(super) reply: Reply,
    pub(super) usd: Option<f64>,
    pub(super) calls: u32,
}

impl Ledger {
    fn open(asked: &Teacher) -> Result<Ledger, String> {
        let run = asked.run.canonicalize().unwrap_or_else(|_| asked.run.clone());
        let (journal, spent) = Journal::open(&asked.journal, &run.display().to_string())?;
        if spent.unknown > 0.0 {
            tracing::warn!(
                "${:.4} were put aside for calls whose answers never came to this run; they count as spent",
                spent.unknown
            );
        }
        let purse = SpendLimit::new(asked.budget_usd, spent.usd, spent.calls);
        Ok(Ledger { journal: Arc::new(journal), purse })
    }
}

impl OpenAi {
    pub(super) async fn books(&self) -> Result<&Ledger, PolicyError> {
        let open = async || Ledger::open(&self.asked).map_err(|why| self.halt(why));
        self.books.get_or_try_init(open).await
    }

    /// The call that asks for the next action.
    pub(super) fn next(&self, view: &View<'_>) -> Asked {
        let spent: f64 = view.turns.iter().filter_map(|turn| turn.action.usage.usd).sum();
        let left = view.task.budget.usd.map(|budget| budget - spent);
        self.asked(request(&self.teacher, self.calls, view), view.sample, view.seed, left)
    }

    /// The call that asks for words.
    pub(super) fn wanted(&self, request: &Request<'_>) -> Asked {
        let body = words(&self.teacher, request.messages, request.seed);
        self.asked(body, request.sample, request.seed, None)
    }

    fn asked(&self, body: Value, sample: u32, seed: u64, left: Option<f64>) -> Asked {
        let whole = json!([self.teacher.base_url, body, sample]).to_string();
        let key = sha256(whole);
        let worst = Tokens {
            prompt: tokens_at_most(&body),
            completion: u64::from(self.teacher.sampling.max_tokens.unwrap_or_default()),
            ..Tokens::default()
        };
        Asked { body, key, worst, seed, left }
    }

    /// Asks until there is an answer, or asking again is of no use.
    pub(super) async fn buy(&self, books: &Ledger, call: Asked) -> Result<Bought, PolicyError> {
        let Profile { seconds, context, .. } = &self.teacher.profile;
        if context.is_some_and(|context| tokens_at_least(&call.body) > context) {
            return Err(PolicyError::Spent(Limit::Context));
        }
        let worst = self.usd(call.worst);
        let mut lost = 0.0;
        for calls in 1.. {
            within_episode(&call, lost, worst)?;
            let trouble = match self.once(books, &call, worst).await? {
                Ok(bought) => {
                    let usd = bought.usd.map(|usd| usd + lost);
                    return Ok(Bought { usd, calls, ..bought });
                }
                Err((trouble, usd)) => {
                    lost += usd;
                    trouble
                }
            };
            if !trouble.passing() {
                return self.refused(&trouble, calls);
            }
            if calls > seconds.retries {
                return Err(PolicyError::Infrastructure(format!("{trouble}, {calls} times")));
            }
            let wait = backoff(seconds.backoff, calls - 1, call.seed);
            let wait = trouble.retry_after().map_or(wait, |after| after.max(wait));
            tracing::info!("{trouble}; asked again in {:.1} s", wait.as_secs_f64());
            tokio::time::sleep(wait).await;
        }
        unreachable!("it is asked until it returns")
    }

    /// One call: money is put aside, the server asked, and what came of it
    /// written down before anybody uses it.
    async fn once(
        &self,
        books: &Ledger,
        call: &Asked,
        worst: Option<f64>,
    ) -> Result<Result<Bought, (CallError, f64)>, PolicyError> {
        let leave = self.pace.leave(call.worst.prompt + call.worst.completion).await;
        let held = books.purse.hold(worst.unwrap_or_default()).await;
        let held = held.map_err(|empty| self.halt(empty.to_string()))?;
        let hold = self.put_aside(books, worst).await?;
        let run = books.journal.run().to_string();
        let asked = self.wire.ask(&call.body).await;
        drop(leave);
        let usd = self.usd(match &asked {
            Ok(reply) => reply.tokens.unwrap_or_else(|| guessed(call, reply)),
            Err(trouble) => wasted(call, trouble),
        });
        books.purse.settle(held, usd.unwrap_or_default());
        let line = match &asked {
            Ok(reply) => {
                let (key, request) = (call.key.clone(), call.body.clone());
                Line::Call { run, hold, key, request, reply: reply.clone(), usd }
            }
            Err(trouble) => Line::Lost { run, hold, why: trouble.to_string(), usd },
        };
        self.write(books, line).await?;
        Ok(match asked {
            Ok(reply) => {
                self.pace.on_success();
                self.answered.store(true, Ordering::Relaxed);
                Ok(Bought { reply, usd, calls: 1 })
            }
            Err(trouble) => {
                if let CallError::Status { status: 429, .. } = trouble {
                    self.pace.too_fast();
                }
                Err((trouble, usd.unwrap_or_default()))
            }
        })
    }

    /// What a server's final no means.
    fn refused(&self, trouble: &CallError, calls: u32) -> Result<Bought, PolicyError> {
        let CallError::Status { status, said, .. } = trouble else {
            return Err(PolicyError::Infrastructure(trouble.to_string()));
        };
        let words = said.to_lowercase();
        let has = |parts: &[&str]| parts.iter().any(|part| words.contains(part));
        if matches!(status, 400 | 413) && has(&TOO_LONG) {
            return Err(PolicyError::Spent(Limit::Context));
        }
        if *status == 400 && has(&FILTERED) {
            let reply =
                Reply { text: said.clone(), finish: Some(Finish::Filtered), ..Reply::default() };
            return Ok(Bought { reply, usd: None, calls });
        }
        let address = &self.teacher.base_url;
        let mend = match status {
            401 | 403 => format!("; the key was taken from ${}", self.key_env),
            402 => "; its account has no money left".to_string(),
            404 => format!(
                "; is `{}` the model's name there, and {address} its address?",
                self.teacher.model
            ),
            _ => String::new(),
        };
        let why = format!("{address} answered {status}: {said}{mend}");
        // What it would not do once it will do for nobody.
        match matches!(status, 401..=404) || !self.answered.load(Ordering::Relaxed) {
            true => Err(self.halt(why)),
            false => Err(PolicyError::Infrastructure(why)),
        }
    }

    fn usd(&self, tokens: Tokens) -> Option<f64> {
        let price = self.teacher.profile.price?;
        Some(price.of(tokens.prompt, tokens.cached, tokens.completion, tokens.reasoning))
    }

    /// Notes on the disk that a call of that price is about to be made. Gives
    /// the name of the note.
    async fn put_aside(&self, books: &Ledger, worst: Option<f64>) -> Result<String, PolicyError> {
        let number = self.holds.fetch_add(1, Ordering::Relaxed);
        let hold =
            format!("{}-{number}-{}", std::process::id(), jiff::Timestamp::now().as_nanosecond());
        if let Some(usd) = worst {
            let run = books.journal.run().to_string();
            self.write(books, Line::Hold { run, hold: hold.clone(), usd }).await?;
        }
        Ok(hold)
    }

    async fn write(&self, books: &Ledger, line: Line) -> Result<(), PolicyError> {
        let journal = books.journal.clone();
        let written = tokio::task::spawn_blocking(move || journal.add(&line)).await;
        written.unwrap_or_else(|fault| Err(fault.to_string())).map_err(|why| self.halt(why))
    }
}

/// Whether the episode may cost another call.
fn within_episode(call: &Asked, lost: f64, worst: Option<f64>) -> Result<(), PolicyError> {
    match (call.left, worst) {
        (Some(left), Some(worst)) if lost + worst > left => Err(PolicyError::Spent(Limit::Usd)),
        _ => Ok(()),
    }
}

/// Tokens of an answer whose server does not count them.
fn guessed(call: &Asked, reply: &Reply) -> Tokens {
    let written = reply.text.len() + reply.reasoning.as_ref().map_or(0, String::len);
    Tokens { prompt: call.worst.prompt, completion: written as u64 / 3, ..Tokens::default() }
}

/// Tokens of a call that gave words but no answer. One that gave none is not
/// charged by any server known to us.
fn wasted(call: &Asked, trouble: &CallError) -> Tokens {
    match trouble.came() {
        0 => Tokens::default(),
        came => {
            Tokens { prompt: call.worst.prompt, completion: came as u64 / 3, ..Tokens::default() }
        }
    }
}
