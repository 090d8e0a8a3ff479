//! Reads what retrieval needs of Python: modules, classes, functions, names.

use std::collections::{BTreeMap, BTreeSet};

use ruff_python_ast::token::{TokenKind, Tokens};
use ruff_python_ast::visitor::Visitor;
use ruff_python_ast::{self as ast, Expr, Parameter, PySourceType, Stmt, StmtFunctionDef};
use ruff_python_parser::parse_unchecked_source;
use ruff_text_size::{Ranged, TextRange, TextSize};

use super::names::{Binder, Names};

/// A file's classes, functions and names. Incomplete text is read as far as possible.
#[derive(Default)]
pub(super) struct Module {
    pub(super) classes: Vec<Class>,
    /// Its functions, except those under conditions.
    pub(super) functions: Vec<Function>,
    /// All names of the module itself, including definitions and imports.
    pub(super) names: BTreeSet<String>,
}

/// A class, as written.
#[derive(Clone, Default)]
pub(super) struct Class {
    /// Qualified within its module.
    pub(super) name: String,
    /// Last parts of the base classes' names: `Field` for `models.Field`.
    pub(super) bases: Vec<String>,
    pub(super) methods: Vec<Function>,
    /// Names assigned in its body, with the value's text.
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
    /// What follows the declaration and the docstring, indented by four spaces.
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

/// How a parameter receives its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ParamKind {
    Positional,
    Star,
    Keyword,
    DoubleStar,
}

impl Function {
    /// Reads the first function of `source`.
    pub(super) fn read(source: &str) -> Option<Function> {
        let parsed = parse_unchecked_source(source, PySourceType::Python);
        parsed.suite().iter().find_map(|stmt| match stmt {
            Stmt::FunctionDef(def) => Some(function(source, parsed.tokens(), def)),
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

    /// The arguments of a call that passes all its parameters on.
    pub(super) fn forward(&self) -> String {
        let pass = |param: &Param| match param.kind {
            ParamKind::Positional => param.name.clone(),
            ParamKind::Star => format!("*{}", param.name),
            ParamKind::Keyword => format!("{0}={0}", param.name),
            ParamKind::DoubleStar => format!("**{}", param.name),
        };
        self.arguments().iter().map(pass).collect::<Vec<_>>().join(", ")
    }

    /// Whether it only raises `NotImplementedError`, or is a stub for type checkers.
    pub(super) fn abstains(&self) -> bool {
        let is_stub =
            |decorator: &String| last_word(decorator.trim_start_matches('@')) == "overload";
        self.body.contains("NotImplementedError") || self.decorators.iter().any(is_stub)
    }
}

/// The text of the function `name` of a module.
pub(super) fn definition<'s>(source: &'s str, name: &str) -> Option<&'s str> {
    let parsed = parse_unchecked_source(source, PySourceType::Python);
    parsed.suite().iter().find_map(|stmt| match stmt {
        Stmt::FunctionDef(def) if def.name.as_str() == name => Some(&source[def.range()]),
        _ => None,
    })
}

/// Reads a file.
pub(super) fn module(source: &str) -> Module {
    let parsed = parse_unchecked_source(source, PySourceType::Python);
    let mut module = Module::default();
    statements(source, parsed.tokens(), parsed.suite(), &mut module);
    module
}

fn statements(source: &str, tokens: &Tokens, stmts: &[Stmt], module: &mut Module) {
    let mut bound = Binder { names: &mut module.names };
    for stmt in stmts {
        bound.visit_stmt(stmt);
    }
    for stmt in stmts {
        match stmt {
            Stmt::ClassDef(def) => class(source, tokens, def, "", &mut module.classes),
            Stmt::FunctionDef(def) => module.functions.push(function(source, tokens, def)),
            _ => {}
        }
    }
}

fn class(
    source: &str,
    tokens: &Tokens,
    def: &ast::StmtClassDef,
    outer: &str,
    classes: &mut Vec<Class>,
) {
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
            Stmt::FunctionDef(def) => read.methods.push(function(source, tokens, def)),
            Stmt::ClassDef(def) => class(source, tokens, def, &inner, classes),
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

fn function(source: &str, tokens: &Tokens, def: &StmtFunctionDef) -> Function {
    Function {
        name: def.name.to_string(),
        is_async: def.is_async,
        decorators: def
            .decorator_list
            .iter()
            .map(|decorator| source[decorator.range()].to_string())
            .collect(),
        params: params(source, &def.parameters),
        body: body(source, tokens, def),
        names: Names::of(def),
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

/// The text after the docstring, or after the declaration if there is no docstring.
fn body(source: &str, tokens: &Tokens, def: &StmtFunctionDef) -> String {
    let docstring = def.body.first().filter(|stmt| is_string(stmt));
    let start = match docstring {
        Some(docstring) => usize::from(docstring.end()),
        None => {
            let end = header_end(tokens, def);
            usize::from(end)
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

/// The end of the colon that ends the declaration.
fn header_end(tokens: &Tokens, def: &StmtFunctionDef) -> TextSize {
    let mut depth = 0i32;
    let after = tokens.partition_point(|token| token.start() < def.name.end());
    let colon = tokens[after..].iter().find(|token| {
        match token.kind() {
            TokenKind::Lpar | TokenKind::Lsqb | TokenKind::Lbrace => depth += 1,
            TokenKind::Rpar | TokenKind::Rsqb | TokenKind::Rbrace => depth -= 1,
            _ => {}
        }
        depth == 0 && token.kind() == TokenKind::Colon
    });
    colon.map_or(def.end(), Ranged::end).min(def.end())
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

/// A token and its position.
#[derive(Clone, Copy)]
pub(super) struct Token {
    pub(super) kind: TokenKind,
    pub(super) range: TextRange,
}

/// The tokens of `source`, including comments, without newlines and indentation.
pub(super) fn tokens(source: &str) -> Vec<Token> {
    let parsed = parse_unchecked_source(source, PySourceType::Python);
    let tokens = parsed.tokens().iter();
    tokens
        .filter(|token| !is_layout(token.kind()))
        .map(|token| Token { kind: token.kind(), range: token.range() })
        .collect()
}

fn is_layout(kind: TokenKind) -> bool {
    kind.is_any_newline()
        || matches!(kind, TokenKind::Indent | TokenKind::Dedent | TokenKind::EndOfFile)
}

/// The set of names and strings of `source`.
pub(super) fn words_of(source: &str) -> BTreeSet<String> {
    let tokens = tokens(source).into_iter();
    let words = tokens.filter(|token| matches!(token.kind, TokenKind::Name | TokenKind::String));
    words.map(|token| source[token.range].to_string()).collect()
}

/// A candidate, parsed once.
pub(super) struct Answer {
    pub(super) function: Function,
    /// Its body without comments, docstring and layout. Two candidates are the same if
    /// this is equal.
    pub(super) normal: String,
    /// The names and strings of its body.
    pub(super) words: BTreeSet<String>,
    /// Whether it is exactly one function with valid syntax.
    pub(super) is_whole: bool,
}

impl Answer {
    pub(super) fn read(code: &str) -> Option<Answer> {
        let parsed = parse_unchecked_source(code, PySourceType::Python);
        let [Stmt::FunctionDef(def), rest @ ..] = &parsed.suite()[..] else { return None };
        let docstring = def.body.first().filter(|stmt| is_string(stmt));
        let start = docstring.map_or_else(|| header_end(parsed.tokens(), def), Ranged::end);
        let after = parsed.tokens().partition_point(|token| token.start() < start);
        let mut answer = Answer {
            function: function(code, parsed.tokens(), def),
            normal: String::new(),
            words: BTreeSet::new(),
            is_whole: parsed.has_valid_syntax() && rest.is_empty(),
        };
        for token in parsed.tokens()[after..].iter() {
            let text = &code[token.range()];
            if !is_layout(token.kind()) && !token.kind().is_comment() {
                answer.normal.push_str(text);
                answer.normal.push(' ');
            }
            if matches!(token.kind(), TokenKind::Name | TokenKind::String) {
                answer.words.insert(text.to_string());
            }
        }
        Some(answer)
    }
}
