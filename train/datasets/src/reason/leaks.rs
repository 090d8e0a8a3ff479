//! Removes sentences in which a trace mentions that the solution was given. A student gets
//! no solution, so it must not learn to mention one.

use std::sync::LazyLock;

use regex::Regex;

/// Phrases that only a model uses that was given the solution.
static GIVEN: LazyLock<Regex> = LazyLock::new(|| {
    let solution = "(?:solution|answer|fix|(?:correct|right|fixed|final|working) (?:code|implementation|version|method))";
    let gave = "(?:given|provided|supplied|shown|handed|told)";
    // "The provided code" may be the faulty one.
    let told = "(?:correct|right|provided|given|supplied|reference|expected|official|ground[- ]truth|target) (?:solution|answer|fix)";
    let right = "(?:correct|right|fixed|reference|official|ground[- ]truth) (?:code|implementation|version|method)";
    let that = format!("(?:{told}|{right})");
    let phrases = [
        // the solution I was given, the correct code provided, the answer is given
        format!(
            r"{solution},?(?: (?:that|which))?(?: (?:i|we|you|they))?(?:'ve| have| am| was| were| are| is| has| had| be)?(?: been)?(?: just| already| also)? {gave}\b"
        ),
        // the given solution, the reference answer
        format!(
            r"\b(?:given|provided|supplied|reference|official|ground[- ]truth)(?: correct)? {solution}\b"
        ),
        r"\bground[- ]truth\b".into(),
        // looking at the correct solution; as in the correct code
        format!(
            r"\b(?:at|in|from|with|to|per|of|by|like|match(?:es)?|see) (?:the|their|this|that) {that}\b"
        ),
        // the correct solution uses
        format!(
            r"\b(?:the|this|that) {that}(?: here| above| below)?,? (?:uses|does|has|shows|says|adds|calls|returns|includes|sets|checks|looks|goes|handles|reads|removes|starts|they|i|we|you)\b"
        ),
        // the solution I will give
        format!(
            r"{solution},? (?:that |which )?(?:i|you|we|my answer)(?:'ll| will| should| must| shall| am supposed to| are supposed to| have to| need to) (?:give|provide|return|output|arrive)"
        ),
        // they gave the solution
        r"\b(?:user|prompt|task|question|they|he|she|problem) (?:has |have |had |already |also )*(?:gave|gives|given|provides|provided|supplied|showed|shows|includes|included)\b[^.!?\n]{0,40}\b(?:solution|answer|(?:correct|right) (?:code|implementation|version|method))\b"
            .into(),
    ];
    let all = format!("(?i){}", phrases.map(|phrase| format!("(?:{phrase})")).join("|"));
    Regex::new(&all).unwrap_or_else(|e| unreachable!("the phrases are valid: {e}"))
});

/// The trace without sentences that mention a given solution, and the number of these
/// sentences.
pub fn without_leaks(trace: &str) -> (String, usize) {
    let mut kept = String::with_capacity(trace.len());
    let mut leaks = 0;
    for sentence in sentences(trace) {
        // A sentence may span several lines.
        let words = sentence.split_whitespace().collect::<Vec<_>>().join(" ");
        if GIVEN.is_match(&words) {
            leaks += 1;
            // Keep the line break at its end.
            let gap = &sentence[sentence.trim_end().len()..];
            if gap.contains('\n') && !kept.ends_with('\n') {
                let before = kept.trim_end_matches(' ').len();
                kept.truncate(before);
                kept += gap.trim_start_matches(' ');
            }
        } else {
            kept += sentence;
        }
    }
    if leaks == 0 {
        return (trace.to_string(), 0);
    }
    let mut text = kept.trim().to_string();
    while text.contains("\n\n\n") {
        text = text.replace("\n\n\n", "\n\n");
    }
    (text, leaks)
}

/// Splits a text into sentences, with the whitespace after them. A sentence ends at a
/// punctuation mark before whitespace, at an empty line, and at each line of a list or of
/// code.
fn sentences(text: &str) -> Vec<&str> {
    let mut sentences = Vec::new();
    let (mut from, mut fenced) = (0, false);
    let mut letters = text.char_indices().peekable();
    while let Some((at, letter)) = letters.next() {
        let rest = &text[at + letter.len_utf8()..];
        if letter == '\n' || at == 0 {
            let line = if letter == '\n' { rest } else { text };
            fenced ^= line.trim_start().starts_with("```");
        }
        let ends = match letter {
            '.' | '!' | '?' | ':' => rest.starts_with(char::is_whitespace),
            '\n' => fenced || starts_anew(rest),
            _ => false,
        };
        if !ends {
            continue;
        }
        let mut to = at + letter.len_utf8();
        while let Some((space, white)) = letters.peek().copied()
            && white.is_whitespace()
            && letter != '\n'
        {
            to = space + white.len_utf8();
            letters.next();
        }
        sentences.push(&text[from..to]);
        from = to;
    }
    sentences.push(&text[from..]);
    sentences.retain(|sentence| !sentence.is_empty());
    sentences
}

/// Whether a line starts a new element, such as a list item.
fn starts_anew(line: &str) -> bool {
    let line = line.trim_start_matches(' ');
    let first = line.chars().next();
    let numbered = line.split_once('.').is_some_and(|(number, _)| {
        !number.is_empty() && number.chars().all(|letter| letter.is_ascii_digit())
    });
    numbered || matches!(first, None | Some('\n' | '-' | '*' | '#' | '`'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(trace: &str, expected: &str, leaks: usize) {
        assert_eq!(without_leaks(trace), (expected.to_string(), leaks));
    }

    #[test]
    fn sentences_that_speak_of_a_given_solution_are_taken_out() {
        check(
            "It fails. The solution I was given adds a check. So add one.",
            "It fails. So add one.",
            1,
        );
        check(
            "Hm.\n\nLooking at the correct solution, they use `any`.\n\nSo any().",
            "Hm.\n\nSo any().",
            1,
        );
        check("- a\n- the provided solution does b\n- c", "- a\n- c", 1);
        check("The correct solution\nuses a set. Fine.", "Fine.", 1);
        check("A. The user has provided the correct solution! B", "A. B", 1);
        for said in [
            "The correct solution you were given returns None.",
            "Wait, the correct code provided returns None.",
            "Compare with the given correct solution.",
            "The reference solution calls super().",
            "The ground truth is shorter.",
            "The correct implementation shows a loop.",
            "Here is the correct solution I will give.",
            "The correct solution is given as a loop.",
            "They gave the answer in the prompt.",
        ] {
            check(said, "", 1);
        }
    }

    #[test]
    fn honest_thoughts_stay_word_for_word() {
        for said in [
            "So the solution is to call super() first.",
            "The method given in the task has a fault.\nThe provided code returns `None`.",
            "The correct answer must be 4, but it gives 2.\n\n\nHm.",
            "I was given a list.",
            "A correct implementation would return the default.",
            "The user provided the buggy method and the tests.",
            "```python\n# the value given\nx = 1. \n```",
            "The expected value is 4.",
            "My answer will give 4.",
        ] {
            check(said, said, 0);
        }
    }
}
