//! Reduces a model's answer to exactly one method.

use ruff_python_ast::{Stmt, StmtClassDef, StmtFunctionDef};
use ruff_text_size::Ranged;

use super::lines::{self, Lines};
use super::parsed::{Parsed, SyntaxError, bytes};

/// A method as a model wrote it, ready to be spliced in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// One function, dedented, without decorators.
    pub source: String,
    /// What was removed from the answer, in words for the model.
    pub notes: Vec<String>,
}

/// Why an answer is not exactly one method, in words that a model can act on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// There is no code.
    #[error("The answer is empty. Send the whole method, starting with `def {wanted}(`.")]
    Empty {
        /// The requested method.
        wanted: String,
    },
    /// The code is not Python.
    #[error(
        "Syntax error in line {}, column {}: {}.\n    {}",
        .0.line, .0.column, .0.message.trim_end_matches('.'), .0.text
    )]
    Syntax(SyntaxError),
    /// There is code, but no function.
    #[error(
        "No method was found. Send the whole method, starting with `def {wanted}(`, not only its body."
    )]
    NoMethod {
        /// The requested method.
        wanted: String,
    },
    /// The function has another name.
    #[error("The method has to be named `{wanted}`, not `{found}`.")]
    WrongName {
        /// The requested method.
        wanted: String,
        /// The function found.
        found: String,
    },
    /// Something is imported outside the method.
    #[error("Line {line}, `{text}`, is outside the method. Put the import inside `{wanted}`.")]
    Import {
        /// The requested method.
        wanted: String,
        /// The line of the import.
        line: usize,
        /// The import.
        text: String,
    },
    /// There are other functions beside the method.
    #[error("Send only `{wanted}`: {} cannot be added. Define helpers inside `{wanted}`.", named(.others))]
    Others {
        /// The requested method.
        wanted: String,
        /// The other functions and classes.
        others: Vec<String>,
    },
    /// The method occurs more than once.
    #[error("`{wanted}` is defined {count} times. Send it once.")]
    Repeated {
        /// The requested method.
        wanted: String,
        /// How often.
        count: usize,
    },
    /// There are statements beside the method.
    #[error(
        "Line {line}, `{text}`, is outside the method. Send only `{wanted}`, without examples or tests."
    )]
    Outside {
        /// The requested method.
        wanted: String,
        /// The line of the first such statement.
        line: usize,
        /// The start of that statement.
        text: String,
    },
}

fn named(names: &[String]) -> String {
    let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}

/// Extracts the one method named `wanted` from a model's answer. Code fences, indentation,
/// decorators and a class around the method are removed; anything else beside the method is
/// refused.
///
/// # Errors
/// [`Invalid`] if the answer is not exactly that method.
pub fn candidate(answer: &str, wanted: &str) -> Result<Candidate, Invalid> {
    let answer = lines::unix(answer);
    let code = levelled(trimmed(&answer)).or_else(|error| match fenced(&answer, wanted) {
        Some(code) => levelled(trimmed(code)),
        None => Err(error),
    });
    let code = code.map_err(|error| match answer.contains("def ") {
        true => Invalid::Syntax(error),
        // Prose, or only a body.
        false => Invalid::NoMethod { wanted: wanted.into() },
    })?;
    if code.is_empty() {
        return Err(Invalid::Empty { wanted: wanted.into() });
    }
    let parsed = Parsed::of(&code).map_err(Invalid::Syntax)?;
    let answer = Answer { parsed: &parsed, wanted };
    let (def, mut notes) = match parsed.statements() {
        [Stmt::ClassDef(class)] => {
            let note = format!("The class `{}` around the method was left out.", class.name);
            (answer.only(&members(class))?, vec![note])
        }
        statements => (answer.only(&statements.iter().collect::<Vec<_>>())?, Vec::new()),
    };
    if !def.decorator_list.is_empty() {
        notes.push("Decorators were left out: those in the file stay as they are.".into());
    }
    Ok(Candidate { source: answer.source(def), notes })
}

/// The statements of a class, without its docstring and placeholders.
fn members(class: &StmtClassDef) -> Vec<&Stmt> {
    let says_nothing = |statement: &&Stmt| match statement {
        Stmt::Pass(_) => true,
        Stmt::Expr(s) => s.value.is_string_literal_expr() || s.value.is_ellipsis_literal_expr(),
        _ => false,
    };
    class.body.iter().filter(|statement| !says_nothing(statement)).collect()
}

struct Answer<'p> {
    parsed: &'p Parsed<'p>,
    wanted: &'p str,
}

impl<'p> Answer<'p> {
    /// The only function in `statements`.
    fn only(&self, statements: &[&'p Stmt]) -> Result<&'p StmtFunctionDef, Invalid> {
        let wanted = self.wanted.to_string();
        let mut defs = Vec::new();
        let mut others = Vec::new();
        for &statement in statements {
            match statement {
                Stmt::FunctionDef(def) if def.name.as_str() == self.wanted => defs.push(def),
                Stmt::FunctionDef(def) => others.push(def.name.to_string()),
                Stmt::ClassDef(class) => others.push(class.name.to_string()),
                _ => {}
            }
        }
        let is_import = |s: &&&Stmt| matches!(s, Stmt::Import(_) | Stmt::ImportFrom(_));
        let is_named = |s: &&&Stmt| matches!(s, Stmt::FunctionDef(_) | Stmt::ClassDef(_));
        let import = statements.iter().find(is_import);
        let outside = statements.iter().find(|s| !is_import(s) && !is_named(s));
        match (defs.as_slice(), others.as_slice()) {
            ([], []) => Err(Invalid::NoMethod { wanted }),
            ([], [found]) => Err(Invalid::WrongName { wanted, found: found.clone() }),
            (_, [_, ..]) => Err(Invalid::Others { wanted, others }),
            ([def], []) => match (import, outside) {
                (Some(import), _) => {
                    let (line, text) = self.place(import);
                    Err(Invalid::Import { wanted, line, text })
                }
                (None, Some(statement)) => {
                    let (line, text) = self.place(statement);
                    Err(Invalid::Outside { wanted, line, text })
                }
                (None, None) => Ok(def),
            },
            (defs, []) => Err(Invalid::Repeated { wanted, count: defs.len() }),
        }
    }

    /// The line of a statement, and that line's text.
    fn place(&self, statement: &Stmt) -> (usize, String) {
        let lines = Lines::of(self.parsed.text);
        let line = lines.number(bytes(statement.range()).start);
        (line, lines.line(line).trim().to_string())
    }

    /// A function's lines, from `def`, dedented.
    fn source(&self, def: &StmtFunctionDef) -> String {
        let text = self.parsed.text;
        let lines = Lines::of(text);
        let span = self.parsed.parts(def).span;
        let indent = &text[lines.start(span.start)..span.start];
        let end = lines.span(lines.number(span.end)).end;
        let own = &text[span.start..end];
        let strings: Vec<_> = (self.parsed.strings().into_iter())
            .filter(|string| span.start <= string.start)
            .map(|string| string.start - span.start..string.end - span.start)
            .collect();
        let source = lines::dedented(own, indent, &strings);
        shallower(source.trim_end())
    }
}

/// Moves a function's body to one level of indentation, if it is indented as in a class.
fn shallower(source: &str) -> String {
    let Ok(parsed) = Parsed::of(source) else { return source.to_string() };
    let Some(function) = parsed.function() else { return source.to_string() };
    let first = function.docstring.as_ref().unwrap_or(&function.body).start;
    let own = lines::indent_of(&source[Lines::of(source).start(first)..first]);
    let level = if own.starts_with('\t') { 1 } else { 4 };
    match own.get(level..) {
        Some(excess) if own.len() >= 2 * level => {
            lines::dedented(source, excess, &parsed.strings())
        }
        _ => source.to_string(),
    }
}

/// Dedents code: removes the indentation that all lines, or all but the first, have in
/// common.
fn levelled(code: &str) -> Result<String, SyntaxError> {
    let error = match Parsed::of(code) {
        Ok(_) => return Ok(code.to_string()),
        Err(error) => error,
    };
    let indent = lines::indent_of(code);
    if !indent.is_empty() {
        let even = in_block(code, indent);
        return Ok(even.unwrap_or_else(|| lines::dedented(code, indent, &[])));
    }
    let deeper = code.lines().skip(1).find(|line| {
        let start = line.trim_start();
        ["def ", "async def ", "@"].iter().any(|word| start.starts_with(word))
    });
    let indent = deeper.map(lines::indent_of).unwrap_or_default();
    in_block(&format!("{indent}{code}"), indent).ok_or(error)
}

/// Dedents `code` if it is valid Python inside a block.
fn in_block(code: &str, indent: &str) -> Option<String> {
    const BLOCK: &str = "if True:\n";
    let block = format!("{BLOCK}{code}");
    let strings = Parsed::of(&block).ok()?.strings();
    lines::dedented(&block, indent, &strings).strip_prefix(BLOCK).map(String::from)
}

/// Removes blank lines around `text`.
fn trimmed(text: &str) -> &str {
    let text = text.trim_end();
    let start = text.len() - text.trim_start().len();
    &text[text[..start].rfind('\n').map_or(0, |at| at + 1)..]
}

/// The last fenced block that defines `wanted`, otherwise the last one. A fence that is not
/// closed reaches to the end. A fence that is indented deeper than its opening, as in a
/// docstring, does not close it.
fn fenced<'a>(answer: &'a str, wanted: &str) -> Option<&'a str> {
    let mut blocks = Vec::new();
    let mut open: Option<(usize, usize)> = None;
    let mut at = 0;
    for line in answer.split_inclusive('\n') {
        let depth = lines::indent_of(line).len();
        let next = at + line.len();
        if line[depth..].starts_with("```") {
            match open {
                None => open = Some((next, depth)),
                Some((start, outer)) if depth <= outer => {
                    blocks.push(&answer[start..at]);
                    open = None;
                }
                Some(_) => {}
            }
        }
        at = next;
    }
    blocks.extend(open.map(|(start, _)| &answer[start..]));
    let defines = |block: &&&str| block.contains(&format!("def {wanted}"));
    blocks.iter().rev().find(defines).or(blocks.last()).copied()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const F: &str = "def f(self):\n    return '''\nx'''";

    #[test]
    fn wrappings_are_taken_off() {
        #[track_caller]
        fn check(answer: &str, notes: usize) {
            let found = candidate(answer, "f").unwrap();
            assert_eq!((found.source.as_str(), found.notes.len()), (F, notes), "{answer}");
        }
        let indented = "    def f(self):\n        return '''\nx'''";
        check(F, 0);
        check(&format!("\n\n{F}\n\n"), 0);
        check(&F.replace('\n', "\r\n"), 0);
        check(&format!("```python\n{F}\n```"), 0);
        check(&format!("Here:\n\n```\n{F}\n```\nIt returns `x`."), 0);
        check(&format!("```py\n{F}\n```\nUse it:\n```\na.f()\n```"), 0);
        check(&format!("Cut off: \n```py\n{F}"), 0);
        check(indented, 0);
        check(indented.trim_start(), 0);
        check(&format!("```\n{indented}\n```"), 0);
        check(&format!("@property\n{F}"), 1);
        check(&format!("    @property\n{indented}"), 1);
        check(&format!("@property\n{indented}"), 1);
        check(&format!("class A(B):\n    'About.'\n{indented}"), 1);
        check(&format!("class A(B):\n    @d\n{indented}"), 2);
    }

    #[test]
    fn what_is_in_the_method_stays() {
        #[track_caller]
        fn check(source: &str) {
            assert_eq!(candidate(source, "f").unwrap().source, source);
        }
        check("async def f(self, a=1) -> int:  # why\n    return 1  # so");
        check(
            "def f(self):\n    import re\n\n    def helper():\n        return re\n    return helper()",
        );
        check("def f(self):\n    '''\n    ```\n    code\n    ```\n    '''");
        check("def f(self):\n\treturn 1");
        check("def f(self): return lambda: 1");
    }

    #[test]
    fn a_refusal_says_what_to_do() {
        let refused = |answer: &str| candidate(answer, "f").unwrap_err().to_string();
        let answers = [
            "  \n",
            "```python\n```",
            "return 1",
            "def f(self):\nreturn 1",
            "```\ndef f(self):\n    x = (1,\n    return x\n```",
            "def f(self):\n    x = 1\n  return x",
            "Certainly! The method is simple.",
            "def g(self):\n    pass",
            "class A:\n    def g(self): pass\n",
            "import re\n\ndef f(self):\n    pass",
            "def helper(): pass\n\ndef f(self): pass\n\nclass B: pass",
            "def f(self): pass\n\ndef f(self): pass",
            "def f(self):\n    pass\n\nprint(A().f())",
            "class A:\n    x = 1\n    def f(self): pass",
        ];
        let found: Vec<_> = answers.into_iter().map(refused).collect();
        insta::assert_snapshot!(found.join("\n---\n"));
    }

    proptest! {
        #[test]
        fn any_answer_is_one_method_or_refused(
            parts in proptest::collection::vec(
                proptest::sample::select(vec![
                    "```\n", "def f(self):\n", "    ", "\t", "return 1\n", "\n", "\"\"\"", "@d\n",
                    "class A:\n", "é", "(", "import re\n", "\r", "\x0c", "\\", "f'{", ";", "#",
                ]),
                0..12,
            ),
        ) {
            if let Ok(found) = candidate(&parts.concat(), "f") {
                let again = candidate(&found.source, "f").unwrap();
                prop_assert!(again.notes.is_empty());
                prop_assert_eq!(again.source, found.source);
            }
        }
    }
}
