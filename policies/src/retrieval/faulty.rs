//! Proposals that change one place of the faulty method that a task shows.
//!
//! A task without the method's file is one of the benchmark `faults`, where retrieval stays
//! the baseline that it was.

use ruff_python_ast::token::TokenKind;

use super::proposal::{Idea, Proposal, Sign};
use super::python::tokens;
use super::target::Target;

/// Tokens that are taken for each other, and the log-odds that this is the fault. They are
/// above those of all other ideas: most faults are small.
static SWAPS: [(&str, &[&str], f32); 19] = [
    ("+", &["-"], 5.0),
    ("-", &["+"], 5.0),
    ("*", &["/", "+", "//"], 4.0),
    ("/", &["//", "*"], 4.0),
    ("//", &["/", "%"], 4.0),
    ("%", &["//"], 4.0),
    ("<", &["<=", ">"], 5.0),
    ("<=", &["<", ">="], 5.0),
    (">", &[">=", "<"], 5.0),
    (">=", &[">", "<="], 5.0),
    ("==", &["!="], 4.5),
    ("!=", &["=="], 4.5),
    ("and", &["or"], 4.5),
    ("or", &["and"], 4.5),
    ("True", &["False"], 4.5),
    ("False", &["True"], 4.5),
    ("min", &["max"], 4.5),
    ("max", &["min"], 4.5),
    ("+=", &["-="], 5.0),
];

/// All changes of one token of the method's body.
pub(super) fn propose(target: &Target<'_>) -> Vec<Proposal> {
    let faulty = target.method.faulty.as_deref().filter(|_| !target.method.content.is_empty());
    let Some(faulty) = faulty else { return Vec::new() };
    let start = faulty.find(&target.method.declaration).unwrap_or_default();
    let body = start + target.method.declaration.len();
    let mut proposals = Vec::new();
    let all = tokens(faulty);
    for (at, token) in all.iter().enumerate() {
        let (from, to) = (usize::from(token.range.start()), usize::from(token.range.end()));
        if from < body {
            continue;
        }
        let before = at.checked_sub(1).map(|at| &faulty[all[at].range]);
        for (change, odds) in changes(token.kind, &faulty[from..to], before) {
            let code = format!("{}{change}{}", &faulty[..from], &faulty[to..]);
            proposals.push(Proposal {
                code,
                idea: Idea::Edit,
                from: format!("the faulty method: `{}`", &faulty[from..to]),
                evidence: vec![(Sign::Prior, odds)],
            });
        }
    }
    proposals
}

/// What may be meant by a token, with the log-odds.
fn changes(kind: TokenKind, text: &str, before: Option<&str>) -> Vec<(String, f32)> {
    if kind == TokenKind::Int
        && let Ok(number) = text.parse::<u64>()
    {
        let less = number.checked_sub(1).map(|less| (less.to_string(), 3.5));
        return less.into_iter().chain([((number + 1).to_string(), 3.5)]).collect();
    }
    if text == "not" && before != Some("is") {
        return vec![(String::new(), 4.0)];
    }
    // A `*` or a `-` before an argument is no operator.
    let is_prefix = before.is_some_and(|before| ["(", ",", "[", "=", "return"].contains(&before));
    let swap = SWAPS.iter().find(|(from, ..)| *from == text && !(is_prefix && from.len() == 1));
    let swap = swap.into_iter().flat_map(|(_, to, odds)| {
        to.iter().zip(0u8..).map(move |(to, at)| ((*to).to_string(), odds - f32::from(at)))
    });
    swap.collect()
}

#[cfg(test)]
mod tests {
    use fixfly_runtime::{DescribedBy, FaultOptions, Method};

    use super::*;

    fn method(faulty: &str, content: &str) -> Method {
        Method {
            file: "cart.py".into(),
            class_name: "Cart".into(),
            name: "f".into(),
            declaration: "def f(self, n=1):".into(),
            decorators: Vec::new(),
            description: String::new(),
            described_by: DescribedBy::Nothing,
            content: content.into(),
            faulty: Some(faulty.into()),
            options: FaultOptions::default(),
        }
    }

    #[track_caller]
    fn check(body: &str, expected: &[&str]) {
        let before = "def f(self, n=1):\n    \"\"\"A - b.\"\"\"\n    ";
        let method = method(&format!("{before}{body}"), "class Cart:\n    pass\n");
        let found = propose(&Target::read(&method)).into_iter();
        let found: Vec<String> = found.map(|one| one.code.replace(before, "")).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn one_token_of_the_body_changes_and_the_docstring_stays() {
        check("return self.a - n", &["return self.a + n"]);
        check("return n < 2", &["return n <= 2", "return n > 2", "return n < 1", "return n < 3"]);
        check("return not n", &["return  n"]);
        check("return n is not None", &[]);
        check("return g(*n, -n)", &[]);
        check("return max(n, self.a)", &["return min(n, self.a)"]);
    }

    #[test]
    fn a_fault_without_its_file_has_no_such_proposals() {
        let method = method("def f(self, n=1):\n    return n - 1", "");
        assert!(propose(&Target::read(&method)).is_empty());
    }
}
