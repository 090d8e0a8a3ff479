//! What a block of Python defines, and where its strings are.

use ruff_python_ast::{ModModule, Stmt, StmtFunctionDef};
use ruff_python_parser::{Parsed, parse_module};

/// How deep brackets may be nested, as in CPython.
const MAX_BRACKETS: usize = 200;
/// How deep blocks may be indented, in characters.
const MAX_INDENT: usize = 400;
/// How many operators and names one expression may have between commas.
const MAX_TERMS: usize = 800;

/// The state between lines: which triple-quoted string is open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Strings {
    open: Option<u8>,
}

/// What a line has outside strings: code, then a comment.
#[derive(Debug, Default)]
pub(super) struct Code {
    /// The last run of the same character, outside strings.
    run: Option<(usize, u8)>,
    comment: Option<usize>,
}

impl Code {
    /// Whether the run of a character that starts here is code.
    pub(super) fn contains(&self, at: usize) -> bool {
        self.run.is_some_and(|(start, _)| start <= at)
    }

    /// Whether what starts here is part of a comment.
    pub(super) fn is_comment(&self, at: usize) -> bool {
        self.comment.is_some_and(|start| start <= at)
    }
}

impl Strings {
    pub(super) fn is_open(self) -> bool {
        self.open.is_some()
    }

    /// Reads a line.
    pub(super) fn read(&mut self, line: &str) -> Code {
        let mut run: Option<(usize, u8)> = None;
        let mut last = 0;
        let comment = self.each(line, |at, byte| {
            if byte.is_ascii_whitespace() {
                return;
            }
            if run.is_none_or(|(_, same)| same != byte || at != last + 1) {
                run = Some((at, byte));
            }
            last = at;
        });
        // A run that a string or a comment follows is not at the end of the line.
        let ends = comment.is_none() && last + 1 == line.trim_end().len();
        Code { run: run.filter(|_| ends), comment }
    }

    /// Reads a line and passes on every byte that is neither in a string nor in a comment.
    /// Returns where the comment starts.
    pub(super) fn each(&mut self, line: &str, mut code: impl FnMut(usize, u8)) -> Option<usize> {
        let bytes = line.as_bytes();
        let mut at = 0;
        while at < bytes.len() {
            let byte = bytes[at];
            let is_triple = bytes[at..].starts_with(&[byte; 3]);
            match (self.open, byte) {
                // Outside strings too, so that each place reads the same in both.
                (_, b'\\') => at += 2,
                (Some(quote), _) => {
                    let ends = byte == quote && is_triple;
                    self.open = Some(quote).filter(|_| !ends);
                    at += if ends { 3 } else { 1 };
                }
                (None, b'#') => return Some(at),
                (None, b'"' | b'\'') if is_triple => {
                    self.open = Some(byte);
                    at += 3;
                }
                (None, b'"' | b'\'') => at = after_string(bytes, at),
                (None, _) => {
                    code(at, byte);
                    at += 1;
                }
            }
        }
        None
    }
}

/// The end of a string that ends in its line.
fn after_string(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while at < bytes.len() && bytes[at] != bytes[start] {
        at += if bytes[at] == b'\\' { 2 } else { 1 };
    }
    at + 1
}

/// Whether code is nested deeper than Python itself accepts, or so deep that its syntax
/// tree could exhaust the stack. Degenerate answers are: `((((((…`, `not not not …`.
pub fn too_deep(code: &str) -> bool {
    let mut strings = Strings::default();
    let mut terms = vec![0_usize];
    let (mut total, mut most, mut brackets) = (0_usize, 0_usize, 0_usize);
    let mut continued = false;
    for line in code.split('\n') {
        if terms.len() == 1 && !continued && !strings.is_open() {
            (terms[0], total) = (0, 0);
            let indent = line.len() - line.trim_start().len();
            if indent > MAX_INDENT && indent < line.len() {
                return true;
            }
        }
        let mut word = false;
        strings.each(line, |_, byte| {
            let top = terms.len() - 1;
            let is_word = byte.is_ascii_alphanumeric() || byte == b'_' || byte >= 0x80;
            match byte {
                b',' | b';' => {
                    total -= terms[top];
                    terms[top] = 0;
                }
                b')' | b']' | b'}' if top > 0 => total -= terms.pop().unwrap_or_default(),
                b' ' | b'\t' | b')' | b']' | b'}' => {}
                _ if is_word && word => {}
                _ => {
                    terms[top] += 1;
                    total += 1;
                }
            }
            if matches!(byte, b'(' | b'[' | b'{') && terms.len() <= MAX_BRACKETS {
                terms.push(0);
            }
            word = is_word;
            (most, brackets) = (most.max(total), brackets.max(terms.len()));
        });
        if most > MAX_TERMS || brackets > MAX_BRACKETS {
            return true;
        }
        continued = line.ends_with('\\');
    }
    false
}

/// How much of a method is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Shape {
    /// It has `...` in place of a part, or no body.
    Elided,
    Whole,
}

fn parse(code: &str) -> Option<Parsed<ModModule>> {
    (!too_deep(code)).then(|| parse_module(code).ok()).flatten()
}

/// Whether this is Python with at least one definition.
pub(super) fn parses(code: &str) -> bool {
    shape(code, &[]).is_some()
}

/// What `code` has of the functions `names`, or of any if there are no names; `None` if it is
/// not Python or does not define all. The code may be indented as in a class.
pub(super) fn shape(code: &str, names: &[&str]) -> Option<Shape> {
    if !code.contains("def") || !names.iter().all(|name| code.contains(name)) {
        return None;
    }
    let parsed = parse(code).or_else(|| parse(&levelled(code)?))?;
    let best = |name: Option<&str>| {
        let mut best = None;
        look(&parsed.syntax().body, name, &mut best);
        best
    };
    match names {
        [] => best(None),
        // The worst of them; nothing is less than any shape.
        names => names.iter().map(|name| best(Some(name))).min().flatten(),
    }
}

/// Code inside a block: the first line may have lost its indentation.
fn levelled(code: &str) -> Option<String> {
    let code = code.trim_start_matches('\n');
    let first = code.lines().find(|line| !line.trim().is_empty())?;
    let is_indented = |line: &str| line.starts_with([' ', '\t']);
    if is_indented(first) {
        return Some(format!("if True:\n{code}"));
    }
    let deeper = code.lines().skip(1).find(|line| {
        let start = line.trim_start();
        ["def ", "async def ", "@"].iter().any(|word| start.starts_with(word))
    })?;
    let indent = &deeper[..deeper.len() - deeper.trim_start().len()];
    (!indent.is_empty()).then(|| format!("if True:\n{indent}{code}"))
}

fn look(statements: &[Stmt], name: Option<&str>, best: &mut Option<Shape>) {
    for statement in statements {
        match statement {
            Stmt::FunctionDef(def) if name.is_none_or(|name| def.name.as_str() == name) => {
                *best = (*best).max(Some(shape_of(def)));
            }
            Stmt::ClassDef(class) => look(&class.body, name, best),
            Stmt::If(branch) => look(&branch.body, name, best),
            _ => {}
        }
    }
}

fn shape_of(def: &StmtFunctionDef) -> Shape {
    let is_dots = |statement: &Stmt| {
        statement.as_expr_stmt().is_some_and(|s| s.value.is_ellipsis_literal_expr())
    };
    let is_nothing = |statement: &Stmt| match statement {
        Stmt::Pass(_) => true,
        Stmt::Expr(s) => s.value.is_string_literal_expr(),
        _ => false,
    };
    match def.body.iter().any(is_dots) || def.body.iter().all(is_nothing) {
        true => Shape::Elided,
        false => Shape::Whole,
    }
}
