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
const CACHED: [&str; 7] = [
    "/prompt_tokens_details/cached_tokens",
    "/input_tokens_details/cached_tokens",
    "/prompt_cache_hit_tokens",
    "/cached_tokens",
    "/cachedContentTokenCount",
    "/cache_n",
    "/cache_read_input_tokens",
];
/// Parts of the prompt that Anthropic does not count as `input_tokens`.
const BESIDE: [&str; 2] = ["/cache_read_input_tokens", "/cache_creation_input_tokens"];
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
    let beside: u64 = match usage.get("prompt_tokens") {
        None => BESIDE.iter().filter_map(|place| number(usage.pointer(place)?)).sum(),
        Some(_) => 0,
    };
    let prompt = count(&PROMPT).or(read).map(|prompt| prompt + beside);
    let (completion, total) = (count(&COMPLETION), count(&TOTAL));
    let reasoning = count(&REASONING).unwrap_or_default();
    let rest = |known: Option<u64>| Some(total?.saturating_sub(known?));
    // xAI and Google count reasoning in the total alone: more of it than there is of the
    // whole answer is not a part of that.
    let with_reasoning = match completion {
        Some(completion) if reasoning > completion => completion + reasoning,
        _ => 0,
    };
    Tokens {
        prompt: prompt.or_else(|| rest(completion)).unwrap_or_default(),
        cached,
        completion: completion
            .max(rest(prompt.filter(|prompt| *prompt > 0)))
            .unwrap_or_default()
            .max(with_reasoning),
        reasoning,
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
    fn reasoning_beside_the_answer_and_a_cache_beside_the_prompt_are_paid_for() {
        let details = json!({ "reasoning_tokens": 1000 });
        let xai = json!({ "prompt_tokens": 100, "completion_tokens": 9, "total_tokens": 1109,
            "completion_tokens_details": details });
        check(json!({ "usage": xai }), Some((100, 1009)));
        let mut uncounted = xai;
        uncounted["total_tokens"] = Value::Null;
        check(json!({ "usage": uncounted }), Some((100, 1009)));
        let usage = |total: u64| json!({ "prompt_tokens": 100, "completion_tokens": 50, "total_tokens": total });
        check(json!({ "usage": usage(1150) }), Some((100, 1050)));
        check(json!({ "usage": usage(150) }), Some((100, 50)));
        check(json!({ "usage": usage(0) }), Some((100, 50)));
        let none = json!({ "prompt_tokens": 0, "completion_tokens": 50, "total_tokens": 150 });
        check(json!({ "usage": none }), Some((0, 50)));
        let google = json!({ "promptTokenCount": 100, "candidatesTokenCount": 50,
            "thoughtsTokenCount": 40, "totalTokenCount": 190 });
        check(json!({ "usageMetadata": google }), Some((100, 90)));
        let openai = json!({ "prompt_tokens": 100, "completion_tokens": 1050, "total_tokens": 1150,
            "completion_tokens_details": details });
        check(json!({ "usage": openai }), Some((100, 1050)));
        let anthropic = json!({ "input_tokens": 100, "output_tokens": 50,
            "cache_read_input_tokens": 800, "cache_creation_input_tokens": 30 });
        check(json!({ "usage": anthropic }), Some((930, 50)));
        let proxy = json!({ "prompt_tokens": 930, "completion_tokens": 50,
            "cache_read_input_tokens": 800 });
        check(json!({ "usage": proxy }), Some((930, 50)));
        let cached = tokens(&json!({ "usage": proxy })).map(|tokens| tokens.cached);
        assert_eq!(cached, Some(800));
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
