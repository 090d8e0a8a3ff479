//! Exact match of text: whether a method equals the reference, character by character.

/// Whether two dedented methods are equal, except for trailing whitespace and blank lines
/// around the method.
pub(crate) fn same_text(reference: &str, candidate: &str) -> bool {
    trimmed(reference) == trimmed(candidate)
}

fn trimmed(text: &str) -> String {
    text.trim().lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn white_space_at_line_ends_is_ignored() {
        #[track_caller]
        fn check(candidate: &str, expected: bool) {
            let reference = "def f(self):\n    \"\"\"Doc.\"\"\"\n    return 1\n";
            assert_eq!(same_text(reference, candidate), expected);
        }
        check("\ndef f(self):  \r\n    \"\"\"Doc.\"\"\"\n    return 1", true);
        check("def f(self):\n    return 1  # one", false);
        check("def f(self):\n    return  1", false);
        check("def f(", false);
    }
}
