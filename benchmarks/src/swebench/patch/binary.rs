//! Reads git's binary patches as far as it takes to tell text from other data.

use std::io::Read;

use flate2::read::ZlibDecoder;

/// Maximum size of a file that is looked at.
const MOST: u64 = 64 << 20;

/// The digits of git's base85.
const DIGITS: &[u8; 85] =
    b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~";

/// Whether the lines after `GIT binary patch` hold text in another encoding than UTF-8: data
/// without a zero byte, by which git itself tells text from other data.
pub(super) fn is_text(lines: &[u8]) -> bool {
    let mut lines = lines.split(|byte| *byte == b'\n');
    let mut hunks = 0;
    while let Some(line) = lines.next() {
        let is_delta = line.starts_with(b"delta ");
        if !is_delta && !line.starts_with(b"literal ") {
            break;
        }
        let mut packed = Vec::new();
        for line in lines.by_ref().take_while(|line| !line.is_empty()) {
            let Some(bytes) = decoded(line) else { return false };
            packed.extend(bytes);
        }
        let mut data = Vec::new();
        let unpacked = ZlibDecoder::new(&packed[..]).take(MOST).read_to_end(&mut data);
        let data = if is_delta { inserted(&data) } else { Some(data) };
        if unpacked.is_err() || data.is_none_or(|data| data.contains(&0)) {
            return false;
        }
        hunks += 1;
    }
    hunks > 0
}

/// The bytes of a line: its length as a letter, then five digits for four bytes each.
fn decoded(line: &[u8]) -> Option<Vec<u8>> {
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    let (length, digits) = line.split_first()?;
    let length = match length {
        b'A'..=b'Z' => length - b'A' + 1,
        b'a'..=b'z' => length - b'a' + 27,
        _ => return None,
    };
    let mut bytes = Vec::with_capacity(digits.len() / 5 * 4);
    for five in digits.chunks(5).filter(|five| five.len() == 5) {
        let word = five.iter().try_fold(0_u64, |word, digit| {
            let value = DIGITS.iter().position(|other| other == digit)?;
            Some(word * 85 + value as u64)
        })?;
        bytes.extend(u32::try_from(word).ok()?.to_be_bytes());
    }
    bytes.truncate(usize::from(length));
    Some(bytes)
}

/// The bytes that a delta adds to those that it copies.
fn inserted(delta: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = delta.iter().copied();
    for _ in 0..2 {
        while bytes.next()? & 0x80 != 0 {}
    }
    let mut inserted = Vec::new();
    while let Some(code) = bytes.next() {
        match code {
            0 => return None,
            1..=0x7f => inserted.extend(bytes.by_ref().take(usize::from(code))),
            // A copy: each set bit stands for one byte of its place and length.
            _ => {
                for _ in 0..(code & 0x7f).count_ones() {
                    bytes.next()?;
                }
            }
        }
    }
    Some(inserted)
}
