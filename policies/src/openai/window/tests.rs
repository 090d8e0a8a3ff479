use serde_json::json;

use super::*;

/// `window`, `answer` and `prompt` that a server's words name; 0 for none.
#[track_caller]
fn check(text: &str, window: u64, answer: u64, prompt: u64) {
    let error = ServerError::of_status(400, &|_| None, text);
    let some = |number: u64| (number > 0).then_some(number);
    let expected = Sizes { window: some(window), answer: some(answer), prompt: some(prompt) };
    assert_eq!(sizes_in(&error), expected, "{text}");
    assert_eq!(error.meaning(), super::super::server_error::Meaning::TooLong, "{text}");
}

#[test]
fn sizes_are_read_in_the_words_of_each_server() {
    // vLLM, old to new.
    check(
        "This model's maximum context length is 8192 tokens. However, you requested 10900 tokens (900 in the messages, 10000 in the completion). Please reduce the length of the messages or completion.",
        8192,
        0,
        900,
    );
    check(
        r#"{"object": "error", "message": "'max_tokens' or 'max_completion_tokens' is too large: 10000. This model's maximum context length is 8192 tokens and your request has 900 input tokens (10000 > 8192 - 900).", "code": 400}"#,
        8192,
        0,
        900,
    );
    check(
        "The decoder prompt (length 9000) is longer than the maximum model length of 8192. Make sure that `max_model_len` is no smaller than the number of text tokens.",
        8192,
        0,
        9000,
    );
    check(
        "You passed 900 input tokens and requested 10000 output tokens. However, the model's context length is only 8192 tokens, resulting in a maximum input length of -1808 tokens. Please reduce the length of the input prompt.",
        8192,
        0,
        900,
    );
    check(
        "max_tokens=10000 cannot be greater than max_model_len=max_total_tokens=8192. Please request fewer output tokens.",
        8192,
        0,
        0,
    );
    // Cerebras.
    check(
        r#"{"code":"context_length_exceeded","message":"Please reduce the length of the messages or completion. Current length is 10900 while limit is 8192"}"#,
        8192,
        0,
        0,
    );
    // SGLang.
    check(
        "Requested token count exceeds the model's maximum context length of 8192 tokens. You requested a total of 10900 tokens: 900 tokens from the input messages and 10000 tokens for the completion.",
        8192,
        0,
        900,
    );
    check(
        "The input (9000 tokens) is longer than the model's context length (8192 tokens).",
        8192,
        0,
        9000,
    );
    // llama.cpp and llama-cpp-python.
    check(
        r#"{"error":{"code":400,"message":"the request exceeds the available context size. try increasing the context size or enable context shift","type":"exceed_context_size_error","n_prompt_tokens":9000,"n_ctx":8192}}"#,
        8192,
        0,
        9000,
    );
    check(
        "request (9000 tokens) exceeds the available context size (8192 tokens), try increasing it",
        8192,
        0,
        9000,
    );
    check("Requested tokens (9000) exceed context window of 8192", 8192, 0, 9000);
    // LM Studio and Ollama.
    check(
        "Trying to keep the first 9000 tokens when context the overflows. However, the model is loaded with context length of only 4096 tokens, which is not enough.",
        4096,
        0,
        9000,
    );
    check("the input length exceeds the context length", 0, 0, 0);
    // OpenAI and OpenRouter.
    check(
        "max_tokens is too large: 100000. This model supports at most 16384 completion tokens, whereas you provided 100000.",
        0,
        16384,
        0,
    );
    check(
        "This model's maximum context length is 8,192 tokens. However, your messages resulted in 9,000 tokens.",
        8192,
        0,
        9000,
    );
    check(
        "Input tokens exceed the configured limit of 272000 tokens. Your messages resulted in 290000 tokens. Please reduce the length of the messages.",
        272_000,
        0,
        290_000,
    );
    check(
        "This endpoint's maximum context length is 8192 tokens. However, you requested about 10900 tokens (900 of text input, 10000 in the output). Please reduce the length of either one.",
        8192,
        0,
        900,
    );
    // TGI.
    check(
        "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096. Given: 900 `inputs` tokens and 10000 `max_new_tokens`",
        4096,
        0,
        900,
    );
    check(
        "Input validation error: `inputs` must have less than 4095 tokens. Given: 9000",
        4095,
        0,
        9000,
    );
    check("Input validation error: `max_new_tokens` must be <= 512. Given: 10000", 0, 512, 0);
    // DeepSeek, DashScope, Groq, Anthropic, Google, Mistral, xAI, TensorRT-LLM.
    check("Invalid max_tokens value, the valid range of max_tokens is [1, 8192]", 0, 8192, 0);
    check("Range of max_tokens should be [1, 8192]", 0, 8192, 0);
    check(
        "`max_tokens` must be less than or equal to `8192`, the maximum value for `max_tokens` is less than the `context_window` for this model",
        0,
        8192,
        0,
    );
    check(
        "max_tokens: 100000 > 8192, which is the maximum allowed number of output tokens for claude-3",
        0,
        8192,
        0,
    );
    check("prompt is too long: 208000 tokens > 200000 maximum", 200_000, 0, 208_000);
    check(
        "input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000, decrease input length or `max_tokens` and try again",
        200_000,
        0,
        190_000,
    );
    check(
        "The input token count (1050000) exceeds the maximum number of tokens allowed (1048576).",
        1_048_576,
        0,
        1_050_000,
    );
    check(
        "Unable to submit request because it has a maxOutputTokens value of 100000 but the supported range is from 1 (inclusive) to 65537 (exclusive).",
        0,
        65_536,
        0,
    );
    check(
        "Prompt contains 35000 tokens and 10000 draft tokens, too large for model with 32768 maximum context length",
        32_768,
        0,
        35_000,
    );
    check(
        "This model's maximum prompt length is 131072 but the request contains 200000 tokens.",
        131_072,
        0,
        200_000,
    );
    check(
        "The sum of prompt length (900), max_tokens (10000) should not exceed max_seq_len (8192)",
        8192,
        0,
        900,
    );
}

#[test]
fn a_call_is_fitted_or_its_prompt_is_too_long() {
    let check = |prompt_bytes: u64, max_tokens: u64, told: (u64, u64, u64), expected: Fit| {
        let some = |number: u64| (number > 0).then_some(number);
        let told = Sizes { window: some(told.0), answer: some(told.1), prompt: some(told.2) };
        let refused = Refused { prompt_bytes, max_tokens };
        assert_eq!(fit(refused, told, Sizes::default()), expected, "{refused:?} {told:?}");
    };
    check(2_700, 10_000, (8192, 0, 900), Fit::Again(7292));
    check(2_700, 10_000, (0, 512, 0), Fit::Again(512));
    check(2_700, 10_000, (8192, 0, 0), Fit::Again(8192 - 964));
    check(27_000, 10_000, (8192, 0, 9000), Fit::PromptTooLong);
    check(27_000, 10_000, (8192, 0, 8190), Fit::PromptTooLong);
    check(90_000, 10_000, (8192, 0, 0), Fit::PromptTooLong);
    check(27_000, 10_000, (8192, 0, 0), Fit::Again(64));
    check(2_700, 7_000, (8192, 0, 0), Fit::Again(3_500));
    check(2_700, 64, (8192, 0, 0), Fit::PromptTooLong);
    check(2_700, 10_000, (0, 0, 0), Fit::Unknown);
}

#[test]
fn later_calls_are_fitted_before_they_are_sent() {
    let window = Window::default();
    assert_eq!(window.limit(2_700, 10_000), 10_000);
    window.learn(Sizes { window: Some(8192), answer: None, prompt: Some(1) });
    assert_eq!(window.limit(2_700, 10_000), 8192 - 964);
    assert_eq!(window.limit(2_700, 100), 100);
    assert_eq!(window.limit(60_000, 10_000), 10_000, "the server counts");
    window.learn(Sizes { window: Some(9000), answer: Some(512), prompt: None });
    assert_eq!(window.known(), Sizes { window: Some(8192), answer: Some(512), prompt: None });
    assert_eq!(window.limit(2_700, 10_000), 512);
}

#[test]
fn a_window_is_listed_in_every_form() {
    let check = |models: Value, expected: Option<u64>| {
        assert_eq!(listed(&models, "m"), expected, "{models}");
    };
    let one = |entry: Value| json!({ "object": "list", "data": [{ "id": "x" }, entry] });
    check(one(json!({ "id": "m", "max_model_len": 8192 })), Some(8192));
    check(one(json!({ "id": "m", "context_length": "8192" })), Some(8192));
    check(one(json!({ "id": "m", "meta": { "n_ctx_train": 32768 } })), Some(32_768));
    check(one(json!({ "id": "m", "meta": { "n_ctx_train": 32768, "n_ctx": 8192 } })), Some(8192));
    check(one(json!({ "id": "other", "max_model_len": 8192 })), None);
    check(one(json!({ "id": "m" })), None);
    check(json!({ "data": [{ "id": "alias", "max_model_len": 8192 }] }), Some(8192));
    check(json!([{ "name": "m", "context_window": 8192 }]), Some(8192));
    check(json!({ "detail": "Not Found" }), None);
}

#[test]
fn a_limit_is_halved_while_an_answer_has_room() {
    for (limit, expected) in [(8192, Some(4096)), (128, Some(64)), (127, None), (u64::MAX, None)] {
        assert_eq!(halved(limit), expected);
    }
}
