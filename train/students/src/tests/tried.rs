//! Checkpoint evaluations.

use std::fs;
use std::sync::atomic::AtomicBool;

use tempfile::TempDir;

use super::{base, dataset, job, rows};
use crate::settings::Method;
use crate::{Checkpoint, EvalResult, Line, Watch, checkpoints, choose};

/// Evaluates checkpoints as if each epoch solved one task less; one evaluation fails once.
struct Evaluating {
    failing: Option<usize>,
    seen: Vec<Line>,
}

impl Watch for Evaluating {
    fn line(&mut self, line: &Line) {
        if matches!(line, Line::Eval { .. }) {
            self.seen.push(line.clone());
        }
    }

    fn evaluate(&mut self, checkpoint: &Checkpoint) -> Option<EvalResult> {
        let epoch = checkpoint.facts.epoch?;
        (self.failing.take_if(|failing| *failing == epoch).is_none())
            .then_some(EvalResult { solved: 5 - epoch, of: 5 })
    }
}

#[test]
fn every_checkpoint_is_evaluated_once_and_the_one_that_solves_most_is_chosen() {
    let folder = TempDir::new().unwrap();
    let base = base(folder.path(), "qwen3");
    let rows = dataset(folder.path(), &rows());
    let job = job(folder.path(), &base, &rows, Method::Lora, "tried");
    let train = |failing| {
        let mut evaluating = Evaluating { failing, seen: Vec::new() };
        let mut trainer = job.clone().ready().unwrap().load().unwrap();
        trainer.run(&AtomicBool::new(false), &mut evaluating).unwrap();
        evaluating.seen.iter().map(|line| (line.step(), line.clone())).collect::<Vec<_>>()
    };
    let seen = train(Some(2));
    let steps: Vec<_> = seen.iter().map(|(step, _)| *step).collect();
    assert_eq!(steps, [2, 6, 4], "a failed evaluation is repeated at the end");
    let first = EvalResult { solved: 4, of: 5 };
    assert_eq!(seen[0].1, Line::Eval { step: 2, epoch: 1.0, result: first });
    let log = fs::read_to_string(job.output.join("log.jsonl")).unwrap();
    assert!(
        log.ends_with("{\"kind\":\"repairs\",\"step\":4,\"epoch\":2.0,\"solved\":3,\"of\":5}\n"),
        "{log}"
    );
    let all = checkpoints(&job.output).unwrap();
    assert_eq!(choose(&all).unwrap().eval, Some(first));
    assert_eq!(train(None), [], "an evaluated checkpoint is not evaluated again");
}
