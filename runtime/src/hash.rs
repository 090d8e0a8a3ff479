//! Hashes as text.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::gguf::GgufHeader;
use crate::home::home;

/// Files that identify the content of a folder.
const TELLING: [&str; 5] =
    ["config.json", "tokenizer.json", "run.json", "episodes.jsonl", "episodes.jsonl.zst"];

/// Bytes of a GGUF file that are hashed together.
const BEGINNING: u64 = 4 << 20;

/// Bytes in lower-case hexadecimal digits.
pub fn hex(bytes: impl AsRef<[u8]>) -> String {
    hex::encode(bytes)
}

/// SHA-256 of bytes, hexadecimal.
pub fn sha256(bytes: impl AsRef<[u8]>) -> String {
    hex(Sha256::digest(bytes))
}

/// A hash of what identifies an input: a file's content; of a GGUF file its size, its beginning
/// and the beginning of each tensor; of a folder the identifying files and the sizes of its weights. Missing files
/// are skipped: the command that needs them reports them.
///
/// # Errors
/// If a file cannot be read.
pub fn input_hash(path: &Path) -> io::Result<String> {
    let mut hash = Sha256::new();
    if path.extension().is_some_and(|end| end == "gguf") && path.is_file() {
        let file = File::open(path)?;
        hash.update(format!("{}\0", file.metadata()?.len()));
        let mut beginning = Vec::new();
        file.take(BEGINNING).read_to_end(&mut beginning)?;
        hash.update(beginning);
        // Files of `fixfly model fetch` never change, and other files may be written again.
        if let Ok(header) = GgufHeader::open(path)
            && !path.starts_with(home().join("models"))
        {
            hash.update(header.fingerprint()?);
        }
    } else if path.is_file() {
        hash.update(digest_of(path)?);
    }
    for file in TELLING.map(|name| path.join(name)).iter().filter(|file| file.is_file()) {
        hash.update(digest_of(file)?);
    }
    let mut weights: Vec<(String, u64)> = Vec::new();
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.ends_with(".safetensors") {
            weights.push((name, entry.metadata()?.len()));
        }
    }
    weights.sort();
    hash.update(format!("{weights:?}"));
    Ok(hex(hash.finalize()))
}

/// SHA-256 of a file, which may be larger than memory; hexadecimal.
///
/// # Errors
/// That it cannot be read.
pub fn file_sha256(file: &Path) -> io::Result<String> {
    digest_of(file).map(hex)
}

fn digest_of(file: &Path) -> io::Result<impl AsRef<[u8]> + use<>> {
    let (mut file, mut hash, mut block) = (File::open(file)?, Sha256::new(), vec![0; 1 << 16]);
    loop {
        match file.read(&mut block)? {
            0 => return Ok(hash.finalize()),
            length => hash.update(&block[..length]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_input_is_identified_by_its_content_and_not_by_its_place() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let hash = |name: &str, text: &str| {
            fs::write(at(name), text).unwrap();
            input_hash(&at(name)).unwrap()
        };
        for end in ["toml", "gguf"] {
            let named = |name: &str| format!("{name}.{end}");
            assert_eq!(hash(&named("a"), "one"), hash(&named("b"), "one"));
            assert_ne!(hash(&named("a"), "one"), hash(&named("a"), "two"));
        }
        fs::create_dir(at("model")).unwrap();
        let empty = input_hash(&at("model")).unwrap();
        fs::write(at("model/config.json"), "{}").unwrap();
        assert_ne!(input_hash(&at("model")).unwrap(), empty);
        assert_eq!(input_hash(&at("missing")).unwrap(), empty);
    }

    /// A file that was trained again has the same size, metadata and first tensors.
    #[test]
    fn every_tensor_of_a_gguf_file_counts() {
        let tensor = |name: &str, values: u64, offset: u64| {
            let name = [&(name.len() as u64).to_le_bytes()[..], name.as_bytes()].concat();
            let sizes = [&1_u32.to_le_bytes()[..], &values.to_le_bytes()].concat();
            [name, sizes, 0_u32.to_le_bytes().to_vec(), offset.to_le_bytes().to_vec()].concat()
        };
        let (first, last) = (BEGINNING, 32);
        let start = [&b"GGUF"[..], &3_u32.to_le_bytes(), &2_u64.to_le_bytes(), &[0; 8]].concat();
        let header = [start, tensor("a", first / 4, 0), tensor("b", last / 4, first)].concat();
        let folder = tempfile::tempdir().unwrap();
        let hash = |value: u8| {
            let mut bytes = header.clone();
            bytes.resize(header.len().next_multiple_of(32) + first as usize, 0);
            bytes.resize(bytes.len() + last as usize, value);
            let file = folder.path().join("model.gguf");
            fs::write(&file, &bytes).unwrap();
            input_hash(&file).unwrap()
        };
        assert_eq!(hash(1), hash(1));
        assert_ne!(hash(1), hash(2));
    }

    #[test]
    fn hashes_are_hexadecimal() {
        assert_eq!(hex([0, 10, 255]), "000aff");
        // The example of FIPS 180-2, appendix B.
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256("abc"), expected);
    }
}
