//! Computes the loss from the last layer's output. Only tokens with loss are used, in
//! chunks, so that only a few rows of logits exist at a time.

use std::cell::Cell;

use candle_core::{DType, Result, Tensor};
use candle_nn::ops::softmax_last_dim;

use super::{cpu, norm, norm_back};
use crate::in_place::is_f32_on_cpu;
use crate::matrix::Matrix;
use crate::params::Params;

/// The last norm and the output matrix.
pub(crate) struct Head<'a> {
    pub(crate) norm: &'a Tensor,
    pub(crate) output: &'a Matrix,
    pub(crate) params: &'a Params,
    pub(crate) epsilon: f64,
    /// Tokens per chunk.
    pub(crate) chunk: usize,
    /// Whether the norm and the matrix are trained.
    pub(crate) learned: bool,
}

/// The gradients of a head.
pub(crate) struct HeadBack {
    /// Gradient of the last layer's output, for all tokens.
    pub(crate) x: Tensor,
    /// Gradients of the norm and of the matrix, if they are trained.
    pub(crate) learned: Option<(Tensor, Tensor)>,
}

impl Head<'_> {
    /// Σ −log p(next) over `places` of `x`, whose next tokens are `targets`.
    pub(crate) fn loss(&self, x: &Tensor, places: &Tensor, targets: &Tensor) -> Result<f64> {
        let mut total = 0.0;
        self.each(x, places, targets, |_, _, logits, targets| {
            total += cross_entropy(logits, targets, 1.0)?.0;
            Ok(())
        })?;
        Ok(total)
    }

    /// The sum of losses, and the gradients of `weight` times it.
    pub(crate) fn back(
        &self,
        x: &Tensor,
        places: &Tensor,
        targets: &Tensor,
        weight: f64,
    ) -> Result<(f64, HeadBack)> {
        let (mut total, mut dx) = (0.0, x.zeros_like()?);
        let mut learned: Option<(Tensor, Tensor)> = None;
        self.each(x, places, targets, |at, from, logits, targets| {
            let (loss, slopes) = cross_entropy(logits, targets, weight)?;
            total += loss;
            let slopes = slopes.to_dtype(x.dtype())?;
            let (slope, norm_slope) = norm_back(
                from,
                self.norm,
                self.epsilon,
                &self.output.back(self.params, &slopes, None)?,
                self.learned,
            )?;
            dx = dx.index_add(at, &slope, 0)?;
            if let Some(norm_slope) = norm_slope {
                let hidden = norm(from, self.norm, self.epsilon)?;
                let matrix = slopes.t()?.matmul(&hidden)?.to_dtype(DType::F32)?;
                learned = Some(match learned.take() {
                    None => (norm_slope, matrix),
                    Some((n, m)) => ((n + norm_slope)?, (m + matrix)?),
                });
            }
            Ok(())
        })?;
        Ok((total, HeadBack { x: dx, learned }))
    }

    /// Calls `see` for each chunk, with its places, their hidden states, the logits in f32, and
    /// the targets.
    fn each(
        &self,
        x: &Tensor,
        places: &Tensor,
        targets: &Tensor,
        mut see: impl FnMut(&Tensor, &Tensor, Tensor, &Tensor) -> Result<()>,
    ) -> Result<()> {
        let count = places.dim(0)?;
        for at in (0..count).step_by(self.chunk) {
            let size = self.chunk.min(count - at);
            let places = places.narrow(0, at, size)?;
            let targets = targets.narrow(0, at, size)?;
            let from = x.index_select(&places, 0)?;
            let hidden = norm(&from, self.norm, self.epsilon)?;
            let logits = self.output.forward(self.params, &hidden)?.to_dtype(DType::F32)?;
            see(&places, &from, logits, &targets)?;
        }
        Ok(())
    }
}

/// The sum of cross-entropies, and the gradient of `weight` times it. Reuses the memory of
/// the logits.
fn cross_entropy(logits: Tensor, targets: &Tensor, weight: f64) -> Result<(f64, Tensor)> {
    if !is_f32_on_cpu(&logits) {
        return composed(&logits, targets, weight);
    }
    let targets = targets.to_vec1()?;
    let op = cpu::CrossEntropy { targets: &targets, weight: weight as f32, loss: Cell::new(0.0) };
    logits.inplace_op1(&op)?;
    Ok((op.loss.get(), logits))
}

/// The same, composed of operations that every device has.
fn composed(logits: &Tensor, targets: &Tensor, weight: f64) -> Result<(f64, Tensor)> {
    let targets = targets.unsqueeze(1)?;
    let most = logits.max_keepdim(1)?;
    let chosen = (logits.gather(&targets, 1)? - &most)?;
    let shares = softmax_last_dim(logits)?;
    // The probability of the most likely token is 1/Σ e^(z - most).
    let spread = shares.max_keepdim(1)?.log()?.neg()?;
    let loss = (spread - chosen)?.sum_all()?.to_scalar::<f32>()?;
    let ones = targets.ones_like()?.to_dtype(DType::F32)?;
    let slopes = (shares.scatter_add(&targets, &ones.neg()?, 1)? * weight)?;
    Ok((f64::from(loss), slopes))
}

#[cfg(test)]
mod tests {
    use super::super::tests::{check_close, check_slope, random};
    use super::*;
    use crate::params::Weight;

    fn fixed(matrix: &Tensor) -> Matrix {
        Matrix::Plain(Weight::Fixed(matrix.clone()))
    }

    fn column(numbers: &[u32]) -> Tensor {
        Tensor::new(numbers, &candle_core::Device::Cpu).unwrap()
    }

    #[test]
    fn what_other_devices_do_is_what_the_processor_does() {
        for (rows, words) in [(1, 3), (4, 1024), (3, 5000)] {
            let logits = (random(&[rows, words], 1) * 20.0).unwrap();
            let targets: Vec<u32> = (0..rows as u32).map(|row| row * 7 % words as u32).collect();
            let (loss, slopes) = composed(&logits, &column(&targets), 0.25).unwrap();
            let (fast, in_place) = cross_entropy(logits, &column(&targets), 0.25).unwrap();
            assert!((fast - loss).abs() < 1e-5 * loss.max(1.0), "{fast} is not {loss}");
            check_close(&in_place, &slopes, 2e-6);
        }
    }

    #[test]
    fn a_target_outside_the_vocabulary_is_refused() {
        let refused = cross_entropy(random(&[2, 5], 1), &column(&[4, 5]), 1.0).unwrap_err();
        assert!(refused.to_string().contains("logits of 5 words need a target in each row"));
    }

    #[test]
    fn a_head_runs_back_whatever_the_chunk() {
        let (x, weight, output) = (random(&[9, 8], 1), random(&[8], 2), random(&[30, 8], 3));
        let (places, targets) = (column(&[0, 2, 3, 7, 8]), column(&[29, 0, 4, 4, 11]));
        let (matrix, params) = (fixed(&output), Params::new(DType::F32));
        let head = |chunk| Head {
            norm: &weight,
            output: &matrix,
            params: &params,
            epsilon: 1e-6,
            chunk,
            learned: true,
        };
        let (loss, back) = head(100).back(&x, &places, &targets, 0.2).unwrap();
        let (norm_slope, matrix_slope) = back.learned.unwrap();
        for chunk in [1, 2, 5] {
            let (part, parts) = head(chunk).back(&x, &places, &targets, 0.2).unwrap();
            assert!((part / loss - 1.0).abs() < 1e-6);
            check_close(&parts.x, &back.x, 2e-6);
            check_close(&parts.learned.unwrap().1, &matrix_slope, 2e-6);
        }
        let one = Tensor::new(&[1_f32], x.device()).unwrap();
        let value = |x: &Tensor, weight: &Tensor, output: &Tensor| {
            let (output, epsilon) = (&fixed(output), 1e-6);
            let head =
                Head { norm: weight, output, params: &params, epsilon, chunk: 2, learned: false };
            Tensor::new(&[(head.loss(x, &places, &targets).unwrap() * 0.2) as f32], x.device())
                .unwrap()
        };
        check_slope(&x, &one, |x| value(x, &weight, &output), &back.x);
        check_slope(&weight, &one, |weight| value(&x, weight, &output), &norm_slope);
        check_slope(&output, &one, |output| value(&x, &weight, output), &matrix_slope);
    }
}
