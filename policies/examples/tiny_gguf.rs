//! Writes a model of random weights, for trying a student without a download.
//!
//! ```text
//! cargo run -p fixfly-policies --example tiny_gguf -- FOLDER
//! ```
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "it is run by people")]
// Tests use more of these.
#![allow(dead_code)]

#[path = "../tests/llama/gguf.rs"]
mod gguf;
#[path = "../tests/llama/tiny.rs"]
mod tiny;

use std::path::PathBuf;

use tiny::{Kind, ModelConfig, TINY, shaped};

fn main() {
    let folder = std::env::args().nth(1).map(PathBuf::from);
    let folder = folder.expect("a folder to write to: tiny_gguf FOLDER");
    std::fs::create_dir_all(&folder).unwrap();
    // Prompts of a benchmark are long, and its vocabulary is small.
    let shape = ModelConfig { max_position_embeddings: 65_536, ..TINY };
    let template = fixfly_runtime::CHATS[0].open;
    println!("{}", shaped(&folder, Kind::Qwen3, shape, Some(template)).display());
}
