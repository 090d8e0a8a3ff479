//! Python as far as retrieval reads it: modules, classes, functions, names.

use std::collections::{BTreeMap, BTreeSet};

use ruff_python_ast::token::TokenKind;
use ruff_python_ast::visitor::{
    Visitor, walk_alias, walk_except_handler, walk_expr, walk_parameter, walk_stmt,
};
use ruff_python_ast::{
    self as ast, Alias, ExceptHandler, Expr, ExprContext, Parameter, PySourceType, Stmt,
    StmtFunctionDef,
};
use ruff_python_parser::parse_unchecked_source;
use ruff_text_size::{Ranged, TextRange};

/// A file's definitions. Reads what it can of text that is not whole.
#[derive(Default)]
pub(super) struct Module {
    pub(super) classes: Vec<Class>,
    pub(super) functions: Vec<Function>,
    /// All names of the module itself, definitions and imports included.
    pub(super) names: BTreeSet<String>,
}

/// A class as written.
#[derive(Clone, Default)]
pub(super) struct Class {
    /// Qualified within its module.
    pub(super) name: String,
    /// Last words of the bases: `Field` for `models.Field`.
    pub(super) bases: Vec<String>,
    pub(super) methods: Vec<Function>,
    /// Names assigned in its body, with the text of the value.
    pub(super) attributes: BTreeMap<String, String>,
    pub(super) text: String,
}

/// A function or method.
#[derive(Clone, Debug, Default)]
pub(super) struct Function {
    pub(super) name: String,
    pub(super) is_async: bool,
    /// As written, each with its `@`.
    pub(super) decorators: Vec<String>,
    pub(super) params: Vec<Param>,
    /// What follows the declaration and docstring, indented by four.
    pub(super) body: String,
    pub(super) names: Names,
}

/// One parameter.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Param {
    pub(super) name: String,
    pub(super) kind: ParamKind,
    pub(super) default: Option<String>,
}

/// How a parameter takes its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ParamKind {
    Positional,
    Star,
    Keyword,
    DoubleStar,
}

/// Names a function mentions, by what they are to it.
#[derive(Clone, Debug, Default)]
pub(super) struct Names {
    /// Looked up outside: neither bound here nor attributes.
    pub(super) free: BTreeSet<String>,
    /// Attributes of its first parameter.
    pub(super) own: BTreeSet<String>,
    /// Those of them it assigns.
    pub(super) set: BTreeSet<String>,
}

impl Function {
    /// The first function of `source`.
    pub(super) fn read(source: &str) -> Option<Function> {
        let parsed = parse_unchecked_source(source, PySourceType::Python);
        parsed.suite().iter().find_map(|stmt| match stmt {
            Stmt::FunctionDef(def) => Some(function(source, def)),
            _ => None,
        })
    }

    /// Its parameters after `self` or `cls`.
    pub(super) fn arguments(&self) -> &[Param] {
        match self.params.first() {
            Some(first) if matches!(first.name.as_str(), "self" | "cls" | "mcs" | "meta") => {
                &self.params[1..]
            }
            _ => &self.params,
        }
    }

    /// A call's arguments that pass its parameters on.
    pub(super) fn forward(&self) -> String {
        let pass = |param: &Param| match param.kind {
            ParamKind::Positional => param.name.clone(),
            ParamKind::Star => format!("*{}", param.name),
            ParamKind::Keyword => format!("{0}={0}", param.name),
            ParamKind::DoubleStar => format!("**{}", param.name),
        };
        self.arguments().iter().map(pass).collect::<Vec<_>>().join(", ")
    }

    /// True where it does no more than refuse.
    pub(super) fn abstains(&self) -> bool {
        self.body.contains("NotImplementedError")
    }
}

/// Reads a file.
pub(super) fn module(source: &str) -> Module {
    let parsed = parse_unchecked_source(source, PySourceType::Python);
    let mut module = Module::default();
    statements(source, parsed.suite(), &mut module);
    module
}

fn statements(source: &str, stmts: &[Stmt], module: &mut Module) {
    let mut bound = Binder { names: &mut module.names };
    for stmt in stmts {
        bound.visit_stmt(stmt);
    }
    for stmt in stmts {
        match stmt {
            Stmt::ClassDef(def) => class(source, def, "", &mut module.classes),
            Stmt::FunctionDef(def) => module.functions.push(function(source, def)),
            _ => {}
        }
    }
}

fn class(source: &str, def: &ast::StmtClassDef, outer: &str, classes: &mut Vec<Class>) {
    let name = format!("{outer}{}", def.name);
    let inner = format!("{name}.");
    let bases = def.arguments.iter().flat_map(|arguments| &arguments.args);
    let mut read = Class {
        name,
        bases: bases.map(|base| last_word(&source[base.range()]).to_string()).collect(),
        text: source[def.range()].to_string(),
        ..Class::default()
    };
    for stmt in &def.body {
        match stmt {
            Stmt::FunctionDef(def) => read.methods.push(function(source, def)),
            Stmt::ClassDef(def) => class(source, def, &inner, classes),
            Stmt::Assign(assign) => {
                for target in &assign.targets {
                    let value = source[assign.value.range()].to_string();
                    read.attributes.insert(source[target.range()].to_string(), value);
                }
            }
            Stmt::AnnAssign(assign) => {
                let value = assign.value.as_ref().map_or("", |value| &source[value.range()]);
                read.attributes.insert(source[assign.target.range()].to_string(), value.into());
            }
            _ => {}
        }
    }
    classes.push(read);
}

fn function(source: &str, def: &StmtFunctionDef) -> Function {
    let first = def.parameters.args.first().map_or("", |first| first.name().as_str());
    let mut names = Mentions { first, ..Mentions::default() };
    names.bound.extend(def.parameters.iter().map(|parameter| parameter.name().to_string()));
    names.visit_body(&def.body);
    let Mentions { mut names, bound, .. } = names;
    names.free.retain(|name| !bound.contains(name));
    Function {
        name: def.name.to_string(),
        is_async: def.is_async,
        decorators: def
            .decorator_list
            .iter()
            .map(|decorator| source[decorator.range()].to_string())
            .collect(),
        params: params(source, &def.parameters),
        body: body(source, def),
        names,
    }
}

fn params(source: &str, parameters: &ast::Parameters) -> Vec<Param> {
    let text = |expr: &Expr| source[expr.range()].to_string();
    let some = |kind, parameter: &ast::ParameterWithDefault| Param {
        name: parameter.name().to_string(),
        kind,
        default: parameter.default().map(text),
    };
    let rest = |kind, parameter: &Parameter| Param {
        name: parameter.name.to_string(),
        kind,
        default: None,
    };
    let mut params = Vec::new();
    let positional = parameters.posonlyargs.iter().chain(&parameters.args);
    params.extend(positional.map(|parameter| some(ParamKind::Positional, parameter)));
    params.extend(parameters.vararg.iter().map(|parameter| rest(ParamKind::Star, parameter)));
    params.extend(parameters.kwonlyargs.iter().map(|p| some(ParamKind::Keyword, p)));
    params.extend(parameters.kwarg.iter().map(|p| rest(ParamKind::DoubleStar, p)));
    params
}

/// The text after the docstring or, without one, after the declaration.
fn body(source: &str, def: &StmtFunctionDef) -> String {
    let docstring = def.body.first().filter(|stmt| is_string(stmt));
    let start = match docstring {
        Some(docstring) => usize::from(docstring.end()),
        None => {
            let from = usize::from(def.name.end());
            from + header_end(&source[from..usize::from(def.end())]).unwrap_or(0)
        }
    };
    let column = column(source, def.range());
    let end = usize::from(def.end()).max(start);
    let text = source[start..end].trim_end().trim_start_matches([' ', ';']);
    let text = match text.find('\n') {
        Some(newline) if text.starts_with('#') => &text[newline..],
        _ => text,
    };
    match text.strip_prefix('\n') {
        Some(lines) => dedent(lines, column),
        None if text.is_empty() => "    pass".to_string(),
        None => format!("    {text}"),
    }
}

fn is_string(stmt: &Stmt) -> bool {
    matches!(stmt, Stmt::Expr(expr) if expr.value.is_string_literal_expr())
}

/// Where the colon that ends a declaration stops, from somewhere before its
/// parameters.
fn header_end(text: &str) -> Option<usize> {
    let mut depth = 0i32;
    tokens(text).into_iter().find_map(|token| {
        match token.kind {
            TokenKind::Lpar | TokenKind::Lsqb | TokenKind::Lbrace => depth += 1,
            TokenKind::Rpar | TokenKind::Rsqb | TokenKind::Rbrace => depth -= 1,
            TokenKind::Colon if depth == 0 => return Some(usize::from(token.range.end())),
            _ => {}
        }
        None
    })
}

fn column(source: &str, range: TextRange) -> usize {
    let start = usize::from(range.start());
    start - source[..start].rfind('\n').map_or(0, |newline| newline + 1)
}

fn dedent(text: &str, column: usize) -> String {
    let lines = text.lines().map(|line| {
        let indent = line.len() - line.trim_start_matches(' ').len();
        &line[indent.min(column)..]
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn last_word(dotted: &str) -> &str {
    dotted.rsplit('.').next().unwrap_or(dotted)
}

/// A token and where it stands.
#[derive(Clone, Copy)]
pub(super) struct Token {
    pub(super) kind: TokenKind,
    pub(super) range: TextRange,
}

/// The tokens of `source`, comments included, line structure left out.
pub(super) fn tokens(source: &str) -> Vec<Token> {
    let parsed = parse_unchecked_source(source, PySourceType::Python);
    let layout = |kind: TokenKind| {
        kind.is_any_newline()
            || matches!(kind, TokenKind::Indent | TokenKind::Dedent | TokenKind::EndOfFile)
    };
    let tokens = parsed.tokens().iter();
    tokens
        .filter(|token| !layout(token.kind()))
        .map(|token| Token { kind: token.kind(), range: token.range() })
        .collect()
}

/// The names and strings of `source`, each once.
pub(super) fn words_of(source: &str) -> BTreeSet<String> {
    let tokens = tokens(source).into_iter();
    let words = tokens.filter(|token| matches!(token.kind, TokenKind::Name | TokenKind::String));
    words.map(|token| source[token.range].to_string()).collect()
}

/// True where `source` is one function and nothing else, in valid syntax.
pub(super) fn is_one_function(source: &str) -> bool {
    let parsed = parse_unchecked_source(source, PySourceType::Python);
    parsed.has_valid_syntax() && matches!(&parsed.suite()[..], [Stmt::FunctionDef(_)])
}

/// Collects the names a module binds at its own level.
struct Binder<'n> {
    names: &'n mut BTreeSet<String>,
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

/// Collects the names a function mentions.
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
