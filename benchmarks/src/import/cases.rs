//! Tests in the forms of published sets, as `unittest` cases.

use ruff_python_ast::visitor::{self, Visitor};
use ruff_python_ast::{Expr, Stmt, StmtFunctionDef};
use ruff_text_size::Ranged;

use crate::source::{Parsed, bytes};

/// The function that HumanEval's tests define, and call with the candidate.
const CHECK: &str = "check";

/// A file of `unittest` for `test`, which defines `check(candidate)`: one case for each
/// assertion, if the assertions are independent of each other, otherwise one in all.
///
/// # Errors
/// Why the tests cannot be run so.
pub(super) fn of_check(module: &str, function: &str, test: &str) -> Result<String, String> {
    let parsed = Parsed::of(test).map_err(|why| format!("they are not Python: {why}"))?;
    let checks: Vec<_> = parsed.statements().iter().filter_map(as_check).collect();
    let [check] = checks.as_slice() else {
        return Err(format!("they define `{CHECK}` {} times", checks.len()));
    };
    let [parameter] = check.parameters.args.as_slice() else {
        return Err(format!("`{CHECK}` does not have one parameter"));
    };
    let parameter = parameter.parameter.name.as_str();
    let mut text =
        format!("import unittest\n\nfrom {module} import *\nfrom {module} import {function}\n");
    let beside = parsed.statements().iter().filter(|s| as_check(s).is_none() && !is_call(s));
    for statement in beside {
        text += &format!("\n{}\n", &test[bytes(statement.range())]);
    }
    let cases = cases(test, check);
    let cases: Vec<String> = match &cases {
        Some(cases) => {
            cases.iter().map(|lines| format!("def case({parameter}):\n{lines}")).collect()
        }
        None => vec![test[bytes(check.range())].replacen("def check", "def case", 1) + "\n"],
    };
    let digits = cases.len().to_string().len();
    let number = |at: usize| format!("{:0digits$}", at + 1);
    for (at, case) in cases.iter().enumerate() {
        let case = case.replacen("def case", &format!("def case_{}", number(at)), 1);
        text += &format!("\n\n{case}");
    }
    text += "\n\nclass Test(unittest.TestCase):\n";
    let method = |at: usize| {
        let number = number(at);
        format!("    def test_{number}(self):\n        case_{number}({function})\n")
    };
    let methods: Vec<String> = (0..cases.len()).map(method).collect();
    Ok(text + &methods.join("\n"))
}

fn as_check(statement: &Stmt) -> Option<&StmtFunctionDef> {
    statement.as_function_def_stmt().filter(|def| def.name.as_str() == CHECK)
}

/// Whether it is the call of `check`.
fn is_call(statement: &Stmt) -> bool {
    let Stmt::Expr(statement) = statement else { return false };
    let Expr::Call(call) = statement.value.as_ref() else { return false };
    matches!(call.func.as_ref(), Expr::Name(name) if name.id.as_str() == CHECK)
}

/// How a statement of `check` counts.
#[derive(Clone, Copy, PartialEq)]
enum Role {
    /// It asserts something and does nothing else.
    Assertion,
    /// It does something, or asserts something in a loop.
    Work,
    /// It gives names that do not change: imports and functions.
    Names,
    /// It gives a value that later statements may change.
    Value,
    /// It does nothing.
    Nothing,
}

fn role(statement: &Stmt) -> Role {
    match statement {
        Stmt::Assert(_) => Role::Assertion,
        Stmt::Import(_) | Stmt::ImportFrom(_) | Stmt::FunctionDef(_) => Role::Names,
        Stmt::Assign(_) | Stmt::AnnAssign(_) => Role::Value,
        Stmt::Pass(_) => Role::Nothing,
        Stmt::Expr(s) if !calls(&s.value) => Role::Nothing,
        _ => Role::Work,
    }
}

/// Whether an expression calls something.
fn calls(expression: &Expr) -> bool {
    struct Calls(bool);
    impl Visitor<'_> for Calls {
        fn visit_expr(&mut self, expression: &Expr) {
            self.0 |= expression.is_call_expr() || expression.is_await_expr();
            visitor::walk_expr(self, expression);
        }
    }
    let mut found = Calls(false);
    found.visit_expr(expression);
    found.0
}

/// The lines of each case: an assertion after what it needs. `None` if an assertion may
/// depend on an earlier one, or shares a line with something else.
fn cases(text: &str, check: &StmtFunctionDef) -> Option<Vec<String>> {
    let (mut names, mut values) = (String::new(), String::new());
    let mut cases = Vec::new();
    let mut is_last = false;
    for statement in &check.body {
        if is_last {
            return None;
        }
        let lines = whole_lines(text, bytes(statement.range()))?;
        match role(statement) {
            Role::Names => names += &lines,
            Role::Value => values += &lines,
            Role::Nothing => {}
            role @ (Role::Assertion | Role::Work) => {
                // What comes after work, or after an assertion about values, may depend on
                // what that changed.
                is_last = role == Role::Work || !values.is_empty();
                cases.push(format!("{names}{values}{lines}"));
            }
        }
    }
    let is_unused = !values.is_empty() && !is_last;
    (!cases.is_empty() && !is_unused).then_some(cases)
}

/// The lines of a statement, if it shares them with none.
fn whole_lines(text: &str, span: std::ops::Range<usize>) -> Option<String> {
    let start = text[..span.start].rfind('\n').map_or(0, |at| at + 1);
    let rest = text[span.end..].split('\n').next().unwrap_or_default().trim();
    let is_alone =
        text[start..span.start].trim().is_empty() && (rest.is_empty() || rest.starts_with('#'));
    is_alone.then(|| format!("{}\n", &text[start..span.end]))
}

/// A file of `unittest` for QuixBugs' JSON: one case for each line of the file at `json`,
/// which has the arguments and the expected value.
pub(super) fn of_json(module: &str, function: &str, json: &str, cases: usize) -> String {
    let mut text = format!(
        r#"import json
import types
import unittest
from pathlib import Path

from {module} import {function}

CASES = Path(__file__).parent.parent / "{json}"


def plain(value):
    """The value as JSON has it: tuples and generators are lists."""
    if isinstance(value, (list, tuple, types.GeneratorType)):
        return [plain(one) for one in value]
    return value


class Test(unittest.TestCase):
    def case(self, number):
        arguments, expected = json.loads(CASES.read_text().splitlines()[number - 1])
        self.assertEqual(plain({function}(*arguments)), expected)
"#
    );
    let digits = cases.to_string().len();
    for number in 1..=cases {
        text += &format!("\n    def test_{number:0digits$}(self):\n        self.case({number})\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unittest(test: &str) -> Result<String, String> {
        of_check("some.module", "half", test)
    }

    #[test]
    fn each_independent_assertion_is_a_case() {
        let test = "\n\ndef check(candidate):\n    # even\n    assert candidate(4) == 2\n    assert candidate(\n        6\n    ) == 3, 'six'  # odd\n\ncheck(half)";
        insta::assert_snapshot!(unittest(test).unwrap_or_default(), @r"
        import unittest

        from some.module import *
        from some.module import half


        def case_1(candidate):
            assert candidate(4) == 2


        def case_2(candidate):
            assert candidate(
                6
            ) == 3, 'six'


        class Test(unittest.TestCase):
            def test_1(self):
                case_1(half)

            def test_2(self):
                case_2(half)
        ");
    }

    #[test]
    fn what_assertions_need_stays_with_them() {
        let test = "import math\n\ndef close(a, b):\n    return math.isclose(a, b)\n\ndef check(half):\n    import random\n    assert close(half(3), 1.5)\n    whole = [1, 2]\n    for one in whole:\n        assert half(2 * one) == one\n\ncheck(half)\n";
        insta::assert_snapshot!(unittest(test).unwrap_or_default(), @r"
        import unittest

        from some.module import *
        from some.module import half

        import math

        def close(a, b):
            return math.isclose(a, b)


        def case_1(half):
            import random
            assert close(half(3), 1.5)


        def case_2(half):
            import random
            whole = [1, 2]
            for one in whole:
                assert half(2 * one) == one


        class Test(unittest.TestCase):
            def test_1(self):
                case_1(half)

            def test_2(self):
                case_2(half)
        ");
    }

    /// The number of cases that a body of `check` makes.
    #[track_caller]
    fn check(body: &str, expected: usize) {
        let text = unittest(&format!("def check(f):\n{body}\n")).unwrap_or_default();
        assert_eq!(text.matches("    def test_").count(), expected, "{text}");
        let defined = text.matches("def case_").count();
        assert_eq!((defined, text.matches("(half)\n").count()), (expected, expected), "{text}");
    }

    #[test]
    fn assertions_that_may_depend_on_each_other_are_one_case() {
        check("    assert f(1)\n    assert f(2)", 2);
        check("    'about'\n    print\n    assert f(1)\n    assert f(2)", 2);
        check("    a = [1]\n    assert f(a)\n    assert a == [2]", 1);
        check("    assert f(1)\n    a = [1]\n    assert f(a)\n    a = 2", 1);
        check("    for a in 1, 2:\n        assert f(a)\n    assert f(3)", 1);
        check("    assert f(1)\n    more(f)", 2);
        check("    more(f)\n    assert f(1)", 1);
        check("    assert f(1); assert f(2)", 1);
        check("    assert f('''\n''')\n    assert f(2)", 2);
        check(&["    assert f(1)"; 12].join("\n"), 12);
    }

    #[test]
    fn tests_of_another_form_are_refused_with_why() {
        #[track_caller]
        fn check(test: &str, expected: &str) {
            assert_eq!(unittest(test), Err(expected.to_string()));
        }
        check("assert half(2) == 1\n", "they define `check` 0 times");
        check("def check(): pass\n", "`check` does not have one parameter");
        let why = unittest("def check(f)\n").unwrap_err();
        assert!(why.starts_with("they are not Python: line 1, column "), "{why}");
    }

    #[test]
    fn each_line_of_json_is_a_case() {
        let text = of_json("python_programs.half", "half", "json_testcases/half.json", 2);
        insta::assert_snapshot!(text, @r#"
        import json
        import types
        import unittest
        from pathlib import Path

        from python_programs.half import half

        CASES = Path(__file__).parent.parent / "json_testcases/half.json"


        def plain(value):
            """The value as JSON has it: tuples and generators are lists."""
            if isinstance(value, (list, tuple, types.GeneratorType)):
                return [plain(one) for one in value]
            return value


        class Test(unittest.TestCase):
            def case(self, number):
                arguments, expected = json.loads(CASES.read_text().splitlines()[number - 1])
                self.assertEqual(plain(half(*arguments)), expected)

            def test_1(self):
                self.case(1)

            def test_2(self):
                self.case(2)
        "#);
    }
}
