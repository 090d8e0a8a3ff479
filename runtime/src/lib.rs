//! The data types, the traits and the loop of fixfly.
//!
//! A [`Benchmark`] provides [`Task`]s. In [`attempt`], a [`Policy`] acts on a task through
//! [`Tool`]s in a [`Sandbox`], turn by turn: action, observation, feedback. The benchmark
//! judges the patch, and the [`Episode`] is written to a [`RunDirectory`]. Nothing here
//! depends on a model, a container or Django: those are plug-ins, one file each in the
//! crate of their kind. All differences between kinds of task are in [`Statement`], one
//! file per kind; what only the benchmarks of one kind can do is an [`Evaluator`] or a
//! [`WorkTree`].
//!
//! ```
//! use fixfly_runtime::{Observation, Outcome, TaskKind, Templates};
//!
//! let observation = Observation::refused("there is no tool `fly`");
//! assert_eq!(observation.outcome, Outcome::Refused);
//! assert!(Templates::load(TaskKind::Method, None).is_ok());
//! ```

mod admission;
pub mod answer;
mod attempt;
mod benchmark;
mod budget;
mod change;
mod chat;
mod checksum;
mod episode;
mod feedback;
mod files;
mod generation;
mod gguf;
mod hash;
mod home;
mod judge;
mod lock;
mod message;
mod parallel;
mod policy;
mod registry;
mod render;
mod run;
mod run_directory;
mod sandbox;
mod settings;
mod shard;
mod statement;
mod summary;
mod task;
mod templates;
mod test_report;
mod text;
mod tool;
mod turn;
mod unusable;

pub use admission::{Admission, Limiting, Memory, Meter, Permit, Resource, WaitCount, Waiting};
pub use attempt::{Attempt, attempt};
pub use benchmark::{
    Answer, Benchmark, BenchmarkError, Evaluator, Example, GroundTruth, Split, WorkTree,
};
pub use budget::{Budget, Limit};
pub use change::{Change, LeftOut, LeftOutReason};
pub use chat::{CHATS, Chat, ChatTemplates, SystemRole, TokenizerFiles, with_thinking_switch};
pub use checksum::{is_altered, sealed_line};
pub use episode::{Boundary, End, Episode, FailureKind, Provenance, Tally, Verdict};
pub use files::{WholeFile, is_partial, write_whole};
pub use generation::{
    Finish, Generation, NativeCall, Repair, Sampling, Speculation, Thinking, ThinkingMode,
    ThinkingSwitch, Token,
};
pub use gguf::{
    GgmlType, GgufError, GgufHeader, GgufTensor, GgufValue, KvSizes, PreRule, pre_rules,
    tokenizer_json,
};
pub use hash::{file_sha256, hex, input_hash, sha256};
pub use home::home;
pub use judge::{
    Judge, JudgeAnswer, JudgeCounts, JudgeError, JudgeLine, JudgeOptions, JudgeRequest, JudgeTests,
};
pub use lock::{LockError, lock, lock_shared};
pub use message::{Message, Role, code_block};
pub use parallel::{Parallel, Ranges};
pub use policy::{Completion, Policy, PolicyError, Request, View};
pub use registry::{Entry, find};
pub use render::render;
pub use run::{
    Control, ControlResult, ControlSummary, Cost, Estimate, ExecuteError, GradingRules,
    InstanceSpec, Interrupts, IssueSpec, MAX_CONSECUTIVE_FAILURES, Observer, Price, Run,
    RunOutcome, RunSpec, RunTally, SelectError, Selection, Silent, Unfinished, Unusable,
    Verification, Verifier, cpus, episode_line, episode_seed, first, now, require_protections,
    split_supported, unsupported_reasons, wilson,
};
pub use run_directory::{
    JoinedRecording, JoinedRun, Machine, MergeSummary, MergedRun, Packing, Recording, RunDirectory,
    RunError, RunRecord, SCHEMA, TaskCounts, Wording, compress_run, decompress_run, episodes_file,
    join_shards, merge_runs, read_episodes, read_run, set_damaged_aside, without_addresses,
};
pub use sandbox::{
    Command, Host, Impact, Output, Process, Protection, Sandbox, SandboxError, Status,
};
pub use settings::{CallForm, KvType, LocalModel, Lora, RemoteModel, Settings};
pub use shard::{NotAShard, Shard, Shards};
pub use statement::{
    DescribedBy, FaultOptions, FeedbackForm, History, Issue, JointMethods, Method, Statement,
    TaskKind,
};
pub use summary::{EpisodeSummary, ModelTurn, TurnSummary, VerdictSummary};
pub use task::{Lifetime, Limits, Mount, MountMode, SandboxSpec, Task};
pub use templates::{TemplateError, Templates};
pub use test_report::{TestDelta, TestFailure, TestOutcome, TestReport, TestResult};
pub use text::{
    LONE_SURROGATE, NotText, SharedStr, StrPool, decode_utf8, log_event, one_line, parse_bytes,
    parse_json, printable, printable_pieces, printable_styled, read_text, readable,
    replace_lone_surrogates, thousands,
};
pub use tool::{SUBMIT_COMMAND, Tool, ToolContext, ToolError, ToolSpec};
pub use turn::{Action, Call, Feedback, Observation, Outcome, Timings, Turn, Usage};
pub use unusable::UnusableReason;
