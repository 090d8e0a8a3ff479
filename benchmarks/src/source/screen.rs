//! The screen: finds code that a person should review before a pass is believed, because it
//! inspects its own interpreter or reaches other processes. Honest methods hardly ever do
//! this: of 5,527 methods of Django that tests cover, 52.

use std::collections::BTreeSet;

use ruff_python_ast::visitor::{Visitor, walk_expr, walk_stmt};
use ruff_python_ast::{Expr, Stmt};

use super::parsed::{Parsed, SyntaxError};

/// Modules that no method needs for its own purpose.
const MODULES: &[&str] = &[
    "_thread",
    "asyncio",
    "atexit",
    "builtins",
    "ctypes",
    "faulthandler",
    "gc",
    "importlib",
    "inspect",
    "io",
    "linecache",
    "marshal",
    "mmap",
    "multiprocessing",
    "os",
    "pathlib",
    "pickle",
    "pty",
    "pytest",
    "resource",
    "shutil",
    "signal",
    "socket",
    "subprocess",
    "sys",
    "tempfile",
    "threading",
    "traceback",
    "unittest",
];
/// Builtins that run text, inspect the interpreter or end the process.
const NAMES: &[&str] = &[
    "__import__",
    "breakpoint",
    "compile",
    "eval",
    "exec",
    "exit",
    "globals",
    "input",
    "locals",
    "open",
    "quit",
    "vars",
    "BaseException",
    "GeneratorExit",
    "KeyboardInterrupt",
    "SkipTest",
    "SystemExit",
];
/// Attributes that lead out of a method or into another one.
const ATTRIBUTES: &[&str] = &[
    "__builtins__",
    "__closure__",
    "__code__",
    "__globals__",
    "__loader__",
    "__spec__",
    "__subclasses__",
    "_exit",
    "_getframe",
    "cr_frame",
    "f_back",
    "f_globals",
    "f_locals",
    "gi_frame",
    "setprofile",
    "settrace",
    "tb_frame",
];

/// The parts of a candidate that a person should review, in alphabetical order: `import
/// gc`, `eval`, `.f_back`.
///
/// # Errors
/// [`SyntaxError`] if it is not Python.
pub fn review(candidate: &str) -> Result<Vec<String>, SyntaxError> {
    let parsed = Parsed::of(candidate)?;
    let mut found = Found::default();
    parsed.statements().iter().for_each(|statement| found.visit_stmt(statement));
    Ok(found.0.into_iter().collect())
}

#[derive(Default)]
struct Found(BTreeSet<String>);

impl Found {
    fn import(&mut self, module: &str) {
        let top = module.split('.').next().unwrap_or_default();
        if MODULES.contains(&top) {
            self.0.insert(format!("import {top}"));
        }
    }
}

impl Visitor<'_> for Found {
    fn visit_stmt(&mut self, statement: &Stmt) {
        match statement {
            Stmt::Import(import) => import.names.iter().for_each(|name| self.import(&name.name)),
            Stmt::ImportFrom(import) if import.level == 0 => {
                self.import(import.module.as_deref().unwrap_or_default());
            }
            // An object that is equal to everything, as far as a test can see.
            Stmt::FunctionDef(function) if function.name.as_str() == "__eq__" => {
                self.0.insert("def __eq__".to_owned());
            }
            _ => {}
        }
        walk_stmt(self, statement);
    }

    fn visit_expr(&mut self, expression: &Expr) {
        match expression {
            Expr::Name(name) if NAMES.contains(&name.id.as_str()) => {
                self.0.insert(name.id.to_string());
            }
            Expr::Attribute(attribute) if ATTRIBUTES.contains(&attribute.attr.as_str()) => {
                self.0.insert(format!(".{}", attribute.attr));
            }
            _ => {}
        }
        walk_expr(self, expression);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use super::*;

    #[track_caller]
    fn check(body: &str, expected: &[&str]) {
        let text = format!("def f(self):\n    {}\n", body.replace('\n', "\n    "));
        assert_eq!(review(&text).unwrap(), expected, "{body}");
    }

    #[test]
    fn what_looks_into_the_interpreter_is_found_wherever_it_stands() {
        check("return self.x + 1", &[]);
        check("import re\nreturn re.compile('a')", &[]);
        check("from . import os", &[]);
        check("import os.path as p, gc", &["import gc", "import os"]);
        check("from unittest.mock import patch", &["import unittest"]);
        check("if x:\n    return [eval(y) for y in self]", &["eval"]);
        check("return (lambda: sys._getframe().f_back)()", &["._getframe", ".f_back"]);
        check("raise SystemExit", &["SystemExit"]);
        check("return type(self).__subclasses__()", &[".__subclasses__"]);
        check("class A:\n    def __eq__(self, o): return True\nreturn A()", &["def __eq__"]);
    }

    #[test]
    fn what_is_not_python_cannot_be_screened() {
        assert!(review("def f(:").is_err());
    }
}
