//! Issues of real repositories, in the formats of SWE-bench.
//!
//! [`instance`] reads the tables, [`tree`] and [`environment`] make the work tree and
//! the environment, `change` finds what an agent changed in the tree, [`evaluate`] runs
//! a patch, [`log`] and [`grade`] are the official rules, [`events`] reads unittest's
//! own events, and [`verdict`] combines both. [`Grader`] holds everything and grades
//! many patches in parallel; [`HarnessRun`] writes the files of the official harness,
//! and [`gold`] checks instances. [`trajectory`] reads and writes the records of other
//! agents.

mod batch;
pub(crate) mod change;
pub mod environment;
pub mod evaluate;
pub mod events;
pub(crate) mod git;
pub mod gold;
pub mod grade;
mod grader;
mod guard;
mod harness;
pub mod instance;
pub(crate) mod issues;
pub mod log;
pub(crate) mod parquet;
pub mod patch;
pub mod prediction;
pub mod report;
pub mod spec;
pub(crate) mod table;
pub mod trajectory;
pub mod tree;
pub mod verdict;

pub use batch::{Grades, Job};
pub use grader::{Grader, Grading};
pub use harness::HarnessRun;
pub use instance::Instance;
pub use issues::NAME;
pub use prediction::Prediction;
pub use table::{Table, UnreadableRow};
pub use tree::Mirrors;
pub use verdict::Graded;
