//! The policy `llama` of a fixfly that was built without llama.cpp.

use fixfly_runtime::Entry;

use crate::Open;

pub(crate) const ENTRY: Entry<Open> = Entry {
    name: "llama",
    about: "a student: a GGUF file, run by llama.cpp (not in this build)",
    open: Open::Model(|_| {
        Err("this fixfly was built without llama.cpp: build it with \
             `cargo build --release --features llama`"
            .into())
    }),
};
