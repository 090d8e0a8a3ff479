//! The folder of a dataset: built in another place and moved when it is complete.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;
use std::thread;

use super::Build;
use crate::card::{Samples, card, own_files};
use crate::dataset::{ROWS, SUMMARY};
use crate::error::DatasetError;
use crate::files::{create, line, write};
use crate::row::Row;
use crate::summary::Summary;
use crate::write::Writer;

/// Maximum number of rows that wait to be written.
const WAITING: usize = 16;

/// An unfinished folder. It is removed if it is dropped before it is finished.
pub(super) struct Folder {
    place: PathBuf,
    draft: PathBuf,
    rows: BufWriter<File>,
    writers: Vec<Writer>,
    samples: Samples,
    whole: bool,
}

impl Folder {
    pub(super) fn new(place: &Path, build: &Build<'_>) -> Result<Self, DatasetError> {
        if fs::read_dir(place).is_ok_and(|mut entries| entries.next().is_some()) {
            return Err(DatasetError::NotEmpty(place.into()));
        }
        let mut draft = place.as_os_str().to_owned();
        draft.push(".unfinished");
        let draft = PathBuf::from(draft);
        if draft.exists() {
            fs::remove_dir_all(&draft).map_err(DatasetError::io("remove", &draft))?;
        }
        fs::create_dir_all(&draft).map_err(DatasetError::io("make", &draft))?;
        let rows = create(&draft.join(ROWS))?;
        let (samples, writers) = (Samples::default(), Vec::new());
        let mut folder =
            Folder { place: place.into(), draft, rows, writers, samples, whole: false };
        for format in &build.formats {
            folder.writers.push(Writer::new(*format, &folder.draft, &build.recipe)?);
        }
        Ok(folder)
    }

    /// The folder that is not finished, which has room for temporary files.
    pub(super) fn draft(&self) -> &Path {
        &self.draft
    }

    /// Writes the rows from `make` in another thread.
    pub(super) fn filled(
        mut self,
        make: impl FnOnce(&mut dyn FnMut(Row)) -> Result<(), DatasetError>,
    ) -> Result<Folder, DatasetError> {
        let (give, take) = sync_channel(WAITING);
        thread::scope(|scope| {
            let written = scope.spawn(move || {
                take.into_iter().try_for_each(|row| self.add(&row))?;
                Ok::<_, DatasetError>(self)
            });
            // Sending fails only after an error of the writer, which is returned below.
            let made = make(&mut |row| drop(give.send(row)));
            drop(give);
            let folder = written.join().unwrap_or_else(|panic| resume_unwind(panic))?;
            made.map(|()| folder)
        })
    }

    fn add(&mut self, row: &Row) -> Result<(), DatasetError> {
        let file = self.draft.join(ROWS);
        line(&mut self.rows, row).map_err(DatasetError::io("write", &file))?;
        self.samples.offer(row);
        self.writers.iter_mut().try_for_each(|writer| writer.add(row))
    }

    pub(super) fn finish(mut self, mut summary: Summary) -> Result<Summary, DatasetError> {
        self.rows.flush().map_err(DatasetError::io("write", &self.draft.join(ROWS)))?;
        for writer in &mut self.writers {
            summary.files.extend(writer.finish(&summary)?);
        }
        let text = |summary: &Summary| serde_json::to_string_pretty(summary).unwrap_or_default();
        write(&self.draft.join(SUMMARY), &format!("{}\n", text(&summary)))?;
        let text = card(&summary, &self.samples, &own_files(&summary));
        write(&self.draft.join("README.md"), &text)?;
        // The target may be an empty folder.
        let _ = fs::remove_dir(&self.place);
        fs::rename(&self.draft, &self.place).map_err(DatasetError::io("make", &self.place))?;
        self.whole = true;
        Ok(summary)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if !self.whole {
            let _ = fs::remove_dir_all(&self.draft);
        }
    }
}
