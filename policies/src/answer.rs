//! Turns a model's text into an action, for every policy that answers with a method
//! or calls a tool in its text.

use fixfly_runtime::{Action, Call, Finish, ToolSpec, Usage, code_block};
use serde_json::{Value, json};

use crate::calls::{self, ReadCall};

/// The tool of method tasks; its argument is the code block.
pub(crate) const METHOD: &str = "submit_method";
const CALL_TAGS: [&str; 2] = ["<tool_call>", "</tool_call>"];
/// The tool that a block of shell code calls.
const SHELL: &str = "bash";
const THINK: [&str; 2] = ["<think>", "</think>"];

/// The action that submits the code block of `text`.
pub(crate) fn answer(text: String, reasoning: Option<String>, usage: Usage) -> Action {
    Action { call: submitted(&text), text, reasoning, usage, generation: None }
}

/// A text that contains only this code.
pub(crate) fn fenced_block(code: &str) -> String {
    format!("```python\n{}\n```\n", code.trim_end())
}

/// An action that submits this code and cost nothing.
pub(crate) fn free(code: &str, reasoning: Option<String>) -> Action {
    answer(fenced_block(code), reasoning, Usage::default())
}

/// The tool call in a model's text, and what was repaired in order to read it.
pub(crate) fn read(text: &str, tools: &[ToolSpec], finish: Finish) -> ReadCall {
    calls::in_text(text, tools, finish).unwrap_or_else(|| call(text, tools, finish).into())
}

/// The tool call in a model's text; `tools` are those that the model may call.
pub(crate) fn call(text: &str, tools: &[ToolSpec], finish: Finish) -> Call {
    let cut_off = match finish {
        Finish::Stop | Finish::ToolCall => None,
        Finish::Length => Some("was cut off at the limit of tokens"),
        Finish::Filtered => Some("was cut off by the server's content filter"),
        Finish::Refused => Some("was a refusal"),
    };
    let has = |name: &str| tools.iter().any(|tool| tool.name == name);
    let has_method = has(METHOD);
    if let Some(read) = calls::in_text(text, tools, finish) {
        return read.call;
    }
    let fences = text.lines().filter(|line| line.trim_start().starts_with("```")).count();
    match cut_off {
        Some(how) if fences == 0 || !fences.is_multiple_of(2) => {
            Call::Malformed(format!("the answer {how} before its code was whole"))
        }
        _ if text.trim().is_empty() => Call::Malformed("the answer is empty".into()),
        _ if has_method => submitted(text),
        _ if has(SHELL) => match commands(text).as_slice() {
            [command] => {
                Call::Tool { name: SHELL.into(), args: json!({ "command": command.trim_end() }) }
            }
            [] => Call::Malformed(format!("the answer holds no `{}`", CALL_TAGS[0])),
            several => Call::Malformed(format!(
                "the answer holds {} blocks of code; give one command a turn",
                several.len()
            )),
        },
        _ => Call::Malformed(format!("the answer holds no `{}`", CALL_TAGS[0])),
    }
}

/// The code blocks that contain shell commands.
fn commands(text: &str) -> Vec<String> {
    let mut commands = Vec::new();
    let mut open: Option<String> = None;
    for line in text.split_inclusive('\n') {
        match (&mut open, line.trim()) {
            (None, "```bash" | "```sh" | "```mswea_bash_command") => open = Some(String::new()),
            (None, _) => {}
            (Some(_), "```") => commands.extend(open.take()),
            (Some(command), _) => command.push_str(line),
        }
    }
    commands
}

/// Writes a call as text that [`call`] can read.
pub(crate) fn call_as_text(name: &str, args: &Value) -> String {
    let call = json!({ "name": name, "arguments": args });
    format!("{}{call}{}", CALL_TAGS[0], CALL_TAGS[1])
}

/// Splits a text into reasoning and answer. If the chat template started the
/// reasoning, the text contains only its closing tag. If the reasoning never ends,
/// there is no answer.
pub(crate) fn split_reasoning(text: &str) -> (Option<String>, String) {
    let opened = text.trim_start().strip_prefix(THINK[0]);
    let body = opened.unwrap_or(text);
    match (body.split_once(THINK[1]), opened) {
        (Some((thought, words)), _) => {
            (some(thought.trim()), words.trim_start_matches(['\n', '\r']).to_string())
        }
        (None, Some(thought)) => (some(thought.trim()), String::new()),
        (None, None) => (None, text.to_string()),
    }
}

fn some(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_string())
}

fn submitted(text: &str) -> Call {
    Call::Tool { name: METHOD.into(), args: json!({ "code": code_block(text) }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_is_what_stands_between_the_fences() {
        let code = "def f(self):\n    return \"`\"\n";
        let action = free(code, None);
        let Call::Tool { name, args } = action.call else { panic!("a tool is called") };
        assert_eq!((name.as_str(), args["code"].as_str()), ("submit_method", Some(code)));
    }

    fn tool(name: &str) -> ToolSpec {
        ToolSpec { name: name.into(), description: String::new(), parameters: json!({}) }
    }

    #[track_caller]
    fn check_call(text: &str, tools: &str, finish: Finish, expected: Result<(&str, Value), &str>) {
        match (call(text, &[tool(tools)], finish), expected) {
            (Call::Tool { name, args }, Ok(expected)) => assert_eq!((&*name, args), expected),
            (Call::Malformed(why), Err(part)) => assert!(why.contains(part), "{why}"),
            (call, expected) => panic!("{call:?} is not {expected:?}"),
        }
    }

    #[test]
    fn words_ask_for_a_tool_or_say_why_not() {
        let code = Ok(("submit_method", json!({ "code": "a\n" })));
        check_call("```\na\n```", METHOD, Finish::Stop, code.clone());
        check_call("```\na\n```\nand", METHOD, Finish::Length, code);
        check_call("```\na\n", METHOD, Finish::Length, Err("limit of tokens"));
        check_call("Well,", METHOD, Finish::Length, Err("before its code was whole"));
        check_call("Well,", METHOD, Finish::Filtered, Err("content filter"));
        check_call("I can't help.", METHOD, Finish::Refused, Err("a refusal"));
        check_call(" \n", METHOD, Finish::Stop, Err("empty"));
        let view = r#"<tool_call>{"name": "view", "arguments": {"file": "a"}}</tool_call>"#;
        check_call(view, "view", Finish::Stop, Ok(("view", json!({ "file": "a" }))));
        check_call("Let me see.", "view", Finish::Stop, Err("holds no `<tool_call>`"));
        check_call("<tool_call>{", "view", Finish::Length, Err("has no `</tool_call>`"));
        check_call("<tool_call>{</tool_call>", "view", Finish::Stop, Err("not JSON"));
        check_call("<tool_call>{}</tool_call>", "view", Finish::Stop, Err("no `name`"));
        let list = r#"<tool_call>{"name": "view", "arguments": []}</tool_call>"#;
        check_call(list, "view", Finish::Stop, Err("not an object"));
    }

    #[test]
    fn a_block_is_a_command_where_there_is_a_shell() {
        let bash = |command: &str| Ok(("bash", json!({ "command": command })));
        check_call("So:\n```bash\nls\npwd\n```\n", "bash", Finish::Stop, bash("ls\npwd"));
        check_call("```python\nx\n```\n```sh\nls\n```", "bash", Finish::Stop, bash("ls"));
        let native = call_as_text("bash", &json!({ "command": "ls" }));
        check_call(&native, "bash", Finish::Stop, bash("ls"));
        let two = "```bash\na\n```\n```bash\nb\n```";
        check_call(two, "bash", Finish::Stop, Err("2 blocks of code"));
        check_call("```bash\nls\n", "bash", Finish::Stop, Err("no `<tool_call>`"));
        check_call("```bash\nls\n", "bash", Finish::Length, Err("limit of tokens"));
    }

    #[test]
    fn a_thought_is_apart_from_the_words() {
        let check = |text: &str, reasoning: Option<&str>, words: &str| {
            assert_eq!(split_reasoning(text), (reasoning.map(str::to_string), words.to_string()));
        };
        check("<think>\na\n</think>\n\nb\n", Some("a"), "b\n");
        check("a\n</think>\n\nb", Some("a"), "b");
        check("<think>\n\n</think>\n\nb", None, "b");
        check("<think>\na", Some("a"), "");
        check("b", None, "b");
    }
}
