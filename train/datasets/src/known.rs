//! Data that only the benchmark has, passed to a build.

use fixfly_runtime::Task;

use crate::audit::HeldOut;
use crate::language::Language;

/// Returns the original method of a task, or the reason why there is none.
pub type Original<'a> = &'a dyn Fn(&Task) -> Result<String, String>;

/// Data that only the benchmark has.
pub struct Known<'a> {
    /// The benchmark's source, for the card: `Django 5.2.19`.
    pub about: String,
    /// Returns the original method of a task.
    pub original: Original<'a>,
    /// Methods that no student may see.
    pub held_out: Vec<HeldOut>,
    /// Compares source text.
    pub language: &'a dyn Language,
}
