//! The decoder with its trained parameters: forward pass for the loss, backward pass
//! for the gradients.

use candle_core::{DType, Device, Tensor};

use crate::base_model::Base;
use crate::chance;
use crate::error::TrainError;
use crate::layer::{ForwardContext, Layer};
use crate::linear::{Linear, Lora};
use crate::matrix::Matrix;
use crate::model_config::ModelConfig;
use crate::ops::{Dropout, Head};
use crate::params::{Grads, Params, Weight};
use crate::pass::Pass;
use crate::settings::{BaseDtype, MatmulPrecision, Method, Settings, Target};
use crate::tensors::module;
use crate::weights::Weights;

/// How much is computed at once; affects memory and speed, never results.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chunks {
    /// Attention queries per chunk; in f32 on a CPU at most 128.
    pub queries: usize,
    /// Logits per chunk.
    pub logits: usize,
    /// Layers, from the last, whose activations are kept instead of recomputed. If `None`,
    /// [`Job::ready`](crate::Job::ready) finds out how many fit in half of the free memory.
    pub no_recompute_layers: Option<usize>,
}

impl Default for Chunks {
    fn default() -> Chunks {
        Chunks { queries: 256, logits: 1 << 24, no_recompute_layers: None }
    }
}

impl Chunks {
    /// Tokens whose logits are computed together.
    pub(crate) fn scored(&self, vocab_size: usize) -> usize {
        (self.logits / vocab_size).clamp(16, 1024)
    }

    /// How many of so many layers are not recomputed.
    pub(crate) fn not_recomputed(&self, layers: usize) -> usize {
        self.no_recompute_layers.unwrap_or(1).min(layers)
    }
}

/// A model with its trained parameters.
pub(crate) struct Model {
    pub(crate) shape: ModelConfig,
    pub(crate) params: Params,
    device: Device,
    dtype: DType,
    embedding: Matrix,
    layers: Vec<Layer>,
    norm: Weight,
    /// `None` if it is the embedding.
    output: Option<Matrix>,
    frequencies: Tensor,
    chunks: Chunks,
}

/// Loads tensors, and marks which are trained.
struct Loader<'a> {
    shape: &'a ModelConfig,
    weights: &'a Weights,
    settings: &'a Settings,
    params: Params,
    held: BaseDtype,
    device: &'a Device,
    dtype: DType,
}

impl Loader<'_> {
    fn weight(&mut self, name: &str, sizes: &[usize], decays: bool) -> Result<Weight, TrainError> {
        let full = self.settings.method == Method::Full;
        let dtype = if full { DType::F32 } else { self.dtype };
        let tensor = self.weights.get(name, sizes, dtype, self.device)?;
        Ok(match full {
            true => Weight::Learned(self.params.add(name.into(), &tensor, decays)?),
            false => Weight::Fixed(tensor),
        })
    }

    fn matrix(&mut self, name: &str, sizes: (usize, usize)) -> Result<Matrix, TrainError> {
        if self.settings.method == Method::Full {
            return Ok(Matrix::Plain(self.weight(name, &[sizes.0, sizes.1], true)?));
        }
        self.weights.matrix(name, sizes, self.held, self.dtype, self.device)
    }

    fn layer(&mut self, at: usize) -> Result<Layer, TrainError> {
        let name = |part: &str| format!("model.layers.{at}.{part}.weight");
        let (width, head) = (self.shape.hidden_size, self.shape.head_dim);
        let mut linears = Vec::new();
        for target in Target::ALL {
            linears.push(self.linear(at, target)?);
        }
        let linears = linears
            .try_into()
            .map_err(|_| TrainError::Base("a layer has too few matrices".into()))?;
        let heads = match self.shape.family.norms_heads() {
            true => Some((
                self.weight(&name("self_attn.q_norm"), &[head], false)?,
                self.weight(&name("self_attn.k_norm"), &[head], false)?,
            )),
            false => None,
        };
        Ok(Layer {
            linears,
            before_attention: self.weight(&name("input_layernorm"), &[width], false)?,
            before_gate: self.weight(&name("post_attention_layernorm"), &[width], false)?,
            heads,
            window: self.shape.windows[at],
        })
    }

    fn linear(&mut self, layer: usize, target: Target) -> Result<Linear, TrainError> {
        let (out, input) = self.shape.sizes(target);
        let name = module(layer, target);
        let weight = self.matrix(&format!("{name}.weight"), (out, input))?;
        let bias = match self.shape.family.has_bias(target) {
            true => Some(self.weight(&format!("{name}.bias"), &[out], false)?),
            false => None,
        };
        let settings = self.settings;
        if settings.method == Method::Full || !settings.targets.contains(&target) {
            return Ok(Linear { weight, bias, lora: None });
        }
        // As in peft: A is uniform within 1/√in, B is zero.
        let site = (layer * Target::ALL.len() + target as usize) as u64;
        let rank = settings.rank;
        let key = chance::key(&[settings.seed, 0xA, site]);
        let most = 1.0 / (input as f64).sqrt();
        let a = (0..(rank * input) as u64)
            .map(|at| ((chance::unit(key, at) * 2.0 - 1.0) * most) as f32)
            .collect();
        let a = Tensor::from_vec::<_, f32>(a, (rank, input), self.device)?;
        let b = Tensor::zeros((out, rank), DType::F32, self.device)?;
        let file = |half: &str| format!("base_model.model.{name}.lora_{half}.weight");
        let a = self.params.add(file("A"), &a, true)?;
        let b = self.params.add(file("B"), &b, true)?;
        let scale = settings.alpha / rank as f64;
        Ok(Linear { weight, bias, lora: Some(Lora { a, b, scale, site }) })
    }
}

impl Model {
    /// Loads a base model, whose frozen matrices are held as `held`, and initialises the
    /// adapters.
    pub(crate) fn load(
        base: &Base,
        settings: &Settings,
        chunks: Chunks,
        (held, precision): (BaseDtype, MatmulPrecision),
        device: &Device,
        dtype: DType,
    ) -> Result<Model, TrainError> {
        let shape = base.config().clone();
        let weights = base.weights()?;
        let params = Params::new(dtype).with_precision(precision);
        let mut loader =
            Loader { shape: &shape, weights: &weights, settings, params, held, device, dtype };
        let (words, width) = (shape.vocab_size, shape.hidden_size);
        let embedding = loader.matrix("model.embed_tokens.weight", (words, width))?;
        let layers =
            (0..shape.num_hidden_layers).map(|at| loader.layer(at)).collect::<Result<_, _>>()?;
        let norm = loader.weight("model.norm.weight", &[width], false)?;
        let output = match shape.tie_word_embeddings {
            true => None,
            false => Some(loader.matrix("lm_head.weight", (words, width))?),
        };
        let frequencies: Vec<f32> = shape.frequencies().iter().map(|f| *f as f32).collect();
        let frequencies = Tensor::from_vec(frequencies, (1, shape.head_dim / 2), device)?;
        let params = loader.params;
        let device = device.clone();
        Ok(Model {
            params,
            device,
            dtype,
            embedding,
            layers,
            norm,
            output,
            frequencies,
            chunks,
            shape,
        })
    }

    pub(crate) fn device(&self) -> &Device {
        &self.device
    }

    fn head(&self) -> Head<'_> {
        let output = self.output.as_ref().unwrap_or(&self.embedding);
        Head {
            norm: self.params.weight(&self.norm),
            output,
            params: &self.params,
            epsilon: self.shape.rms_norm_eps,
            chunk: self.chunks.scored(self.shape.vocab_size),
            learned: matches!(self.norm, Weight::Learned(_)),
        }
    }

    fn scene<'a>(
        &'a self,
        pass: &'a Pass,
        dropout: &'a Dropout,
    ) -> candle_core::Result<ForwardContext<'a>> {
        let places = Tensor::new(pass.places(), &self.device)?.unsqueeze(1)?;
        let angles = places.broadcast_mul(&self.frequencies)?;
        let sin = angles.sin()?.to_dtype(self.dtype)?;
        Ok(ForwardContext {
            shape: &self.shape,
            params: &self.params,
            rows: &pass.rows,
            dropout,
            cos: angles.cos()?.to_dtype(self.dtype)?,
            back_sin: sin.neg()?,
            sin,
            chunk: self.chunks.queries,
        })
    }

    fn tensors(&self, pass: &Pass) -> candle_core::Result<[Tensor; 3]> {
        let tensor = |numbers: &[u32]| Tensor::new(numbers, &self.device);
        Ok([tensor(&pass.tokens)?, tensor(&pass.learned)?, tensor(&pass.targets)?])
    }

    /// Σ −log p over the tokens with loss.
    pub(crate) fn loss(&self, pass: &Pass) -> candle_core::Result<f64> {
        let [tokens, learned, targets] = self.tensors(pass)?;
        let dropout = Dropout::none();
        let scene = self.scene(pass, &dropout)?;
        let mut x = self.embedding.rows(&self.params, &tokens)?;
        for layer in &self.layers {
            x = layer.forward(&scene, &x)?.0;
        }
        self.head().loss(&x, &learned, &targets)
    }

    /// Computes the same loss; adds the gradients of `weight` times it.
    pub(crate) fn learn(
        &self,
        pass: &Pass,
        weight: f64,
        dropout: &Dropout,
        grads: &mut Grads,
    ) -> candle_core::Result<f64> {
        let [tokens, learned, targets] = self.tensors(pass)?;
        let scene = self.scene(pass, dropout)?;
        let mut x = self.embedding.rows(&self.params, &tokens)?;
        let (mut way, keeping) = (Vec::new(), self.chunks.not_recomputed(self.layers.len()));
        for (at, layer) in self.layers.iter().enumerate() {
            let (y, kept, steps) = layer.forward(&scene, &x)?;
            let keeps = at + keeping >= self.layers.len();
            way.push((kept, keeps.then_some(steps)));
            x = y;
        }
        let (loss, back) = self.head().back(&x, &learned, &targets, weight)?;
        drop(x);
        self.learn_head(back.learned, grads)?;
        let mut dx = Some(back.x);
        let embedding_learned = self.embedding.learned().is_some();
        for (at, layer) in self.layers.iter().enumerate().rev() {
            let (Some((kept, steps)), Some(dy)) = (way.pop(), dx.take()) else { break };
            let steps = match steps {
                Some(steps) => steps,
                None => layer.again(&scene, &kept)?,
            };
            dx = layer.back(&scene, &kept.x, steps, &dy, grads, at > 0 || embedding_learned)?;
        }
        if let (Some(at), Some(dx)) = (self.embedding.learned(), dx) {
            let all = self.params.all()[at].value.zeros_like()?;
            grads.add(at, &all.index_add(&tokens, &dx.to_dtype(DType::F32)?, 0)?)?;
        }
        Ok(loss)
    }

    fn learn_head(
        &self,
        learned: Option<(Tensor, Tensor)>,
        grads: &mut Grads,
    ) -> candle_core::Result<()> {
        let Some((norm, matrix)) = learned else { return Ok(()) };
        let output = self.output.as_ref().unwrap_or(&self.embedding);
        if let Weight::Learned(at) = self.norm {
            grads.add(at, &norm)?;
        }
        if let Some(at) = output.learned() {
            grads.add(at, &matrix)?;
        }
        Ok(())
    }
}
