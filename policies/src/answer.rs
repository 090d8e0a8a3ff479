//! Turns a model's text into an action, for every policy that answers with a method
//! or calls a tool in its text.

use std::ops::Range;

use fixfly_runtime::answer::{Asked, Code, NoCommand, code_spans, command, method, outside_code};
use fixfly_runtime::{Action, Call, Finish, Task, ToolSpec, Usage};
use serde_json::{Value, json};

use crate::calls::{self, Candidates, ReadCall};

/// The tools that take a task's code, of one method or of several; their argument is the code.
const SUBMITS: [&str; 2] = ["submit_method", "submit_methods"];
const CALL_TAGS: [&str; 2] = ["<tool_call>", "</tool_call>"];
/// The tool that a block of shell code calls.
const SHELL: &str = "bash";
/// Tags around reasoning: most models', Seed's, Kimi's, Mistral's, and older ones.
const THOUGHTS: [(&str, &str); 6] = [
    ("<think>", "</think>"),
    ("<seed:think>", "</seed:think>"),
    ("◁think▷", "◁/think▷"),
    ("[THINK]", "[/THINK]"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
];
const EMPTY: &str = "the answer is empty";

/// A text that contains only this code.
pub(crate) fn fenced_block(code: &str) -> String {
    format!("```python\n{}\n```\n", code.trim_end())
}

/// The tool that takes the code that a task asks for; `None` if it asks for none.
pub(crate) fn submit_tool(task: &Task) -> Option<&'static str> {
    SUBMITS.into_iter().find(|name| task.tools.iter().any(|tool| tool == name))
}

/// An action that submits this code to a task and cost nothing.
pub(crate) fn free(task: &Task, code: &str, reasoning: Option<String>) -> Action {
    let tool = submit_tool(task).unwrap_or(SUBMITS[0]);
    let call = submitted(tool, &format!("{}\n", code.trim_end()));
    let text = fenced_block(code);
    Action { call, text, reasoning, usage: Usage::default(), generation: None }
}

/// The tool call in a model's text, and what was repaired in order to read it; `tools` are
/// those that the model may call.
pub(crate) fn read(text: &str, asked: &Asked<'_>, tools: &[ToolSpec], finish: Finish) -> ReadCall {
    let has = |name: &str| tools.iter().any(|tool| tool.name == name);
    let submit = SUBMITS.into_iter().find(|name| has(name));
    let words = Words {
        text,
        method: submit.map(|tool| (tool, method(text, asked).ok())),
        command: (submit.is_none() && has(SHELL)).then(|| command(text).map(|found| found.text)),
        cut_off: match finish {
            Finish::Stop | Finish::ToolCall => None,
            Finish::Length => Some("was cut off at the limit of tokens"),
            Finish::Filtered => Some("was cut off by the server's content filter"),
            Finish::Refused => Some("was a refusal"),
        },
        only_shell: tools.len() == 1,
    };
    let Candidates { calls, mention } = calls::in_text(text, &words.code(), tools, finish);
    let is_tool = |read: &ReadCall| matches!(&read.call, Call::Tool { name, .. } if has(name));
    match (calls.as_slice(), mention) {
        ([], Some(why)) if !words.are_right() => Call::Malformed(why).into(),
        // Tags that are part of the words.
        ([], _) => words.call().into(),
        ([(span, read)], _) if is_tool(read) || !words.are_right() => {
            match words.beside(span, &read.call) {
                Some(why) => Call::Malformed(why).into(),
                None => read.clone(),
            }
        }
        (several, _) if several.iter().any(|(_, read)| is_tool(read)) || !words.are_right() => {
            let names: Vec<String> = several.iter().map(|(_, read)| name_of(&read.call)).collect();
            let names = names.join(", ");
            Call::Malformed(format!(
                "the answer makes {} calls ({names}), and none was run; make one call a turn",
                several.len()
            ))
            .into()
        }
        _ => words.call().into(),
    }
}

/// Whether a text contains anything that begins as a call of a tool, outside code.
pub(crate) fn has_calls(text: &str, tools: &[ToolSpec]) -> bool {
    !calls::in_text(text, &code_spans(text), tools, Finish::Stop).calls.is_empty()
}

/// What an answer contains outside the tags of tool calls.
struct Words<'t> {
    text: &'t str,
    /// For tasks that ask for methods: the tool that takes them, and the code, if there is any.
    method: Option<(&'static str, Option<Code>)>,
    /// For tasks with a shell: the command.
    command: Option<Result<String, NoCommand>>,
    cut_off: Option<&'static str>,
    only_shell: bool,
}

impl Words<'_> {
    /// The spans in which a tag is part of code.
    fn code(&self) -> Vec<Range<usize>> {
        match &self.method {
            Some((_, Some(code))) if code.found => vec![code.span.clone()],
            Some(_) => Vec::new(),
            None => code_spans(self.text),
        }
    }

    /// Whether the words are an answer of their own.
    fn are_right(&self) -> bool {
        match (&self.method, &self.command) {
            (Some((_, method)), _) => method.as_ref().is_some_and(|code| code.found),
            (None, command) => matches!(command, Some(Ok(_))),
        }
    }

    fn call(&self) -> Call {
        let whole = match (&self.method, &self.command) {
            (Some((_, method)), _) => method.as_ref().is_some_and(|code| code.whole),
            (None, command) => matches!(command, Some(Ok(_))),
        };
        if let Some(how) = self.cut_off.filter(|_| !whole) {
            return Call::Malformed(format!("the answer {how} before its code was whole"));
        }
        if self.text.trim().is_empty() {
            return Call::Malformed(EMPTY.into());
        }
        match (&self.method, &self.command) {
            (Some((tool, Some(code))), _) => submitted(tool, &code.text),
            // The benchmark's refusal states what to send.
            (Some((tool, None)), _) => submitted(tool, self.text),
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

/// Writes a call as text that [`read`] can read.
pub(crate) fn call_as_text(name: &str, args: &Value) -> String {
    let call = json!({ "name": name, "arguments": args });
    format!("{}{call}{}", CALL_TAGS[0], CALL_TAGS[1])
}

/// Splits a text into reasoning and answer. If the chat template started the
/// reasoning, the text contains only its closing tag; in code, a tag is code. If the
/// reasoning never ends, there is no answer.
pub(crate) fn split_reasoning(text: &str) -> (Option<String>, String) {
    if let Some(split) = channels(text) {
        return split;
    }
    let start = text.trim_start();
    let opened =
        THOUGHTS.iter().find_map(|(open, close)| Some((start.strip_prefix(open)?, *close)));
    let (body, end) = match opened {
        Some((body, close)) => (body, body.find(close).map(|end| (end, close))),
        None => {
            let ends = THOUGHTS.iter().map(|(_, close)| (outside_code(text, close), *close));
            let ends = ends.filter_map(|(end, close)| Some((end?, close)));
            (text, ends.min_by_key(|(end, _)| *end))
        }
    };
    match (end, opened) {
        (Some((end, close)), _) => {
            let words = body[end + close.len()..].trim_start_matches(['\n', '\r']);
            (some(body[..end].trim()), words.to_string())
        }
        (None, Some((reasoning, _))) => (some(reasoning.trim()), String::new()),
        (None, None) => (None, text.to_string()),
    }
}

/// Reasoning and answer in the channels of gpt-oss, if a server passes them on as text.
fn channels(text: &str) -> Option<(Option<String>, String)> {
    const ENDS: [&str; 3] = ["<|end|>", "<|start|>", CHANNEL];
    let (mut rest, mut thoughts) = (text.trim_start(), Vec::new());
    while let Some(body) = of_channel(rest, "analysis") {
        let end = ENDS.iter().filter_map(|mark| body.find(mark)).min().unwrap_or(body.len());
        thoughts.push(body[..end].trim());
        let after = &body[end..];
        rest = after.strip_prefix(ENDS[0]).unwrap_or(after).trim_start();
    }
    let words = of_channel(rest, "final");
    if thoughts.is_empty() && words.is_none() {
        return None;
    }
    let words = words.unwrap_or(rest);
    let ended = ["<|return|>", "<|end|>"].iter().find_map(|end| words.trim_end().strip_suffix(end));
    Some((some(thoughts.join("\n").trim()), ended.unwrap_or(words).to_string()))
}

const CHANNEL: &str = "<|channel|>";

/// What follows the header of a channel of this name.
fn of_channel<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let text = text.strip_prefix("<|start|>assistant").unwrap_or(text);
    let (header, body) = text.strip_prefix(CHANNEL)?.split_once("<|message|>")?;
    (header.trim() == name).then_some(body)
}

/// A call that was read after this reasoning: where nothing follows it, that is said.
pub(crate) fn after_reasoning(read: ReadCall, reasoning: Option<&str>) -> ReadCall {
    match (&read.call, reasoning) {
        (Call::Malformed(why), Some(_)) if why == EMPTY => Call::Malformed(format!(
            "{EMPTY}: it is only reasoning; end the reasoning, then write the answer"
        ))
        .into(),
        _ => read,
    }
}

fn some(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_string())
}

fn submitted(tool: &str, code: &str) -> Call {
    Call::Tool { name: tool.into(), args: json!({ "code": code }) }
}

fn shell(command: &str) -> Call {
    Call::Tool { name: SHELL.into(), args: json!({ "command": command.trim_end() }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const METHOD: &str = SUBMITS[0];

    #[test]
    fn the_code_is_what_stands_between_the_fences() {
        let code = "def f(self):\n    return \"`\"\n";
        assert_eq!(fenced_block(code), format!("```python\n{code}```\n"));
        let Call::Tool { name, args } = submitted(METHOD, code) else { panic!("a tool is called") };
        assert_eq!((name.as_str(), args["code"].as_str()), (METHOD, Some(code)));
    }

    fn tool(name: &str) -> ToolSpec {
        ToolSpec { name: name.into(), description: String::new(), parameters: json!({}) }
    }

    #[track_caller]
    fn check_call(text: &str, tools: &str, finish: Finish, expected: Result<(&str, Value), &str>) {
        match (read(text, &Asked::named("f"), &[tool(tools)], finish).call, expected) {
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
        for (open, close) in THOUGHTS {
            check(&format!("{open}\na\n{close}\n\nb\n"), Some("a"), "b\n");
            check(&format!("{open}a ```bash\nls\n```\n{close}b"), Some("a ```bash\nls\n```"), "b");
            check(&format!("a{close}\nb"), Some("a"), "b");
            check(&format!("{open}a"), Some("a"), "");
        }
        let last = "<|start|>assistant<|channel|>final<|message|>b";
        check(&format!("<|channel|>analysis<|message|>a<|end|>{last}<|return|>"), Some("a"), "b");
        check("<|channel|>analysis<|message|>a<|channel|>final<|message|>b", Some("a"), "b");
        check(last, None, "b");
        check("<|channel|>analysis<|message|>a", Some("a"), "");
        let call = "<|channel|>commentary to=functions.bash<|message|>{}<|call|>";
        check(call, None, call);
        check(&format!("<|channel|>analysis<|message|>a<|end|>{call}"), Some("a"), call);
        check("say <thinking> or [THINK] aloud", None, "say <thinking> or [THINK] aloud");
        let code = "```python\ndef f(self):\n    # ends with </think>\n    return 1\n```";
        check(code, None, code);
        check(&format!("a\n</think>\n{code}"), Some("a"), code);
        check("```\ndef f():\n</think>\n\nb", Some("```\ndef f():"), "b");
        check("def f(self):\n    return '</think>'", None, "def f(self):\n    return '</think>'");
    }

    #[test]
    fn an_answer_that_is_only_reasoning_is_refused_as_that() {
        let read = |text: &str, reasoning: Option<&str>| {
            let read = read(text, &Asked::named("f"), &[tool(METHOD)], Finish::Stop);
            match after_reasoning(read, reasoning).call {
                Call::Malformed(why) => why,
                call => panic!("{call:?} is malformed"),
            }
        };
        assert_eq!(read("", None), "the answer is empty");
        assert!(read("", Some("a")).contains("it is only reasoning"));
    }
}
