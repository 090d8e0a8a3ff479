//! The policy `llama` of a fixfly that was built without llama.cpp.

use std::path::Path;

use fixfly_runtime::{Entry, Policy};

use crate::{Lora, Open, Settings};

pub(crate) const ENTRY: Entry<Open> = Entry {
    name: "llama",
    about: "a student: a GGUF file, run by llama.cpp (not in this build)",
    open: Open::Model(|_| Err(WHY.into())),
};

const WHY: &str = "this fixfly was built without llama.cpp: build it with \
                   `cargo build --release --features llama`";

/// Several students that share an engine, in a build that has one.
///
/// # Errors
/// Always: that there is none.
pub fn students_by(
    _: &Path,
    _: &Settings,
    _: &[Vec<Lora>],
) -> Result<Vec<Box<dyn Policy>>, String> {
    Err(WHY.into())
}
