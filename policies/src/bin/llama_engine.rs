//! The engine of the policy `llama` as an executable of its own, for tests of
//! the library; `fixfly` is its own engine.

fn main() {
    fixfly_policies::llama_engine(|| Ok(()));
}
