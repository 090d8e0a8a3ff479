//! One decoder layer, forward and backward. In between, it keeps all activations, or only its
//! input and the output of attention; the rest is then recomputed (gradient checkpointing).

use candle_core::{Result, Tensor};

use crate::in_place::add;
use crate::linear::{InputGradient, Linear};
use crate::model_config::ModelConfig;
use crate::ops::{self, Attention, Dropout, RowSpan};
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
    /// −sin, which rotates back.
    pub(crate) back_sin: Tensor,
    /// Queries per chunk.
    pub(crate) chunk: usize,
}

/// Activations that a layer keeps for its backward pass, recomputed or not.
pub(crate) struct Kept {
    pub(crate) x: Tensor,
    attended: Tensor,
    /// Of the adapter of the last matrix, whose output is not recomputed.
    thin: Option<Tensor>,
}

/// Queries and keys.
type Pair = (Tensor, Tensor);

/// Activations that the backward pass of a layer needs.
pub(crate) struct Steps {
    normed: Tensor,
    /// Queries and keys before the norms of heads.
    plain: Option<Pair>,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    attended: Tensor,
    middle: Tensor,
    middle_normed: Tensor,
    gate: Tensor,
    up: Tensor,
    /// What adapters make of their inputs: tokens × rank each.
    thin: [Option<Tensor>; 7],
}

impl Layer {
    /// The output for `x`, the activations to keep, and all activations for an immediate
    /// backward pass.
    pub(crate) fn forward(
        &self,
        scene: &ForwardContext<'_>,
        x: &Tensor,
    ) -> Result<(Tensor, Kept, Steps)> {
        let mut steps = self.steps(scene, x, None)?;
        let gated = ops::gated(&steps.gate, &steps.up)?;
        let (down, thin) = self.linear(DOWN, scene, &gated)?;
        let y = add(down, &steps.middle)?;
        steps.thin[DOWN] = thin.clone();
        Ok((y, Kept { x: x.clone(), attended: steps.attended.clone(), thin }, steps))
    }

    /// Recomputes all activations.
    pub(crate) fn again(&self, scene: &ForwardContext<'_>, kept: &Kept) -> Result<Steps> {
        let mut steps = self.steps(scene, &kept.x, Some(&kept.attended))?;
        steps.thin[DOWN] = kept.thin.clone();
        Ok(steps)
    }

    fn linear(
        &self,
        which: usize,
        scene: &ForwardContext<'_>,
        x: &Tensor,
    ) -> Result<(Tensor, Option<Tensor>)> {
        self.linears[which].forward(scene.params, x, scene.dropout)
    }

    fn norm(&self, weight: &Weight, scene: &ForwardContext<'_>, x: &Tensor) -> Result<Tensor> {
        ops::norm(x, scene.params.weight(weight), scene.shape.rms_norm_eps)
    }

    /// Queries and keys, rotated, and as they were before the norms of heads.
    fn turned(
        &self,
        scene: &ForwardContext<'_>,
        q: &Tensor,
        k: &Tensor,
    ) -> Result<(Pair, Option<Pair>)> {
        let ForwardContext { shape, cos, sin, .. } = scene;
        let (heads, kept) = (shape.num_attention_heads, shape.num_key_value_heads);
        let Some((q_weight, k_weight)) = &self.heads else {
            let turned = |x: &Tensor, heads| ops::split_rotated(x, heads, cos, sin);
            return Ok(((turned(q, heads)?, turned(k, kept)?), None));
        };
        let plain = (ops::split(q, heads)?, ops::split(k, kept)?);
        let turned = |plain: &Tensor, weight: &Weight| {
            ops::rotate(&self.norm(weight, scene, plain)?, cos, sin)
        };
        Ok(((turned(&plain.0, q_weight)?, turned(&plain.1, k_weight)?), Some(plain)))
    }

    fn steps(
        &self,
        scene: &ForwardContext<'_>,
        x: &Tensor,
        attended: Option<&Tensor>,
    ) -> Result<Steps> {
        let normed = self.norm(&self.before_attention, scene, x)?;
        let (q, q_thin) = self.linear(Q, scene, &normed)?;
        let (k, k_thin) = self.linear(K, scene, &normed)?;
        let (v, v_thin) = self.linear(V, scene, &normed)?;
        let ((q, k), plain) = self.turned(scene, &q, &k)?;
        let v = ops::split(&v, scene.shape.num_key_value_heads)?;
        let attended = match attended {
            Some(attended) => attended.clone(),
            None => self.attention(scene).forward(&q, &k, &v)?,
        };
        let (o, o_thin) = self.linear(O, scene, &attended)?;
        let middle = add(o, x)?;
        let middle_normed = self.norm(&self.before_gate, scene, &middle)?;
        let (gate, gate_thin) = self.linear(GATE, scene, &middle_normed)?;
        let (up, up_thin) = self.linear(UP, scene, &middle_normed)?;
        let thin = [q_thin, k_thin, v_thin, o_thin, gate_thin, up_thin, None];
        Ok(Steps { normed, plain, q, k, v, attended, middle, middle_normed, gate, up, thin })
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
        use InputGradient::{Added, Unwanted, Wanted};
        let mut back = Back { layer: self, scene, thin: &steps.thin, grads };
        let missing = || candle_core::Error::Msg("a requested gradient is missing".into());
        let gated = ops::gated(&steps.gate, &steps.up)?;
        let dgated = back.linear(DOWN, &gated, dy, Wanted)?.ok_or_else(missing)?;
        drop(gated);
        let (dgate, dup) = ops::gated_back(&steps.gate, &steps.up, &dgated)?;
        drop(dgated);
        let dnormed = back.linear(GATE, &steps.middle_normed, &dgate, Wanted)?;
        let dnormed = dnormed.map_or(Wanted, Added);
        let dnormed = back.linear(UP, &steps.middle_normed, &dup, dnormed)?.ok_or_else(missing)?;
        drop((dgate, dup));
        let dmiddle = add(back.norm(&self.before_gate, &steps.middle, &dnormed)?, dy)?;
        let dattended = back.linear(O, &steps.attended, &dmiddle, Wanted)?.ok_or_else(missing)?;
        let seen = (&steps.q, &steps.k, &steps.v);
        let (dq, dk, dv) = self.attention(scene).back(seen, &dattended)?;
        let (dq, dk) = back.turned(steps.plain.as_ref(), &dq, &dk)?;
        let dv = ops::join(&dv)?;
        let learned = matches!(self.before_attention, Weight::Learned(_));
        let is_wanted = wanted || learned;
        let mut dnormed = None;
        for (which, dy) in [(Q, dq), (K, dk), (V, dv)] {
            let gradient = match dnormed.take() {
                Some(sum) => Added(sum),
                None if is_wanted => Wanted,
                None => Unwanted,
            };
            dnormed = back.linear(which, &steps.normed, &dy, gradient)?;
        }
        let Some(dnormed) = dnormed else { return Ok(None) };
        let dx = add(back.norm(&self.before_attention, x, &dnormed)?, &dmiddle)?;
        Ok(Some(dx))
    }
}

/// The backward pass of a layer.
struct Back<'a, 'b> {
    layer: &'a Layer,
    scene: &'a ForwardContext<'b>,
    thin: &'a [Option<Tensor>; 7],
    grads: &'a mut Grads,
}

impl Back<'_, '_> {
    fn linear(
        &mut self,
        which: usize,
        x: &Tensor,
        dy: &Tensor,
        gradient: InputGradient,
    ) -> Result<Option<Tensor>> {
        let ForwardContext { params, dropout, .. } = self.scene;
        let x = (x, self.thin[which].as_ref());
        self.layer.linears[which].back(params, x, dy, dropout, self.grads, gradient)
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

    /// The backward pass of queries and keys through the rotation and, if present, the norms
    /// of heads.
    fn turned(&mut self, plain: Option<&Pair>, dq: &Tensor, dk: &Tensor) -> Result<Pair> {
        let (layer, scene) = (self.layer, self.scene);
        let (cos, sin) = (&scene.cos, &scene.back_sin);
        let (Some((q, k)), Some((q_weight, k_weight))) = (plain, &layer.heads) else {
            return Ok((ops::rotated_join(dq, cos, sin)?, ops::rotated_join(dk, cos, sin)?));
        };
        let (dq, dk) = (ops::rotate(dq, cos, sin)?, ops::rotate(dk, cos, sin)?);
        let dq = self.norm(q_weight, q, &dq)?;
        Ok((ops::join(&dq)?, ops::join(&self.norm(k_weight, k, &dk)?)?))
    }
}
