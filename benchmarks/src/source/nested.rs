//! Counts what is defined inside functions: it exists only while they run.

use ruff_python_ast::Stmt;
use ruff_python_ast::visitor::{Visitor, walk_stmt};

use super::parsed::Parsed;

/// Number of functions and methods that are defined inside a function; 0 if the text is not
/// Python.
pub(crate) fn nested(text: &str) -> usize {
    let Ok(parsed) = Parsed::of(text) else { return 0 };
    let mut search = Nested { functions: 0, found: 0 };
    search.visit_body(parsed.statements());
    search.found
}

struct Nested {
    /// How many functions are around.
    functions: usize,
    found: usize,
}

impl Visitor<'_> for Nested {
    fn visit_stmt(&mut self, statement: &Stmt) {
        let is_function = usize::from(statement.is_function_def_stmt());
        self.found += is_function * usize::from(self.functions > 0);
        self.functions += is_function;
        walk_stmt(self, statement);
        self.functions -= is_function;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn definitions_inside_functions_are_counted() {
        #[track_caller]
        fn check(text: &str, expected: usize) {
            assert_eq!(nested(text), expected, "{text}");
        }
        check("def f(): pass\nclass A:\n    def g(self): pass\n", 0);
        check("def f():\n    def g():\n        def h(): pass\n", 2);
        check("class A:\n    def f(self):\n        class B:\n            def g(self): pass\n", 1);
        check("if x:\n    def f():\n        if y:\n            async def g(): pass\n", 1);
        check("def f(", 0);
    }
}
