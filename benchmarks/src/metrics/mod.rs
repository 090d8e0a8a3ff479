//! How good methods and runs are: figures that have a name in the field, each
//! as its reference computes it. `goldens.json` holds what the references say;
//! every figure agrees with them to 1e-9.

pub mod bootstrap;
pub mod codebleu;
pub mod errors;
mod exact_match;
#[cfg(test)]
mod goldens;
mod jaccard;
pub mod length;
mod mcnemar;
mod pass_at;
mod rouge;
mod share;
mod solved;
mod spread;

pub use bootstrap::{Estimate, bootstrap, mean_interval};
pub use codebleu::{CodeBleu, Compared, Variant};
pub use exact_match::Exact;
pub use jaccard::{jaccard_characters, jaccard_words};
pub use length::{Bin, Lengths};
pub use mcnemar::McNemar;
pub use pass_at::pass_at;
pub use rouge::{RougeL, rouge_l};
pub use share::Share;
pub use solved::{SolvedAt, solved};
pub use spread::{Spread, mean, quantile, spread};
