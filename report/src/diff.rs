//! Differences of two texts by line, and by word inside lines that were changed.

use std::ops::Range;

use similar::{Algorithm, DiffTag, TextDiff, capture_diff_slices};

/// The most lines of a text that is compared. The time grows with the lines times the
/// differences.
const MAX_LINES: usize = 2_000;
/// The most bytes of a line that is compared by word.
const MAX_LINE: usize = 2_000;
/// The smallest share of common words of two lines that are one changed line.
const ALIKE: f32 = 0.4;

/// Where a line stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Same,
    Removed,
    Added,
}

/// A line of a difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) side: Side,
    /// Its index in the old and in the new text.
    pub(crate) old: Option<usize>,
    pub(crate) new: Option<usize>,
    pub(crate) text: String,
    /// The bytes that differ from the line in its place; empty if the whole line is new.
    pub(crate) marks: Vec<Range<usize>>,
}

/// A part of a difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Line(Line),
    /// So many equal lines that are not shown.
    Gap(usize),
}

/// The lines of a text, without their ends.
pub(crate) fn lines(text: &str) -> Vec<&str> {
    text.lines().collect()
}

/// The differences of two texts with so many equal lines around each; `None` if a text is
/// too long to compare.
pub(crate) fn diff(old: &str, new: &str, around: usize) -> Option<Vec<Part>> {
    let (before, after) = (lines(old), lines(new));
    if before.len().max(after.len()) > MAX_LINES {
        return None;
    }
    let mut all = Vec::new();
    for op in capture_diff_slices(Algorithm::Myers, &before, &after) {
        let (old, new) = (op.old_range(), op.new_range());
        match op.tag() {
            DiffTag::Equal => all.extend(old.zip(new).map(|(old, new)| Line {
                side: Side::Same,
                old: Some(old),
                new: Some(new),
                text: before[old].to_string(),
                marks: Vec::new(),
            })),
            _ => changed(&before, &after, old, new, &mut all),
        }
    }
    Some(folded(all, around))
}

/// Lines that replace others. Each pair in the same place is compared by word.
fn changed(
    before: &[&str],
    after: &[&str],
    old: Range<usize>,
    new: Range<usize>,
    all: &mut Vec<Line>,
) {
    let pairs: Vec<_> =
        old.clone().zip(new.clone()).map(|(old, new)| words(before[old], after[new])).collect();
    let marks = |at: usize, pick: fn(&Marks) -> &Vec<Range<usize>>| {
        pairs.get(at).map(|pair| pick(pair).clone()).unwrap_or_default()
    };
    all.extend(old.enumerate().map(|(at, old)| Line {
        side: Side::Removed,
        old: Some(old),
        new: None,
        text: before[old].to_string(),
        marks: marks(at, |pair| &pair.0),
    }));
    all.extend(new.enumerate().map(|(at, new)| Line {
        side: Side::Added,
        old: None,
        new: Some(new),
        text: after[new].to_string(),
        marks: marks(at, |pair| &pair.1),
    }));
}

/// The bytes by which two lines differ: those of the old one, and those of the new one.
type Marks = (Vec<Range<usize>>, Vec<Range<usize>>);

/// The bytes by which two lines differ; none if they have little in common.
fn words(old: &str, new: &str) -> Marks {
    if old.len().max(new.len()) > MAX_LINE {
        return Default::default();
    }
    let (before, after) = (tokens(old), tokens(new));
    let diff = TextDiff::from_slices(&before, &after);
    if diff.ratio() < ALIKE {
        return Default::default();
    }
    let span = |tokens: &[&str], range: Range<usize>| {
        let length = |tokens: &[&str]| tokens.iter().map(|token| token.len()).sum::<usize>();
        let from = length(&tokens[..range.start]);
        from..from + length(&tokens[range])
    };
    let mut marks = (Vec::new(), Vec::new());
    for op in diff.ops().iter().filter(|op| op.tag() != DiffTag::Equal) {
        let (removed, added) = (span(&before, op.old_range()), span(&after, op.new_range()));
        marks.0.extend((!removed.is_empty()).then_some(removed));
        marks.1.extend((!added.is_empty()).then_some(added));
    }
    marks
}

/// A line in words, runs of space and single other characters.
fn tokens(line: &str) -> Vec<&str> {
    let kind = |c: char| match c {
        c if c.is_alphanumeric() || c == '_' => 0,
        c if c.is_whitespace() => 1,
        _ => 2,
    };
    let mut tokens = Vec::new();
    let mut rest = line;
    while let Some(first) = rest.chars().next() {
        let end = match kind(first) {
            2 => first.len_utf8(),
            same => rest.find(|c| kind(c) != same).unwrap_or(rest.len()),
        };
        let (token, after) = rest.split_at(end);
        tokens.push(token);
        rest = after;
    }
    tokens
}

/// Replaces equal lines that are far from any change.
fn folded(all: Vec<Line>, around: usize) -> Vec<Part> {
    let mut near = vec![false; all.len()];
    for at in (0..all.len()).filter(|at| all[*at].side != Side::Same) {
        let end = all.len().min(at + around + 1);
        near[at.saturating_sub(around)..end].fill(true);
    }
    let mut parts: Vec<Part> = Vec::new();
    for (line, near) in all.into_iter().zip(near) {
        match (near, parts.last_mut()) {
            (true, _) => parts.push(Part::Line(line)),
            (false, Some(Part::Gap(lines))) => *lines += 1,
            (false, _) => parts.push(Part::Gap(1)),
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A difference as text: changed words between brackets.
    fn text(old: &str, new: &str, around: usize) -> String {
        let line = |line: &Line| {
            let mut text = line.text.clone();
            for mark in line.marks.iter().rev() {
                text.insert(mark.end, ']');
                text.insert(mark.start, '[');
            }
            let sign = match line.side {
                Side::Same => ' ',
                Side::Removed => '-',
                Side::Added => '+',
            };
            format!("{sign}{text}\n")
        };
        let part = |part: &Part| match part {
            Part::Line(found) => line(found),
            Part::Gap(lines) => format!("@{lines}\n"),
        };
        diff(old, new, around).unwrap().iter().map(part).collect()
    }

    #[test]
    fn lines_and_words_that_differ_are_found() {
        let check = |old: &str, new: &str, expected: &str| assert_eq!(text(old, new, 1), expected);
        check("", "", "");
        check("a\n", "a\n", "@1\n");
        check("", "a\nb\n", "+a\n+b\n");
        check("a\nb\nc\nd\n", "a\nb\nc\nx y\n", "@2\n c\n-d\n+x y\n");
        check("return sum(a)\n", "return sum(b)\n", "-return sum([a])\n+return sum([b])\n");
        check("x = 1\n", "x = 1 + é\n", "-x = 1\n+x = 1[ + é]\n");
    }

    #[test]
    fn a_text_that_is_too_long_is_not_compared() {
        assert_eq!(diff(&"a\n".repeat(MAX_LINES + 1), "b\n", 3), None);
        let long = "a".repeat(MAX_LINE + 1);
        let parts = diff(&long, &format!("{long}b"), 3).unwrap();
        assert!(parts.iter().all(|part| matches!(part, Part::Line(line) if line.marks.is_empty())));
    }
}
