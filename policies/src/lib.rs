//! The policies of fixfly: they decide what to do next.
//!
//! A policy reads a view of an attempt and returns the next action. Some need no
//! model: `oracle` and `null` check a benchmark, `replay` repeats a recorded run, `mutants`
//! gives wrong answers for training data, and `retrieval` is the baseline that every
//! student must beat. Others use one: `openai`
//! calls a server, `llama` runs a GGUF file; each has a feature of that name. Nothing
//! here runs code or judges it. [`models`] fetches GGUF files by name.
//!
//! ```
//! use fixfly_policies::{ALL, Open};
//!
//! let retrieval = fixfly_runtime::find("policy", ALL, "retrieval").unwrap();
//! let Open::Examples(open) = retrieval.open else { panic!("it learns from examples") };
//! let policy = open(Vec::new());
//! # let _ = policy;
//! ```

mod answer;
mod calls;
#[cfg(feature = "llama")]
mod llama;
#[cfg(not(feature = "llama"))]
#[path = "llama/absent.rs"]
mod llama;
pub mod models;
mod mutants;
mod null;
mod once;
// Compiled in tests, so that what other builds contain is tested, too.
#[cfg(all(test, feature = "llama"))]
#[path = "llama/absent.rs"]
#[allow(unreachable_pub, reason = "public where it is the policy")]
mod absent;
#[cfg(feature = "openai")]
mod openai;
mod oracle;
mod patching;
mod replay;
mod retrieval;

use std::sync::Arc;

pub use llama::students_by;
#[cfg(feature = "llama")]
pub use llama::{llama_by, llama_engine};
pub use once::Once;
#[cfg(feature = "openai")]
pub use openai::{AnswerError, AnswerReader, Rates, Reply, ServerError, join_journals, rates};

use fixfly_runtime::{
    Benchmark, BenchmarkError, Entry, Episode, Example, Lora, Policy, RunSpec, Settings, Split,
    find,
};
#[cfg(feature = "llama")]
use fixfly_runtime::{CallForm, KvType};

/// Opens a policy that uses a model. An error states in one sentence what is wrong
/// with the settings.
pub type OpenModel = fn(&Settings) -> Result<Box<dyn Policy>, String>;

/// How to open a policy. The variant is also everything that the policy may know
/// beyond its view: one that learns from examples cannot reach an answer.
#[derive(Clone, Copy)]
pub enum Open {
    /// With the methods of the training split.
    Examples(fn(Vec<Example>) -> Box<dyn Policy>),
    /// With the benchmark, including its answers: only to check the harness.
    Answers(fn(Arc<dyn Benchmark>) -> Box<dyn Policy>),
    /// With the benchmark, for wrong answers: only for training data, so only on the
    /// training split.
    WrongAnswers(fn(Arc<dyn Benchmark>) -> Box<dyn Policy>),
    /// With recorded episodes.
    Episodes(fn(Vec<Episode>) -> Box<dyn Policy>),
    /// With the settings of a model, behind a server or in a file.
    Model(OpenModel),
}

/// Why a policy cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// There is none of that name, or it needs something that was not given.
    #[error("{0}")]
    Usage(String),
    /// The benchmark has no methods for it to learn from.
    #[error("the benchmark has no methods to learn from: choose another policy")]
    NoExamples,
    /// The benchmark cannot be read.
    #[error(transparent)]
    Benchmark(#[from] BenchmarkError),
}

/// What a policy may be opened with, whatever kind it is.
#[derive(Clone, Copy, Default)]
pub struct Sources<'a> {
    /// Recorded episodes, for a policy that replays them.
    pub episodes: &'a [Episode],
    /// The model, for a policy that asks one.
    pub model: Option<&'a Settings>,
    /// The split of the tasks, for a policy that may see one only.
    pub split: Option<Split>,
}

impl<'a> Sources<'a> {
    /// The model and the split of a run; no recorded episodes.
    pub fn of(spec: &'a RunSpec) -> Sources<'a> {
        Sources { episodes: &[], model: spec.model.as_ref(), split: Some(spec.split) }
    }
}

/// Opens the policy of that name for a benchmark.
///
/// # Errors
/// [`OpenError`].
pub fn open(
    name: &str,
    benchmark: &Arc<dyn Benchmark>,
    sources: Sources<'_>,
) -> Result<Box<dyn Policy>, OpenError> {
    let entry = find("policy", ALL, name).map_err(OpenError::Usage)?;
    Ok(match entry.open {
        Open::Examples(open) => {
            let examples = benchmark.ground_truth().examples()?;
            // A project of which all methods are held out has none either, but can be run.
            if examples.is_empty() && benchmark.evaluator().is_none() {
                return Err(OpenError::NoExamples);
            }
            open(examples)
        }
        Open::Answers(open) => open(benchmark.clone()),
        Open::WrongAnswers(open) if sources.split == Some(Split::Train) => open(benchmark.clone()),
        Open::WrongAnswers(_) => {
            return Err(OpenError::Usage(format!(
                "the policy `{name}` makes training data from ground truth: run it with --split train"
            )));
        }
        Open::Episodes(open) => open(sources.episodes.to_vec()),
        Open::Model(open) => {
            open(sources.model.unwrap_or(&Settings::default())).map_err(OpenError::Usage)?
        }
    })
}

/// All policies; the first is the default.
pub const ALL: &[Entry<Open>] = &[
    retrieval::ENTRY,
    #[cfg(feature = "openai")]
    openai::ENTRY,
    llama::ENTRY,
    oracle::ENTRY,
    null::ENTRY,
    mutants::ENTRY,
    replay::ENTRY,
];
