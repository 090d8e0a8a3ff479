//! The reader of GGUF files (`fixfly_runtime::GgufHeader`): it never panics, and what it
//! returns can be asked for tensors, tokenizer and chat templates.
//!
//! The bytes follow the first eight of a file of version 3.

#![no_main]

use std::path::Path;

use fixfly_runtime::{ChatTemplates, GgufHeader, tokenizer_json};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let bytes = [b"GGUF\x03\0\0\0", bytes].concat();
    let Ok(header) = GgufHeader::read(Path::new("m.gguf"), &*bytes) else { return };
    let _ = header.check_tensors(bytes.len() as u64);
    let _ = (header.context_length(), header.named_tokens());
    let _ = ChatTemplates::of_gguf(&header);
    let _ = tokenizer_json(&header);
});
