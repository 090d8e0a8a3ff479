//! Errors of the user's files and settings, each in one sentence.

use std::path::PathBuf;

use fixfly_runtime::GgufError;

/// Why a student cannot be opened.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error("the policy `llama` needs --model FILE.gguf")]
    NoModel,
    #[error(transparent)]
    Gguf(#[from] GgufError),
    #[error("{}: it is an adapter: give it by --lora, and its model by --model", .0.display())]
    NotAModel(PathBuf),
    #[error("{}: it is not a LoRA adapter", .0.display())]
    NotAnAdapter(PathBuf),
    #[error("{}: it is an activated LoRA, which changes the model only after certain tokens: train an ordinary one", .0.display())]
    Activated(PathBuf),
    #[error("{}: it is an adapter for `{adapter}`, but the model is a `{model}`", .file.display())]
    OtherArchitecture { file: PathBuf, adapter: String, model: String },
    #[error("{}: it changes `{tensor}`, which the model does not have", .file.display())]
    NoSuchTensor { file: PathBuf, tensor: String },
    #[error("{}: its change of `{tensor}` has another shape than the model's", .file.display())]
    OtherShape { file: PathBuf, tensor: String },
    #[error("{}: the two halves of its change of `{tensor}` differ in rank", .file.display())]
    OtherRank { file: PathBuf, tensor: String },
    #[error("{}: it has half a change of `{tensor}`", .file.display())]
    Half { file: PathBuf, tensor: String },
    #[error("--ctx-size {asked} is more than the {window} tokens of {}", .file.display())]
    Context { file: PathBuf, asked: u32, window: u64 },
    #[error("--kv-cache-dtype keeps numbers by 32, but heads of {} have {size}: give f16", .file.display())]
    Blocks { file: PathBuf, size: u64 },
    #[error("{}: it has no chat template: give one by --chat-template", .0.display())]
    NoTemplate(PathBuf),
    #[error("{0}")]
    NoChat(String),
    #[error("the chat template of {}: {}", .0.display(), .1)]
    Template(PathBuf, String),
    #[error(
        "the chat template of {} does not know `enable_thinking`: give --thinking-switch prompt",
        .0.display()
    )]
    NoSwitch(PathBuf),
    #[error("{0}")]
    Engine(String),
}
