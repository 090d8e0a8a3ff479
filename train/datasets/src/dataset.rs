//! Reads a dataset, and compares two of them.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, ErrorKind};
use std::path::{Path, PathBuf};

use fixfly_runtime::{file_sha256, sha256};

use crate::error::DatasetError;
use crate::row::Row;
use crate::summary::{SCHEMA, Summary};

pub(crate) const ROWS: &str = "rows.jsonl";
pub(crate) const SUMMARY: &str = "dataset.json";

/// A dataset folder.
#[derive(Clone, Debug)]
pub struct Dataset {
    folder: PathBuf,
    /// Its description and statistics.
    pub summary: Summary,
}

/// Differences between two datasets, by row id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// Rows that are only in the first.
    pub only_first: Vec<String>,
    /// Rows that are only in the second.
    pub only_second: Vec<String>,
    /// Rows in both, with different text or loss.
    pub changed: Vec<String>,
    /// The number of rows that are the same in both.
    pub same: usize,
}

impl Dataset {
    /// Opens a dataset folder.
    ///
    /// # Errors
    /// [`DatasetError`] if there is no dataset, or this version cannot read it.
    pub fn open(folder: &Path) -> Result<Self, DatasetError> {
        let file = folder.join(SUMMARY);
        let text = match fs::read_to_string(&file) {
            Ok(text) => text,
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                return Err(DatasetError::NoDataset(folder.into()));
            }
            Err(e) => return Err(DatasetError::io("read", &file)(e)),
        };
        let corrupt = |why: String| {
            let place = file.display().to_string();
            DatasetError::Corrupt { place, what: "a dataset's summary", why }
        };
        let summary: Summary = serde_json::from_str(&text).map_err(|e| corrupt(e.to_string()))?;
        if summary.schema > SCHEMA {
            let why = format!("a newer fixfly ({}) wrote it", summary.fixfly);
            return Err(corrupt(why));
        }
        Ok(Dataset { folder: folder.into(), summary })
    }

    /// Iterates over the rows.
    ///
    /// # Errors
    /// [`DatasetError`] if the file cannot be read. An invalid row is an error of its own.
    pub fn rows(
        &self,
    ) -> Result<impl Iterator<Item = Result<Row, DatasetError>> + use<>, DatasetError> {
        let file = self.folder.join(ROWS);
        let open = File::open(&file).map_err(DatasetError::io("read", &file))?;
        Ok(BufReader::new(open).lines().zip(1..).map(move |(line, number)| {
            let line = line.map_err(DatasetError::io("read", &file))?;
            serde_json::from_str(&line).map_err(|why| DatasetError::Corrupt {
                place: format!("{}:{number}", file.display()),
                what: "a row",
                why: why.to_string(),
            })
        }))
    }

    /// SHA-256 of the rows.
    ///
    /// # Errors
    /// [`DatasetError::Io`] if they cannot be read.
    pub fn sha256(&self) -> Result<String, DatasetError> {
        let file = self.folder.join(ROWS);
        file_sha256(&file).map_err(DatasetError::io("read", &file))
    }

    /// Compares this dataset with another.
    ///
    /// # Errors
    /// [`DatasetError`] if a row cannot be read.
    pub fn difference(&self, other: &Dataset) -> Result<Difference, DatasetError> {
        let (first, mut second) = (self.words()?, other.words()?);
        let mut difference = Difference::default();
        for (id, words) in first {
            match second.remove(&id) {
                None => difference.only_first.push(id),
                Some(others) if others != words => difference.changed.push(id),
                Some(_) => difference.same += 1,
            }
        }
        difference.only_second = second.into_keys().collect();
        Ok(difference)
    }

    /// A hash of the messages and the loss of each row, by id.
    fn words(&self) -> Result<BTreeMap<String, String>, DatasetError> {
        let words = |row: Row| {
            let said = serde_json::to_string(&(row.part, &row.messages)).unwrap_or_default();
            (row.id, sha256(said))
        };
        self.rows()?.map(|row| row.map(words)).collect()
    }
}
