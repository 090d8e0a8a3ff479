//! The policy `llama` on tiny models with random weights, by the real llama.cpp.

mod adapters;
mod calls;
mod decoding;
mod engine;
mod files;
mod gguf;
mod stage;
mod tiny;
