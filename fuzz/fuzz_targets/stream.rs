//! The reader of servers' answers (`fixfly_policies::AnswerReader`): it never panics, and
//! gives the same result however the bytes are cut.
//!
//! The first byte chooses the label, the second how the rest is cut.

#![no_main]

use fixfly_policies::{AnswerError, AnswerReader, Reply};
use libfuzzer_sys::fuzz_target;

const LABELS: [&str; 5] = [
    "text/event-stream",
    "application/json",
    "",
    "text/plain; charset=iso-8859-1",
    "application/json; charset=utf-16le",
];

fn read<'a>(
    label: &str,
    parts: impl Iterator<Item = &'a [u8]>,
) -> Result<Reply, AnswerError> {
    let mut reader = AnswerReader::new(label);
    for part in parts {
        reader.push(part)?;
        let _ = reader.is_whole();
    }
    reader.end()
}

fuzz_target!(|bytes: &[u8]| {
    let [label, size, bytes @ ..] = bytes else { return };
    let label = LABELS[usize::from(*label) % LABELS.len()];
    let whole = read(label, std::iter::once(bytes));
    let parts = read(label, bytes.chunks(usize::from(*size % 32) + 1));
    assert_eq!(whole, parts);
    let cut = usize::from(*size).min(bytes.len());
    let halves = [&bytes[..cut], &bytes[cut..]];
    assert_eq!(whole, read(label, halves.into_iter()));
});
