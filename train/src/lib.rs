//! From episodes to what a model learns from.
//!
//! A [`Recipe`] selects the episodes that become rows; a [`Build`] reads recorded
//! runs and writes a dataset folder: rows with their origin, files in the forms
//! that trainers read, a leak audit and a card. What only the benchmark knows
//! (original methods, the held-out split) is handed in as [`Known`]; how source
//! text is compared, as a [`Language`].
//!
//! ```
//! use fixfly_train::{Kind, Recipe, Retention};
//! let kept = Retention::Repaired { failing: 1, fixed: 2 };
//! assert_ne!(kept, Retention::Nothing);
//! let (recipe, _) = Recipe::open("v5").unwrap();
//! assert_eq!(recipe.teachers[0].take, [Kind::Repaired, Kind::AtOnce]);
//! ```

mod audit;
mod build;
mod card;
mod dataset;
mod error;
mod item;
mod reader;
mod reason;
mod recipe;
mod retention;
mod row;
mod settings;
pub mod student;
mod summary;
mod tokens;
mod traces;
mod write;

use fixfly_runtime::{Task, sha256};

pub use audit::{Finding, Findings, HeldOut};
pub use build::{Build, Run};
pub use dataset::{Dataset, Difference};
pub use error::DatasetError;
pub use item::Answer;
pub use reader::{Reader, ReaderFacts, Sequence, Special};
pub use reason::{
    Answered, Answers, ELICITATIONS, Failed, Outcome, Prompts, Question, Said, Tally, compressed,
    elicited, final_code, same_code, without_leaks,
};
pub use recipe::{
    Duplicates, Failing, Kind, Leaked, Leaks, Limits, Loss, RECIPES, Reasoning, Recipe, Same,
    Scope, Shipped, Student, Teacher, TraceSource, Traced,
};
pub use retention::{Retention, retention};
pub use row::{Line, Origin, Part, Row, Verdict};
pub use settings::{Method, Precision, Schedule, Settings, Target};
pub use summary::{Lengths, Source, Summary, Tokenised};
pub use tokens::Tokens;
pub use traces::{Trace, TraceOrigin, Traces};
pub use write::Format;

/// How source text is compared and cut.
pub trait Language {
    /// A hash that layout and comments do not change; `None` where the text is
    /// not one function.
    fn tree_hash(&self, source: &str) -> Option<String>;

    /// Hashed runs of tokens, sorted, each once.
    fn shingles(&self, source: &str) -> Vec<u64>;

    /// The methods of a file: qualified name and dedented source.
    fn methods(&self, text: &str) -> Vec<(String, String)>;

    /// The file without the methods of these qualified names.
    fn without(&self, text: &str, names: &[String]) -> String;
}

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
