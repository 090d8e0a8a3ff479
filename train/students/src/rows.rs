//! Reads rows in fixfly's token format, which `fixfly dataset build --format tokens`
//! writes.

use std::fs;
use std::path::Path;

use fixfly_runtime::sha256;
use serde::Deserialize;
use serde_json::Value;

use crate::base_model::Base;
use crate::error::TrainError;

/// A tokenised row.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Row {
    /// Id of the row in the dataset.
    #[serde(rename = "row")]
    pub id: String,
    /// Its tokens.
    pub tokens: Vec<u32>,
    /// Spans of tokens that carry loss, as start and end; the end is not included.
    pub loss: Vec<[usize; 2]>,
}

impl Row {
    /// Indices of the tokens that carry loss, without the first token of the row.
    pub(crate) fn learned(&self) -> impl Iterator<Item = usize> + '_ {
        self.loss.iter().flat_map(|[from, to]| (*from).max(1)..*to)
    }

    fn fault(&self, vocabulary: usize) -> Option<String> {
        let out = self.tokens.iter().find(|token| **token as usize >= vocabulary);
        if let Some(token) = out {
            return Some(format!(
                "token {token} is outside the model's vocabulary of {vocabulary}; build the dataset with the model's tokenizer.json"
            ));
        }
        let mut end = 0;
        for [from, to] in &self.loss {
            if *from < end || to <= from || *to > self.tokens.len() {
                return Some(format!(
                    "its loss span [{from}, {to}] is outside its {} tokens, or overlaps the span before",
                    self.tokens.len()
                ));
            }
            end = *to;
        }
        match self.learned().next() {
            Some(_) => None,
            None => Some("none of its tokens carries loss".into()),
        }
    }
}

/// The rows of a dataset.
#[derive(Clone, Debug)]
pub struct Rows {
    /// Training rows.
    pub train: Vec<Row>,
    /// Validation rows, for choosing a checkpoint.
    pub validation: Vec<Row>,
    /// SHA-256 of the files.
    pub hash: String,
    /// The contents of `tokens.json`, which names the tokenizer.
    pub about: Value,
}

impl Rows {
    /// Checks that the rows were made with the model's own tokenizer, if both hashes are
    /// known.
    ///
    /// # Errors
    /// [`TrainError::Rows`] if they were not; [`TrainError::Base`] if the model's tokenizer
    /// cannot be used.
    pub(crate) fn check_tokenizer(&self, base: &Base) -> Result<(), TrainError> {
        let file = base.tokenizer_file();
        if !file.is_file() {
            return Ok(());
        }
        let bytes = base.tokenizer()?;
        let said = self.about.get("tokenizer_sha256").and_then(Value::as_str);
        let Some(said) = said else { return Ok(()) };
        match said == sha256(&bytes) {
            true => Ok(()),
            false => Err(TrainError::Rows(format!(
                "the dataset was built with a different tokenizer than {}: build it again with --tokenizer {}",
                file.display(),
                file.display()
            ))),
        }
    }

    /// Reads `tokens/` of a dataset folder: `rows.jsonl` and, if it exists,
    /// `validation.jsonl`.
    ///
    /// # Errors
    /// [`TrainError::Rows`] if there are no rows, or a row cannot be trained on; the error
    /// names the row.
    pub fn open(dataset: &Path, vocabulary: usize) -> Result<Rows, TrainError> {
        let folder = dataset.join("tokens");
        let (rows, held) = (folder.join("rows.jsonl"), folder.join("validation.jsonl"));
        let learned = fs::read(&rows).map_err(|why| {
            TrainError::Rows(format!(
                "cannot read {} ({why}); build the dataset with --format tokens --tokenizer TOKENIZER_JSON",
                rows.display()
            ))
        })?;
        let mut hash = sha256(&learned);
        let train = read(&rows, &learned, vocabulary)?;
        drop(learned);
        let mut validation = Vec::new();
        if held.is_file() {
            let bytes = fs::read(&held).map_err(TrainError::io("read", &held))?;
            hash = sha256(format!("{hash} {}", sha256(&bytes)));
            validation = read(&held, &bytes, vocabulary)?;
        }
        let about = fs::read_to_string(folder.join("tokens.json")).unwrap_or_default();
        let about = serde_json::from_str(&about).unwrap_or(Value::Null);
        match train.is_empty() {
            true => Err(TrainError::Rows(format!("{} has no rows", rows.display()))),
            false => Ok(Rows { train, validation, hash, about }),
        }
    }

    /// Makes all tokens carry loss, those of prompts too.
    pub(crate) fn learn_prompts(&mut self) {
        for row in &mut self.train {
            row.loss = vec![[0, row.tokens.len()]];
        }
    }

    /// The first row with more tokens than this, if any.
    pub(crate) fn too_long(&self, most: usize) -> Option<&Row> {
        self.all().find(|row| row.tokens.len() > most)
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Row> {
        self.train.iter().chain(&self.validation)
    }
}

/// Parses the rows of a file.
fn read(file: &Path, bytes: &[u8], vocabulary: usize) -> Result<Vec<Row>, TrainError> {
    let lines = bytes.split(|byte| *byte == b'\n').zip(1..).filter(|(line, _)| !line.is_empty());
    lines
        .map(|(line, number)| {
            let place = format!("{}:{number}", file.display());
            let row: Row = serde_json::from_slice(line).map_err(|why| {
                TrainError::Rows(format!("{place} is not a row of tokens: {why}"))
            })?;
            match row.fault(vocabulary) {
                Some(fault) => Err(TrainError::Rows(format!("{place}: row {}: {fault}", row.id))),
                None => Ok(row),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, expected: &str) {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("tokens")).unwrap();
        let good = r#"{"row": "a", "tokens": [1, 2], "loss": [[1, 2]]}"#;
        fs::write(folder.path().join("tokens/rows.jsonl"), format!("{good}\n{line}\n")).unwrap();
        let rows = Rows::open(folder.path(), 10);
        let said =
            rows.map_or_else(|why| why.to_string(), |rows| format!("{} rows", rows.train.len()));
        assert!(said.contains(expected), "{said}");
    }

    #[test]
    fn a_faulty_row_is_named() {
        check(r#"{"row": "b", "tokens": [3, 4, 5], "loss": [[0, 1], [2, 3]]}"#, "2 rows");
        check(
            r#"{"row": "b", "tokens": [10], "loss": []}"#,
            "rows.jsonl:2: row b: token 10 is outside",
        );
        check(
            r#"{"row": "b", "tokens": [1, 2], "loss": [[1, 3]]}"#,
            "its loss span [1, 3] is outside",
        );
        check(
            r#"{"row": "b", "tokens": [1, 2, 3], "loss": [[1, 2], [1, 3]]}"#,
            "its loss span [1, 3]",
        );
        check(
            r#"{"row": "b", "tokens": [1, 2], "loss": [[0, 1]]}"#,
            "none of its tokens carries loss",
        );
        check("", "1 rows");
        check("{}", "rows.jsonl:2 is not a row of tokens: missing field `row`");
    }
}
