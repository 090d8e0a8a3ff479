//! A matrix of a layer, with its adapter.

use candle_core::{DType, Result, Tensor};

use crate::in_place::{add_product, add_to_rows};
use crate::matrix::Matrix;
use crate::ops::Dropout;
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

/// What happens to the gradient of the input.
pub(crate) enum InputGradient {
    Unwanted,
    /// It becomes a tensor.
    Wanted,
    /// It is added to this tensor, in its memory.
    Added(Tensor),
}

impl Linear {
    /// The output, and `drop(x) Aᵀ` for the backward pass: tokens × rank, if there is an
    /// adapter.
    pub(crate) fn forward(
        &self,
        params: &Params,
        x: &Tensor,
        dropout: &Dropout,
    ) -> Result<(Tensor, Option<Tensor>)> {
        let mut y = self.weight.forward(params, x)?;
        if let Some(bias) = &self.bias {
            y = add_to_rows(y, params.weight(bias))?;
        }
        let Some(lora) = &self.lora else { return Ok((y, None)) };
        let thin = dropout.product(x, params.used(lora.a), lora.site)?;
        let y = add_product(y, lora.scale, &thin, &params.used(lora.b).t()?)?;
        Ok((y, Some(thin)))
    }

    /// Adds the gradients of trained weights; returns the gradient of `x` if it is wanted.
    /// `thin` comes from the forward pass.
    pub(crate) fn back(
        &self,
        params: &Params,
        (x, thin): (&Tensor, Option<&Tensor>),
        dy: &Tensor,
        dropout: &Dropout,
        grads: &mut Grads,
        gradient: InputGradient,
    ) -> Result<Option<Tensor>> {
        if let Some(at) = self.weight.learned() {
            grads.add_product(at, 1.0, &dy.t()?, x)?;
        }
        if let Some(Weight::Learned(at)) = self.bias {
            grads.add(at, &dy.to_dtype(DType::F32)?.sum(0)?)?;
        }
        let dx = match gradient {
            InputGradient::Unwanted => None,
            InputGradient::Wanted => Some(self.weight.back(params, dy, None)?),
            InputGradient::Added(sum) => Some(self.weight.back(params, dy, Some(sum))?),
        };
        let (Some(lora), Some(thin)) = (&self.lora, thin) else { return Ok(dx) };
        let (a, b) = (params.used(lora.a), params.used(lora.b));
        let dthin = (dy.matmul(b)? * lora.scale)?;
        grads.add_product(lora.b, lora.scale, &dy.t()?, thin)?;
        grads.add(lora.a, &dropout.gradient(&dthin, x, lora.site)?)?;
        match dx {
            None => Ok(None),
            Some(dx) => dropout.add_back(dx, &dthin, a, lora.site).map(Some),
        }
    }
}
