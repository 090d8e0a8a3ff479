//! Extracts the trace from an answer and decides whether it is accepted.

use fixfly_runtime::{Finish, code_block};

use super::answers::Outcome;
use super::leaks::without_leaks;
use crate::language::Language;
use crate::tokens::Tokens;

const TAGS: [&str; 2] = ["<think>", "</think>"];

/// An answer of a teacher.
#[derive(Clone, Copy, Debug)]
pub struct TeacherAnswer<'a> {
    /// The text of the answer.
    pub text: &'a str,
    /// The reasoning, if the model returned it separately.
    pub reasoning: Option<&'a str>,
    /// Why the generation stopped.
    pub finish: Finish,
}

/// The final code of an answer, which is compared with the solution or tested.
pub fn final_code(text: &str) -> Option<&str> {
    let code = code_block(text);
    (!code.trim().is_empty()).then_some(code)
}

/// Whether two texts are the same method: by syntax tree, or word for word if one cannot be
/// parsed.
pub fn same_code(one: &str, other: &str, language: &dyn Language) -> bool {
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    match (language.tree_hash(one), language.tree_hash(other)) {
        (Some(one), Some(other)) => one == other,
        _ => words(one) == words(other),
    }
}

/// Judges an answer to a request for reasoning. `right` states how its final code was
/// checked, or why it is wrong.
pub fn elicited(answer: TeacherAnswer<'_>, right: Result<&str, &str>) -> Outcome {
    if answer.finish == Finish::Length {
        return rejected("cut off at the token limit");
    }
    let by = match right {
        Ok(by) => by,
        Err(why) => return rejected(why),
    };
    let Some(trace) = trace(answer) else { return rejected("no reasoning") };
    if TAGS.iter().any(|tag| trace.contains(tag)) {
        return rejected("the reasoning contains a reasoning tag");
    }
    let (kept, leaks) = without_leaks(&trace);
    let words = |text: &str| text.split_whitespace().count();
    if 2 * words(&kept) < words(&trace) || kept.is_empty() {
        return rejected("little remains without the given solution");
    }
    Outcome::Accepted { reasoning: kept, tokens: None, leaks, by: by.into() }
}

/// Judges a shortened trace.
pub fn compressed(answer: TeacherAnswer<'_>, most: usize, tokens: &Tokens) -> Outcome {
    if answer.finish == Finish::Length {
        return rejected("cut off at the token limit");
    }
    let short = bare(answer.text);
    if short.is_empty() {
        return rejected("the answer is empty");
    }
    if TAGS.iter().any(|tag| short.contains(tag)) {
        return rejected("the reasoning contains a reasoning tag");
    }
    let count = tokens.of(short);
    if count > most {
        return rejected("longer than the token limit");
    }
    let by = format!("at most {most} tokens");
    Outcome::Accepted { reasoning: short.into(), tokens: Some(count), leaks: 0, by }
}

/// The separate reasoning, or otherwise the text before the code.
fn trace(answer: TeacherAnswer<'_>) -> Option<String> {
    let apart = answer.reasoning.map(str::trim).filter(|text| !text.is_empty());
    let before = || {
        let code = code_block(answer.text);
        let at = answer.text.rfind(code).filter(|_| code.len() < answer.text.len())?;
        let words = answer.text[..at].trim_end();
        let words = words.rsplit_once('\n').map_or("", |(words, _fence)| words);
        Some(words.trim()).filter(|words| !words.is_empty())
    };
    apart.or_else(before).map(String::from)
}

/// The text without the tags or the fence that some models add around it.
fn bare(text: &str) -> &str {
    let text = text.trim();
    let text = text.strip_prefix(TAGS[0]).unwrap_or(text);
    let text = text.strip_suffix(TAGS[1]).unwrap_or(text).trim();
    let fenced = text.starts_with("```") && text.ends_with("```");
    match fenced && text.matches("```").count() == 2 {
        true => code_block(text).trim(),
        false => text,
    }
}

fn rejected(why: &str) -> Outcome {
    Outcome::Rejected { why: why.into(), again: true }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer<'a>(reasoning: Option<&'a str>, text: &'a str) -> TeacherAnswer<'a> {
        TeacherAnswer { text, reasoning, finish: Finish::Stop }
    }

    #[track_caller]
    fn check(outcome: Outcome, expected: Result<(&str, usize), &str>) {
        match (outcome, expected) {
            (Outcome::Accepted { reasoning, leaks, .. }, Ok(expected)) => {
                assert_eq!((&*reasoning, leaks), expected);
            }
            (Outcome::Rejected { why, .. }, Err(expected)) => assert_eq!(why, expected),
            (outcome, expected) => panic!("{outcome:?} is not {expected:?}"),
        }
    }

    #[test]
    fn a_trace_is_what_was_thought_or_said_before_the_code() {
        let code = "```python\nx\n```";
        check(elicited(answer(Some(" Hm.\n"), code), Ok("same")), Ok(("Hm.", 0)));
        let words = format!("Hm.\n\nSo:\n{code}\n");
        check(elicited(answer(None, &words), Ok("same")), Ok(("Hm.\n\nSo:", 0)));
        let two = format!("Hm:\n{code}\nno, once more:\n```python\ny\n```");
        check(
            elicited(answer(None, &two), Ok("same")),
            Ok(("Hm:\n```python\nx\n```\nno, once more:", 0)),
        );
        check(elicited(answer(None, code), Ok("same")), Err("no reasoning"));
        check(elicited(answer(None, "x"), Ok("same")), Err("no reasoning"));
        check(
            elicited(answer(Some("Hm."), code), Err("its code is other")),
            Err("its code is other"),
        );
        check(
            elicited(answer(Some("a <think> b"), code), Ok("same")),
            Err("the reasoning contains a reasoning tag"),
        );
        let leak =
            "The solution I was given adds one. It fails on the empty list. So I check first.";
        check(
            elicited(answer(Some(leak), code), Ok("same")),
            Ok(("It fails on the empty list. So I check first.", 1)),
        );
        check(
            elicited(
                answer(Some("The given solution adds one and then two and three. So."), code),
                Ok("same"),
            ),
            Err("little remains without the given solution"),
        );
        let cut = TeacherAnswer { finish: Finish::Length, ..answer(Some("Hm."), code) };
        check(elicited(cut, Ok("same")), Err("cut off at the token limit"));
    }

    #[test]
    fn a_shorter_trace_is_short_and_bare() {
        let check = |text: &str, expected| {
            check(compressed(answer(None, text), 3, &Tokens::Estimated), expected)
        };
        check(" Okay, so.\n", Ok(("Okay, so.", 0)));
        check("<think>\nOkay.\n</think>", Ok(("Okay.", 0)));
        check("```\nOkay.\n```", Ok(("Okay.", 0)));
        check("Okay, so that is it.", Err("longer than the token limit"));
        check(" ", Err("the answer is empty"));
        check("a </think> b", Err("the reasoning contains a reasoning tag"));
    }
}
