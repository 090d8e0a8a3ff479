//! Tasks solved at each turn, and cumulatively.

use serde::Serialize;

use super::Share;

/// Tasks solved at a turn. Each turn sees the failure of the turn before, so this is not
/// pass@k over independent samples.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct SolvedAt {
    /// Counted from 1.
    pub(crate) turn: usize,
    /// Solved at exactly this turn.
    pub(crate) solved_at: Share,
    /// Solved at this turn or before.
    pub(crate) solved_by: Share,
}

/// One entry per turn. `episodes` has the solving turn of each episode, counted from 1, or
/// `None`.
pub(crate) fn solved(episodes: &[Option<usize>], turns: usize) -> Vec<SolvedAt> {
    let share =
        |is: &dyn Fn(usize) -> bool| Share::of(episodes.iter().map(|at| at.is_some_and(is)));
    (1..=turns)
        .map(|turn| SolvedAt {
            turn,
            solved_at: share(&|at| at == turn),
            solved_by: share(&|at| at <= turn),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_add_up() {
        let rows = solved(&[Some(1), None, Some(3), Some(1)], 3);
        let counts =
            |of: fn(&SolvedAt) -> &Share| rows.iter().map(|r| of(r).count).collect::<Vec<_>>();
        assert_eq!(counts(|row| &row.solved_at), [2, 0, 1]);
        assert_eq!(counts(|row| &row.solved_by), [2, 2, 3]);
        assert!(rows.iter().all(|row| row.solved_by.of == 4));
        assert_eq!(solved(&[], 2)[1].solved_by.percent, None);
    }
}
