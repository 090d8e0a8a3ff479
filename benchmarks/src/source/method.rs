//! Finds the methods of a file.

use std::collections::HashMap;
use std::ops::Range;

use ruff_python_ast::visitor::{Visitor, walk_expr, walk_stmt};
use ruff_python_ast::{Decorator, ExceptHandler, Expr, Stmt, StmtClassDef, StmtFunctionDef};
use ruff_text_size::Ranged;

use super::lines::{self, Lines};
use super::parsed::{Parsed, SyntaxError, bytes, docstring_text};

/// A method and the positions of its parts. Ranges count bytes of the file's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MethodDef {
    /// `Outer.Inner.name`.
    pub qualname: String,
    /// The classes around it, outermost first.
    pub classes: Vec<String>,
    /// Its own name.
    pub name: String,
    /// From `def` or `async` to the end of the last statement: no decorators,
    /// no comment after it.
    pub span: Range<usize>,
    /// The same from the first decorator on.
    pub full_span: Range<usize>,
    /// The decorators as written, each with its `@`.
    pub decorators: Vec<String>,
    /// From `def` through the colon as written, dedented.
    pub declaration: String,
    /// From the first statement after the docstring to the end; empty if there is none.
    pub body: Range<usize>,
    /// The docstring, cleaned as `inspect.cleandoc` does.
    pub docstring: Option<String>,
    /// The statement that is the docstring.
    pub docstring_span: Option<Range<usize>>,
    /// The line of `def`, from 1.
    pub line: usize,
    /// The line of the first decorator or of `def`: CPython's `co_firstlineno`.
    pub first_line: usize,
    /// The white space before `def`.
    pub indent: String,
    /// Its kind, which decorators determine.
    pub kind: MethodKind,
    /// Whether it is an `async def`.
    pub is_async: bool,
    /// Whether it yields.
    pub is_generator: bool,
    /// Lines of the body that are neither blank nor only a comment.
    pub body_lines: usize,
    /// Its position among the methods with the same `qualname`, from 0.
    pub ordinal: usize,
    /// Whether no other method of the file has its `qualname`.
    pub unique: bool,
    /// The base classes of its class, as written.
    pub bases: Vec<String>,
    /// The docstring of its class, cleaned.
    pub class_docstring: Option<String>,
    /// Whether the body does nothing but `pass`, `...` or `raise NotImplementedError`.
    pub trivial: bool,
    /// Whether its block contains no other statement.
    pub alone: bool,
}

/// The kind of a method, by its decorators.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MethodKind {
    /// Called on an instance.
    Plain,
    /// Read, written or deleted as an attribute.
    Property,
    /// Called on the class, which is its first argument.
    ClassMethod,
    /// Called without an instance.
    StaticMethod,
    /// A signature for type checkers.
    Overload,
    /// Left to subclasses.
    Abstract,
}

/// All methods of all classes of a file, in the order of the text. Functions, and classes
/// inside functions, are left out.
///
/// # Errors
/// [`SyntaxError`] if the text is not Python.
pub fn methods(text: &str) -> Result<Vec<MethodDef>, SyntaxError> {
    let parsed = Parsed::of(text)?;
    let file = File { lines: Lines::of(text), strings: parsed.strings(), parsed: &parsed };
    let mut found = Vec::new();
    file.collect(parsed.statements(), None, &mut found);
    number(&mut found);
    Ok(found)
}

/// A class, with the names of its enclosing classes and its own.
struct Class<'p> {
    names: Vec<String>,
    def: &'p StmtClassDef,
}

struct File<'p> {
    lines: Lines<'p>,
    strings: Vec<Range<usize>>,
    parsed: &'p Parsed<'p>,
}

impl<'p> File<'p> {
    fn collect(&self, block: &'p [Stmt], class: Option<&Class<'p>>, found: &mut Vec<MethodDef>) {
        for statement in block {
            match statement {
                Stmt::ClassDef(def) => {
                    let outer = class.map(|class| class.names.as_slice()).unwrap_or_default();
                    let mut names = outer.to_vec();
                    names.push(def.name.to_string());
                    self.collect(&def.body, Some(&Class { names, def }), found);
                }
                Stmt::FunctionDef(def) => {
                    if let Some(class) = class {
                        found.push(self.method(def, class, block.len() == 1));
                    }
                }
                _ => {
                    for block in blocks(statement) {
                        self.collect(block, class, found);
                    }
                }
            }
        }
    }

    fn method(&self, def: &'p StmtFunctionDef, class: &Class<'p>, alone: bool) -> MethodDef {
        let text = self.parsed.text;
        let parts = self.parsed.parts(def);
        let full_span = bytes(def.range());
        let indent = &text[self.lines.start(parts.span.start)..parts.span.start];
        let indent = indent.rsplit('\x0c').next().unwrap_or(indent);
        let arguments = class.def.arguments.as_deref();
        MethodDef {
            qualname: format!("{}.{}", class.names.join("."), def.name),
            classes: class.names.clone(),
            name: def.name.to_string(),
            decorators: def.decorator_list.iter().map(|d| text[bytes(d.range())].into()).collect(),
            declaration: self.declaration(parts.span.start..parts.header_end, indent),
            line: self.lines.number(parts.span.start),
            first_line: self.lines.number(full_span.start),
            indent: indent.to_string(),
            kind: kind(&def.decorator_list),
            is_async: def.is_async,
            is_generator: yields(&def.body),
            body_lines: self.code_lines(parts.body.clone()),
            ordinal: 0,
            unique: true,
            bases: arguments
                .into_iter()
                .flat_map(|arguments| arguments.args.iter())
                .map(|base| text[bytes(base.range())].to_string())
                .collect(),
            class_docstring: docstring_text(&class.def.body),
            trivial: parts.statements.iter().all(is_trivial),
            alone,
            span: parts.span,
            full_span,
            body: parts.body,
            docstring: parts.docstring_text,
            docstring_span: parts.docstring,
        }
    }

    fn declaration(&self, span: Range<usize>, indent: &str) -> String {
        let inside: Vec<_> = (self.strings.iter())
            .filter(|string| span.start <= string.start && string.end <= span.end)
            .map(|string| string.start - span.start..string.end - span.start)
            .collect();
        lines::unix(&lines::dedented(&self.parsed.text[span], indent, &inside))
    }

    fn code_lines(&self, span: Range<usize>) -> usize {
        if span.is_empty() {
            return 0;
        }
        let numbers = self.lines.number(span.start)..=self.lines.number(span.end - 1);
        numbers
            .filter(|&number| {
                let line = self.lines.line(number);
                let is_comment = line.trim_start().starts_with('#')
                    && !lines::is_inside(&self.strings, self.lines.span(number).start);
                !lines::is_blank(line) && !is_comment
            })
            .count()
    }
}

/// The direct blocks of a compound statement.
pub(super) fn blocks(statement: &Stmt) -> Vec<&[Stmt]> {
    match statement {
        Stmt::If(s) => {
            let clauses = s.elif_else_clauses.iter().map(|clause| &clause.body[..]);
            std::iter::once(&s.body[..]).chain(clauses).collect()
        }
        Stmt::Try(s) => {
            let handlers = s.handlers.iter().map(|ExceptHandler::ExceptHandler(h)| &h.body[..]);
            let last = [&s.orelse[..], &s.finalbody[..]];
            std::iter::once(&s.body[..]).chain(handlers).chain(last).collect()
        }
        Stmt::For(s) => vec![&s.body, &s.orelse],
        Stmt::While(s) => vec![&s.body, &s.orelse],
        Stmt::With(s) => vec![&s.body],
        Stmt::Match(s) => s.cases.iter().map(|case| &case.body[..]).collect(),
        _ => Vec::new(),
    }
}

fn number(found: &mut [MethodDef]) {
    let mut seen: HashMap<String, usize> = HashMap::new();
    for method in found.iter_mut() {
        let count = seen.entry(method.qualname.clone()).or_default();
        method.ordinal = *count;
        *count += 1;
    }
    for method in found {
        method.unique = seen[&method.qualname] == 1;
    }
}

fn kind(decorators: &[Decorator]) -> MethodKind {
    let kinds = decorators.iter().filter_map(|decorator| {
        Some(match last_name(&decorator.expression)? {
            "property" | "cached_property" | "abstractproperty" | "classproperty" | "setter"
            | "getter" | "deleter" => MethodKind::Property,
            "classmethod" => MethodKind::ClassMethod,
            "staticmethod" => MethodKind::StaticMethod,
            "overload" => MethodKind::Overload,
            "abstractmethod" => MethodKind::Abstract,
            _ => return None,
        })
    });
    // An abstract property counts as a property, because how it is used matters most.
    kinds.reduce(|a, b| if a == MethodKind::Abstract { b } else { a }).unwrap_or(MethodKind::Plain)
}

fn last_name(expression: &Expr) -> Option<&str> {
    match expression {
        Expr::Name(name) => Some(&name.id),
        Expr::Attribute(attribute) => Some(&attribute.attr),
        Expr::Call(call) => last_name(&call.func),
        _ => None,
    }
}

fn is_trivial(statement: &Stmt) -> bool {
    match statement {
        Stmt::Pass(_) => true,
        Stmt::Expr(s) => s.value.is_ellipsis_literal_expr() || s.value.is_string_literal_expr(),
        Stmt::Raise(s) => s.exc.as_deref().and_then(last_name) == Some("NotImplementedError"),
        _ => false,
    }
}

fn yields(body: &[Stmt]) -> bool {
    let mut search = Yield(false);
    body.iter().for_each(|statement| search.visit_stmt(statement));
    search.0
}

/// Looks for a `yield` of the function itself, not of a nested one.
struct Yield(bool);

impl Visitor<'_> for Yield {
    fn visit_stmt(&mut self, statement: &Stmt) {
        if !matches!(statement, Stmt::FunctionDef(_) | Stmt::ClassDef(_)) {
            walk_stmt(self, statement);
        }
    }

    fn visit_expr(&mut self, expression: &Expr) {
        match expression {
            Expr::Yield(_) | Expr::YieldFrom(_) => self.0 = true,
            Expr::Lambda(_) => {}
            _ => walk_expr(self, expression),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use super::*;

    fn only(text: &str) -> MethodDef {
        let found = methods(text).unwrap();
        assert_eq!(found.len(), 1, "{text}");
        found.into_iter().next().unwrap()
    }

    #[test]
    fn methods_are_found_in_classes_at_any_depth_and_never_in_functions() {
        #[track_caller]
        fn check(text: &str, expected: &[&str]) {
            let found = methods(text).unwrap();
            let names: Vec<_> = found.iter().map(|method| method.qualname.as_str()).collect();
            assert_eq!(names, expected);
        }
        check("def f(): pass\n", &[]);
        check(
            "class A:\n    def f(self): pass\n    class B:\n        def g(self): pass\n",
            &["A.f", "A.B.g"],
        );
        check(
            "if x:\n    class A:\n        def f(self): pass\nelse:\n    class A:\n        def f(self): pass\n",
            &["A.f", "A.f"],
        );
        check(
            "try:\n  class A:\n    def a(self): pass\nexcept E:\n  class B:\n    def b(self): pass\nfinally:\n  class C:\n    def c(self): pass\n",
            &["A.a", "B.b", "C.c"],
        );
        check(
            "with x:\n  class A:\n    if y:\n      def f(self): pass\n    else:\n      async def g(self): pass\n",
            &["A.f", "A.g"],
        );
        check("match x:\n  case 1:\n    class A:\n      def f(self): pass\n", &["A.f"]);
        check("def f():\n    class A:\n        def g(self): pass\n", &[]);
        check(
            "class A:\n    def f(self):\n        class B:\n            def g(self): pass\n",
            &["A.f"],
        );
        check(
            "class A[T: (int, str)]:\n    def f[**P](self, *args: *T) -> type[P]: return f'{f'{1}'}'\n",
            &["A.f"],
        );
    }

    #[test]
    fn spans_are_exact() {
        #[track_caller]
        fn check(text: &str, span: &str, full_span: &str, body: &str) {
            let found = only(text);
            assert_eq!(&text[found.span], span);
            assert_eq!(&text[found.full_span], full_span);
            assert_eq!(&text[found.body], body);
        }
        let f = "def f(self):\n        return 1";
        check(&format!("class A:\n    {f}  # why\n    # end\n"), f, f, "return 1");
        check(
            "class A:\n    def f(self): x; return 1\n",
            "def f(self): x; return 1",
            "def f(self): x; return 1",
            "x; return 1",
        );
        check(
            "class Ä:\n\t@é\n\t@d(1)\n\tasync def f(self):\n\t\t'''dö'''\n\t\treturn 'ü'",
            "async def f(self):\n\t\t'''dö'''\n\t\treturn 'ü'",
            "@é\n\t@d(1)\n\tasync def f(self):\n\t\t'''dö'''\n\t\treturn 'ü'",
            "return 'ü'",
        );
        check(
            "class A:\r\n  def f(self,\r\n    a={':': 1}) -> (\r\n    int):\r\n    return a\r\n",
            "def f(self,\r\n    a={':': 1}) -> (\r\n    int):\r\n    return a",
            "def f(self,\r\n    a={':': 1}) -> (\r\n    int):\r\n    return a",
            "return a",
        );
        check(
            "class A:\n\x0c    def f(self):\n        return 1 + \\\n  2\n",
            "def f(self):\n        return 1 + \\\n  2",
            "def f(self):\n        return 1 + \\\n  2",
            "return 1 + \\\n  2",
        );
        check(
            "class A:\n    def f(self):\n        'doc'\n",
            "def f(self):\n        'doc'",
            "def f(self):\n        'doc'",
            "",
        );
        check(
            "class A:\n    def f(self):\n        @d\n        def g(): pass\n",
            "def f(self):\n        @d\n        def g(): pass",
            "def f(self):\n        @d\n        def g(): pass",
            "@d\n        def g(): pass",
        );
    }

    #[test]
    fn a_method_knows_its_surroundings() {
        let text = "class A(b.B, C[int], metaclass=M):\n    '''About A.'''\n\n    @property\n    @d\n    def f(\n        self,  # me\n        s='''x\n    y''',\n    ):\n        '''\n        Does.\n\n            More.\n        '''\n        # first\n        a = 1\n\n        b = '''\n# not a comment\n'''\n        return a\n    @f.setter\n    def f(self, v): yield v\n";
        let found = methods(text).unwrap();
        let (getter, setter) = (&found[0], &found[1]);
        assert_eq!(getter.declaration, "def f(\n    self,  # me\n    s='''x\n    y''',\n):");
        assert_eq!(getter.docstring.as_deref(), Some("Does.\n\n    More."));
        assert_eq!(getter.class_docstring.as_deref(), Some("About A."));
        assert_eq!(getter.bases, ["b.B", "C[int]"]);
        assert_eq!(getter.decorators, ["@property", "@d"]);
        assert_eq!((getter.first_line, getter.line, getter.body_lines), (4, 6, 5));
        assert_eq!((getter.ordinal, getter.unique, getter.is_generator), (0, false, false));
        assert_eq!((setter.ordinal, setter.unique, setter.is_generator), (1, false, true));
        assert_eq!((getter.kind, setter.kind), (MethodKind::Property, MethodKind::Property));
    }

    #[test]
    fn decorators_make_the_kind() {
        #[track_caller]
        fn check(decorators: &str, expected: MethodKind) {
            assert_eq!(
                only(&format!("class A:\n{decorators}    def f(self): pass\n")).kind,
                expected
            );
        }
        check("", MethodKind::Plain);
        check("    @functools.wraps(g)\n", MethodKind::Plain);
        check("    @functools.cached_property\n", MethodKind::Property);
        check("    @abc.abstractmethod\n", MethodKind::Abstract);
        check("    @property\n    @abstractmethod\n", MethodKind::Property);
        check("    @classmethod\n    @cache(1)\n", MethodKind::ClassMethod);
        check("    @staticmethod\n", MethodKind::StaticMethod);
        check("    @typing.overload\n", MethodKind::Overload);
    }

    #[test]
    fn bodies_that_do_nothing_are_trivial() {
        #[track_caller]
        fn check(body: &str, expected: bool) {
            assert_eq!(only(&format!("class A:\n    def f(self): {body}\n")).trivial, expected);
        }
        check("pass", true);
        check("'doc'", true);
        check("'doc'; ...", true);
        check("raise NotImplementedError('f')", true);
        check("raise ValueError", false);
        check("return", false);
    }

    #[test]
    fn only_its_own_yield_makes_a_generator() {
        #[track_caller]
        fn check(body: &str, expected: bool) {
            let found = only(&format!("class A:\n    def f(self):\n        {body}\n"));
            assert_eq!(found.is_generator, expected);
        }
        check("x = yield", true);
        check("if a:\n            yield from b", true);
        check("return lambda: (yield)", false);
        check("def g(): yield", false);
    }
}
