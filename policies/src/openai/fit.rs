//! Fits the limit of answers to what the server allows.

use std::sync::atomic::Ordering;

use fixfly_runtime::{Limit, PolicyError};
use serde_json::Value;

use super::OpenAi;
use super::complete::{MAX_REFITS, Next, PendingCall, Tries};
use super::request::bytes;
use super::server_error::ServerError;
use super::servers::Server;
use super::window::{Fit, Refused, Sizes, fit, halved, listed, sizes_in};

impl OpenAi {
    /// Lowers the limit of the call's answer to what the server allows, as far as it is
    /// known.
    pub(super) fn limit_answer(&self, call: &mut PendingCall) {
        let asked = self.asked_limit();
        let limit = call.fitted.unwrap_or_else(|| self.window.limit(bytes(&call.body), asked));
        let is_omitted = call.body.get(self.limit_field()).is_none();
        if limit < asked && !is_omitted {
            call.body[self.limit_field()] = Value::from(limit);
        }
    }

    /// The limit in the request, if it is lower than what was asked for.
    pub(super) fn sent_limit(&self, call: &PendingCall) -> Option<u32> {
        let sent = call.body[self.limit_field()].as_u64()?;
        (sent < self.asked_limit()).then(|| u32::try_from(sent).unwrap_or(u32::MAX))
    }

    /// What to do with a call that the server refused as too long.
    pub(super) async fn refit(
        &self,
        error: &ServerError,
        server: &Server,
        call: &mut PendingCall,
        tries: &mut Tries,
    ) -> Result<Next, PolicyError> {
        let sizes = sizes_in(error);
        self.window.learn(sizes);
        let mut known = self.window.known();
        known.window = known.window.or(self.remote.profile.context_length);
        if sizes.window.or(sizes.answer).or(known.window).is_none() {
            known.window = self.listed_window().await;
        }
        let max_tokens = self.sent_limit(call).map_or(self.asked_limit(), u64::from);
        let refused = Refused { prompt_bytes: bytes(&call.body), max_tokens };
        tries.refits += 1;
        let is_last = tries.refits > MAX_REFITS;
        let next = match fit(refused, sizes, known) {
            _ if is_last => Fit::Unknown,
            Fit::Unknown
                if !error.limits_answers() && call.body.get(self.limit_field()).is_some() =>
            {
                halved(max_tokens).map_or(Fit::Unknown, Fit::Again)
            }
            next => next,
        };
        match next {
            Fit::Again(limit) => {
                self.warn_of_limit(&server.address, sizes, known);
                call.fitted = Some(limit);
                Ok(Next::Changed)
            }
            Fit::Unknown if error.limits_answers() => Err(self.halt(format!(
                "{} refuses --max-tokens {max_tokens}: {}; pass a lower --max-tokens",
                server.address,
                error.message()
            ))),
            // If the server has never answered, the next items would be refused, too.
            Fit::Unknown
                if known.window.is_none() && !server.has_answered() =>
            {
                Err(self.halt(format!(
                    "{} refuses a prompt of {} bytes as too long, down to --max-tokens {max_tokens}, and names no limit: {}; pass a lower --max-tokens, or take a model with a longer context",
                    server.address,
                    refused.prompt_bytes,
                    error.message()
                )))
            }
            Fit::PromptTooLong | Fit::Unknown => Err(PolicyError::Spent(Limit::Context)),
        }
    }

    /// Whether the call may be longer than the model's context, as the server lists it.
    pub(super) async fn may_overflow(&self, call: &PendingCall) -> bool {
        let known = self.window.known().window.or(self.remote.profile.context_length);
        let window = match known {
            Some(window) => Some(window),
            None => self.listed_window().await,
        };
        window.is_some_and(|window| bytes(&call.body) / 8 + self.asked_limit() > window)
    }

    /// The model's context in the server's list of models, which is asked for once; of
    /// several servers the smallest, so that no answer depends on its server.
    async fn listed_window(&self) -> Option<u64> {
        let list = async || {
            let mut windows = Vec::new();
            for server in self.servers.all() {
                let list = server.client.models().await.ok().flatten();
                windows.extend(list.and_then(|list| listed(&list, &self.remote.model)));
            }
            windows.into_iter().min()
        };
        let window = *self.listed.get_or_init(list).await;
        self.window.learn(Sizes { window, ..Sizes::default() });
        window
    }

    fn warn_of_limit(&self, address: &str, sizes: Sizes, known: Sizes) {
        if self.warned_of_limit.swap(true, Ordering::Relaxed) {
            return;
        }
        let why = match (sizes.answer, sizes.window.or(known.window)) {
            (Some(answer), _) => format!("answers of at most {answer} tokens"),
            (None, Some(window)) => format!("a context of {window} tokens"),
            (None, None) => "a shorter context".to_string(),
        };
        tracing::warn!(
            "{address} has {why}: answers are limited to what fits, less than --max-tokens {}; each turn records its limit",
            self.asked_limit()
        );
    }

    fn asked_limit(&self) -> u64 {
        self.remote.sampling.max_tokens.map_or(u64::MAX, u64::from)
    }

    fn limit_field(&self) -> &'static str {
        self.remote.profile.limit_field.key()
    }
}
