//! Micro-batches: rows that go through the model together, concatenated.

use crate::ops::RowSpan;
use crate::rows::Row;

/// A micro-batch. No row attends to another.
pub(crate) struct Pass {
    pub(crate) tokens: Vec<u32>,
    pub(crate) rows: Vec<RowSpan>,
    /// Positions whose next token carries loss.
    pub(crate) learned: Vec<u32>,
    /// The next tokens.
    pub(crate) targets: Vec<u32>,
    /// The indices of these rows in the step.
    pub(crate) which: Vec<usize>,
}

impl Pass {
    fn new() -> Pass {
        let (tokens, rows, learned) = (Vec::new(), Vec::new(), Vec::new());
        Pass { tokens, rows, learned, targets: Vec::new(), which: Vec::new() }
    }

    fn push(&mut self, at: usize, row: &Row) {
        let from = self.tokens.len();
        self.rows.push(RowSpan { from, length: row.tokens.len() });
        for next in row.learned() {
            self.learned.push((from + next - 1) as u32);
            self.targets.push(row.tokens[next]);
        }
        self.tokens.extend(&row.tokens);
        self.which.push(at);
    }

    /// Packs the rows of a step into micro-batches of at most `most` tokens. A longer
    /// row gets its own micro-batch; no row is split.
    pub(crate) fn pack<'a>(rows: impl IntoIterator<Item = &'a Row>, most: usize) -> Vec<Pass> {
        let mut passes: Vec<Pass> = Vec::new();
        for (at, row) in rows.into_iter().enumerate() {
            let fits = |pass: &&mut Pass| pass.tokens.len() + row.tokens.len() <= most;
            match passes.iter_mut().find(fits) {
                Some(pass) => pass.push(at, row),
                None => {
                    let mut pass = Pass::new();
                    pass.push(at, row);
                    passes.push(pass);
                }
            }
        }
        passes
    }

    /// The position of each token in its row.
    pub(crate) fn places(&self) -> Vec<f32> {
        self.rows.iter().flat_map(|row| (0..row.length).map(|place| place as f32)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(tokens: &[u32], loss: &[[usize; 2]]) -> Row {
        Row { id: "row".into(), tokens: tokens.into(), loss: loss.into() }
    }

    #[test]
    fn what_is_learned_is_the_token_after() {
        let rows = [row(&[5, 6, 7, 8], &[[0, 1], [2, 4]]), row(&[9, 4], &[[1, 2]])];
        let passes = Pass::pack(&rows, 100);
        let [pass] = &passes[..] else { panic!("{} passes", passes.len()) };
        assert_eq!(pass.tokens, [5, 6, 7, 8, 9, 4]);
        // The first token of a row cannot be predicted from an earlier one.
        assert_eq!((&pass.learned[..], &pass.targets[..]), (&[1, 2, 4][..], &[7, 8, 4][..]));
        assert_eq!(pass.places(), [0.0, 1.0, 2.0, 3.0, 0.0, 1.0]);
    }

    #[test]
    fn rows_stay_whole() {
        let rows = [row(&[1; 6], &[]), row(&[2; 30], &[]), row(&[3; 4], &[]), row(&[4; 5], &[])];
        let sizes: Vec<_> = Pass::pack(&rows, 10)
            .iter()
            .map(|pass| (pass.which.clone(), pass.tokens.len()))
            .collect();
        assert_eq!(sizes, [(vec![0, 2], 10), (vec![1], 30), (vec![3], 5)]);
    }
}
