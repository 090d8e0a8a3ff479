//! Exact match: whether a method is the reference, letter by letter.

use crate::source::normal_form;

/// What is set aside before two methods are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exact {
    /// White space at line ends, and blank lines around the method: the text
    /// level.
    Text,
    /// Also the docstring, comments, blank lines and decorators.
    Code,
}

impl Exact {
    /// Whether they match. Both are one method, dedented.
    pub fn matches(self, reference: &str, candidate: &str) -> bool {
        match self {
            Exact::Text => trimmed(reference) == trimmed(candidate),
            Exact::Code => normal_form(reference) == normal_form(candidate),
        }
    }
}

fn trimmed(text: &str) -> String {
    text.trim().lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_aside_is_said() {
        #[track_caller]
        fn check(candidate: &str, text: bool, code: bool) {
            let reference = "def f(self):\n    \"\"\"Doc.\"\"\"\n    return 1\n";
            assert_eq!(Exact::Text.matches(reference, candidate), text);
            assert_eq!(Exact::Code.matches(reference, candidate), code);
        }
        check("\ndef f(self):  \r\n    \"\"\"Doc.\"\"\"\n    return 1", true, true);
        check("def f(self):\n    return 1  # one", false, true);
        check("def f(self):\n    return  1", false, false);
        check("def f(", false, false);
    }
}
