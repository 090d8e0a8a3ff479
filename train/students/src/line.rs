//! Lines of a training's log.

use std::time::Duration;

use fixfly_runtime::readable;
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

impl Step {
    /// `120/6630  epoch 0.18  loss 0.4312  lr 9.9e-5  grad norm 0.81  812 tokens/s  ETA 2h 2m`
    /// of a training with `steps` steps, whose speed is that of the `last` ones.
    pub fn text(&self, steps: usize, last: &[Step]) -> String {
        let seconds: f64 = last.iter().map(|step| step.seconds).sum();
        let tokens: usize = last.iter().map(|step| step.tokens).sum();
        let left = (steps - self.step) as f64 * seconds / last.len().max(1) as f64;
        let speed = tokens as f64 / seconds.max(1e-9);
        let mut text = format!(
            "{}/{steps}  epoch {:.2}  loss {:.4}  lr {:.1e}",
            self.step, self.epoch, self.loss, self.rate,
        );
        if let Some(gradient) = self.gradient {
            text += &format!("  grad norm {gradient:.2}");
        }
        text += &format!("  {speed:.0} tokens/s");
        if self.step < steps {
            let left = Duration::from_secs_f64(left.clamp(0.0, 1e12));
            text += &format!("  ETA {}", readable(left));
        }
        text
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_in_words_has_the_loss_and_the_time_left() {
        let step = |step| Step {
            step,
            epoch: 0.18,
            loss: 0.43121,
            rate: 9.9e-5,
            gradient: Some(0.812),
            tokens: 1624,
            learned: Some(300),
            seconds: 2.0,
        };
        let expected = "120/6630  epoch 0.18  loss 0.4312  lr 9.9e-5  grad norm 0.81  812 tokens/s";
        let text = step(120).text(6630, &[step(119), step(120)]);
        assert_eq!(text, format!("{expected}  ETA 3h 37m"));
        assert!(step(6630).text(6630, &[step(6630)]).ends_with("812 tokens/s"));
    }
}
