//! Reduces a model's answer to exactly one method or function.

use fixfly_runtime::answer::{Asked, NoMethod, method, too_deep};
use ruff_python_ast::{Stmt, StmtFunctionDef};
use ruff_text_size::{Ranged, TextRange};

use super::beside::{self, Beside, Place};
use super::lines::{self, Lines};
use super::method::{Accessor, MethodDef};
use super::parsed::{Parsed, SyntaxError, bytes};

/// Quotation marks of prose, which Python does not accept.
const TYPOGRAPHIC: [char; 10] = ['“', '”', '„', '‟', '«', '»', '‘', '’', '‚', '′'];

/// The note on decorators in an answer.
pub(super) const NO_DECORATORS: &str =
    "Decorators were left out: those in the file stay as they are.";

/// What an answer is asked for.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'w> {
    name: &'w str,
    /// Whether it is a function of the module.
    is_function: bool,
    accessor: Option<Accessor>,
}

impl<'w> From<&'w str> for Wanted<'w> {
    fn from(name: &'w str) -> Self {
        Wanted { name, is_function: false, accessor: None }
    }
}

impl<'w> From<&'w MethodDef> for Wanted<'w> {
    fn from(method: &'w MethodDef) -> Self {
        let accessor = method.accessor;
        Wanted { name: &method.name, is_function: method.is_function(), accessor }
    }
}

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
    /// The code has quotation marks of prose.
    #[error(
        "Line {line} has the typographic quotation mark `{mark}`, which is not Python: `{text}`. Use `\"` or `'`."
    )]
    Quotes {
        /// The line.
        line: usize,
        /// The quotation mark.
        mark: char,
        /// The line's text.
        text: String,
    },
    /// The code is nested deeper than Python accepts.
    #[error("The code of `{wanted}` is nested too deeply to be parsed. Send a simpler method.")]
    TooDeep {
        /// The requested method.
        wanted: String,
    },
    /// The answer has no code that could be meant.
    #[error(transparent)]
    NotCode(NoMethod),
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

pub(super) fn named(names: &[String]) -> String {
    let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
    names.join(", ")
}

/// Extracts the one method named `wanted` from a model's answer. Code fences, indentation,
/// decorators and a class around the method are removed. What else is beside the method is
/// left out if the method does not use it, and refused otherwise.
///
/// # Errors
/// [`Invalid`] if the answer does not contain exactly one such method.
pub fn candidate(answer: &str, wanted: &str) -> Result<Candidate, Invalid> {
    candidate_for(answer, wanted, "")
}

/// As [`candidate`], for a method of `file`: what the file has itself is left out, too. Of a
/// property, the wanted part is taken; of a function and a method of its name, the function.
///
/// # Errors
/// [`Invalid`] if the answer does not contain exactly one such method.
pub fn candidate_for<'w>(
    answer: &str,
    wanted: impl Into<Wanted<'w>>,
    file: &str,
) -> Result<Candidate, Invalid> {
    let (answer, wanted) = (lines::unix(answer), wanted.into());
    let code = code(&answer, wanted.name)?;
    let parsed = Parsed::of(&code).map_err(|error| syntax(&code, error))?;
    let answer = Answer::new(&parsed, wanted, file);
    let found = answer.found()?.ok_or_else(|| answer.no_method())?;
    let left_out = answer.beside(&found, &[])?;
    let Found { def, mut notes, .. } = found;
    if !left_out.is_empty() {
        let name = wanted.name;
        notes.push(format!("Only `{name}` is replaced; left out: {}.", left_out.join(", ")));
    }
    if !def.decorator_list.is_empty() {
        notes.push(NO_DECORATORS.into());
    }
    Ok(Candidate { source: answer.source(def), notes })
}

/// The code in an answer, dedented.
fn code(answer: &str, wanted: &str) -> Result<String, Invalid> {
    let code = method(answer, &Asked::named(wanted)).map_err(|why| match why {
        NoMethod::Empty(wanted) => Invalid::Empty { wanted },
        NoMethod::NoCode(wanted) => Invalid::NoMethod { wanted },
        why => Invalid::NotCode(why),
    })?;
    module(&code.text, wanted)
}

/// The code of an answer as a module: dedented.
pub(super) fn module(code: &str, wanted: &str) -> Result<String, Invalid> {
    if too_deep(code) {
        return Err(Invalid::TooDeep { wanted: wanted.into() });
    }
    let code = levelled(trimmed(code)).map_err(|error| match code.contains("def ") {
        true => syntax(code, error),
        // Prose, or only a body.
        false => Invalid::NoMethod { wanted: wanted.into() },
    })?;
    match code.is_empty() {
        true => Err(Invalid::Empty { wanted: wanted.into() }),
        false => Ok(code),
    }
}

/// A syntax error, or the quotation mark that causes it.
pub(super) fn syntax(code: &str, error: SyntaxError) -> Invalid {
    let line = code.lines().nth(error.line - 1).unwrap_or_default();
    let at_error = line.chars().nth(error.column - 1);
    let in_message = error.message.chars().find(|c| TYPOGRAPHIC.contains(c));
    match at_error.filter(|c| TYPOGRAPHIC.contains(c)).or(in_message) {
        Some(mark) => Invalid::Quotes { line: error.line, mark, text: error.text },
        None => Invalid::Syntax(error),
    }
}

/// An answer that is read for one method.
pub(super) struct Answer<'p> {
    parsed: &'p Parsed<'p>,
    wanted: &'p str,
    is_function: bool,
    accessor: Option<Accessor>,
    file: &'p str,
}

/// A method in an answer.
pub(super) struct Found<'p> {
    place: Place<'p>,
    pub(super) def: &'p StmtFunctionDef,
    /// What was removed to get it.
    pub(super) notes: Vec<String>,
}

impl Found<'_> {
    /// The ranges of the definition, and of the classes around it.
    pub(super) fn ranges(&self) -> impl Iterator<Item = TextRange> {
        let classes = self.place.classes.iter().map(|class| class.range());
        classes.chain([self.def.range()])
    }
}

impl<'p> Answer<'p> {
    pub(super) fn new(parsed: &'p Parsed<'p>, wanted: Wanted<'p>, file: &'p str) -> Self {
        let Wanted { name, is_function, accessor } = wanted;
        Answer { parsed, wanted: name, is_function, accessor, file }
    }

    /// The method; `None` if there is none of its name.
    pub(super) fn found(&self) -> Result<Option<Found<'p>>, Invalid> {
        let wanted = || self.wanted.to_string();
        let module: Vec<&Stmt> = self.parsed.statements().iter().collect();
        let mut places = Vec::new();
        beside::places(&module, &[], self.wanted, &mut places);
        if self.is_function && places.iter().any(|place| place.classes.is_empty()) {
            places.retain(|place| place.classes.is_empty());
        }
        let place = match places.len() {
            0 | 1 => places.pop(),
            count => return Err(Invalid::Repeated { wanted: wanted(), count }),
        };
        let Some(place) = place else { return Ok(None) };
        let (defs, others) = beside::definitions(self.parsed, &place, self.wanted, self.accessor);
        let accessor = |def: &&StmtFunctionDef| beside::is_accessor(self.parsed, def, self.wanted);
        let def = match defs.as_slice() {
            [.., last] if defs.len() == 1 || !defs.iter().any(accessor) => *last,
            defs => return Err(Invalid::Repeated { wanted: wanted(), count: defs.len() }),
        };
        let mut notes = Vec::new();
        if let count @ 2.. = defs.len() {
            notes.push(format!(
                "`{}` is defined {count} times; the last definition was taken.",
                self.wanted
            ));
        }
        if others > 0 {
            notes.push(format!("The other parts of the property `{}` were left out.", self.wanted));
        }
        if let Some(class) = place.classes.last() {
            notes.push(format!("The class `{}` around the method was left out.", class.name));
        }
        Ok(Some(Found { place, def, notes }))
    }

    /// What is left out beside a method, apart from `others`, which are taken as well. Refused
    /// if the method needs it.
    pub(super) fn beside(
        &self,
        found: &Found<'p>,
        others: &[TextRange],
    ) -> Result<Vec<String>, Invalid> {
        let module: Vec<&Stmt> = self.parsed.statements().iter().collect();
        let beside = Beside::of(&module, &found.place, found.def, (self.file, others));
        match beside.needed() {
            Some(statement) => Err(self.refused(statement, &beside)),
            None => Ok(beside.left_out().map(|statement| self.named(statement)).collect()),
        }
    }

    /// Why there is no method of that name.
    fn no_method(&self) -> Invalid {
        let wanted = self.wanted.to_string();
        let mut found = Vec::new();
        beside::names(self.parsed.statements(), &mut found);
        match found.as_slice() {
            [] => Invalid::NoMethod { wanted },
            [found] => Invalid::WrongName { wanted, found: found.clone() },
            _ => Invalid::Others { wanted, others: found },
        }
    }

    fn refused(&self, statement: &Stmt, beside: &Beside<'_>) -> Invalid {
        let wanted = self.wanted.to_string();
        let (line, text) = self.place(statement);
        match statement {
            Stmt::Import(_) | Stmt::ImportFrom(_) => Invalid::Import { wanted, line, text },
            Stmt::FunctionDef(_) | Stmt::ClassDef(_) => {
                Invalid::Others { wanted, others: beside.definitions() }
            }
            _ => Invalid::Outside { wanted, line, text },
        }
    }

    /// A statement in a note: its name, or its first line.
    fn named(&self, statement: &Stmt) -> String {
        const MOST: usize = 60;
        match statement {
            Stmt::FunctionDef(def) => format!("`{}`", def.name),
            Stmt::ClassDef(class) => format!("`{}`", class.name),
            _ => format!("`{}`", self.place(statement).1.chars().take(MOST).collect::<String>()),
        }
    }

    /// The line of a statement, and that line's text.
    fn place(&self, statement: &Stmt) -> (usize, String) {
        let lines = Lines::of(self.parsed.text);
        let line = lines.number(bytes(statement.range()).start);
        (line, lines.line(line).trim().to_string())
    }

    /// A function's lines, from `def`, dedented.
    pub(super) fn source(&self, def: &StmtFunctionDef) -> String {
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

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use proptest::prelude::*;

    use super::super::method::methods;
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
    fn what_the_method_does_not_use_is_left_out() {
        #[track_caller]
        fn check(answer: &str, left_out: &str) {
            let found = candidate_for(answer, "f", "import os\nfrom a import b\nLIMIT = 3\n");
            let found = found.unwrap();
            assert!(found.source.starts_with("def f(self):\n    return"), "{}", found.source);
            let note = format!("Only `f` is replaced; left out: {left_out}.");
            assert_eq!(found.notes.last().map(String::as_str), Some(note.as_str()));
        }
        let f = "def f(self):\n    return b(os, LIMIT)\n";
        check(&format!("import os\n{f}"), "`import os`");
        check(&format!("import re\nfrom a import b\n{f}"), "`import re`, `from a import b`");
        check(
            &format!("from __future__ import annotations\n{f}"),
            "`from __future__ import annotations`",
        );
        check(&format!("{f}\n\ndef helper(): pass\n\nclass B: pass\n"), "`helper`, `B`");
        check(&format!("{f}\na = A()\nprint(a.f())\n"), "`a = A()`, `print(a.f())`");
        check(
            &format!("{f}\nif __name__ == '__main__':\n    print(1)\n"),
            "`if __name__ == '__main__':`",
        );
        check(&format!("LIMIT = 3\n\n{f}"), "`LIMIT = 3`");
        let local = "def f(self):\n    return [a for a in self]\n";
        check(&format!("{local}\na = A()\n"), "`a = A()`");
        let inside = f.replace("def", "    def").replace("    return", "        return");
        let class = format!("class A(B):\n    x = 1\n\n    def g(self): pass\n\n{inside}");
        check(&class, "`x = 1`, `g`");
        check(
            &format!("import os\n\n\n{class}\n\nclass C:\n    pass\n"),
            "`import os`, `C`, `x = 1`, `g`",
        );
        check(
            "class O:\n    y = 1\n    class A:\n        def f(self):\n            return self\n",
            "`y = 1`",
        );
    }

    #[test]
    fn an_attribute_that_the_file_lacks_is_not_left_out_if_the_method_uses_it() {
        let check = |members: &str, value: &str, file: &str, expected: bool| {
            let answer = format!("class A(B):\n    {members}\n    def f(self): return {value}\n");
            let found = candidate_for(&answer, "f", file);
            assert_eq!(found.is_ok(), expected, "{answer}: {found:?}");
        };
        let file = "class A(B):\n    X = 1\n    def g(self):\n        self.y = 2\n";
        check("X = 1", "self.X", file, true);
        check("y: int = 3", "self.y", file, true);
        check("Z = 1", "1", file, true);
        check("Z = 1", "self.Z", file, false);
        check("Z: int = 1", "A.Z", file, false);
        check("Z = 1", "other.Z", file, false);
        check("Z: int", "self.Z", file, true);
        check("def h(self): return 1", "self.h()", file, false);
        check("def h(self): ...", "self.h()", file, true);
        check("def g(self): return 1", "self.g()", file, true);
        // Without the file nobody knows.
        check("Z = 1", "self.Z", "", true);
    }

    #[test]
    fn of_several_definitions_the_one_with_a_body_counts() {
        #[track_caller]
        fn check(answer: &str) {
            let found = candidate(answer, "f").unwrap();
            assert_eq!(found.source, "def f(self):\n    return 1");
            assert!(found.notes.is_empty(), "{:?}", found.notes);
        }
        let f = "def f(self):\n    return 1\n";
        check(&format!("{f}\n\n{f}"));
        check(&format!("@overload\ndef f(self) -> int: ...\n\n{f}"));
        check(&format!("def f(self): pass\n\n{f}"));
        let two = candidate(&format!("def f(self):\n    return 0\n\n{f}"), "f").unwrap();
        let note = "`f` is defined 2 times; the last definition was taken.";
        assert_eq!(
            (&*two.source, two.notes),
            ("def f(self):\n    return 1", vec![note.to_string()])
        );
        let accessors = "class A:\n    @property\n    def f(self):\n        return 1\n\n    @f.setter\n    def f(self, x):\n        self.x = x\n";
        let why = candidate(accessors, "f").unwrap_err();
        assert_eq!(why, Invalid::Repeated { wanted: "f".into(), count: 2 });
        // Which part is wanted is known only where the file has several.
        let file = "class A:\n    @property\n    def f(self): pass\n    @f.setter\n    def f(self, x): pass\n    @f.deleter\n    def f(self): pass\n";
        let found = methods(file).unwrap();
        let [getter, setter, deleter] = found.as_slice() else { unreachable!() };
        let of = |answer: &str, part: &MethodDef| candidate_for(answer, part, file);
        let note = |name: &str| format!("The other parts of the property `{name}` were left out.");
        for (part, expected) in
            [(getter, "def f(self):\n    return 1"), (setter, "def f(self, x):\n    self.x = x")]
        {
            let found = of(accessors, part).unwrap();
            assert_eq!(found.source, expected);
            assert!(found.notes.contains(&note("f")), "{:?}", found.notes);
            // One definition alone is what is asked for.
            let alone = of(expected, part).unwrap();
            assert_eq!((alone.source.as_str(), alone.notes.len()), (expected, 0));
        }
        let placeholder = accessors.replace("return 1", "pass");
        assert_eq!(of(&placeholder, getter).unwrap().source, "def f(self):\n    pass");
        assert_eq!(of(accessors, deleter).unwrap_err(), why);
        check(&format!("```python\n{f}```\nUsage:\n```python\nprint(A().f())\n```\n"));
        check(&format!("```python\ndef f(self):\n    return 0\n```\nNo:\n```python\n{f}```\n"));
    }

    #[test]
    fn a_function_is_taken_where_it_stands() {
        let file = "import os\n\n\ndef f(a):\n    return helper(a)\n\n\ndef helper(a): return os\n";
        let function = methods(file).unwrap().remove(0);
        let check = |answer: &str, notes: &[&str]| {
            let found = candidate_for(answer, &function, file).unwrap();
            assert_eq!(found.source, "def f(a):\n    return helper(a)", "{answer}");
            assert_eq!(found.notes, notes, "{answer}");
        };
        let f = "def f(a):\n    return helper(a)\n";
        check(f, &[]);
        check(&format!("    {}", f.replace("\n    ", "\n        ")), &[]);
        check(
            &format!("@cache\n{f}"),
            &["Decorators were left out: those in the file stay as they are."],
        );
        check(
            &format!("import os\n\n{f}\ndef helper(a): return os\n"),
            &["Only `f` is replaced; left out: `import os`, `helper`."],
        );
        check(
            &format!("class A:\n    def f(self): return 1\n\n{f}"),
            &["Only `f` is replaced; left out: `A`."],
        );
        check(&format!("@overload\ndef f(a: int) -> int: ...\n{f}"), &[]);
        let why =
            candidate_for("def f(a):\n    return g(a)\ndef g(a): return a\n", &function, file);
        assert_eq!(
            why.unwrap_err().to_string(),
            "Send only `f`: `g` cannot be added. Define helpers inside `f`."
        );
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
            "import re\n\ndef f(self):\n    return re",
            "def helper(): pass\n\ndef f(self): return helper(B)\n\nclass B: pass",
            "@property\ndef f(self): return 1\n\n@f.setter\ndef f(self, x): self.x = x",
            "def f(self):\n    x = 1\nreturn x",
            "def f(self):\n    x = 1\nyield 1",
            "def f(self):\n    x = 1\nif x:\n    print(x)",
            "LIMIT = 3\nclass A:\n    def f(self): return LIMIT",
            "class A:\n    def f(self): return 1\nclass B:\n    def f(self): return 2",
            "from a import *\ndef f(self): return a",
            "def f(self):\n    return “1”",
            "```diff\n-x\n+y\n```",
            "```\nx\n```\nand\n```\ny\n```",
            &format!("def f(self):\n    return {}", "(".repeat(300)),
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
