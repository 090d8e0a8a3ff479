//! The profile key that helps where a server refuses what it is sent.

use serde_json::Value;

use super::profile::{LimitField, OmittedField, Profile, ReasoningField};

/// What servers write of a field that they do not take.
const UNSUPPORTED: [&str; 16] = [
    "unsupported",
    "not supported",
    "does not support",
    "doesn't support",
    "not allowed",
    "not permitted",
    "not available",
    "unrecognized",
    "unrecognised",
    "unknown",
    "unexpected",
    "extra inputs",
    "extra_forbidden",
    "not accept",
    "only the default",
    "is deprecated",
];
/// What servers write of a value of a field, not of the field.
const BOUNDS: [&str; 6] = ["must be", "between", "range", "at least", "at most", "should be"];
/// What servers write if a model or its template takes no tools: Ollama, vLLM, OpenRouter.
const NO_TOOLS: [&str; 9] = [
    "does not support tool",
    "doesn't support tool",
    "does not support function call",
    "that support tool use",
    "tool use is not supported",
    "tool calling is not supported",
    "function calling is not supported",
    "tools are not supported",
    "enable-auto-tool-choice",
];
/// What OpenAI writes if an organization may not stream a model.
const NO_STREAM: [&str; 2] = ["must be verified to stream", "streaming is not supported"];
/// What servers write of reasoning that they want back.
const REQUIRED: [&str; 6] = [
    "must be passed",
    "must be provided",
    "must be included",
    "missing",
    "required",
    "passed back",
];
const REASONING: [&str; 3] = ["reasoning_content", "reasoning_text", "reasoning"];

/// What to change in the profile after a server refused `body` with this status and message.
pub(super) fn of(status: u16, message: &str, profile: &Profile, body: &Value) -> Option<String> {
    let message = message.to_lowercase();
    let has = |parts: &[&str]| parts.iter().any(|part| message.contains(part));
    if matches!(status, 400 | 404 | 422) && body.get("tools").is_some() && has(&NO_TOOLS) {
        return Some("use --tool-calls text: the model then calls tools in its text".into());
    }
    if !matches!(status, 400 | 422) {
        return None;
    }
    if body["stream"] == true && has(&NO_STREAM) {
        return Some("use --stream no: answers then arrive whole".into());
    }
    let answered = body["messages"].as_array().into_iter().flatten();
    let has_answers = answered.into_iter().any(|message| message["role"] == "assistant");
    let is_invalid = has(&["invalid parameter"]) && !has(&BOUNDS);
    let is_unsupported = has(&UNSUPPORTED) || is_invalid;
    reasoning(&message, profile, has_answers && has(&REQUIRED), is_unsupported)
        .or_else(|| is_unsupported.then(|| unsupported(&message, profile, body)).flatten())
}

fn reasoning(
    message: &str,
    profile: &Profile,
    is_required: bool,
    is_unsupported: bool,
) -> Option<String> {
    let field = REASONING.into_iter().find(|field| names(message, field))?;
    match &profile.send_reasoning {
        None if is_required => Some(format!(
            "set `send_reasoning = \"{field}\"` in the profile to send the model its earlier reasoning"
        )),
        Some(ReasoningField::Named(sent)) if is_unsupported && names(message, sent) => {
            Some("leave `send_reasoning` out of the profile".into())
        }
        _ => None,
    }
}

/// Whether a message contains the name of a field, as a word of its own.
fn names(message: &str, field: &str) -> bool {
    let mut words = message.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.any(|word| word == field)
}

fn unsupported(message: &str, profile: &Profile, body: &Value) -> Option<String> {
    let limit = profile.limit_field.key();
    let names = |field: &str| names(message, field);
    if let Some((key, _)) = profile.extra.iter().find(|(key, _)| names(key)) {
        return Some(format!("leave `{key}` out of `[extra]` in the profile"));
    }
    if names(limit) && body.get(limit).is_some() {
        let other = match profile.limit_field {
            LimitField::MaxTokens => LimitField::MaxCompletionTokens,
            LimitField::MaxCompletionTokens => LimitField::MaxTokens,
        };
        return Some(format!("set `limit_field = \"{}\"` in the profile", other.key()));
    }
    let field = OmittedField::ALL
        .into_iter()
        .map(OmittedField::key)
        .find(|field| names(field) && body.get(*field).is_some())?;
    let mut omitted: Vec<&str> = profile.omit.iter().map(|field| field.key()).collect();
    omitted.push(field);
    let list = omitted.iter().map(|field| format!("\"{field}\"")).collect::<Vec<_>>().join(", ");
    Some(format!("set `omit = [{list}]` in the profile to leave `{field}` out of requests"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(profile: &str, status: u16, message: &str, expected: Option<&str>) {
        let profile: Profile = toml::from_str(profile).unwrap();
        let body = json!({ "model": "m", "messages": [{ "role": "assistant" }], "temperature": 0.6, "max_tokens": 10,
            "stream": true, "stream_options": {}, "parallel_tool_calls": false, "seed": 1, "tools": [] });
        let advice = of(status, message, &profile, &body);
        match (&advice, expected) {
            (Some(advice), Some(part)) => assert!(advice.contains(part), "{advice}"),
            _ => assert_eq!(advice.as_deref(), expected, "{message}"),
        }
    }

    #[test]
    fn a_refusal_names_the_profile_key_that_helps() {
        let parallel =
            "Unsupported parameter: 'parallel_tool_calls' is not supported with this model.";
        check("", 400, parallel, Some("omit = [\"parallel_tool_calls\"]"));
        check("", 500, parallel, None);
        check(
            "omit = [\"seed\"]",
            400,
            parallel,
            Some("omit = [\"seed\", \"parallel_tool_calls\"]"),
        );
        check(
            "",
            422,
            r#"[{"type":"extra_forbidden","loc":["body","stream_options"],"msg":"Extra inputs are not permitted"}]"#,
            Some("omit = [\"stream_options\"]"),
        );
        check(
            "",
            400,
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
            Some("limit_field = \"max_completion_tokens\""),
        );
        check(
            "",
            400,
            "Unsupported value: 'temperature' does not support 0.6 with this model. Only the default (1) value is supported.",
            Some("omit = [\"temperature\"]"),
        );
        check(
            "[extra]\nmin_p = 0.1",
            400,
            "Unrecognized request argument supplied: min_p",
            Some("`min_p` out of `[extra]`"),
        );
        check("", 400, "Unknown field top_k", None);
        check(
            "",
            400,
            "`temperature` is deprecated for this model.",
            Some("omit = [\"temperature\"]"),
        );
        check(
            "",
            400,
            "Unsupported parameter parallel_tool_calls",
            Some("[\"parallel_tool_calls\"]"),
        );
        check("", 400, "Invalid parameter: seed", Some("omit = [\"seed\"]"));
        check("", 400, "Invalid parameter: seed must be at least 0", None);
        check("", 400, "temperature must be in [0, 2]", None);
        check("", 400, "reasoning_effort is required", None);
        let text = Some("--tool-calls text");
        check("", 400, "registry.ollama.ai/library/x does not support tools", text);
        let auto = "\"auto\" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set";
        check("", 400, auto, text);
        check("", 404, "No endpoints found that support tool use.", text);
        check("", 404, "No endpoints found for x.", None);
        let stream = "Your organization must be verified to stream this model.";
        check("", 400, stream, Some("--stream no"));
        let back = "The reasoning_content in the thinking mode must be passed back to the API.";
        check("", 400, back, Some("send_reasoning = \"reasoning_content\""));
        check("send_reasoning = \"reasoning_content\"", 400, back, None);
        check(
            "send_reasoning = \"reasoning_content\"",
            400,
            "messages[2].reasoning_content is not allowed",
            Some("leave `send_reasoning` out"),
        );
    }
}
