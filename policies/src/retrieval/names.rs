//! The names that Python code binds and mentions.

use std::collections::BTreeSet;

use ruff_python_ast::visitor::{
    Visitor, walk_alias, walk_except_handler, walk_expr, walk_parameter, walk_stmt,
};
use ruff_python_ast::{Alias, ExceptHandler, Expr, ExprContext, Parameter, Stmt, StmtFunctionDef};

/// The names that a function mentions, by their role.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    /// Looked up outside the function: neither bound in it nor attributes.
    pub(super) free: BTreeSet<String>,
    /// Attributes of its first parameter.
    pub(super) own: BTreeSet<String>,
    /// Attributes of its first parameter that it assigns.
    pub(super) set: BTreeSet<String>,
}

impl Names {
    pub(super) fn of(def: &StmtFunctionDef) -> Self {
        let first = def.parameters.args.first().map_or("", |first| first.name().as_str());
        let mut mentions = Mentions { first, ..Mentions::default() };
        let parameters = def.parameters.iter().map(|parameter| parameter.name().to_string());
        mentions.bound.extend(parameters);
        mentions.visit_body(&def.body);
        let Mentions { mut names, bound, .. } = mentions;
        names.free.retain(|name| !bound.contains(name));
        names
    }
}

/// Collects the names that a module binds at its top level.
pub(super) struct Binder<'n> {
    pub(super) names: &'n mut BTreeSet<String>,
}

impl<'a> Visitor<'a> for Binder<'_> {
    fn visit_stmt(&mut self, stmt: &'a Stmt) {
        match stmt {
            Stmt::ClassDef(def) => _ = self.names.insert(def.name.to_string()),
            Stmt::FunctionDef(def) => _ = self.names.insert(def.name.to_string()),
            _ => walk_stmt(self, stmt),
        }
    }

    fn visit_alias(&mut self, alias: &'a Alias) {
        self.names.insert(bound_by(alias));
        walk_alias(self, alias);
    }

    fn visit_expr(&mut self, expr: &'a Expr) {
        if let Expr::Name(name) = expr
            && name.ctx != ExprContext::Load
        {
            self.names.insert(name.id.to_string());
        }
    }
}

fn bound_by(alias: &Alias) -> String {
    let name = alias.asname.as_ref().unwrap_or(&alias.name).as_str();
    name.split('.').next().unwrap_or(name).to_string()
}

/// Collects the names that a function mentions.
#[derive(Default)]
struct Mentions<'a> {
    first: &'a str,
    names: Names,
    bound: BTreeSet<String>,
}

impl<'a> Visitor<'a> for Mentions<'a> {
    fn visit_stmt(&mut self, stmt: &'a Stmt) {
        match stmt {
            Stmt::FunctionDef(def) => _ = self.bound.insert(def.name.to_string()),
            Stmt::ClassDef(def) => _ = self.bound.insert(def.name.to_string()),
            _ => {}
        }
        walk_stmt(self, stmt);
    }

    fn visit_expr(&mut self, expr: &'a Expr) {
        match expr {
            Expr::Name(name) if name.ctx == ExprContext::Load => {
                self.names.free.insert(name.id.to_string());
            }
            Expr::Name(name) => _ = self.bound.insert(name.id.to_string()),
            Expr::Attribute(attribute) => {
                if matches!(&*attribute.value, Expr::Name(name) if name.id.as_str() == self.first) {
                    self.names.own.insert(attribute.attr.to_string());
                    if attribute.ctx == ExprContext::Store {
                        self.names.set.insert(attribute.attr.to_string());
                    }
                }
            }
            _ => {}
        }
        walk_expr(self, expr);
    }

    fn visit_parameter(&mut self, parameter: &'a Parameter) {
        self.bound.insert(parameter.name.to_string());
        walk_parameter(self, parameter);
    }

    fn visit_alias(&mut self, alias: &'a Alias) {
        self.bound.insert(bound_by(alias));
        walk_alias(self, alias);
    }

    fn visit_except_handler(&mut self, handler: &'a ExceptHandler) {
        let ExceptHandler::ExceptHandler(caught) = handler;
        self.bound.extend(caught.name.iter().map(ToString::to_string));
        walk_except_handler(self, handler);
    }
}
