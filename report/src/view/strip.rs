//! The outcome strip of an episode: one cell a turn, told apart by letter and by colour.

use fixfly_runtime::{EpisodeSummary, Outcome};
use serde::Serialize;

/// Cells of a strip; an issue's episode can have hundreds of turns.
const CELLS: usize = 40;

/// The outcome strip of an episode.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Strip {
    pub(crate) cells: Vec<Cell>,
    /// Turns that have no cell.
    pub(crate) more: usize,
    /// All outcomes, in words.
    pub(crate) label: String,
}

/// One turn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Cell {
    /// Class of the style sheet.
    pub(crate) class: &'static str,
    pub(crate) letter: char,
    pub(crate) title: String,
}

/// The class and the letter of each outcome.
pub(crate) fn sign(outcome: Outcome) -> (&'static str, char) {
    match outcome {
        Outcome::Passed => ("good", 'P'),
        Outcome::Submitted => ("good", 'S'),
        Outcome::Failed => ("bad", 'F'),
        Outcome::Invalid => ("odd", 'I'),
        Outcome::Refused => ("odd", 'R'),
        Outcome::TimedOut => ("worse", 'T'),
        Outcome::Crashed => ("worse", 'C'),
        Outcome::OutOfMemory => ("worse", 'M'),
        Outcome::Exited => ("worse", 'E'),
        Outcome::Tampered => ("worse", '!'),
        Outcome::Done => ("plain", 'D'),
    }
}

impl Strip {
    pub(crate) fn of(episode: &EpisodeSummary) -> Strip {
        let shown = if episode.turns.len() > CELLS { CELLS - 1 } else { CELLS };
        let cells = episode.turns.iter().take(shown).zip(1..).map(|(turn, number)| {
            let (class, letter) = sign(turn.outcome);
            let exception = turn.exception.as_ref().map_or(String::new(), |e| format!(", {e}"));
            let tool = turn.tool.as_ref().map_or(String::new(), |tool| format!("{tool}: "));
            let title = format!("turn {number}: {tool}{}{exception}", turn.outcome.name());
            Cell { class, letter, title }
        });
        let names: Vec<&str> = episode.turns.iter().map(|turn| turn.outcome.name()).collect();
        Strip {
            cells: cells.collect(),
            more: episode.turns.len().saturating_sub(shown),
            label: if names.is_empty() { "no turns".into() } else { runs_of(&names) },
        }
    }
}

/// `failed, 3 × invalid, passed`.
fn runs_of(names: &[&str]) -> String {
    let groups = names.chunk_by(|one, other| one == other);
    let words = groups.map(|group| match group.len() {
        1 => group[0].to_string(),
        n => format!("{n} × {}", group[0]),
    });
    words.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::fixture;

    #[test]
    fn a_strip_has_one_cell_a_turn() {
        let mut summary = EpisodeSummary::of(&fixture::episodes()[1]);
        let strip = Strip::of(&summary);
        let letters: String = strip.cells.iter().map(|cell| cell.letter).collect();
        assert_eq!((&*letters, &*strip.label, strip.more), ("FP", "failed, passed", 0));
        assert_eq!(strip.cells[0].title, "turn 1: submit_method: failed, TypeError");
        summary.turns = vec![summary.turns[0].clone(); 100];
        let strip = Strip::of(&summary);
        assert_eq!((strip.cells.len(), strip.more, &*strip.label), (39, 61, "100 × failed"));
    }
}
