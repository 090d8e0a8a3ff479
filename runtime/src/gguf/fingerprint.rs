//! Identifies a GGUF file without reading all of it.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};

use sha2::{Digest, Sha256};

use super::header::GgufHeader;
use super::tensor::GgufTensor;

/// Bytes of each tensor.
const PART: u64 = 4096;

impl GgufHeader {
    /// SHA-256, hexadecimal, of the header and the first 4,096 bytes of each tensor. It differs
    /// for another quantisation, and after another training.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn fingerprint(&self) -> io::Result<String> {
        let mut opened = File::open(self.file())?;
        let mut hash = Sha256::new();
        let mut add = |start: u64, length: u64| -> io::Result<()> {
            let mut part = Vec::new();
            opened.seek(SeekFrom::Start(start))?;
            opened.by_ref().take(length).read_to_end(&mut part)?;
            hash.update(part);
            Ok(())
        };
        add(0, self.data_offset())?;
        for tensor in self.tensors().values() {
            let bytes = GgufTensor::bytes(tensor).unwrap_or(0).min(PART);
            add(self.data_offset().saturating_add(tensor.offset), bytes)?;
        }
        Ok(hex::encode(hash.finalize()))
    }
}
