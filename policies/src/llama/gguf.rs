//! The header of a GGUF file: its metadata and its tensors. We read it so that an
//! unsuitable file is refused before llama.cpp loads it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek};
use std::path::Path;

use super::fault::Fault;

/// A larger count means that the file is broken.
const MOST: u64 = 1 << 27;
/// Maximum length of a list that is kept, apart from the vocabulary: one number per layer.
const LAYERS: u64 = 4096;
/// Default alignment of tensors.
const ALIGNMENT: u64 = 32;

/// The header of a file.
#[derive(Debug, Default)]
pub(super) struct Head {
    values: BTreeMap<String, Value>,
    pub(super) tensors: BTreeMap<String, Tensor>,
    /// Byte offset of the tensor data.
    pub(super) data: u64,
}

/// The position and type of a tensor.
#[derive(Debug)]
pub(super) struct Tensor {
    /// The fastest-changing dimension first.
    pub(super) sizes: Vec<u64>,
    /// A number of `ggml_type`.
    pub(super) kind: u32,
    /// In bytes, from the start of the tensor data.
    pub(super) offset: u64,
}

#[derive(Debug)]
enum Value {
    Number(f64),
    Text(String),
    Numbers(Vec<f64>),
    Texts(Vec<String>),
    /// A list that we do not need.
    Other,
}

impl Head {
    /// Reads the header of a file.
    ///
    /// # Errors
    /// [`Fault`] if the file does not exist or is not GGUF.
    pub(super) fn read(path: &Path) -> Result<Self, Fault> {
        let name = || path.to_path_buf();
        if path.is_dir() {
            return Err(Fault::NotGguf(name()));
        }
        let file = File::open(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => Fault::Missing(name()),
            _ => Fault::Unreadable(name(), error.to_string()),
        })?;
        let mut reader = Reader(BufReader::new(file));
        let mut magic = [0; 4];
        if reader.0.read_exact(&mut magic).is_err() || &magic != b"GGUF" {
            return Err(Fault::NotGguf(name()));
        }
        reader.head().map_err(|error| match error.kind() {
            io::ErrorKind::UnexpectedEof => Fault::CutOff(name()),
            _ => Fault::Unreadable(name(), error.to_string()),
        })
    }

    /// A text by its key.
    pub(super) fn text(&self, key: &str) -> Option<&str> {
        match self.values.get(key) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// A number by its key.
    pub(super) fn number(&self, key: &str) -> Option<u64> {
        self.numbers(key).and_then(|numbers| numbers.first().copied())
    }

    /// A number that may have a fraction, by its key.
    pub(super) fn real(&self, key: &str) -> Option<f64> {
        match self.values.get(key)? {
            Value::Number(number) => Some(*number),
            _ => None,
        }
    }

    /// A number, or a list with one for each layer, by its key.
    pub(super) fn numbers(&self, key: &str) -> Option<Vec<u64>> {
        match self.values.get(key)? {
            Value::Number(number) => Some(vec![*number as u64]),
            Value::Numbers(numbers) => Some(numbers.iter().map(|&number| number as u64).collect()),
            _ => None,
        }
    }

    /// The text of a token that a key names.
    pub(super) fn token(&self, key: &str) -> Option<&str> {
        let at = usize::try_from(self.number(key)?).ok()?;
        match self.values.get("tokenizer.ggml.tokens") {
            Some(Value::Texts(tokens)) => tokens.get(at).map(String::as_str),
            _ => None,
        }
    }
}

struct Reader(BufReader<File>);

impl Reader {
    fn head(&mut self) -> io::Result<Head> {
        let version = self.u32()?;
        if !(2..=3).contains(&version) {
            return Err(broken(&format!("version {version} of GGUF is not known")));
        }
        let (tensors, values) = (self.count()?, self.count()?);
        let mut head = Head::default();
        for _ in 0..values {
            let key = self.text()?;
            let kind = self.u32()?;
            let value = self.value(kind, key == "tokenizer.ggml.tokens")?;
            head.values.insert(key, value);
        }
        for _ in 0..tensors {
            let name = self.text()?;
            let dimensions = self.u32()?;
            if dimensions > 4 {
                return Err(broken("a tensor has more than four dimensions"));
            }
            let sizes = (0..dimensions).map(|_| self.u64()).collect::<io::Result<_>>()?;
            let (kind, offset) = (self.u32()?, self.u64()?);
            head.tensors.insert(name, Tensor { sizes, kind, offset });
        }
        let alignment = head.number("general.alignment").unwrap_or(ALIGNMENT).max(1);
        head.data = self.0.stream_position()?.next_multiple_of(alignment);
        Ok(head)
    }

    fn value(&mut self, kind: u32, keep: bool) -> io::Result<Value> {
        match kind {
            8 => Ok(Value::Text(self.text()?)),
            9 => self.list(keep),
            _ => Ok(Value::Number(self.number(kind)?)),
        }
    }

    fn list(&mut self, keep: bool) -> io::Result<Value> {
        let kind = self.u32()?;
        let count = self.count()?;
        match kind {
            8 if keep => {
                (0..count).map(|_| self.text()).collect::<io::Result<_>>().map(Value::Texts)
            }
            9 => Err(broken("a list of lists")),
            8 => (0..count).try_for_each(|_| self.text().map(drop)).map(|()| Value::Other),
            _ if count <= LAYERS => {
                let numbers = (0..count).map(|_| self.number(kind));
                numbers.collect::<io::Result<_>>().map(Value::Numbers)
            }
            _ => (0..count).try_for_each(|_| self.number(kind).map(drop)).map(|()| Value::Other),
        }
    }

    /// A number of any type; f64 is exact enough for all that we read.
    fn number(&mut self, kind: u32) -> io::Result<f64> {
        Ok(match kind {
            0 | 7 => f64::from(u8::from_le_bytes(self.bytes()?)),
            1 => f64::from(i8::from_le_bytes(self.bytes()?)),
            2 => f64::from(u16::from_le_bytes(self.bytes()?)),
            3 => f64::from(i16::from_le_bytes(self.bytes()?)),
            4 => f64::from(self.u32()?),
            5 => f64::from(i32::from_le_bytes(self.bytes()?)),
            6 => f64::from(f32::from_le_bytes(self.bytes()?)),
            10 => self.u64()? as f64,
            11 => i64::from_le_bytes(self.bytes()?) as f64,
            12 => f64::from_le_bytes(self.bytes()?),
            _ => return Err(broken(&format!("values of kind {kind} are not known"))),
        })
    }

    fn text(&mut self) -> io::Result<String> {
        let length = self.count()?;
        let mut bytes = Vec::new();
        (&mut self.0).take(length).read_to_end(&mut bytes)?;
        match bytes.len() as u64 == length {
            true => Ok(String::from_utf8_lossy(&bytes).into_owned()),
            false => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    fn count(&mut self) -> io::Result<u64> {
        match self.u64()? {
            count if count <= MOST => Ok(count),
            count => Err(broken(&format!("it claims {count} of something"))),
        }
    }

    fn u32(&mut self) -> io::Result<u32> {
        self.bytes().map(u32::from_le_bytes)
    }

    fn u64(&mut self) -> io::Result<u64> {
        self.bytes().map(u64::from_le_bytes)
    }

    fn bytes<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.0.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

fn broken(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}
