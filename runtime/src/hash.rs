//! Hashes as text.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use sha2::{Digest, Sha256};

/// Files that identify the content of a folder.
const TELLING: [&str; 4] = ["config.json", "tokenizer.json", "run.json", "episodes.jsonl"];

/// Bytes of a file of weights that are hashed: its metadata and first tensors.
const BEGINNING: u64 = 4 << 20;

/// Bytes in lower-case hexadecimal digits.
pub fn hex(bytes: impl AsRef<[u8]>) -> String {
    hex::encode(bytes)
}

/// SHA-256 of bytes, hexadecimal.
pub fn sha256(bytes: impl AsRef<[u8]>) -> String {
    hex(Sha256::digest(bytes))
}

/// A hash of what identifies an input: a file's content; of a GGUF file its beginning and
/// its size; of a folder the identifying files and the sizes of its weights. Missing files
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
    } else if path.is_file() {
        hash.update(Sha256::digest(fs::read(path)?));
    }
    for file in TELLING.map(|name| path.join(name)).iter().filter(|file| file.is_file()) {
        hash.update(Sha256::digest(fs::read(file)?));
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

    #[test]
    fn hashes_are_hexadecimal() {
        assert_eq!(hex([0, 10, 255]), "000aff");
        // The example of FIPS 180-2, appendix B.
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256("abc"), expected);
    }
}
