//! Reads and writes a Hugging Face `config.json`. Qwen2, Qwen3, Llama, Mistral and Ministral
//! are one decoder with options.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::error::TrainError;
use crate::settings::Target;

/// The supported architectures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Has biases of queries, keys and values (Qwen2 and Qwen2.5).
    Qwen2,
    /// Has norms of queries and keys.
    Qwen3,
    /// Has neither; Llama 3.1 scales its rotary position embedding. SmolLM2 is one.
    Llama,
    /// Llama with a sliding window.
    Mistral,
}

impl Family {
    /// llama.cpp's name for the architecture.
    pub fn gguf(self) -> &'static str {
        match self {
            Family::Qwen2 => "qwen2",
            Family::Qwen3 => "qwen3",
            Family::Llama | Family::Mistral => "llama",
        }
    }

    /// Hugging Face's `model_type`, and the class of a model with this architecture.
    fn names(self) -> (&'static str, &'static str) {
        match self {
            Family::Qwen2 => ("qwen2", "Qwen2ForCausalLM"),
            Family::Qwen3 => ("qwen3", "Qwen3ForCausalLM"),
            Family::Llama => ("llama", "LlamaForCausalLM"),
            Family::Mistral => ("mistral", "MistralForCausalLM"),
        }
    }

    /// Whether each head of queries and keys has a norm.
    pub(crate) fn norms_heads(self) -> bool {
        self == Family::Qwen3
    }

    /// Whether a matrix of a layer has a bias.
    pub(crate) fn has_bias(self, target: Target) -> bool {
        let qkv = matches!(target, Target::QProj | Target::KProj | Target::VProj);
        self == Family::Qwen2 && qkv
    }
}

/// How a rotary position embedding is slowed down.
#[derive(Clone, Debug, PartialEq)]
pub enum RopeScaling {
    /// Llama 3.1's scaling of slow rotations.
    Llama3(Llama3),
    /// The factor of each pair of a head, as GGUF files have them.
    Factors(Vec<f64>),
}

/// The parameters of Llama 3.1's scaling.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Llama3 {
    pub(crate) factor: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
    pub(crate) window: f64,
}

/// Sizes and options of a decoder.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelConfig {
    /// The architecture.
    pub family: Family,
    /// Hidden size.
    pub hidden_size: usize,
    /// Number of layers.
    pub num_hidden_layers: usize,
    /// Number of attention heads.
    pub num_attention_heads: usize,
    /// Number of key-value heads.
    pub num_key_value_heads: usize,
    /// Size of a head.
    pub head_dim: usize,
    /// Intermediate size of the MLPs.
    pub intermediate_size: usize,
    /// Size of the vocabulary.
    pub vocab_size: usize,
    /// Maximum sequence length, in tokens.
    pub max_position_embeddings: usize,
    /// Epsilon of the norms.
    pub rms_norm_eps: f64,
    /// Base of the rotary position embedding.
    pub rope_theta: f64,
    /// Scaling of the rotary position embedding.
    pub rope_scaling: Option<RopeScaling>,
    /// Whether the output matrix is the embedding.
    pub tie_word_embeddings: bool,
    /// The sliding window of each layer, in tokens; `None` if it attends to all tokens.
    pub windows: Vec<Option<usize>>,
}

impl ModelConfig {
    /// Reads `config.json` of a model folder.
    ///
    /// # Errors
    /// [`TrainError::Base`] if there is none, or the model is not supported.
    pub fn open(folder: &Path) -> Result<ModelConfig, TrainError> {
        let file = folder.join("config.json");
        let shown = file.display();
        let text = fs::read_to_string(&file).map_err(|why| {
            TrainError::Base(format!(
                "cannot read {shown} ({why}); name a Hugging Face model folder, a GGUF file or a model of `fixfly model list`"
            ))
        })?;
        let config: Value = serde_json::from_str(&text)
            .map_err(|why| TrainError::Base(format!("{shown} is not JSON: {why}")))?;
        ModelConfig::read(&config).map_err(|why| TrainError::Base(format!("{shown}: {why}")))
    }

    fn read(config: &Value) -> Result<ModelConfig, String> {
        let kind = config.get("model_type").and_then(Value::as_str).unwrap_or_default();
        let family = match kind {
            "qwen2" => Family::Qwen2,
            "qwen3" => Family::Qwen3,
            "llama" => Family::Llama,
            "mistral" | "ministral" => Family::Mistral,
            other => {
                return Err(format!(
                    "unsupported model_type `{other}`; supported: qwen2, qwen3, llama, mistral, ministral; train other models with fixfly train llamafactory"
                ));
            }
        };
        plain(config, family)?;
        let size = |name: &str| whole(config, name)?.ok_or_else(|| format!("`{name}` is missing"));
        let hidden_size = size("hidden_size")?;
        let num_attention_heads = size("num_attention_heads")?;
        let num_hidden_layers = size("num_hidden_layers")?;
        let max_position_embeddings = size("max_position_embeddings")?;
        let rope = ["rope_scaling", "rope_parameters"]
            .iter()
            .find_map(|name| config.get(*name).filter(|value| value.is_object()));
        let number = |from: &Value, name: &str| from.get(name).and_then(Value::as_f64);
        let shape = ModelConfig {
            family,
            hidden_size,
            num_hidden_layers,
            num_attention_heads,
            num_key_value_heads: whole(config, "num_key_value_heads")?
                .unwrap_or(num_attention_heads),
            head_dim: whole(config, "head_dim")?
                .unwrap_or(hidden_size / num_attention_heads.max(1)),
            intermediate_size: size("intermediate_size")?,
            vocab_size: size("vocab_size")?,
            max_position_embeddings,
            rms_norm_eps: number(config, "rms_norm_eps").unwrap_or(1e-6),
            rope_theta: rope_theta(config, rope)?,
            rope_scaling: rope.map(rope_scaling).transpose()?.flatten(),
            tie_word_embeddings: config
                .get("tie_word_embeddings")
                .and_then(Value::as_bool)
                .unwrap_or(false),
            windows: windows(config, family, num_hidden_layers)?,
        };
        shape.whole_heads()
    }

    /// The model, if its heads can be computed.
    pub(crate) fn whole_heads(self) -> Result<ModelConfig, String> {
        let groups = self.num_attention_heads.is_multiple_of(self.num_key_value_heads);
        match groups && self.head_dim.is_multiple_of(2) {
            true => Ok(self),
            false => Err(
                "num_attention_heads is not a multiple of num_key_value_heads, or head_dim is odd"
                    .into(),
            ),
        }
    }

    /// `config.json` of a model with all of these options.
    ///
    /// # Errors
    /// One sentence, if Hugging Face's format cannot express them.
    pub(crate) fn to_json(&self) -> Result<Value, String> {
        let (kind, class) = self.family.names();
        let mut config = json!({
            "architectures": [class], "model_type": kind, "hidden_act": "silu",
            "hidden_size": self.hidden_size, "num_hidden_layers": self.num_hidden_layers,
            "num_attention_heads": self.num_attention_heads,
            "num_key_value_heads": self.num_key_value_heads, "head_dim": self.head_dim,
            "intermediate_size": self.intermediate_size, "vocab_size": self.vocab_size,
            "max_position_embeddings": self.max_position_embeddings,
            "rms_norm_eps": self.rms_norm_eps, "rope_theta": self.rope_theta,
            "tie_word_embeddings": self.tie_word_embeddings,
        });
        if self.windows.iter().any(Option::is_some) {
            return Err("its sliding windows cannot be written to a config.json".into());
        }
        match &self.rope_scaling {
            None => {}
            Some(RopeScaling::Llama3(Llama3 { factor, low, high, window })) => {
                config["rope_scaling"] = json!({
                    "rope_type": "llama3", "factor": factor, "low_freq_factor": low,
                    "high_freq_factor": high, "original_max_position_embeddings": window,
                });
            }
            Some(RopeScaling::Factors(_)) => {
                return Err("the factors of its rotary position embedding (rope_freqs.weight) are not those of a known Llama, and cannot be written to a config.json".into());
            }
        }
        Ok(config)
    }

    /// The longest sequence in which no window hides a token.
    pub(crate) fn unwindowed(&self) -> usize {
        let windows = self.windows.iter().flatten().copied();
        windows
            .min()
            .map_or(self.max_position_embeddings, |window| window.min(self.max_position_embeddings))
    }

    /// Size of all queries of a token.
    pub(crate) fn queries(&self) -> usize {
        self.num_attention_heads * self.head_dim
    }

    /// Size of all keys of a token.
    pub(crate) fn keys(&self) -> usize {
        self.num_key_value_heads * self.head_dim
    }

    /// Rotation per token of each pair of a head, in radians.
    pub(crate) fn frequencies(&self) -> Vec<f64> {
        let plain = rotations(self.rope_theta, self.head_dim / 2);
        match self.rope_factors() {
            None => plain.collect(),
            Some(factors) => plain.zip(factors).map(|(one, factor)| one / factor).collect(),
        }
    }

    /// The factor by which each rotation is slowed down; `None` if none is.
    pub(crate) fn rope_factors(&self) -> Option<Vec<f64>> {
        let plain = rotations(self.rope_theta, self.head_dim / 2);
        self.rope_scaling.as_ref().map(|scaling| match scaling {
            RopeScaling::Llama3(scaling) => plain.map(|one| scaling.of(one)).collect(),
            RopeScaling::Factors(factors) => factors.clone(),
        })
    }
}

/// Rotation per token of this many pairs, the fastest first (Su et al. 2021).
pub(crate) fn rotations(theta: f64, pairs: usize) -> impl Iterator<Item = f64> {
    (0..pairs).map(move |at| theta.powf(-(at as f64) / pairs as f64))
}

impl Llama3 {
    /// The factor by which a rotation is slowed down.
    pub(crate) fn of(&self, frequency: f64) -> f64 {
        let wave = std::f64::consts::TAU / frequency;
        if wave < self.window / self.high {
            1.0
        } else if wave > self.window / self.low {
            self.factor
        } else {
            let smooth = (self.window / wave - self.low) / (self.high - self.low);
            1.0 / ((1.0 - smooth) / self.factor + smooth)
        }
    }
}

/// Rejects options that this decoder does not support.
fn plain(config: &Value, family: Family) -> Result<(), String> {
    for name in ["attention_bias", "mlp_bias"] {
        // transformers reads neither for Qwen2, whose biases are always the same.
        if family != Family::Qwen2 && config.get(name).and_then(Value::as_bool) == Some(true) {
            return Err(format!("{name} is true, and biases are not supported"));
        }
    }
    if config.get("quantization_config").is_some_and(|value| !value.is_null()) {
        return Err("quantization_config is set, and quantised weights are not supported; name the model's unquantised folder".into());
    }
    let ropes = ["rope_scaling", "rope_parameters"].iter().filter_map(|name| config.get(*name));
    for part in [config].into_iter().chain(ropes) {
        let factor = part.get("partial_rotary_factor").and_then(Value::as_f64);
        if let Some(factor) = factor.filter(|factor| *factor != 1.0) {
            return Err(format!("partial_rotary_factor is {factor}; supported: 1.0"));
        }
    }
    match config.get("hidden_act").and_then(Value::as_str) {
        None | Some("silu") => Ok(()),
        Some(other) => Err(format!("unsupported hidden_act `{other}`; supported: silu")),
    }
}

/// The base of the rotary position embedding. transformers 4 reads it at the top of the
/// configuration, transformers 5 in the rope parameters.
fn rope_theta(config: &Value, rope: Option<&Value>) -> Result<f64, String> {
    let number = |from: &Value| from.get("rope_theta").and_then(Value::as_f64);
    match (number(config), rope.and_then(number)) {
        (Some(top), Some(inner)) if top != inner => {
            Err(format!("rope_theta is {top}, but {inner} in the rope parameters; make them equal"))
        }
        (top, inner) => Ok(inner.or(top).unwrap_or(10_000.0)),
    }
}

fn whole(config: &Value, name: &str) -> Result<Option<usize>, String> {
    match config.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_u64().and_then(|value| usize::try_from(value).ok()) {
            Some(value @ 1..) => Ok(Some(value)),
            _ => Err(format!("{name} is {value}; it must be a whole number above 0")),
        },
    }
}

fn rope_scaling(rope: &Value) -> Result<Option<RopeScaling>, String> {
    // Parameters for each type of layer.
    if let Some((name, _)) = rope.as_object().into_iter().flatten().find(|(_, of)| of.is_object()) {
        return Err(format!(
            "the rope parameters of `{name}` are its own, and only one set for all layers is supported"
        ));
    }
    let kind = rope.get("rope_type").or_else(|| rope.get("type")).and_then(Value::as_str);
    match kind {
        None | Some("default") => Ok(None),
        Some("llama3") => {
            let of = |name: &str| {
                rope.get(name)
                    .and_then(Value::as_f64)
                    .ok_or_else(|| format!("`{name}` of the rope parameters is missing"))
            };
            Ok(Some(RopeScaling::Llama3(Llama3 {
                factor: of("factor")?,
                low: of("low_freq_factor")?,
                high: of("high_freq_factor")?,
                window: of("original_max_position_embeddings")?,
            })))
        }
        Some(other) => Err(format!("unsupported rope_type `{other}`; supported: default, llama3")),
    }
}

fn windows(config: &Value, family: Family, layers: usize) -> Result<Vec<Option<usize>>, String> {
    let window = match family {
        Family::Llama => None,
        Family::Qwen2 | Family::Qwen3
            if config.get("use_sliding_window") != Some(&Value::Bool(true)) =>
        {
            None
        }
        // transformers' default.
        Family::Mistral if config.get("sliding_window").is_none() => Some(4096),
        Family::Qwen2 | Family::Qwen3 | Family::Mistral => whole(config, "sliding_window")?,
    };
    let Some(window) = window else { return Ok(vec![None; layers]) };
    if let Some(kinds) = config.get("layer_types").and_then(Value::as_array) {
        let slides = kinds.iter().map(|kind| kind.as_str() == Some("sliding_attention"));
        let windows: Vec<_> = slides.map(|slides| slides.then_some(window)).collect();
        return match windows.len() == layers {
            true => Ok(windows),
            false => Err(format!("layer_types has {} entries for {layers} layers", windows.len())),
        };
    }
    // Qwen's first layers have no window; the default is transformers'.
    let first = match family {
        Family::Qwen2 | Family::Qwen3 => {
            config.get("max_window_layers").and_then(Value::as_u64).unwrap_or(28) as usize
        }
        _ => 0,
    };
    Ok((0..layers).map(|layer| (layer >= first).then_some(window)).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn config(kind: &str) -> Value {
        json!({
            "model_type": kind, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
            "num_key_value_heads": 2, "intermediate_size": 96, "vocab_size": 100,
            "max_position_embeddings": 512, "rms_norm_eps": 1e-5,
        })
    }

    #[test]
    fn a_head_is_what_it_says_or_a_share_of_the_width() {
        let mut said = config("qwen3");
        assert_eq!(ModelConfig::read(&said).unwrap().head_dim, 16);
        said["head_dim"] = json!(32);
        assert_eq!(ModelConfig::read(&said).unwrap().queries(), 128);
    }

    #[test]
    fn both_spellings_of_a_rope_are_read() {
        let rope = json!({
            "rope_type": "llama3", "rope_theta": 5e5, "factor": 8.0, "low_freq_factor": 1.0,
            "high_freq_factor": 4.0, "original_max_position_embeddings": 8192,
        });
        let mut new = config("llama");
        new["rope_parameters"] = rope.clone();
        let mut old = config("llama");
        old["rope_scaling"] = rope;
        old["rope_theta"] = json!(5e5);
        assert_eq!(ModelConfig::read(&new), ModelConfig::read(&old));
        let shape = ModelConfig::read(&new).unwrap();
        let plain = ModelConfig { rope_scaling: None, ..shape.clone() };
        let (first, last) = (shape.frequencies()[0], shape.frequencies()[7]);
        assert_eq!(first, plain.frequencies()[0]);
        assert!((plain.frequencies()[7] / last - 8.0).abs() < 1e-9);
    }

    #[test]
    fn windows_are_those_of_each_layer() {
        let mut said = config("mistral");
        said["sliding_window"] = json!(8);
        assert_eq!(ModelConfig::read(&said).unwrap().windows, [Some(8), Some(8)]);
        said["layer_types"] = json!(["full_attention", "sliding_attention"]);
        assert_eq!(ModelConfig::read(&said).unwrap().windows, [None, Some(8)]);
        said["model_type"] = json!("qwen3");
        assert_eq!(ModelConfig::read(&said).unwrap().windows, [None, None]);
        said["use_sliding_window"] = json!(true);
        said["layer_types"] = Value::Null;
        assert_eq!(ModelConfig::read(&said).unwrap().windows, [None, None]);
        said["max_window_layers"] = json!(1);
        assert_eq!(ModelConfig::read(&said).unwrap().windows, [None, Some(8)]);
        said["max_window_layers"] = json!(0);
        assert_eq!(ModelConfig::read(&said).unwrap().windows, [Some(8), Some(8)]);
        assert_eq!(ModelConfig::read(&said).unwrap().unwindowed(), 8);
        let default = ModelConfig::read(&config("mistral")).unwrap();
        assert_eq!((default.windows[0], default.unwindowed()), (Some(4096), 512));
        let mut none = config("mistral");
        none["sliding_window"] = Value::Null;
        assert_eq!(ModelConfig::read(&none).unwrap().windows, [None, None]);
    }

    #[track_caller]
    fn check(change: &str, value: Value, expected: &str) {
        let mut said = config("qwen3");
        said[change] = value;
        let fault = ModelConfig::read(&said).unwrap_err();
        assert!(fault.contains(expected), "{fault}");
    }

    #[test]
    fn two_bases_of_the_rotation_are_refused() {
        let mut said = config("qwen3");
        said["rope_theta"] = json!(1e4);
        said["rope_parameters"] = json!({"rope_type": "default", "rope_theta": 1e4});
        assert_eq!(ModelConfig::read(&said).unwrap().rope_theta, 1e4);
        said["rope_parameters"]["rope_theta"] = json!(1e6);
        let fault = ModelConfig::read(&said).unwrap_err();
        assert!(fault.contains("rope_theta is 10000, but 1000000"), "{fault}");
    }

    #[test]
    fn a_written_configuration_is_read_as_the_same_model() {
        for kind in ["qwen2", "qwen3", "llama"] {
            let mut said = config(kind);
            said["tie_word_embeddings"] = json!(true);
            said["rope_theta"] = json!(5e5);
            if kind == "llama" {
                said["rope_scaling"] = json!({
                    "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0,
                    "high_freq_factor": 4.0, "original_max_position_embeddings": 8192,
                });
            }
            let shape = ModelConfig::read(&said).unwrap();
            assert_eq!(ModelConfig::read(&shape.to_json().unwrap()), Ok(shape));
        }
        let factors = Some(RopeScaling::Factors(vec![1.0; 8]));
        let shape = ModelConfig::read(&config("llama")).unwrap();
        let fault = ModelConfig { rope_scaling: factors, ..shape }.to_json().unwrap_err();
        assert!(fault.contains("rope_freqs.weight"), "{fault}");
    }

    #[test]
    fn unsupported_models_are_refused() {
        check("model_type", json!("gpt2"), "unsupported model_type `gpt2`");
        check("attention_bias", json!(true), "attention_bias is true");
        check("hidden_act", json!("gelu"), "unsupported hidden_act `gelu`");
        check("rope_scaling", json!({"rope_type": "yarn"}), "unsupported rope_type `yarn`");
        check("rope_scaling", json!({"type": "linear"}), "unsupported rope_type `linear`");
        check("rope_scaling", json!({"type": "dynamic"}), "unsupported rope_type `dynamic`");
        check("rope_parameters", json!({"rope_type": "longrope"}), "unsupported rope_type");
        let own = json!({"full_attention": {"rope_type": "default"}});
        check("rope_parameters", own, "the rope parameters of `full_attention`");
        check("partial_rotary_factor", json!(0.5), "partial_rotary_factor is 0.5");
        check("rope_parameters", json!({"partial_rotary_factor": 0.25}), "is 0.25; supported: 1.0");
        check("quantization_config", json!({"quant_method": "fp8"}), "quantization_config is set");
        check("hidden_size", json!(0), "hidden_size is 0");
        check("vocab_size", Value::Null, "`vocab_size` is missing");
    }
}
