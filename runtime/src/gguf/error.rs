//! Why a GGUF file, or its tokenizer, cannot be used.

use std::path::PathBuf;

/// One sentence with the file, the fault and, where there is one, the remedy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GgufError {
    /// The file does not exist.
    #[error("{}: there is no such file", .0.display())]
    Missing(PathBuf),
    /// The file cannot be read, or its header is broken.
    #[error("{}: it cannot be read: {}", .0.display(), .1)]
    Unreadable(PathBuf, String),
    /// A folder, or a file of another format.
    #[error("{}: it is not a GGUF file", .0.display())]
    NotGguf(PathBuf),
    /// The file ends before its header does.
    #[error("{}: it ends in its header: was it copied or fetched in part?", .0.display())]
    CutOff(PathBuf),
    /// The file ends before its last tensor does.
    #[error("{}: it is cut off: it has {length} bytes, and the tensor `{tensor}` needs {needed}; copy or fetch it again", .file.display())]
    CutOffTensor {
        /// The file.
        file: PathBuf,
        /// The tensor.
        tensor: String,
        /// Bytes of the file.
        length: u64,
        /// Bytes up to the tensor's end.
        needed: u64,
    },
    /// A tensor whose size or place cannot be right.
    #[error("{}: the tensor `{tensor}` cannot be right: {why}", .file.display())]
    WrongTensor {
        /// The file.
        file: PathBuf,
        /// The tensor.
        tensor: String,
        /// What is wrong.
        why: String,
    },
    /// The header lacks a value.
    #[error("{}: its header has no `{}`", .0.display(), .1)]
    Lacks(PathBuf, String),
    /// The header has no tokenizer.
    #[error("{}: it has no tokenizer (`tokenizer.ggml.tokens`); name the model's tokenizer.json, or its Hugging Face folder as the base", .0.display())]
    NoTokenizer(PathBuf),
    /// The tokenizer is of a kind that fixfly does not apply, or is broken.
    #[error("{}: {}", .file.display(), .why)]
    Tokenizer {
        /// The file.
        file: PathBuf,
        /// What is wrong, and the remedy.
        why: String,
    },
}
