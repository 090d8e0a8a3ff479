//! Writes the formats that trainers read.

mod openai;
mod sharegpt;
mod tokens;
mod trl;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::error::DatasetError;
use crate::files::{create, line, write};
use crate::recipe::Recipe;
use crate::row::{Part, Row};
use crate::summary::Summary;

/// A format that trainers read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// ShareGPT with `dataset_info.json`, for LLaMA-Factory.
    Sharegpt,
    /// OpenAI's chat format, with a `weight` for each assistant message.
    Openai,
    /// `messages`, or `prompt` and `completion`, for TRL.
    Trl,
    /// Tokens and the spans that carry loss, for `fixfly train`.
    Tokens,
}

impl Format {
    /// All formats.
    pub const ALL: [Format; 4] = [Format::Sharegpt, Format::Openai, Format::Trl, Format::Tokens];

    /// Its name in flags, and its folder.
    pub fn name(self) -> &'static str {
        match self {
            Format::Sharegpt => "sharegpt",
            Format::Openai => "openai",
            Format::Trl => "trl",
            Format::Tokens => "tokens",
        }
    }

    /// The file of a part of the dataset.
    fn file(self, part: Part) -> String {
        match (self, part) {
            (Format::Tokens, Part::Train) => "rows.jsonl".into(),
            _ => format!("{}.jsonl", part.name()),
        }
    }
}

/// How a row is written: as one line, or as one line per token sequence.
enum Form {
    Line(fn(&Row, &Recipe) -> Value),
    Sequences,
}

/// Writes rows in one format, with one file per part.
pub(crate) struct Writer {
    format: Format,
    folder: PathBuf,
    row: Form,
    recipe: Recipe,
    parts: BTreeMap<Part, (PathBuf, BufWriter<File>)>,
}

impl Writer {
    pub(crate) fn new(
        format: Format,
        dataset: &Path,
        recipe: &Recipe,
    ) -> Result<Self, DatasetError> {
        let row = match format {
            Format::Sharegpt => {
                sharegpt::check(recipe)?;
                Form::Line(sharegpt::row)
            }
            Format::Openai => Form::Line(openai::row),
            Format::Trl => {
                trl::check(recipe)?;
                Form::Line(trl::row)
            }
            Format::Tokens => Form::Sequences,
        };
        let folder = dataset.join(format.name());
        fs::create_dir_all(&folder).map_err(DatasetError::io("make", &folder))?;
        Ok(Writer { format, folder, row, recipe: recipe.clone(), parts: BTreeMap::new() })
    }

    pub(crate) fn add(&mut self, row: &Row) -> Result<(), DatasetError> {
        if !self.parts.contains_key(&row.part) {
            let file = self.folder.join(self.format.file(row.part));
            self.parts.insert(row.part, (file.clone(), create(&file)?));
        }
        let Some((file, out)) = self.parts.get_mut(&row.part) else { return Ok(()) };
        let written = match self.row {
            Form::Line(form) => line(out, &form(row, &self.recipe)),
            Form::Sequences => tokens::lines(row).try_for_each(|sequence| line(out, &sequence)),
        };
        written.map_err(DatasetError::io("write", file))
    }

    /// Closes the files and returns their names.
    pub(crate) fn finish(&mut self, summary: &Summary) -> Result<Vec<String>, DatasetError> {
        let mut files = Vec::new();
        for (part, (file, out)) in &mut self.parts {
            out.flush().map_err(DatasetError::io("write", file))?;
            files.push(format!("{}/{}", self.format.name(), self.format.file(*part)));
        }
        let parts: Vec<Part> = self.parts.keys().copied().collect();
        let beside = match self.format {
            Format::Sharegpt => sharegpt::beside(summary, &parts),
            Format::Trl => trl::beside(summary),
            Format::Tokens => tokens::beside(summary),
            Format::Openai => Vec::new(),
        };
        for (name, text) in beside {
            write(&self.folder.join(name), &text)?;
            files.push(format!("{}/{name}", self.format.name()));
        }
        Ok(files)
    }
}
