//! A checksum at the end of a line of JSON: a byte that changed on the disk is found, also
//! where the line is still JSON.
//!
//! The last key of a sealed line is `crc32c`: the CRC-32C of the bytes before that key, in
//! eight hexadecimal digits. Lines of older versions have none. If you edit a
//! line, remove the key: otherwise the line is refused.

use serde::Serialize;

const KEY: &[u8] = b",\"crc32c\":\"";
const DIGITS: usize = 8;
const END: &[u8] = b"\"}";

/// A value as a line of JSON with its checksum.
///
/// # Errors
/// That it has no form in JSON.
pub fn sealed_line(value: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    let mut line = seal(serde_json::to_vec(value)?);
    line.push(b'\n');
    Ok(line)
}

/// Adds its checksum to a JSON object that has keys. Any other text stays as it is.
pub(crate) fn seal(mut json: Vec<u8>) -> Vec<u8> {
    if json.len() > END.len() && json.pop_if(|last| *last == b'}').is_some() {
        let digits = format!("{:0DIGITS$x}", crc32c::crc32c(&json));
        json.extend([KEY, digits.as_bytes(), END].concat());
    }
    json
}

/// Whether a line has a checksum, and it is not that of its bytes. The line may end with a
/// line break.
pub fn is_altered(line: &[u8]) -> bool {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let Some(start) = line.len().checked_sub(KEY.len() + DIGITS + END.len()) else { return false };
    let (json, sum) = line.split_at(start);
    let digits = sum.strip_prefix(KEY).and_then(|sum| sum.strip_suffix(END));
    digits
        .is_some_and(|digits| *digits != *format!("{:0DIGITS$x}", crc32c::crc32c(json)).as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_changed_byte_is_found() {
        let sealed = seal(br#"{"a":[1,2],"b":"text"}"#.to_vec());
        // CRC-32C of `{"a":[1,2],"b":"text"`, by a bitwise implementation of RFC 3720, appendix B.4.
        assert_eq!(sealed, br#"{"a":[1,2],"b":"text","crc32c":"82ecd9eb"}"#);
        assert!(!is_altered(&sealed));
        assert!(!is_altered(&[&sealed[..], b"\n"].concat()));
        let content = sealed.len() - KEY.len() - DIGITS - END.len();
        for at in 0..content {
            for bit in 0..8 {
                let mut altered = sealed.clone();
                altered[at] ^= 1 << bit;
                assert!(is_altered(&altered), "byte {at}, bit {bit}");
            }
        }
        assert!(is_altered(&[&sealed[..content], KEY, b"00000000", END].concat()));
    }

    #[test]
    fn a_line_without_a_checksum_is_not_altered() {
        for line in ["", "{}", "{\"a\":1}", "{\"a\":1}\n", "[1]", "{\"crc32c\":\"00000000\"}"] {
            assert!(!is_altered(line.as_bytes()), "{line}");
        }
        for json in ["{}", "[1]", ""] {
            assert_eq!(seal(json.into()), json.as_bytes());
        }
    }
}
