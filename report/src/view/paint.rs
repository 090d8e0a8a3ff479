//! Text as HTML: escaped, its control characters visible, Python in colours, differences
//! marked.

use std::fmt::Write as _;
use std::ops::Range;
use std::sync::LazyLock;

use fixfly_runtime::{printable_pieces, thousands};
use minijinja::HtmlEscape;
use tree_sitter_highlight::{Highlight, HighlightConfiguration, HighlightEvent, Highlighter};

use crate::diff::{Line, Part, Side, diff, lines};
use crate::recorded::cut;

/// The most bytes that are parsed for colours.
const MAX_PARSED: usize = 200_000;
/// Equal lines around a difference.
const AROUND: usize = 3;

/// Names of the grammar's query. The class of the first is `h0`.
const NAMES: [&str; 9] = [
    "comment",
    "string",
    "keyword",
    "number",
    "function",
    "type",
    "constant",
    "constructor",
    "property",
];

static PYTHON: LazyLock<Option<HighlightConfiguration>> = LazyLock::new(|| {
    let query = tree_sitter_python::HIGHLIGHTS_QUERY;
    let language = tree_sitter_python::language();
    let mut python = HighlightConfiguration::new(language, "python", query, "", "").ok()?;
    python.configure(&NAMES);
    Some(python)
});

/// The text, escaped. What a terminal or a browser would act on is marked.
pub(crate) fn text(text: &str) -> String {
    let mut html = String::with_capacity(text.len() + text.len() / 8);
    for (piece, escaped) in printable_pieces(text) {
        let _ = match escaped {
            false => write!(html, "{}", HtmlEscape(&piece)),
            true => write!(html, r#"<span class="control">{}</span>"#, HtmlEscape(&piece)),
        };
    }
    html
}

/// A text that may be very long: its middle is left out, and the number of characters
/// stands in its place.
pub(crate) fn long(whole: &str) -> String {
    match cut(whole) {
        None => text(whole),
        Some((head, hidden, tail)) => {
            format!("{}{}{}", text(head), hidden_note(hidden), text(tail))
        }
    }
}

fn hidden_note(characters: usize) -> String {
    let count = thousands(characters as u64);
    format!("\n<span class=\"hidden-text\">… {count} characters are not shown …</span>\n")
}

/// The class of each byte of Python source: 0 for none, otherwise one more than the index
/// in [`NAMES`].
fn classes(source: &str) -> Vec<u8> {
    let mut classes = vec![0; source.len()];
    let Some(python) = PYTHON.as_ref().filter(|_| source.len() <= MAX_PARSED) else {
        return classes;
    };
    let mut highlighter = Highlighter::new();
    let Ok(events) = highlighter.highlight(python, source.as_bytes(), None, |_| None) else {
        return classes;
    };
    let mut open: Vec<u8> = Vec::new();
    for event in events.map_while(Result::ok) {
        match event {
            HighlightEvent::HighlightStart(Highlight(at)) => open.push(at as u8 + 1),
            HighlightEvent::HighlightEnd => drop(open.pop()),
            HighlightEvent::Source { start, end } => {
                if let (Some(class), Some(bytes)) = (open.last(), classes.get_mut(start..end)) {
                    bytes.fill(*class);
                }
            }
        }
    }
    classes
}

/// One line with the classes of its bytes and the spans that differ.
fn painted(line: &str, classes: &[u8], marks: &[Range<usize>]) -> String {
    let marked = |at: usize| marks.iter().any(|mark| mark.contains(&at));
    let key = |at: usize| (classes.get(at).copied().unwrap_or_default(), marked(at));
    let mut html = String::new();
    let mut from = 0;
    while from < line.len() {
        let (class, mark) = key(from);
        let ends = |at: &usize| line.is_char_boundary(*at) && key(*at) != (class, mark);
        let end = (from + 1..line.len()).find(ends).unwrap_or(line.len());
        let piece = text(&line[from..end]);
        let piece = match class {
            0 => piece,
            class => format!(r#"<span class="h{}">{piece}</span>"#, class - 1),
        };
        html += &if mark { format!(r#"<span class="word">{piece}</span>"#) } else { piece };
        from = end;
    }
    html
}

/// The first byte of each line.
fn starts(source: &str) -> Vec<usize> {
    let ends = source.match_indices('\n').map(|(at, _)| at + 1);
    [0].into_iter().chain(ends).collect()
}

/// Python source with line numbers. Lines in `marked`, counted from 0, are marked.
pub(crate) fn python(source: &str, marked: Range<usize>) -> String {
    python_around(source, marked, None)
}

/// The same, with a line that is not part of it before the line with this index.
pub(crate) fn python_around(
    source: &str,
    marked: Range<usize>,
    missing: Option<(usize, &str)>,
) -> String {
    if cut(source).is_some() {
        return format!(r#"<pre tabindex="0" class="code">{}</pre>"#, long(source));
    }
    let classes = classes(source);
    let mut html = String::from(r#"<pre tabindex="0" class="code numbered">"#);
    let place = |html: &mut String, at: usize| {
        if let Some((_, line)) = missing.filter(|(place, _)| *place == at) {
            let _ = writeln!(html, r#"<span class="here"><i>→</i>{}</span>"#, text(line));
        }
    };
    let all = lines(source);
    let count = all.len();
    for (at, (line, start)) in all.into_iter().zip(starts(source)).enumerate() {
        place(&mut html, at);
        let class = if marked.contains(&at) { " class=\"place\"" } else { "" };
        let line = painted(line, &classes[start..], &[]);
        let _ = writeln!(html, r#"<span{class}><i>{}</i>{line}</span>"#, at + 1);
    }
    place(&mut html, count);
    html + "</pre>"
}

/// A few lines of Python without numbers.
pub(crate) fn snippet(source: &str) -> String {
    let html = match cut(source) {
        Some(_) => long(source),
        None => painted(source, &classes(source), &[]),
    };
    format!(r#"<pre tabindex="0" class="code">{html}</pre>"#)
}

/// The difference of two texts of Python; `None` if there is none.
pub(crate) fn difference(old: &str, new: &str) -> Option<String> {
    let too_long = [old, new].into_iter().any(|text| cut(text).is_some());
    let Some(parts) = diff(old, new, AROUND).filter(|_| !too_long) else {
        let note = "<p class=\"note\">The texts are too long to compare.</p>";
        return Some(format!(r#"{note}<pre tabindex="0" class="code">{}</pre>"#, long(new)));
    };
    if parts.iter().all(|part| matches!(part, Part::Gap(_))) {
        return None;
    }
    let sources = [(classes(old), starts(old)), (classes(new), starts(new))];
    let mut html = String::from(r#"<pre tabindex="0" class="code diff">"#);
    for part in &parts {
        let _ = match part {
            Part::Gap(1) => writeln!(html, r#"<span class="gap">1 equal line</span>"#),
            Part::Gap(lines) => writeln!(html, r#"<span class="gap">{lines} equal lines</span>"#),
            Part::Line(line) => writeln!(html, "{}", changed_line(line, &sources)),
        };
    }
    Some(html + "</pre>")
}

fn changed_line(line: &Line, sources: &[(Vec<u8>, Vec<usize>); 2]) -> String {
    let (source, at) = match (line.old, line.new) {
        (_, Some(new)) => (&sources[1], new),
        (old, None) => (&sources[0], old.unwrap_or_default()),
    };
    let (classes, starts) = source;
    let start = starts.get(at).copied().unwrap_or_default();
    let classes = classes.get(start..).unwrap_or_default();
    let line_html = painted(&line.text, classes, &line.marks);
    signed(line.side, &line_html)
}

/// A line with its sign, which is read out and copied with it.
fn signed(side: Side, line: &str) -> String {
    match side {
        Side::Same => format!("<span>  {line}</span>"),
        Side::Removed => format!(r#"<span class="removed">- {line}</span>"#),
        Side::Added => format!(r#"<span class="added">+ {line}</span>"#),
    }
}

/// A unified diff.
pub(crate) fn patch(patch: &str) -> String {
    let mut html = String::from(r#"<pre tabindex="0" class="code diff">"#);
    let line_html = |line: &str| {
        let class = match line.as_bytes() {
            [b'+', b'+', b'+', ..] | [b'-', b'-', b'-', ..] | [b'd', b'i', b'f', b'f', ..] => {
                "file"
            }
            [b'@', b'@', ..] => "gap",
            [b'+', ..] => "added",
            [b'-', ..] => "removed",
            _ => return format!("<span>{}</span>\n", text(line)),
        };
        format!("<span class=\"{class}\">{}</span>\n", text(line))
    };
    match cut(patch) {
        None => html.extend(patch.lines().map(line_html)),
        Some((head, hidden, tail)) => {
            html.extend(head.lines().map(line_html));
            html += &hidden_note(hidden);
            html.extend(tail.lines().map(line_html));
        }
    }
    html + "</pre>"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recorded::MAX_SHOWN;

    #[test]
    fn text_is_escaped_and_control_characters_are_marked() {
        let check = |from: &str, expected: &str| assert_eq!(text(from), expected);
        check("a < b && c\n", "a &lt; b &amp;&amp; c\n");
        check("\"'", "&quot;&#x27;");
        check("\u{1b}]52;<", r#"<span class="control">\u001b</span>]52;&lt;"#);
        check("a\u{202e}\0b", r#"a<span class="control">\u202e\u0000</span>b"#);
    }

    #[test]
    fn the_number_of_hidden_characters_is_shown() {
        let html = long(&format!("begin{}end", "é".repeat(MAX_SHOWN)));
        assert!(html.starts_with("begin") && html.ends_with("end"));
        assert!(html.contains("… 8 characters are not shown …"), "{}", html.len());
    }

    #[test]
    fn python_has_classes_and_changed_words_are_marked() {
        let html =
            difference("def f(a):\n    return a\n", "def f(a):\n    return '<b>'\n").unwrap();
        insta::assert_snapshot!(html);
        assert_eq!(difference("x = 1\n", "x = 1\n"), None);
        insta::assert_snapshot!(python("class A:\n    x = \"é\"  # 1\n", 1..2));
    }
}
