//! Inputs of a report besides the runs. Other crates provide them; the caller passes them.

use std::sync::Arc;

use fixfly_runtime::{Benchmark, EpisodeSummary, RunRecord};

/// Source text and reference methods, as the benchmarks read them.
pub trait Reference: Sync {
    /// The method with this name in submitted code, dedented; `None` if the code is
    /// not that method.
    fn submitted(&self, code: &str, name: &str) -> Option<String>;

    /// A method without its docstring, comments, blank lines and decorators.
    fn normal_form(&self, method: &str) -> String;

    /// The benchmark of a run.
    ///
    /// # Errors
    /// The reason why it cannot be opened.
    fn benchmark(&self, run: &str, record: &RunRecord) -> Result<Arc<dyn Benchmark>, String>;
}

/// Counts the tokens of a text.
pub type TokenCounter<'a> = dyn Fn(&str) -> usize + Sync + 'a;

/// The part of an episode that a training set would use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retained {
    /// A failing turn and the turn that fixed it.
    Repaired,
    /// A failing turn, for the reference method.
    Unsolved,
    /// A method that passed at the first turn.
    SolvedAtOnce,
    /// Nothing.
    Nothing,
}

/// All inputs.
pub struct Inputs<'a> {
    /// Source text and reference methods.
    pub reference: &'a dyn Reference,
    /// Whether to compare methods with the references.
    pub truth: bool,
    /// Whether to keep methods and reasoning, to compare those of several runs.
    pub texts: bool,
    /// Counts the tokens of reasoning. Without it, the server's counts are used.
    pub tokens: Option<&'a TokenCounter<'a>>,
    /// Returns the part of an episode that a training set would use.
    pub retained: &'a dyn Fn(&EpisodeSummary) -> Retained,
}
