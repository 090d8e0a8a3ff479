//! From episodes to what a model learns from.
//!
//! For now one question: which part of an episode is worth learning from.
//! Datasets and adapters grow from its answer.
//!
//! ```
//! use fixfly_train::Retention;
//! let kept = Retention::Repaired { failing: 1, fixed: 2 };
//! assert_ne!(kept, Retention::Nothing);
//! ```

mod retention;

pub use retention::{Retention, retention};
