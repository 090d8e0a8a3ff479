//! The policy `llama` in a build without llama.cpp.

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

/// Opens several students that share an engine, in a build with llama.cpp.
///
/// # Errors
/// Always, in this build.
pub fn students_by(
    _: &Path,
    _: &Settings,
    _: &[Vec<Lora>],
) -> Result<Vec<Box<dyn Policy>>, String> {
    Err(WHY.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_how_to_get_it() {
        let Open::Model(open) = ENTRY.open else { panic!("it asks a model") };
        let why = open(&Settings::default()).err().unwrap();
        assert_eq!(why, WHY);
        assert_eq!(students_by(Path::new(""), &Settings::default(), &[]).err().unwrap(), WHY);
    }
}
