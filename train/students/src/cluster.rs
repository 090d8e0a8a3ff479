//! Runs, sweeps and trainings as jobs of Slurm.
//!
//! A file ([`ClusterFile`]) names stages; each is a command of fixfly. A [`Plan`] has one job
//! for each stage, or an array of shards and a job that merges them. [`Cluster`] is the folder
//! of a plan: it submits what is not queued, running or done, and finds the state of each
//! part from Slurm and from the files that the jobs write.

mod error;
mod file;
mod files;
mod folder;
mod job;
mod line;
mod options;
mod plan;
mod rows;
mod script;
mod slurm;
mod state;
mod steps;
mod words;

pub use error::ClusterError;
pub use file::{ClusterFile, StageTable};
pub use folder::Cluster;
pub use job::end_job;
pub(crate) use options::Header;
pub use options::Options;
pub use plan::{Kind, Plan, PlannedJob};
pub use rows::{plan_table, state_table};
pub(crate) use script::setup;
pub use state::{Loss, Part, PartState, Survey};
pub use steps::Retry;
pub(crate) use words::quoted;

#[cfg(test)]
mod tests;
