//! Reads the bytes of a header. Whatever they are, at most [`LONGEST`] are read, and memory
//! stays within 16 times the bytes that were read (a list of bytes becomes one of f64).

use std::io::{self, Read};

use super::header::{GgufHeader, GgufValue};
use super::tensor::{GgmlType, GgufTensor};

/// Maximum length of a header, in bytes. Those of models with 262,144 tokens have 17 MB.
const LONGEST: u64 = 1 << 27;

/// Reads a header after the first bytes.
pub(super) struct Reader<R> {
    bytes: io::Take<R>,
}

impl<R: Read> Reader<R> {
    /// A reader of bytes, after so many of the header.
    pub(super) fn new(bytes: R, before: usize) -> Self {
        Reader { bytes: bytes.take(LONGEST - before as u64) }
    }

    /// Reads all values and tensors.
    ///
    /// # Errors
    /// `UnexpectedEof` if the bytes end too early, `InvalidData` if they are wrong.
    pub(super) fn header(mut self) -> io::Result<GgufHeader> {
        let header = self.parts();
        match header {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && self.left() == 0 => {
                Err(broken(&format!("its header is longer than {LONGEST} bytes")))
            }
            header => header,
        }
    }

    fn parts(&mut self) -> io::Result<GgufHeader> {
        let version = self.u32()?;
        if !(2..=3).contains(&version) {
            return Err(broken(&format!("version {version} of GGUF is not known")));
        }
        let (tensors, values) = (self.count()?, self.count()?);
        let mut header = GgufHeader::default();
        for _ in 0..values {
            let key = self.text()?;
            let kind = self.u32()?;
            let value = self.value(kind)?;
            header.values.insert(key, value);
        }
        for _ in 0..tensors {
            let name = self.text()?;
            let dimensions = self.u32()?;
            if dimensions > 4 {
                return Err(broken("a tensor has more than four dimensions"));
            }
            let dimensions = (0..dimensions).map(|_| self.u64()).collect::<io::Result<_>>()?;
            let (kind, offset) = (GgmlType(self.u32()?), self.u64()?);
            header.tensors.insert(name, GgufTensor { dimensions, kind, offset });
        }
        header.length = LONGEST - self.left();
        Ok(header)
    }

    /// Bytes that the header may still have.
    fn left(&self) -> u64 {
        self.bytes.limit()
    }

    fn value(&mut self, kind: u32) -> io::Result<GgufValue> {
        Ok(match kind {
            7 => GgufValue::Bool(self.bytes::<1>()? != [0]),
            8 => GgufValue::Text(self.text()?),
            9 => self.list()?,
            10 => GgufValue::Unsigned(self.u64()?),
            1 | 3 | 5 | 11 => {
                let number = self.integer(kind)?;
                u64::try_from(number).map_or(GgufValue::Negative(number), GgufValue::Unsigned)
            }
            6 | 12 => GgufValue::Float(self.number(kind)?),
            _ => GgufValue::Unsigned(self.number(kind)? as u64),
        })
    }

    fn list(&mut self) -> io::Result<GgufValue> {
        let kind = self.u32()?;
        let count = self.count()?;
        match kind {
            8 => (0..count).map(|_| self.text()).collect::<io::Result<_>>().map(GgufValue::Texts),
            9 => Err(broken("a list of lists")),
            _ => {
                let numbers = (0..count).map(|_| self.number(kind));
                numbers.collect::<io::Result<_>>().map(GgufValue::Numbers)
            }
        }
    }

    /// A signed integer of any width.
    fn integer(&mut self, kind: u32) -> io::Result<i64> {
        Ok(match kind {
            1 => i64::from(i8::from_le_bytes(self.bytes()?)),
            3 => i64::from(i16::from_le_bytes(self.bytes()?)),
            5 => i64::from(i32::from_le_bytes(self.bytes()?)),
            _ => i64::from_le_bytes(self.bytes()?),
        })
    }

    /// A number of any type. In lists, f64 is exact enough for all that is read.
    fn number(&mut self, kind: u32) -> io::Result<f64> {
        Ok(match kind {
            0 | 7 => f64::from(u8::from_le_bytes(self.bytes()?)),
            2 => f64::from(u16::from_le_bytes(self.bytes()?)),
            4 => f64::from(self.u32()?),
            1 | 3 | 5 | 11 => self.integer(kind)? as f64,
            6 => f64::from(f32::from_le_bytes(self.bytes()?)),
            10 => self.u64()? as f64,
            12 => f64::from_le_bytes(self.bytes()?),
            _ => return Err(broken(&format!("values of kind {kind} are not known"))),
        })
    }

    fn text(&mut self) -> io::Result<String> {
        let length = self.count()?;
        let mut bytes = Vec::new();
        (&mut self.bytes).take(length).read_to_end(&mut bytes)?;
        match bytes.len() as u64 == length {
            true => Ok(String::from_utf8_lossy(&bytes).into_owned()),
            false => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    /// A number of bytes or of things, each of which takes a byte or more.
    fn count(&mut self) -> io::Result<u64> {
        match self.u64()? {
            count if count <= LONGEST => Ok(count),
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
        self.bytes.read_exact(&mut bytes)?;
        Ok(bytes)
    }
}

fn broken(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}
