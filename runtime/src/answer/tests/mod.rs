//! The forms in which models write a method.

mod commands;
mod properties;

use super::*;

/// The method that most cases contain.
const F: &str = "def f(self):\n    return 1\n";

/// The method in an answer: right, taken with a fault, or refused with these words.
enum Expected<'a> {
    Right(&'a str),
    Faulty(&'a str),
    Refused(&'a str),
}
use Expected::{Faulty, Refused, Right};

#[track_caller]
fn check(answer: &str, expected: Expected<'_>) {
    check_asked(answer, &Asked::named("f"), &expected);
    // Line breaks of Windows change nothing.
    check_asked(&answer.replace('\n', "\r\n"), &Asked::named("f"), &expected);
}

#[track_caller]
fn check_asked(answer: &str, asked: &Asked<'_>, expected: &Expected<'_>) {
    match (method(answer, asked), expected) {
        (Ok(code), Right(expected)) => {
            assert_eq!((code.text.as_str(), code.found), (*expected, true), "{answer}");
        }
        (Ok(code), Faulty(expected)) => {
            let text = code.text.replace("\r\n", "\n");
            assert_eq!((text.as_str(), code.found), (*expected, false), "{answer}");
        }
        (Err(why), Refused(part)) => assert!(why.to_string().contains(part), "{why}"),
        (found, Right(text) | Faulty(text) | Refused(text)) => {
            panic!("{answer}\ngives {found:?}, not {text:?}")
        }
    }
}

fn fenced(code: &str) -> String {
    format!("```python\n{code}```\n")
}

#[test]
fn another_block_beside_the_method_is_left() {
    let block = fenced(F);
    check(&block, Right(F));
    check(
        &format!("{block}\nIt needs\n\n```python\nfrom functools import partial\n```\n"),
        Right(F),
    );
    check(&format!("```python\nfrom functools import partial\n```\nThen\n{block}"), Right(F));
    check(&format!("{block}\nRun the tests:\n\n```bash\npython runtests.py f\n```\n"), Right(F));
    check(&format!("{block}\nThis prints\n\n```\nOK\n```\n"), Right(F));
    check(&format!("{block}\nUsage:\n\n```python\nx = A()\nx.f()\n```\n"), Right(F));
    check(&format!("{block}\nA test:\n\n```python\ndef test_f():\n    A().f()\n```\n"), Right(F));
    check(&format!("{block}\n```weak``` is passed on.\n"), Right(F));
    check(&format!("```json\n{{\"a\": 1}}\n```\n{block}```text\nNone\n```"), Right(F));
    check(&format!("It says:\n```\nIt's '''odd\n```\nSo:\n{block}"), Right(F));
}

#[test]
fn a_fence_of_any_form_opens_and_closes_a_block() {
    check(&format!("Here:\n\n~~~python\n{F}~~~\n"), Right(F));
    check(&format!("````python\n{F}````\n"), Right(F));
    check(&format!("````markdown\n{}````\n", fenced(F)), Right(F));
    check(&format!("```markdown\n# Answer\n{}```\n", fenced(F)), Right(F));
    check(&format!("```\n{F}```\n"), Right(F));
    check(&format!("``` python\n{F}```   \n"), Right(F));
    for tag in
        ["Python", "py", "PY3", "python3", "{.python}", "python title=\"a.py\"", "python:a.py"]
    {
        check(&format!("```{tag}\n{F}```\n"), Right(F));
    }
    check(&format!("\u{feff}{}", fenced(F)), Right(F));
    check(&format!("\u{200b}{}", fenced(F)), Right(F));
    check(&format!("Here is it:{}", fenced(F)), Right(F));
    check(&format!("Here is it:\n{}", fenced(F).replace("1\n```", "1```")), Right(F));
    check(
        &fenced(F).replace("1\n```", "1  # one```"),
        Right("def f(self):\n    return 1  # one\n"),
    );
    check(&format!("{}\nUsage:\n```\na.f()\n```\n", fenced(F).replace("1\n```", "1```")), Right(F));
    check(&fenced(F).replace("```\n", "``` Done.\n").replace("``` Done.\nd", "```\nd"), Right(F));
    check(&format!("```python\n{F}"), Right(F));
    check(&format!("```python\n{F}\nThis returns one."), Right(F));
    check(&format!("```python\n{F}```python\nx.f()\n```\n"), Right(F));
    check("```def f(self): return 1```", Right("def f(self): return 1\n"));
    check("```python def f(self): return 1```", Right("def f(self): return 1\n"));
}

#[test]
fn a_block_in_a_list_or_a_quotation_is_dedented() {
    let indented = |by: &str| fenced(F).lines().map(|l| format!("{by}{l}\n")).collect::<String>();
    check(&format!("1. So:\n{}", indented("   ")), Right(F));
    check(&format!("- So:\n\n{}", indented("\t")), Right(F));
    check(&format!("1. {}", indented("   ").trim_start()), Right(F));
    check(&format!("- {}", indented("  ").trim_start()), Right(F));
    check(&indented("> "), Right(F));
    check(&format!("   {}", fenced(F)), Right(F));
    let text = "   ```py\n   def f(self):\n       '''\n     a\n       '''\n   ```\n";
    check(text, Right("def f(self):\n    '''\n  a\n    '''\n"));
    // As in its class: the reduction dedents.
    let inside = "    def f(self):\n        return 1\n";
    check(&fenced(inside), Right(inside));
    check(&fenced(inside.trim_start()), Right(inside.trim_start()));
    check(&fenced("\tdef f(self):\n\t\treturn 1\n"), Right("\tdef f(self):\n\t\treturn 1\n"));
}

#[test]
fn fences_and_tags_in_code_are_code() {
    for inside in
        ["```\n    x.f()\n    ```", "```x.f()", "```python\n    x.f()\n    ```", "~~~\n~~~"]
    {
        let code = format!(
            "def f(self):\n    \"\"\"Give one.\n\n    {inside}\n    \"\"\"\n    return 1\n"
        );
        check(&fenced(&code), Right(&code));
        check(&code, Right(&code));
        check(&format!("Here:\n\n{code}\nIt works."), Right(&code));
        check(&format!("{}Use:\n```\nx.f()\n```\n", fenced(&code)), Right(&code));
        check(&format!("```python\n{code}"), Right(&code));
    }
    for line in
        ["# ends with </think>", "# like <tool_call> this", "x = '```'", "x = '\\\\'  # ```"]
    {
        let code = format!("def f(self):\n    {line}\n    return 1\n");
        check(&fenced(&code), Right(&code));
    }
    let code = "def f(self):\n    return '''\n```\n'''\n";
    check(&fenced(code), Right(code));
    let code = "def f(self):\n    return f\"{self['a']}\" + \"'''\"\n";
    check(&format!("{}\n```\n'''\n```\n", fenced(code)), Right(code));
}

#[test]
fn code_without_fences_is_found_by_its_layout() {
    check(F, Right(F));
    check(&format!("Here:\n\n{F}"), Right(F));
    check(&format!("Here:\n{F}\nThis returns one.\n"), Right(F));
    check(&format!("The method is\n\n{F}\nand it's right."), Right(F));
    let long = "async def f(\n    self,\n):\n    x = [\n1,\n    ]\n\n    # one\n    return x\n";
    check(&format!("So:\n\n{long}\nDone, isn't it?"), Right(long));
    let import = format!("import re\n\n\n{F}");
    check(&format!("So:\n\n{import}\nDone."), Right(&import));
    let class = "class A:\n    def f(self):\n        return 1\n";
    let inside = "    def f(self):\n        return 1\n";
    check(&format!("So:\n\n{class}\nDone."), Right(inside));
    check(class, Right(class));
    // The rest of the body has lost its indentation.
    check(
        "So:\ndef f(self):\n    x = 1\nreturn x\n",
        Faulty("So:\ndef f(self):\n    x = 1\nreturn x\n"),
    );
    check("So:\ndef f(self):\n    return (1\n", Faulty("So:\ndef f(self):\n    return (1\n"));
}

#[test]
fn json_prompts_numbers_and_odd_spaces_are_taken_off() {
    let json = serde_json::json!({ "why": "so", "code": F }).to_string();
    check(&json, Right(F));
    check(&format!("```json\n{json}\n```\n"), Right(F));
    check(&serde_json::json!([{ "method": fenced(F) }]).to_string(), Right(F));
    check(&serde_json::json!({ "name": "x", "arguments": { "y": F } }).to_string(), Right(F));
    check(
        "```python\n>>> def f(self):\n...     return 1\n...\n>>> f(0)\n1\n```",
        Right("def f(self):\n    return 1\n\nf(0)\n"),
    );
    check("```\n1  def f(self):\n2      return 1\n```", Right(F));
    check("```\n 9 | def f(self):\n10 |     return 1\n```", Right(F));
    check("```\n1: def f(self):\n2:     return 1\n```", Right(F));
    check("9\tdef f(self):\n10\t    return 1\n", Right(F));
    check("```python\ndef f(self):\n\u{a0}\u{a0}\u{a0}\u{a0}return 1\n```", Right(F));
    check(
        "```python\ndef f(self):\n\u{3000}return\u{a0}'\u{a0}'\n```",
        Right("def f(self):\n return '\u{a0}'\n"),
    );
}

#[test]
fn the_last_complete_definition_counts() {
    let other = F.replace('1', "2");
    let two =
        |first: &str, second: &str| format!("{first}\n{}{second}\n{}", fenced(F), fenced(&other));
    check(&two("First:", "No, better:"), Right(&other));
    check(&two("Before:", "After:"), Right(&other));
    check(&two("After:", "Before:"), Right(F));
    check(&two("**Fixed**", "### Original method"), Right(F));
    check(
        &two("The new one:", "It was this before, which as we have seen is wrong:"),
        Right(&other),
    );
    check(&two("Before:", "The original:"), Right(&other));
    let elided = "def f(self):\n    ...\n";
    check(&format!("{}In short:\n{}", fenced(F), fenced(elided)), Right(F));
    let elided = "def f(self):\n    x = 1\n    ...  # as before\n    return x\n";
    check(&format!("{}In short:\n{}", fenced(F), fenced(elided)), Right(F));
    check(&fenced("def f(self):\n    pass\n"), Right("def f(self):\n    pass\n"));
    check(&format!("{}And:\n{}", fenced(F), fenced("def f(self:\n    pass\n")), Right(F));
    check(&format!("{}And:\n{}", fenced(F), fenced("def ff(self):\n    pass\n")), Right(F));
}

#[test]
fn what_is_around_the_method_is_taken_with_it() {
    for code in [
        "class A(B):\n    x = 1\n\n    def f(self):\n        return 1\n",
        "import re\n\n\nclass A:\n    @property\n    def f(self):\n        return re\n",
        "@property\ndef f(self):\n    return 1\n",
        "def helper():\n    return 1\n\n\ndef f(self):\n    return helper()\n",
        "def f(self):\n    def helper():\n        return 1\n    return helper()\n",
    ] {
        check(&fenced(code), Right(code));
        check(&format!("{}Usage:\n```\na.f()\n```", fenced(code)), Right(code));
    }
}

#[test]
fn what_cannot_be_taken_is_shown_or_refused_in_words() {
    check(" \n\u{feff}", Refused("The answer is empty. Send the whole method"));
    check("I can't do this.", Refused("No method was found"));
    let two = "```\nx = 1\n```\n```bash\nls\n```\n";
    check(two, Refused("has 2 code blocks and none defines `f`"));
    check("```python\nreturn 1\n```\n", Faulty("return 1\n"));
    check(
        "```python\ndef g(self):\n    pass\n```\n```\nx\n```\n",
        Faulty("def g(self):\n    pass\n"),
    );
    check("```python\ndef f(self):\nreturn 1\n```\n", Faulty("def f(self):\nreturn 1\n"));
    let quotes = "def f(self):\n    return “1”\n";
    check(&fenced(quotes), Faulty(quotes));
    let diff =
        "--- a/a.py\n+++ b/a.py\n@@ -1,2 +1,2 @@\n def f(self):\n-    return 0\n+    return 1\n";
    check(&format!("```diff\n{diff}```\n"), Refused("The answer is a diff"));
    check(diff, Refused("The answer is a diff"));
    check("```python\n def f(self):\n-    return 0\n+    return 1\n```", Refused("is a diff"));
    let change = "- return 0\n+ return 1\n";
    check(&fenced(change), Refused("is a diff"));
    let faulty = &Asked { change: true, ..Asked::named("f") };
    check_asked(&fenced(change), faulty, &Right(change));
    check_asked(&format!("{}That is:\n{}", fenced("x"), fenced(change)), faulty, &Right(change));
    check_asked(change, faulty, &Right(change));
    check_asked("- a\n+ b\n+ c\n", faulty, &Faulty("- a\n+ b\n+ c\n"));
    check_asked(&fenced(F), faulty, &Right(F));
}

#[test]
fn several_functions_are_those_of_one_block() {
    let asked = Asked { names: vec!["f", "g"], change: false };
    let check = |answer: &str, expected: Expected<'_>| check_asked(answer, &asked, &expected);
    const G: &str = "async def g(self):\n    return 2\n";
    let (both, swapped) = (format!("{F}\n\n{G}"), format!("{G}\n{F}"));
    check(&both, Right(&both));
    check(&fenced(&both), Right(&both));
    check(&format!("First `f`:\n{}Together:\n{}", fenced(F), fenced(&swapped)), Right(&swapped));
    let class = format!("class A:\n    {}\n", both.trim_end().replace('\n', "\n    "));
    check(&fenced(&class), Right(&class));
    check(&format!("{}\nUse it:\n{}", fenced(&both), fenced("def test_f(): f()\n")), Right(&both));
    check(&format!("{}{}", fenced(&both), fenced(&both.replace("return 2", "..."))), Right(&both));
    check(&format!("I write both.\n\n{both}\nThat is all.\n"), Right(&both));
    check(&fenced(F), Faulty(F));
    check(&format!("{}{}", fenced(F), fenced(G)), Faulty(G));
    check("I cannot.", Refused("No method was found"));
}

#[test]
fn the_end_of_a_cut_answer_is_not_certain() {
    let whole = |text: &str| method(text, &Asked::named("f")).is_ok_and(|code| code.whole);
    assert!(whole(&fenced(F)));
    assert!(whole(&format!("{}Use it:\n```python\na.f(", fenced(F))));
    assert!(!whole(F));
    assert!(!whole(&format!("```python\n{F}")));
    assert!(!whole(&format!(
        "{}No, better:\n```python\ndef f(self):\n    return (",
        fenced("x = 1\n")
    )));
    assert!(!whole("```python\ndef f(self):\n    '''\n    ```\n    x\n"));
}

#[test]
fn a_tag_outside_code_is_found() {
    let check = |text: &str, expected| assert_eq!(outside_code(text, "</think>"), expected);
    check("a</think>b", Some(1));
    check("```python\ndef f():\n    # </think>\n```\n", None);
    check("def f():\n    # </think>\n    pass\n", None);
    check("```python\ndef f():\n</think>\n```\n```\n", Some(19));
    check("```\n# </think>\n```\n</think>", Some(19));
    check("", None);
}
