//! What readers of an episode need from its record.

use fixfly_runtime::{Boundary, End, Episode, EpisodeSummary, FailureKind, Statement, Turn};

/// The most characters of a text that is shown.
pub(crate) const MAX_SHOWN: usize = 20_000;

/// The code that a turn submitted: what ran, or what was asked to run.
pub(crate) fn candidate(turn: &Turn) -> Option<&str> {
    turn.observation.candidate.as_deref().or(turn.action.call.code())
}

/// What a policy had to change: the title of that change and the text; `None` for an issue.
pub(crate) fn given(statement: &Statement) -> Option<(&'static str, String)> {
    if let Some(faulty) = statement.method().and_then(|method| method.faulty.as_ref()) {
        return Some(("Change of the faulty method", faulty.clone()));
    }
    let declarations: Vec<&str> =
        statement.methods().iter().map(|method| method.declaration.as_str()).collect();
    let title = match declarations.len() {
        0 => return None,
        1 => "Change of the stub",
        _ => "Change of the stubs",
    };
    Some((title, declarations.join("\n\n\n")))
}

/// The turn before this one that submitted code, and the code.
pub(crate) fn previous(episode: &Episode, at: usize) -> Option<(usize, &str)> {
    let earlier = episode.turns.get(..at)?.iter().enumerate().rev();
    earlier.filter_map(|(at, turn)| Some((at, candidate(turn)?))).next()
}

/// How an episode ended.
pub(crate) fn ending(summary: &EpisodeSummary) -> String {
    let end = summary.end.name();
    match summary.solved_at() {
        Some(turn) => format!("solved at turn {turn}"),
        None if summary.infrastructure_failure() => end.into(),
        None if summary.unjudged() => format!("{end}, no verdict"),
        None => format!("not solved: {end}"),
    }
}

/// Why something other than the candidate ended the episode.
pub(crate) fn why(episode: &Episode) -> Option<String> {
    let End::Failed { at, kind, why } = &episode.end else { return None };
    let at = match at {
        Boundary::Policy => "the policy",
        Boundary::Tool => "a tool",
        Boundary::Sandbox => "the sandbox",
        Boundary::Benchmark => "the benchmark",
    };
    Some(match kind {
        FailureKind::Infrastructure => {
            format!("{at} failed: {why}; the task is run again, and the episode counts nowhere")
        }
        FailureKind::Model => format!("{at} failed: {why}; the episode counts as unsolved"),
    })
}

/// The beginning and the end of a text that is too long, and the number of characters
/// between; `None` if it is shown whole.
pub(crate) fn cut(text: &str) -> Option<(&str, usize, &str)> {
    // A text has no more characters than bytes.
    if text.len() <= MAX_SHOWN {
        return None;
    }
    let (head, _) = text.char_indices().nth(MAX_SHOWN * 3 / 4)?;
    let (tail, _) = text.char_indices().rev().nth(MAX_SHOWN / 4 - 1)?;
    let hidden = text.get(head..tail)?.chars().count();
    (hidden > 0).then(|| (&text[..head], hidden, &text[tail..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_a_long_text_is_left_out() {
        let text = format!("begin{}end", "é".repeat(MAX_SHOWN));
        let (head, hidden, tail) = cut(&text).unwrap();
        assert!(head.starts_with("begin") && tail.ends_with("end"));
        assert_eq!((head.chars().count() + tail.chars().count(), hidden), (MAX_SHOWN, 8));
        assert_eq!(cut(&"é".repeat(MAX_SHOWN)), None);
        assert_eq!(cut("short"), None);
    }
}
