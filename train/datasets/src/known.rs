//! What only the benchmark has, handed to a build.

use fixfly_runtime::Task;

use crate::audit::HeldOut;
use crate::language::Language;

/// The method a task asks for, as its authors wrote it; else why not.
pub type Original<'a> = &'a dyn Fn(&Task) -> Result<String, String>;

/// What only the benchmark knows.
pub struct Known<'a> {
    /// What its tasks rest on, for the card: `Django 5.2.19`.
    pub about: String,
    /// The method a task asks for, as its authors wrote it.
    pub original: Original<'a>,
    /// The methods that no student may have seen.
    pub held_out: Vec<HeldOut>,
    /// How its source text is compared.
    pub language: &'a dyn Language,
}
