//! Finds where else the code of a body stands: in another file, in documents, or again in
//! the same file.

use std::collections::HashMap;
use std::ops::RangeInclusive;

use super::lines;

/// Bodies with fewer lines of code are alike by chance.
const SHORTEST: usize = 3;
/// Maximum number of places that are listed.
const MOST: usize = 20;

/// All lines of code of some texts.
pub(crate) struct Copies {
    files: Vec<String>,
    /// The file, the line's number and the number of its text, in order.
    lines: Vec<(usize, usize, usize)>,
    /// The number of each text of a line.
    numbers: HashMap<String, usize>,
    /// Where the line with each number stands, as positions in `lines`.
    places: Vec<Vec<usize>>,
}

impl Copies {
    /// Reads texts, each with the name of its file.
    pub(crate) fn of(texts: &[(String, String)]) -> Self {
        let mut copies = Copies {
            files: Vec::new(),
            lines: Vec::new(),
            numbers: HashMap::new(),
            places: vec![],
        };
        for (at, (file, text)) in texts.iter().enumerate() {
            copies.files.push(file.clone());
            for (line, code) in code_lines(text) {
                let new = copies.numbers.len();
                let number = *copies.numbers.entry(code.to_string()).or_insert(new);
                if number == new {
                    copies.places.push(Vec::new());
                }
                copies.places[number].push(copies.lines.len());
                copies.lines.push((at, line, number));
            }
        }
        copies
    }

    /// The places, as `path:line`, where all lines of `body` follow each other, but for
    /// those that begin within `own`, lines of `file`. None for a short body.
    pub(crate) fn find(&self, body: &str, file: &str, own: &RangeInclusive<usize>) -> Vec<String> {
        let wanted = code_lines(body).map(|(_, code)| self.numbers.get(code).copied());
        let Some(wanted) = wanted.collect::<Option<Vec<usize>>>() else { return Vec::new() };
        let rarest = (0..wanted.len()).min_by_key(|at| self.places[wanted[*at]].len());
        let Some(rarest) = rarest.filter(|_| wanted.len() >= SHORTEST) else { return Vec::new() };
        let starts = self.places[wanted[rarest]].iter().filter_map(|at| at.checked_sub(rarest));
        let is_copy = |start: &usize| {
            let Some(lines) = self.lines.get(*start..start + wanted.len()) else { return false };
            let same = lines.iter().zip(&wanted).all(|(line, wanted)| line.2 == *wanted);
            same && lines.iter().all(|line| line.0 == lines[0].0)
        };
        let place = |start: usize| {
            let (at, line, _) = self.lines[start];
            let name = &self.files[at];
            (name != file || !own.contains(&line)).then(|| format!("{name}:{line}"))
        };
        starts.filter(is_copy).filter_map(place).take(MOST).collect()
    }
}

/// `text` with `...` in place of each run of lines that are those of `body`.
pub(crate) fn masked(text: &str, body: &str) -> String {
    let wanted: Vec<&str> = code_lines(body).map(|(_, code)| code).collect();
    if wanted.len() < SHORTEST {
        return text.to_string();
    }
    let own: Vec<(usize, &str)> = code_lines(text).collect();
    let breaks = text.match_indices('\n').map(|(at, _)| at + 1);
    let starts: Vec<usize> = std::iter::once(0).chain(breaks).collect();
    let (mut out, mut kept, mut at) = (String::new(), 0, 0);
    while let Some(run) = own.get(at..at + wanted.len()) {
        if !run.iter().map(|(_, code)| code).eq(&wanted) {
            at += 1;
            continue;
        }
        let first = starts[run[0].0 - 1];
        out += &text[kept..first];
        out += lines::indent_of(&text[first..]);
        out += "...";
        out += lines::line_break(text);
        kept = starts.get(run[run.len() - 1].0).copied().unwrap_or(text.len());
        at += wanted.len();
    }
    out + &text[kept..]
}

/// The lines with code, each with its number from 1: without white space around it, the
/// prompt of an interactive session, and a comment.
fn code_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().filter_map(|(at, line)| {
        let line = line.trim();
        let prompt = line.strip_prefix(">>> ").or_else(|| line.strip_prefix("... "));
        let line = prompt.map_or(line, str::trim_start);
        let code = match line.starts_with('#') {
            true => "",
            false => line.find(" #").map_or(line, |end| &line[..end]).trim_end(),
        };
        (!code.is_empty()).then_some((at + 1, code))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: &str = "x = a\n        if x:  # why\n\n            x += 1\n        return x";

    #[track_caller]
    fn check(file: &str, text: &str, expected: &[&str]) {
        let own = ("a.py".to_string(), format!("class A:\n    def f(self, a):\n        {BODY}\n"));
        let copies = Copies::of(&[own, (file.to_string(), text.to_string())]);
        assert_eq!(copies.find(BODY, "a.py", &(2..=7)), expected, "{text}");
    }

    #[test]
    fn a_copy_is_found_whatever_its_layout() {
        check("b.py", "x = a\nif x:\n    x += 1\nreturn y\n", &[]);
        check("b.py", "def f(a):\n  x = a\n  if x:\n    x += 1\n  # so\n  return x\n", &["b.py:2"]);
        check(
            "docs/a.rst",
            "Thus::\n\n    >>> def f(a):\n    ...     x = a\n    ...     if x:\n    ...         x += 1\n    ...     return x\n",
            &["docs/a.rst:4"],
        );
        let twice = "x = a\nif x:\nx += 1\nreturn x\nx = a\nif x:\nx += 1\nreturn x\n";
        check("b.md", twice, &["b.md:1", "b.md:5"]);
        check("b.md", "return x\nx = a\nif x:\nx += 1\n", &[]);
    }

    #[test]
    fn short_bodies_have_no_copies() {
        let text = "def f():\n    x = 1\n    return x\n".to_string();
        let copies = Copies::of(&[("a.py".into(), text.clone()), ("b.py".into(), text)]);
        assert!(copies.find("x = 1\n    return x", "a.py", &(1..=3)).is_empty());
    }

    #[test]
    fn copies_in_a_text_are_masked() {
        let text = "class B:\n    def g(self, a):\n        x = a\n        if x:\n            x += 1\n        return x\n\n    y = 1\n";
        let expected = "class B:\n    def g(self, a):\n        ...\n\n    y = 1\n";
        assert_eq!(masked(text, BODY), expected);
        assert_eq!(masked(expected, BODY), expected);
    }
}
