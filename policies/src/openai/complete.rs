//! Paid calls: limits, retries and the ledger around one request.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use fixfly_runtime::{
    Finish, Limit, PolicyError, RemoteModel, Request, View, episode_seed, read_run,
};
use serde_json::Value;

use super::advice;
use super::balancer::Retry;
use super::client::CallError;
use super::hints::readable;
use super::journal::{Journal, Line, Owner};
use super::rate_limiter::backoff;
use super::request::{bytes, request, tokens_at_least, tokens_at_most, words};
use super::response::Reply;
use super::server_error::{Meaning, ServerError};
use super::servers::Server;
use super::spend_limit::SpendLimit;
use super::usage::Tokens;
use super::waits::Stopped;
use super::{OpenAi, longest_wait};

/// How often, for each server, a call is repeated at once because a server failed.
const MOVES: usize = 4;
/// How often an answer with an unknown finish reason is asked for again.
const MAX_UNKNOWN: u32 = 2;
/// How often the limit of an answer is fitted.
pub(super) const MAX_REFITS: u32 = 5;

/// A call that has not been made yet.
pub(super) struct PendingCall {
    pub(super) body: Value,
    /// The keys that its answer may have in the journal, each a hash of everything the
    /// answer depends on; the first is that of a new answer.
    pub(super) keys: Vec<String>,
    /// Identifies its episode: all its requests go to one server.
    episode: u64,
    /// Upper bound of its tokens.
    worst: Tokens,
    seed: u64,
    /// US dollars that its episode may still cost.
    left: Option<f64>,
    /// The limit of its answer that the server's refusal led to.
    pub(super) fitted: Option<u64>,
}

/// What was tried for a call so far.
#[derive(Default)]
pub(super) struct Tries {
    failures: u32,
    unknown: u32,
    pub(super) refits: u32,
    /// Repetitions at once, because a server failed and another was up.
    moves: usize,
}

/// What to do after a call that failed.
pub(super) enum Next {
    /// Ask again after this time.
    After(Duration),
    /// Ask again at once: the request is another one now.
    Changed,
    /// This is the reply.
    Reply(Box<PaidReply>),
}

/// The calls that were paid for, and what may still be spent.
pub(super) struct Ledger {
    pub(super) journal: Arc<Journal>,
    pub(super) spend_limit: SpendLimit,
}

/// A request that failed.
struct Failed<'a> {
    error: CallError,
    /// What it cost, in US dollars.
    usd: f64,
    server: &'a Server,
    retry: Retry,
}

/// A reply, with its cost.
pub(super) struct PaidReply {
    pub(super) reply: Reply,
    pub(super) usd: Option<f64>,
    pub(super) calls: u32,
}

impl Ledger {
    /// Opens the ledger of a run. Also returns the number of calls that were answered.
    fn open(settings: &RemoteModel) -> Result<(Ledger, usize), String> {
        let run = settings.run.canonicalize().unwrap_or_else(|_| settings.run.clone());
        let merged = read_run(&settings.run).map(|record| record.merged).unwrap_or_default();
        let owner = Owner {
            run: run.display().to_string(),
            merged: merged.into_iter().map(|run| run.run).collect(),
            whole: settings.journal == settings.run.join("journal"),
        };
        let (journal, spent) = Journal::open(&settings.journal, owner)?;
        if spent.unknown > 0.0 {
            tracing::warn!(
                "${:.4} were put aside for calls whose answers never came to this run; they count as spent",
                spent.unknown
            );
        }
        let spend_limit =
            SpendLimit::new(settings.budget_usd, spent.usd, spent.calls).of_shard(settings.shard);
        Ok((Ledger { journal: Arc::new(journal), spend_limit }, spent.calls))
    }
}

impl OpenAi {
    pub(super) async fn ledger(&self) -> Result<&Ledger, PolicyError> {
        let open = async || {
            let (ledger, calls) = Ledger::open(&self.settings).map_err(|why| self.halt(why))?;
            if calls > 0 {
                self.servers.all().iter().for_each(Server::set_answered);
            }
            Ok(ledger)
        };
        self.ledger.get_or_try_init(open).await
    }

    /// The call for the next action.
    pub(super) fn action_call(&self, view: &View<'_>) -> PendingCall {
        let spent: f64 = view.turns.iter().filter_map(|turn| turn.action.usage.usd).sum();
        let left = view.task.budget.usd.map(|budget| budget - spent);
        let body = request(&self.remote, self.calls, view);
        let call = self.pending_call(body, &view.task.id, view.sample, view.seed);
        PendingCall { left, ..call }
    }

    /// The call for a completion.
    pub(super) fn completion_call(&self, request: &Request<'_>) -> PendingCall {
        let body = words(&self.remote, request.messages, request.seed);
        self.pending_call(body, request.name, request.sample, request.seed)
    }

    fn pending_call(&self, body: Value, name: &str, sample: u32, seed: u64) -> PendingCall {
        let keys = self.keys(&body, sample);
        let worst = Tokens {
            prompt: tokens_at_most(&body),
            completion: u64::from(self.remote.sampling.max_tokens.unwrap_or_default()),
            ..Tokens::default()
        };
        let episode = episode_seed(0, name, sample);
        PendingCall { body, keys, episode, worst, seed, left: None, fitted: None }
    }

    /// Repeats a call until it is answered, or until another retry is of no use.
    pub(super) async fn complete_call(
        &self,
        ledger: &Ledger,
        mut call: PendingCall,
    ) -> Result<PaidReply, PolicyError> {
        let context_length = self.remote.profile.context_length;
        if context_length.is_some_and(|limit| tokens_at_least(&call.body) > limit) {
            return Err(PolicyError::Spent(Limit::Context));
        }
        let check = self.waits.unless_stopped(self.servers.check());
        if let Some(why) = check.await.map_err(stopped)? {
            return Err(self.halt(why));
        }
        let worst = self.usd(call.worst);
        let (mut lost, mut tries) = (0.0, Tries::default());
        for calls in 1.. {
            within_episode(&call, lost, worst)?;
            self.limit_answer(&mut call);
            let failed = match self.call_once(ledger, &call, worst).await? {
                Ok(paid) => {
                    let usd = paid.usd.map(|usd| usd + lost);
                    return Ok(PaidReply { usd, calls, ..paid });
                }
                Err(failed) => failed,
            };
            lost += failed.usd;
            let error = &failed.error;
            match self.next(&failed, &mut call, &mut tries).await? {
                Next::Changed => {}
                Next::Reply(reply) => return Ok(PaidReply { calls, ..*reply }),
                Next::After(wait) => {
                    tracing::info!("{error}; asked again in {:.1} s", wait.as_secs_f64());
                    self.waits.sleep(wait, &error.to_string()).await.map_err(stopped)?;
                }
            }
        }
        unreachable!("it is asked until it returns")
    }

    /// What to do after a call that failed.
    async fn next(
        &self,
        failed: &Failed<'_>,
        call: &mut PendingCall,
        tries: &mut Tries,
    ) -> Result<Next, PolicyError> {
        let Failed { error, server, retry, .. } = failed;
        if let CallError::Server { error, .. } = error {
            if let Some(advice) = self.advice(error, call, server) {
                // The next call would be refused for the same reason.
                return Err(self.halt(advice));
            }
            match error.meaning() {
                Meaning::Filtered => return Ok(Next::Reply(Box::new(filtered(error)))),
                Meaning::BrokenCall => return Ok(Next::Reply(Box::new(broken_call(error, call)))),
                Meaning::TooLong => return self.refit(error, server, call, tries).await,
                // Not every server names its limit when a request exceeds it.
                Meaning::Other
                    if matches!(error.status(), 400 | 413 | 422)
                        && tries.refits == 0
                        && self.may_overflow(call).await =>
                {
                    return self.refit(error, server, call, tries).await;
                }
                Meaning::Other => {}
            }
        }
        if let CallError::UnknownReason { word, .. } = error {
            tries.unknown += 1;
            if tries.unknown > MAX_UNKNOWN {
                return Err(PolicyError::Infrastructure(format!(
                    "{error}, {} times; if it ends a whole answer, add `{} = \"stop\"` below [finish_reasons] in a profile (--profile FILE.toml)",
                    tries.unknown,
                    Value::from(word.as_str())
                )));
            }
        }
        if !error.is_transient() {
            return Err(self.rejected(error, server));
        }
        if *retry != Retry::Later && tries.moves < MOVES * self.servers.all().len() {
            tries.moves += 1;
            if *retry == Retry::Elsewhere {
                // The failures were those of a server that is down now.
                tries.failures = 0;
            }
            tracing::info!("{}: {error}; asked again at once", server.address);
            return Ok(Next::Changed);
        }
        tries.failures += 1;
        let seconds = &self.remote.profile.seconds;
        if tries.failures > seconds.retries {
            let count = tries.failures;
            return Err(PolicyError::Infrastructure(match self.servers.errors() {
                Some(errors) => {
                    format!("none of the servers answers, tried {count} times: {errors}")
                }
                None => format!("{error}, {count} times"),
            }));
        }
        let wait = backoff(seconds.backoff, tries.failures - 1, call.seed);
        self.wait(error, server, wait).map(Next::After)
    }

    /// The wait before the next try: as long as the server asks for, if it is not too long.
    fn wait(
        &self,
        error: &CallError,
        server: &Server,
        wait: Duration,
    ) -> Result<Duration, PolicyError> {
        let asked = error.retry_after().unwrap_or_default();
        let longest = longest_wait(&self.settings);
        if asked <= longest {
            return Ok(wait.max(asked));
        }
        Err(self.halt(format!(
            "{error}; {} asks to wait {}, longer than --max-retry-wait {}",
            server.address,
            readable(asked),
            readable(longest).replace(' ', ""),
        )))
    }

    /// Makes one call: reserves money, sends the request, and writes the result to
    /// the journal before anybody uses it.
    async fn call_once(
        &self,
        ledger: &Ledger,
        call: &PendingCall,
        worst: Option<f64>,
    ) -> Result<Result<PaidReply, Failed<'_>>, PolicyError> {
        let turn = self.servers.turn(call.episode, call.worst.prompt + call.worst.completion);
        let turn = self.waits.unless_stopped(turn).await.map_err(stopped)?;
        let server = turn.server();
        let reservation = ledger.spend_limit.reserve(worst.unwrap_or_default());
        let reservation = self.waits.unless_stopped(reservation).await.map_err(stopped)?;
        let reservation = reservation.map_err(|exhausted| self.halt(exhausted.to_string()))?;
        let hold = self.reserve(ledger, worst).await?;
        let run = ledger.journal.run().to_string();
        let mut asked = server.client.ask(&call.body).await;
        let retry = turn.end(&asked);
        if let Ok(reply) = &mut asked {
            count(call, reply);
            reply.max_tokens = self.sent_limit(call);
        }
        let usd = self.usd(match &asked {
            Ok(reply) => reply.tokens.unwrap_or_default(),
            Err(error) => wasted_tokens(call, error),
        });
        ledger.spend_limit.settle(reservation, usd.unwrap_or_default());
        let address = self.servers.are_several().then(|| server.address.clone());
        let line = match &asked {
            Ok(reply) => {
                let (key, request) = (call.keys[0].clone(), call.body.clone());
                let reply = Box::new(reply.clone());
                Line::Call { run, hold, key, request, reply, usd, server: address }
            }
            Err(error) => Line::Lost { run, hold, why: error.to_string(), usd, server: address },
        };
        self.write(ledger, line).await?;
        Ok(match asked {
            Ok(reply) => {
                server.limiter.on_success();
                server.set_answered();
                Ok(PaidReply { reply, usd, calls: 1 })
            }
            Err(error) => {
                if error.is_rate_limit() {
                    server.limiter.on_rate_limited();
                }
                Err(Failed { error, usd: usd.unwrap_or_default(), server, retry })
            }
        })
    }

    /// The sentence for a refusal that a key of the profile prevents.
    fn advice(&self, error: &ServerError, call: &PendingCall, server: &Server) -> Option<String> {
        if error.meaning() != Meaning::Other {
            return None;
        }
        let (profile, address) = (&self.remote.profile, &server.address);
        let places = ["/error/param", "/param"];
        let field = places.iter().find_map(|place| error.body().pointer(place)?.as_str());
        let words = format!("{} {}", error.message(), field.unwrap_or_default());
        let advice = advice::of(error.status(), &words, profile, &call.body)?;
        Some(format!("{address} {}: {}; {advice}", error.answered(), error.message()))
    }

    /// What an error that no retry can fix means for the episode or the run.
    fn rejected(&self, error: &CallError, server: &Server) -> PolicyError {
        let CallError::Server { error, .. } = error else {
            return PolicyError::Infrastructure(error.to_string());
        };
        let (address, answered) = (&server.address, server.has_answered());
        let hint = match error.status() {
            // A key that was taken before is not the reason.
            403 if answered => String::new(),
            401 | 403 => format!("; the key was taken from ${}", self.key_env),
            402 => "; its account has no money left".to_string(),
            404 => format!(
                "; is `{}` the model's name there, and {address} its address?",
                self.remote.model
            ),
            _ => String::new(),
        };
        let why = format!("{address} {}: {}{hint}", error.answered(), error.message());
        // If the server has never answered, the error concerns every call.
        match matches!(error.status(), 401 | 402 | 404) || !answered {
            true => self.halt(why),
            false => PolicyError::Infrastructure(why),
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

/// Fills in the tokens of a reply that the server did not count.
pub(super) fn count(call: &PendingCall, reply: &mut Reply) {
    let calls: usize = reply.calls.iter().map(|call| call.name.len() + call.arguments.len()).sum();
    let written = reply.text.len() + reply.reasoning.as_ref().map_or(0, String::len) + calls;
    let tokens = reply.tokens.unwrap_or_default();
    reply.tokens = Some(tokens.or_estimated(bytes(&call.body), written as u64));
}

/// Estimated tokens of a call that failed after it sent some text. No server known
/// to us charges for a call that sent none.
fn wasted_tokens(call: &PendingCall, error: &CallError) -> Tokens {
    match error.received() {
        0 => Tokens::default(),
        received => Tokens::default().or_estimated(bytes(&call.body), received as u64),
    }
}

/// The reply to a prompt that a content filter rejected. The model wrote nothing: the
/// server's words are the reason.
fn filtered(error: &ServerError) -> PaidReply {
    let (finish, finish_reason) = (Some(Finish::Filtered), Some(error.message().to_string()));
    let reply = Reply { finish, finish_reason, ..Reply::default() };
    PaidReply { reply, usd: None, calls: 0 }
}

/// The reply of a model whose call the server could not read: the model's own words.
fn broken_call(error: &ServerError, call: &PendingCall) -> PaidReply {
    let text = error.failed_generation().unwrap_or_default().to_string();
    let mut reply = Reply { text, finish: Some(Finish::Stop), ..Reply::default() };
    count(call, &mut reply);
    PaidReply { reply, usd: None, calls: 0 }
}

fn stopped(stopped: Stopped) -> PolicyError {
    PolicyError::Infrastructure(stopped.to_string())
}
