//! The forms that trainers read.

mod openai;
mod sharegpt;
mod trl;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::build::{Build, create, line, write};
use crate::error::DatasetError;
use crate::row::{Part, Row};
use crate::summary::Summary;

/// A form that trainers read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// ShareGPT with `dataset_info.json`, for LLaMA-Factory.
    Sharegpt,
    /// OpenAI's chat form, a `weight` at each message of the model.
    Openai,
    /// `messages`, or `prompt` and `completion`, for TRL.
    Trl,
}

impl Format {
    /// All of them.
    pub const ALL: [Format; 3] = [Format::Sharegpt, Format::Openai, Format::Trl];

    /// Its name in flags, and its folder.
    pub fn name(self) -> &'static str {
        match self {
            Format::Sharegpt => "sharegpt",
            Format::Openai => "openai",
            Format::Trl => "trl",
        }
    }
}

/// Writes rows in one form, a file a part.
pub(crate) struct Writer {
    format: Format,
    folder: PathBuf,
    row: fn(&Row, &crate::Recipe) -> Value,
    recipe: crate::Recipe,
    parts: BTreeMap<Part, (PathBuf, BufWriter<File>)>,
}

impl Writer {
    pub(crate) fn new(
        format: Format,
        dataset: &Path,
        build: &Build<'_>,
    ) -> Result<Self, DatasetError> {
        let row = match format {
            Format::Sharegpt => {
                sharegpt::can_say(&build.recipe)?;
                sharegpt::row
            }
            Format::Openai => openai::row,
            Format::Trl => {
                trl::can_say(&build.recipe)?;
                trl::row
            }
        };
        let folder = dataset.join(format.name());
        fs::create_dir_all(&folder).map_err(DatasetError::io("make", &folder))?;
        let recipe = build.recipe.clone();
        Ok(Writer { format, folder, row, recipe, parts: BTreeMap::new() })
    }

    pub(crate) fn add(&mut self, row: &Row) -> Result<(), DatasetError> {
        if !self.parts.contains_key(&row.part) {
            let file = self.folder.join(format!("{}.jsonl", row.part.name()));
            self.parts.insert(row.part, (file.clone(), create(&file)?));
        }
        let value = (self.row)(row, &self.recipe);
        let Some((file, out)) = self.parts.get_mut(&row.part) else { return Ok(()) };
        line(out, &value).map_err(DatasetError::io("write", file))
    }

    /// Ends the files, and names them.
    pub(crate) fn finish(&mut self, summary: &Summary) -> Result<Vec<String>, DatasetError> {
        let mut files = Vec::new();
        for (part, (file, out)) in &mut self.parts {
            out.flush().map_err(DatasetError::io("write", file))?;
            files.push(format!("{}/{}.jsonl", self.format.name(), part.name()));
        }
        let parts: Vec<Part> = self.parts.keys().copied().collect();
        let beside = match self.format {
            Format::Sharegpt => sharegpt::beside(summary, &parts),
            Format::Trl => trl::beside(summary),
            Format::Openai => Vec::new(),
        };
        for (name, text) in beside {
            write(&self.folder.join(name), &text)?;
            files.push(format!("{}/{name}", self.format.name()));
        }
        Ok(files)
    }
}
