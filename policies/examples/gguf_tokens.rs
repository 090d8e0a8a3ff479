//! Compares the tokens of texts in llama.cpp with those of the tokenizer that fixfly reads
//! from the same GGUF file. Exits with 1 if any differ.
//!
//! ```text
//! cargo run -p fixfly-policies --features llama --example gguf_tokens -- MODEL.gguf TEXT_FILE...
//! ```
//!
//! Each file is one text, and so is each of its lines.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "it is run by people")]

#[path = "../tests/llama/peer.rs"]
mod peer;

use std::path::PathBuf;
use std::process::ExitCode;

use llama_cpp_2::llama_backend::LlamaBackend;
use peer::Both;

fn main() -> ExitCode {
    let mut files = std::env::args_os().skip(1).map(PathBuf::from);
    let model = files.next().expect("gguf_tokens MODEL.gguf TEXT_FILE...");
    let mut backend = LlamaBackend::init().unwrap();
    backend.void_logs();
    let both = Both::open(&backend, &model);
    let (mut texts, mut tokens, mut wrong) = (0, 0, 0);
    for file in files {
        let whole = std::fs::read_to_string(&file).unwrap();
        for text in whole.split_inclusive('\n').chain([whole.as_str()]) {
            for around in [false, true] {
                let [theirs, ours] = both.tokens(text, around);
                texts += 1;
                tokens += theirs.len();
                if theirs != ours {
                    wrong += 1;
                    let at = theirs.iter().zip(&ours).take_while(|(one, other)| one == other);
                    let at = at.count();
                    let start: String = text.chars().take(60).collect();
                    println!(
                        "{}: {start:?}: from token {at} on {:?} in llama.cpp, {:?} here",
                        file.display(),
                        theirs.iter().skip(at).take(8).collect::<Vec<_>>(),
                        ours.iter().skip(at).take(8).collect::<Vec<_>>()
                    );
                }
            }
        }
    }
    println!("{}: {wrong} of {texts} texts differ ({tokens} tokens)", model.display());
    ExitCode::from(u8::from(wrong > 0))
}
