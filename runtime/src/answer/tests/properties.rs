//! What holds for every answer.

use proptest::prelude::*;

use super::fenced;
use crate::answer::{Asked, code_spans, command, method, outside_code};

/// Parts that make fences, strings, heredocs and tags meet.
fn parts() -> impl Strategy<Value = String> {
    let parts = vec![
        "```\n",
        "```",
        "~~~",
        "````",
        "```python\n",
        "```bash\n",
        "\n",
        "    ",
        "\t",
        "> ",
        "1. ",
        "def f(self):\n",
        "    return 1\n",
        "class A:\n",
        "\"\"\"",
        "'''",
        "'",
        "\"",
        "\\",
        "#",
        "<<EOF\n",
        "EOF\n",
        "$(",
        ")",
        "(",
        "{",
        "}",
        "é",
        "\u{a0}",
        "\u{feff}",
        "\r\n",
        ">>> ",
        "... ",
        "1  ",
        "{\"code\": \"",
        "</think>",
        "<tool_call>",
        "- a\n",
        "+ b\n",
        "@@ ",
        "```json\n",
        "...",
        "“",
        "Before:\n",
        "$ ls\n",
        ":",
    ];
    proptest::collection::vec(proptest::sample::select(parts), 0..30)
        .prop_map(|parts| parts.concat())
}

/// Whether every line of `taken` is the end of a line of `text`, in order.
fn is_part(taken: &str, text: &str) -> bool {
    let mut lines = text.lines();
    let part = |line: &str| {
        let line = line.trim();
        lines.any(|other| {
            other.trim_end_matches(['`', '~']).trim_end().ends_with(line) || other.contains(line)
        })
    };
    taken.lines().filter(|line| !line.trim().is_empty()).all(part)
}

proptest! {
    #[test]
    fn any_answer_is_read_and_what_is_taken_is_part_of_it(text in parts()) {
        for asked in [Asked::default(), Asked::named("f"), Asked { change: true, ..Asked::named("f") }, Asked { names: vec!["f", "g"], change: false }] {
            if let Ok(code) = method(&text, &asked) {
                prop_assert!(text.get(code.span.clone()).is_some());
                let is_json = text.trim_matches(crate::answer::lines::is_space).starts_with(['{', '[']);
                prop_assert!(is_json || text.contains('\u{a0}') || is_part(&code.text, &text), "{}", code.text);
            }
        }
        if let Ok(found) = command(&text) {
            prop_assert!(is_part(&found.text, &text), "{}", found.text);
            prop_assert!(text.get(found.span).is_some());
        }
        for span in code_spans(&text) {
            prop_assert!(text.get(span).is_some());
        }
        let _ = outside_code(&text, "</think>");
    }

    #[test]
    fn a_method_in_a_block_comes_back(docstring in "[a-z`~ \n]{0,40}", after in "[a-z`. \n]{0,20}") {
        let code = format!("def f(self):\n    \"\"\"{docstring}.\"\"\"\n    return 1\n");
        let text = format!("{}\n{after}", fenced(&code));
        let found = method(&text, &Asked::named("f")).map(|code| code.text);
        prop_assert_eq!(found, Ok(code));
    }
}

#[test]
fn a_degenerate_answer_is_read_in_linear_time() {
    const SIZE: usize = 1 << 17;
    for part in [
        "`",
        "```\n",
        "```python\n",
        "```python\ndef f(",
        "~",
        "'''\n",
        "```\n\\'''\n```\n",
        "def f(self):\n",
        "def f(self):\n'''\n",
        "def f(self): (\n",
        "((",
        "[",
        "not ",
        "lambda:",
        "<tool_call>",
        "</think>",
        "```bash\ncat <<A\n```\n",
        "```bash\n'\n```\n",
        "cat <<EOF\n",
        "> ",
        "1. ",
        "{\"a\":",
        "````\n```\n",
        "1  def f\n",
        ">>> def f\n",
        "a.",
        "-",
        " def f(self):\n",
        "```markdown\n",
        "```def f```\n",
    ] {
        let started = std::time::Instant::now();
        for start in ["", "def f(self):\n    return "] {
            let text = format!("{start}{}", part.repeat(SIZE / part.len()));
            let _ = method(&text, &Asked::named("f"));
            let _ = command(&text);
            let _ = code_spans(&text);
            let _ = outside_code(&text, "</think>");
        }
        // One of these texts takes minutes if every line is compared with every other.
        assert!(started.elapsed().as_secs() < 20, "{part:?}: {:?}", started.elapsed());
    }
}
