//! Estimates the cost of a training.

use std::fs;
use std::path::Path;
use std::time::Instant;

use candle_core::quantized::GgmlDType;
use candle_core::{DType, Device, Tensor};

use crate::base_model::Base;
use crate::error::TrainError;
use crate::matrix::{BLOCK, seconds_per_element};
use crate::model::Chunks;
use crate::model_config::ModelConfig;
use crate::ops::{Attention, RowSpan};
use crate::params::Params;
use crate::rows::Rows;
use crate::settings::{MatmulPrecision, Method, Precision, Settings, Target};

/// The estimated cost of a training.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Parameters of the model.
    pub parameters: usize,
    /// Trained parameters.
    pub learned: usize,
    /// Training rows, and validation rows.
    pub rows: (usize, usize),
    /// Tokens of one epoch, and how many of them carry loss.
    pub tokens: (usize, usize),
    /// The longest row, in tokens.
    pub longest: usize,
    /// Steps per epoch.
    pub steps_per_epoch: usize,
    /// Steps of all epochs.
    pub steps: usize,
    /// Micro-batches of all epochs, roughly.
    pub micro_batches: usize,
    /// Bytes of frozen matrices that stay quantised or rounded; `None` if none do.
    pub stored: Option<u64>,
    /// Peak memory in bytes, estimated.
    pub memory: u64,
    /// Layers whose activations are kept instead of recomputed, of all layers.
    pub no_recompute_layers: (usize, usize),
    /// Floating-point operations of all epochs without attention, estimated.
    pub operations: f64,
    /// Pairs of tokens that attention compares in all epochs.
    pub pairs: f64,
}

/// How a base model is held in memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held {
    /// Bytes of a number that the model computes with.
    pub(crate) bytes: usize,
    /// Bytes and format of frozen matrices that are dequantised block by block.
    pub(crate) stored: Option<(u64, GgmlDType)>,
}

/// Settings that determine memory and speed, but never the result.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ComputeConfig {
    /// Maximum tokens of a micro-batch.
    pub micro_batch_tokens: usize,
    /// How much is computed at once.
    pub chunks: Chunks,
    /// Available bytes; the free memory of this machine if `None`.
    pub memory: Option<u64>,
}

impl Default for ComputeConfig {
    fn default() -> ComputeConfig {
        ComputeConfig { micro_batch_tokens: 4096, chunks: Chunks::default(), memory: None }
    }
}

impl ComputeConfig {
    /// Attention over rows without a sliding window.
    fn attention<'a>(&self, rows: &'a [RowSpan]) -> Attention<'a> {
        Attention { rows, window: None, chunk: self.chunks.queries }
    }
}

impl Plan {
    /// Computes the plan without loading the model.
    pub(crate) fn new(
        shape: &ModelConfig,
        rows: &Rows,
        settings: &Settings,
        means: &ComputeConfig,
        held: Held,
    ) -> Plan {
        let lengths: Vec<usize> = rows.train.iter().map(|row| row.tokens.len()).collect();
        let tokens: usize = lengths.iter().sum();
        let learned: usize = rows.train.iter().map(|row| row.learned().count()).sum();
        let longest = rows.all().map(|row| row.tokens.len()).max().unwrap_or(0);
        let steps_per_epoch = settings.steps_per_epoch(rows.train.len());
        let pairs =
            |length: &usize| means.attention(&[RowSpan { from: 0, length: *length }]).pairs();
        let pairs: f64 = lengths.iter().map(pairs).sum();
        let epochs = settings.epochs as f64;
        let steps = steps_per_epoch * settings.epochs;
        let of_step = tokens.div_ceil(steps_per_epoch.max(1));
        let layers = shape.num_hidden_layers;
        let not_recomputed = means.chunks.not_recomputed(layers);
        let stored = held.stored.filter(|_| settings.method == Method::Lora);
        Plan {
            parameters: shape.parameters(),
            learned: learned_by(shape, settings),
            rows: (rows.train.len(), rows.validation.len()),
            tokens: (tokens, learned),
            longest,
            steps_per_epoch,
            steps,
            micro_batches: steps * of_step.div_ceil(means.micro_batch_tokens.max(1)),
            stored: stored.map(|(bytes, _)| bytes),
            memory: memory(shape, settings, means, largest_pass(rows, means), held),
            no_recompute_layers: (not_recomputed, layers),
            operations: epochs
                * operations(shape, settings, not_recomputed, tokens as f64, learned as f64),
            pairs: pairs * epochs,
        }
    }

    /// Estimated duration of all epochs on this device, in seconds. Measures a few matrix
    /// products and attention passes of the model's sizes.
    pub(crate) fn seconds(
        &self,
        shape: &ModelConfig,
        means: &ComputeConfig,
        device: &Device,
        dtype: DType,
        (held, precision): (Held, MatmulPrecision),
    ) -> candle_core::Result<f64> {
        let ones = |sizes: &[usize]| Tensor::ones(sizes, dtype, device);
        let (width, intermediate) =
            (shape.hidden_size.min(2048), shape.intermediate_size.min(4096));
        let (x, w) = (ones(&[256, width])?, ones(&[width, intermediate])?);
        let params = Params::new(dtype).with_precision(precision);
        let product = quickest(device, || params.product(None, &x, &w).map(drop))?;
        let matrices = self.operations * product / (2 * 256 * width * intermediate) as f64;

        let length = self.longest.clamp(1, 1024);
        let heads = |heads| ones(&[heads, length, shape.head_dim]);
        let (q, k) = (heads(shape.num_attention_heads)?, heads(shape.num_key_value_heads)?);
        let dy = ones(&[length, shape.queries()])?;
        let rows = [RowSpan { from: 0, length }];
        let attention = means.attention(&rows);
        let layer = quickest(device, || {
            attention.forward(&q, &k, &k)?;
            attention.back((&q, &k, &k), &dy).map(drop)
        })?;
        let layers = self.pairs / attention.pairs() * shape.num_hidden_layers as f64;
        // Norms, gates and rotations take about a third of the time without attention.
        let dequantised = match held.stored.filter(|_| self.stored.is_some()) {
            None => 0.0,
            Some((_, format)) => {
                self.dequantised(shape, means) * seconds_per_element(format, device)?
            }
        };
        Ok(matrices * 1.5 + layers * layer + dequantised)
    }

    /// Elements that are dequantised: of layers in the forward pass, its recomputation if there
    /// is one, and the backward pass; of the output matrix twice for each chunk of logits.
    fn dequantised(&self, shape: &ModelConfig, means: &ComputeConfig) -> f64 {
        let (passes, learned) = (self.micro_batches as f64, self.tokens.1 as f64);
        let (kept, layers) = self.no_recompute_layers;
        let layers = (3 * layers - kept) as f64 * shape.matrices() as f64;
        let epochs = self.steps as f64 / self.steps_per_epoch.max(1) as f64;
        let chunk = means.chunks.scored(shape.vocab_size) as f64;
        let chunks = (learned * epochs / passes.max(1.0) / chunk).ceil();
        passes * (layers + 2.0 * chunks * (shape.vocab_size * shape.hidden_size) as f64)
    }
}

/// The shortest of several measurements, in seconds.
fn quickest(
    device: &Device,
    work: impl Fn() -> candle_core::Result<()>,
) -> candle_core::Result<f64> {
    let (mut done, mut best) = (0.0, f64::INFINITY);
    while done < 0.2 {
        let clock = Instant::now();
        work()?;
        device.synchronize()?;
        let took = clock.elapsed().as_secs_f64();
        best = best.min(took);
        done += took;
    }
    Ok(best)
}

impl ModelConfig {
    /// Parameters of the whole model.
    pub(crate) fn parameters(&self) -> usize {
        self.tensors().iter().map(|(_, sizes)| sizes.iter().product::<usize>()).sum()
    }

    /// Elements of a layer's matrices.
    fn matrices(&self) -> usize {
        Target::ALL.iter().map(|target| self.sizes(*target)).map(|(out, input)| out * input).sum()
    }
}

fn learned_by(shape: &ModelConfig, settings: &Settings) -> usize {
    if settings.method == Method::Full {
        return shape.parameters();
    }
    let sides = settings.targets.iter().map(|target| shape.sizes(*target));
    let sides: usize = sides.map(|(out, input)| out + input).sum();
    shape.num_hidden_layers * settings.rank * sides
}

/// Floating-point operations without attention.
fn operations(
    shape: &ModelConfig,
    settings: &Settings,
    not_recomputed: usize,
    tokens: f64,
    learned: f64,
) -> f64 {
    // Forward, and gradients of the inputs; for full fine-tunes also of the weights.
    let times = if settings.method == Method::Full { 3.0 } else { 2.0 };
    let layers = shape.num_hidden_layers;
    let recomputed = (layers - not_recomputed.min(layers)) as f64;
    let layer = 2.0 * shape.matrices() as f64 * tokens;
    let head = 2.0 * (shape.vocab_size * shape.hidden_size) as f64 * learned;
    layer * (times * layers as f64 + recomputed) + times * head
}

/// Tokens of the largest micro-batch.
fn largest_pass(rows: &Rows, means: &ComputeConfig) -> usize {
    let tokens: usize = rows.train.iter().map(|row| row.tokens.len()).sum();
    let longest = rows.all().map(|row| row.tokens.len()).max().unwrap_or(0);
    longest.max(means.micro_batch_tokens.min(tokens))
}

/// As many layers as can keep their activations in half of the memory that is free beyond
/// everything else; one if it is not known what is free.
pub(crate) fn no_recompute_layers(
    shape: &ModelConfig,
    rows: &Rows,
    settings: &Settings,
    means: &ComputeConfig,
    held: Held,
    free: Option<u64>,
) -> usize {
    let Some(free) = free else { return 1 };
    let pass = largest_pass(rows, means);
    let chunks = Chunks { no_recompute_layers: Some(0), ..means.chunks };
    let without = memory(shape, settings, &ComputeConfig { chunks, ..*means }, pass, held);
    let each = activations(shape, settings, pass, held) as u64;
    let most = free.saturating_sub(without) / 2 / each.max(1);
    usize::try_from(most).unwrap_or(usize::MAX).min(shape.num_hidden_layers)
}

/// Bytes of the activations that a layer keeps, without its input and the output of attention.
fn activations(shape: &ModelConfig, settings: &Settings, pass: usize, held: Held) -> usize {
    let (width, intermediate) = (shape.hidden_size, shape.intermediate_size);
    // Those before the norms of heads too.
    let heads = if shape.family.norms_heads() { 2 } else { 1 };
    let thin = match settings.method {
        Method::Lora => settings.rank * settings.targets.len(),
        Method::Full => 0,
    };
    let kept = 3 * width + heads * (shape.queries() + shape.keys()) + shape.keys();
    pass * (kept + 2 * intermediate + thin) * held.bytes
}

/// Peak memory in bytes: weights, trained parameters with their gradients and AdamW's
/// state, layer inputs, the activations of one layer and of those that are not recomputed, and
/// the largest chunk.
fn memory(
    shape: &ModelConfig,
    settings: &Settings,
    means: &ComputeConfig,
    pass: usize,
    held: Held,
) -> u64 {
    let (all, learned, bytes) = (shape.parameters(), learned_by(shape, settings), held.bytes);
    let weights = match (settings.method, held.stored) {
        // A copy beside the f32 values exists only if the model computes in another dtype.
        (Method::Full, _) if bytes == 4 => 0,
        (Method::Lora, Some((stored, _))) => stored as usize + block(shape, bytes),
        _ => all * bytes,
    };
    let state = learned * 4 * 5;
    let inputs = shape.num_hidden_layers * pass * (shape.hidden_size + shape.queries()) * bytes;
    let (width, intermediate) = (shape.hidden_size, shape.intermediate_size);
    let steps = pass * (8 * width + 6 * shape.queries() + 4 * shape.keys() + 6 * intermediate);
    let layer = steps * bytes;
    let kept = means.chunks.not_recomputed(shape.num_hidden_layers)
        * activations(shape, settings, pass, held);
    let scores = 2 * shape.num_attention_heads * means.chunks.queries.min(pass) * pass * (4 + 4);
    let scored = means.chunks.scored(shape.vocab_size).min(pass);
    let logits = 4 * scored * shape.vocab_size * 4;
    (weights + state + inputs + layer + kept + scores.max(logits)) as u64
}

/// Bytes of the largest block of a quantised matrix that is dequantised at once, in f32 and in
/// the model's dtype.
fn block(shape: &ModelConfig, bytes: usize) -> usize {
    let largest = shape.vocab_size.max(shape.intermediate_size) * shape.hidden_size;
    largest.min(BLOCK) * if bytes == 4 { 4 } else { 4 + bytes }
}

/// Peak memory in bytes, estimated, of a LoRA on all matrices of a model with the defaults of
/// `fixfly train lora` and full micro-batches. Reads no weights.
///
/// # Errors
/// [`TrainError::Base`] if the model cannot be trained.
pub fn lora_memory(base: &Path) -> Result<u64, TrainError> {
    let base = Base::open(base)?;
    let settings = Settings { targets: Target::ALL.to_vec(), ..Settings::of(Method::Lora) };
    let (means, precision) = (ComputeConfig::default(), Precision::F32);
    let held = Held { bytes: 4, stored: base.stored(base.held(None)?, precision) };
    Ok(memory(base.config(), &settings, &means, means.micro_batch_tokens, held))
}

/// Free memory of this machine in bytes, within the limits of its cgroups.
pub(crate) fn free_memory() -> Option<u64> {
    let text = fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let free = line.split_whitespace().next()?.parse::<u64>().ok()? * 1024;
    let number = |file: &str| fs::read_to_string(file).ok()?.trim().parse::<u64>().ok();
    // cgroup v2, and v1.
    let groups = [
        ("/sys/fs/cgroup", "memory.max", "memory.current"),
        ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
    ];
    let left = groups.iter().filter_map(|(group, limit, used)| {
        let of = |name: &str| number(&format!("{group}/{name}"));
        // The file cache counts as used, but the kernel frees it on demand.
        let stat = fs::read_to_string(format!("{group}/memory.stat")).unwrap_or_default();
        let files = stat.lines().find_map(|line| line.strip_prefix("inactive_file "));
        let files = files.and_then(|files| files.trim().parse().ok()).unwrap_or(0);
        Some(of(limit)?.saturating_sub(of(used)?.saturating_sub(files)))
    });
    Some(left.fold(free, u64::min))
}

/// Returns an error if the training does not fit in memory; the error names the flags that
/// would make it fit.
pub(crate) fn check_memory(
    plan: &Plan,
    shape: &ModelConfig,
    settings: &Settings,
    means: &ComputeConfig,
    held: Held,
    free: u64,
) -> Result<(), TrainError> {
    if plan.memory <= free {
        return Ok(());
    }
    let fits = |settings: &Settings, means: &ComputeConfig, pass| {
        memory(shape, settings, means, pass, held) <= free
    };
    let smaller = ComputeConfig { micro_batch_tokens: plan.longest, ..*means };
    let chunks = Chunks { queries: 64, no_recompute_layers: Some(0), ..means.chunks };
    let chunked = ComputeConfig { chunks, ..smaller };
    let lora = Settings { method: Method::Lora, ..settings.clone() };
    let remedy = if fits(settings, &smaller, plan.longest) {
        format!("use --micro-batch-tokens {}", plan.longest)
    } else if fits(settings, &chunked, plan.longest) {
        format!(
            "use --micro-batch-tokens {} --attention-chunk 64 --no-recompute-layers 0",
            plan.longest
        )
    } else if settings.method == Method::Full && fits(&lora, &chunked, plan.longest) {
        format!(
            "use fixfly train lora --micro-batch-tokens {} --attention-chunk 64 --no-recompute-layers 0",
            plan.longest
        )
    } else {
        let fixed = memory(shape, settings, &chunked, 0, held);
        let each = memory(shape, settings, &chunked, plan.longest, held) - fixed;
        match free.saturating_sub(fixed) as f64 / each.max(1) as f64 * plan.longest as f64 {
            most if most >= 64.0 => format!(
                "build the dataset with --max-length {}, use a smaller model, or train on a larger machine with fixfly train llamafactory",
                most as usize / 64 * 64
            ),
            _ => "the model alone does not fit: use a smaller one, or train on a larger machine with fixfly train llamafactory".into(),
        }
    };
    Err(TrainError::Memory(format!(
        "training needs about {} of memory, and {} are free: {remedy}; --max-memory overrides how much is free",
        bytes_in_words(plan.memory),
        bytes_in_words(free)
    )))
}

/// `1.5 GB`.
pub(crate) fn bytes_in_words(bytes: u64) -> String {
    match bytes as f64 {
        bytes if bytes >= 1e9 => format!("{:.1} GB", bytes / 1e9),
        bytes => format!("{:.0} MB", bytes / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Qwen3-8B's config.json.
    fn shape() -> ModelConfig {
        ModelConfig {
            family: crate::model_config::Family::Qwen3,
            hidden_size: 4096,
            num_hidden_layers: 36,
            num_attention_heads: 32,
            num_key_value_heads: 8,
            head_dim: 128,
            intermediate_size: 12_288,
            vocab_size: 151_936,
            max_position_embeddings: 40_960,
            rms_norm_eps: 1e-6,
            rope_theta: 1e6,
            rope_scaling: None,
            tie_word_embeddings: false,
            windows: vec![None; 36],
        }
    }

    /// Weights in 16 bits, as on a GPU.
    const HELD: Held = Held { bytes: 2, stored: None };

    fn rows(length: usize) -> Rows {
        let row =
            crate::rows::Row { id: "a".into(), tokens: vec![1; length], loss: vec![[1, length]] };
        Rows {
            train: vec![row; 16],
            validation: vec![],
            hash: String::new(),
            about: serde_json::Value::Null,
        }
    }

    fn plan(settings: &Settings, length: usize) -> Plan {
        Plan::new(&shape(), &rows(length), settings, &ComputeConfig::default(), HELD)
    }

    #[test]
    fn kept_activations_take_half_of_what_is_free() {
        let (lora, means) = (Settings::of(Method::Lora), ComputeConfig::default());
        let chosen = |free| no_recompute_layers(&shape(), &rows(1000), &lora, &means, HELD, free);
        assert_eq!((chosen(None), chosen(Some(0)), chosen(Some(1 << 40))), (1, 0, 36));
        let needed = |layers| {
            let chunks = Chunks { no_recompute_layers: Some(layers), ..means.chunks };
            memory(&shape(), &lora, &ComputeConfig { chunks, ..means }, 4096, HELD)
        };
        for gigabytes in [22, 25, 30, 35] {
            let free = gigabytes * 1_000_000_000;
            let layers = chosen(Some(free));
            assert!(0 < layers && layers < 36, "{layers} of 36 in {gigabytes} GB");
            assert!(2 * needed(layers) - needed(0) <= free, "{layers} in {gigabytes} GB");
            assert!(2 * needed(layers + 1) - needed(0) > free, "{layers} in {gigabytes} GB");
        }
    }

    #[test]
    fn counts_are_those_of_the_model_cards() {
        let plan = plan(&Settings::of(Method::Lora), 1000);
        assert_eq!((plan.parameters, plan.learned), (8_190_735_360, 30_670_848));
        assert_eq!((plan.steps_per_epoch, plan.steps), (2, 20));
        assert_eq!(plan.tokens, (16_000, 16 * 999));
    }

    #[test]
    fn a_chunk_is_compared_with_all_before_its_end() {
        let pairs = |queries, length| {
            let chunks = Chunks { queries, ..Chunks::default() };
            ComputeConfig { chunks, ..ComputeConfig::default() }
                .attention(&[RowSpan { from: 0, length }])
                .pairs()
        };
        assert_eq!((pairs(1, 10), pairs(4, 10), pairs(64, 10)), (55.0, 68.0, 100.0));
        let plan = plan(&Settings { epochs: 3, ..Settings::of(Method::Lora) }, 300);
        assert_eq!(plan.pairs, 3.0 * 16.0 * (256.0 * 256.0 + 44.0 * 300.0));
    }

    #[test]
    fn time_grows_with_the_work() {
        let small = ModelConfig {
            hidden_size: 64,
            num_hidden_layers: 2,
            num_attention_heads: 2,
            num_key_value_heads: 1,
            head_dim: 32,
            intermediate_size: 128,
            vocab_size: 500,
            ..shape()
        };
        let seconds = |length| {
            let plan = plan(&Settings::of(Method::Lora), length);
            plan.seconds(
                &small,
                &ComputeConfig::default(),
                &Device::Cpu,
                DType::F32,
                (HELD, MatmulPrecision::Highest),
            )
            .unwrap()
        };
        let (short, long) = (seconds(64), seconds(4096));
        assert!(0.0 < short && 8.0 * short < long && long.is_finite(), "{short} {long}");
    }

    #[track_caller]
    fn check(settings: &Settings, length: usize, gigabytes: u64, expected: &str) {
        let plan = plan(settings, length);
        let free = gigabytes * 1_000_000_000;
        let said = check_memory(&plan, &shape(), settings, &ComputeConfig::default(), HELD, free);
        let said = said.map_or_else(|why| why.to_string(), |()| "fits".into());
        assert!(said.contains(expected), "{said}");
    }

    #[test]
    fn errors_name_the_flags_that_make_it_fit() {
        let (lora, full) = (Settings::of(Method::Lora), Settings::of(Method::Full));
        check(&lora, 32_768, 141, "fits");
        check(&lora, 500, 21, "use --micro-batch-tokens 500;");
        check(
            &lora,
            32_768,
            50,
            "use --micro-batch-tokens 32768 --attention-chunk 64 --no-recompute-layers 0;",
        );
        check(&lora, 32_768, 24, "build the dataset with --max-length");
        check(&lora, 1000, 8, "the model alone does not fit");
        check(&full, 1000, 141, "fixfly train lora");
    }
}
