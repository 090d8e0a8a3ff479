//! Identifies a GGUF file without reading all of it.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

use fixfly_runtime::{GgufHeader, GgufTensor, sha256};

use crate::error::TrainError;

/// Bytes of each tensor.
const PART: u64 = 4096;

/// A hash of the header and of the beginning of each tensor.
///
/// # Errors
/// [`TrainError::Io`] if the file cannot be read.
pub(super) fn of(header: &GgufHeader) -> Result<String, TrainError> {
    let file = header.file();
    let read = || -> std::io::Result<Vec<u8>> {
        let mut opened = File::open(file)?;
        let mut all = Vec::new();
        opened.by_ref().take(header.data_offset()).read_to_end(&mut all)?;
        for tensor in header.tensors().values() {
            opened.seek(SeekFrom::Start(header.data_offset().saturating_add(tensor.offset)))?;
            let bytes = GgufTensor::bytes(tensor).unwrap_or(0).min(PART);
            opened.by_ref().take(bytes).read_to_end(&mut all)?;
        }
        Ok(all)
    };
    read().map(|bytes| sha256(&bytes)).map_err(TrainError::io("read", file))
}
