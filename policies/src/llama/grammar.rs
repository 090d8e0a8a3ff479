//! Grammars: an answer that follows one is always a valid tool call, or a change of one of
//! the method's lines.

pub(super) mod change;

use std::collections::BTreeSet;

use fixfly_runtime::ToolSpec;
use serde_json::{Map, Value, json};

use super::protocol::{CallSyntax, Constraint, Reasoning};

/// The closing tag of the reasoning.
const END: &str = "</think>";

/// The grammar of a constraint, in llama.cpp's notation.
pub(super) fn of(constraint: &Constraint) -> Result<Option<String>, String> {
    match constraint {
        Constraint::None => Ok(None),
        Constraint::ToolCall(tools, reasoning, syntax) => {
            grammar(tools, *reasoning, *syntax).map(Some)
        }
        Constraint::Change(lines, reasoning) => {
            Ok(Some(after_reasoning(*reasoning, "change", &change::rules(lines))))
        }
    }
}

fn grammar(tools: &[ToolSpec], reasoning: Reasoning, syntax: CallSyntax) -> Result<String, String> {
    let (answer, rules) = match syntax {
        CallSyntax::Json => {
            (r#""<tool_call>\n" call "\n</tool_call>""#, json_rules(tools, "arguments")?)
        }
        CallSyntax::BareJson => ("call", json_rules(tools, "parameters")?),
        CallSyntax::Elements => (r#""<tool_call>\n" call "\n</tool_call>""#, elements(tools)),
        CallSyntax::Pairs => (r#""<tool_call>" call "</tool_call>""#, pairs(tools)),
    };
    Ok(after_reasoning(reasoning, answer, &rules))
}

/// The grammar of an answer with these rules, after the reasoning.
fn after_reasoning(reasoning: Reasoning, answer: &str, rules: &str) -> String {
    let before = match reasoning {
        Reasoning::Started => format!("thought-0 \"{END}\\n\\n\""),
        Reasoning::Optional => format!("(\"<think>\\n\" thought-0 \"{END}\\n\\n\")?"),
        Reasoning::Forbidden => String::new(),
    };
    let thought = without("thought", END);
    format!("root ::= {before} {answer}\n{thought}\n{rules}\n")
}

/// A call in JSON, by the schemas of the tools.
fn json_rules(tools: &[ToolSpec], arguments: &str) -> Result<String, String> {
    let rules = llama_cpp_2::json_schema_to_grammar(&schema(tools, arguments))
        .map_err(|error| format!("the arguments of the tools make no grammar: {error}"))?;
    Ok(rules.replacen("root ::=", "call ::=", 1))
}

/// `<function=NAME>`, then a `<parameter=KEY>` for each value.
fn elements(tools: &[ToolSpec]) -> String {
    let around = Around {
        call: ["<function=", ">\n", "</function>"],
        value: ["<parameter=", ">\n", "\n</parameter>\n"],
        end: "\n</parameter>",
    };
    around.rules(tools)
}

/// The name, then a key and a value for each argument.
fn pairs(tools: &[ToolSpec]) -> String {
    let around = Around {
        call: ["", "\n", ""],
        value: ["<arg_key>", "</arg_key>\n<arg_value>", "</arg_value>\n"],
        end: "</arg_value>",
    };
    around.rules(tools)
}

/// The text around the name of a call, around its arguments, and at the end of a value.
struct Around {
    call: [&'static str; 3],
    value: [&'static str; 3],
    end: &'static str,
}

impl Around {
    fn rules(&self, tools: &[ToolSpec]) -> String {
        let calls = tools.iter().map(|tool| self.call(tool)).collect::<Vec<_>>().join(" | ");
        format!(
            "call ::= {calls}\n{}\n\
             integer ::= \"-\"? [0-9] [0-9]*\n\
             number ::= integer (\".\" [0-9] [0-9]*)?\n\
             boolean ::= \"true\" | \"false\"",
            without("text", self.end)
        )
    }

    /// The parameters in the schema's order; those that are not required may be missing.
    fn call(&self, tool: &ToolSpec) -> String {
        let [open, named, close] = self.call;
        let schema = &tool.parameters;
        let required = schema["required"].as_array().map(Vec::as_slice).unwrap_or_default();
        let values = schema["properties"].as_object().into_iter().flatten().map(|(key, schema)| {
            let [open, named, close] = self.value;
            let start = literal(&format!("{open}{key}{named}"));
            let value = format!("{start} {} {}", value_rule(schema), literal(close));
            if required.iter().any(|name| name == key) { value } else { format!("({value})?") }
        });
        let mut parts = vec![literal(&format!("{open}{}{named}", tool.name))];
        parts.extend(values);
        parts.extend((!close.is_empty()).then(|| literal(close)));
        parts.join(" ")
    }
}

/// The rule of a value: XML has no quotes, so text is anything up to the closing tag.
fn value_rule(schema: &Value) -> &'static str {
    let kinds = match &schema["type"] {
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        Value::String(kind) => vec![kind.as_str()],
        _ => Vec::new(),
    };
    match kinds.into_iter().find(|kind| *kind != "null") {
        Some("integer") => "integer",
        Some("number") => "number",
        Some("boolean") => "boolean",
        _ => "text-0",
    }
}

/// A text in quotes.
fn literal(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}

/// A JSON schema: the name of one of the tools, then its arguments. The model writes
/// the properties in this order, so we write them by hand: a map would sort them.
fn schema(tools: &[ToolSpec], key: &str) -> String {
    let mut shared = Map::new();
    let calls = tools.iter().map(|tool| {
        let mut arguments = tool.parameters.clone();
        if let Some(Value::Object(own)) =
            arguments.as_object_mut().and_then(|arguments| arguments.remove("$defs"))
        {
            shared.extend(own);
        }
        format!(
            r#"{{"type":"object","properties":{{"name":{},"{key}":{arguments}}},"required":["name","{key}"],"additionalProperties":false}}"#,
            json!({ "const": tool.name }),
        )
    });
    let calls: Vec<_> = calls.collect();
    format!(r#"{{"anyOf":[{}],"$defs":{}}}"#, calls.join(","), Value::Object(shared))
}

/// Rules for any text that does not contain `word`; `NAME-0` is the first. Each rule stands
/// for the characters of `word` that the text ends with, as in Knuth, Morris and Pratt's
/// search.
fn without(name: &str, word: &str) -> String {
    let word: Vec<char> = word.chars().collect();
    let letters: BTreeSet<char> = word.iter().copied().collect();
    let others: String = letters.iter().map(|letter| in_class(*letter)).collect();
    let rules = (0..word.len()).map(|matched| {
        let next = letters.iter().filter_map(|letter| {
            let mut seen = word[..matched].to_vec();
            seen.push(*letter);
            let length = (0..=seen.len()).rev().find(|length| seen.ends_with(&word[..*length]))?;
            (length < word.len())
                .then(|| format!("{} {name}-{length}", literal(&letter.to_string())))
        });
        let next = next.collect::<Vec<_>>().join(" | ");
        format!("{name}-{matched} ::= ({next} | [^{others}] {name}-0)?")
    });
    rules.collect::<Vec<_>>().join("\n")
}

/// A character inside square brackets.
fn in_class(letter: char) -> String {
    match letter {
        '\n' => "\\n".into(),
        ']' | '[' | '\\' | '-' => format!("\\{letter}"),
        letter => letter.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether the rules of [`without`] accept a text, read as a machine would.
    fn accepts(rules: &str, text: &str) -> bool {
        let rule = |state: &str| {
            let start = format!("{state} ::= ");
            rules.lines().find_map(|line| line.strip_prefix(&start).map(str::to_string)).unwrap()
        };
        let state = text.chars().try_fold("x-0".to_string(), |state, letter| {
            let rule = rule(&state);
            let body = rule.trim_start_matches('(').trim_end_matches(")?");
            let step = |alternative: &str| {
                let (sign, next) = alternative.rsplit_once(' ')?;
                let is_it = match sign.strip_prefix("[^").and_then(|sign| sign.strip_suffix(']')) {
                    Some(others) => !others.replace("\\n", "\n").contains(letter),
                    None => sign == literal(&letter.to_string()),
                };
                is_it.then(|| next.to_string())
            };
            body.split(" | ").find_map(step)
        });
        state.is_some()
    }

    #[test]
    fn a_text_may_contain_anything_but_its_end() {
        let end = "\n</p>";
        let rules = without("x", end);
        for text in ["", "a", "\n\n", "</p>", "\n</", "\n\n</q>", "a\n<</p>", "\n</\n<"] {
            assert!(accepts(&rules, text), "{text:?}");
        }
        for text in ["\n</p>", "a\n\n</p>", "\n</\n</p>"] {
            assert!(!accepts(&rules, text), "{text:?}");
        }
    }

    #[test]
    fn each_syntax_has_a_grammar_of_its_own() {
        let parameters = json!({
            "type": "object",
            "properties": { "command": { "type": "string" }, "timeout": { "type": ["integer", "null"] } },
            "required": ["command"],
        });
        let tool = ToolSpec { name: "bash".into(), description: String::new(), parameters };
        let grammar = |syntax| {
            let tools = vec![tool.clone()];
            of(&Constraint::ToolCall(tools, Reasoning::Forbidden, syntax)).unwrap().unwrap()
        };
        let elements = grammar(CallSyntax::Elements);
        let call = r#"call ::= "<function=bash>\n" "<parameter=command>\n" text-0 "\n</parameter>\n" ("<parameter=timeout>\n" integer "\n</parameter>\n")? "</function>""#;
        assert!(elements.lines().any(|line| line == call), "{elements}");
        let pairs = grammar(CallSyntax::Pairs);
        let call = r#"call ::= "bash\n" "<arg_key>command</arg_key>\n<arg_value>" text-0 "</arg_value>\n" ("#;
        assert!(pairs.lines().any(|line| line.starts_with(call)), "{pairs}");
        let bare = grammar(CallSyntax::BareJson);
        assert!(bare.starts_with("root ::=  call\n") && bare.contains("parameters"), "{bare}");
        assert!(grammar(CallSyntax::Json).contains("arguments"));
    }

    #[test]
    fn the_syntax_is_the_one_that_the_template_teaches() {
        for (prompt, expected) in [
            ("<tool_call>\n<function=example_function_name>\n<parameter=a>", CallSyntax::Elements),
            ("<tool_call>{function-name}\n<arg_key>{arg-key-1}</arg_key>", CallSyntax::Pairs),
            (
                r#"in the format {"name": function name, "parameters": dictionary"#,
                CallSyntax::BareJson,
            ),
            (r#"<tool_call>\n{"name": <function-name>, "arguments": <args>}"#, CallSyntax::Json),
            ("[TOOL_CALLS]", CallSyntax::Json),
        ] {
            assert_eq!(CallSyntax::of(prompt), expected, "{prompt}");
        }
    }

    #[test]
    fn tools_become_rules() {
        let parameters = json!({
            "type": "object",
            "properties": { "code": { "$ref": "#/$defs/Code" } },
            "required": ["code"],
            "$defs": { "Code": { "type": "string" } },
        });
        let description = String::new();
        let tool = ToolSpec { name: "submit_method".into(), description, parameters };
        let constraint = Constraint::ToolCall(vec![tool], Reasoning::Optional, CallSyntax::Json);
        let grammar = of(&constraint).unwrap().unwrap();
        let mut names = grammar.lines().filter_map(|line| line.split_once(" ::= "));
        assert!(names.any(|(name, _)| name == "call"), "{grammar}");
        let (name, arguments) = (grammar.find("submit_method"), grammar.find("arguments"));
        assert!(name.is_some() && arguments.is_some(), "{grammar}");
        assert_eq!(grammar.matches("root ::=").count(), 1, "{grammar}");
    }
}
