//! A model on several devices: each processes a part of a step's micro-batches, and
//! the first one sums their gradients.

use std::panic::resume_unwind;
use std::thread::{self, ScopedJoinHandle};

use candle_core::{Device, Result};

use crate::error::TrainError;
use crate::model::Model;
use crate::ops::Dropout;
use crate::params::Grads;
use crate::pass::Pass;

/// One copy of the model per device.
pub(crate) struct Copies {
    /// The copy that is optimised, checkpointed and validated.
    pub(crate) first: Model,
    others: Vec<Model>,
}

impl Copies {
    /// Loads the model onto each device.
    pub(crate) fn load(
        devices: &[Device],
        load: impl Fn(&Device) -> std::result::Result<Model, TrainError>,
    ) -> std::result::Result<Copies, TrainError> {
        let first = load(devices.first().unwrap_or(&Device::Cpu))?;
        let others = devices.iter().skip(1).map(load).collect::<std::result::Result<_, _>>()?;
        Ok(Copies { first, others })
    }

    pub(crate) fn count(&self) -> usize {
        1 + self.others.len()
    }

    /// The loss Σ −log p over all micro-batches, and the gradients of `weight` times it.
    /// Each micro-batch comes with its dropout.
    pub(crate) fn learn(&self, passes: &[(Pass, Dropout)], weight: f64) -> Result<(f64, Grads)> {
        let shares = shares(passes.iter().map(|(pass, _)| pass.tokens.len()), self.count());
        let learn = |model: &Model, share: &[usize]| -> Result<(f64, Grads)> {
            let (mut loss, mut grads) = (0.0, Grads::new(&model.params));
            for (pass, dropout) in share.iter().map(|at| &passes[*at]) {
                loss += model.learn(pass, weight, dropout, &mut grads)?;
            }
            Ok((loss, grads))
        };
        let learned: Vec<_> = thread::scope(|scope| {
            let theirs: Vec<_> = (self.others.iter().zip(&shares[1..]))
                .map(|(model, share)| scope.spawn(move || learn(model, share)))
                .collect();
            let own = learn(&self.first, &shares[0]);
            let theirs = theirs.into_iter().map(ScopedJoinHandle::join);
            let theirs = theirs.map(|done| done.unwrap_or_else(|panic| resume_unwind(panic)));
            [own].into_iter().chain(theirs).collect()
        });
        let (mut loss, mut grads) = (0.0, Grads::new(&self.first.params));
        for part in learned {
            let (part, theirs) = part?;
            loss += part;
            grads.add_all(&theirs, self.first.device())?;
        }
        Ok((loss, grads))
    }

    /// Copies the parameters of the first model to the others.
    pub(crate) fn follow(&mut self) -> Result<()> {
        for other in &mut self.others {
            for (at, param) in self.first.params.all().iter().enumerate() {
                let value = param.value.to_device(other.device())?;
                other.params.set(at, value)?;
            }
        }
        Ok(())
    }
}

/// Distributes micro-batches of these sizes among `count` devices: the largest first, each
/// to the device with the fewest tokens.
fn shares(sizes: impl Iterator<Item = usize>, count: usize) -> Vec<Vec<usize>> {
    let mut sizes: Vec<_> = sizes.enumerate().collect();
    sizes.sort_by_key(|(_, size)| std::cmp::Reverse(*size));
    let mut shares = vec![(0, Vec::new()); count];
    for (at, size) in sizes {
        let least = shares.iter_mut().min_by_key(|(had, _)| *had);
        if let Some((had, share)) = least {
            *had += size;
            share.push(at);
        }
    }
    // In the order of the micro-batches, whatever their sizes.
    shares.iter_mut().for_each(|(_, share)| share.sort_unstable());
    shares.into_iter().map(|(_, share)| share).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passes_are_dealt_out_by_their_sizes() {
        #[track_caller]
        fn check(sizes: &[usize], count: usize, expected: &[&[usize]]) {
            assert_eq!(shares(sizes.iter().copied(), count), expected);
        }
        check(&[3, 1, 2], 1, &[&[0, 1, 2]]);
        check(&[3, 1, 2, 9], 2, &[&[3], &[0, 1, 2]]);
        check(&[4, 4, 4, 4], 2, &[&[0, 2], &[1, 3]]);
        check(&[5], 2, &[&[0], &[]]);
    }
}
