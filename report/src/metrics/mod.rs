//! Metrics of methods and runs. Each has a name in the field and is computed as its
//! reference computes it. `goldens.json` contains the reference results; every metric
//! agrees with them to 1e-9.

mod bootstrap;
mod codebleu;
pub(crate) mod errors;
mod exact_match;
#[cfg(test)]
mod goldens;
mod jaccard;
pub(crate) mod length;
mod mcnemar;
mod pass_at;
mod rouge;
mod share;
mod solved;
mod spread;

pub(crate) use bootstrap::{Estimate, bootstrap, mean_interval};
pub(crate) use codebleu::{Compared, Variant};
pub(crate) use exact_match::same_text;
pub(crate) use jaccard::{jaccard_characters, jaccard_words};
pub(crate) use length::Bin;
pub(crate) use mcnemar::McNemar;
pub(crate) use pass_at::pass_at;
pub(crate) use rouge::rouge_l;
pub(crate) use share::Share;
pub(crate) use solved::{SolvedAt, solved};
pub(crate) use spread::{Spread, mean, quantile, spread};
