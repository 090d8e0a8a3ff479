//! What a server writes when it does not answer, and what that means.

use std::time::Duration;

use serde_json::Value;

use super::hints::{self, Headers};

/// An error that a server reports, by a status or in the body of an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerError {
    status: u16,
    /// Whether it came in an answer of status 200.
    in_answer: bool,
    /// The server's own message, in one line.
    message: String,
    /// All that the server wrote, in lower case.
    words: String,
    body: Value,
    wait: Option<Duration>,
    /// What the server says about asking again.
    should_retry: Option<bool>,
}

/// What an error means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// A content filter rejected this prompt.
    Filtered,
    /// The prompt, or the prompt and the answer's limit together, are too long.
    TooLong,
    /// The model called a tool in a form that the server could not read.
    BrokenCall,
    /// Something else.
    Other,
}

/// What servers write when a content filter rejects a prompt: Azure, OpenAI, OpenRouter,
/// DashScope, DeepSeek, Zhipu, Google, xAI, MiniMax.
const FILTERED: [&str; 30] = [
    "content filter",
    "content_filter",
    "content management policy",
    "content policy",
    "content_policy",
    "responsibleaipolicyviolation",
    "flagged by moderation",
    "flagged_input",
    "moderation_blocked",
    "input was flagged",
    "prompt was flagged",
    "content was flagged",
    "request was flagged",
    "violating our usage polic",
    "violates our usage polic",
    "safety system",
    "data_inspection_failed",
    "inappropriate content",
    "content exists risk",
    "sensitive or unsafe content",
    "prohibited_content",
    "safety settings",
    "unsafe or sensitive content",
    "不安全或敏感内容",
    "contentfilter",
    "violates usage guidelines",
    "safety_check_type",
    "green net check",
    "datainspectionfailed",
    "new_sensitive",
];

/// What servers write when a prompt is longer than the context.
const TOO_LONG: [&str; 22] = [
    "context length",
    "context_length",
    "context size",
    "context_size",
    "context window",
    "context limit",
    "maximum model length",
    "max_model_len",
    "max_seq_len",
    "prompt is too long",
    "prompt too long",
    "input is too long",
    "too many tokens",
    "prompt length",
    "input length",
    "inputs` must have less than",
    "inputs` tokens",
    "input token count",
    "input tokens exceed",
    "reduce the length of",
    "number of tokens to keep",
    "total number of tokens",
];
/// What servers write when the answer's limit alone is too large.
const LIMIT: [&str; 5] =
    ["max_tokens", "max_completion_tokens", "max_new_tokens", "maxoutputtokens", "output tokens"];

/// What servers write when an account has no money. OpenAI's has the status of "too many
/// requests".
const POOR: [&str; 4] = [
    "insufficient_quota",
    "insufficient_balance",
    "insufficient balance",
    "credit balance is too low",
];
/// What OpenAI writes when an account has no money, and Google when a limit per minute is
/// used up. Only Google says how long to wait.
const QUOTA: &str = "exceeded your current quota";

/// The status that an error in an answer would have, by a word in its code or type.
const BY_WORD: [(&str, u16); 14] = [
    ("authentication", 401),
    ("invalid_api_key", 401),
    ("unauthorized", 401),
    ("billing", 402),
    ("permission", 403),
    ("forbidden", 403),
    ("not_found", 404),
    ("rate_limit", 429),
    ("too_many_requests", 429),
    ("invalid_request", 400),
    ("bad_request", 400),
    ("badrequest", 400),
    ("context_length", 400),
    ("overloaded", 503),
];
/// The status that a server's own number stands for: Zhipu's codes.
const BY_CODE: [(u64, u16); 12] = [
    (1000, 401),
    (1001, 401),
    (1002, 401),
    (1003, 401),
    (1004, 401),
    (1113, 402),
    (1211, 404),
    (1261, 400),
    (1301, 400),
    (1302, 429),
    (1303, 429),
    (1305, 429),
];
/// The same for MiniMax, in its `base_resp`.
const BY_BASE_CODE: [(u64, u16); 6] =
    [(1002, 429), (1004, 401), (1008, 402), (1026, 400), (1027, 400), (2013, 400)];

impl ServerError {
    /// An answer with an error status.
    pub(super) fn of_status(status: u16, headers: &Headers<'_>, text: &str) -> ServerError {
        let body = body(text);
        let error = ServerError {
            status,
            in_answer: false,
            message: message(&body, text),
            words: text.to_lowercase(),
            wait: hints::wait(status, headers, &body, text),
            should_retry: headers("x-should-retry").and_then(|word| word.parse().ok()),
            body,
        };
        error.with_quota()
    }

    /// An error in an answer of status 200.
    pub(super) fn in_answer(body: Value) -> ServerError {
        let text = body.to_string();
        let body = unlisted(body);
        let status = status(&body);
        let error = ServerError {
            status,
            in_answer: true,
            message: message(&body, &text),
            words: text.to_lowercase(),
            wait: hints::wait(status, &|_| None, &body, &text),
            should_retry: None,
            body,
        };
        error.with_quota()
    }

    fn with_quota(mut self) -> ServerError {
        if self.has(&POOR) || (self.wait.is_none() && self.has(&[QUOTA])) {
            self.status = 402;
        }
        self
    }

    pub(super) fn status(&self) -> u16 {
        self.status
    }

    pub(super) fn message(&self) -> &str {
        &self.message
    }

    pub(super) fn body(&self) -> &Value {
        &self.body
    }

    /// How long the server asks us to wait.
    pub(super) fn wait(&self) -> Option<Duration> {
        self.wait
    }

    /// The status, as a sentence names it.
    pub(super) fn answered(&self) -> String {
        match self.in_answer {
            true => "answered with an error".into(),
            false => format!("answered {}", self.status),
        }
    }

    /// Whether the same request may succeed later.
    pub(super) fn is_transient(&self) -> bool {
        if self.meaning() != Meaning::Other || self.words.contains("request too large") {
            return false;
        }
        let transient = match self.status {
            408 | 409 | 425 | 429 => true,
            501 | 505 | 511 => false,
            status => status >= 500,
        };
        self.should_retry.unwrap_or(transient)
    }

    /// Whether a gateway reports that no server answers behind it, or a server that it
    /// starts or stops.
    pub(super) fn is_of_gateway(&self) -> bool {
        // 521 to 523 are Cloudflare's.
        !self.in_answer && matches!(self.status, 502..=504 | 521..=523)
    }

    /// What the model wrote, if the server could not read its call: Groq sends it.
    pub(super) fn failed_generation(&self) -> Option<&str> {
        let places = ["/error/failed_generation", "/failed_generation"];
        places.iter().find_map(|place| self.body.pointer(place)?.as_str())
    }

    pub(super) fn meaning(&self) -> Meaning {
        let codes = ["/error/code", "/code"];
        let code = codes.iter().find_map(|place| self.body.pointer(place)?.as_str());
        if code == Some("tool_use_failed") || self.failed_generation().is_some() {
            return Meaning::BrokenCall;
        }
        let rejected = matches!(self.status, 400 | 403 | 413 | 422 | 451 | 500);
        // A rejected account is not a rejected prompt.
        let account = self.has(&["account", "api key", "api_key", "organization"])
            // xAI names the key whose prompt it rejects.
            && !self.has(&["violates usage guidelines", "safety_check_type"]);
        let moderated = self.body.pointer("/error/metadata/reasons").is_some()
            || self.body.pointer("/metadata/reasons").is_some();
        if rejected && (moderated || (self.has(&FILTERED) && !account)) {
            return Meaning::Filtered;
        }
        // A limit of tokens per minute is no context window.
        let per_minute =
            self.has(&["per minute", "per min", "per day", "rate limit", "rate_limit"]);
        if rejected && !per_minute && (self.has(&TOO_LONG) || self.limits_answers()) {
            return Meaning::TooLong;
        }
        Meaning::Other
    }

    /// Whether the error is about the limit of the answer's tokens.
    pub(super) fn limits_answers(&self) -> bool {
        let bound = ["too large", "must be", "at most", "maximum", "should be", "range", "exceed"];
        // "Unsupported parameter: use max_completion_tokens instead" is about its name.
        self.has(&LIMIT) && self.has(&bound) && !self.has(&["unsupported", "not supported"])
    }

    fn has(&self, parts: &[&str]) -> bool {
        parts.iter().any(|part| self.words.contains(part))
    }
}

impl std::fmt::Display for ServerError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the server {}: {}", self.answered(), self.message)
    }
}

/// The body of an error: JSON, or the first JSON in a stream of events.
fn body(text: &str) -> Value {
    let event = |line: &str| {
        let (field, data) = line.split_once(':')?;
        let is_data = matches!(field, "data" | "error");
        super::json::parse(data.trim()).ok().filter(|value| is_data && value.is_object())
    };
    let parsed = super::json::parse(text).ok().or_else(|| text.lines().find_map(event));
    unlisted(parsed.unwrap_or_default())
}

/// The error in a list of one, which is Google's form.
fn unlisted(body: Value) -> Value {
    match body {
        Value::Array(mut all) if all.len() == 1 => all.remove(0),
        body => body,
    }
}

/// The status that an error in an answer stands for; 500 if it has no code that we know.
fn status(body: &Value) -> u16 {
    let places = ["/error", "/errors/0"].map(|place| body.pointer(place));
    let object = places.into_iter().flatten().find(|error| error.is_object());
    let error = object.unwrap_or(body);
    let number = |code: &Value| match code {
        Value::String(code) => code.trim().parse().ok(),
        code => code.as_u64(),
    };
    let listed = |all: &[(u64, u16)], code: u64| {
        all.iter().find(|(known, _)| *known == code).map(|(_, status)| *status)
    };
    let codes = ["code", "status", "status_code", "error_code"];
    if let Some(code) = codes.iter().find_map(|key| number(&error[*key])) {
        if (400..600).contains(&code) {
            return code as u16;
        }
        if let Some(status) = listed(&BY_CODE, code) {
            return status;
        }
    }
    let base = number(&body["base_resp"]["status_code"]);
    if let Some(status) = base.and_then(|code| listed(&BY_BASE_CODE, code)) {
        return status;
    }
    let words = ["code", "type", "status"].map(|key| error[key].as_str().unwrap_or_default());
    let words = words.join(" ").to_lowercase();
    let found = BY_WORD.iter().find(|(word, _)| words.contains(word));
    found.map_or(500, |(_, status)| *status)
}

/// The server's own message, in whatever form it sends it: one line, safe to print.
fn message(body: &Value, text: &str) -> String {
    const PLACES: [&str; 10] = [
        "/error/message",
        "/error/msg",
        "/message",
        "/msg",
        "/detail",
        "/error",
        "/error_msg",
        "/errors/0/message",
        "/errors/0",
        "/base_resp/status_msg",
    ];
    let found = PLACES.iter().find_map(|place| body.pointer(place)?.as_str());
    let inner = body.get("error").filter(|error| error.is_object()).map(Value::to_string);
    let words = found.map(str::to_string).or(inner).unwrap_or_else(|| text.to_string());
    line(&words, 500)
}

/// A text in one line of at most this many characters, without control characters.
pub(super) fn line(text: &str, limit: usize) -> String {
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    words.chars().filter(|c| !c.is_control()).take(limit).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn error(status: u16, text: &str) -> ServerError {
        ServerError::of_status(status, &|_| None, text)
    }

    #[test]
    fn an_error_means_what_its_words_say() {
        let check = |status: u16, text: &str, expected: Meaning| {
            assert_eq!(error(status, text).meaning(), expected, "{status} {text}");
            assert!(expected == Meaning::Other || !error(status, text).is_transient(), "{text}");
        };
        let openrouter = r#"{"error":{"code":403,"message":"Input was flagged by moderation","metadata":{"reasons":["violence"]}}}"#;
        check(403, openrouter, Meaning::Filtered);
        let azure = r#"{"error":{"message":"The response was filtered due to the prompt triggering Azure OpenAI's content management policy.","code":"content_filter","status":400,"innererror":{"code":"ResponsibleAIPolicyViolation"}}}"#;
        check(400, azure, Meaning::Filtered);
        check(400, r#"{"error":{"message":"Content Exists Risk"}}"#, Meaning::Filtered);
        check(400, r#"{"code":"data_inspection_failed","message":"x"}"#, Meaning::Filtered);
        check(451, r#"{"error":"content policy"}"#, Meaning::Filtered);
        check(403, r#"{"error":{"message":"Your account was flagged"}}"#, Meaning::Other);
        check(403, r#"{"error":{"message":"Forbidden"}}"#, Meaning::Other);
        check(401, openrouter, Meaning::Other);
        for text in [
            r#"{"error":{"code":"1301","message":"System detected potentially unsafe or sensitive content in input or generation."}}"#,
            r#"{"contentFilter":[{"level":1,"role":"user"}],"error":{"code":"1301","message":"系统检测到输入或生成内容可能包含不安全或敏感内容"}}"#,
            r#"{"code":"The caller does not have permission","error":"Content violates usage guidelines. Team: 1, API key ID: 2, Model: grok-4, Failed check: SAFETY_CHECK_TYPE_BIO"}"#,
            r#"{"error":{"message":"Green net check failed for image or text"}}"#,
            r#"{"code":"DataInspectionFailed","message":"x"}"#,
        ] {
            check(400, text, Meaning::Filtered);
            check(403, text, Meaning::Filtered);
        }

        let long = "This model's maximum context length is 8192 tokens.";
        check(400, long, Meaning::TooLong);
        check(422, "`inputs` tokens + `max_new_tokens` must be <= 4096.", Meaning::TooLong);
        check(500, "the input length exceeds the context length", Meaning::TooLong);
        check(400, "Invalid max_tokens value, the valid range is [1, 8192]", Meaning::TooLong);
        let other = r#"{"error": {"message": "Invalid 'user': string too long. Expected a string with maximum length 64."}}"#;
        check(400, other, Meaning::Other);
        let name = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.";
        check(400, name, Meaning::Other);
        check(429, long, Meaning::Other);
        let groq = r#"{"error":{"message":"Failed to call a function.","type":"invalid_request_error","code":"tool_use_failed","failed_generation":"<function=bash {ls}</function>"}}"#;
        check(400, groq, Meaning::BrokenCall);
        assert_eq!(error(400, groq).failed_generation(), Some("<function=bash {ls}</function>"));
        check(400, r#"{"error":{"code":"tool_use_failed","message":"x"}}"#, Meaning::BrokenCall);
        let minute = "Request too large for model `x` on tokens per minute (TPM): Limit 6000, Requested 9000; reduce the length of your messages";
        check(413, minute, Meaning::Other);
    }

    #[test]
    fn only_what_may_pass_is_asked_again() {
        let check = |status: u16, text: &str, expected: bool| {
            assert_eq!(error(status, text).is_transient(), expected, "{status} {text}");
        };
        for status in [408, 409, 425, 429, 500, 502, 503, 504, 529] {
            check(status, "busy", true);
        }
        for status in [400, 401, 402, 403, 404, 405, 422, 501] {
            check(status, "no", false);
        }
        check(429, r#"{"error":{"code":"insufficient_quota"}}"#, false);
        check(429, "You exceeded your current quota, please check your plan", false);
        check(429, "You exceeded your current quota. Please retry in 2.1s.", true);
        check(429, "Request too large for gpt-4: Limit 10000, Requested 15000", false);
        let told = ServerError::of_status(
            500,
            &|name| (name == "x-should-retry").then(|| "false".into()),
            "",
        );
        assert!(!told.is_transient());
    }

    #[test]
    fn an_error_in_an_answer_has_the_status_that_it_names() {
        let check = |body: Value, status: u16, message: &str| {
            let error = ServerError::in_answer(body.clone());
            assert_eq!((error.status(), error.message()), (status, message), "{body}");
        };
        check(
            json!({ "error": { "code": 401, "message": "User not found." } }),
            401,
            "User not found.",
        );
        check(json!({ "error": { "code": "502", "message": "x" } }), 502, "x");
        check(json!({ "error": { "type": "overloaded_error", "message": "x" } }), 503, "x");
        check(json!({ "error": { "type": "rate_limit_exceeded", "message": "x" } }), 429, "x");
        check(json!({ "error": "no\n  memory\u{1b}[2J" }), 500, "no memory[2J");
        check(json!({ "object": "error", "message": "x", "code": 400 }), 400, "x");
        check(json!({ "detail": "Not Found" }), 500, "Not Found");
        check(json!({ "error": { "code": "insufficient_quota", "message": "x" } }), 402, "x");
        check(json!({ "error": { "code": "1301", "message": "x" } }), 400, "x");
        check(json!({ "error": { "code": 1302, "message": "x" } }), 429, "x");
        check(
            json!({ "code": 500, "msg": "404 NOT_FOUND", "success": false }),
            500,
            "404 NOT_FOUND",
        );
        let base = json!({ "status_code": 1004, "status_msg": "login fail" });
        check(json!({ "choices": null, "base_resp": base }), 401, "login fail");
        check(json!({ "error_code": 336_003, "error_msg": "x" }), 500, "x");
        check(json!({ "errors": [{ "message": "x", "code": 429 }] }), 429, "x");
        check(json!({ "errors": ["x"] }), 500, "x");
    }

    /// What the server says, and how many seconds it asks to wait.
    #[test]
    fn an_error_is_read_in_a_list_and_in_a_stream() {
        let check = |text: &str, message: &str, wait: Option<u64>| {
            let error = error(429, text);
            assert_eq!((error.message(), error.wait().map(|wait| wait.as_secs())), (message, wait));
        };
        let google = json!({ "error": { "code": 429, "message": "x", "details": [{ "retryDelay": "41s" }] } });
        check(&google.to_string(), "x", Some(41));
        check(&json!([google]).to_string(), "x", Some(41));
        check(&format!("data: {google}\n\ndata: [DONE]\n\n"), "x", Some(41));
        check(&format!("error: {google}\n\n"), "x", Some(41));
        check("slow: down", "slow: down", None);
    }
}
