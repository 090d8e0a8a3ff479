//! What a method uses, from which a fault can take something else.

use std::collections::{BTreeMap, BTreeSet};

use ruff_python_ast::visitor::{self, Visitor};
use ruff_python_ast::{Expr, ExprAttribute, Stmt, StmtFunctionDef};
use ruff_text_size::{Ranged, TextSize};

use crate::source::{Parsed, bytes};

/// An attribute as it is used.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Used<'p> {
    pub(super) name: &'p str,
    /// The text of what it is an attribute of.
    pub(super) of: &'p str,
    /// Whether it is called.
    pub(super) called: bool,
}

/// The names and strings of a method.
pub(super) struct Names<'p> {
    text: &'p str,
    /// The parameters and local variables, by where they are bound first.
    variables: BTreeMap<&'p str, TextSize>,
    /// Whether the method has a parameter `self`.
    pub(super) has_self: bool,
    pub(super) attributes: BTreeSet<Used<'p>>,
    /// The literals of one line, as written.
    pub(super) strings: BTreeSet<&'p str>,
    /// How many comprehensions, lambdas and f-strings are around.
    depth: usize,
}

impl<'p> Names<'p> {
    pub(super) fn of(parsed: &'p Parsed<'p>, def: &'p StmtFunctionDef, body: &'p [Stmt]) -> Self {
        let mut names = Names {
            text: parsed.text,
            variables: BTreeMap::new(),
            has_self: false,
            attributes: BTreeSet::new(),
            strings: BTreeSet::new(),
            depth: 0,
        };
        for parameter in &*def.parameters {
            let name = parameter.name().as_str();
            names.has_self |= name == "self";
            names.bind(name, parameter.name().end());
        }
        names.visit_body(body);
        names
    }

    /// The other variables that are bound before `at`, if `name` is one.
    pub(super) fn others(&self, name: &str, at: TextSize) -> Vec<&'p str> {
        if !self.variables.contains_key(name) {
            return Vec::new();
        }
        let before = self.variables.iter().filter(|(other, bound)| **other != name && **bound < at);
        before.map(|(other, _)| *other).collect()
    }

    /// The variables that are bound before `at`.
    pub(super) fn variables(&self, at: TextSize) -> Vec<&'p str> {
        let before = self.variables.iter().filter(|(_, bound)| **bound < at);
        before.map(|(name, _)| *name).collect()
    }

    /// An attribute as it is used in this expression.
    pub(super) fn used(&self, attribute: &ExprAttribute, called: bool) -> Used<'p> {
        let of = &self.text[bytes(attribute.value.range())];
        Used { name: &self.text[bytes(attribute.attr.range())], of, called }
    }

    fn bind(&mut self, name: &'p str, at: TextSize) {
        if !matches!(name, "self" | "cls" | "_") {
            self.variables.entry(name).or_insert(at);
        }
    }

    fn bind_all(&mut self, target: &'p Expr, at: TextSize) {
        match target {
            Expr::Name(name) => self.bind(name.id.as_str(), at),
            Expr::Tuple(all) => all.elts.iter().for_each(|target| self.bind_all(target, at)),
            Expr::List(all) => all.elts.iter().for_each(|target| self.bind_all(target, at)),
            Expr::Starred(starred) => self.bind_all(&starred.value, at),
            _ => {}
        }
    }
}

/// Whether a string literal is written as one token in one line.
pub(super) fn is_short(expression: &Expr, text: &str) -> bool {
    let Expr::StringLiteral(literal) = expression else { return false };
    let text = &text[bytes(literal.range())];
    !literal.value.is_implicit_concatenated() && !text.contains('\n') && !text.ends_with("\"\"\"")
}

impl<'p> Visitor<'p> for Names<'p> {
    fn visit_stmt(&mut self, statement: &'p Stmt) {
        match statement {
            // What a definition binds inside is its own.
            Stmt::FunctionDef(_) | Stmt::ClassDef(_) => return,
            Stmt::Expr(s) if s.value.is_string_literal_expr() => return,
            Stmt::Assign(s) => s.targets.iter().for_each(|t| self.bind_all(t, s.end())),
            Stmt::AnnAssign(s) if s.value.is_some() => self.bind_all(&s.target, s.end()),
            Stmt::For(s) => self.bind_all(&s.target, s.iter.end()),
            Stmt::With(s) => {
                for item in &s.items {
                    item.optional_vars.iter().for_each(|vars| self.bind_all(vars, item.end()));
                }
            }
            _ => {}
        }
        visitor::walk_stmt(self, statement);
    }

    fn visit_annotation(&mut self, _: &'p Expr) {}

    fn visit_expr(&mut self, expression: &'p Expr) {
        let is_scope = matches!(
            expression,
            Expr::ListComp(_)
                | Expr::SetComp(_)
                | Expr::DictComp(_)
                | Expr::Generator(_)
                | Expr::Lambda(_)
                | Expr::FString(_)
        );
        match expression {
            Expr::Named(e) if self.depth == 0 => self.bind_all(&e.target, e.end()),
            Expr::Call(e) => {
                if let Expr::Attribute(attribute) = &*e.func {
                    self.attributes.insert(self.used(attribute, true));
                    self.visit_expr(&attribute.value);
                } else {
                    self.visit_expr(&e.func);
                }
                return self.visit_arguments(&e.arguments);
            }
            Expr::Attribute(e) => {
                self.attributes.insert(self.used(e, false));
            }
            Expr::StringLiteral(e) if self.depth == 0 && is_short(expression, self.text) => {
                self.strings.insert(&self.text[bytes(e.range())]);
            }
            _ => {}
        }
        self.depth += usize::from(is_scope);
        visitor::walk_expr(self, expression);
        self.depth -= usize::from(is_scope);
    }
}
