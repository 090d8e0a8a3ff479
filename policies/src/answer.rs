//! How words become an action, for every policy that answers with a method.

use fixfly_runtime::{Action, Call, Usage, code_block};
use serde_json::json;

/// The action of a policy that said `text`: its code block is submitted.
pub(crate) fn answer(text: String, reasoning: Option<String>, usage: Usage) -> Action {
    let args = json!({ "code": code_block(&text) });
    Action { call: Call::Tool { name: "submit_method".into(), args }, text, reasoning, usage }
}

/// The words of a policy that has nothing to say but code.
pub(crate) fn fenced(code: &str) -> String {
    format!("```python\n{}\n```\n", code.trim_end())
}

/// Words of no cost.
pub(crate) fn free(code: &str, reasoning: Option<String>) -> Action {
    answer(fenced(code), reasoning, Usage::default())
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
}
