//! Text files as people have them: with a byte-order mark, or in another encoding.

use std::io::{self, ErrorKind};
use std::path::Path;

/// Why bytes are not the text that fixfly reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotText {
    /// Another Unicode encoding.
    #[error("it is {0} text; convert it to UTF-8, for example with `iconv -f {0} -t UTF-8`")]
    Unicode(&'static str),
    /// Bytes that are in no Unicode encoding.
    #[error(
        "byte {byte} of line {line} is not UTF-8; convert the file to UTF-8, for example with \
         `iconv -f WINDOWS-1252 -t UTF-8` if that is its encoding"
    )]
    Bytes {
        /// The line, counted from 1.
        line: usize,
        /// The byte in that line, counted from 1.
        byte: usize,
    },
}

/// Decodes UTF-8. A byte-order mark is skipped.
///
/// # Errors
/// [`NotText`] for any other encoding.
pub fn decode_utf8(mut bytes: Vec<u8>) -> Result<String, NotText> {
    if let Some(encoding) = other_unicode(&bytes) {
        return Err(NotText::Unicode(encoding));
    }
    if bytes.starts_with(b"\xef\xbb\xbf") {
        bytes.drain(..3);
    }
    String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        let byte = before.iter().rev().take_while(|byte| **byte != b'\n').count() + 1;
        NotText::Bytes { line, byte }
    })
}

/// Reads a text file. A byte-order mark is skipped.
///
/// # Errors
/// The system's error, or [`NotText`] as invalid data.
pub fn read_text(file: &Path) -> io::Result<String> {
    decode_utf8(std::fs::read(file)?).map_err(|why| io::Error::new(ErrorKind::InvalidData, why))
}

/// UTF-16 and UTF-32, with a byte-order mark, or without one if the text starts with two
/// characters of ASCII.
fn other_unicode(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0xff, 0xfe, 0, 0, ..] => Some("UTF-32LE"),
        [0, 0, 0xfe, 0xff, ..] => Some("UTF-32BE"),
        [0xff, 0xfe, ..] => Some("UTF-16LE"),
        [0xfe, 0xff, ..] => Some("UTF-16BE"),
        [1..=0x7f, 0, 1..=0x7f, 0, ..] => Some("UTF-16LE"),
        [0, 1..=0x7f, 0, 1..=0x7f, ..] => Some("UTF-16BE"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodings_are_read_or_named() {
        let check = |bytes: &[u8], expected: Result<&str, NotText>| {
            let decoded = decode_utf8(bytes.to_vec());
            assert_eq!(decoded.as_deref().map_err(|why| *why), expected, "{bytes:?}");
        };
        check(b"", Ok(""));
        check("{ä\n".as_bytes(), Ok("{ä\n"));
        check(b"\xef\xbb\xbf{}", Ok("{}"));
        check(b"\xef\xbb\xbf\xef\xbb\xbf", Ok("\u{feff}"));
        check(b"\xff\xfe{\0}\0", Err(NotText::Unicode("UTF-16LE")));
        check(b"\xfe\xff\0{", Err(NotText::Unicode("UTF-16BE")));
        check(b"\xff\xfe\0\0{\0\0\0", Err(NotText::Unicode("UTF-32LE")));
        check(b"{\0\"\0", Err(NotText::Unicode("UTF-16LE")));
        check(b"\0{\0\"", Err(NotText::Unicode("UTF-16BE")));
        check(b"a\nb\xe9", Err(NotText::Bytes { line: 2, byte: 2 }));
    }

    #[test]
    fn a_files_encoding_is_part_of_its_error() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a");
        std::fs::write(&file, b"\xff\xfe{\0").unwrap();
        let why = read_text(&file).unwrap_err().to_string();
        assert!(why.contains("UTF-16LE") && why.contains("iconv -f UTF-16LE"), "{why}");
        std::fs::write(&file, b"\xef\xbb\xbfx = 1").unwrap();
        assert_eq!(read_text(&file).unwrap(), "x = 1");
    }
}
