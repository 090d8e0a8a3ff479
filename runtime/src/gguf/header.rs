//! The values of a header by key, and checks of its tensors.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::{Path, PathBuf};

use super::error::GgufError;
use super::reader::Reader;
use super::tensor::GgufTensor;

/// The first bytes of every file.
const MAGIC: &[u8; 4] = b"GGUF";
/// Default alignment of tensors.
const ALIGNMENT: u64 = 32;

/// A value of the metadata.
#[derive(Clone, Debug, PartialEq)]
pub enum GgufValue {
    /// True or false.
    Bool(bool),
    /// An integer that is not negative, of any width.
    Unsigned(u64),
    /// A negative integer, of any width.
    Negative(i64),
    /// A float of either width.
    Float(f64),
    /// Text. Bytes that are not UTF-8 are replaced.
    Text(String),
    /// A list of numbers or of flags (0 and 1).
    Numbers(Vec<f64>),
    /// A list of texts.
    Texts(Vec<String>),
}

/// The header of a file.
#[derive(Clone, Debug, Default)]
pub struct GgufHeader {
    pub(super) file: PathBuf,
    pub(super) values: BTreeMap<String, GgufValue>,
    pub(super) tensors: BTreeMap<String, GgufTensor>,
    /// Bytes of the header.
    pub(super) length: u64,
}

impl GgufHeader {
    /// Reads the header of a file.
    ///
    /// # Errors
    /// [`GgufError`] if the file does not exist, is not GGUF, or has a broken header.
    pub fn open(file: &Path) -> Result<Self, GgufError> {
        if file.is_dir() {
            return Err(GgufError::NotGguf(file.into()));
        }
        let opened = File::open(file).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => GgufError::Missing(file.into()),
            _ => GgufError::Unreadable(file.into(), error.to_string()),
        })?;
        GgufHeader::read(file, BufReader::new(opened))
    }

    /// Reads a header from bytes; `file` is the name for errors.
    ///
    /// # Errors
    /// [`GgufError`] if the bytes do not begin with a header of GGUF 2 or 3.
    pub fn read(file: &Path, mut bytes: impl Read) -> Result<Self, GgufError> {
        let mut magic = [0; 4];
        if bytes.read_exact(&mut magic).is_err() || &magic != MAGIC {
            return Err(GgufError::NotGguf(file.into()));
        }
        let header = Reader::new(bytes, MAGIC.len()).header();
        let header = header.map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => GgufError::CutOff(file.into()),
            _ => GgufError::Unreadable(file.into(), error.to_string()),
        })?;
        Ok(GgufHeader { file: file.into(), ..header })
    }

    /// Whether a file is named as GGUF files are, or begins as they do.
    pub fn is_gguf(file: &Path) -> bool {
        if file.extension().is_some_and(|extension| extension == "gguf") {
            return true;
        }
        let mut magic = [0; 4];
        let read = File::open(file).and_then(|mut file| file.read_exact(&mut magic));
        read.is_ok() && &magic == MAGIC
    }

    /// The file that was read.
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// All values, by key.
    pub fn values(&self) -> &BTreeMap<String, GgufValue> {
        &self.values
    }

    /// All tensors, by name.
    pub fn tensors(&self) -> &BTreeMap<String, GgufTensor> {
        &self.tensors
    }

    /// A tensor by its name.
    pub fn tensor(&self, name: &str) -> Option<&GgufTensor> {
        self.tensors.get(name)
    }

    /// Byte offset of the tensor data in the file.
    pub fn data_offset(&self) -> u64 {
        let alignment = self.number("general.alignment").unwrap_or(ALIGNMENT).max(1);
        // A file cannot be that long; `check_tensors` refuses its tensors.
        self.length.checked_next_multiple_of(alignment).unwrap_or(u64::MAX)
    }

    /// Refuses tensors that are not whole in a file of this length, in bytes.
    ///
    /// # Errors
    /// [`GgufError`] that names the tensor. Types that fixfly does not list are not checked.
    pub fn check_tensors(&self, length: u64) -> Result<(), GgufError> {
        for (name, tensor) in &self.tensors {
            let Some((values, _)) = tensor.kind.block() else { continue };
            let wrong = |why: String| {
                Err(GgufError::WrongTensor { file: self.file.clone(), tensor: name.clone(), why })
            };
            let Some(bytes) = tensor.bytes() else {
                return wrong(format!(
                    "its dimensions are {:?}, and {} stores blocks of {values} values",
                    tensor.dimensions, tensor.kind
                ));
            };
            let end = self.data_offset().checked_add(tensor.offset);
            let Some(needed) = end.and_then(|start| start.checked_add(bytes)) else {
                return wrong(format!("its offset is {}", tensor.offset));
            };
            if needed > length {
                let (file, tensor) = (self.file.clone(), name.clone());
                return Err(GgufError::CutOffTensor { file, tensor, length, needed });
            }
        }
        Ok(())
    }

    /// A value by its key.
    pub fn value(&self, key: &str) -> Option<&GgufValue> {
        self.values.get(key)
    }

    /// A text by its key.
    pub fn text(&self, key: &str) -> Option<&str> {
        match self.values.get(key)? {
            GgufValue::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A flag by its key.
    pub fn flag(&self, key: &str) -> Option<bool> {
        match self.values.get(key)? {
            GgufValue::Bool(flag) => Some(*flag),
            _ => None,
        }
    }

    /// An integer by its key; of a list with one for each layer, the first.
    pub fn number(&self, key: &str) -> Option<u64> {
        self.numbers(key).and_then(|numbers| numbers.first().copied())
    }

    /// A number that may have a fraction, by its key.
    pub fn real(&self, key: &str) -> Option<f64> {
        match self.values.get(key)? {
            GgufValue::Float(number) => Some(*number),
            GgufValue::Unsigned(number) => Some(*number as f64),
            GgufValue::Negative(number) => Some(*number as f64),
            _ => None,
        }
    }

    /// An integer, or a list with one for each layer, by its key. Negative numbers are 0.
    pub fn numbers(&self, key: &str) -> Option<Vec<u64>> {
        match self.values.get(key)? {
            GgufValue::Unsigned(number) => Some(vec![*number]),
            GgufValue::Negative(_) => Some(vec![0]),
            GgufValue::Numbers(all) => Some(all.iter().map(|number| *number as u64).collect()),
            _ => None,
        }
    }

    /// A list of texts by its key.
    pub fn texts(&self, key: &str) -> Option<&[String]> {
        match self.values.get(key)? {
            GgufValue::Texts(texts) => Some(texts),
            _ => None,
        }
    }

    /// `general.architecture`, such as `qwen2`.
    ///
    /// # Errors
    /// [`GgufError::Lacks`] if the header does not state it.
    pub fn architecture(&self) -> Result<&str, GgufError> {
        let key = "general.architecture";
        self.text(key).ok_or_else(|| GgufError::Lacks(self.file.clone(), key.into()))
    }

    /// An integer of the architecture, such as `block_count`.
    ///
    /// # Errors
    /// [`GgufError::Lacks`] if the header does not state it.
    pub fn fact(&self, name: &str) -> Result<u64, GgufError> {
        let key = format!("{}.{name}", self.architecture()?);
        self.number(&key).ok_or_else(|| GgufError::Lacks(self.file.clone(), key))
    }

    /// The longest text that the model was made for, in tokens.
    ///
    /// # Errors
    /// [`GgufError::Lacks`] if the header does not state it.
    pub fn context_length(&self) -> Result<u64, GgufError> {
        self.fact("context_length")
    }

    /// The text of the token that a key names, such as `tokenizer.ggml.eos_token_id`.
    pub fn token(&self, key: &str) -> Option<&str> {
        let at = usize::try_from(self.number(key)?).ok()?;
        self.texts("tokenizer.ggml.tokens")?.get(at).map(String::as_str)
    }
}

#[cfg(test)]
mod tests;
