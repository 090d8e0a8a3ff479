//! A model behind an OpenAI-compatible server: mostly a teacher.

mod addresses;
mod advice;
mod balancer;
mod calls;
mod client;
mod complete;
mod content;
mod encoding;
mod events;
mod finish;
mod fit;
mod hints;
mod journal;
mod json;
mod profile;
mod rate_limiter;
mod rates;
mod reader;
mod request;
mod response;
mod server_error;
mod servers;
mod spend_limit;
mod usage;
mod waits;
mod window;

use std::sync::atomic::{AtomicBool, AtomicU64};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use fixfly_runtime::{
    Action, Call, CallForm, Completion, Entry, Finish, Generation, Policy, PolicyError,
    RemoteModel, Request, Resource, Sampling, Settings, Shard, Usage, View,
};
use tokio::sync::OnceCell;

use crate::calls::ReadCall;
use crate::{Open, answer};
use complete::{Ledger, PaidReply, PendingCall};
pub use journal::join_journals;
use profile::{Limits, Resolved};
pub use rates::Rates;
pub use reader::{AnswerError, AnswerReader};
use request::seed;
pub use response::Reply;
pub use server_error::ServerError;
use servers::Servers;
use waits::Waits;
use window::Window;

pub(crate) const ENTRY: Entry<Open> = Entry {
    name: "openai",
    about: "a model behind an OpenAI-compatible server (--model, --base-url, --profile)",
    open: Open::Model(open),
};

const KEY: &str = "OPENAI_API_KEY";
/// The longest wait that a server may ask for, by default.
const MAX_RETRY_WAIT: Duration = Duration::from_secs(600);

/// A remote model, with its limits and its ledger.
struct OpenAi {
    remote: Resolved,
    calls: CallForm,
    key_env: String,
    servers: Arc<Servers>,
    settings: RemoteModel,
    /// Opened by the first call, because the run directory does not exist before.
    ledger: OnceCell<Ledger>,
    /// The addresses under which the journal may have answers; the first is that of new ones.
    known_as: OnceLock<Vec<String>>,
    halted: Mutex<Option<String>>,
    holds: AtomicU64,
    waits: Waits,
    window: Window,
    /// The context in the server's list of models.
    listed: OnceCell<Option<u64>>,
    warned_of_limit: AtomicBool,
}

/// The prices and limits of the model that these settings name.
///
/// # Errors
/// One sentence that states what is wrong with the settings.
pub fn rates(settings: &Settings) -> Result<Rates, String> {
    let Resolved { profile, sampling, .. } = Resolved::of(settings)?;
    let Limits { requests_per_minute, tokens_per_minute, .. } = profile.limits;
    let (price, max_tokens) = (profile.price, sampling.max_tokens);
    let shards = shards(settings);
    Ok(Rates { price, requests_per_minute, tokens_per_minute, max_tokens, shards })
}

/// The number of shards that share the limits.
fn shards(settings: &Settings) -> u32 {
    settings.remote.shard.map_or(1, Shard::of)
}

fn open(settings: &Settings) -> Result<Box<dyn Policy>, String> {
    let local = [
        ("--answer-grammar", settings.local.answer_grammar),
        ("--distinct-answers", settings.local.distinct_answers),
    ];
    if let Some((flag, _)) = local.iter().find(|(_, is)| *is) {
        return Err(format!(
            "{flag} needs --policy llama, because a server chooses the tokens itself: remove {flag}"
        ));
    }
    let remote = Resolved::of(settings)?;
    let (key_env, key) = key(settings, &remote)?;
    if remote.profile.price.is_none() {
        let model = &remote.model;
        let budgets = [
            ("--budget", settings.remote.budget_usd),
            ("--cost-limit", settings.remote.episode_budget_usd),
        ];
        if let Some((flag, _)) = budgets.iter().find(|(_, budget)| budget.is_some()) {
            return Err(format!(
                "the price of `{model}` is not known, so {flag} cannot be kept: give it in a profile (--profile FILE.toml with [price] input and output), or leave out {flag}"
            ));
        }
        tracing::info!("the price of `{model}` is not known: tokens are counted, dollars are not");
    }
    Ok(Box::new(OpenAi {
        servers: Servers::open(&remote, &key, longest_wait(&settings.remote), shards(settings))?,
        settings: settings.remote.clone(),
        ledger: OnceCell::new(),
        calls: settings.calls,
        remote,
        key_env,
        known_as: OnceLock::new(),
        halted: Mutex::new(None),
        holds: AtomicU64::new(0),
        waits: Waits::new(),
        window: Window::default(),
        listed: OnceCell::new(),
        warned_of_limit: AtomicBool::new(false),
    }))
}

/// The longest wait that a server may ask for.
fn longest_wait(settings: &RemoteModel) -> Duration {
    settings.max_retry_wait.map_or(MAX_RETRY_WAIT, Duration::from_secs)
}

/// The API key, and the variable that holds it. Your own servers need none.
fn key(settings: &Settings, remote: &Resolved) -> Result<(String, String), String> {
    let named = settings.remote.api_key_env.clone().or(remote.profile.api_key_env.clone());
    let name = named.clone().unwrap_or_else(|| KEY.to_string());
    match std::env::var(&name).ok().filter(|key| !key.trim().is_empty()) {
        Some(key) => Ok((name, key.trim().to_string())),
        None if named.is_some() || remote.is_openai() => Err(format!(
            "the key of {} is looked for in the environment variable {name}, which is not set: set it, or name another by --api-key-env",
            remote.base_urls.join(" and ")
        )),
        None => Ok((name, "none".to_string())),
    }
}

#[async_trait]
impl Policy for OpenAi {
    async fn act(&self, view: View<'_>) -> Result<Action, PolicyError> {
        let paid = self.answer(self.action_call(&view)).await?;
        let ReadCall { call, repaired } = call(self.calls, &paid.reply, &view);
        let mut completion = self.words(paid, view.seed, view.turns.len());
        completion.generation.repaired = repaired;
        Ok(completion.action(call))
    }

    async fn complete(&self, request: Request<'_>) -> Result<Completion, PolicyError> {
        let paid = self.answer(self.completion_call(&request)).await?;
        Ok(self.words(paid, request.seed, 0))
    }

    fn halted(&self) -> Option<String> {
        self.halted.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn stop(&self) {
        self.waits.stop();
    }

    fn waiting(&self) -> Option<String> {
        let shown = [self.servers.shown(), self.waits.shown()];
        shown.into_iter().flatten().reduce(|servers, waits| format!("{servers}; {waits}"))
    }

    fn waiting_for(&self) -> Vec<(Resource, usize)> {
        let money = self.ledger.get().map_or(0, |ledger| ledger.spend_limit.waiting());
        self.servers.waiting().chain([(Resource::Money, money)]).collect()
    }
}

impl OpenAi {
    /// The reply to a call: from the journal if it was paid for before.
    async fn answer(&self, call: PendingCall) -> Result<PaidReply, PolicyError> {
        if let Some(why) = self.halted() {
            return Err(PolicyError::Infrastructure(why));
        }
        let ledger = self.ledger().await?;
        let find = |key: &String| ledger.journal.find(key).transpose();
        let found = call.keys.iter().find_map(find).transpose();
        match found.map_err(|why| self.halt(why))? {
            Some((mut reply, usd, calls)) => {
                // Earlier versions recorded no tokens where the server counted none.
                complete::count(&call, &mut reply);
                Ok(PaidReply { reply, usd, calls })
            }
            None => self.complete_call(ledger, call).await,
        }
    }

    fn halt(&self, why: String) -> PolicyError {
        // A wait for the server now has no purpose.
        self.waits.stop();
        let mut halted = self.halted.lock().unwrap_or_else(PoisonError::into_inner);
        PolicyError::Infrastructure(halted.get_or_insert(why).clone())
    }

    fn words(&self, paid: PaidReply, chance: u64, turn: usize) -> Completion {
        let PaidReply { reply, usd, calls } = paid;
        let tokens = reply.tokens.unwrap_or_default();
        Completion {
            usage: Usage {
                prompt_tokens: tokens.prompt,
                completion_tokens: tokens.completion,
                cached_tokens: tokens.cached,
                reasoning_tokens: tokens.reasoning,
                estimated: tokens.estimated,
                calls,
                usd,
            },
            generation: Generation {
                model: match reply.model.is_empty() {
                    true => self.remote.model.clone(),
                    false => reply.model,
                },
                sampling: Sampling {
                    seed: seed(&self.remote, chance),
                    max_tokens: reply.max_tokens.or(self.remote.sampling.max_tokens),
                    ..self.remote.sampling_at(turn)
                },
                thinking: self.remote.thinking,
                finish: reply.finish.unwrap_or(Finish::Stop),
                finish_reason: reply.finish_reason,
                first_token_ms: reply.first_token_ms,
                tokens_per_second: speed(tokens.completion, reply.first_token_ms, reply.total_ms),
                tokens: Vec::new(),
                native_calls: reply.calls,
                repaired: Vec::new(),
                resampled: 0,
                speculation: None,
            },
            text: reply.text,
            reasoning: reply.reasoning,
        }
    }
}

/// The call of a reply: a native one, or one in its text.
fn call(form: CallForm, reply: &Reply, view: &View<'_>) -> ReadCall {
    let (tools, finish) = (view.specs(), reply.finish.unwrap_or(Finish::Stop));
    let text = || {
        let read = answer::read(&reply.text, &view.task.statement.asked(), &tools, finish);
        answer::after_reasoning(read, reply.reasoning.as_deref())
    };
    match (form, reply.calls.as_slice()) {
        (CallForm::Native, [call]) => {
            crate::calls::native(&call.name, &call.arguments, &tools, finish)
        }
        (CallForm::Native, [_, _, ..]) => {
            let several = reply.calls.len();
            Call::Malformed(format!("the answer calls {several} tools; call one at a time")).into()
        }
        (CallForm::Native, []) => match text() {
            // What the text form asks for would mislead.
            ReadCall { call: Call::Malformed(_), .. }
                if finish_is_whole(finish) && !answer::has_calls(&reply.text, &tools) =>
            {
                Call::Malformed(crate::calls::no_native_call(&tools)).into()
            }
            read => read,
        },
        (CallForm::Text, _) => text(),
    }
}

/// Whether the model ended its answer itself.
fn finish_is_whole(finish: Finish) -> bool {
    matches!(finish, Finish::Stop | Finish::ToolCall)
}

fn speed(tokens: u64, first_token_ms: Option<u64>, total_ms: u64) -> Option<f64> {
    let writing = total_ms.checked_sub(first_token_ms?)?;
    (writing > 0 && tokens > 1).then(|| (tokens - 1) as f64 * 1000.0 / writing as f64)
}
