//! Statistics of a dataset.

use std::collections::BTreeMap;

use fixfly_runtime::Wording;
use serde::{Deserialize, Serialize};

use crate::audit::Findings;
use crate::item::Answer;
use crate::reader::ReaderFacts;
use crate::recipe::Recipe;
use crate::row::{Part, Row};

/// Schema version of a dataset. A reader rejects newer ones.
pub(crate) const SCHEMA: u32 = 1;

/// The contents of `dataset.json`: the inputs of a dataset and its statistics. Contains no
/// times and no machine, so that the same input gives the same bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The schema version.
    pub schema: u32,
    /// Version of fixfly.
    pub fixfly: String,
    /// The recipe's name or file.
    pub recipe_name: String,
    /// The recipe, with the changes of flags.
    pub recipe: Recipe,
    /// SHA-256 of the recipe's text.
    pub recipe_sha256: String,
    /// The benchmark's source.
    pub benchmark: String,
    /// The runs.
    pub sources: Vec<Source>,
    /// Teachers of the recipe without a run.
    pub missing: Vec<String>,
    /// The wording of the conversations.
    pub wording: Wording,
    /// Rows by file.
    pub parts: BTreeMap<Part, usize>,
    /// Rows by kind of episode.
    pub kinds: BTreeMap<String, usize>,
    /// Rows by teacher.
    pub teachers: BTreeMap<String, usize>,
    /// Rows by source of the answer.
    pub answers: BTreeMap<String, usize>,
    /// Tasks with at least one row.
    pub tasks: usize,
    /// Rows whose answer starts with reasoning.
    pub reasoned: usize,
    /// Assistant messages, and how many of them carry loss.
    pub messages: [usize; 2],
    /// Episodes that the recipe does not use, by reason.
    pub left_out: BTreeMap<String, usize>,
    /// Rows that duplicate an earlier row.
    pub duplicates: usize,
    /// Dropped rows, by reason.
    pub dropped: BTreeMap<String, usize>,
    /// The lengths of the rows.
    pub lengths: Lengths,
    /// Results of the leak audit.
    pub audit: Findings,
    /// Statistics of the student's tokens, if they are written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub student: Option<Tokenised>,
    /// Other files that were written.
    pub files: Vec<String>,
}

/// Statistics of a student's tokens.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tokenised {
    /// Facts that determine the tokens.
    pub facts: ReaderFacts,
    /// Number of sequences: one per row, and one for each message with loss that the
    /// template renders differently in the history.
    pub sequences: usize,
    /// All tokens.
    pub tokens: usize,
    /// Tokens that carry loss.
    pub learned: usize,
}

/// A run in the dataset.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Source {
    /// Its name in the command.
    pub run: String,
    /// The recipe's name of its teacher.
    pub teacher: String,
    /// Its policy.
    pub policy: String,
    /// Its seed.
    pub seed: u64,
    /// Number of episodes.
    pub episodes: usize,
    /// The split of its tasks.
    pub split: String,
    /// Which shards of the divided run were given; `None` if it was not divided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shards: Option<String>,
}

/// Lengths of rows, in tokens.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Lengths {
    /// How tokens were counted.
    pub how: String,
    /// Sum over all rows.
    pub total: usize,
    /// The shortest row.
    pub least: usize,
    /// The median row.
    pub median: usize,
    /// The 90th percentile.
    pub ninety: usize,
    /// The longest row.
    pub most: usize,
    /// A histogram: upper limit in tokens, and number of rows. The limits double.
    pub histogram: Vec<(usize, usize)>,
}

impl Lengths {
    pub(crate) fn of(how: String, mut tokens: Vec<u32>) -> Self {
        tokens.sort_unstable();
        let Some(most) = tokens.last().map(|most| *most as usize) else {
            return Lengths { how, ..Lengths::default() };
        };
        // The smallest length with at least this share of the rows at or below it.
        let at =
            |percent: usize| tokens[(tokens.len() * percent).div_ceil(100).max(1) - 1] as usize;
        let mut histogram = Vec::new();
        let (mut limit, mut before) = (256, 0);
        while before < tokens.len() {
            let upto = tokens.partition_point(|count| *count as usize <= limit);
            if upto > 0 {
                histogram.push((limit, upto - before));
            }
            (limit, before) = (limit * 2, upto);
        }
        let total = tokens.iter().map(|count| *count as usize).sum();
        Lengths { how, total, least: at(0), median: at(50), ninety: at(90), most, histogram }
    }
}

impl Summary {
    /// The divided runs: the teacher of each, and which shards were given.
    pub(crate) fn divided(&self) -> Vec<String> {
        let text =
            |source: &Source| Some(format!("{}: {}", source.teacher, source.shards.as_ref()?));
        let mut divided: Vec<String> = self.sources.iter().filter_map(text).collect();
        divided.dedup();
        divided
    }

    pub(crate) fn count(&mut self, row: &Row) {
        *self.parts.entry(row.part).or_default() += 1;
        *self.kinds.entry(row.kind.name().into()).or_default() += 1;
        *self.teachers.entry(row.origin.teacher.clone()).or_default() += 1;
        let answer = match row.origin.answer {
            Answer::Turn(_) => "the teacher's solution",
            Answer::Original => "the original method",
        };
        *self.answers.entry(answer.into()).or_default() += 1;
        self.reasoned += usize::from(row.reasons());
        let own = row.messages.iter().filter(|line| line.role == fixfly_runtime::Role::Assistant);
        for line in own {
            self.messages[0] += 1;
            self.messages[1] += usize::from(line.loss);
        }
        if let Some(student) = &mut self.student {
            for sequence in &row.sequences {
                student.sequences += 1;
                student.tokens += sequence.tokens.len();
                student.learned += sequence.loss.iter().map(|[from, to]| to - from).sum::<usize>();
            }
        }
    }

    /// The number of all rows.
    pub fn rows(&self) -> usize {
        self.parts.values().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_those_of_rows() {
        let lengths = Lengths::of(String::new(), vec![700, 100, 600, 2000]);
        assert_eq!((lengths.least, lengths.median, lengths.ninety), (100, 600, 2000));
        assert_eq!((lengths.total, lengths.most), (3400, 2000));
        assert_eq!(lengths.histogram, [(256, 1), (512, 0), (1024, 2), (2048, 1)]);
        assert_eq!(Lengths::of(String::new(), vec![]).histogram, []);
    }
}
