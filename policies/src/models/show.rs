//! What a GGUF file contains, and the memory that it needs.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use fixfly_runtime::{GgufHeader, KvSizes};

use super::catalogue::Model;
use super::error::ModelError;

/// Width of the labels.
const LABEL: usize = 15;
/// Bytes of a number of the key-value cache (f16).
const CACHED: u64 = 2;
const NAMED: [&str; 4] = ["bos", "eos", "unknown", "padding"];

/// Describes a file in lines of a label and a value. `model` is the file's entry in the
/// table of models, if it has one; `episodes` share one loaded model. `training` is what
/// `fixfly train` says: bytes of memory, or why it refuses the model; `None` in builds
/// without it.
///
/// # Errors
/// [`ModelError::Gguf`] if the file is not GGUF or is cut off; [`ModelError::Io`].
pub fn show(
    file: &Path,
    model: Option<&Model>,
    episodes: u64,
    training: Option<Result<u64, String>>,
) -> Result<String, ModelError> {
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
        lines.push(("to train", to_train(training)));
    }
    // A text of the file must not look like a line of its own.
    let one_line = |value: &str| value.replace('\n', "\\n").replace('\r', "\\r");
    let line = |(label, value): &(&str, String)| format!("{label:LABEL$}{}\n", one_line(value));
    Ok(lines.iter().map(line).collect())
}

fn to_train(memory: Option<Result<u64, String>>) -> String {
    match memory {
        Some(Ok(all)) => {
            format!("about {} with `fixfly train lora --target all` and its defaults", bytes(all))
        }
        Some(Err(why)) => format!("not possible here: {why}"),
        None => "unknown: this fixfly was built without train".into(),
    }
}

/// The sizes of a model.
#[derive(Debug, Default)]
struct Facts {
    parameters: u64,
    layers: Option<u64>,
    hidden: Option<u64>,
    intermediate: Option<u64>,
    query_heads: Option<u64>,
    /// Key-value heads of each layer, or of all if there is one number.
    kv_heads: Option<Vec<u64>>,
    kv: Option<KvSizes>,
}

impl Facts {
    fn of(header: &GgufHeader) -> Facts {
        let fact = |name: &str| header.fact(name).ok();
        let query_heads = fact("attention.head_count");
        let architecture = header.architecture().unwrap_or_default();
        let kv_heads = header.numbers(&format!("{architecture}.attention.head_count_kv"));
        let values = header.tensors().values().map(|tensor| tensor.elements().unwrap_or(0));
        Facts {
            parameters: values.fold(0, u64::saturating_add),
            layers: fact("block_count"),
            hidden: fact("embedding_length"),
            intermediate: fact("feed_forward_length"),
            kv_heads: kv_heads.or_else(|| query_heads.map(|heads| vec![heads])),
            query_heads,
            kv: header.kv_sizes().ok(),
        }
    }

    fn heads(&self) -> Option<String> {
        let (heads, size) = (self.query_heads?, self.kv?.key);
        let mut kept = self.kv_heads.clone()?;
        kept.sort_unstable();
        kept.dedup();
        let kept = match kept[..] {
            [] => return None,
            [one] => one.to_string(),
            [first, .., last] => format!("{first} to {last}"),
        };
        Some(format!("{heads} of size {size}; for keys and values {kept}"))
    }

    /// Bytes of one token in the key-value cache, and of all.
    fn serving(&self, size: u64, context: u64, episodes: u64) -> Option<(u64, u64)> {
        let cell = self.kv?.numbers().checked_mul(CACHED)?;
        let all = cell.checked_mul(context)?.checked_mul(episodes)?.checked_add(size)?;
        cell.checked_mul(1000).map(|_| (cell, all))
    }
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
        Facts {
            parameters: 134_515_008,
            layers: Some(30),
            hidden: Some(576),
            intermediate: Some(1536),
            query_heads: Some(9),
            kv_heads: Some(vec![3]),
            kv: Some(KvSizes { heads: 90, key: 64, value: 64 }),
        }
    }

    #[test]
    fn the_cache_grows_with_context_and_episodes() {
        // 30 layers, 3 heads, 64 numbers of a key and 64 of a value, 2 bytes each.
        let cell = 30 * 3 * 128 * 2;
        assert_eq!(facts().serving(100, 8192, 2), Some((cell, cell * 8192 * 2 + 100)));
        assert_eq!(facts().serving(1, u64::MAX, 2), None);
        let huge = KvSizes { heads: u64::MAX, key: 64, value: 64 };
        assert_eq!(Facts { kv: Some(huge), ..facts() }.serving(1, 1, 1), None);
        assert_eq!(Facts { kv: None, ..facts() }.serving(1, 1, 1), None);
    }

    #[test]
    fn heads_that_differ_between_layers_are_a_range() {
        let heads = |kv_heads: &[u64]| Facts { kv_heads: Some(kv_heads.into()), ..facts() }.heads();
        let said = |kept: &str| Some(format!("9 of size 64; for keys and values {kept}"));
        assert_eq!(heads(&[3]), said("3"));
        assert_eq!(heads(&[4, 1, 2, 4]), said("1 to 4"));
        assert_eq!(heads(&[]), None);
    }

    #[test]
    fn sizes_are_short() {
        let all = [999, 98_362_432, 1_500_000_000].map(bytes);
        assert_eq!(all, ["1.0 kB", "98.4 MB", "1.50 GB"]);
        let all = [12, 134_515_008, 1_543_714_304].map(count);
        assert_eq!(all, ["12", "134.5 million", "1.54 billion"]);
    }
}
