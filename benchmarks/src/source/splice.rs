//! Cuts a method or a function out of its file and puts another one in its place.

use std::ops::Range;

use super::lines::{self, Lines};
use super::method::MethodDef;
use super::parsed::{Parsed, SyntaxError};

/// One level of indentation, if a method does not show its own.
const STEP: &str = "    ";

/// The file as a policy sees it: without the method, its decorators and its final comments,
/// and with no more blank lines than its neighbours had. If nothing else is left in the
/// block, `...` replaces the method.
pub fn removed(text: &str, method: &MethodDef) -> String {
    let lines = Lines::of(text);
    let mut first = method.first_line;
    let mut next = lines.number(method.span.end.saturating_sub(1)) + 1;
    while next <= lines.count() && is_deeper_comment(lines.line(next), &method.indent) {
        next += 1;
    }
    let placeholder = match method.alone {
        true => format!("{}...{}", method.indent, lines::line_break(text)),
        false => {
            let is_blank = |&number: &usize| lines::is_blank(lines.line(number));
            let above = (1..first).rev().take_while(is_blank).count();
            let below = (next..=lines.count()).take_while(is_blank).count();
            // Blank lines below belong to what ends the block, those above to what
            // continues it.
            match (next + below..=lines.count()).next().map(|number| lines.line(number)) {
                Some(line) if line.starts_with(&method.indent) => next += below,
                _ => first -= above,
            }
            String::new()
        }
    };
    let rest = if next <= lines.count() { lines.span(next).start } else { text.len() };
    format!("{}{placeholder}{}", &text[..lines.span(first).start], &text[rest..])
}

fn is_deeper_comment(line: &str, indent: &str) -> bool {
    let own = lines::indent_of(line);
    line[own.len()..].starts_with('#') && own.len() > indent.len()
}

/// The file with `source`, a dedented function, in place of the method. Decorators stay,
/// and so do all other bytes and the contents of strings.
pub fn spliced(text: &str, method: &MethodDef, source: &str) -> String {
    // A continuation line that is indented less than its method moves when it is dedented;
    // the method's own source must still give the very same file.
    if source == source_of(text, method) {
        return text.to_string();
    }
    let strings = Parsed::of(source).map(|parsed| parsed.strings()).unwrap_or_default();
    let source = lines::indented(source.trim_end(), &method.indent, &strings);
    let source = lines::unix(&source).replace('\n', lines::line_break(text));
    let source = source.strip_prefix(&method.indent).unwrap_or(&source);
    format!("{}{source}{}", &text[..method.span.start], &text[method.span.end..])
}

/// The method, dedented, without decorators; the contents of strings do not change.
pub fn source_of(text: &str, method: &MethodDef) -> String {
    dedented(&text[method.span.clone()], &method.indent)
}

fn dedented(fragment: &str, indent: &str) -> String {
    // A function of which only the first line is dedented still parses.
    let strings = Parsed::of(fragment).map(|parsed| parsed.strings()).unwrap_or_default();
    lines::unix(&lines::dedented(fragment, indent, &strings))
}

/// The method, dedented, with `raise NotImplementedError` as its body; its declaration and
/// docstring stay.
pub fn stub(text: &str, method: &MethodDef) -> String {
    let mut step = STEP.to_string();
    let mut docstring = String::new();
    if let Some(span) = &method.docstring_span {
        if let Some(own) = own_step(text, span.start, &method.indent) {
            step = own;
        }
        docstring = format!("{step}{}\n", lines::unix(&text[span.clone()]));
    }
    format!("{}\n{docstring}{step}raise NotImplementedError", method.declaration)
}

/// The indentation of the line at `offset` inside its function, if it starts there.
fn own_step(text: &str, offset: usize, indent: &str) -> Option<String> {
    let own = &text[Lines::of(text).start(offset)..offset];
    (lines::indent_of(own) == own).then(|| own.strip_prefix(indent)).flatten().map(String::from)
}

/// Changes the function `source` to fail whenever it would end: its body runs, then an
/// assertion fails. A test that still passes was not passed by the function.
///
/// # Errors
/// [`SyntaxError`] if `source` is not Python.
pub fn sabotaged(source: &str) -> Result<String, SyntaxError> {
    let parsed = Parsed::of(source)?;
    let Some(function) = parsed.function() else { return Ok(source.to_string()) };
    let first = function.docstring.clone().unwrap_or_else(|| function.body.clone());
    let own = own_step(source, first.start, "").filter(|own| !own.is_empty());
    let step = own.as_deref().unwrap_or(STEP);
    let docstring = function.docstring.map(|span| format!("{step}{}\n", &source[span]));
    let body = match function.body.is_empty() {
        true => format!("{step}{step}pass\n"),
        false => deeper(&parsed, &function.body, step),
    };
    Ok(format!(
        "{}\n{}{step}try:\n{body}{step}finally:\n{step}{step}raise AssertionError(\"fixfly sabotage control\")",
        &source[function.span.start..function.header_end],
        docstring.unwrap_or_default(),
    ))
}

/// The body of a function, one step deeper.
fn deeper(parsed: &Parsed<'_>, body: &Range<usize>, step: &str) -> String {
    let strings: Vec<_> = (parsed.strings().into_iter())
        .filter(|string| body.start <= string.start)
        .map(|string| string.start - body.start..string.end - body.start)
        .collect();
    let rest = parsed.text[body.start..].trim_end();
    // The first line's own indentation is before the body.
    format!("{step}{}\n", lines::indented(rest, step, &strings))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use proptest::prelude::*;

    use super::super::method::methods;
    use super::*;

    fn named(text: &str, name: &str) -> MethodDef {
        methods(text).unwrap().into_iter().find(|method| method.name == name).unwrap()
    }

    #[test]
    fn a_removed_method_leaves_no_trace() {
        #[track_caller]
        fn check(text: &str, expected: &str) {
            let removed = removed(text, &named(text, "f"));
            assert_eq!(removed, expected);
            methods(&removed).unwrap();
        }
        check("class A:\n    def f(self): pass\n", "class A:\n    ...\n");
        check("class A:\r\n\t@d\r\n\tdef f(self):\r\n\t\tpass", "class A:\r\n\t...\r\n");
        check(
            "class A:\n    'd'\n\n    def f(self):\n        pass\n\n\nclass B: pass\n",
            "class A:\n    'd'\n\n\nclass B: pass\n",
        );
        check("class A:\n    def f(self):\n        pass\n\n    x = 1\n", "class A:\n    x = 1\n");
        check(
            "class A:\n    x = 1\n\n    @d\n    def f(self):\n        return 1  # why\n        # so\n\n    # about g\n    def g(self): pass\n",
            "class A:\n    x = 1\n\n    # about g\n    def g(self): pass\n",
        );
        check("class A:\n    x = 1\n\n    def f(self): pass\n", "class A:\n    x = 1\n");
        check(
            "class A:\n    if x:\n        def f(self): pass\n    else:\n        y = 1\n",
            "class A:\n    if x:\n        ...\n    else:\n        y = 1\n",
        );
    }

    #[test]
    fn a_spliced_method_is_indented_but_for_its_strings() {
        #[track_caller]
        fn check(text: &str, source: &str, expected: &str) {
            assert_eq!(spliced(text, &named(text, "f"), source), expected);
        }
        let text = "class A:\n\n    @d\n    def f(self): pass  # why\n    x = 1\n";
        check(
            text,
            "def f(self):\n    '''a\n  b'''\n\n    return f'''{\n1}'''\n",
            "class A:\n\n    @d\n    def f(self):\n        '''a\n  b'''\n\n        return f'''{\n1}'''  # why\n    x = 1\n",
        );
        check(
            "class A:\r\n\tdef f(self): pass\r\n",
            "def f(self):\n\treturn 1",
            "class A:\r\n\tdef f(self):\r\n\t\treturn 1\r\n",
        );
    }

    fn at(text: &str, path: &str) -> MethodDef {
        methods(text).unwrap().into_iter().find(|method| method.path() == path).unwrap()
    }

    #[test]
    fn a_function_is_removed_with_the_blank_lines_around_it() {
        #[track_caller]
        fn check(text: &str, expected: &str) {
            assert_eq!(removed(text, &at(text, "f")), expected);
        }
        check("def f(): pass\n", "...\n");
        check(
            "import a\n\n\ndef f():\n    return 1\n    # so\n\n\n# about g\ndef g(): pass\n",
            "import a\n\n\n# about g\ndef g(): pass\n",
        );
        check("import a\n\n\n@d\ndef f(): pass\n", "import a\n");
        check(
            "try:\n    import a\nexcept E:\n\n    def f():\n        return 1\n\n\nx = 1\n",
            "try:\n    import a\nexcept E:\n\n    ...\n\n\nx = 1\n",
        );
        check(
            "@overload\ndef f(a: int): ...\n\n\ndef f(a):\n    return a\n",
            "@overload\ndef f(a: int): ...\n",
        );
    }

    #[test]
    fn functions_and_setters_are_spliced_below_their_decorators() {
        #[track_caller]
        fn check(text: &str, path: &str, source: &str, expected: &str) {
            let method = at(text, path);
            assert_eq!(spliced(text, &method, source), expected);
            assert_eq!(spliced(text, &method, &source_of(text, &method)), text);
        }
        check(
            "import a\n\n\n@d\nasync def f(): pass  # why\nx = 1\n",
            "f",
            "async def f():\n    '''\na'''\n    return 1\n",
            "import a\n\n\n@d\nasync def f():\n    '''\na'''\n    return 1  # why\nx = 1\n",
        );
        check(
            "if x:\n  def f(): pass\n",
            "f",
            "def f():\n    return 1",
            "if x:\n  def f():\n      return 1\n",
        );
        let property = "class A:\n    @property\n    def x(self): return 1\n\n    @x.setter\n    def x(self, v): pass\n";
        let source = "def x(self, v):\n    self.v = v";
        let expected =
            property.replace("def x(self, v): pass", "def x(self, v):\n        self.v = v");
        check(property, "A.x.setter", source, &expected);
        let expected = property.replace("def x(self): return 1", "def x(self): return 2");
        check(property, "A.x", "def x(self): return 2", &expected);
    }

    #[test]
    fn a_method_indented_less_than_its_line_still_comes_back() {
        let text = "class A:\n    def f(self):\n        x = (\n  1)\n# odd\n        return x\n";
        let method = named(text, "f");
        let source = source_of(text, &method);
        assert_eq!(source, "def f(self):\n    x = (\n  1)\n# odd\n    return x");
        assert_eq!(spliced(text, &method, &source), text);
    }

    #[test]
    fn a_stub_keeps_declaration_and_docstring() {
        #[track_caller]
        fn check(text: &str, expected: &str) {
            assert_eq!(stub(text, &named(text, "f")), expected);
        }
        check(
            "class A:\n    @d\n    def f(self): return 1\n",
            "def f(self):\n    raise NotImplementedError",
        );
        check(
            "class A:\n  async def f(\n    self):\n    '''a\n    b'''\n    return 1\n",
            "async def f(\n  self):\n  '''a\n    b'''\n  raise NotImplementedError",
        );
        check(
            "class A:\n    def f(self): 'doc'; return 1\n",
            "def f(self):\n    'doc'\n    raise NotImplementedError",
        );
    }

    #[test]
    fn a_sabotaged_method_fails_after_its_body() {
        #[track_caller]
        fn check(source: &str, expected: &str) {
            let tail = "finally:\n        raise AssertionError(\"fixfly sabotage control\")";
            assert_eq!(sabotaged(source).unwrap(), format!("{expected}    {tail}"));
        }
        check("def f(self): return 1; x", "def f(self):\n    try:\n        return 1; x\n");
        check(
            "def f(self):\n    '''a\n  b'''\n    # c\n    x = '''\n    '''\n\n    return x\n",
            "def f(self):\n    '''a\n  b'''\n    try:\n        x = '''\n    '''\n\n        return x\n",
        );
        check("def f(self):\n    'doc'\n", "def f(self):\n    'doc'\n    try:\n        pass\n");
        assert!(sabotaged("def f(self:\n").is_err());
    }

    /// A class or a condition whose method or function `f` has the given statements.
    fn block(head: &str, unit: &str, end: &str, parts: &[&str], around: (&str, &str)) -> String {
        let body: String = parts.iter().map(|part| format!("{unit}{unit}{part}\n")).collect();
        let (before, after) = around;
        let text = format!(
            "{head}\n{before}{unit}@d(\n{unit})\n{unit}def f(self, a='''\n ü'''):\n{body}{after}"
        );
        text.replace("I", unit).replace('\n', end)
    }

    fn part() -> impl Strategy<Value = &'static str> {
        proptest::sample::select(vec![
            "return 1",
            "x = 'a\\\n  b'",
            "'''Doc.\n\n  more\n   '''",
            "f'''{\n1:>{\n2}}\n{'''\nä'''}'''",
            "if x:\nIII\tyield \"\"\"\n\"\"\"",
            "x = (1,\nIII# c\nIII    2)",
            "\nII# é\n\nIIpass",
            "match x:\nIII case [1, *_]: pass",
            "def g():\nIII return '''\n'''",
            "a = 1; b = \\\nII  2",
        ])
    }

    proptest! {
        #[test]
        fn what_is_taken_out_can_be_put_back(
            head in proptest::sample::select(vec!["class É:", "if é:", "try:\nIpass\nfinally:"]),
            unit in proptest::sample::select(vec!["  ", "    ", "\t"]),
            end in proptest::sample::select(vec!["\n", "\r\n"]),
            parts in proptest::collection::vec(part(), 1..6),
            before in proptest::sample::select(vec!["", "I'About.'\n\n", "Idef e(self): pass\n\n"]),
            after in proptest::sample::select(vec!["", "\nI# g\nIg = 1\n", "\n\nclass B: pass\n"]),
        ) {
            let text = block(head, unit, end, &parts, (before, after));
            let found = methods(&text).unwrap();
            let at = found.iter().position(|method| method.name == "f").unwrap();
            let method = &found[at];
            let source = source_of(&text, method);
            prop_assert_eq!(&spliced(&text, method, &source), &text);
            // White space at the end is handled as in candidates.
            prop_assert_eq!(&spliced(&text, method, &format!("{source}\n")), &text);

            let rest = removed(&text, method);
            let names: Vec<_> = methods(&rest).unwrap().into_iter().map(|m| m.path()).collect();
            prop_assert_eq!(names.len(), found.len() - 1);
            prop_assert!(method.unique && !names.contains(&method.path()));
            for other in [stub(&text, method), sabotaged(&source).unwrap()] {
                let again = methods(&spliced(&text, method, &other)).unwrap();
                prop_assert_eq!(&again[at].docstring, &method.docstring);
                prop_assert_eq!(&again[at].declaration, &method.declaration);
            }
        }
    }
}
