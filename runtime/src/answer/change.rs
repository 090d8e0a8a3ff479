//! A change of one line of a method: what it removes, and what stands in its place.

use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a change may remove.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EditForm {
    /// A line of the method.
    #[default]
    Line,
    /// A line, or a part of a line that occurs once in the method.
    Text,
}

impl EditForm {
    /// Whether it is the default, which records leave out.
    #[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    pub(crate) fn is_line(&self) -> bool {
        *self == EditForm::Line
    }
}

impl FromStr for EditForm {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "line" => Ok(EditForm::Line),
            "text" => Ok(EditForm::Text),
            _ => Err("expected one of: line, text".into()),
        }
    }
}

/// Why a change cannot be made, in words that a model can act on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// It has more or fewer than two lines.
    #[error(
        "A change is two lines, `- ` with the line as it stands and `+ ` with the line as it should be; this has {0}."
    )]
    Lines(usize),
    /// The second line adds nothing.
    #[error("The second line of a change begins with `+`, not `{0}`.")]
    NoPlus(String),
    /// The first line removes nothing.
    #[error("The first line of a change names what it replaces; here nothing follows the `-`.")]
    Empty,
    /// No line of the method is the removed one.
    #[error("No line of the method is `{0}`.")]
    NoLine(String),
    /// No line of the method contains the removed part.
    #[error("No line of the method contains `{0}`.")]
    NoPart(String),
    /// Several lines are the removed one.
    #[error("{count} lines of the method are `{line}`; send the whole method.")]
    SeveralLines {
        /// The number of lines.
        count: usize,
        /// The line.
        line: String,
    },
    /// The removed part occurs several times.
    #[error("`{part}` occurs {count} times in the method; give more of its line.")]
    SeveralParts {
        /// The number of times.
        count: usize,
        /// The part.
        part: String,
    },
}

impl ChangeError {
    /// Whether the method has nothing that the change could remove.
    pub fn is_missing(&self) -> bool {
        matches!(self, ChangeError::NoLine(_) | ChangeError::NoPart(_))
    }
}

/// The method after an answer that changes one of its lines; otherwise the answer itself,
/// which is a method.
///
/// # Errors
/// [`ChangeError`] if the answer is a change that cannot be made.
pub fn repaired(faulty: &str, answer: &str, form: EditForm) -> Result<String, ChangeError> {
    let lines: Vec<&str> = answer.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
    let Some(is) = lines.first().and_then(|line| line.strip_prefix('-')) else {
        return Ok(answer.to_string());
    };
    let [_, should] = lines.as_slice() else {
        return Err(ChangeError::Lines(lines.len()));
    };
    let Some(should) = should.strip_prefix('+') else {
        return Err(ChangeError::NoPlus((*should).to_string()));
    };
    let (is, should) = (is.trim(), should.trim());
    match (faulty.lines().filter(|line| line.trim() == is).count(), form) {
        (1, _) => Ok(faulty
            .split_inclusive('\n')
            .map(|line| match line.trim() == is {
                true => line.replacen(is, should, 1),
                false => line.to_string(),
            })
            .collect()),
        (_, EditForm::Text) => part_replaced(faulty, is, should),
        (0, EditForm::Line) => Err(ChangeError::NoLine(is.to_string())),
        (count, EditForm::Line) => Err(ChangeError::SeveralLines { count, line: is.to_string() }),
    }
}

fn part_replaced(faulty: &str, is: &str, should: &str) -> Result<String, ChangeError> {
    if is.is_empty() {
        return Err(ChangeError::Empty);
    }
    // Occurrences may overlap.
    let starts = faulty.char_indices().filter(|(at, _)| faulty[*at..].starts_with(is));
    match starts.count() {
        0 => Err(ChangeError::NoPart(is.to_string())),
        1 => Ok(faulty.replacen(is, should, 1)),
        count => Err(ChangeError::SeveralParts { count, part: is.to_string() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAULTY: &str = "def f(self):\n    if not (a):\n        return 1\n    return 1\n";

    #[track_caller]
    fn check(form: EditForm, answer: &str, expected: Result<&str, &str>) {
        let found = repaired(FAULTY, answer, form).map_err(|why| why.to_string());
        assert_eq!(found.as_deref().map_err(String::as_str), expected);
    }

    #[test]
    fn an_answer_is_a_change_of_one_line_or_a_method() {
        let right = FAULTY.replace("not (a)", "a");
        for form in [EditForm::Line, EditForm::Text] {
            check(form, "- if not (a):\n+ if a:", Ok(&right));
            check(form, "\n-if not (a):\n\n+ if a:\n", Ok(&right));
            check(form, "def f(self):\n    - 1\n", Ok("def f(self):\n    - 1\n"));
            check(
                form,
                "- if not (a):\n  if a:",
                Err("The second line of a change begins with `+`, not `if a:`."),
            );
        }
        check(EditForm::Line, "- if b:\n+ if a:", Err("No line of the method is `if b:`."));
        check(EditForm::Line, "- not (a)\n+ a", Err("No line of the method is `not (a)`."));
        check(
            EditForm::Line,
            "- return 1\n+ return 2",
            Err("2 lines of the method are `return 1`; send the whole method."),
        );
        let three = repaired(FAULTY, "- a\n+ b\n+ c", EditForm::Line).unwrap_err().to_string();
        assert!(three.ends_with("this has 3."), "{three}");
    }

    #[test]
    fn a_part_of_a_line_is_replaced_if_it_occurs_once() {
        let text = |answer, expected| check(EditForm::Text, answer, expected);
        let right = FAULTY.replace("not (a)", "a");
        text("- not (a)\n+ a", Ok(&right));
        text("- not (a):\n+ a:", Ok(&right));
        text("- (b)\n+ a", Err("No line of the method contains `(b)`."));
        text("- 1\n+ 2", Err("`1` occurs 2 times in the method; give more of its line."));
        text(
            "- return 1\n+ return 2",
            Err("`return 1` occurs 2 times in the method; give more of its line."),
        );
        text(
            "-\n+ a",
            Err("The first line of a change names what it replaces; here nothing follows the `-`."),
        );
        // A whole line comes before parts of other lines.
        let faulty = "a = b\nc = a = b\n";
        let found = repaired(faulty, "- a = b\n+ a = d", EditForm::Text);
        assert_eq!(found.unwrap(), "a = d\nc = a = b\n");
        let overlapping = repaired("x = 'aaa'\n", "- aa\n+ b", EditForm::Text);
        assert_eq!(overlapping, Err(ChangeError::SeveralParts { count: 2, part: "aa".into() }));
    }

    #[test]
    fn a_change_of_what_is_not_there_is_told_apart() {
        for (form, answer, expected) in [
            (EditForm::Line, "- b\n+ a", true),
            (EditForm::Text, "- b\n+ a", true),
            (EditForm::Line, "- return 1\n+ a", false),
            (EditForm::Text, "- 1\n+ a", false),
            (EditForm::Line, "- a", false),
        ] {
            assert_eq!(repaired(FAULTY, answer, form).unwrap_err().is_missing(), expected);
        }
    }
}
