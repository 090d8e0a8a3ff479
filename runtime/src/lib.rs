//! The vocabulary of fixfly and its one loop.
//!
//! A [`Benchmark`] gives [`Task`]s; [`attempt`] lets a [`Policy`] act on one
//! through [`Tool`]s in a [`Sandbox`], turn by turn: action, observation,
//! feedback; the benchmark judges the patch, and the [`Episode`] goes into a
//! [`RunDirectory`]. Nothing here knows a model, a container or Django: those
//! are plug-ins, each a file in the crate that bears their kind's name.
//!
//! ```
//! use fixfly_runtime::{Observation, Outcome, feedback, Budget};
//!
//! let observation = Observation::refused("there is no tool `fly`");
//! assert_eq!(observation.outcome, Outcome::Refused);
//! let left = Budget { turns: 4, tokens: None, seconds: None, usd: None };
//! assert!(feedback(&[], &observation, left).message.is_empty());
//! ```

mod attempt;
mod benchmark;
mod chat;
mod episode;
mod feedback;
mod files;
mod generation;
mod hash;
mod history;
mod home;
mod parallel;
mod policy;
mod registry;
mod render;
mod run_directory;
mod sandbox;
mod task;
mod tool;

pub use attempt::{Attempt, attempt};
pub use benchmark::{Answer, Benchmark, BenchmarkError, Example, GroundTruth, Split};
pub use chat::{CHATS, Chat, told};
pub use episode::{
    Action, Boundary, Call, End, Episode, FailureKind, Feedback, ISSUE_SCHEMA, Limit, Observation,
    Outcome, Provenance, SCHEMA, Tally, TestDelta, TestFailure, TestOutcome, TestReport,
    TestResult, Timings, Turn, Usage, Verdict,
};
pub use feedback::feedback;
pub use files::{WholeFile, is_partial, write_whole};
pub use generation::{Finish, Generation, Sampling, Thinking, ThinkingMode, ThinkingSwitch, Token};
pub use hash::{hex, sha256};
pub use history::{History, shown};
pub use home::home;
pub use parallel::Parallel;
pub use policy::{Completion, Policy, PolicyError, Request, View};
pub use registry::{Entry, find};
pub use render::{Message, Role, TemplateError, Templates, code_block, render};
pub use run_directory::{
    Machine, Recording, RunDirectory, RunError, RunRecord, Wording, read_episodes, read_run,
};
pub use sandbox::{Command, Host, Output, Process, Protection, Sandbox, SandboxError, Status};
pub use task::{
    Budget, DescribedBy, Issue, Lifetime, Limits, Method, Mount, MountMode, SandboxSpec, Statement,
    Task,
};
pub use tool::{Tool, ToolContext, ToolError, ToolSpec};
