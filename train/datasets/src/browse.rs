//! Reads single rows of a dataset, in any order, and describes the whole.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::FileExt;
use std::path::Path;

use serde::Deserialize;

use crate::audit::Findings;
use crate::dataset::{Dataset, ROWS};
use crate::error::DatasetError;
use crate::recipe::Kind;
use crate::row::Row;
use crate::summary::Summary;

/// A dataset whose rows are read by their index.
#[derive(Debug)]
pub struct RowIndex {
    dataset: Dataset,
    file: File,
    /// The name of the file, for errors.
    name: String,
    /// The first byte and the length of each row.
    places: Vec<(u64, usize)>,
    /// The rule of each row, as an index into `rules`; `None` if the row cannot be read.
    rule_of: Vec<Option<usize>>,
    rules: Vec<String>,
}

/// The part of a row that names its rule.
#[derive(Deserialize)]
struct Ruled {
    kind: Kind,
    origin: Taught,
}

#[derive(Deserialize)]
struct Taught {
    teacher: String,
}

impl RowIndex {
    /// Opens a dataset folder and finds its rows.
    ///
    /// # Errors
    /// [`DatasetError`] if there is no dataset, or it cannot be read.
    pub fn open(folder: &Path) -> Result<RowIndex, DatasetError> {
        let dataset = Dataset::open(folder)?;
        let path = folder.join(ROWS);
        let io = |why| DatasetError::io("read", &path)(why);
        let file = File::open(&path).map_err(io)?;
        let mut reader = BufReader::new(File::open(&path).map_err(io)?);
        let (mut places, mut at, mut line) = (Vec::new(), 0, Vec::new());
        let (mut rule_of, mut rules) = (Vec::new(), Vec::new());
        loop {
            line.clear();
            let length = reader.read_until(b'\n', &mut line).map_err(io)?;
            if length == 0 {
                break;
            }
            places.push((at, length));
            let ruled: Option<Ruled> = serde_json::from_slice(&line).ok();
            let rule = ruled.map(|ruled| rule(ruled.kind, &ruled.origin.teacher));
            rule_of.push(rule.map(|rule| {
                rules.iter().position(|one| *one == rule).unwrap_or_else(|| {
                    rules.push(rule);
                    rules.len() - 1
                })
            }));
            at += length as u64;
        }
        Ok(RowIndex { dataset, file, name: path.display().to_string(), places, rule_of, rules })
    }

    /// The description and the statistics of the dataset.
    pub fn summary(&self) -> &Summary {
        &self.dataset.summary
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// The rules of the recipe by which rows were made, with the number of rows. Rows that
    /// cannot be read are left out.
    pub fn rules(&self) -> Vec<(String, usize)> {
        let count = |at: usize| self.rule_of.iter().filter(|rule| **rule == Some(at)).count();
        self.rules.iter().enumerate().map(|(at, rule)| (rule.clone(), count(at))).collect()
    }

    /// The rule of a row; `None` if the row cannot be read.
    pub fn rule(&self, at: usize) -> Option<&str> {
        let rule = self.rule_of.get(at).copied().flatten()?;
        self.rules.get(rule).map(String::as_str)
    }

    /// The row at an index below [`RowIndex::len`].
    ///
    /// # Errors
    /// [`DatasetError`] if it cannot be read.
    pub fn row(&self, at: usize) -> Result<Row, DatasetError> {
        let corrupt = |why: String| {
            let place = format!("{}:{}", self.name, at + 1);
            DatasetError::Corrupt { place, what: "a row", why }
        };
        let (start, length) =
            self.places.get(at).copied().ok_or_else(|| corrupt("there is no such row".into()))?;
        let mut line = vec![0; length];
        let read = self.file.read_exact_at(&mut line, start);
        read.map_err(|why| DatasetError::io("read", Path::new(&self.name))(why))?;
        serde_json::from_slice(&line).map_err(|why| corrupt(why.to_string()))
    }
}

impl Row {
    /// The rule of the recipe that made it: the kind of the episode, and the teacher.
    pub fn rule(&self) -> String {
        rule(self.kind, &self.origin.teacher)
    }
}

fn rule(kind: Kind, teacher: &str) -> String {
    format!("{} of {teacher}", kind.name())
}

impl Summary {
    /// What identifies the dataset, as names and values.
    pub fn facts(&self) -> Vec<(String, String)> {
        let parts: Vec<String> =
            self.parts.iter().map(|(part, rows)| format!("{rows} {}", part.name())).collect();
        let runs: Vec<&str> = self.sources.iter().map(|source| source.run.as_str()).collect();
        let lengths = &self.lengths;
        let mut facts = vec![
            ("recipe", format!("{}: {}", self.recipe_name, self.recipe.about)),
            ("benchmark", self.benchmark.clone()),
            ("runs", runs.join(", ")),
            ("rows", parts.join(", ")),
            ("tasks", self.tasks.to_string()),
            ("rows with reasoning", self.reasoned.to_string()),
            ("messages with loss", format!("{} of {}", self.messages[1], self.messages[0])),
            ("duplicates dropped", self.duplicates.to_string()),
            ("tokens", format!("{} ({})", lengths.total, lengths.how)),
            (
                "tokens per row",
                format!("{} to {}, median {}", lengths.least, lengths.most, lengths.median),
            ),
        ];
        facts.extend(self.divided().into_iter().map(|run| ("divided run", run)));
        if let Some(student) = &self.student {
            let shares = format!("{} of {}", student.learned, student.tokens);
            facts.push(("tokens with loss", shares));
        }
        let dropped = self.dropped.iter().chain(&self.left_out);
        let dropped: Vec<String> =
            dropped.map(|(reason, count)| format!("{count}: {reason}")).collect();
        if !dropped.is_empty() {
            facts.push(("not used", dropped.join("; ")));
        }
        facts.into_iter().map(|(name, value)| (name.to_string(), value)).collect()
    }
}

impl Findings {
    /// The results in sentences.
    pub fn sentences(&self) -> Vec<String> {
        let dropped = if self.dropped { "; their rows are dropped" } else { "" };
        let showing = match self.masked {
            true => "showed such a method, which is removed",
            false => "show such a method word for word",
        };
        let mut sentences = vec![
            format!(
                "{} of {} answers leak one of the benchmark's {} methods{dropped}",
                self.leaks.len(),
                self.answers,
                self.held_out
            ),
            format!("the prompts of {} of {} tasks {showing}", self.showing, self.contexts),
        ];
        let leaks = self.leaks.iter();
        sentences
            .extend(leaks.map(|leak| format!("{}: {} ({})", leak.row, leak.how, leak.held_out)));
        sentences
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::audit::Finding;

    fn recorded() -> std::path::PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/recorded/taught/dataset")
    }

    #[test]
    fn rows_are_read_in_any_order() {
        let index = RowIndex::open(&recorded()).unwrap();
        let all: Vec<Row> =
            Dataset::open(&recorded()).unwrap().rows().unwrap().map(Result::unwrap).collect();
        assert_eq!((index.len(), index.is_empty()), (all.len(), false));
        for (at, row) in all.iter().enumerate().rev() {
            assert_eq!(&index.row(at).unwrap(), row);
            assert_eq!(index.rule(at), Some(&*row.rule()));
        }
        let why = index.row(all.len()).unwrap_err().to_string();
        assert!(why.contains("there is no such row"), "{why}");
        assert_eq!(index.rules().iter().map(|(_, rows)| rows).sum::<usize>(), all.len());
        assert_eq!(index.summary().facts()[0].0, "recipe");
    }

    #[test]
    fn the_audit_is_in_sentences() {
        let leak = Finding { row: "a#1".into(), how: "by tree".into(), held_out: "b".into() };
        let findings = Findings {
            held_out: 397,
            answers: 120,
            leaks: vec![leak],
            dropped: true,
            contexts: 90,
            showing: 2,
            shown: BTreeSet::new(),
            masked: true,
        };
        assert_eq!(
            findings.sentences(),
            [
                "1 of 120 answers leak one of the benchmark's 397 methods; their rows are dropped",
                "the prompts of 2 of 90 tasks showed such a method, which is removed",
                "a#1: by tree (b)",
            ]
        );
    }
}
