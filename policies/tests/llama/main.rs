//! The policy `llama` on tiny models with random weights, by the real llama.cpp.

#![allow(clippy::unwrap_used, reason = "what goes wrong in a test fails it")]

mod adapters;
mod answers;
mod calls;
mod decoding;
mod engine;
mod files;
mod gguf;
mod golden;
mod peer;
mod speculation;
mod stage;
mod tiny;
mod tokens;
