//! Reads a model's sizes and options from the metadata of a GGUF file.

use fixfly_runtime::GgufHeader;

use crate::model_config::{Family, Llama3, ModelConfig, RopeScaling};

/// Length of the texts that Llama 3 was trained on, in tokens.
const LLAMA3_WINDOW: f64 = 8192.0;

/// The largest size that is read: the products of two sizes are numbers, too.
const LARGEST: usize = i32::MAX as usize;

/// The values of one architecture.
struct Values<'a> {
    header: &'a GgufHeader,
    architecture: &'a str,
}

impl Values<'_> {
    fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.architecture)
    }

    /// A whole number above 0, the same for all layers.
    fn size(&self, name: &str) -> Result<Option<usize>, String> {
        let key = self.key(name);
        let Some(all) = self.header.numbers(&key) else { return Ok(None) };
        let first = all.first().copied().unwrap_or_default();
        match usize::try_from(first) {
            _ if all.iter().any(|other| *other != first) => {
                Err(format!("`{key}` differs between layers, which is not supported"))
            }
            Ok(size @ 1..=LARGEST) => Ok(Some(size)),
            _ => Err(format!("`{key}` is {first}; it must be a number from 1 to {LARGEST}")),
        }
    }

    fn needed(&self, name: &str) -> Result<usize, String> {
        let missing = || format!("its metadata has no `{}`", self.key(name));
        self.size(name)?.ok_or_else(missing)
    }

    fn real(&self, name: &str) -> Option<f64> {
        self.header.real(&self.key(name))
    }
}

/// The sizes and options of a model, without the factors of its rotary position embedding.
///
/// # Errors
/// One sentence that names the value.
pub(super) fn read(header: &GgufHeader) -> Result<ModelConfig, String> {
    let architecture = header
        .text("general.architecture")
        .ok_or("its metadata has no `general.architecture`; name a GGUF file of a whole model")?;
    let family = match architecture {
        "qwen2" => Family::Qwen2,
        "qwen3" => Family::Qwen3,
        "llama" => Family::Llama,
        other => {
            return Err(format!(
                "unsupported architecture `{other}`; supported: llama (Mistral's too), qwen2, qwen3; train other models with fixfly train llamafactory"
            ));
        }
    };
    if header.text("general.type").is_some_and(|kind| kind != "model") {
        return Err("it is no whole model, but an adapter or a part; name its base model".into());
    }
    let values = Values { header, architecture };
    plain(&values)?;
    let num_hidden_layers = values.needed("block_count")?;
    // Each layer has several. Without this, a wrong number would take all memory below.
    if num_hidden_layers > header.tensors().len() {
        return Err(format!(
            "`{}` is {num_hidden_layers}, but it has only {} tensors",
            values.key("block_count"),
            header.tensors().len()
        ));
    }
    let (hidden_size, num_attention_heads) =
        (values.needed("embedding_length")?, values.needed("attention.head_count")?);
    let table = header.tensor("token_embd.weight").and_then(|table| table.dimensions.get(1));
    let words = table.and_then(|words| usize::try_from(*words).ok());
    let head_dim =
        values.size("attention.key_length")?.unwrap_or(hidden_size / num_attention_heads);
    for name in ["attention.value_length", "rope.dimension_count"] {
        if let Some(other) = values.size(name)?.filter(|other| *other != head_dim) {
            let key = values.key(name);
            return Err(format!("`{key}` is {other}; supported: the size of a head, {head_dim}"));
        }
    }
    let epsilon = values.real("attention.layer_norm_rms_epsilon").ok_or_else(|| {
        format!("its metadata has no `{}`", values.key("attention.layer_norm_rms_epsilon"))
    })?;
    let config = ModelConfig {
        family,
        hidden_size,
        num_hidden_layers,
        num_attention_heads,
        num_key_value_heads: values.size("attention.head_count_kv")?.unwrap_or(num_attention_heads),
        head_dim,
        intermediate_size: values.needed("feed_forward_length")?,
        vocab_size: words.ok_or("it has no matrix `token_embd.weight`")?,
        max_position_embeddings: values.needed("context_length")?,
        rms_norm_eps: epsilon,
        rope_theta: values.real("rope.freq_base").unwrap_or(10_000.0),
        rope_scaling: None,
        tie_word_embeddings: header.tensor("output.weight").is_none(),
        // llama.cpp has no sliding window in these architectures.
        windows: vec![None; num_hidden_layers],
    };
    config.whole_heads()
}

/// Refuses options that this decoder does not support.
fn plain(values: &Values<'_>) -> Result<(), String> {
    if let Some(experts) = values.size("expert_count").ok().flatten() {
        return Err(format!("it has {experts} experts, and mixtures are not supported"));
    }
    // As llama.cpp reads them: a missing type is `linear`, and a factor of 0 is none.
    let kind = values.header.text(&values.key("rope.scaling.type")).unwrap_or("linear");
    let factor = values.real("rope.scaling.factor").or_else(|| values.real("rope.scale_linear"));
    let plain = match (kind, factor) {
        ("none", _) | (_, Some(1.0)) | ("linear", None | Some(0.0)) => true,
        (_, _) => false,
    };
    let attention = values.real("rope.scaling.attn_factor").unwrap_or(1.0);
    match plain && attention == 1.0 {
        true => Ok(()),
        false => Err(format!(
            "its rotary position embedding is scaled (`{kind}`); supported: none, and Llama 3's factors"
        )),
    }
}

/// The scaling that these factors express.
///
/// # Errors
/// One sentence, if one of them cannot be a factor.
pub(super) fn rope_scaling(config: &ModelConfig, factors: Vec<f64>) -> Result<RopeScaling, String> {
    let is_factor = |factor: &&f64| factor.is_finite() && **factor > 0.0;
    if let Some(wrong) = factors.iter().find(|factor| !is_factor(factor)) {
        return Err(format!(
            "a factor of its rotary position embedding (rope_freqs.weight) is {wrong}; it must be above 0"
        ));
    }
    let factor = factors.iter().copied().fold(1.0, f64::max);
    let llama3 = Llama3 { factor, low: 1.0, high: 4.0, window: LLAMA3_WINDOW };
    let rope_scaling = Some(RopeScaling::Llama3(llama3));
    let made = ModelConfig { rope_scaling, ..config.clone() }.rope_factors().unwrap_or_default();
    let same = |(one, other): (&f64, &f64)| (one / other - 1.0).abs() < 1e-4;
    Ok(match made.iter().zip(&factors).all(same) {
        true => RopeScaling::Llama3(llama3),
        false => RopeScaling::Factors(factors),
    })
}
