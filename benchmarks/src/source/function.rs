//! A function at the top of a module, and what is beside it.

use ruff_python_ast::comparable::ComparableStmt;
use ruff_python_ast::{Stmt, StmtFunctionDef};
use ruff_text_size::Ranged;

use super::method::{MethodDef, all};
use super::parsed::{Parsed, SyntaxError, bytes};

/// Why a module does not have the function.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoFunction {
    /// The text is not Python.
    #[error(transparent)]
    Syntax(#[from] SyntaxError),
    /// There is none, or there are several.
    #[error("`{name}` is defined {count} times at the top of the module")]
    Count {
        /// The function.
        name: String,
        /// How often.
        count: usize,
    },
}

/// The function of that name at the top of a module: no other one there has it, signatures
/// for type checkers included.
pub(crate) fn top_function(text: &str, name: &str) -> Result<MethodDef, NoFunction> {
    let is_it = |def: &MethodDef| def.is_function() && !def.conditional && def.name == name;
    let mut found: Vec<_> = all(text)?.into_iter().filter(is_it).collect();
    match (found.len(), found.pop()) {
        (1, Some(def)) => Ok(def),
        (count, _) => Err(NoFunction::Count { name: name.to_string(), count }),
    }
}

/// The functions at the top of a module.
fn functions<'p>(parsed: &'p Parsed<'_>) -> impl Iterator<Item = &'p StmtFunctionDef> {
    parsed.statements().iter().filter_map(Stmt::as_function_def_stmt)
}

/// Whether two modules differ at most in this function, in comments and in strings that are
/// statements. The decorators of the function are not part of it.
///
/// # Errors
/// [`SyntaxError`] if one of the texts is not Python.
pub(crate) fn is_same_beside(one: &str, other: &str, name: &str) -> Result<bool, SyntaxError> {
    let (one, other) = (Parsed::of(one)?, Parsed::of(other)?);
    let is_beside = |statement: &&Stmt| match statement {
        Stmt::FunctionDef(def) => def.name.as_str() != name,
        Stmt::Expr(s) => !s.value.is_string_literal_expr(),
        _ => true,
    };
    let beside = |parsed: &Parsed<'_>| -> Vec<Stmt> {
        parsed.statements().iter().filter(is_beside).cloned().collect()
    };
    let (beside, others) = (beside(&one), beside(&other));
    let same = beside.len() == others.len()
        && beside
            .iter()
            .zip(&others)
            .all(|(one, other)| ComparableStmt::from(one) == ComparableStmt::from(other));
    Ok(same && decorators(&one, name) == decorators(&other, name))
}

/// The decorators of a function, as written.
fn decorators<'t>(parsed: &Parsed<'t>, name: &str) -> Vec<&'t str> {
    functions(parsed)
        .filter(|def| def.name.as_str() == name)
        .flat_map(|def| &def.decorator_list)
        .map(|decorator| &parsed.text[bytes(decorator.range())])
        .collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use super::*;

    #[test]
    fn only_the_one_function_at_the_top_is_found() {
        #[track_caller]
        fn check(text: &str, expected: Result<(&str, usize, bool), &str>) {
            let found = top_function(text, "f");
            let found = found.map(|f| (&text[f.span], f.body_lines, f.docstring.is_some()));
            assert_eq!(found.map_err(|why| why.to_string()), expected.map_err(str::to_string));
        }
        let twice = |count: usize| format!("`f` is defined {count} times at the top of the module");
        check("def f(): return 1\n", Ok(("def f(): return 1", 1, false)));
        check(
            "import a\n\n@a.b\ndef f(c):\n    'd'\n    # e\n\n    return c\n\ndef g(): f()\n",
            Ok(("def f(c):\n    'd'\n    # e\n\n    return c", 1, true)),
        );
        check("def g():\n    def f(): pass\n", Err(&twice(0)));
        check("class A:\n    def f(self): pass\n", Err(&twice(0)));
        check("def f(): pass\ndef f(): pass\n", Err(&twice(2)));
        check(
            "def f(:\n",
            Err(
                "line 1, column 7: Expected a parameter or the end of the parameter list: `def f(:`",
            ),
        );
    }

    #[test]
    fn the_rest_of_a_module_is_compared_by_its_code() {
        #[track_caller]
        fn check(one: &str, other: &str, expected: bool) {
            assert_eq!(is_same_beside(one, other, "f"), Ok(expected), "{one}\n---\n{other}");
        }
        check("def f(): return 1\n", "def f(a):\n    return 2\n", true);
        check("# a\nimport b\ndef f(): pass\n'''c'''\n", "import b\n\ndef f(): pass\n", true);
        check("import b\ndef f(): pass\n", "import c\ndef f(): pass\n", false);
        check("def f(): pass\ndef g(): return 1\n", "def f(): pass\ndef g(): return 2\n", false);
        check("def f(): pass\n", "def f(): pass\ng = 1\n", false);
        check("@a\ndef f(): pass\n", "@b\ndef f(): pass\n", false);
    }
}
