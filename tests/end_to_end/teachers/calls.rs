//! Native calls, as servers send them and as they are sent back.

use super::*;

const RIGHT_CODE: &str = "def total(self):\n    return sum(self.items.values())\n";
const WRONG_CODE: &str = "def total(self):\n    return 1\n";

/// An answer with native calls, as id and arguments.
fn calls(calls: &[(&str, &str)]) -> Reply {
    let calls = calls.iter().map(|(id, arguments)| {
        json!({ "id": id, "type": "function",
            "function": { "name": "submit_method", "arguments": arguments } })
    });
    let calls: Vec<Value> = calls.collect();
    Reply::Finish("tool_calls", json!({ "content": null, "tool_calls": calls }))
}

/// A stream of these parts of native calls.
fn stream_of(parts: &[Value]) -> Reply {
    let chunk = |delta: Value, reason: Value| {
        format!(
            "data: {}\n\n",
            json!({ "model": "m", "choices": [{ "index": 0, "delta": delta, "finish_reason": reason }] })
        )
    };
    let mut text: String =
        parts.iter().map(|part| chunk(json!({ "tool_calls": [part] }), Value::Null)).collect();
    text += &chunk(json!({}), json!("tool_calls"));
    text += "data: [DONE]\n\n";
    Reply::Raw("text/event-stream", text.leak())
}

#[test]
fn two_calls_with_one_index_are_two() {
    let code = |code: &str| json!({ "code": code }).to_string();
    let call = |id: &str, code: &str| json!({ "index": 0, "id": id, "function": { "name": "submit_method", "arguments": code } });
    let both = [call("call_a", &code(WRONG_CODE)), call("call_b", &code(RIGHT_CODE))];
    let right = code(RIGHT_CODE);
    let (first, last) = right.split_at(9);
    let parts = [call("call_c", first), call("call_c", last)];
    let asked = Asked::new([stream_of(&both), stream_of(&parts)]);
    let episode = asked.episode(&["--tool-calls", "native"]);
    let why = "the answer calls 2 tools; call one at a time";
    assert_eq!(episode.turns[0].action.call, Call::Malformed(why.into()));
    let sent = &episode.turns[0].action.generation.as_ref().unwrap().native_calls;
    assert_eq!(
        sent.iter().map(|call| call.id.as_deref()).collect::<Vec<_>>(),
        [Some("call_a"), Some("call_b")]
    );
    assert_eq!(episode.solved_at(), Some(2), "a name in each part is one name");
    let requests = asked.server.requests();
    let messages = requests[1]["messages"].as_array().unwrap();
    let shown: Vec<&Value> =
        messages[2]["tool_calls"].as_array().unwrap().iter().map(|call| &call["id"]).collect();
    assert_eq!(shown, ["call_a", "call_b"], "the model's own calls are shown to it");
    let results: Vec<_> = messages[3..].iter().map(|m| (&m["role"], &m["tool_call_id"])).collect();
    let tool = json!("tool");
    assert_eq!(results, [(&tool, &json!("call_a")), (&tool, &json!("call_b"))]);
}

#[test]
fn broken_arguments_are_repaired_or_shown_back_word_for_word() {
    let right = json!({ "code": RIGHT_CODE }).to_string();
    for (broken, repair) in [
        (format!("{{}}{right}"), Repair::DoubledObject),
        (json!(right).to_string(), Repair::QuotedTwice),
        (format!("{right}\""), Repair::ExtraText),
        (format!("```json\n{right}\n```"), Repair::CodeFence),
        (right.replace("\\n", "\n"), Repair::RawControlCharacter),
    ] {
        let asked = Asked::new([calls(&[("a", &broken)])]);
        let episode = asked.episode(&["--tool-calls", "native"]);
        assert_eq!(episode.solved_at(), Some(1), "{broken}");
        let generation = episode.turns[0].action.generation.as_ref().unwrap();
        assert_eq!(generation.repaired, [repair], "{broken}");
        assert_eq!(generation.native_calls[0].arguments, broken);
    }
    let broken = "{\"code\": \"def total(self): return \"a\"\"}";
    let asked = Asked::new([calls(&[("a", broken)]), calls(&[("b", &right)])]);
    let episode = asked.episode(&["--tool-calls", "native"]);
    assert!(
        matches!(&episode.turns[0].action.call, Call::Malformed(why) if why.contains("a quote is written"))
    );
    let shown = asked.server.requests()[1]["messages"][2]["content"].to_string();
    let words =
        format!("<tool_call>{{\"name\": \"submit_method\", \"arguments\": {broken}}}</tool_call>");
    assert_eq!(shown, json!(words).to_string());
}

#[test]
fn an_empty_answer_is_sent_back_with_words() {
    for form in ["text", "native"] {
        let asked = Asked::new([Reply::Message(words("")), Reply::Message(words(TOTAL))]);
        let episode = asked.episode(&["--turns", "2", "--tool-calls", form]);
        assert_eq!(episode.turns.len(), 2, "{form}");
        assert_eq!(episode.turns[0].action.text, "", "the record has what the model sent");
        assert_eq!(asked.server.requests()[1]["messages"][2]["content"], "(empty answer)");
    }
}

#[test]
fn reasoning_is_sent_back_where_the_profile_asks_for_it() {
    let code = json!({ "code": WRONG_CODE }).to_string();
    let call = json!([{ "id": "a", "type": "function", "function": { "name": "submit_method", "arguments": code } }]);
    let first = Reply::Finish(
        "tool_calls",
        json!({ "content": null, "reasoning_content": "I look first.", "tool_calls": call }),
    );
    let refusal = r#"{"error": {"message": "The reasoning_content in the thinking mode must be passed back to the API."}}"#;
    let native = ["--tool-calls", "native", "--turns", "2"];
    let asked = Asked::new([first.clone(), Reply::Status(400, None, refusal)]);
    let stderr = asked.refused(&native);
    assert!(
        stderr.contains("set `send_reasoning = \"reasoning_content\"` in the profile"),
        "{stderr}"
    );
    assert_eq!(asked.server.requests().len(), 2, "the run stops at once");

    let asked = Asked::new([first]);
    let profile = format!("send_reasoning = \"reasoning_content\"\n{PROFILE}");
    fs::write(asked.profile(), profile).unwrap();
    asked.episode(&native);
    assert_eq!(asked.server.requests()[1]["messages"][2]["reasoning_content"], "I look first.");
}

#[test]
fn a_field_that_a_server_refuses_is_left_out_by_the_profile() {
    let refusal = r#"{"error": {"message": "Unsupported parameter: 'parallel_tool_calls' is not supported with this model.", "code": "unsupported_parameter"}}"#;
    let asked = Asked::new([Reply::Status(400, None, refusal)]);
    let stderr = asked.refused(&["--tool-calls", "native"]);
    assert!(stderr.contains("set `omit = [\"parallel_tool_calls\"]` in the profile"), "{stderr}");
    assert_eq!(asked.server.requests()[0]["parallel_tool_calls"], json!(false));

    let asked = Asked::new([calls(&[("a", &json!({ "code": RIGHT_CODE }).to_string())])]);
    let profile = format!("omit = [\"parallel_tool_calls\", \"stream_options\"]\n{PROFILE}");
    fs::write(asked.profile(), profile).unwrap();
    assert_eq!(asked.episode(&["--tool-calls", "native"]).solved_at(), Some(1));
    let request = asked.server.requests().remove(0);
    assert!(
        request.get("parallel_tool_calls").is_none() && request.get("stream_options").is_none()
    );
}
