//! Issues of real repositories, in the formats of SWE-bench.
//!
//! [`instance`] reads the tables, [`tree`] and [`environment`] make the world,
//! [`evaluate`] runs a patch in it, [`log`] and [`grade`] are the official
//! rules, [`events`] what unittest tells beside the log, and [`verdict`] puts
//! the two together. [`Grader`] holds them. [`trajectory`] reads and writes what
//! other agents record.

pub mod environment;
pub mod evaluate;
pub mod events;
pub mod grade;
mod grader;
pub mod instance;
pub(crate) mod issues;
pub mod log;
mod parquet;
pub mod patch;
pub mod prediction;
pub mod report;
pub mod spec;
pub mod trajectory;
pub mod tree;
pub mod verdict;

pub use grade::Rules;
pub use grader::{Grader, Grading};
pub use instance::Instance;
pub use issues::NAME;
pub use prediction::Prediction;
pub use tree::Mirrors;
pub use verdict::Graded;
