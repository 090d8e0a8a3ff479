//! Calls that are written as Python: `[bash(command="ls")]`, `bash.call(command="ls")`.

use fixfly_runtime::ToolSpec;
use fixfly_runtime::answer::too_deep;
use ruff_python_ast::{Expr, ExprCall, Number};
use ruff_python_parser::parse_expression;
use serde_json::{Map, Value, json};

use super::{Ending, Parsed, named, parsed_value};

/// The calls of a text that is nothing but calls of known tools.
pub(super) fn calls(text: &str, tools: &[ToolSpec]) -> Option<Vec<Result<Parsed, String>>> {
    let text = text.trim();
    // Most texts are no Python; those need no parser.
    if !text.ends_with([')', ']']) || !text.contains('(') || too_deep(text) {
        return None;
    }
    let module = parse_expression(text).ok()?.into_syntax();
    let calls = match *module.body {
        Expr::List(list) => list.elts,
        Expr::Tuple(tuple) => tuple.elts,
        one => vec![one],
    };
    if calls.is_empty() {
        return None;
    }
    calls.iter().map(|call| read(call, tools)).collect()
}

fn read(call: &Expr, tools: &[ToolSpec]) -> Option<Result<Parsed, String>> {
    let Expr::Call(ExprCall { func, arguments, .. }) = call else { return None };
    let name = match &**func {
        Expr::Name(name) => name.id.to_string(),
        Expr::Attribute(attribute) => match (&*attribute.value, attribute.attr.as_str()) {
            (Expr::Name(name), "call") => name.id.to_string(),
            (_, name) => name.to_string(),
        },
        _ => return None,
    };
    if !named::is_known(&name, tools) {
        return None;
    }
    if !arguments.args.is_empty() {
        return Some(Err(format!("the call of `{name}` has arguments without their names")));
    }
    let mut args = Map::new();
    for keyword in &arguments.keywords {
        match (&keyword.arg, literal(&keyword.value)) {
            (Some(key), Some(value)) => drop(args.insert(key.to_string(), value)),
            _ => {
                return Some(Err(format!(
                    "the arguments of the call of `{name}` are not literals"
                )));
            }
        }
    }
    Some(parsed_value(&name, Value::Object(args), tools, Ending::Whole))
}

fn literal(value: &Expr) -> Option<Value> {
    Some(match value {
        Expr::StringLiteral(text) => json!(text.value.to_str()),
        Expr::BooleanLiteral(value) => json!(value.value),
        Expr::NoneLiteral(_) => Value::Null,
        Expr::NumberLiteral(number) => match &number.value {
            Number::Int(number) => json!(number.as_i64()?),
            Number::Float(number) => json!(number),
            Number::Complex { .. } => return None,
        },
        Expr::List(list) => list.elts.iter().map(literal).collect::<Option<Vec<_>>>()?.into(),
        Expr::Dict(dict) => {
            let pairs = dict.items.iter().map(|item| {
                let Value::String(key) = literal(item.key.as_ref()?)? else { return None };
                Some((key, literal(&item.value)?))
            });
            Value::Object(pairs.collect::<Option<Map<_, _>>>()?)
        }
        _ => return None,
    })
}
