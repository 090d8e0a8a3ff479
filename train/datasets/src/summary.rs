//! What a dataset is, in numbers.

use std::collections::BTreeMap;

use fixfly_runtime::Wording;
use serde::{Deserialize, Serialize};

use crate::audit::Findings;
use crate::item::Answer;
use crate::reader::ReaderFacts;
use crate::recipe::Recipe;
use crate::row::{Part, Row};

/// Version of a dataset's form; a reader refuses a newer one.
pub(crate) const SCHEMA: u32 = 1;

/// Everything that made a dataset, and what it holds: `dataset.json`. Holds no
/// time and no machine, so that the same input gives the same bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Version of the form.
    pub schema: u32,
    /// Version of fixfly.
    pub fixfly: String,
    /// The recipe's name or file.
    pub recipe_name: String,
    /// The recipe, with what flags changed.
    pub recipe: Recipe,
    /// SHA-256 of the recipe's text.
    pub recipe_sha256: String,
    /// What the benchmark rests on.
    pub benchmark: String,
    /// The runs.
    pub sources: Vec<Source>,
    /// Teachers of the recipe that no run was given for.
    pub missing: Vec<String>,
    /// How the conversations are worded.
    pub wording: Wording,
    /// Rows by file.
    pub parts: BTreeMap<Part, usize>,
    /// Rows by what the episode was.
    pub kinds: BTreeMap<String, usize>,
    /// Rows by whose episode it was.
    pub teachers: BTreeMap<String, usize>,
    /// Rows by where the answer comes from.
    pub answers: BTreeMap<String, usize>,
    /// Tasks with a row.
    pub tasks: usize,
    /// Rows whose answer begins with reasoning.
    pub reasoned: usize,
    /// Messages of the model, and those of them that carry loss.
    pub messages: [usize; 2],
    /// Episodes that give no row by the recipe's choice, by reason.
    pub left_out: BTreeMap<String, usize>,
    /// Rows that an earlier row made needless.
    pub duplicates: usize,
    /// Rows that were to be there and are not, by reason.
    pub dropped: BTreeMap<String, usize>,
    /// How long rows are.
    pub lengths: Lengths,
    /// Whether benchmark methods are in it.
    pub audit: Findings,
    /// What the rows are to the student, where its tokens are written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub student: Option<Tokenised>,
    /// Files written, beside the rows themselves.
    pub files: Vec<String>,
}

/// A dataset as a student reads it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tokenised {
    /// What its tokens rest on.
    pub facts: ReaderFacts,
    /// Sequences: one a row, and one for each message that is learned where
    /// history does not show it as it was said.
    pub sequences: usize,
    /// Tokens of them all.
    pub tokens: usize,
    /// Tokens of them that are learned.
    pub learned: usize,
}

/// A run that was read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Source {
    /// As it was named.
    pub run: String,
    /// Whom the recipe takes it for.
    pub teacher: String,
    /// Its policy.
    pub policy: String,
    /// Its seed.
    pub seed: u64,
    /// Episodes in it.
    pub episodes: usize,
    /// The part of the benchmark it worked on.
    pub split: String,
}

/// How long rows are, in tokens.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Lengths {
    /// How tokens were counted.
    pub how: String,
    /// Of all rows.
    pub total: usize,
    /// Of the shortest row.
    pub least: usize,
    /// Half of the rows have no more.
    pub median: usize,
    /// Nine of ten rows have no more.
    pub ninety: usize,
    /// Of the longest row.
    pub most: usize,
    /// Rows by length: up to so many tokens, so many rows. Lengths double.
    pub histogram: Vec<(usize, usize)>,
}

impl Lengths {
    pub(crate) fn of(how: String, mut tokens: Vec<u32>) -> Self {
        tokens.sort_unstable();
        let Some(most) = tokens.last().map(|most| *most as usize) else {
            return Lengths { how, ..Lengths::default() };
        };
        // The smallest with at least that share of the rows at or below it.
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

    /// All rows.
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
