//! A matrix of a layer, with its adapter.

use candle_core::{DType, Result, Tensor};

use crate::chance::Dropout;
use crate::matrix::Matrix;
use crate::params::{Grads, Params, Weight};

/// `y = x Wᵀ + bias + scale · drop(x) Aᵀ Bᵀ`.
pub(crate) struct Linear {
    pub(crate) weight: Matrix,
    pub(crate) bias: Option<Weight>,
    pub(crate) lora: Option<Lora>,
}

/// The two low-rank matrices (Hu et al. 2021).
pub(crate) struct Lora {
    /// rank × in.
    pub(crate) a: usize,
    /// out × rank.
    pub(crate) b: usize,
    pub(crate) scale: f64,
    /// Separates its dropout from that of other adapters.
    pub(crate) site: u64,
}

impl Linear {
    pub(crate) fn forward(&self, params: &Params, x: &Tensor, out: &Dropout) -> Result<Tensor> {
        let mut y = self.weight.forward(params, x)?;
        if let Some(bias) = &self.bias {
            y = y.broadcast_add(params.weight(bias))?;
        }
        let Some(lora) = &self.lora else { return Ok(y) };
        let thin = out.apply(x, lora.site)?.matmul(&params.used(lora.a).t()?)?;
        y + (thin * lora.scale)?.matmul(&params.used(lora.b).t()?)?
    }

    /// Adds the gradients of trained weights; returns the gradient of `x` if `wanted`.
    pub(crate) fn back(
        &self,
        params: &Params,
        x: &Tensor,
        dy: &Tensor,
        out: &Dropout,
        grads: &mut Grads,
        wanted: bool,
    ) -> Result<Option<Tensor>> {
        if let Some(at) = self.weight.learned() {
            grads.add(at, &dy.t()?.matmul(x)?)?;
        }
        if let Some(Weight::Learned(at)) = self.bias {
            grads.add(at, &dy.to_dtype(DType::F32)?.sum(0)?)?;
        }
        let dx = match wanted {
            true => Some(self.weight.back(params, dy)?),
            false => None,
        };
        let Some(lora) = &self.lora else { return Ok(dx) };
        let dropped = out.apply(x, lora.site)?;
        let thin = (dropped.matmul(&params.used(lora.a).t()?)? * lora.scale)?;
        let dthin = (dy.matmul(params.used(lora.b))? * lora.scale)?;
        grads.add(lora.b, &dy.t()?.matmul(&thin)?)?;
        grads.add(lora.a, &dthin.t()?.matmul(&dropped)?)?;
        match dx {
            None => Ok(None),
            Some(dx) => {
                let beside = out.apply(&dthin.matmul(params.used(lora.a))?, lora.site)?;
                Ok(Some((dx + beside)?))
            }
        }
    }
}
