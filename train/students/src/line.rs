//! What a training writes down as it goes.

use serde::{Deserialize, Serialize};

use crate::checkpoint::EvalResult;

/// A line of `log.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Line {
    /// A step was taken.
    Step(Step),
    /// The validation rows were read.
    Validation {
        /// After this step, counted from 1.
        step: usize,
        /// Epochs that are over.
        epoch: f64,
        /// Mean loss of a learned token.
        loss: f64,
        /// Learned tokens; none where nobody said.
        learned: Option<usize>,
    },
    /// A checkpoint was evaluated on tasks.
    #[serde(rename = "repairs")]
    Eval {
        /// After this step, counted from 1.
        step: usize,
        /// Epochs that are over.
        epoch: f64,
        /// The result.
        #[serde(flatten)]
        result: EvalResult,
    },
}

/// One step of a training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Counted from 1.
    pub step: usize,
    /// Epochs that are over.
    pub epoch: f64,
    /// Mean loss of a learned token, before the step.
    pub loss: f64,
    /// The learning rate.
    pub rate: f64,
    /// Length of the gradient before it is clipped; none where nobody said.
    pub gradient: Option<f64>,
    /// Tokens of its rows.
    pub tokens: usize,
    /// Those of them that are learned; none where nobody said.
    pub learned: Option<usize>,
    /// Seconds it took.
    pub seconds: f64,
}

impl Line {
    /// The step it was written after, counted from 1.
    pub fn step(&self) -> usize {
        match self {
            Line::Step(step) => step.step,
            Line::Validation { step, .. } | Line::Eval { step, .. } => *step,
        }
    }
}
