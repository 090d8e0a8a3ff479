//! Reads PEFT's `adapter_config.json`. Each key is applied, changes nothing, or is refused
//! by name.

use std::fmt;
use std::path::PathBuf;

use regex::Regex;
use serde::Deserialize;
use serde::de::{MapAccess, Visitor};
use serde_json::Value;

/// Keys that this file applies.
const APPLIED: [&str; 13] = [
    "peft_type",
    "task_type",
    "base_model_name_or_path",
    "r",
    "lora_alpha",
    "use_rslora",
    "rank_pattern",
    "alpha_pattern",
    "target_modules",
    "exclude_modules",
    "layers_to_transform",
    "layers_pattern",
    "init_lora_weights",
];
/// Keys that concern training or loading, and not what trained matrices do. Biases are
/// tensors of their own, which the adapter's reader refuses.
const INERT: [&str; 16] = [
    "auto_mapping",
    "revision",
    "inference_mode",
    "peft_version",
    "lora_dropout",
    "bias",
    "megatron_core",
    "loftq_config",
    "eva_config",
    "corda_config",
    "lora_ga_config",
    "velora_config",
    "qalora_group_size",
    "runtime_config",
    "ensure_weight_tying",
    "_custom_modules",
];
/// Initial values of matrices that leave the base model as it is.
const INITIAL: [&str; 3] = ["gaussian", "eva", "orthogonal"];
/// What to do about an adapter that is refused.
const REMEDY: &str = "merge the adapter with peft and export the merged model";

/// What an adapter does, as PEFT reads it.
#[derive(Debug)]
pub(super) struct LoraConfig {
    pub(super) alpha: f64,
    /// The base model that the adapter names.
    pub(super) base: Option<PathBuf>,
    /// The value of `bias`, if biases were trained.
    pub(super) bias: Option<String>,
    rank: usize,
    rank_stabilised: bool,
    ranks: Vec<(Regex, usize)>,
    alphas: Vec<(Regex, f64)>,
    targets: Modules,
    excluded: Modules,
    layers: Option<Layers>,
}

/// Names of modules, as PEFT matches them.
#[derive(Debug)]
enum Modules {
    /// Not given.
    Unknown,
    /// Each is a whole path or the end of one.
    Names(Vec<String>),
    /// A pattern of whole paths.
    Pattern(Regex),
}

/// The layers that are changed.
#[derive(Debug)]
struct Layers {
    numbers: Vec<u64>,
    /// Patterns whose first group is the number of a layer.
    patterns: Vec<Regex>,
}

/// A JSON object whose order counts: the first pattern that matches applies.
struct Pairs(Vec<(String, Value)>);

/// The keys whose order counts.
#[derive(Deserialize)]
struct Patterns {
    rank_pattern: Option<Pairs>,
    alpha_pattern: Option<Pairs>,
}

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Pairs;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        from.deserialize_map(Reader)
    }
}

impl LoraConfig {
    /// Reads the text of the file.
    ///
    /// # Errors
    /// One sentence without the file's name.
    pub(super) fn read(text: &str) -> Result<LoraConfig, String> {
        let config: Value = serde_json::from_str(text).map_err(|why| why.to_string())?;
        let patterns: Patterns = serde_json::from_str(text).map_err(|why| why.to_string())?;
        refuse(&config)?;
        let named = |name: &str| config.get(name).filter(|value| !value.is_null());
        let missing = |name: &str| format!("`{name}` is missing");
        let rank = named("r").and_then(Value::as_u64).ok_or_else(|| missing("r"))?;
        let alpha = named("lora_alpha").and_then(Value::as_f64);
        let text = |name: &str| named(name).and_then(Value::as_str).map(String::from);
        let number = |value: &Value| {
            value.as_u64().and_then(|rank| usize::try_from(rank).ok()).filter(|rank| *rank > 0)
        };
        Ok(LoraConfig {
            rank: rank as usize,
            alpha: alpha.ok_or_else(|| missing("lora_alpha"))?,
            base: text("base_model_name_or_path").map(PathBuf::from),
            bias: text("bias").filter(|bias| bias != "none"),
            rank_stabilised: named("use_rslora") == Some(&Value::Bool(true)),
            ranks: pairs("rank_pattern", patterns.rank_pattern, number)?,
            alphas: pairs("alpha_pattern", patterns.alpha_pattern, Value::as_f64)?,
            targets: modules("target_modules", named("target_modules"))?,
            excluded: modules("exclude_modules", named("exclude_modules"))?,
            layers: layers(named("layers_to_transform"), named("layers_pattern"))?,
        })
    }

    /// The rank of a module, by its path in the base model.
    pub(super) fn rank(&self, module: &str) -> usize {
        first(&self.ranks, module).unwrap_or(self.rank)
    }

    /// The factor of a module's change.
    pub(super) fn scale(&self, module: &str) -> f64 {
        let rank = self.rank(module) as f64;
        let alpha = first(&self.alphas, module).unwrap_or(self.alpha);
        alpha / if self.rank_stabilised { rank.sqrt() } else { rank }
    }

    /// The key that keeps PEFT from changing a module; `None` if PEFT changes it.
    pub(super) fn left_out_by(&self, module: &str) -> Option<&'static str> {
        if self.excluded.contain(module) == Some(true) {
            return Some("exclude_modules");
        }
        if self.targets.contain(module) == Some(false) {
            return Some("target_modules");
        }
        let layers = match (&self.targets, &self.layers) {
            // PEFT ignores layers beside a pattern.
            (Modules::Pattern(_), _) | (_, None) => return None,
            (_, Some(layers)) => layers,
        };
        let number = layers.patterns.iter().find_map(|pattern| pattern.captures(module));
        let number = number.and_then(|found| found.get(1)?.as_str().parse().ok());
        let changed = number.is_some_and(|number| layers.numbers.contains(&number));
        (!changed).then_some("layers_to_transform")
    }
}

impl Modules {
    fn contain(&self, module: &str) -> Option<bool> {
        let ends = |name: &String| {
            let rest = module.strip_suffix(name.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        match self {
            Modules::Unknown => None,
            Modules::Names(names) => Some(names.iter().any(ends)),
            Modules::Pattern(pattern) => Some(pattern.is_match(module)),
        }
    }
}

/// Refuses what would change the result and is not applied.
fn refuse(config: &Value) -> Result<(), String> {
    let all = config.as_object().ok_or("it is not a JSON object")?;
    for (name, value) in all {
        let unused = match value {
            Value::Null | Value::Bool(false) => true,
            Value::String(text) => text.is_empty(),
            Value::Array(list) => list.is_empty(),
            Value::Object(map) => map.is_empty(),
            Value::Bool(true) | Value::Number(_) => false,
        };
        if !unused && !APPLIED.contains(&&**name) && !INERT.contains(&&**name) {
            let shown: String = value.to_string().chars().take(60).collect();
            return Err(format!("`{name}` is {shown}, which fixfly does not apply; {REMEDY}"));
        }
    }
    for (name, supported) in [("peft_type", "LORA"), ("task_type", "CAUSAL_LM")] {
        if let Some(value) = all.get(name).filter(|value| !value.is_null())
            && value != supported
        {
            return Err(format!("`{name}` is {value}; supported: {supported}"));
        }
    }
    match all.get("init_lora_weights") {
        None | Some(Value::Null | Value::Bool(_)) => Ok(()),
        Some(Value::String(text)) if INITIAL.contains(&&*text.to_lowercase()) => Ok(()),
        Some(other) => Err(format!(
            "`init_lora_weights` is {other}: with it, peft changes the base model too when it loads the adapter; save the adapter with path_initial_model_for_weight_conversion, or {REMEDY}"
        )),
    }
}

/// A pattern of PEFT, as a whole.
fn regex(name: &str, pattern: &str, around: [&str; 2]) -> Result<Regex, String> {
    let [before, after] = around;
    Regex::new(&format!("{before}(?:{pattern}){after}")).map_err(|_| {
        format!("`{name}` has the pattern {pattern:?}, which fixfly cannot read; {REMEDY}")
    })
}

fn pairs<T>(
    name: &str,
    pairs: Option<Pairs>,
    read: impl Fn(&Value) -> Option<T>,
) -> Result<Vec<(Regex, T)>, String> {
    let one = |(pattern, value): (String, Value)| {
        let number = read(&value).ok_or_else(|| format!("`{name}` has the value {value}"))?;
        Ok((regex(name, &pattern, [r"^(?:.*\.)?", "$"])?, number))
    };
    pairs.map(|pairs| pairs.0).unwrap_or_default().into_iter().map(one).collect()
}

fn first<T: Copy>(pairs: &[(Regex, T)], module: &str) -> Option<T> {
    pairs.iter().find(|(pattern, _)| pattern.is_match(module)).map(|(_, value)| *value)
}

fn texts(value: &Value) -> Option<Vec<String>> {
    let list = value.as_array()?.iter();
    list.map(|one| one.as_str().map(String::from)).collect()
}

fn modules(name: &str, value: Option<&Value>) -> Result<Modules, String> {
    match value {
        None => Ok(Modules::Unknown),
        Some(Value::String(all)) if all == "all-linear" => Ok(Modules::Unknown),
        Some(Value::String(pattern)) if pattern.is_empty() => Ok(Modules::Unknown),
        Some(Value::String(pattern)) => Ok(Modules::Pattern(regex(name, pattern, ["^", "$"])?)),
        Some(list) => texts(list)
            .map(Modules::Names)
            .ok_or_else(|| format!("`{name}` is neither a list of names nor a pattern")),
    }
}

fn layers(numbers: Option<&Value>, pattern: Option<&Value>) -> Result<Option<Layers>, String> {
    let numbers: Option<Vec<u64>> = match numbers {
        None => return Ok(None),
        Some(Value::Array(list)) if list.is_empty() => return Ok(None),
        Some(Value::Array(list)) => list.iter().map(Value::as_u64).collect(),
        Some(one) => one.as_u64().map(|one| vec![one]),
    };
    let numbers = numbers.ok_or("`layers_to_transform` is neither a number nor a list of them")?;
    let named = match pattern {
        Some(Value::String(one)) if !one.is_empty() => vec![one.clone()],
        Some(list) => texts(list).unwrap_or_default(),
        None => Vec::new(),
    };
    let around = [r"^(?:|.*?\.)", r"\.(\d+)\."];
    let one = |pattern: &String| regex("layers_pattern", pattern, around);
    let mut patterns = named.iter().map(one).collect::<Result<Vec<_>, _>>()?;
    if patterns.is_empty() {
        patterns.push(regex("layers_pattern", r"[^.]*", [r"^.*?\.", r"\.(\d+)\."])?);
    }
    Ok(Some(Layers { numbers, patterns }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const MODULES: [&str; 4] = [
        "model.layers.0.self_attn.q_proj",
        "model.layers.1.self_attn.q_proj",
        "model.layers.1.self_attn.v_proj",
        "model.layers.10.mlp.up_proj",
    ];

    fn config(more: &Value) -> Result<LoraConfig, String> {
        let mut config = json!({"peft_type": "LORA", "r": 4, "lora_alpha": 8});
        for (name, value) in more.as_object().unwrap() {
            config[name] = value.clone();
        }
        LoraConfig::read(&config.to_string())
    }

    /// What `scripts/goldens/peft.py` got from peft's own functions.
    #[test]
    fn modules_are_matched_as_peft_matches_them() {
        let golden = include_str!("../goldens/peft.json");
        let golden: Vec<Value> = serde_json::from_str(golden).unwrap();
        assert!(golden.len() > 20);
        for case in golden {
            // Read as text: the order of patterns counts.
            let read = LoraConfig::read(case["config"].as_str().unwrap()).unwrap();
            for (module, expected) in case["modules"].as_object().unwrap() {
                let targeted = read.left_out_by(module).is_none();
                let found = json!([targeted, read.rank(module), read.scale(module)]);
                assert_eq!(&found, expected, "{module}, {}", case["config"]);
            }
        }
    }

    #[track_caller]
    fn check_refused(more: Value, expected: &str) {
        let why = config(&more).unwrap_err();
        assert!(why.contains(expected), "{why}");
    }

    #[test]
    fn what_is_not_applied_is_refused_by_name() {
        check_refused(json!({"use_dora": true}), "`use_dora` is true, which fixfly does not apply");
        check_refused(json!({"fan_in_fan_out": true}), "`fan_in_fan_out` is true");
        check_refused(json!({"lora_bias": true}), "`lora_bias` is true");
        check_refused(json!({"use_qalora": true}), "`use_qalora` is true");
        check_refused(
            json!({"modules_to_save": ["lm_head"]}),
            "`modules_to_save` is [\"lm_head\"]",
        );
        check_refused(json!({"trainable_token_indices": [1]}), "`trainable_token_indices` is [1]");
        check_refused(json!({"layer_replication": [[0, 4]]}), "`layer_replication`");
        check_refused(json!({"megatron_config": {"a": 1}}), "`megatron_config`");
        check_refused(json!({"target_parameters": ["w"]}), "`target_parameters`");
        check_refused(json!({"alora_invocation_tokens": [1]}), "`alora_invocation_tokens`");
        check_refused(json!({"arrow_config": {"top_k": 3}}), "`arrow_config`");
        check_refused(json!({"kasa_config": {"beta": 1}}), "`kasa_config`");
        check_refused(json!({"a_key_of_tomorrow": "x"}), "`a_key_of_tomorrow` is \"x\"");
        check_refused(json!({"peft_type": "LOHA"}), "`peft_type` is \"LOHA\"; supported: LORA");
        check_refused(json!({"task_type": "SEQ_CLS"}), "`task_type` is \"SEQ_CLS\"");
        check_refused(json!({"init_lora_weights": "pissa_niter_4"}), "`init_lora_weights` is");
        check_refused(json!({"init_lora_weights": "olora"}), "`init_lora_weights` is");
        check_refused(json!({"init_lora_weights": "loftq"}), "`init_lora_weights` is");
        check_refused(json!({"rank_pattern": {"(": 4}}), "`rank_pattern` has the pattern \"(\"");
        check_refused(json!({"rank_pattern": {"q": "4"}}), "`rank_pattern` has the value \"4\"");
        check_refused(json!({"target_modules": 7}), "`target_modules` is neither");
        check_refused(json!({"r": null}), "`r` is missing");
    }

    #[test]
    fn what_changes_nothing_is_read() {
        let read = config(&json!({
            "use_dora": false, "modules_to_save": null, "megatron_core": "megatron.core",
            "loftq_config": {}, "eva_config": {"rho": 2.0}, "init_lora_weights": "eva",
            "inference_mode": true, "lora_dropout": 0.1, "revision": "main", "bias": "none",
            "a_key_of_tomorrow": null, "qalora_group_size": 16, "layers_to_transform": [],
            "runtime_config": {"ephemeral_gpu_offload": false}, "task_type": "CAUSAL_LM",
        }));
        let read = read.unwrap();
        for module in MODULES {
            assert_eq!((read.left_out_by(module), read.rank(module)), (None, 4));
            assert_eq!(read.scale(module), 2.0);
        }
        assert_eq!(read.bias, None);
        assert_eq!(config(&json!({"bias": "all"})).unwrap().bias.as_deref(), Some("all"));
    }
}
