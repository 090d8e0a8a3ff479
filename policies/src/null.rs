//! Answers with a body that raises. A sound benchmark refuses it.

use fixfly_runtime::{Answer, Entry};

use crate::Open;
use crate::oracle::Known;

pub(crate) const ENTRY: Entry<Open> = Entry {
    name: "null",
    about: "a body that raises, or no change; no task may accept it",
    open: Open::Answers(|benchmark| Box::new(Known { benchmark, answer: Answer::Stub })),
};
