//! The record of a training, which determines whether two trainings are the same.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;

use fixfly_runtime::{is_partial, sha256, write_whole};
use serde::de::Error;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

use crate::error::TrainError;
use crate::settings::{BaseDtype, MatmulPrecision, Precision, Settings};

/// The unfinished record of a training by an older version that was killed.
const PARTIAL: &str = "train.json.partial";

/// `train.json`: the inputs that identify a training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// The trainer: `fixfly` or `llamafactory`.
    pub engine: String,
    /// The version of fixfly.
    pub fixfly: String,
    /// The model folder or GGUF file.
    pub base: String,
    /// SHA-256 of its `config.json`; of a GGUF file, of its header and the first 4,096 bytes
    /// of each tensor.
    pub base_config: String,
    /// SHA-256 of the token rows.
    pub rows: String,
    /// The dtype that the model computes in.
    #[serde(alias = "precision")]
    pub dtype: Precision,
    /// The dtype that frozen matrices were rounded to, if that is not `dtype`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_dtype: Option<BaseDtype>,
    /// How exact products with frozen matrices are, if they are not exact.
    #[serde(default, skip_serializing_if = "is_highest")]
    pub float32_matmul_precision: MatmulPrecision,
    /// Settings that determine the result.
    #[serde(deserialize_with = "settings")]
    pub settings: Settings,
    /// The dataset folder.
    pub dataset: String,
}

fn is_highest(precision: &MatmulPrecision) -> bool {
    *precision == MatmulPrecision::Highest
}

/// Reads settings by their current keys, or by those of older versions.
fn settings<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Settings, D::Error> {
    let mut table = Map::<String, Value>::deserialize(deserializer)?;
    Settings::rename_old_keys(&mut table);
    serde_json::from_value(table.into()).map_err(D::Error::custom)
}

/// Identifies a Hugging Face folder: SHA-256 of its `config.json`.
///
/// # Errors
/// [`TrainError::Base`] if it is a GGUF file, [`TrainError::Io`] if the file cannot be read.
pub fn folder_hash(base: &Path) -> Result<String, TrainError> {
    if base.is_file() {
        return Err(TrainError::Base(format!(
            "{} is no folder; name a Hugging Face model folder, or train on a GGUF file with fixfly train lora",
            base.display()
        )));
    }
    let config = base.join("config.json");
    let text = fs::read(&config).map_err(TrainError::io("read", &config))?;
    Ok(sha256(&text))
}

impl Record {
    /// Creates the record of a training. `hash` identifies the model, as [`folder_hash`] does;
    /// `rows` is the hash of the rows.
    pub fn new(
        engine: &str,
        (base, hash): (&Path, String),
        (dataset, rows): (&Path, &str),
        dtype: Precision,
        settings: &Settings,
    ) -> Record {
        Record {
            engine: engine.into(),
            fixfly: env!("CARGO_PKG_VERSION").into(),
            base: base.display().to_string(),
            base_config: hash,
            rows: rows.into(),
            dtype,
            base_dtype: None,
            float32_matmul_precision: MatmulPrecision::Highest,
            settings: settings.clone(),
            dataset: dataset.display().to_string(),
        }
    }

    /// Reads the record of a training.
    ///
    /// # Errors
    /// [`TrainError::Resume`] if the folder contains none.
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

    /// True if the folder contains this training; false if it is empty or missing.
    ///
    /// # Errors
    /// [`TrainError::Resume`] if the folder contains something else.
    pub fn is_in(&self, output: &Path) -> Result<bool, TrainError> {
        if output.join("train.json").is_file() {
            let kept = Record::open(output)?;
            return match self.difference(&kept) {
                None => Ok(true),
                Some(what) => Err(TrainError::Resume(format!(
                    "{} holds another training: {what}; name another folder, or use the settings of that training",
                    output.display()
                ))),
            };
        }
        let entries = fs::read_dir(output).into_iter().flatten().flatten();
        // A training that was killed at its start may have left a partial record.
        let is_left = |name: &OsStr| name == PARTIAL || is_partial(name);
        match entries.into_iter().all(|entry| is_left(&entry.file_name())) {
            true => Ok(false),
            false => Err(TrainError::Resume(format!(
                "{} is not empty and holds no training; name an empty or a new folder",
                output.display()
            ))),
        }
    }

    /// Writes the record, or checks that the existing one is of the same training.
    ///
    /// # Errors
    /// As [`Record::is_in`], and [`TrainError::Io`] if it cannot be written.
    pub fn keep(&self, output: &Path) -> Result<(), TrainError> {
        if self.is_in(output)? {
            return Ok(());
        }
        fs::create_dir_all(output).map_err(TrainError::io("make", output))?;
        let text = serde_json::to_string_pretty(self).unwrap_or_default();
        let file = output.join("train.json");
        write_whole(&file, text).map_err(TrainError::io("write", &file))
    }

    /// The first difference that would change the result.
    fn difference(&self, kept: &Record) -> Option<String> {
        let of = |record: &Record| serde_json::to_value(record).unwrap_or_default();
        let (mine, kept) = (of(self), of(kept));
        let differs = |name: &str, place: &str| {
            let (mine, kept) = (mine.pointer(place)?, kept.pointer(place)?);
            (mine != kept).then(|| format!("its {name} is {kept}, not {mine}"))
        };
        let rounded = |of: &Value| match of["base_dtype"].as_str() {
            None => "not rounded".to_string(),
            Some(dtype) => format!("rounded to {dtype}"),
        };
        let [mine_rounded, kept_rounded] = [&mine, &kept].map(rounded);
        let precision =
            |of: &Value| of["float32_matmul_precision"].as_str().unwrap_or("highest").to_string();
        let [mine_precision, kept_precision] = [&mine, &kept].map(precision);
        let settings = mine.pointer("/settings")?.as_object()?;
        differs("engine", "/engine")
            .or_else(|| differs("base model, by its hash,", "/base_config"))
            .or_else(|| differs("rows of tokens", "/rows"))
            .or_else(|| differs("dtype", "/dtype"))
            .or_else(|| {
                (mine_rounded != kept_rounded).then(|| {
                    format!("its frozen weights are {kept_rounded}, and these are {mine_rounded}")
                })
            })
            .or_else(|| {
                (mine_precision != kept_precision).then(|| {
                    format!(
                        "its float32 matmul precision is {kept_precision}, and this one, on this processor, is {mine_precision}"
                    )
                })
            })
            .or_else(|| settings.keys().find_map(|key| differs(key, &format!("/settings/{key}"))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Method;

    #[test]
    fn a_training_of_an_older_version_is_the_same_training() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("config.json"), "{}").unwrap();
        let (output, settings) = (folder.path().join("student"), Settings::of(Method::Lora));
        let base = (folder.path(), folder_hash(folder.path()).unwrap());
        let rows = (folder.path(), "rows");
        let record = Record::new("fixfly", base, rows, Precision::F32, &settings);
        let text = serde_json::to_string(&record).unwrap();
        let text = text.replace("\"dtype\"", "\"precision\"");
        let text = text.replace("\"warmup_steps\"", "\"warmup\"");
        let text = text.replace("\"adam_beta1\":0.9,\"adam_beta2\":0.999", "\"betas\":[0.9,0.999]");
        assert!(text.contains("\"betas\"") && text.contains("\"precision\""), "{text}");
        fs::create_dir(&output).unwrap();
        fs::write(output.join("train.json"), text).unwrap();
        assert!(record.is_in(&output).unwrap());
    }
}
