//! Writes files. Errors name the file.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;

use crate::error::DatasetError;

pub(crate) fn create(file: &Path) -> Result<BufWriter<File>, DatasetError> {
    Ok(BufWriter::new(File::create(file).map_err(DatasetError::io("write", file))?))
}

pub(crate) fn write(file: &Path, text: &str) -> Result<(), DatasetError> {
    fs::write(file, text).map_err(DatasetError::io("write", file))
}

/// Writes a value as one line of JSON.
pub(crate) fn line(out: &mut impl Write, value: &impl serde::Serialize) -> std::io::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    out.write_all(b"\n")
}
