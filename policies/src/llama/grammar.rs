//! Tools as a grammar: words that follow it are a call that can be read.

use fixfly_runtime::ToolSpec;
use serde_json::{Map, Value, json};

use super::protocol::{Form, Thought};

/// The end of a thought.
const END: &str = "</think>";

/// The grammar of a form, in llama.cpp's notation.
pub(super) fn of(form: &Form) -> Result<Option<String>, String> {
    match form {
        Form::Free => Ok(None),
        Form::Call(tools, thought) => grammar(tools, *thought).map(Some),
    }
}

fn grammar(tools: &[ToolSpec], thought: Thought) -> Result<String, String> {
    let schema = schema(tools);
    let rules = llama_cpp_2::json_schema_to_grammar(&schema)
        .map_err(|error| format!("the arguments of the tools make no grammar: {error}"))?;
    let rules = rules.replacen("root ::=", "call ::=", 1);
    let before = match thought {
        Thought::Opened => format!("thought \"{END}\\n\\n\""),
        Thought::Open => format!("(\"<think>\\n\" thought \"{END}\\n\\n\")?"),
        Thought::Without => String::new(),
    };
    let thought = without(END);
    Ok(format!(
        "root ::= {before} \"<tool_call>\\n\" call \"\\n</tool_call>\"\n\
         thought ::= {thought}\n{rules}\n"
    ))
}

/// One of the tools by name, then its arguments. The order of the words is the
/// order of the properties, so they are written rather than kept in a map,
/// which sorts them.
fn schema(tools: &[ToolSpec]) -> String {
    let mut shared = Map::new();
    let calls = tools.iter().map(|tool| {
        let mut arguments = tool.parameters.clone();
        if let Some(Value::Object(own)) =
            arguments.as_object_mut().and_then(|arguments| arguments.remove("$defs"))
        {
            shared.extend(own);
        }
        format!(
            r#"{{"type":"object","properties":{{"name":{},"arguments":{arguments}}},"required":["name","arguments"],"additionalProperties":false}}"#,
            json!({ "const": tool.name }),
        )
    });
    let calls: Vec<_> = calls.collect();
    format!(r#"{{"anyOf":[{}],"$defs":{}}}"#, calls.join(","), Value::Object(shared))
}

/// Any text in which a word does not occur: its beginnings, each followed by
/// anything but what would go on with it.
fn without(word: &str) -> String {
    let branches = word.char_indices().map(|(at, next)| match at {
        0 => format!("[^{next}]"),
        _ => format!("\"{}\" [^{next}]", &word[..at]),
    });
    format!("({})*", branches.collect::<Vec<_>>().join(" | "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thought_may_hold_anything_but_its_end() {
        assert_eq!(without("</t"), r#"([^<] | "<" [^/] | "</" [^t])*"#);
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
        let form = Form::Call(vec![tool], Thought::Open);
        let grammar = of(&form).unwrap().unwrap();
        let mut names = grammar.lines().filter_map(|line| line.split_once(" ::= "));
        assert!(names.any(|(name, _)| name == "call"), "{grammar}");
        let (name, arguments) = (grammar.find("submit_method"), grammar.find("arguments"));
        assert!(name.is_some() && arguments.is_some(), "{grammar}");
        assert_eq!(grammar.matches("root ::=").count(), 1, "{grammar}");
    }
}
