//! AdamW (Loshchilov and Hutter 2019), as PyTorch computes it.

use candle_core::{Result, Tensor};

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
            let grad = (grad * scale)?;
            self.means[at] = ((&self.means[at] * beta1)? + (&grad * (1.0 - beta1))?)?;
            self.squares[at] = ((&self.squares[at] * beta2)? + (grad.sqr()? * (1.0 - beta2))?)?;
            let spread = ((&self.squares[at] / bias2)?.sqrt()? + settings.adam_epsilon)?;
            let change = ((&self.means[at] / bias1)? / spread)?;
            let param = &params.all()[at];
            let kept = match param.decays {
                true => (&param.value * (1.0 - rate * settings.weight_decay))?,
                false => param.value.clone(),
            };
            params.set(at, (kept - (change * rate)?)?)?;
        }
        Ok(())
    }
}

/// The factor that scales a gradient of this norm to at most `most` (PyTorch's `clip_grad_norm_`).
pub(crate) fn clipped(norm: f64, most: f64) -> f64 {
    (most / (norm + 1e-6)).min(1.0)
}
