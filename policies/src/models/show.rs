//! What a GGUF file contains, and the memory that it needs.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use fixfly_runtime::{GgufHeader, GgufTensor};

use super::catalogue::Model;
use super::error::ModelError;

/// Width of the labels.
const LABEL: usize = 15;
/// Bytes of a number of the key-value cache (f16), and of activations in training (f32).
const CACHED: u64 = 2;
const FLOAT: u64 = 4;
/// The training that the estimate is for.
const RANK: u64 = 32;
const TOKENS: u64 = 4096;
/// Defaults of `fixfly train`: queries per chunk of attention, logits per chunk; and layers
/// that are not recomputed, of which it chooses more where memory is free.
const QUERIES: u64 = 256;
const LOGITS: u64 = 1 << 24;
const NOT_RECOMPUTED: u64 = 1;
/// The matrices that `--target all` trains, as GGUF names them.
const MATRICES: [&str; 7] =
    ["attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"];
const NAMED: [&str; 4] = ["bos", "eos", "unknown", "padding"];

/// Describes a file in lines of a label and a value. `model` is the file's entry in the
/// table of models, if it has one; `episodes` share one loaded model.
///
/// # Errors
/// [`ModelError::Gguf`] if the file is not GGUF or is cut off; [`ModelError::Io`].
pub fn show(file: &Path, model: Option<&Model>, episodes: u64) -> Result<String, ModelError> {
    let broken = |why: &dyn std::fmt::Display| ModelError::Gguf(why.to_string());
    let header = GgufHeader::open(file).map_err(|why| broken(&why))?;
    let size = fs::metadata(file).map_err(ModelError::reading(file))?.len();
    header.check_tensors(size).map_err(|why| broken(&why))?;
    let facts = Facts::of(&header);
    let mut lines = vec![("file", format!("{}, {}", file.display(), bytes(size)))];
    if let Some(model) = model {
        lines.push(("name", format!("{}: {}", model.name, model.about)));
    }
    lines.extend(header.text("general.name").map(|name| ("title", name.to_string())));
    let kind = header.text("general.type").filter(|kind| *kind != "model");
    lines.extend(kind.map(|kind| ("type", kind.to_string())));
    let architecture = header.architecture().unwrap_or("not stated");
    lines.push(("architecture", architecture.to_string()));
    lines.push(("parameters", count(facts.parameters)));
    lines.extend(facts.layers.map(|layers| ("layers", layers.to_string())));
    lines.extend(facts.hidden.map(|hidden| ("hidden size", hidden.to_string())));
    lines.extend(facts.intermediate.map(|size| ("feed-forward", size.to_string())));
    lines.extend(facts.heads().map(|heads| ("heads", heads)));
    lines.extend(header.context_length().ok().map(|n| ("context", format!("{n} tokens"))));
    lines.push(("tensors", tensors(&header)));
    lines.push(("tokenizer", tokenizer(&header)));
    lines.push(("chat template", template(&header)));
    lines.push(("licence", licence(&header, model)));
    if kind.is_none() {
        let context = header.context_length().ok();
        lines.extend(context.and_then(|context| facts.serving(size, context, episodes)).map(
            |(cell, all)| {
                let context = context.unwrap_or_default();
                let per = bytes(cell * 1000);
                let all = bytes(all);
                let text = format!("{all} for {episodes} episodes of {context} tokens at once: the file, and {per} for each 1000 tokens (f16)");
                ("to serve", text)
            },
        ));
        lines.extend(facts.training().map(|all| {
            let text = format!("about {} for LoRA of rank {RANK} on all matrices and {TOKENS} tokens at once, weights as stored", bytes(all));
            ("to train", text)
        }));
    }
    // A text of the file must not look like a line of its own.
    let one_line = |value: &str| value.replace('\n', "\\n").replace('\r', "\\r");
    let line = |(label, value): &(&str, String)| format!("{label:LABEL$}{}\n", one_line(value));
    Ok(lines.iter().map(line).collect())
}

/// The sizes of a model.
#[derive(Debug, Default)]
struct Facts {
    parameters: u64,
    /// Bytes of all weights, as stored.
    weights: u64,
    /// Values of the largest matrix.
    largest: u64,
    layers: Option<u64>,
    hidden: Option<u64>,
    intermediate: Option<u64>,
    query_heads: Option<u64>,
    /// Key-value heads of each layer, or of all if there is one number.
    kv_heads: Option<Vec<u64>>,
    key: Option<u64>,
    value: Option<u64>,
    vocabulary: Option<u64>,
    /// Parameters of the adapter.
    adapter: u64,
}

impl Facts {
    fn of(header: &GgufHeader) -> Facts {
        let fact = |name: &str| header.fact(name).ok();
        let (hidden, query_heads) = (fact("embedding_length"), fact("attention.head_count"));
        let head = hidden.zip(query_heads.filter(|heads| *heads > 0));
        let head = head.map(|(hidden, heads)| hidden / heads);
        let architecture = header.architecture().unwrap_or_default();
        let kv_heads = header.numbers(&format!("{architecture}.attention.head_count_kv"));
        let all = || header.tensors().values();
        let values = |tensor: &GgufTensor| tensor.elements().unwrap_or(0);
        let table = header.tensor("token_embd.weight");
        Facts {
            parameters: all().map(values).fold(0, u64::saturating_add),
            weights: all().filter_map(GgufTensor::bytes).fold(0, u64::saturating_add),
            largest: all().map(values).max().unwrap_or(0),
            layers: fact("block_count"),
            hidden,
            intermediate: fact("feed_forward_length"),
            kv_heads: kv_heads.or_else(|| query_heads.map(|heads| vec![heads])),
            query_heads,
            key: fact("attention.key_length").or(head),
            value: fact("attention.value_length").or(head),
            vocabulary: table.and_then(|table| table.dimensions.get(1).copied()),
            adapter: header
                .tensors()
                .iter()
                .filter(|(name, _)| is_adapted(name))
                .map(|(_, tensor)| tensor.dimensions.iter().sum::<u64>() * RANK)
                .sum(),
        }
    }

    fn heads(&self) -> Option<String> {
        let (heads, size) = (self.query_heads?, self.key?);
        let mut kept = self.kv_heads.clone()?;
        kept.sort_unstable();
        kept.dedup();
        let kept: Vec<String> = kept.iter().map(u64::to_string).collect();
        Some(format!("{heads} of size {size}; for keys and values {}", kept.join(" or ")))
    }

    /// Bytes of one token in the key-value cache, and of all.
    fn serving(&self, size: u64, context: u64, episodes: u64) -> Option<(u64, u64)> {
        let heads = match self.kv_heads.as_deref()? {
            [all] => self.layers?.checked_mul(*all)?,
            each => each.iter().sum(),
        };
        let cell = heads.checked_mul(self.key?.checked_add(self.value?)?)?.checked_mul(CACHED)?;
        let all = cell.checked_mul(context)?.checked_mul(episodes)?.checked_add(size)?;
        cell.checked_mul(1000).map(|_| (cell, all))
    }

    /// Estimated peak memory of a training, by the formula of `fixfly train`: weights as
    /// stored and one of them dequantised; the adapter with its gradients and AdamW's
    /// state; layer inputs; the activations of the layers that are not recomputed and of
    /// one more; the largest chunk.
    fn training(&self) -> Option<u64> {
        let (layers, hidden) = (self.layers?, self.hidden?);
        let (heads, key) = (self.query_heads?, self.key?);
        let vocabulary = self.vocabulary?.max(1);
        let intermediate = self.intermediate?;
        let kept = self.kv_heads.as_deref()?.iter().copied().max()?;
        if self.adapter == 0 {
            return None;
        }
        let all = |parts: &[u64]| parts.iter().try_fold(1_u64, |all, one| all.checked_mul(*one));
        let queries = heads.checked_mul(key)?;
        let keys = kept.checked_mul(key)?;
        let inputs = all(&[layers, TOKENS, hidden.checked_add(queries)?, FLOAT])?;
        let each =
            [all(&[8, hidden])?, all(&[6, queries])?, all(&[4, keys])?, all(&[6, intermediate])?];
        let each = each.iter().try_fold(0_u64, |sum, one| sum.checked_add(*one))?;
        let layer = all(&[TOKENS, each, FLOAT, 1 + NOT_RECOMPUTED.min(layers)])?;
        let scores = all(&[2, heads, QUERIES, TOKENS, 2 * FLOAT])?;
        let scored = (LOGITS / vocabulary).clamp(16, 1024);
        let logits = all(&[4, scored, vocabulary, FLOAT])?;
        let state = all(&[self.adapter, FLOAT, 5])?;
        let parts =
            [self.weights, all(&[self.largest, FLOAT])?, state, inputs, layer, scores.max(logits)];
        parts.iter().try_fold(0_u64, |sum, one| sum.checked_add(*one))
    }
}

/// Whether `--target all` trains this tensor.
fn is_adapted(name: &str) -> bool {
    let of_layer = name.strip_prefix("blk.").and_then(|name| name.split_once('.'));
    let matrix = of_layer.and_then(|(_, name)| name.strip_suffix(".weight"));
    matrix.is_some_and(|matrix| MATRICES.contains(&matrix))
}

/// The types of the tensors, from the one with the most bytes.
fn tensors(header: &GgufHeader) -> String {
    let mut kinds: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for tensor in header.tensors().values() {
        let (count, size) = kinds.entry(tensor.kind.to_string()).or_default();
        *count += 1;
        *size = size.saturating_add(tensor.bytes().unwrap_or(0));
    }
    let mut kinds: Vec<_> = kinds.into_iter().collect();
    kinds.sort_by_key(|(_, (_, size))| std::cmp::Reverse(*size));
    let shown = kinds.iter().map(|(kind, (count, size))| match size {
        0 => format!("{count} {kind}"),
        _ => format!("{count} {kind} ({})", bytes(*size)),
    });
    let shown: Vec<String> = shown.collect();
    if shown.is_empty() { "none".into() } else { shown.join(", ") }
}

fn tokenizer(header: &GgufHeader) -> String {
    let Some(tokens) = header.texts("tokenizer.ggml.tokens") else { return "none".into() };
    let kind = header.text("tokenizer.ggml.model").unwrap_or("of no stated kind");
    let mut text = kind.to_string();
    if let Some(pre) = header.text("tokenizer.ggml.pre") {
        text += &format!(", pre-tokenizer {pre}");
    }
    text += &format!(", {} tokens", tokens.len());
    for name in NAMED {
        if let Some(token) = header.token(&format!("tokenizer.ggml.{name}_token_id")) {
            text += &format!(", {name} {token}");
        }
    }
    text
}

fn template(header: &GgufHeader) -> String {
    let Some(template) = header.text("tokenizer.chat_template") else { return "none".into() };
    let tool_use = header.text("tokenizer.chat_template.tool_use");
    let has = |word: &str| template.contains(word) || tool_use.is_some_and(|t| t.contains(word));
    let tools = if has("tools") { "with tools" } else { "without tools" };
    let thinking = match has("enable_thinking") {
        true => "thinking switch: template",
        false => "no thinking switch",
    };
    format!("{tools}, {thinking}")
}

fn licence(header: &GgufHeader, model: Option<&Model>) -> String {
    let stated = header.text("general.license").map(|licence| format!("{licence} (in the file)"));
    let listed = model.map(|model| format!("{} (in the list of models)", model.licence));
    let all: Vec<String> = stated.into_iter().chain(listed).collect();
    if all.is_empty() { "not stated".into() } else { all.join(", ") }
}

/// `98.4 MB`.
pub(super) fn bytes(bytes: u64) -> String {
    match bytes as f64 {
        bytes if bytes >= 1e9 => format!("{:.2} GB", bytes / 1e9),
        bytes if bytes >= 1e6 => format!("{:.1} MB", bytes / 1e6),
        bytes => format!("{:.1} kB", bytes / 1e3),
    }
}

/// `134.5 million`.
pub(super) fn count(number: u64) -> String {
    match number as f64 {
        number if number >= 1e9 => format!("{:.2} billion", number / 1e9),
        number if number >= 1e6 => format!("{:.1} million", number / 1e6),
        number => format!("{number}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SmolLM2-135M.
    fn facts() -> Facts {
        let sides = 576 + 576 + 576 + 192 + 576 + 192 + 576 + 576 + 3 * (576 + 1536);
        Facts {
            parameters: 134_515_008,
            weights: 96_600_000,
            largest: 576 * 49_152,
            layers: Some(30),
            hidden: Some(576),
            intermediate: Some(1536),
            query_heads: Some(9),
            kv_heads: Some(vec![3]),
            key: Some(64),
            value: Some(64),
            vocabulary: Some(49_152),
            adapter: 30 * RANK * sides,
        }
    }

    #[test]
    fn the_cache_grows_with_context_and_episodes() {
        // 30 layers, 3 heads, 64 numbers of a key and 64 of a value, 2 bytes each.
        let cell = 30 * 3 * 128 * 2;
        assert_eq!(facts().serving(100, 8192, 2), Some((cell, cell * 8192 * 2 + 100)));
        let each = Facts { kv_heads: Some([1, 2].repeat(15)), ..facts() };
        assert_eq!(each.serving(0, 1, 1), Some((45 * 128 * 2, 45 * 128 * 2)));
        assert_eq!(facts().serving(1, u64::MAX, 2), None);
        assert_eq!(Facts { layers: None, ..facts() }.serving(1, 1, 1), None);
    }

    /// Peak memory of peft with checkpointing was 2.27 GB, of fixfly at 2,048 tokens 1.36 GB
    /// with weights in f32 (0.54 GB instead of 0.1).
    #[test]
    fn training_takes_weights_adapter_and_activations() {
        let memory = facts().training().unwrap();
        assert!((1_000_000_000..2_000_000_000).contains(&memory), "{memory}");
        assert_eq!(Facts { adapter: 0, ..facts() }.training(), None);
        let huge = Facts { hidden: Some(u64::MAX / 2), ..facts() };
        assert_eq!(huge.training(), None);
    }

    #[test]
    fn the_matrices_of_layers_get_an_adapter() {
        let check = |name, expected| assert_eq!(is_adapted(name), expected, "{name}");
        check("blk.0.attn_q.weight", true);
        check("blk.11.ffn_down.weight", true);
        check("blk.0.attn_q.bias", false);
        check("blk.0.attn_norm.weight", false);
        check("token_embd.weight", false);
    }

    #[test]
    fn sizes_are_short() {
        let all = [999, 98_362_432, 1_500_000_000].map(bytes);
        assert_eq!(all, ["1.0 kB", "98.4 MB", "1.50 GB"]);
        let all = [12, 134_515_008, 1_543_714_304].map(count);
        assert_eq!(all, ["12", "134.5 million", "1.54 billion"]);
    }
}
