//! Turns a model's text into an action, for every policy that answers with a method
//! or calls a tool in its text.

use std::ops::Range;

use fixfly_runtime::answer::{Asked, Code, NoCommand, code_spans, command, method, outside_code};
use fixfly_runtime::{Action, Call, Finish, ToolSpec, Usage, View};
use serde_json::{Value, json};

/// The tool of method tasks; its argument is the code.
pub(crate) const METHOD: &str = "submit_method";
const CALL_TAGS: [&str; 2] = ["<tool_call>", "</tool_call>"];
/// The tool that a block of shell code calls.
const SHELL: &str = "bash";
const THINK: [&str; 2] = ["<think>", "</think>"];

/// A text that contains only this code.
pub(crate) fn fenced_block(code: &str) -> String {
    format!("```python\n{}\n```\n", code.trim_end())
}

/// An action that submits this code and cost nothing.
pub(crate) fn free(code: &str, reasoning: Option<String>) -> Action {
    let call = submitted(&format!("{}\n", code.trim_end()));
    let text = fenced_block(code);
    Action { call, text, reasoning, usage: Usage::default(), generation: None }
}

/// What the task of this view asks for.
pub(crate) fn asked<'a>(view: &View<'a>) -> Asked<'a> {
    view.task.statement.method().map_or(Asked::default(), |method| Asked {
        name: Some(&method.name),
        change: method.faulty.is_some(),
    })
}

/// The tool call in a model's text; `tools` are those that the model may call.
pub(crate) fn call(text: &str, asked: Asked<'_>, tools: &[ToolSpec], finish: Finish) -> Call {
    let has = |name: &str| tools.iter().any(|tool| tool.name == name);
    let words = Words {
        text,
        method: has(METHOD).then(|| method(text, asked).ok()),
        command: (!has(METHOD) && has(SHELL)).then(|| command(text).map(|found| found.text)),
        cut_off: match finish {
            Finish::Stop | Finish::ToolCall => None,
            Finish::Length => Some("was cut off at the limit of tokens"),
            Finish::Filtered => Some("was cut off by the server's content filter"),
            Finish::Refused => Some("was a refusal"),
        },
        only_shell: tools.len() == 1,
    };
    let Tagged { calls, unclosed } = tagged(text, &words.code());
    let is_tool = |call: &Call| matches!(call, Call::Tool { name, .. } if has(name));
    match calls.as_slice() {
        // Tags that are part of the words.
        [] if !unclosed || words.are_right() => words.call(),
        [] => Call::Malformed(format!("`{}` has no `{}`", CALL_TAGS[0], CALL_TAGS[1])),
        [(span, call)] if is_tool(call) || !words.are_right() => match words.beside(span, call) {
            Some(why) => Call::Malformed(why),
            None => call.clone(),
        },
        several if several.iter().any(|(_, call)| is_tool(call)) || !words.are_right() => {
            let names: Vec<String> = several.iter().map(|(_, call)| name_of(call)).collect();
            Call::Malformed(format!(
                "the answer makes {} calls ({}), and none was run; make one call a turn",
                names.len(),
                names.join(", ")
            ))
        }
        _ => words.call(),
    }
}

/// What an answer contains outside the tags of tool calls.
struct Words<'t> {
    text: &'t str,
    /// For tasks that ask for a method: the code, if there is any.
    method: Option<Option<Code>>,
    /// For tasks with a shell: the command.
    command: Option<Result<String, NoCommand>>,
    cut_off: Option<&'static str>,
    only_shell: bool,
}

impl Words<'_> {
    /// The spans in which a tag is part of code.
    fn code(&self) -> Vec<Range<usize>> {
        match &self.method {
            Some(Some(code)) if code.found => vec![code.span.clone()],
            Some(_) => Vec::new(),
            None => code_spans(self.text),
        }
    }

    /// Whether the words are an answer of their own.
    fn are_right(&self) -> bool {
        match (&self.method, &self.command) {
            (Some(method), _) => method.as_ref().is_some_and(|code| code.found),
            (None, command) => matches!(command, Some(Ok(_))),
        }
    }

    fn call(&self) -> Call {
        let whole = match (&self.method, &self.command) {
            (Some(method), _) => method.as_ref().is_some_and(|code| code.whole),
            (None, command) => matches!(command, Some(Ok(_))),
        };
        if let Some(how) = self.cut_off.filter(|_| !whole) {
            return Call::Malformed(format!("the answer {how} before its code was whole"));
        }
        if self.text.trim().is_empty() {
            return Call::Malformed("the answer is empty".into());
        }
        match (&self.method, &self.command) {
            (Some(Some(code)), _) => submitted(&code.text),
            // The benchmark's refusal states what to send.
            (Some(None), _) => submitted(self.text),
            (None, Some(Ok(command))) => shell(command),
            (None, Some(Err(why))) => Call::Malformed(self.no_command(why)),
            (None, None) => Call::Malformed(format!("the answer holds no `{}`", CALL_TAGS[0])),
        }
    }

    fn no_command(&self, why: &NoCommand) -> String {
        match why {
            NoCommand::NoBlock if self.only_shell => {
                format!("the answer holds no `{}` and no ```bash block", CALL_TAGS[0])
            }
            NoCommand::NoBlock => format!("the answer holds no `{}`", CALL_TAGS[0]),
            NoCommand::Tag(_) if !self.only_shell => {
                format!("the answer holds no `{}`, only blocks of code", CALL_TAGS[0])
            }
            why => why.to_string(),
        }
    }

    /// Why a call in tags cannot run: there is another command beside it. With more tools
    /// than a shell, a block is an illustration.
    fn beside(&self, span: &Range<usize>, call: &Call) -> Option<String> {
        let Call::Tool { args, .. } = call else { return None };
        let is_other = match &self.command {
            Some(Ok(command)) => args["command"].as_str().map(str::trim) != Some(command.trim()),
            Some(Err(NoCommand::Several(_))) => true,
            _ => false,
        };
        let inside = self.text[span.clone()].contains("```");
        (self.only_shell && is_other && !inside).then(|| {
            format!(
                "the answer has a `{}` and another command in a ```bash block, and none was run; give one command a turn",
                CALL_TAGS[0]
            )
        })
    }
}

fn name_of(call: &Call) -> String {
    match call {
        Call::Tool { name, .. } => format!("`{name}`"),
        _ => "one that cannot be read".into(),
    }
}

/// The calls in tags.
struct Tagged {
    /// Each with its span.
    calls: Vec<(Range<usize>, Call)>,
    /// Whether a tag opens and nothing closes it.
    unclosed: bool,
}

/// Reads the calls in tags outside these spans of code.
fn tagged(text: &str, code: &[Range<usize>]) -> Tagged {
    let (mut at, mut calls) = (0, Vec::new());
    let mut code = code.iter().peekable();
    while let Some(found) = text[at..].find(CALL_TAGS[0]) {
        let start = at + found;
        let inside = start + CALL_TAGS[0].len();
        while code.next_if(|span| span.end <= start).is_some() {}
        if let Some(span) = code.peek().filter(|span| span.contains(&start)) {
            at = span.end.max(inside);
            continue;
        }
        let Some((call, length)) = tagged_call(&text[inside..]) else {
            return Tagged { calls, unclosed: true };
        };
        at = inside + length;
        calls.push((start..at, call));
    }
    Tagged { calls, unclosed: false }
}

/// The call after a tag, and how long it is with the closing tag. JSON states itself where
/// it ends, so its strings may contain tags.
fn tagged_call(text: &str) -> Option<(Call, usize)> {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    if let Some(Ok(value)) = values.next() {
        let end = values.byte_offset();
        let rest = text[end..].trim_start();
        if rest.starts_with(CALL_TAGS[1]) {
            return Some((call_of(&value), text.len() - rest.len() + CALL_TAGS[1].len()));
        }
    }
    let end = text.find(CALL_TAGS[1])?;
    Some((tool_call(&text[..end]), end + CALL_TAGS[1].len()))
}

/// Writes a call as text that [`call`] can read.
pub(crate) fn call_as_text(name: &str, args: &Value) -> String {
    let call = json!({ "name": name, "arguments": args });
    format!("{}{call}{}", CALL_TAGS[0], CALL_TAGS[1])
}

/// Parses a call in the JSON of chat templates: `{"name": …, "arguments": {…}}`. Line breaks
/// in strings are accepted, although JSON has none.
pub(crate) fn tool_call(text: &str) -> Call {
    let parse = |text: &str| serde_json::from_str::<Value>(text);
    match parse(text.trim()).or_else(|why| parse(&escaped(text.trim())).map_err(|_| why)) {
        Ok(value) => call_of(&value),
        Err(why) => Call::Malformed(format!("the tool call is not JSON: {why}")),
    }
}

fn call_of(value: &Value) -> Call {
    let args = value.get("arguments").or_else(|| value.get("parameters")).cloned();
    let args = match args.unwrap_or_else(|| json!({})) {
        // Some models write the object into a string, as the API of OpenAI does.
        Value::String(text) => serde_json::from_str(&text).unwrap_or(Value::String(text)),
        args => args,
    };
    match (value.get("name").and_then(Value::as_str), args) {
        (None, _) => Call::Malformed("the tool call has no `name`".into()),
        (Some(name), args @ Value::Object(_)) => Call::Tool { name: name.into(), args },
        (Some(name), _) => {
            Call::Malformed(format!("the arguments of the call of `{name}` are not an object"))
        }
    }
}

/// JSON with the control characters in its strings escaped.
fn escaped(text: &str) -> String {
    let (mut out, mut inside, mut escape) = (String::with_capacity(text.len()), false, false);
    for c in text.chars() {
        match c {
            '\n' if inside => out += "\\n",
            '\r' if inside => out += "\\r",
            '\t' if inside => out += "\\t",
            c => out.push(c),
        }
        inside ^= c == '"' && !escape;
        escape = inside && c == '\\' && !escape;
    }
    out
}

/// Splits a text into reasoning and answer. If the chat template started the
/// reasoning, the text contains only its closing tag; in code, a tag is code. If the
/// reasoning never ends, there is no answer.
pub(crate) fn split_reasoning(text: &str) -> (Option<String>, String) {
    let opened = text.trim_start().strip_prefix(THINK[0]);
    let body = opened.unwrap_or(text);
    let end = match opened {
        Some(body) => body.find(THINK[1]),
        None => outside_code(body, THINK[1]),
    };
    match (end, opened) {
        (Some(end), _) => {
            let words = body[end + THINK[1].len()..].trim_start_matches(['\n', '\r']);
            (some(body[..end].trim()), words.to_string())
        }
        (None, Some(reasoning)) => (some(reasoning.trim()), String::new()),
        (None, None) => (None, text.to_string()),
    }
}

fn some(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_string())
}

fn submitted(code: &str) -> Call {
    Call::Tool { name: METHOD.into(), args: json!({ "code": code }) }
}

fn shell(command: &str) -> Call {
    Call::Tool { name: SHELL.into(), args: json!({ "command": command.trim_end() }) }
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
        match (call(text, Asked::named("f"), &[tool(tools)], finish), expected) {
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
        check_call(two, "bash", Finish::Stop, Err("2 blocks of commands"));
        check_call("```bash\nls\n", "bash", Finish::Stop, Err("not closed"));
        check_call("```bash\nls\n", "bash", Finish::Length, Err("limit of tokens"));
    }

    /// The cases of F07 and more of their kind; the blocks are tested in the runtime.
    #[test]
    fn one_call_runs_and_none_is_dropped_in_silence() {
        let bash = |command: &str| Ok(("bash", json!({ "command": command })));
        let check = |text: &str, expected| check_call(text, "bash", Finish::Stop, expected);
        let ls = r#"<tool_call>{"name": "bash", "arguments": {"command": "ls"}}</tool_call>"#;
        let other = ls.replace("ls", "touch second");
        check(&format!("{ls}\n{other}"), Err("2 calls (`bash`, `bash`), and none was run"));
        check(&format!("{ls}\n<tool_call>x</tool_call>"), Err("2 calls (`bash`, one that"));
        check(&format!("{ls}\n```bash\npwd\n```\n"), Err("another command in a ```bash block"));
        check(&format!("{ls}\n```bash\nls\n```\n"), bash("ls"));
        check(&format!("```xml\n{ls}\n```\n"), bash("ls"));
        check("I saw <tool_call> in it.\n```bash\ncat a\n```\n", bash("cat a"));
        let text = "cat > a <<'EOF'\n<tool_call>{}</tool_call>\nEOF";
        check(&format!("```bash\n{text}\n```\n"), bash(text));
        let tags = r#"<tool_call>{"name": "bash", "arguments": {"command": "grep '</tool_call>' a"}}</tool_call>"#;
        check(tags, bash("grep '</tool_call>' a"));
        let string =
            r#"<tool_call>{"name": "bash", "arguments": "{\"command\": \"ls\"}"}</tool_call>"#;
        check(string, bash("ls"));
        check(&ls.replace("ls", "ls\npwd\t."), bash("ls\npwd\t."));
        check("```python\nx\n```", Err("only ```python"));
        check("Let me look.", Err("no ```bash block"));
    }

    #[test]
    fn a_tag_in_the_method_or_in_the_words_is_no_call() {
        let code = "def f(self):\n    # like <tool_call> this\n    return 1\n";
        let right = || Ok((METHOD, json!({ "code": code })));
        let check = |text: &str, expected| check_call(text, METHOD, Finish::Stop, expected);
        check(code, right());
        check(&fenced_block(code), right());
        check(&format!("No <tool_call> here.\n{}", fenced_block(code)), right());
        check(&format!("<tool_call>\n{}</tool_call>", fenced_block(code)), right());
        let both = format!("Not {}, but:\n{}", call_as_text("x", &json!({})), fenced_block(code));
        check(&both, right());
        check(&call_as_text(METHOD, &json!({ "code": code })), right());
        let cut = format!("{}Use:\n```python\na.f(", fenced_block(code));
        check_call(&cut, METHOD, Finish::Length, right());
        let cut = fenced_block(code).replace("```\n", "");
        check_call(&cut, METHOD, Finish::Length, Err("limit of tokens"));
        // The benchmark explains what is wrong.
        check("I am not sure.", Ok((METHOD, json!({ "code": "I am not sure." }))));
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
        let code = "```python\ndef f(self):\n    # ends with </think>\n    return 1\n```";
        check(code, None, code);
        check(&format!("a\n</think>\n{code}"), Some("a"), code);
        check("```\ndef f():\n</think>\n\nb", Some("```\ndef f():"), "b");
        check("def f(self):\n    return '</think>'", None, "def f(self):\n    return '</think>'");
    }
}
