//! Any bytes are read as a patch; no part that is kept names a test.

#![no_main]

use fixfly_benchmarks::swebench::patch::{cleaned, files, is_test_by_custom, split};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|patch: &[u8]| {
    let parts = split(patch, &is_test_by_custom);
    let texts: Vec<&[u8]> = parts.iter().map(|(part, _)| part.text).collect();
    assert_eq!(texts.concat(), patch, "the parts are not the patch");

    let kept: Vec<u8> = parts
        .iter()
        .filter(|(_, why)| why.is_none())
        .flat_map(|(part, _)| part.text.iter().copied())
        .collect();
    // What is kept is read again: parts that are left out must not change what others mean.
    for file in files(&kept) {
        for path in &file.names {
            let path = String::from_utf8_lossy(path);
            assert!(!is_test_by_custom(&path), "kept: {path:?}");
        }
    }
    if let Ok(text) = std::str::from_utf8(patch) {
        let cleaned = cleaned(text, &is_test_by_custom);
        let is_change = parts.iter().any(|(part, why)| why.is_none() && !part.is_prose);
        let expected = if is_change { kept.as_slice() } else { b"" };
        assert_eq!(cleaned.patch.trim_end_matches('\n').as_bytes(), trimmed(expected));
    }
});

fn trimmed(text: &[u8]) -> &[u8] {
    let end = text.iter().rposition(|byte| *byte != b'\n').map_or(0, |at| at + 1);
    &text[..end]
}
