//! Reads tool calls: their names, their arguments, and the forms that they have in a text.
//!
//! [`native`] reads a call of a server's own form, [`in_text`] finds calls in a text. Both
//! repair faults that leave only one way to read the call, and report each repair. A call
//! with several readings is refused in words that let the model correct it.

mod arguments;
mod forms;
mod json;
mod named;
mod payload;
mod pythonic;
mod tags;
mod unmarked;

use std::ops::Range;

use fixfly_runtime::{Call, Finish, Repair, SUBMIT_COMMAND, ToolSpec};
use serde_json::{Map, Value};

use forms::Found;

/// A call, and what was repaired in order to read it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ReadCall {
    pub(crate) call: Call,
    pub(crate) repaired: Vec<Repair>,
}

impl From<Call> for ReadCall {
    fn from(call: Call) -> Self {
        ReadCall { call, repaired: Vec::new() }
    }
}

/// A well-formed call, before it is known whether it is the only one.
#[derive(Clone, Debug, PartialEq)]
struct Parsed {
    name: String,
    args: Map<String, Value>,
    repaired: Vec<Repair>,
}

impl Parsed {
    fn read(self) -> ReadCall {
        let Parsed { name, args, mut repaired } = self;
        repaired.sort_unstable();
        repaired.dedup();
        ReadCall { call: Call::Tool { name, args: Value::Object(args) }, repaired }
    }
}

/// Whether the end of a text may be missing. What a limit cut off is never completed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Whole,
    CutOff,
}

impl Ending {
    fn of(finish: Finish) -> Ending {
        match finish {
            Finish::Length | Finish::Filtered => Ending::CutOff,
            _ => Ending::Whole,
        }
    }
}

/// Reads a native call.
pub(crate) fn native(name: &str, arguments: &str, tools: &[ToolSpec], finish: Finish) -> ReadCall {
    if name.trim().is_empty() {
        return Call::Malformed("the tool call names no tool".into()).into();
    }
    match parsed(name, arguments, tools, Ending::of(finish)) {
        Ok(parsed) => parsed.read(),
        Err(why) => Call::Malformed(why).into(),
    }
}

/// What a text contains besides words.
#[derive(Debug, Default)]
pub(crate) struct Candidates {
    /// The calls, each with its span; those that cannot be read are malformed. A repeated
    /// call is one call.
    pub(crate) calls: Vec<(Range<usize>, ReadCall)>,
    /// Why a mark that stands alone is no call.
    pub(crate) mention: Option<String>,
}

/// The calls in a text. Marks inside `code` are part of the code.
pub(crate) fn in_text(
    text: &str,
    code: &[Range<usize>],
    tools: &[ToolSpec],
    finish: Finish,
) -> Candidates {
    let ending = Ending::of(finish);
    let (mut calls, mut mention) = (Vec::new(), None);
    for (span, found) in forms::marked(text, code, tools, ending) {
        match found {
            Found::Call(call) => calls.push((span, call)),
            Found::Mention(why) => mention = mention.or(Some(why)),
        }
    }
    if calls.is_empty() {
        calls = unmarked::fenced(text, tools, ending);
    }
    if calls.is_empty() {
        calls = unmarked::bare(text, tools, ending);
    }
    let mut read: Vec<(Range<usize>, ReadCall)> = Vec::new();
    for (span, call) in calls {
        let call = call.map_or_else(|why| Call::Malformed(why).into(), Parsed::read);
        let is_tool = matches!(call.call, Call::Tool { .. });
        if !is_tool || read.iter().all(|(_, other)| other.call != call.call) {
            read.push((span, call));
        }
    }
    Candidates { calls: read, mention }
}

/// Explains to a model with native tool calls that its answer calls no tool.
pub(crate) fn no_native_call(tools: &[ToolSpec]) -> String {
    let names: Vec<String> = tools.iter().map(|tool| format!("`{}`", tool.name)).collect();
    let begin = format!("the answer calls no tool; call exactly one of {}", names.join(", "));
    let has = |name: &str| tools.iter().any(|tool| tool.name == name);
    match tools {
        _ if has("submit") => format!("{begin}; when your work is done, call `submit`"),
        [one] if one.name == "bash" => format!(
            "{begin}; when your work is done, call `bash` with the command `{SUBMIT_COMMAND}`"
        ),
        _ => begin,
    }
}

/// A call of this name with these arguments, which are text.
fn parsed(name: &str, text: &str, tools: &[ToolSpec], ending: Ending) -> Result<Parsed, String> {
    let (name, spec, renamed) = named::tool(name, tools);
    let read = arguments::read(text, spec, ending);
    let (args, mut repaired) = read.map_err(|why| arguments::refusal(&name, spec, &why))?;
    repaired.extend(renamed);
    Ok(Parsed { name, args, repaired })
}

/// A call of this name with these arguments, which were parsed as JSON.
fn parsed_value(
    name: &str,
    value: Value,
    tools: &[ToolSpec],
    ending: Ending,
) -> Result<Parsed, String> {
    match value {
        Value::String(text) => {
            let mut parsed = parsed(name, &text, tools, ending)?;
            parsed.repaired.push(Repair::QuotedTwice);
            Ok(parsed)
        }
        value => parsed(name, &value.to_string(), tools, ending),
    }
}

#[cfg(test)]
mod tests {
    use Repair::{
        CodeFence, DoubledObject, ExtraText, HtmlEscaped, MissingBrace, MissingTag, Nesting,
        PythonLiteral, QuotedTwice, RawControlCharacter, TrailingComma, UnquotedKey, ValueType,
    };
    use fixfly_runtime::answer::code_spans;
    use serde_json::json;

    use super::*;

    fn tools() -> Vec<ToolSpec> {
        let tool = |name: &str, parameters: Value| ToolSpec {
            name: name.into(),
            description: String::new(),
            parameters,
        };
        let bash = json!({
            "type": "object",
            "properties": {
                "command": { "type": "string" },
                "timeout": { "type": ["integer", "null"] },
            },
            "required": ["command"],
        });
        vec![tool("bash", bash), tool("submit", json!({ "type": "object" }))]
    }

    /// The command of a call of `bash`, and what was repaired; or a part of the refusal.
    type Expected<'a> = Result<(&'a str, &'a [Repair]), &'a str>;

    #[track_caller]
    fn same(text: &str, read: ReadCall, expected: Expected<'_>) {
        match (read.call, expected) {
            (Call::Tool { name, args }, Ok((command, repaired))) => {
                assert_eq!((name.as_str(), &args["command"]), ("bash", &json!(command)), "{text}");
                assert_eq!(read.repaired, repaired, "{text}");
            }
            (Call::Malformed(why), Err(part)) => assert!(why.contains(part), "{text}: {why}"),
            (call, expected) => panic!("{text}: {call:?} is not {expected:?}"),
        }
    }

    /// The only call of a text; several are malformed.
    fn only(text: &str, finish: Finish) -> Option<ReadCall> {
        let Candidates { mut calls, mention } = in_text(text, &code_spans(text), &tools(), finish);
        for (span, _) in &calls {
            assert!(!text[span.clone()].is_empty(), "{text}");
        }
        match (calls.len(), calls.pop(), mention) {
            (0, _, mention) => mention.map(|why| Call::Malformed(why).into()),
            (1, call, _) => call.map(|(_, call)| call),
            (several, ..) => Some(Call::Malformed(format!("{several} calls")).into()),
        }
    }

    #[track_caller]
    fn check(text: &str, expected: Expected<'_>) {
        let read = only(text, Finish::Stop);
        same(text, read.unwrap_or_else(|| panic!("{text}: no call")), expected);
    }

    #[track_caller]
    fn check_native(arguments: &str, expected: Expected<'_>) {
        same(arguments, native("bash", arguments, &tools(), Finish::ToolCall), expected);
    }

    const LS: Expected<'static> = Ok(("ls", &[]));
    const JSON: &str = r#"{"name": "bash", "arguments": {"command": "ls"}}"#;
    const NAMED_PARAMETERS: &str = r#"{"name": "bash", "parameters": {"command": "ls"}}"#;

    #[test]
    fn arguments_with_one_reading_are_used_and_the_repair_is_recorded() {
        check_native(r#"{"command": "ls"}"#, LS);
        check_native("{}{\"command\": \"ls\"}", Ok(("ls", &[DoubledObject])));
        check_native(r#"{"command": "ls"}{"command": "ls"}"#, Ok(("ls", &[DoubledObject])));
        check_native(r#""{\"command\": \"ls\"}""#, Ok(("ls", &[QuotedTwice])));
        check_native(r#""\"{\\\"command\\\": \\\"ls\\\"}\"""#, Ok(("ls", &[QuotedTwice])));
        check_native(r#"{\"command\": \"ls\"}"#, Ok(("ls", &[QuotedTwice])));
        check_native("{\"command\": \"ls\"}\"", Ok(("ls", &[ExtraText])));
        check_native("{\"command\": \"ls\"}}", Ok(("ls", &[ExtraText])));
        check_native("{\"command\": \"ls\"}<|im_end|>", Ok(("ls", &[ExtraText])));
        check_native("{\"command\": \"ls\"}</tool_call>", Ok(("ls", &[ExtraText])));
        check_native("{\"command\": \"ls\"}<|>", Ok(("ls", &[ExtraText])));
        check_native("```json\n{\"command\": \"ls\"}\n```", Ok(("ls", &[CodeFence])));
        check_native("```\n{\"command\": \"ls\"}\n```", Ok(("ls", &[CodeFence])));
        check_native("`{\"command\": \"ls\"}`", Ok(("ls", &[CodeFence])));
        check_native("{\"command\": \"echo a\nls\"}", Ok(("echo a\nls", &[RawControlCharacter])));
        check_native("{\"command\": \"a\tb\"}", Ok(("a\tb", &[RawControlCharacter])));
        check_native("{\"command\": \"ls\",}", Ok(("ls", &[TrailingComma])));
        check_native("{'command': 'ls'}", Ok(("ls", &[PythonLiteral])));
        check_native("{'command': 'ls', 'timeout': None}", Ok(("ls", &[PythonLiteral])));
        check_native("{\"command\": \"\"\"echo \"a\"\"\"\"}", Err("not JSON"));
        check_native(
            "{\"command\": \"\"\"echo \"a\"\n\"\"\"}",
            Ok(("echo \"a\"\n", &[PythonLiteral])),
        );
        check_native("{command: \"ls\"}", Ok(("ls", &[UnquotedKey])));
        check_native("{\"command\": \"ls\"", Ok(("ls", &[MissingBrace])));
        check_native("Here you go: {\"command\": \"ls\"}", Ok(("ls", &[ExtraText])));
        check_native("{\"command\": \"ls\"} It's the list: all files.", Ok(("ls", &[ExtraText])));
        check_native("[{\"command\": \"ls\"}]", Ok(("ls", &[Nesting])));
        check_native(r#"{"arguments": {"command": "ls"}}"#, Ok(("ls", &[Nesting])));
        check_native(JSON, Ok(("ls", &[Nesting])));
        check_native("{&quot;command&quot;: &quot;ls&quot;}", Ok(("ls", &[HtmlEscaped])));
        check_native(r#"{"command": "ls", "timeout": "5"}"#, Ok(("ls", &[ValueType])));
        check_native(r#"{"command": "ls", "timeout": 5.0}"#, Ok(("ls", &[ValueType])));
        check_native("\u{feff}{\"command\": \"ls\"}", LS);
    }

    #[test]
    fn arguments_with_several_readings_are_refused_in_words() {
        let example = r#"send one object, such as {"command":"..."}"#;
        check_native(r#"{"command": "ls"}{"command": "pwd"}"#, Err("2 different objects"));
        check_native(r#"{"command": "echo "a", b"}"#, Err("inside a string, a quote is written"));
        check_native(r#"{"command": "echo "a", b"}"#, Err(example));
        check_native(r#"{"command": "grep \d"}"#, Err("`\\d` is no escape"));
        check_native(r#"{"command": "ls"#, Err("no closing quote"));
        check_native(r#"{"command": "ls","#, Err("after a comma"));
        check_native(r#"{"command":"#, Err("ends where a value"));
        check_native("ls -la", Err("not JSON"));
        check_native("\"ls -la\"", Err("not an object"));
        check_native("[]", Err("not an object"));
        check_native("3", Err("not an object"));
        check_native(r#"{"command": "ls"}, "timeout": 5}"#, Err("follows the object"));
        check_native(r#""command": "echo {"a": 1}"}"#, Err("not JSON"));
        check_native(r#"command: 'echo {"a": 1}'"#, Err("there is no argument `a`"));
        check_native("{'command': 'ls', 'command': 'pwd'}", Err("two values"));
        let twice = r#"{"command": "ls", "command": "pwd"}"#;
        check_native(twice, Err("have several readings: `command` has two values"));
        check_native(&json!(twice).to_string(), Err("two values"));
        check_native(&format!("[{twice}]"), Err("two values"));
        check_native(&format!("{{\"arguments\": {twice}}}"), Err("two values"));
        check_native(r#"{"command": "ls", "command": "ls"}"#, LS);
        let call = format!("<tool_call>{{\"name\": \"bash\", \"arguments\": {twice}}}</tool_call>");
        check(&call, Err("two values"));
        let cut = native("bash", "{\"command\": \"ls\"", &tools(), Finish::Length);
        assert!(matches!(cut.call, Call::Malformed(why) if why.contains("cut off")));
        let nameless = native(" ", "{}", &tools(), Finish::ToolCall);
        assert!(matches!(nameless.call, Call::Malformed(why) if why.contains("names no tool")));
    }

    #[test]
    fn a_name_is_read_through_what_servers_put_around_it() {
        let check = |name: &str, expected: &str, is_repaired: bool| {
            let read = native(name, "{}", &tools(), Finish::ToolCall);
            let Call::Tool { name, .. } = read.call else { panic!("{name}: {:?}", read.call) };
            assert_eq!(
                (name.as_str(), read.repaired == [Repair::ToolName]),
                (expected, is_repaired)
            );
        };
        check("submit", "submit", false);
        for name in [
            "functions.submit",
            "functions.submit:0",
            "Submit",
            " submit\n",
            "submit<|channel|>json",
            "submit<tool_sep>",
        ] {
            check(name, "submit", true);
        }
        check("bashbash", "bashbash", false);
        check("python", "python", false);
    }

    #[test]
    fn the_forms_that_templates_teach_are_read() {
        // Hermes and Qwen, with broken relatives.
        check(&format!("<tool_call>{JSON}</tool_call>"), LS);
        check(&format!("I look.\n<tool_call>\n{JSON}\n</tool_call>"), LS);
        check(&format!("<tool_call>\n{NAMED_PARAMETERS}\n</tool_call>"), LS);
        check(&format!("<tool_call>[{JSON}]</tool_call>"), LS);
        check(&format!("<TOOLCALL>[{JSON}]</TOOLCALL>"), LS);
        check(&format!("<tool_calls>\n[{JSON}]\n</tool_calls>"), LS);
        check(&format!("<tool_calls><tool_call>{JSON}</tool_call></tool_calls>"), LS);
        let cohere =
            r#"[{"tool_call_id": "0", "tool_name": "bash", "parameters": {"command": "ls"}}]"#;
        check(&format!("<|START_ACTION|>{cohere}<|END_ACTION|>"), LS);
        let keyed = r#"[{"bash": {"command": "ls"}}]"#;
        check(&format!("<|tools_prefix|>{keyed}<|tools_suffix|>"), Ok(("ls", &[Nesting])));
        check(
            &format!("<TOOLCALL>[{JSON}, {}]</TOOLCALL>", JSON.replace("ls", "pwd")),
            Err("2 calls"),
        );
        check(&format!("<tool_call>\n{JSON}"), Ok(("ls", &[MissingTag])));
        check(
            &format!("<tool_call>\n```json\n{JSON}\n```\n</tool_call>"),
            Ok(("ls", &[CodeFence])),
        );
        check(&format!("<tool_call>\n{JSON}}}\n</tool_call>"), Ok(("ls", &[ExtraText])));
        check(
            &format!("<tool_call>\n{}\n</tool_call>", &JSON[..JSON.len() - 1]),
            Ok(("ls", &[MissingBrace])),
        );
        check(
            "<tool_call>{'name': 'bash', 'arguments': {'command': 'ls'}}</tool_call>",
            Ok(("ls", &[PythonLiteral])),
        );
        check(
            "<tool_call>{\"name\": \"bash\", \"arguments\": \"{\\\"command\\\": \\\"ls\\\"}\"}</tool_call>",
            Ok(("ls", &[QuotedTwice])),
        );
        check(
            "<tool_call>{\"name\": \"bash\", \"command\": \"ls\"}</tool_call>",
            Ok(("ls", &[Nesting])),
        );
        check("<tool_call>{\"bash\": {\"command\": \"ls\"}}</tool_call>", Ok(("ls", &[Nesting])));
        check(
            "<tool_call>{\"name\": \"bash\", \"arguments\": {\"command\": \"echo '</tool_call>'\"}}</tool_call>",
            Ok(("echo '</tool_call>'", &[])),
        );
        check(&format!("<function_call>{JSON}</function_call>"), LS);
        check(&format!("<|tool_call|>[{JSON}]"), LS);
        // Qwen3-Coder.
        check(
            "I look.\n<tool_call>\n<function=bash>\n<parameter=command>\nls\n</parameter>\n</function>\n</tool_call>\n",
            LS,
        );
        check("<function=bash>\n<parameter=command>\nls\n</parameter>\n</function>", LS);
        check(
            "<tool_call>\n<function=bash>\n<parameter=command>\nls\n</parameter>\n</tool_call>",
            Ok(("ls", &[MissingTag])),
        );
        check(
            "<tool_call>\n<function=bash>\n<parameter=command>\nls\n</function>\n</tool_call>",
            Ok(("ls", &[MissingTag])),
        );
        check(
            "<function=bash>\n<parameter=command>\necho '</parameter>' \\\n\n</parameter>\n</function>",
            Ok(("echo '</parameter>' \\\n", &[])),
        );
        check("<function=bash>{\"command\": \"ls\"}</function>", LS);
        check(
            "<function=bash><parameter=command>ls</parameter><parameter=timeout>5</parameter></function>",
            LS,
        );
        // Anthropic, MiniMax, DeepSeek's and others with names as attributes.
        check(
            "<function_calls>\n<invoke name=\"bash\">\n<parameter name=\"command\">ls</parameter>\n</invoke>\n</function_calls>",
            LS,
        );
        check(
            "<minimax:tool_call>\n<invoke name=\"bash\">\n<parameter name=\"command\">ls</parameter>\n</invoke>\n</minimax:tool_call>",
            LS,
        );
        check(
            "<｜DSML｜function_calls>\n<｜DSML｜invoke name=\"bash\">\n<｜DSML｜parameter name=\"command\" string=\"true\">ls</｜DSML｜parameter>\n</｜DSML｜invoke>",
            LS,
        );
        check(
            "<x:invoke name=\"bash\"><x:parameter name=\"command\">ls</x:parameter></x:invoke>",
            LS,
        );
        // GLM.
        check(
            "<tool_call>bash\n<arg_key>command</arg_key>\n<arg_value>ls</arg_value>\n</tool_call>",
            LS,
        );
        check(
            "<tool_call>bash<arg_key>command</arg_key><arg_value>ls</arg_value><arg_key>timeout</arg_key><arg_value>5</arg_value></tool_call>",
            LS,
        );
        // DeepSeek R1, V3.1; Kimi.
        check(
            "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>function<｜tool▁sep｜>bash\n```json\n{\"command\": \"ls\"}\n```<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
            LS,
        );
        check(
            "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>bash<｜tool▁sep｜>{\"command\": \"ls\"}<｜tool▁call▁end｜><｜tool▁calls▁end｜>",
            LS,
        );
        check(
            "<|tool_calls_section_begin|><|tool_call_begin|>functions.bash:0<|tool_call_argument_begin|>{\"command\": \"ls\"}<|tool_call_end|><|tool_calls_section_end|>",
            LS,
        );
        // Mistral.
        check(&format!("[TOOL_CALLS] [{JSON}]</s>"), LS);
        check("[TOOL_CALLS]bash{\"command\": \"ls\"}", LS);
        check("[TOOL_CALLS]bash[CALL_ID]abcdefghi[ARGS]{\"command\": \"ls\"}", LS);
        // Llama 3.1.
        check(NAMED_PARAMETERS, LS);
        check(&format!("I look.\n{NAMED_PARAMETERS}<|eom_id|>"), LS);
        check(&format!("<|python_tag|>{NAMED_PARAMETERS}<|eom_id|>"), LS);
        check("<|python_tag|>bash.call(command=\"ls\")", LS);
        check("[bash(command='ls', timeout=5)]", LS);
        check("<|tool_call_start|>[bash(command=\"ls\")]<|tool_call_end|>", LS);
        // gpt-oss.
        check(
            "<|channel|>commentary to=functions.bash <|constrain|>json<|message|>{\"command\": \"ls\"}<|call|>",
            LS,
        );
        // As a code block.
        check(&format!("So:\n```json\n{JSON}\n```\n"), LS);
        check(&format!("```xml\n<tool_call>\n{JSON}\n</tool_call>\n```"), LS);
        check(&format!("```\n{{\"type\": \"function\", \"function\": {JSON}}}\n```"), LS);
    }

    #[test]
    fn values_become_what_the_tool_takes() {
        let text = "<function=bash>\n<parameter=command>\n5\n</parameter>\n<parameter=timeout>\n5\n</parameter>\n</function>";
        let read = only(text, Finish::Stop).unwrap();
        let args = json!({ "command": "5", "timeout": 5 });
        assert_eq!(read, Call::Tool { name: "bash".into(), args }.into());
        let submit = "<tool_call>\n<function=submit>\n</function>\n</tool_call>";
        for text in [submit, "<tool_call>submit</tool_call>", "[submit()]", "[TOOL_CALLS]submit{}"]
        {
            let read = only(text, Finish::Stop).unwrap();
            assert_eq!(
                read,
                Call::Tool { name: "submit".into(), args: json!({}) }.into(),
                "{text}"
            );
        }
    }

    #[test]
    fn several_calls_and_broken_ones_are_refused_in_words() {
        let call = format!("<tool_call>{JSON}</tool_call>");
        let other = call.replace("ls", "pwd");
        check(&format!("{call}\n{call}"), LS);
        check(&format!("{call}\n{other}"), Err("2 calls"));
        check(&format!("{call}\n<tool_call>{{\"name\": }}</tool_call>"), Err("2 calls"));
        check(&format!("[TOOL_CALLS] [{JSON}, {}]", JSON.replace("ls", "pwd")), Err("2 calls"));
        check(
            &format!("{NAMED_PARAMETERS}; {}", NAMED_PARAMETERS.replace("ls", "pwd")),
            Err("2 calls"),
        );
        check("[bash(command='ls'), bash(command='pwd')]", Err("2 calls"));
        check("<tool_call>{\"name\": \"bash\"", Err("has no `</tool_call>`"));
        check("<tool_call>{}</tool_call>", Err("no `name`"));
        check("<function=bash>\n<parameter=command>\nls", Err("has no `</parameter>`"));
        check(
            "<function=bash>ls</function>",
            Err("where a parameter or `</function>` is expected"),
        );
        check(
            "<tool_call>bash<arg_key>command</arg_key><arg_value>ls</tool_call>",
            Err("without `</arg_value>`"),
        );
        check("[bash('ls')]", Err("arguments without their names"));
        check("<tool_call>ls</tool_call>", Err("is no call"));
        let cut = |text: &str| only(text, Finish::Length).unwrap().call;
        for text in [
            "<function=bash>\n<parameter=command>\nrm -r a",
            "<tool_call>{\"name\": \"bash\", \"arguments\": {\"command\": \"rm -r a",
            "[TOOL_CALLS]bash{\"command\": \"rm\"",
        ] {
            assert!(matches!(cut(text), Call::Malformed(_)), "{text}");
        }
    }

    #[test]
    fn what_only_looks_like_a_call_is_none() {
        let none = |text: &str| assert_eq!(only(text, Finish::Stop), None, "{text}");
        none("Let me see.");
        none("```bash\nls\n```");
        none(&format!("```python\nx = '<tool_call>{JSON}</tool_call>'\n```"));
        none("I call it with `<tool_call>`.\n");
        none("{\"a\": 1}");
        none("{\"name\": \"python\", \"arguments\": {}}");
        none("print(1)");
        check(&format!("Not `<tool_call>` but:\n<tool_call>{JSON}</tool_call>"), LS);
        check(&format!("With <tool_call> tags:\n<tool_call>{JSON}</tool_call>"), LS);
    }

    #[test]
    fn any_text_is_read_without_a_panic() {
        let parts = [
            "<tool_call>",
            "</tool_call>",
            "<function=bash>",
            "<parameter=command>",
            "</parameter>",
            "{",
            "}",
            "[",
            "]",
            "\"",
            "\\",
            "'",
            "```",
            "\n",
            "é",
            "invoke name=",
            "<x:",
            "[TOOL_CALLS]",
            "<arg_key>",
            "</arg_value>",
            "bash",
            ":",
            ",",
            "<｜tool▁call▁begin｜>",
            "<｜tool▁sep｜>",
            "to=functions.",
            "<|message|>",
            "<|python_tag|>",
            "(",
            ")",
            "&quot;",
            "<|",
            "|>",
            "</",
            ">",
        ];
        // xorshift: the same texts on every run.
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        for _ in 0..20_000 {
            let mut text = String::new();
            for _ in 0..12 {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                text += parts[(state % parts.len() as u64) as usize];
            }
            for finish in [Finish::Stop, Finish::Length] {
                let _ = only(&text, finish);
                let _ = native("bash", &text, &tools(), finish);
            }
        }
    }

    #[test]
    fn an_answer_without_a_call_is_shown_how_to_go_on() {
        let tools = tools();
        let native = no_native_call(&tools);
        assert!(
            native.contains(
                "call exactly one of `bash`, `submit`; when your work is done, call `submit`"
            ),
            "{native}"
        );
        assert!(!native.contains("<tool_call>"), "{native}");
        let shell = no_native_call(&tools[..1]);
        assert!(shell.contains("`echo COMPLETE_TASK_AND_SUBMIT_FINAL_OUTPUT`"), "{shell}");
    }
}
