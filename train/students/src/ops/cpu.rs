//! The operations that take longest on a CPU, each in one pass and in place. They must
//! equal the composed versions beside their callers.

use std::cell::Cell;

use candle_core::{CpuStorage, InplaceOp1, InplaceOp2, Layout, Result, Tensor, bail};
use rayon::prelude::*;

use crate::in_place::{PART, WORTH_SHARING, elements, elements_mut, wide, with_elements};

/// e^x to 2 ulp (Cephes' polynomial), written so that compilers vectorise it.
#[inline(always)]
fn exp(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0;
    let x = x.clamp(-87.3, 88.3);
    let n = x * std::f32::consts::LOG2_E + ROUND - ROUND;
    let r = x - n * 0.693_359_4 + n * 2.121_944_4e-4;
    let p = 1.987_569_1e-4_f32;
    let p = p * r + 1.398_2e-3;
    let p = p * r + 8.333_452e-3;
    let p = p * r + 4.166_579_6e-2;
    let p = p * r + 1.666_666_5e-1;
    let p = p * r + 0.5;
    let y = p * r * r + r + 1.0;
    // `n` is an integer within ±127.
    y * f32::from_bits(((n as i32 + 127) as u32) << 23)
}

fn width(layout: &Layout) -> usize {
    layout.dims().last().copied().unwrap_or(1).max(1)
}

/// Softmax over the keys that each query attends to, and zero for the others. Scores are …
/// × queries × keys.
pub(super) struct MaskedSoftmax {
    pub(super) scale: f32,
    /// Number of queries.
    pub(super) count: usize,
    /// Index of the key of the first query's own token.
    pub(super) first: usize,
    /// Number of keys that a query attends to, its own included.
    pub(super) window: usize,
}

impl InplaceOp1 for MaskedSoftmax {
    fn name(&self) -> &'static str {
        "masked-softmax"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> Result<()> {
        let keys = width(layout);
        let scores = elements_mut(storage, layout)?;
        let row = |(at, scores): (usize, &mut [f32])| {
            masked_softmax(scores, self.first + at % self.count, self.window, self.scale);
        };
        match scores.len() < WORTH_SHARING {
            true => scores.chunks_mut(keys).enumerate().for_each(row),
            false => scores.par_chunks_mut(keys).with_min_len(8).enumerate().for_each(row),
        }
        Ok(())
    }
}

/// The softmax over the `window` scores up to `last`; zero for the others.
pub(super) fn masked_softmax(scores: &mut [f32], last: usize, window: usize, scale: f32) {
    let seen = (last + 1).saturating_sub(window)..last + 1;
    scores[..seen.start].fill(0.0);
    scores[seen.end..].fill(0.0);
    wide(|| softmax(&mut scores[seen], scale));
}

/// The largest of the scores.
#[inline(always)]
fn most(scores: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; 8];
    let (eights, rest) = scores.as_chunks::<8>();
    for eight in eights {
        for (lane, score) in lanes.iter_mut().zip(eight) {
            *lane = if *score > *lane { *score } else { *lane };
        }
    }
    lanes.iter().chain(rest).fold(f32::NEG_INFINITY, |most, one| most.max(*one))
}

/// Replaces scores by e^((score - most) · scale), and returns their sum.
#[inline(always)]
fn raise(scores: &mut [f32], most: f32, scale: f32) -> f32 {
    let mut sums = [0.0_f32; 8];
    let (eights, rest) = scores.as_chunks_mut::<8>();
    for eight in eights {
        for (sum, score) in sums.iter_mut().zip(eight) {
            *score = exp((*score - most) * scale);
            *sum += *score;
        }
    }
    let mut total: f32 = sums.iter().sum();
    for score in rest {
        *score = exp((*score - most) * scale);
        total += *score;
    }
    total
}

#[inline(always)]
fn softmax(scores: &mut [f32], scale: f32) {
    let most = most(scores);
    let share = 1.0 / raise(scores, most, scale);
    scores.iter_mut().for_each(|score| *score *= share);
}

/// Replaces logits, … × words, by the gradient of `weight` times the sum of cross-entropies.
pub(super) struct CrossEntropy<'a> {
    /// A word for each row of logits.
    pub(super) targets: &'a [u32],
    pub(super) weight: f32,
    /// The sum of cross-entropies, without the weight.
    pub(super) loss: Cell<f64>,
}

impl InplaceOp1 for CrossEntropy<'_> {
    fn name(&self) -> &'static str {
        "cross-entropy"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> Result<()> {
        let (words, targets, weight) = (width(layout), self.targets, self.weight);
        let logits = elements_mut(storage, layout)?;
        let is_word = |target: &u32| (*target as usize) < words;
        if logits.len() != words * targets.len() || !targets.iter().all(is_word) {
            bail!("logits of {words} words need a target in each row");
        }
        let rows = logits.par_chunks_mut(words).zip(targets);
        let losses: Vec<f64> = rows
            .map(|(logits, target)| wide(|| cross_entropy(logits, *target as usize, weight)))
            .collect();
        self.loss.set(losses.iter().sum());
        Ok(())
    }
}

#[inline(always)]
fn cross_entropy(logits: &mut [f32], target: usize, weight: f32) -> f64 {
    let most = most(logits);
    let chosen = f64::from(logits[target]) - f64::from(most);
    // Sums of f32 are short, because vocabularies are large.
    let total: f64 = logits.chunks_mut(1024).map(|part| f64::from(raise(part, most, 1.0))).sum();
    let share = (f64::from(weight) / total) as f32;
    logits.iter_mut().for_each(|logit| *logit *= share);
    logits[target] -= weight;
    total.ln() - chosen
}

/// Replaces the gradient of a softmax by the gradient of its scores before scaling.
pub(super) struct SoftmaxBack {
    pub(super) scale: f32,
}

impl InplaceOp2 for SoftmaxBack {
    fn name(&self) -> &'static str {
        "softmax-back"
    }

    fn cpu_fwd(
        &self,
        storage: &mut CpuStorage,
        layout: &Layout,
        shares: &CpuStorage,
        shares_layout: &Layout,
    ) -> Result<()> {
        let keys = width(layout);
        let slopes = elements_mut(storage, layout)?;
        let shares = elements(shares, shares_layout)?;
        let row = |(slopes, shares): (&mut [f32], &[f32])| {
            softmax_back(slopes, shares, self.scale);
        };
        match slopes.len() < WORTH_SHARING {
            true => slopes.chunks_mut(keys).zip(shares.chunks(keys)).for_each(row),
            false => slopes
                .par_chunks_mut(keys)
                .zip(shares.par_chunks(keys))
                .with_min_len(8)
                .for_each(row),
        }
        Ok(())
    }
}

pub(super) fn softmax_back(slopes: &mut [f32], shares: &[f32], scale: f32) {
    wide(|| {
        let mean = dot(slopes, shares);
        for (slope, share) in slopes.iter_mut().zip(shares) {
            *slope = (*slope - mean) * *share * scale;
        }
    });
}

/// Σ a·b in eight lanes, so that it can be vectorised and is the same on every CPU.
#[inline(always)]
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0_f32; 8];
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    for (a, b) in a.iter().zip(b) {
        for ((lane, a), b) in lanes.iter_mut().zip(a).zip(b) {
            *lane += a * b;
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum();
    lanes.iter().sum::<f32>() + rest
}

/// Applies a function to parts of `part` elements of tensors of the same shape. Returns a
/// tensor of that shape.
fn mapped<const N: usize>(
    inputs: [&Tensor; N],
    run: impl Fn([&[f32]; N], &mut [f32]) + Sync,
    part: usize,
) -> Result<Tensor> {
    let made = with_elements(inputs, |slices| {
        let mut made = vec![0.0_f32; inputs[0].elem_count()];
        if slices.iter().any(|slice| slice.len() != made.len()) {
            bail!("the CPU kernel needs tensors of one size");
        }
        let each = |(at, made): (usize, &mut [f32])| {
            let from = at * part;
            run(slices.map(|slice| &slice[from..from + made.len()]), made);
        };
        match made.len() < WORTH_SHARING {
            true => made.chunks_mut(part).enumerate().for_each(each),
            false => made.par_chunks_mut(part).enumerate().for_each(each),
        }
        Ok(made)
    })?;
    Tensor::from_vec(made, inputs[0].shape(), inputs[0].device())
}

pub(super) fn gated(gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    let run = |[gate, up]: [&[f32]; 2], made: &mut [f32]| {
        wide(|| {
            for ((made, gate), up) in made.iter_mut().zip(gate).zip(up) {
                *made = gate / (1.0 + exp(-gate)) * up;
            }
        });
    };
    mapped([gate, up], run, PART)
}

pub(super) fn gated_back(gate: &Tensor, up: &Tensor, dy: &Tensor) -> Result<(Tensor, Tensor)> {
    let (shape, count) = (gate.shape(), gate.elem_count());
    let (dgate, dup) = with_elements([gate, up, dy], |[gate, up, dy]| {
        if up.len() != count || dy.len() != count {
            bail!("the CPU kernel needs tensors of one size");
        }
        let (mut dgate, mut dup) = (vec![0.0_f32; count], vec![0.0_f32; count]);
        let made = dgate.par_chunks_mut(PART).zip(dup.par_chunks_mut(PART));
        let inputs = gate.par_chunks(PART).zip(up.par_chunks(PART)).zip(dy.par_chunks(PART));
        made.zip(inputs).for_each(|((dgate, dup), ((gate, up), dy))| {
            wide(|| {
                let made = dgate.iter_mut().zip(dup);
                for (((dgate, dup), gate), (up, dy)) in made.zip(gate).zip(up.iter().zip(dy)) {
                    let e = exp(-gate);
                    let share = 1.0 / (1.0 + e);
                    *dgate = dy * up * share * (1.0 + gate * (1.0 - share));
                    *dup = gate / (1.0 + e) * dy;
                }
            });
        });
        Ok((dgate, dup))
    })?;
    let tensor = |made| Tensor::from_vec(made, shape, gate.device());
    Ok((tensor(dgate)?, tensor(dup)?))
}

pub(super) fn norm(x: &Tensor, weight: &Tensor, epsilon: f64) -> Result<Tensor> {
    let weight: Vec<f32> = weight.to_vec1()?;
    let width = weight.len();
    let run = |[x]: [&[f32]; 1], made: &mut [f32]| {
        for (x, made) in x.chunks(width).zip(made.chunks_mut(width)) {
            wide(|| {
                let r = 1.0 / (dot(x, x) / width as f32 + epsilon as f32).sqrt();
                for ((made, x), weight) in made.iter_mut().zip(x).zip(&weight) {
                    *made = x * r * weight;
                }
            });
        }
    };
    mapped([x], run, width * (PART / width).max(1))
}

pub(super) fn norm_back(x: &Tensor, weight: &Tensor, epsilon: f64, dy: &Tensor) -> Result<Tensor> {
    let weight: Vec<f32> = weight.to_vec1()?;
    let width = weight.len();
    let run = |[x, dy]: [&[f32]; 2], made: &mut [f32]| {
        for ((x, dy), made) in x.chunks(width).zip(dy.chunks(width)).zip(made.chunks_mut(width)) {
            wide(|| {
                for ((made, dy), weight) in made.iter_mut().zip(dy).zip(&weight) {
                    *made = dy * weight;
                }
                let r = 1.0 / (dot(x, x) / width as f32 + epsilon as f32).sqrt();
                let mean = dot(made, x) * r * r / width as f32;
                for (made, x) in made.iter_mut().zip(x) {
                    *made = (*made - x * mean) * r;
                }
            });
        }
    };
    mapped([x, dy], run, width * (PART / width).max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_exp() {
        for at in -8700..8800 {
            let x = at as f32 / 100.0;
            let (made, right) = (f64::from(exp(x)), f64::from(x).exp());
            assert!((made / right - 1.0).abs() < 3e-7, "e^{x} is {right}, not {made}");
        }
        assert!(exp(-1e9) < 1e-37);
    }
}
