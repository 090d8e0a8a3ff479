//! What fits into a model's context: learned from what its server writes.

use std::sync::{LazyLock, Mutex, PoisonError};

use regex::Regex;
use serde_json::Value;

use super::server_error::ServerError;

/// An answer with less room is not worth a call.
const MIN_ROOM: u64 = 64;

/// What a server allows, as far as it is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Sizes {
    /// Maximum tokens of a prompt and its answer together.
    pub(super) window: Option<u64>,
    /// Maximum tokens of an answer.
    pub(super) answer: Option<u64>,
    /// Tokens of the prompt that the server refused.
    pub(super) prompt: Option<u64>,
}

/// A call that a server refused: what was asked, and the bytes of its prompt.
#[derive(Clone, Copy, Debug)]
pub(super) struct Refused {
    pub(super) prompt_bytes: u64,
    pub(super) max_tokens: u64,
}

/// What to do with a call that is too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fit {
    /// Ask again with this limit of the answer.
    Again(u64),
    /// The prompt alone is too long.
    PromptTooLong,
    /// Nobody knows which limit would do.
    Unknown,
}

/// What a server allows, for all calls of a run.
#[derive(Debug, Default)]
pub(super) struct Window(Mutex<Sizes>);

impl Window {
    pub(super) fn known(&self) -> Sizes {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds what was learned; the smallest known sizes hold.
    pub(super) fn learn(&self, sizes: Sizes) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let least = |known: Option<u64>, new: Option<u64>| match (known, new) {
            (Some(known), Some(new)) => Some(known.min(new)),
            (known, new) => known.or(new),
        };
        known.window = least(known.window, sizes.window);
        known.answer = least(known.answer, sizes.answer);
    }

    /// The limit of an answer to a prompt of this size, at most `asked`. Depends only on
    /// the known sizes and the prompt, so that a run sends the same requests again.
    pub(super) fn limit(&self, prompt_bytes: u64, asked: u64) -> u64 {
        let Sizes { window, answer, .. } = self.known();
        let asked = answer.map_or(asked, |answer| asked.min(answer));
        match window.map(|window| window.saturating_sub(estimate(prompt_bytes))) {
            Some(room) if room >= MIN_ROOM => asked.min(room),
            // The estimate may be too high: the server counts.
            _ => asked,
        }
    }
}

/// An upper bound of a prompt's tokens, nearly always.
fn estimate(bytes: u64) -> u64 {
    bytes.div_ceil(3) + 64
}

/// How to ask again after a refusal, given what it tells and what was known before.
pub(super) fn fit(refused: Refused, told: Sizes, known: Sizes) -> Fit {
    let Refused { prompt_bytes, max_tokens } = refused;
    if let Some(answer) = told.answer.filter(|answer| (1..max_tokens).contains(answer)) {
        return Fit::Again(answer);
    }
    let Some(window) = told.window.or(known.window) else { return Fit::Unknown };
    // Eight bytes a token are more than any text has.
    let prompt = told.prompt.unwrap_or(prompt_bytes / 8);
    if prompt + MIN_ROOM > window {
        return Fit::PromptTooLong;
    }
    let prompt = told.prompt.unwrap_or_else(|| estimate(prompt_bytes));
    match window.saturating_sub(prompt) {
        // The estimate may be too high, but was too low before.
        0..MIN_ROOM if told.prompt.is_none() && max_tokens > MIN_ROOM => Fit::Again(MIN_ROOM),
        0..MIN_ROOM => Fit::PromptTooLong,
        room if room < max_tokens => Fit::Again(room),
        // It does not fit even so: the server counts otherwise.
        _ if max_tokens / 2 >= MIN_ROOM => Fit::Again(max_tokens / 2),
        _ => Fit::PromptTooLong,
    }
}

/// A lower limit to try where nobody knows which one fits.
pub(super) fn halved(max_tokens: u64) -> Option<u64> {
    // Without a limit there is none to lower.
    let half = (max_tokens < u64::MAX).then_some(max_tokens / 2);
    half.filter(|half| *half >= MIN_ROOM)
}

fn patterns(texts: &[&str]) -> Vec<Regex> {
    let all = texts.iter().filter_map(|text| Regex::new(&format!("(?i){text}")).ok());
    all.collect()
}

/// Of vLLM, SGLang, llama.cpp, LM Studio, OpenAI, OpenRouter, DeepSeek, TGI, Anthropic,
/// Google, Mistral, xAI, TensorRT-LLM and others, in their words.
static WINDOW: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    patterns(&[
        r"context limit: ?\d+ \+ \d+ > (\d+)",
        r"max_new_tokens`? must be <= ?(\d+)\. given: \d+ `inputs`",
        r"max(?:imum)? (?:context|model|sequence|prompt|total) (?:length|window|size)[^0-9.,;]{0,24}(\d+)",
        r"context (?:length|size|window)[^0-9.,;]{0,24}(\d+)",
        r"(\d+) (?:tokens? )?maximum context length",
        r"max_(?:model|seq)_len\w*[^0-9.,;]{0,24}(\d+)",
        r"max_total_tokens[^0-9.,;]{0,6}(\d+)",
        r"> (\d+) maximum",
        r#"n_ctx"?\W{1,4}(\d+)"#,
        r"inputs`? must have less than (\d+) tokens",
        r"exceeds the maximum number of tokens allowed \((\d+)\)",
        r"exceed the configured limit of (\d+)",
        r"input length limit (\d+)",
        r"range of input length should be \[\d+, ?(\d+)\]",
        r"cannot exceed (\d+)",
        r"limit is (\d+)",
    ])
});
static PROMPT: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    patterns(&[
        r"(\d+) (?:tokens )?(?:in|from) (?:the|your) (?:input |text )?(?:messages|input|prompt)",
        r"(\d+) of text input",
        r"(\d+) input tokens",
        r"given: (\d+) `inputs`",
        r"must have less than \d+ tokens\. given: (\d+)",
        r"messages resulted in (\d+)",
        r"(?:prompt|input|request) \((?:length )?(\d+)(?: tokens)?\)",
        r"requested tokens \((\d+)\)",
        r"prompt (?:contains|has) (\d+)",
        r"prompt is too long: (\d+)",
        r"prompt length \(?(\d+)",
        r"input token count \((\d+)\)",
        r"keep the first (\d+) tokens",
        r"context limit: ?(\d+) \+",
        r#"n_prompt_tokens"?\W{1,4}(\d+)"#,
        r"request contains (\d+) tokens",
    ])
});
static ANSWER: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    patterns(&[
        r"at most (\d+) (?:completion|output) tokens",
        r"max_(?:completion_|new_|output_)?tokens\D{0,40}\[\d+, ?(\d+)\]",
        r"max_(?:completion_|output_)?tokens[`']? (?:must|should) be (?:less than or equal to|at most|<=) ?[`']?(\d+)",
        r"max_new_tokens`? must be <= ?(\d+)\. given: \d+$",
        r"> (\d+), which is the maximum allowed number of output tokens",
    ])
});
/// Google's range excludes its end.
static BELOW: LazyLock<Vec<Regex>> =
    LazyLock::new(|| patterns(&[r"maxoutputtokens value .{0,80}? to (\d+) \(exclusive\)"]));

/// The sizes that an error names.
pub(super) fn sizes_in(error: &ServerError) -> Sizes {
    let text = match error.body() {
        Value::Null => error.message().to_string(),
        body => format!("{}\n{body}", error.message()),
    };
    // 8,192 and 8192 are the same.
    let text = without_separators(&text);
    let first = |all: &[Regex]| {
        all.iter()
            .find_map(|one| text.lines().find_map(|line| number(one, line)))
            .filter(|n| *n > 0)
    };
    let below = first(&BELOW).map(|end| end - 1);
    Sizes { window: first(&WINDOW), answer: first(&ANSWER).or(below), prompt: first(&PROMPT) }
}

fn number(pattern: &Regex, line: &str) -> Option<u64> {
    pattern.captures(line)?.get(1)?.as_str().parse().ok()
}

fn without_separators(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let digit = |at: usize| chars.get(at).is_some_and(char::is_ascii_digit);
    let separates = |at: usize| {
        matches!(chars[at], ',' | '_')
            && at > 0
            && digit(at - 1)
            && (1..4).all(|next| digit(at + next))
            && !digit(at + 4)
    };
    (0..chars.len()).filter(|at| !separates(*at)).map(|at| chars[at]).collect()
}

/// The entries in an answer of `/models`.
pub(super) fn entries(models: &Value) -> &[Value] {
    let all = models["data"].as_array().or(models["models"].as_array()).or(models.as_array());
    all.map_or(&[], Vec::as_slice)
}

/// The window of a model in the answer of `/models`: vLLM's, SGLang's, OpenRouter's,
/// LM Studio's, Groq's, llama.cpp's.
pub(super) fn listed(models: &Value, model: &str) -> Option<u64> {
    let all = entries(models);
    let named = |entry: &&Value| {
        ["id", "name", "model"].iter().any(|key| entry[*key].as_str() == Some(model))
    };
    let entry = all.iter().find(named).or(if all.len() == 1 { all.first() } else { None })?;
    const KEYS: [&str; 13] = [
        "/loaded_context_length",
        "/max_model_len",
        "/context_length",
        "/top_provider/context_length",
        "/max_context_length",
        "/context_window",
        "/max_context_len",
        "/context_size",
        "/n_ctx",
        "/meta/n_ctx",
        "/limits/max_context_length",
        "/max_input_tokens",
        "/meta/n_ctx_train",
    ];
    let count = |value: &Value| value.as_u64().or_else(|| value.as_str()?.parse().ok());
    KEYS.iter().find_map(|key| count(entry.pointer(key)?)).filter(|window| *window > 0)
}

#[cfg(test)]
#[path = "window/tests.rs"]
mod tests;
