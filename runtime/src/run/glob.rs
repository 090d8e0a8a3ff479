//! Patterns for task ids.

/// Whether the pattern matches all of `text`: `*` is any text, `?` is one character. Takes
/// at most as many steps as the product of the two lengths.
pub(super) fn matches(pattern: &str, text: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let text: Vec<char> = text.chars().collect();
    let (mut at, mut read) = (0, 0);
    // After the last star: its position in the pattern, and the end of the text that it
    // matches.
    let mut star: Option<(usize, usize)> = None;
    while read < text.len() {
        match (pattern.get(at), star) {
            (Some('*'), _) => {
                star = Some((at, read));
                at += 1;
            }
            (Some(letter), _) if *letter == '?' || *letter == text[read] => {
                at += 1;
                read += 1;
            }
            // Only the last star has to match more; earlier ones need not be tried again.
            (_, Some((place, end))) => {
                star = Some((place, end + 1));
                at = place + 1;
                read = end + 1;
            }
            (_, None) => return false,
        }
    }
    pattern[at..].iter().all(|letter| *letter == '*')
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
        check("a*b*c", "a-c-b-c", true);
        check("a*b*c", "a-c-b-", false);
        check("*ab", "aab", true);
        check("a*", "a", true);
    }

    #[test]
    fn many_stars_take_no_longer() {
        check(&"*a".repeat(2_000), &"a".repeat(1_999), false);
        check(&("*a".repeat(500) + "b"), &"a".repeat(5_000), false);
    }
}
