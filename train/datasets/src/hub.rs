//! A dataset as the Hugging Face hub wants it: Parquet files and a card with settings.

mod card;
mod columns;
mod names;
mod shards;

use std::fs;
use std::path::Path;

use crate::card::Samples;
use crate::dataset::{Dataset, SUMMARY};
use crate::error::DatasetError;
use crate::files::write;
use crate::row::Part;
use names::Names;
use shards::Shards;

/// The largest size of a Parquet file, as the hub recommends it.
const SHARD_BYTES: usize = 500_000_000;

/// What was written for the hub.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hub {
    /// The number of rows.
    pub rows: usize,
    /// The Parquet files, relative to the folder.
    pub files: Vec<String>,
}

impl Dataset {
    /// Writes the dataset to `folder` in the hub's layout, completely or not at all.
    /// `license` is the hub's identifier of a licence; `None` makes it `unknown`.
    ///
    /// # Errors
    /// [`DatasetError`], in one sentence.
    pub fn write_hub(&self, folder: &Path, license: Option<&str>) -> Result<Hub, DatasetError> {
        self.write_hub_in_shards(folder, license, SHARD_BYTES)
    }

    fn write_hub_in_shards(
        &self,
        folder: &Path,
        license: Option<&str>,
        shard_bytes: usize,
    ) -> Result<Hub, DatasetError> {
        if self.summary.rows() == 0 {
            return Err(DatasetError::Usage(
                "the dataset has no rows, so the hub cannot show it".into(),
            ));
        }
        if fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_some()) {
            return Err(DatasetError::NotEmpty(folder.into()));
        }
        let parent = match folder.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        fs::create_dir_all(parent).map_err(DatasetError::io("make", parent))?;
        let named = folder.file_name().unwrap_or_default().to_string_lossy();
        let draft = parent.join(format!("{named}.unfinished"));
        if draft.exists() {
            fs::remove_dir_all(&draft).map_err(DatasetError::io("remove", &draft))?;
        }
        let written = self.fill(&draft, license, shard_bytes).and_then(|hub| {
            // The target may be an empty folder.
            let _ = fs::remove_dir(folder);
            fs::rename(&draft, folder).map_err(DatasetError::io("make", folder))?;
            Ok(hub)
        });
        if written.is_err() {
            let _ = fs::remove_dir_all(&draft);
        }
        written
    }

    fn fill(
        &self,
        draft: &Path,
        license: Option<&str>,
        shard_bytes: usize,
    ) -> Result<Hub, DatasetError> {
        let data = draft.join("data");
        fs::create_dir_all(&data).map_err(DatasetError::io("make", &data))?;
        let (mut hub, mut samples) = (Hub::default(), Samples::default());
        let names = Names::of(self.summary.sources.iter().map(|source| source.run.as_str()));
        for part in Part::ALL {
            let mut shards = Shards::new(&data, part, shard_bytes);
            for row in self.rows()? {
                let row = names.row(row?);
                if row.part == part {
                    samples.offer(&row);
                    shards.add(&row)?;
                    hub.rows += 1;
                }
            }
            hub.files.extend(shards.finish()?.into_iter().map(|name| format!("data/{name}")));
        }
        let summary = names.summary(&self.summary);
        let text = serde_json::to_string_pretty(&summary).unwrap_or_default();
        write(&draft.join(SUMMARY), &format!("{text}\n"))?;
        write(&draft.join("README.md"), &card::card(&summary, &samples, license))?;
        Ok(hub)
    }
}

#[cfg(test)]
mod tests;
