//! What a training is, beside what it leaves: whether two are one.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::error::TrainError;
use crate::settings::{Precision, Settings};

const PARTIAL: &str = "train.json.partial";

/// Writes a file whole or not at all; what was begun ends in `.partial`.
pub(super) fn write_whole(file: &Path, text: &str) -> Result<(), TrainError> {
    let mut partial = file.as_os_str().to_owned();
    partial.push(".partial");
    let partial = Path::new(&partial);
    fs::write(partial, text).map_err(TrainError::io("write", partial))?;
    fs::rename(partial, file).map_err(TrainError::io("write", file))
}

/// What a training is, as its `train.json` says.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// What trained: `fixfly`, `llamafactory`.
    pub engine: String,
    /// The version of fixfly.
    pub fixfly: String,
    /// The model folder.
    pub base: String,
    /// SHA-256 of its `config.json`.
    pub base_config: String,
    /// SHA-256 of the rows of tokens.
    pub rows: String,
    /// What the model computes with.
    pub precision: Precision,
    /// What decides the result.
    pub settings: Settings,
    /// The dataset folder.
    pub dataset: String,
}

impl Record {
    /// Of a training of this model on these rows; `rows` is a hash of them.
    ///
    /// # Errors
    /// [`TrainError::Io`] where the model's `config.json` cannot be read.
    pub fn new(
        engine: &str,
        (base, dataset): (&Path, &Path),
        rows: &str,
        precision: Precision,
        settings: &Settings,
    ) -> Result<Record, TrainError> {
        let config = base.join("config.json");
        let text = fs::read(&config).map_err(TrainError::io("read", &config))?;
        Ok(Record {
            engine: engine.into(),
            fixfly: env!("CARGO_PKG_VERSION").into(),
            base: base.display().to_string(),
            base_config: crate::sha256(&text),
            rows: rows.into(),
            precision,
            settings: settings.clone(),
            dataset: dataset.display().to_string(),
        })
    }

    /// Reads that of a training.
    ///
    /// # Errors
    /// [`TrainError::Resume`] where the folder holds none.
    pub fn open(training: &Path) -> Result<Record, TrainError> {
        let file = training.join("train.json");
        let text = fs::read_to_string(&file).map_err(|why| {
            TrainError::Resume(format!(
                "there is no training in {}: cannot read train.json ({why})",
                training.display()
            ))
        })?;
        serde_json::from_str(&text)
            .map_err(|why| TrainError::Resume(format!("{}: {why}", file.display())))
    }

    /// Whether a folder holds this training already; else it is empty or not there.
    ///
    /// # Errors
    /// [`TrainError::Resume`] where the folder holds something else.
    pub fn is_in(&self, output: &Path) -> Result<bool, TrainError> {
        if output.join("train.json").is_file() {
            let kept = Record::open(output)?;
            return match self.difference(&kept) {
                None => Ok(true),
                Some(what) => Err(TrainError::Resume(format!(
                    "{} holds another training: {what}; name another folder, or give what it was given",
                    output.display()
                ))),
            };
        }
        let entries = fs::read_dir(output).into_iter().flatten().flatten();
        // One that was killed while it began may have left half of its record.
        match entries.into_iter().all(|entry| entry.file_name() == PARTIAL) {
            true => Ok(false),
            false => Err(TrainError::Resume(format!(
                "{} is not empty and holds no training; name an empty or a new folder",
                output.display()
            ))),
        }
    }

    /// Writes it, or sees that the one there is the same training.
    ///
    /// # Errors
    /// As [`Record::is_in`], and [`TrainError::Io`] where it cannot be written.
    pub fn keep(&self, output: &Path) -> Result<(), TrainError> {
        if self.is_in(output)? {
            return Ok(());
        }
        fs::create_dir_all(output).map_err(TrainError::io("make", output))?;
        let text = serde_json::to_string_pretty(self).unwrap_or_default();
        write_whole(&output.join("train.json"), &text)
    }

    /// The first thing in which two trainings would come to other results.
    fn difference(&self, kept: &Record) -> Option<String> {
        let of = |record: &Record| serde_json::to_value(record).unwrap_or_default();
        let (mine, kept) = (of(self), of(kept));
        let differs = |name: &str, place: &str| {
            let (mine, kept) = (mine.pointer(place)?, kept.pointer(place)?);
            (mine != kept).then(|| format!("its {name} is {kept}, not {mine}"))
        };
        let settings = mine.pointer("/settings")?.as_object()?;
        differs("engine", "/engine")
            .or_else(|| differs("model's config.json", "/base_config"))
            .or_else(|| differs("rows of tokens", "/rows"))
            .or_else(|| differs("precision", "/precision"))
            .or_else(|| settings.keys().find_map(|key| differs(key, &format!("/settings/{key}"))))
    }
}
