//! Lines of a training's log.

use serde::{Deserialize, Serialize};

use crate::checkpoint::EvalResult;

/// A line of `log.jsonl`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Line {
    /// A step was taken.
    Step(Step),
    /// The validation loss was computed.
    Validation {
        /// The step before it, counted from 1.
        step: usize,
        /// Epochs so far.
        epoch: f64,
        /// Mean loss per token with loss.
        loss: f64,
        /// Tokens with loss; `None` if unknown.
        learned: Option<usize>,
    },
    /// A checkpoint was evaluated on tasks.
    #[serde(rename = "repairs")]
    Eval {
        /// The step before it, counted from 1.
        step: usize,
        /// Epochs so far.
        epoch: f64,
        /// The result.
        #[serde(flatten)]
        result: EvalResult,
    },
}

/// One step of a training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// The number of the step, from 1.
    pub step: usize,
    /// Epochs so far.
    pub epoch: f64,
    /// Mean loss per token with loss, before the step.
    pub loss: f64,
    /// The learning rate.
    pub rate: f64,
    /// Gradient norm before clipping; `None` if unknown.
    pub gradient: Option<f64>,
    /// Tokens of the step's rows.
    pub tokens: usize,
    /// Tokens with loss; `None` if unknown.
    pub learned: Option<usize>,
    /// Duration in seconds.
    pub seconds: f64,
}

impl Line {
    /// The step after which the line was written, counted from 1.
    pub fn step(&self) -> usize {
        match self {
            Line::Step(step) => step.step,
            Line::Validation { step, .. } | Line::Eval { step, .. } => *step,
        }
    }
}
