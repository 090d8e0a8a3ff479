//! A grammar for changes of one line: the removed line is one of the method's, and the
//! added one differs from it.

use super::{in_class, literal};

/// Characters that do not count at either end of a line.
const SPACE: [char; 2] = [' ', '\t'];

/// The lines of a method that a change can remove: those that occur once.
pub(in crate::llama) fn removable(method: &str) -> Vec<String> {
    let lines: Vec<&str> = method.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let once = |line: &&&str| lines.iter().filter(|other| other == line).count() == 1;
    lines.iter().filter(once).map(|line| line.to_string()).collect()
}

/// The rules of a block with a change of one of these lines; `change` is the first.
pub(super) fn rules(lines: &[String]) -> String {
    let changes = (0..lines.len()).map(|at| format!("change-{at}"));
    let mut rules = vec![
        format!(
            r#"change ::= "```python\n" ({}) "\n```" "\n"?"#,
            changes.collect::<Vec<_>>().join(" | ")
        ),
        r"rest ::= [^\n]*".to_string(),
    ];
    for (at, line) in lines.iter().enumerate() {
        let removed = literal(&format!("- {line}\n+ "));
        rules.push(format!("change-{at} ::= {removed} other-{at}-0"));
        rules.extend(others(at, line));
    }
    rules.join("\n")
}

/// Rules for any line that is not `line`, ends aside. Each stands for the characters of
/// `line` that were written so far.
fn others(at: usize, line: &str) -> Vec<String> {
    let letters: Vec<char> = line.chars().collect();
    let rule = |matched: usize, letter: &char| {
        let (same, next) = (literal(&letter.to_string()), matched + 1);
        let mut not = in_class(*letter);
        // A line does not begin with a space.
        if matched == 0 {
            not.push_str(" \\t");
        }
        let end = if matched == 0 { "" } else { "?" };
        format!("other-{at}-{matched} ::= ({same} other-{at}-{next} | [^\\n{not}] rest){end}")
    };
    let mut rules: Vec<String> =
        letters.iter().enumerate().map(|(matched, letter)| rule(matched, letter)).collect();
    let whole = letters.len();
    let space = SPACE.map(|space| literal(&space.to_string())).join(" | ");
    rules.push(format!("other-{at}-{whole} ::= ({space}) other-{at}-{whole} | [^\\n \\t] rest"));
    rules
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lines_that_occur_once_can_be_removed() {
        let method = "def f(self):\n    if a:\n        return 1\n\n    x = 'é'\n    return 1\n";
        assert_eq!(removable(method), ["def f(self):", "if a:", "x = 'é'"]);
        assert!(removable("a\n  a\n").is_empty());
    }

    #[test]
    fn the_added_line_differs_from_the_removed_one() {
        let rules = rules(&["x[\"a\"]".to_string(), "^".to_string()]);
        let expected = r#"
        change ::= "```python\n" (change-0 | change-1) "\n```" "\n"?
        rest ::= [^\n]*
        change-0 ::= "- x[\"a\"]\n+ " other-0-0
        other-0-0 ::= ("x" other-0-1 | [^\nx \t] rest)
        other-0-1 ::= ("[" other-0-2 | [^\n\[] rest)?
        other-0-2 ::= ("\"" other-0-3 | [^\n"] rest)?
        other-0-3 ::= ("a" other-0-4 | [^\na] rest)?
        other-0-4 ::= ("\"" other-0-5 | [^\n"] rest)?
        other-0-5 ::= ("]" other-0-6 | [^\n\]] rest)?
        other-0-6 ::= (" " | "	") other-0-6 | [^\n \t] rest
        change-1 ::= "- ^\n+ " other-1-0
        other-1-0 ::= ("^" other-1-1 | [^\n^ \t] rest)
        other-1-1 ::= (" " | "	") other-1-1 | [^\n \t] rest
        "#;
        let expected: Vec<&str> = expected.trim().lines().map(str::trim_start).collect();
        assert_eq!(rules.lines().collect::<Vec<_>>(), expected);
    }
}
