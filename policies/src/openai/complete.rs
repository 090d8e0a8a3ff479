//! Paid calls: limits, retries and the ledger around one request.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use fixfly_runtime::{Finish, Limit, PolicyError, RemoteModel, Request, View, sha256};
use serde_json::{Value, json};

use super::OpenAi;
use super::advice;
use super::client::CallError;
use super::journal::{Journal, Line};
use super::profile::Profile;
use super::rate_limiter::backoff;
use super::request::{request, tokens_at_least, tokens_at_most, words};
use super::response::{Reply, Tokens};
use super::spend_limit::SpendLimit;

/// What servers write when a prompt is longer than the context.
const TOO_LONG: [&str; 6] = [
    "context length",
    "context_length",
    "context size",
    "context window",
    "too long",
    "too many tokens",
];
/// What servers write when a content filter rejects a prompt.
const FILTERED: [&str; 3] = ["content filter", "content_filter", "content management policy"];

/// A call that has not been made yet.
pub(super) struct PendingCall {
    body: Value,
    /// The key of its answer in the journal: a hash of everything the answer depends on.
    pub(super) key: String,
    /// Upper bound of its tokens.
    worst: Tokens,
    seed: u64,
    /// US dollars that its episode may still cost.
    left: Option<f64>,
}

/// The calls that were paid for, and what may still be spent.
pub(super) struct Ledger {
    pub(super) journal: Arc<Journal>,
    spend_limit: SpendLimit,
}

/// A reply, with its cost.
pub(super) struct PaidReply {
    pub(super) reply: Reply,
    pub(super) usd: Option<f64>,
    pub(super) calls: u32,
}

impl Ledger {
    fn open(settings: &RemoteModel) -> Result<Ledger, String> {
        let run = settings.run.canonicalize().unwrap_or_else(|_| settings.run.clone());
        let (journal, spent) = Journal::open(&settings.journal, &run.display().to_string())?;
        if spent.unknown > 0.0 {
            tracing::warn!(
                "${:.4} were put aside for calls whose answers never came to this run; they count as spent",
                spent.unknown
            );
        }
        let spend_limit = SpendLimit::new(settings.budget_usd, spent.usd, spent.calls);
        Ok(Ledger { journal: Arc::new(journal), spend_limit })
    }
}

impl OpenAi {
    pub(super) async fn ledger(&self) -> Result<&Ledger, PolicyError> {
        let open = async || Ledger::open(&self.settings).map_err(|why| self.halt(why));
        self.ledger.get_or_try_init(open).await
    }

    /// The call for the next action.
    pub(super) fn action_call(&self, view: &View<'_>) -> PendingCall {
        let spent: f64 = view.turns.iter().filter_map(|turn| turn.action.usage.usd).sum();
        let left = view.task.budget.usd.map(|budget| budget - spent);
        self.pending_call(request(&self.remote, self.calls, view), view.sample, view.seed, left)
    }

    /// The call for a completion.
    pub(super) fn completion_call(&self, request: &Request<'_>) -> PendingCall {
        let body = words(&self.remote, request.messages, request.seed);
        self.pending_call(body, request.sample, request.seed, None)
    }

    fn pending_call(&self, body: Value, sample: u32, seed: u64, left: Option<f64>) -> PendingCall {
        let whole = json!([self.remote.base_url, body, sample]).to_string();
        let key = sha256(whole);
        let worst = Tokens {
            prompt: tokens_at_most(&body),
            completion: u64::from(self.remote.sampling.max_tokens.unwrap_or_default()),
            ..Tokens::default()
        };
        PendingCall { body, key, worst, seed, left }
    }

    /// Repeats a call until it is answered, or until another retry is of no use.
    pub(super) async fn complete_call(
        &self,
        ledger: &Ledger,
        call: PendingCall,
    ) -> Result<PaidReply, PolicyError> {
        let Profile { seconds, context_length, .. } = &self.remote.profile;
        if context_length.is_some_and(|limit| tokens_at_least(&call.body) > limit) {
            return Err(PolicyError::Spent(Limit::Context));
        }
        let worst = self.usd(call.worst);
        let mut lost = 0.0;
        for calls in 1.. {
            within_episode(&call, lost, worst)?;
            let error = match self.call_once(ledger, &call, worst).await? {
                Ok(paid) => {
                    let usd = paid.usd.map(|usd| usd + lost);
                    return Ok(PaidReply { usd, calls, ..paid });
                }
                Err((error, usd)) => {
                    lost += usd;
                    error
                }
            };
            if !error.is_transient() {
                return self.rejected(&error, calls, &call.body);
            }
            if calls > seconds.retries {
                return Err(PolicyError::Infrastructure(format!("{error}, {calls} times")));
            }
            let wait = backoff(seconds.backoff, calls - 1, call.seed);
            let wait = error.retry_after().map_or(wait, |after| after.max(wait));
            tracing::info!("{error}; asked again in {:.1} s", wait.as_secs_f64());
            tokio::time::sleep(wait).await;
        }
        unreachable!("it is asked until it returns")
    }

    /// Makes one call: reserves money, sends the request, and writes the result to
    /// the journal before anybody uses it.
    async fn call_once(
        &self,
        ledger: &Ledger,
        call: &PendingCall,
        worst: Option<f64>,
    ) -> Result<Result<PaidReply, (CallError, f64)>, PolicyError> {
        let permit = self.rate_limiter.acquire(call.worst.prompt + call.worst.completion).await;
        let reservation = ledger.spend_limit.reserve(worst.unwrap_or_default()).await;
        let reservation = reservation.map_err(|exhausted| self.halt(exhausted.to_string()))?;
        let hold = self.reserve(ledger, worst).await?;
        let run = ledger.journal.run().to_string();
        let asked = self.client.ask(&call.body).await;
        drop(permit);
        let usd = self.usd(match &asked {
            Ok(reply) => reply.tokens.unwrap_or_else(|| estimated_tokens(call, reply)),
            Err(error) => wasted_tokens(call, error),
        });
        ledger.spend_limit.settle(reservation, usd.unwrap_or_default());
        let line = match &asked {
            Ok(reply) => {
                let (key, request) = (call.key.clone(), call.body.clone());
                Line::Call { run, hold, key, request, reply: reply.clone(), usd }
            }
            Err(error) => Line::Lost { run, hold, why: error.to_string(), usd },
        };
        self.write(ledger, line).await?;
        Ok(match asked {
            Ok(reply) => {
                self.rate_limiter.on_success();
                self.answered.store(true, Ordering::Relaxed);
                Ok(PaidReply { reply, usd, calls: 1 })
            }
            Err(error) => {
                if let CallError::Status { status: 429, .. } = error {
                    self.rate_limiter.on_rate_limited();
                }
                Err((error, usd.unwrap_or_default()))
            }
        })
    }

    /// What an error that no retry can fix means for the episode or the run.
    fn rejected(
        &self,
        error: &CallError,
        calls: u32,
        body: &Value,
    ) -> Result<PaidReply, PolicyError> {
        let CallError::Status { status, message, .. } = error else {
            return Err(PolicyError::Infrastructure(error.to_string()));
        };
        let words = message.to_lowercase();
        let has = |parts: &[&str]| parts.iter().any(|part| words.contains(part));
        if matches!(status, 400 | 413) && has(&TOO_LONG) {
            return Err(PolicyError::Spent(Limit::Context));
        }
        if *status == 400 && has(&FILTERED) {
            let reply =
                Reply { text: message.clone(), finish: Some(Finish::Filtered), ..Reply::default() };
            return Ok(PaidReply { reply, usd: None, calls });
        }
        let address = &self.remote.base_url;
        if let Some(advice) = advice::of(*status, message, &self.remote.profile, body) {
            // The next call would be refused for the same reason.
            return Err(self.halt(format!("{address} answered {status}: {message}; {advice}")));
        }
        let hint = match status {
            401 | 403 => format!("; the key was taken from ${}", self.key_env),
            402 => "; its account has no money left".to_string(),
            404 => format!(
                "; is `{}` the model's name there, and {address} its address?",
                self.remote.model
            ),
            _ => String::new(),
        };
        let why = format!("{address} answered {status}: {message}{hint}");
        // If the server has never answered, the error concerns every call.
        match matches!(status, 401..=404) || !self.answered.load(Ordering::Relaxed) {
            true => Err(self.halt(why)),
            false => Err(PolicyError::Infrastructure(why)),
        }
    }

    fn usd(&self, tokens: Tokens) -> Option<f64> {
        let price = self.remote.profile.price?;
        Some(price.of(tokens.prompt, tokens.cached, tokens.completion, tokens.reasoning))
    }

    /// Writes to the journal that a call of this price is about to be made.
    /// Returns the id of the reservation.
    async fn reserve(&self, ledger: &Ledger, worst: Option<f64>) -> Result<String, PolicyError> {
        let number = self.holds.fetch_add(1, Ordering::Relaxed);
        let hold =
            format!("{}-{number}-{}", std::process::id(), jiff::Timestamp::now().as_nanosecond());
        if let Some(usd) = worst {
            let run = ledger.journal.run().to_string();
            self.write(ledger, Line::Hold { run, hold: hold.clone(), usd }).await?;
        }
        Ok(hold)
    }

    async fn write(&self, ledger: &Ledger, line: Line) -> Result<(), PolicyError> {
        let journal = ledger.journal.clone();
        let written = tokio::task::spawn_blocking(move || journal.add(&line)).await;
        written.unwrap_or_else(|fault| Err(fault.to_string())).map_err(|why| self.halt(why))
    }
}

/// Whether the episode's budget covers another call.
fn within_episode(call: &PendingCall, lost: f64, worst: Option<f64>) -> Result<(), PolicyError> {
    match (call.left, worst) {
        (Some(left), Some(worst)) if lost + worst > left => Err(PolicyError::Spent(Limit::Usd)),
        _ => Ok(()),
    }
}

/// Estimated tokens of a reply if the server did not count them.
fn estimated_tokens(call: &PendingCall, reply: &Reply) -> Tokens {
    let written = reply.text.len() + reply.reasoning.as_ref().map_or(0, String::len);
    Tokens { prompt: call.worst.prompt, completion: written as u64 / 3, ..Tokens::default() }
}

/// Estimated tokens of a call that failed after it sent some text. No server known
/// to us charges for a call that sent none.
fn wasted_tokens(call: &PendingCall, error: &CallError) -> Tokens {
    match error.received() {
        0 => Tokens::default(),
        received => Tokens {
            prompt: call.worst.prompt,
            completion: received as u64 / 3,
            ..Tokens::default()
        },
    }
}
