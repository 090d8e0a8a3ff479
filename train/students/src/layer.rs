//! One decoder layer, forward and backward. Only its input and the output of attention are
//! kept in between; the rest is recomputed (gradient checkpointing).

use candle_core::{Result, Tensor};

use crate::chance::Dropout;
use crate::linear::Linear;
use crate::model_config::ModelConfig;
use crate::ops::{self, Attention, RowSpan};
use crate::params::{Grads, Params, Weight};

/// Weights of a layer, in the order of [`Target::ALL`](crate::settings::Target::ALL).
pub(crate) struct Layer {
    pub(crate) linears: [Linear; 7],
    pub(crate) before_attention: Weight,
    pub(crate) before_gate: Weight,
    /// Qwen3's norms of queries and keys.
    pub(crate) heads: Option<(Weight, Weight)>,
    pub(crate) window: Option<usize>,
}

const Q: usize = 0;
const K: usize = 1;
const V: usize = 2;
const O: usize = 3;
const GATE: usize = 4;
const UP: usize = 5;
const DOWN: usize = 6;

/// Values that all layers of a micro-batch share.
pub(crate) struct ForwardContext<'a> {
    pub(crate) shape: &'a ModelConfig,
    pub(crate) params: &'a Params,
    pub(crate) rows: &'a [RowSpan],
    pub(crate) dropout: &'a Dropout,
    pub(crate) cos: Tensor,
    pub(crate) sin: Tensor,
    /// Queries per chunk.
    pub(crate) chunk: usize,
}

/// Activations that a layer keeps for its backward pass.
pub(crate) struct Kept {
    pub(crate) x: Tensor,
    attended: Tensor,
}

/// Activations that the backward pass of a layer needs.
pub(crate) struct Steps {
    normed: Tensor,
    q_plain: Tensor,
    k_plain: Tensor,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    attended: Tensor,
    middle: Tensor,
    middle_normed: Tensor,
    gate: Tensor,
    up: Tensor,
}

impl Layer {
    /// The output for `x`, the activations to keep, and all activations for an immediate
    /// backward pass.
    pub(crate) fn forward(
        &self,
        scene: &ForwardContext<'_>,
        x: &Tensor,
    ) -> Result<(Tensor, Kept, Steps)> {
        let steps = self.steps(scene, x, None)?;
        let gated = ops::gated(&steps.gate, &steps.up)?;
        let y = (&steps.middle + self.linear(DOWN, scene, &gated)?)?;
        Ok((y, Kept { x: x.clone(), attended: steps.attended.clone() }, steps))
    }

    /// Recomputes all activations.
    pub(crate) fn again(&self, scene: &ForwardContext<'_>, kept: &Kept) -> Result<Steps> {
        self.steps(scene, &kept.x, Some(&kept.attended))
    }

    fn linear(&self, which: usize, scene: &ForwardContext<'_>, x: &Tensor) -> Result<Tensor> {
        self.linears[which].forward(scene.params, x, scene.dropout)
    }

    fn norm(&self, weight: &Weight, scene: &ForwardContext<'_>, x: &Tensor) -> Result<Tensor> {
        ops::norm(x, scene.params.weight(weight), scene.shape.rms_norm_eps)
    }

    fn steps(
        &self,
        scene: &ForwardContext<'_>,
        x: &Tensor,
        attended: Option<&Tensor>,
    ) -> Result<Steps> {
        let shape = scene.shape;
        let normed = self.norm(&self.before_attention, scene, x)?;
        let q_plain = ops::split(&self.linear(Q, scene, &normed)?, shape.num_attention_heads)?;
        let k_plain = ops::split(&self.linear(K, scene, &normed)?, shape.num_key_value_heads)?;
        let v = ops::split(&self.linear(V, scene, &normed)?, shape.num_key_value_heads)?;
        let turned = |plain: &Tensor, weight: Option<&Weight>| match weight {
            Some(weight) => ops::rotate(&self.norm(weight, scene, plain)?, &scene.cos, &scene.sin),
            None => ops::rotate(plain, &scene.cos, &scene.sin),
        };
        let q = turned(&q_plain, self.heads.as_ref().map(|heads| &heads.0))?;
        let k = turned(&k_plain, self.heads.as_ref().map(|heads| &heads.1))?;
        let attended = match attended {
            Some(attended) => attended.clone(),
            None => self.attention(scene).forward(&q, &k, &v)?,
        };
        let middle = (x + self.linear(O, scene, &attended)?)?;
        let middle_normed = self.norm(&self.before_gate, scene, &middle)?;
        let gate = self.linear(GATE, scene, &middle_normed)?;
        let up = self.linear(UP, scene, &middle_normed)?;
        Ok(Steps { normed, q_plain, k_plain, q, k, v, attended, middle, middle_normed, gate, up })
    }

    fn attention<'a>(&self, scene: &ForwardContext<'a>) -> Attention<'a> {
        Attention { rows: scene.rows, window: self.window, chunk: scene.chunk }
    }

    /// Adds the gradients of trained weights; returns the gradient of `x` if `wanted`.
    pub(crate) fn back(
        &self,
        scene: &ForwardContext<'_>,
        x: &Tensor,
        steps: Steps,
        dy: &Tensor,
        grads: &mut Grads,
        wanted: bool,
    ) -> Result<Option<Tensor>> {
        let mut back = Back { layer: self, scene, grads };
        let gated = ops::gated(&steps.gate, &steps.up)?;
        let dgated = back.linear(DOWN, &gated, dy)?;
        drop(gated);
        let (dgate, dup) = ops::gated_back(&steps.gate, &steps.up, &dgated)?;
        drop(dgated);
        let dnormed = (back.linear(GATE, &steps.middle_normed, &dgate)?
            + back.linear(UP, &steps.middle_normed, &dup)?)?;
        drop((dgate, dup));
        let dmiddle = (dy + back.norm(&self.before_gate, &steps.middle, &dnormed)?)?;
        let dattended = back.linear(O, &steps.attended, &dmiddle)?;
        let seen = (&steps.q, &steps.k, &steps.v);
        let (dq, dk, dv) = self.attention(scene).back(seen, &dattended)?;
        let weights = self.heads.as_ref();
        let dq = back.turned(&steps.q_plain, weights.map(|heads| &heads.0), &dq)?;
        let dk = back.turned(&steps.k_plain, weights.map(|heads| &heads.1), &dk)?;
        let dv = ops::join(&dv)?;
        let learned = matches!(self.before_attention, Weight::Learned(_));
        let mut dnormed: Option<Tensor> = None;
        for (which, dy) in [(Q, dq), (K, dk), (V, dv)] {
            let part = self.linears[which].back(
                scene.params,
                &steps.normed,
                &dy,
                scene.dropout,
                back.grads,
                wanted || learned,
            )?;
            dnormed = match (dnormed, part) {
                (Some(sum), Some(part)) => Some((sum + part)?),
                (sum, part) => sum.or(part),
            };
        }
        let Some(dnormed) = dnormed else { return Ok(None) };
        let dx = (dmiddle + back.norm(&self.before_attention, x, &dnormed)?)?;
        Ok(Some(dx))
    }
}

/// The backward pass of a layer.
struct Back<'a, 'b> {
    layer: &'a Layer,
    scene: &'a ForwardContext<'b>,
    grads: &'a mut Grads,
}

impl Back<'_, '_> {
    fn linear(&mut self, which: usize, x: &Tensor, dy: &Tensor) -> Result<Tensor> {
        let ForwardContext { params, dropout, .. } = self.scene;
        let dx = self.layer.linears[which].back(params, x, dy, dropout, self.grads, true)?;
        dx.ok_or_else(|| candle_core::Error::Msg("a requested gradient is missing".into()))
    }

    fn norm(&mut self, weight: &Weight, x: &Tensor, dy: &Tensor) -> Result<Tensor> {
        let ForwardContext { params, shape, .. } = self.scene;
        let learned = matches!(weight, Weight::Learned(_));
        let (dx, dw) = ops::norm_back(x, params.weight(weight), shape.rms_norm_eps, dy, learned)?;
        if let (Weight::Learned(at), Some(dw)) = (weight, dw) {
            self.grads.add(*at, &dw)?;
        }
        Ok(dx)
    }

    /// The backward pass through the rotation and, if present, the norm of a head.
    fn turned(&mut self, plain: &Tensor, weight: Option<&Weight>, dy: &Tensor) -> Result<Tensor> {
        let back = ops::rotate(dy, &self.scene.cos, &self.scene.sin.neg()?)?;
        ops::join(&match weight {
            Some(weight) => self.norm(weight, plain, &back)?,
            None => back,
        })
    }
}
