//! Renders reStructuredText as a person reads it.

use super::lines::{indent_of, is_blank};

/// Maximum lines of a code example that are shown.
const EXAMPLE: usize = 12;

/// A directive such as `.. method:: save(self)`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Directive<'t> {
    pub(super) indent: usize,
    pub(super) name: &'t str,
    pub(super) argument: &'t str,
}

/// The directive that a line starts, if any.
pub(super) fn directive(line: &str) -> Option<Directive<'_>> {
    let indent = indent_of(line).len();
    let (name, argument) = line[indent..].strip_prefix(".. ")?.split_once("::")?;
    let is_name =
        !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || "-_:".contains(c));
    is_name.then(|| Directive { indent, name, argument: argument.trim() })
}

/// Whether a directive describes something that has a name of its own.
pub(super) fn is_object(name: &str) -> bool {
    matches!(
        name.strip_prefix("py:").unwrap_or(name),
        "class"
            | "exception"
            | "method"
            | "classmethod"
            | "staticmethod"
            | "attribute"
            | "property"
            | "function"
            | "data"
            | "decorator"
            | "decoratormethod"
            | "module"
            | "currentmodule"
            | "setting"
            | "templatetag"
            | "templatefilter"
            | "fieldlookup"
            | "django-admin"
            | "django-admin-option"
            | "option"
            | "describe"
            | "object"
    )
}

/// Renders a block as plain text: without descriptions of other objects, version notes and
/// markup, with shortened examples, and with one blank line between paragraphs.
pub(super) fn plain(block: &[&str]) -> String {
    let mut text = String::new();
    let mut at = 0;
    while let Some(&line) = block.get(at) {
        let inner = at + 1 + nested(&block[at + 1..], indent_of(line).len());
        match directive(line) {
            Some(found) if is_note(found.name) => {
                let note = plain(&dedented(&block[at + 1..inner]));
                let title = if found.argument.is_empty() { "Note" } else { found.argument };
                push(&mut text, &format!("{}: {note}", words(title)));
                at = inner;
            }
            Some(found) if matches!(found.name, "code-block" | "parsed-literal" | "console") => {
                let is_option = |line: &&&str| line.trim_start().starts_with(':') || is_blank(line);
                let body = &block[at + 1..inner];
                let options = body.iter().take_while(is_option).count();
                push(&mut text, &example(&body[options..]));
                at = inner;
            }
            Some(_) => at = inner,
            // A label or a comment.
            None if line.trim_start().starts_with(".. ") => at = inner,
            None if is_blank(line) => at += 1,
            None => at = paragraph(block, at, &mut text),
        }
    }
    text
}

/// Adds the paragraph at `at`, with the example that it introduces. Returns where it ends.
fn paragraph(block: &[&str], at: usize, text: &mut String) -> usize {
    let lines = block[at..].iter().take_while(|line| !is_blank(line));
    let lines: Vec<&str> = lines.take_while(|line| directive(line).is_none()).copied().collect();
    let mut end = at + lines.len();
    let joined = lines.iter().map(|line| line.trim_end()).collect::<Vec<_>>().join("\n");
    match joined.strip_suffix("::") {
        Some(start) => {
            let start = start.trim_end();
            push(text, &words(&format!("{start}{}", if start.is_empty() { "" } else { ":" })));
            let depth = lines.last().map_or(0, |line| indent_of(line).len());
            let body = nested(&block[end..], depth);
            push(text, &example(&block[end..end + body]));
            end += body;
        }
        None => push(text, &words(&joined)),
    }
    end
}

fn is_note(name: &str) -> bool {
    matches!(
        name,
        "note"
            | "warning"
            | "admonition"
            | "tip"
            | "important"
            | "caution"
            | "hint"
            | "attention"
            | "danger"
    )
}

fn push(text: &mut String, paragraph: &str) {
    let paragraph = paragraph.trim_matches('\n');
    if !paragraph.trim().is_empty() {
        if !text.is_empty() {
            text.push_str("\n\n");
        }
        text.push_str(paragraph);
    }
}

/// How many of `lines` are blank or indented more than `indent`, without blank lines at the
/// end.
pub(super) fn nested(lines: &[&str], indent: usize) -> usize {
    let deeper = |line: &&&str| is_blank(line) || indent_of(line).len() > indent;
    let count = lines.iter().take_while(deeper).count();
    let blank = lines[..count].iter().rev().take_while(|line| is_blank(line)).count();
    count - blank
}

/// Removes the indentation that all lines share.
pub(super) fn dedented<'t>(lines: &[&'t str]) -> Vec<&'t str> {
    let filled = lines.iter().filter(|line| !is_blank(line));
    let margin = filled.map(|line| indent_of(line).len()).min().unwrap_or(0);
    lines.iter().map(|line| line.get(margin..).unwrap_or("")).collect()
}

fn example(lines: &[&str]) -> String {
    let lines = dedented(lines);
    let blank = lines.iter().take_while(|line| is_blank(line)).count();
    let lines = &lines[blank..];
    let mut shown: Vec<String> =
        lines.iter().take(EXAMPLE).map(|line| format!("    {}", line.trim_end())).collect();
    if lines.len() > EXAMPLE {
        shown.push("    ...".into());
    }
    let shown = shown.iter().map(|line| if is_blank(line) { "" } else { line.as_str() });
    shown.collect::<Vec<_>>().join("\n")
}

/// Removes inline markup: ``:meth:`~a.b` `` becomes `` `b` ``.
pub(super) fn words(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(tick) = rest.find('`') {
        let (before, at) = rest.split_at(tick);
        let fence = if at.starts_with("``") { "``" } else { "`" };
        let Some(length) = at[fence.len()..].find(fence) else { break };
        let inner = &at[fence.len()..fence.len() + length];
        rest = &at[length + 2 * fence.len()..];
        let (before, role) = if fence == "``" { (before, None) } else { role(before) };
        out.push_str(&unescaped(before));
        match (fence, role) {
            ("``", _) => out.push_str(&format!("`{inner}`")),
            (_, Some("ref" | "doc" | "ticket" | "term" | "rfc" | "pep")) => {
                out.push_str(title(inner));
            }
            (_, Some(_)) => out.push_str(&format!("`{}`", target(inner))),
            // An external link: `text <address>`_
            _ => {
                out.push_str(title(inner));
                rest = rest.trim_start_matches('_');
            }
        }
    }
    out + &unescaped(rest)
}

/// Splits a role such as `:meth:` off the end of a text.
fn role(before: &str) -> (&str, Option<&str>) {
    let found = before.strip_suffix(':').and_then(|start| {
        let from = start.rfind(|c: char| !(c.is_alphanumeric() || "-_:".contains(c)));
        let from = from.map_or(0, |at| at + start[at..].chars().next().map_or(1, char::len_utf8));
        let role = start[from..].strip_prefix(':')?;
        Some((&before[..from], Some(role.rsplit(':').next().unwrap_or(role))))
    });
    found.unwrap_or((before, None))
}

fn title(inner: &str) -> &str {
    match inner.split_once('<') {
        Some((title, _)) if !title.trim().is_empty() => title.trim(),
        _ => inner,
    }
}

fn target(inner: &str) -> &str {
    match inner.strip_prefix('~') {
        Some(path) => path.rsplit('.').next().unwrap_or(path),
        None => title(inner).trim_start_matches('!'),
    }
}

/// Removes the backslashes that end markup inside a word.
fn unescaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        match c {
            '\\' => out.extend(characters.next().filter(|next| !next.is_whitespace())),
            _ => out.push(c),
        }
    }
    out
}

/// Cuts `text` after the last paragraph that ends within `most` bytes; shortens the first
/// paragraph if it is longer.
pub(super) fn capped(text: &str, most: usize) -> &str {
    if text.len() <= most {
        return text;
    }
    let mut end = most;
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let cut = &text[..end];
    let end = cut.rfind("\n\n").or_else(|| cut.rfind(". ").map(|at| at + 1));
    cut[..end.or_else(|| cut.rfind(' ')).unwrap_or(cut.len())].trim_end()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markup_within_a_line_is_left_out() {
        #[track_caller]
        fn check(text: &str, expected: &str) {
            assert_eq!(words(text), expected);
        }
        check("See :meth:`~a.B.f`.", "See `f`.");
        check(":class:`a.B` and :py:func:`!g`", "`a.B` and `g`");
        check(":ref:`The title <label>`, :doc:`/x`", "The title, /x");
        check(":class:`Q objects\n<a.Q>`", "`Q objects`");
        check("``a :b:`` `link <http://x>`_ `here`__", "`a :b:` link here");
        check("``Field``\\s a\\ b", "`Field`s ab");
        check("an open ` tick", "an open ` tick");
        check("time: `é`", "time: é");
    }

    #[test]
    fn directives_are_recognised() {
        let found = |line| directive(line).map(|d| (d.indent, d.name, d.argument));
        assert_eq!(found("  .. method:: f(a)"), Some((2, "method", "f(a)")));
        assert_eq!(found(".. note::"), Some((0, "note", "")));
        assert_eq!(found(".. _label:"), None);
        assert_eq!(found(".. a comment with x::y"), None);
    }

    #[test]
    fn a_cap_ends_a_paragraph() {
        assert_eq!(capped("one\n\ntwo", 20), "one\n\ntwo");
        assert_eq!(capped("one\n\ntwo three", 8), "one");
        assert_eq!(capped("One. Two three", 8), "One.");
        assert_eq!(capped("éé é", 4), "éé");
    }
}
