//! A failing test of a work tree as a task: where the fault may be, and a verdict on each fix.
//!
//! The repository is copied, and only the copy runs. [`Search::find`] runs the tests, records
//! which functions they enter, and ranks the places. [`Fix`] is a benchmark with
//! one task for each place. A fix must pass the failing tests, and every other test that
//! passed before must still pass: those of the same files, and those that enter the place.

mod apply;
mod census;
mod items;
mod rank;
mod report;
mod search;

pub use items::Fix;
pub use rank::Suspect;
pub use report::{EpisodePlace, FixReport, Passing};
pub use search::{FixOptions, Search};

/// The benchmark's name in records.
pub const NAME: &str = "fix";
