//! Writes GGUF files: values, then tensors of 32-bit floats.

use std::fs;
use std::path::Path;

const ALIGNMENT: usize = 32;

/// A value of a file's head.
pub(crate) enum Value {
    U32(u32),
    F32(f32),
    Flag(bool),
    Text(String),
    Texts(Vec<String>),
    Numbers(Vec<i32>),
}

/// A file to be.
#[derive(Default)]
pub(crate) struct Gguf {
    values: Vec<(String, Value)>,
    tensors: Vec<(String, Vec<u64>, Vec<f32>)>,
}

impl Gguf {
    pub(crate) fn value(&mut self, key: &str, value: Value) {
        self.values.push((key.into(), value));
    }

    pub(crate) fn text(&mut self, key: &str, text: &str) {
        self.value(key, Value::Text(text.into()));
    }

    /// Sizes with the fastest-running first.
    pub(crate) fn tensor(&mut self, name: &str, sizes: &[u64], numbers: Vec<f32>) {
        assert_eq!(sizes.iter().product::<u64>(), numbers.len() as u64);
        self.tensors.push((name.into(), sizes.into(), numbers));
    }

    pub(crate) fn write(&self, path: &Path) {
        let mut bytes = b"GGUF\x03\0\0\0".to_vec();
        bytes.extend((self.tensors.len() as u64).to_le_bytes());
        bytes.extend((self.values.len() as u64).to_le_bytes());
        for (key, value) in &self.values {
            text(&mut bytes, key);
            value.write(&mut bytes);
        }
        let mut offset = 0;
        for (name, sizes, numbers) in &self.tensors {
            text(&mut bytes, name);
            bytes.extend((sizes.len() as u32).to_le_bytes());
            sizes.iter().for_each(|size| bytes.extend(size.to_le_bytes()));
            bytes.extend(0_u32.to_le_bytes());
            bytes.extend((offset as u64).to_le_bytes());
            offset += (numbers.len() * 4).next_multiple_of(ALIGNMENT);
        }
        for (_, _, numbers) in &self.tensors {
            bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
            numbers.iter().for_each(|number| bytes.extend(number.to_le_bytes()));
        }
        bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
        fs::write(path, bytes).unwrap();
    }
}

impl Value {
    fn write(&self, bytes: &mut Vec<u8>) {
        let mut list = |kind: u32, count: usize| {
            bytes.extend(9_u32.to_le_bytes());
            bytes.extend(kind.to_le_bytes());
            bytes.extend((count as u64).to_le_bytes());
        };
        match self {
            Value::Texts(texts) => {
                list(8, texts.len());
                texts.iter().for_each(|one| text(bytes, one));
            }
            Value::Numbers(numbers) => {
                list(5, numbers.len());
                numbers.iter().for_each(|number| bytes.extend(number.to_le_bytes()));
            }
            Value::U32(number) => {
                bytes.extend(4_u32.to_le_bytes());
                bytes.extend(number.to_le_bytes());
            }
            Value::F32(number) => {
                bytes.extend(6_u32.to_le_bytes());
                bytes.extend(number.to_le_bytes());
            }
            Value::Flag(flag) => {
                bytes.extend(7_u32.to_le_bytes());
                bytes.push(u8::from(*flag));
            }
            Value::Text(one) => {
                bytes.extend(8_u32.to_le_bytes());
                text(bytes, one);
            }
        }
    }
}

fn text(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend((text.len() as u64).to_le_bytes());
    bytes.extend(text.as_bytes());
}
