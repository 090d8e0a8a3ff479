//! What only the ground truth gives: the answer that fixes a fault.

use fixfly_runtime::{Answer, BenchmarkError, Example, GroundTruth, Task};

use super::{Faults, of};

impl GroundTruth for Faults {
    fn examples(&self) -> Result<Vec<Example>, BenchmarkError> {
        self.methods.examples()
    }

    fn answer(&self, task: &Task, answer: Answer) -> Result<String, BenchmarkError> {
        match answer {
            Answer::Truth => {
                let pair = self.pair(self.fault(task)?)?;
                Ok(pair.change().unwrap_or(pair.truth))
            }
            Answer::Stub => self.methods.answer(&of(task), answer),
        }
    }

    fn wrong_answers(&self, task: &Task) -> Result<Vec<String>, BenchmarkError> {
        self.wrong(task)
    }

    fn reference(&self, task: &Task) -> Result<String, BenchmarkError> {
        Ok(self.pair(self.fault(task)?)?.truth)
    }
}
