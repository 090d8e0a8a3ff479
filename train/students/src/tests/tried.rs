//! Checkpoints that are tried on tasks.

use std::fs;
use std::sync::atomic::AtomicBool;

use tempfile::TempDir;

use super::{base, dataset, job, rows};
use crate::settings::Method;
use crate::{Checkpoint, Line, Repairs, Watch, checkpoints, choose};

/// Tries checkpoints as if each epoch solved one task less; the try of one fails once.
struct Trying {
    failing: Option<usize>,
    told: Vec<Line>,
}

impl Watch for Trying {
    fn line(&mut self, line: &Line) {
        if matches!(line, Line::Repairs { .. }) {
            self.told.push(line.clone());
        }
    }

    fn repairs(&mut self, checkpoint: &Checkpoint) -> Option<Repairs> {
        let epoch = checkpoint.facts.epoch?;
        (self.failing.take_if(|failing| *failing == epoch).is_none())
            .then_some(Repairs { solved: 5 - epoch, of: 5 })
    }
}

#[test]
fn every_checkpoint_is_tried_once_and_the_one_that_repairs_most_is_chosen() {
    let folder = TempDir::new().unwrap();
    let base = base(folder.path(), "qwen3");
    let rows = dataset(folder.path(), &rows());
    let job = job(folder.path(), &base, &rows, Method::Lora, "tried");
    let train = |failing| {
        let mut trying = Trying { failing, told: Vec::new() };
        let mut trainer = job.clone().ready().unwrap().load().unwrap();
        trainer.run(&AtomicBool::new(false), &mut trying).unwrap();
        trying.told.iter().map(|line| (line.step(), line.clone())).collect::<Vec<_>>()
    };
    let told = train(Some(2));
    let steps: Vec<_> = told.iter().map(|(step, _)| *step).collect();
    assert_eq!(steps, [2, 6, 4], "what was not found out at once is asked again at the end");
    let first = Repairs { solved: 4, of: 5 };
    assert_eq!(told[0].1, Line::Repairs { step: 2, epoch: 1.0, repairs: first });
    let log = fs::read_to_string(job.output.join("log.jsonl")).unwrap();
    assert!(
        log.ends_with("{\"kind\":\"repairs\",\"step\":4,\"epoch\":2.0,\"solved\":3,\"of\":5}\n"),
        "{log}"
    );
    let all = checkpoints(&job.output).unwrap();
    assert_eq!(choose(&all).unwrap().repairs, Some(first));
    assert_eq!(train(None), [], "what is known is not tried again");
}
