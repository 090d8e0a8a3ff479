//! AdamW (Loshchilov and Hutter 2019), as PyTorch computes it.

use candle_core::{Result, Tensor, bail};
use rayon::prelude::*;

use crate::in_place::{PART, is_f32_on_cpu, wide, with_elements};
use crate::params::{Grads, Params};
use crate::settings::Settings;

/// The state of the optimiser.
pub(crate) struct AdamW {
    /// Running means of the gradients.
    pub(crate) means: Vec<Tensor>,
    /// Running means of the squared gradients.
    pub(crate) squares: Vec<Tensor>,
    /// Steps so far.
    pub(crate) steps: usize,
}

/// The factors of a step.
struct Factors {
    scale: f64,
    betas: [f64; 2],
    /// The corrections of the two means.
    biases: [f64; 2],
    epsilon: f64,
    rate: f64,
    /// What weight decay leaves of a value.
    kept: f64,
}

impl AdamW {
    pub(crate) fn new(params: &Params) -> Result<AdamW> {
        let zeros =
            || params.all().iter().map(|param| param.value.zeros_like()).collect::<Result<_>>();
        Ok(AdamW { means: zeros()?, squares: zeros()?, steps: 0 })
    }

    /// Updates the parameters with gradients multiplied by `scale`.
    pub(crate) fn step(
        &mut self,
        params: &mut Params,
        grads: &Grads,
        scale: f64,
        rate: f64,
        settings: &Settings,
    ) -> Result<()> {
        self.steps += 1;
        let (beta1, beta2) = (settings.adam_beta1, settings.adam_beta2);
        let power = i32::try_from(self.steps).unwrap_or(i32::MAX);
        let (bias1, bias2) = (1.0 - beta1.powi(power), 1.0 - beta2.powi(power));
        for at in 0..params.all().len() {
            let Some(grad) = grads.get(at) else { continue };
            let param = &params.all()[at];
            let factors = Factors {
                scale,
                betas: [beta1, beta2],
                biases: [bias1, bias2],
                epsilon: settings.adam_epsilon,
                rate,
                kept: if param.decays { 1.0 - rate * settings.weight_decay } else { 1.0 },
            };
            let all = [&param.value, grad, &self.means[at], &self.squares[at]];
            let [value, mean, square] = match all.into_iter().all(is_f32_on_cpu) {
                true => factors.fused(all)?,
                false => factors.composed(all)?,
            };
            (self.means[at], self.squares[at]) = (mean, square);
            params.set(at, value)?;
        }
        Ok(())
    }
}

impl Factors {
    /// The next value, mean and mean of squares from the last ones and the gradient.
    fn composed(&self, [value, grad, mean, square]: [&Tensor; 4]) -> Result<[Tensor; 3]> {
        let ([beta1, beta2], [bias1, bias2]) = (self.betas, self.biases);
        let grad = (grad * self.scale)?;
        let mean = ((mean * beta1)? + (&grad * (1.0 - beta1))?)?;
        let square = ((square * beta2)? + (grad.sqr()? * (1.0 - beta2))?)?;
        let spread = ((&square / bias2)?.sqrt()? + self.epsilon)?;
        let change = ((&mean / bias1)? / spread)?;
        let value = ((value * self.kept)? - (change * self.rate)?)?;
        Ok([value, mean, square])
    }

    /// The same in one pass, on a CPU.
    fn fused(&self, all: [&Tensor; 4]) -> Result<[Tensor; 3]> {
        let (shape, count) = (all[0].shape(), all[0].elem_count());
        let made = with_elements(all, |all| {
            if all.iter().any(|part| part.len() != count) {
                bail!("a gradient has another size than its parameter");
            }
            let mut made = [(); 3].map(|()| vec![0.0_f32; count]);
            let [values, means, squares] = made.each_mut().map(|all| all.par_chunks_mut(PART));
            values.zip(means).zip(squares).enumerate().for_each(|(at, ((value, mean), square))| {
                let from = at * PART;
                let all = all.map(|part| &part[from..from + value.len()]);
                wide(|| self.part(all, [value, mean, square]));
            });
            Ok(made)
        })?;
        let [value, mean, square] = made.map(|made| Tensor::from_vec(made, shape, all[0].device()));
        Ok([value?, mean?, square?])
    }

    #[inline(always)]
    fn part(&self, [values, grads, means, squares]: [&[f32]; 4], made: [&mut [f32]; 3]) {
        let [beta1, beta2] = self.betas.map(|beta| beta as f32);
        let [rest1, rest2] = self.betas.map(|beta| (1.0 - beta) as f32);
        let [bias1, bias2] = self.biases.map(|bias| (1.0 / bias) as f32);
        let (scale, epsilon) = (self.scale as f32, self.epsilon as f32);
        let (rate, kept) = (self.rate as f32, self.kept as f32);
        let [new_values, new_means, new_squares] = made;
        let before = values.iter().zip(grads).zip(means.iter().zip(squares));
        let after = new_values.iter_mut().zip(new_means).zip(new_squares);
        for (((value, grad), (mean, square)), ((new_value, new_mean), new_square)) in
            before.zip(after)
        {
            let grad = grad * scale;
            *new_mean = mean * beta1 + grad * rest1;
            *new_square = square * beta2 + grad * grad * rest2;
            let spread = (*new_square * bias2).sqrt() + epsilon;
            *new_value = value * kept - *new_mean * bias1 / spread * rate;
        }
    }
}

/// The factor that scales a gradient of this norm to at most `most` (PyTorch's `clip_grad_norm_`).
pub(crate) fn clipped(norm: f64, most: f64) -> f64 {
    (most / (norm + 1e-6)).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::tests::{check_close, random};

    #[test]
    fn one_pass_is_what_several_give() {
        let factors = Factors {
            scale: 0.7,
            betas: [0.9, 0.999],
            biases: [0.19, 0.002],
            epsilon: 1e-8,
            rate: 0.01,
            kept: 0.999,
        };
        for sizes in [[1, 1], [3, 70], [90, 100]] {
            let [value, grad, mean, square] = [1, 2, 3, 4].map(|seed| random(&sizes, seed));
            let square = square.abs().unwrap();
            let all = [&value, &grad, &mean, &square];
            let (fused, composed) = (factors.fused(all).unwrap(), factors.composed(all).unwrap());
            for (one, other) in fused.iter().zip(&composed) {
                assert_eq!(one.dims(), other.dims());
                check_close(one, other, 1e-6);
            }
        }
    }
}
