//! The token counts of a server, wherever and however it sends them.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Token counts of one call.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Tokens {
    pub(crate) prompt: u64,
    pub(crate) cached: u64,
    pub(crate) completion: u64,
    pub(crate) reasoning: u64,
    /// Whether a count is an estimate from bytes, because the server sent none that
    /// could be read.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) estimated: bool,
}

/// Where servers put their counts: OpenAI and most, Groq, Moonshot, Google, then
/// llama.cpp, which sends `timings` only if its `usage` is off.
const PLACES: [&str; 6] = [
    "/usage",
    "/x_groq/usage",
    "/choices/0/usage",
    "/choices/0/delta/usage",
    "/usageMetadata",
    "/timings",
];
const PROMPT: [&str; 6] = [
    "/prompt_tokens",
    "/input_tokens",
    "/promptTokens",
    "/promptTokenCount",
    "/prompt_eval_count",
    "/tokens/input_tokens",
];
const COMPLETION: [&str; 7] = [
    "/completion_tokens",
    "/output_tokens",
    "/completionTokens",
    "/candidatesTokenCount",
    "/eval_count",
    "/tokens/output_tokens",
    "/predicted_n",
];
const TOTAL: [&str; 3] = ["/total_tokens", "/totalTokens", "/totalTokenCount"];
const CACHED: [&str; 6] = [
    "/prompt_tokens_details/cached_tokens",
    "/input_tokens_details/cached_tokens",
    "/prompt_cache_hit_tokens",
    "/cached_tokens",
    "/cachedContentTokenCount",
    "/cache_n",
];
const REASONING: [&str; 4] = [
    "/completion_tokens_details/reasoning_tokens",
    "/output_tokens_details/reasoning_tokens",
    "/reasoning_tokens",
    "/thoughtsTokenCount",
];

/// More tokens than any call has: a larger number is no count.
const IMPLAUSIBLE: f64 = 1e9;

/// The counts in this chunk or answer. A count that cannot be read is 0.
pub(super) fn tokens(answer: &Value) -> Option<Tokens> {
    let places = PLACES.iter().filter_map(|place| answer.pointer(place));
    // Ollama puts them beside the message.
    let places = places.chain(Some(answer).filter(|answer| answer.get("eval_count").is_some()));
    places.map(counts).find(|tokens| *tokens != Tokens::default())
}

fn counts(usage: &Value) -> Tokens {
    let count =
        |pointers: &[&str]| pointers.iter().find_map(|pointer| number(usage.pointer(pointer)?));
    let cached = count(&CACHED).unwrap_or_default();
    // llama.cpp counts only the part of the prompt that it read.
    let read = number(&usage["prompt_n"]).map(|read| read + cached);
    let (prompt, completion, total) = (count(&PROMPT).or(read), count(&COMPLETION), count(&TOTAL));
    let rest = |known: Option<u64>| Some(total?.saturating_sub(known?));
    Tokens {
        prompt: prompt.or_else(|| rest(completion)).unwrap_or_default(),
        cached,
        completion: completion.or_else(|| rest(prompt)).unwrap_or_default(),
        reasoning: count(&REASONING).unwrap_or_default(),
        estimated: false,
    }
}

/// A count: a number, or a number in a string.
fn number(value: &Value) -> Option<u64> {
    let number = match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    number.filter(|number| (0.0..IMPLAUSIBLE).contains(number)).map(|number| number as u64)
}

impl Tokens {
    /// These counts, with estimates in place of those that are missing or cannot be true:
    /// no prompt is empty, and neither is an answer that holds text.
    pub(super) fn or_estimated(self, prompt_bytes: u64, completion_bytes: u64) -> Tokens {
        // Code and English have three bytes per token or more, nearly always.
        let estimate = |bytes: u64| bytes.div_ceil(3);
        let mut tokens = self;
        if tokens.prompt == 0 {
            tokens.prompt = estimate(prompt_bytes).max(1);
            tokens.estimated = true;
        }
        if tokens.completion == 0 && completion_bytes > 0 {
            tokens.completion = estimate(completion_bytes);
            tokens.estimated = true;
        }
        tokens
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(answer: Value, expected: Option<(u64, u64)>) {
        let found = tokens(&answer).map(|tokens| (tokens.prompt, tokens.completion));
        assert_eq!(found, expected, "{answer}");
    }

    #[test]
    fn counts_are_found_wherever_a_server_puts_them() {
        let usage = json!({ "prompt_tokens": 100, "completion_tokens": 50 });
        let both = Some((100, 50));
        check(json!({ "usage": usage }), both);
        check(json!({ "x_groq": { "id": "r", "usage": usage } }), both);
        check(json!({ "usage": null, "choices": [{ "delta": {}, "usage": usage }] }), both);
        check(json!({ "usage": { "input_tokens": 100, "output_tokens": 50 } }), both);
        check(json!({ "usage": { "prompt_tokens": "100", "completion_tokens": "50" } }), both);
        check(json!({ "usage": { "prompt_tokens": 100.0, "completion_tokens": 50.0 } }), both);
        check(json!({ "usage": { "prompt_tokens": 100, "total_tokens": 150 } }), both);
        check(json!({ "timings": { "cache_n": 60, "prompt_n": 40, "predicted_n": 50 } }), both);
        check(json!({ "prompt_eval_count": 100, "eval_count": 50 }), both);
        let google = json!({ "promptTokenCount": 100, "candidatesTokenCount": 50 });
        check(json!({ "usageMetadata": google }), both);
    }

    #[test]
    fn what_cannot_be_read_is_no_count() {
        check(json!({ "usage": {} }), None);
        check(json!({ "usage": null }), None);
        check(json!({ "usage": "many" }), None);
        check(json!({ "usage": { "prompt_tokens": -1, "completion_tokens": -1 } }), None);
        check(json!({ "usage": { "prompt_tokens": 1e300, "completion_tokens": "NaN" } }), None);
        check(json!({ "usage": { "prompt_tokens": 0, "completion_tokens": 0 } }), None);
        check(json!({ "usage": { "prompt_tokens": null, "completion_tokens": 7 } }), Some((0, 7)));
    }

    #[test]
    fn a_missing_count_is_estimated_and_marked() {
        let check = |tokens: (u64, u64), bytes: (u64, u64), expected: (u64, u64, bool)| {
            let known = Tokens { prompt: tokens.0, completion: tokens.1, ..Tokens::default() };
            let Tokens { prompt, completion, estimated, .. } = known.or_estimated(bytes.0, bytes.1);
            assert_eq!((prompt, completion, estimated), expected);
        };
        check((9, 5), (300, 30), (9, 5, false));
        check((0, 0), (300, 30), (100, 10, true));
        check((9, 0), (300, 30), (9, 10, true));
        check((0, 5), (300, 30), (100, 5, true));
        check((9, 0), (300, 0), (9, 0, false));
        check((0, 0), (0, 1), (1, 1, true));
    }
}
