//! What a GGUF file says about its model: metadata, tensors, tokenizer and chat templates.
//! Only the header is read; weights stay in the file.
//!
//! Format: <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>.

mod cache;
mod error;
mod fingerprint;
mod header;
mod pre;
mod reader;
mod tensor;
mod tokenizer;

pub use cache::KvSizes;
pub use error::GgufError;
pub use header::{GgufHeader, GgufValue};
pub use pre::{PreRule, pre_rules};
pub use tensor::{GgmlType, GgufTensor};
pub use tokenizer::tokenizer_json;
