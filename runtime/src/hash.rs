//! SHA-256 in hexadecimal digits.

use sha2::{Digest, Sha256};

/// SHA-256 of `bytes`, in hexadecimal digits.
///
/// ```
/// assert!(fixfly_runtime::sha256(b"").starts_with("e3b0c44298fc1c14"));
/// ```
pub fn sha256(bytes: impl AsRef<[u8]>) -> String {
    hex(Sha256::digest(bytes))
}

/// Bytes as hexadecimal digits.
pub fn hex(bytes: impl IntoIterator<Item = u8>) -> String {
    bytes.into_iter().map(|byte| format!("{byte:02x}")).collect()
}
