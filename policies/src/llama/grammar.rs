//! A grammar for tool calls: an answer that follows it is always a valid call.

use fixfly_runtime::ToolSpec;
use serde_json::{Map, Value, json};

use super::protocol::{Constraint, Reasoning};

/// The closing tag of the reasoning.
const END: &str = "</think>";

/// The grammar of a constraint, in llama.cpp's notation.
pub(super) fn of(constraint: &Constraint) -> Result<Option<String>, String> {
    match constraint {
        Constraint::None => Ok(None),
        Constraint::ToolCall(tools, reasoning) => grammar(tools, *reasoning).map(Some),
    }
}

fn grammar(tools: &[ToolSpec], reasoning: Reasoning) -> Result<String, String> {
    let schema = schema(tools);
    let rules = llama_cpp_2::json_schema_to_grammar(&schema)
        .map_err(|error| format!("the arguments of the tools make no grammar: {error}"))?;
    let rules = rules.replacen("root ::=", "call ::=", 1);
    let before = match reasoning {
        Reasoning::Started => format!("thought \"{END}\\n\\n\""),
        Reasoning::Optional => format!("(\"<think>\\n\" thought \"{END}\\n\\n\")?"),
        Reasoning::Forbidden => String::new(),
    };
    let reasoning = without(END);
    Ok(format!(
        "root ::= {before} \"<tool_call>\\n\" call \"\\n</tool_call>\"\n\
         thought ::= {reasoning}\n{rules}\n"
    ))
}

/// A JSON schema: the name of one of the tools, then its arguments. The model writes
/// the properties in this order, so we write them by hand: a map would sort them.
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

/// Any text that does not contain `word`: each prefix of it, followed by anything
/// but the next character.
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
        let constraint = Constraint::ToolCall(vec![tool], Reasoning::Optional);
        let grammar = of(&constraint).unwrap().unwrap();
        let mut names = grammar.lines().filter_map(|line| line.split_once(" ::= "));
        assert!(names.any(|(name, _)| name == "call"), "{grammar}");
        let (name, arguments) = (grammar.find("submit_method"), grammar.find("arguments"));
        assert!(name.is_some() && arguments.is_some(), "{grammar}");
        assert_eq!(grammar.matches("root ::=").count(), 1, "{grammar}");
    }
}
