//! Results of the reference packages, written by `scripts/goldens/metrics.py`.

use std::collections::BTreeMap;

use serde::Deserialize;

#[derive(Deserialize)]
pub(super) struct Goldens {
    pub(super) code: Vec<Code>,
    pub(super) corpus: BTreeMap<String, Scores>,
    pub(super) texts: Vec<Text>,
    pub(super) mcnemar: Vec<(usize, usize, f64)>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Code {
    pub(super) reference: String,
    pub(super) prediction: String,
    pub(super) package: Scores,
    pub(super) codexglue: Scores,
    /// CodeBLEU of the unmodified package, if it does not depend on the hash seed.
    pub(super) stock: Option<f64>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Scores {
    pub(super) codebleu: f64,
    pub(super) ngram: f64,
    pub(super) weighted_ngram: f64,
    pub(super) syntax: f64,
    pub(super) dataflow: f64,
}

#[derive(Debug, Deserialize)]
pub(super) struct Text {
    pub(super) one: String,
    pub(super) other: String,
    pub(super) rouge_l: [f64; 3],
    pub(super) words: f64,
    pub(super) characters: f64,
}

#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
pub(super) fn goldens() -> Goldens {
    serde_json::from_str(include_str!("goldens.json")).unwrap()
}
