//! Patterns for task ids.

/// Whether all of `text` matches: `*` matches any text, `?` any one character.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    let mut letters = pattern.chars();
    match letters.next() {
        None => text.is_empty(),
        Some('*') => {
            let rest = letters.as_str();
            let starts = text.char_indices().map(|(at, _)| at).chain([text.len()]);
            // Consecutive stars would retry the same positions.
            let rest = rest.trim_start_matches('*');
            starts.into_iter().any(|at| matches(rest, &text[at..]))
        }
        Some(letter) => {
            let mut read = text.chars();
            read.next().is_some_and(|next| letter == '?' || letter == next)
                && matches(letters.as_str(), read.as_str())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, text: &str, expected: bool) {
        assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
    }

    #[test]
    fn stars_and_question_marks() {
        let id = "django/utils/html.py::MLStripper.get_data";
        check(id, id, true);
        check("django/utils/*", id, true);
        check("*::MLStripper.*", id, true);
        check("*get_data", id, true);
        check("**", id, true);
        check("django/utils", id, false);
        check("*get_dat", id, false);
        check("a?c", "aßc", true);
        check("a?c", "ac", false);
        check("", "", true);
        check("*", "", true);
        check("?", "", false);
    }
}
