//! Finds the functions and methods of a file.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use ruff_python_ast::visitor::{Visitor, walk_expr, walk_stmt};
use ruff_python_ast::{Decorator, ExceptHandler, Expr, Stmt, StmtClassDef, StmtFunctionDef};
use ruff_text_size::Ranged;

use super::lines::{self, Lines};
use super::parsed::{Parsed, SyntaxError, bytes, docstring_text};

/// A method or a function of the module, and the positions of its parts. Ranges count bytes
/// of the file's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MethodDef {
    /// `Outer.Inner.name`, or `name` for a function.
    pub qualname: String,
    /// The classes around it, outermost first; empty for a function.
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
    /// Its position among those with the same [`MethodDef::path`], from 0.
    pub ordinal: usize,
    /// Whether no other one of the file has its [`MethodDef::path`].
    pub unique: bool,
    /// Its part of a property that consists of more than the getter.
    pub accessor: Option<Accessor>,
    /// Whether it is defined under a condition: inside `if`, `try`, `with`, a loop or `match`.
    pub conditional: bool,
    /// The base classes of its class, as written.
    pub bases: Vec<String>,
    /// The docstring of its class, cleaned.
    pub class_docstring: Option<String>,
    /// Whether the body does nothing but `pass`, `...` or `raise NotImplementedError`.
    pub trivial: bool,
    /// Whether its block contains no other statement.
    pub alone: bool,
}

impl MethodDef {
    /// Its part of an item's id: `Outer.Inner.name`, and for a property's setter
    /// `Outer.Inner.name.setter`.
    pub fn path(&self) -> String {
        match self.accessor {
            Some(Accessor::Setter) => format!("{}.setter", self.qualname),
            Some(Accessor::Deleter) => format!("{}.deleter", self.qualname),
            Some(Accessor::Getter) | None => self.qualname.clone(),
        }
    }

    /// Whether it is a function of the module.
    pub fn is_function(&self) -> bool {
        self.classes.is_empty()
    }
}

/// A part of a property.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Accessor {
    /// Called when the attribute is read.
    Getter,
    /// Called when the attribute is written.
    Setter,
    /// Called when the attribute is deleted.
    Deleter,
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

/// All functions of a file and all methods of its classes, in the order of the text. Stubs
/// for type checkers (`@overload`), and what is inside functions, are left out.
///
/// # Errors
/// [`SyntaxError`] if the text is not Python.
pub fn methods(text: &str) -> Result<Vec<MethodDef>, SyntaxError> {
    let mut found = all(text)?;
    found.retain(|method| !method.decorators.iter().any(|decorator| is_overload(decorator)));
    let properties: HashSet<String> = (found.iter())
        .filter(|method| method.accessor.is_some())
        .map(|method| method.qualname.clone())
        .collect();
    for method in &mut found {
        if method.accessor.is_none() && properties.contains(&method.qualname) {
            method.accessor = Some(Accessor::Getter);
        }
    }
    number(&mut found);
    Ok(found)
}

/// All methods of the classes of a file, by their names alone: stubs for type checkers and
/// the parts of a property count as methods of one name. The rule of the first benchmarks,
/// whose manifests stay what they are.
///
/// # Errors
/// [`SyntaxError`] if the text is not Python.
pub(crate) fn methods_by_name(text: &str) -> Result<Vec<MethodDef>, SyntaxError> {
    let mut found = all(text)?;
    found.retain(|method| !method.is_function());
    found.iter_mut().for_each(|method| method.accessor = None);
    number(&mut found);
    Ok(found)
}

/// All definitions outside functions, signatures for type checkers included.
pub(super) fn all(text: &str) -> Result<Vec<MethodDef>, SyntaxError> {
    let parsed = Parsed::of(text)?;
    let file = File { lines: Lines::of(text), strings: parsed.strings(), parsed: &parsed };
    let mut found = Vec::new();
    let module = Around { names: Vec::new(), class: None, conditional: false };
    file.collect(parsed.statements(), &module, &mut found);
    Ok(found)
}

/// What is around a definition.
#[derive(Clone)]
struct Around<'p> {
    /// The names of the classes, outermost first.
    names: Vec<String>,
    /// The innermost class.
    class: Option<&'p StmtClassDef>,
    conditional: bool,
}

impl<'p> Around<'p> {
    fn inside(&self, class: &'p StmtClassDef) -> Self {
        let mut names = self.names.clone();
        names.push(class.name.to_string());
        Around { names, class: Some(class), conditional: self.conditional }
    }

    fn under_condition(&self) -> Self {
        Around { conditional: true, ..self.clone() }
    }
}

struct File<'p> {
    lines: Lines<'p>,
    strings: Vec<Range<usize>>,
    parsed: &'p Parsed<'p>,
}

impl<'p> File<'p> {
    fn collect(&self, block: &'p [Stmt], around: &Around<'p>, found: &mut Vec<MethodDef>) {
        for statement in block {
            match statement {
                Stmt::ClassDef(def) => self.collect(&def.body, &around.inside(def), found),
                Stmt::FunctionDef(def) => found.push(self.method(def, around, block.len() == 1)),
                _ => {
                    for block in blocks(statement) {
                        self.collect(block, &around.under_condition(), found);
                    }
                }
            }
        }
    }

    fn method(&self, def: &'p StmtFunctionDef, around: &Around<'p>, alone: bool) -> MethodDef {
        let text = self.parsed.text;
        let parts = self.parsed.parts(def);
        let full_span = bytes(def.range());
        let indent = &text[self.lines.start(parts.span.start)..parts.span.start];
        let indent = indent.rsplit('\x0c').next().unwrap_or(indent);
        let arguments = around.class.and_then(|class| class.arguments.as_deref());
        let qualname = around.names.iter().map(String::as_str).chain([def.name.as_str()]);
        MethodDef {
            qualname: qualname.collect::<Vec<_>>().join("."),
            classes: around.names.clone(),
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
            accessor: accessor(def),
            conditional: around.conditional,
            bases: arguments
                .into_iter()
                .flat_map(|arguments| arguments.args.iter())
                .map(|base| text[bytes(base.range())].to_string())
                .collect(),
            class_docstring: around.class.and_then(|class| docstring_text(&class.body)),
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
        let count = seen.entry(method.path()).or_default();
        method.ordinal = *count;
        *count += 1;
    }
    for method in found {
        method.unique = seen[&method.path()] == 1;
    }
}

/// The part of a property that a decorator such as `@name.setter` makes. A getter has no
/// such decorator.
pub(super) fn accessor(def: &StmtFunctionDef) -> Option<Accessor> {
    def.decorator_list.iter().find_map(|decorator| {
        let attribute = decorator.expression.as_attribute_expr()?;
        // `@Base.name.setter` makes a property of its own.
        let of = attribute.value.as_name_expr()?;
        match attribute.attr.as_str() {
            "setter" if of.id.as_str() == def.name.as_str() => Some(Accessor::Setter),
            "deleter" if of.id.as_str() == def.name.as_str() => Some(Accessor::Deleter),
            _ => None,
        }
    })
}

/// Whether a decorator, as written, marks a stub for type checkers.
fn is_overload(decorator: &str) -> bool {
    let name = decorator.trim_start_matches('@').trim();
    name.rsplit('.').next() == Some("overload")
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
    fn functions_and_methods_are_found_at_any_depth_and_never_in_functions() {
        #[track_caller]
        fn check(text: &str, expected: &[&str]) {
            let found = methods(text).unwrap();
            let names: Vec<_> = found.iter().map(|method| method.qualname.as_str()).collect();
            assert_eq!(names, expected);
        }
        check("def f(): pass\n", &["f"]);
        check("async def f(): pass\n\n\n@d\ndef g(): yield\n", &["f", "g"]);
        check("if x:\n    def f(): pass\nelse:\n    def f(): pass\n", &["f", "f"]);
        check(
            "try:\n    from a import f\nexcept E:\n    def f(): pass\nwith x:\n    def g(): pass\n",
            &["f", "g"],
        );
        check(
            "@typing.overload\ndef f(a: int): ...\n@overload\ndef f(a: str): ...\ndef f(a): pass\n",
            &["f"],
        );
        check("class A:\n    @staticmethod\n    @overload\n    def f(): ...\n", &[]);
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
        check("def f():\n    class A:\n        def g(self): pass\n", &["f"]);
        check("def f():\n    def g(): pass\n    return g\n", &["f"]);
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
        assert_eq!((getter.ordinal, getter.unique, getter.is_generator), (0, true, false));
        assert_eq!((setter.ordinal, setter.unique, setter.is_generator), (0, true, true));
        assert_eq!((getter.kind, setter.kind), (MethodKind::Property, MethodKind::Property));
    }

    #[test]
    fn a_function_has_no_class() {
        let text =
            "'''About.'''\n\n@d(1)\n@e\nasync def f(a, b=1):\n    '''Does.'''\n    yield a\n";
        let f = only(text);
        assert_eq!((f.qualname.as_str(), f.classes.len(), f.indent.as_str()), ("f", 0, ""));
        assert_eq!(f.declaration, "async def f(a, b=1):");
        assert_eq!(f.decorators, ["@d(1)", "@e"]);
        assert_eq!((f.first_line, f.line, f.body_lines), (3, 5, 1));
        assert_eq!((f.is_async, f.is_generator, f.is_function()), (true, true, true));
        assert_eq!((f.docstring.as_deref(), f.class_docstring), (Some("Does."), None));
    }

    /// Each definition's path, with `?` under a condition and `!` if it is not the only one.
    fn paths(found: &[MethodDef]) -> Vec<String> {
        let mark = |is: bool, mark: &'static str| if is { mark } else { "" };
        let path = |m: &MethodDef| {
            format!("{}{}{}", m.path(), mark(m.conditional, "?"), mark(!m.unique, "!"))
        };
        found.iter().map(path).collect()
    }

    const PROPERTY: &str = "class A:\n    @property\n    def x(self): return 1\n    @x.setter\n    def x(self, v): pass\n    @x.deleter\n    def x(self): pass\n";

    #[test]
    fn what_has_an_id_of_its_own_is_unique() {
        #[track_caller]
        fn check(text: &str, expected: &[&str]) {
            assert_eq!(paths(&methods(text).unwrap()), expected);
        }
        check(PROPERTY, &["A.x", "A.x.setter", "A.x.deleter"]);
        check(
            &format!("{PROPERTY}    def x(self): pass\n"),
            &["A.x!", "A.x.setter", "A.x.deleter", "A.x!"],
        );
        check("class A(B):\n    @B.x.setter\n    def x(self, v): pass\n", &["A.x"]);
        check("class A:\n    @x.setter\n    def set_x(self, v): pass\n", &["A.set_x"]);
        check("class A:\n    def f(self): pass\ndef f(): pass\n", &["A.f", "f"]);
        check("if x:\n    def f(): pass\nelse:\n    def f(): pass\n", &["f?!", "f?!"]);
        check("try: pass\nfinally:\n    def f(): pass\ndef g(): pass\n", &["f?", "g"]);
        check("@overload\ndef f(a: int): ...\ndef f(a): pass\n", &["f"]);
        check("@f.register\ndef _(a): pass\n@f.register\ndef _(a): pass\n", &["_!", "_!"]);
    }

    #[test]
    fn parts_of_a_property_are_told_apart_only_where_there_are_several() {
        let accessors =
            |text: &str| methods(text).unwrap().iter().map(|m| m.accessor).collect::<Vec<_>>();
        use Accessor::{Deleter, Getter, Setter};
        assert_eq!(accessors(PROPERTY), [Some(Getter), Some(Setter), Some(Deleter)]);
        assert_eq!(accessors("class A:\n    @property\n    def x(self): pass\n"), [None]);
    }

    #[test]
    fn by_name_there_are_methods_only_and_a_property_has_one_name() {
        #[track_caller]
        fn check(text: &str, expected: &[&str]) {
            assert_eq!(paths(&methods_by_name(text).unwrap()), expected);
        }
        check(PROPERTY, &["A.x!", "A.x!", "A.x!"]);
        check("def f(): pass\nclass A:\n    def g(self): pass\n", &["A.g"]);
        check(
            "class A:\n    @overload\n    def f(self): ...\n    def f(self): pass\n",
            &["A.f!", "A.f!"],
        );
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
        let text = "class A:\n    @typing.overload\n    def f(self): pass\n";
        assert_eq!(methods_by_name(text).unwrap()[0].kind, MethodKind::Overload);
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
