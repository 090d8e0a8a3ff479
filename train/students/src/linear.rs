//! A matrix of a layer, with its adapter.

use candle_core::{Result, Tensor};

use crate::chance::Dropout;
use crate::params::{Grads, Params, Weight};

/// `y = x Wᵀ + scale · drop(x) Aᵀ Bᵀ`.
pub(crate) struct Linear {
    pub(crate) weight: Weight,
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
        let y = x.matmul(&params.weight(&self.weight).t()?)?;
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
        if let Weight::Learned(at) = self.weight {
            grads.add(at, &dy.t()?.matmul(x)?)?;
        }
        let dx = match wanted {
            true => Some(dy.matmul(params.weight(&self.weight))?),
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
