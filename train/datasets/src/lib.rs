//! Datasets: converts recorded episodes to training data.
//!
//! A [`Recipe`] selects the episodes that become rows. A [`Build`] reads recorded runs and
//! writes a dataset folder: rows with their origin, files in the formats that trainers
//! read, a leak audit and a card. [`Asking`] requests reasoning for the rows from a
//! teacher. [`Known`] holds the data that only the benchmark has (original methods, the
//! held-out split), and [`Language`] compares source text.
//!
//! This crate does not train: `fixfly-students` and other programs read what it writes. It
//! contains no Python parser, no benchmark and no client of a model's server.
//!
//! ```
//! use fixfly_datasets::{Kind, Recipe};
//! let (recipe, _) = Recipe::open("v5").unwrap();
//! assert_eq!(recipe.teachers[0].take, [Kind::Repaired, Kind::AtOnce]);
//! ```

mod audit;
mod browse;
mod build;
mod card;
mod dataset;
mod error;
mod files;
mod hub;
mod item;
mod known;
mod language;
mod reader;
mod reason;
mod recipe;
mod recorded;
mod retention;
mod row;
mod show;
mod summary;
mod tokens;
mod traces;
mod write;

pub use audit::{Finding, Findings, HeldOut};
pub use browse::RowIndex;
pub use build::{Build, Run, benchmark_of, templates_in, templates_of};
pub use dataset::{Dataset, Difference};
pub use error::DatasetError;
pub use hub::Hub;
pub use item::Answer;
pub use known::{Known, Original};
pub use language::Language;
pub use reader::{Reader, ReaderFacts, Special};
pub use reason::{
    Accept, Answered, Answers, AskEnd, AskWatch, Asking, Compression, ELICITATIONS, Elicitation,
    Failed, Outcome, Prompts, Question, Tally, TaskTests, TeacherAnswer, TraceRequest,
    TraceRequests, compressed, elicited, final_code, same_code, without_leaks,
};
pub use recipe::{
    Duplicates, Failing, Kind, Leaked, Leaks, Limits, Loss, RECIPES, Reasoning, Recipe, Same,
    Scope, Shipped, Student, Teacher, TraceSource, Traced,
};
pub use recorded::RecordedPrompts;
pub use retention::{Retention, retention, retention_of_summary};
pub use row::{Line, Origin, Part, Row, Sequence, Verdict};
pub use show::{row_text, summary_text};
pub use summary::{Lengths, Source, Summary, Tokenised};
pub use tokens::Tokens;
pub use traces::{Trace, TraceOrigin, Traces};
pub use write::Format;
