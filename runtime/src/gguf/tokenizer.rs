//! The tokenizer of a GGUF file as a Hugging Face `tokenizer.json` that gives the tokens of
//! llama.cpp.
//!
//! llama.cpp looks for its special tokens one after the other, the longest first; Hugging
//! Face looks for all of them from left to right. The tokens differ only where two special
//! tokens overlap in a text.

use std::collections::{BTreeMap, HashSet};

use serde_json::{Map, Value as Json, json};

use super::error::GgufError;
use super::header::{GgufHeader, GgufValue};
use super::pre::PreRule;

const MODEL: &str = "tokenizer.ggml.model";
const PRE: &str = "tokenizer.ggml.pre";
const TOKENS: &str = "tokenizer.ggml.tokens";
const TYPES: &str = "tokenizer.ggml.token_type";
const MERGES: &str = "tokenizer.ggml.merges";

/// llama.cpp's types of tokens that are found whole in a text.
const UNKNOWN: u64 = 2;
const CONTROL: u64 = 3;
const USER_DEFINED: u64 = 4;

/// The names of transformers, and those of a GGUF file's `tokenizer.ggml.NAME_token_id`.
const NAMED: [(&str, &str); 7] = [
    ("bos_token", "bos"),
    ("eos_token", "eos"),
    ("unk_token", "unknown"),
    ("sep_token", "seperator"),
    ("pad_token", "padding"),
    ("cls_token", "cls"),
    ("mask_token", "mask"),
];

/// Texts that llama.cpp treats as control tokens, whatever their type is (`llama-vocab.cpp`).
const CONTROLS: [&str; 57] = [
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<|flush|>",
    "<|calls|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "</s>",
    "<|eom_id|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "<|end_of_text|>",
    "<end_of_utterance>",
    "<eos>",
    "<turn|>",
    "<|tool_response>",
    "<｜end▁of▁sentence｜>",
    "[e~[",
    "<|fim_prefix|>",
    "<fim-prefix>",
    "<fim_prefix>",
    "<｜fim▁begin｜>",
    "<PRE>",
    "▁<PRE>",
    "<|code_prefix|>",
    "<|prefix|>",
    "<|fim_suffix|>",
    "<fim-suffix>",
    "<fim_suffix>",
    "<｜fim▁hole｜>",
    "<SUF>",
    "▁<SUF>",
    "<|code_suffix|>",
    "<|suffix|>",
    "<|fim_middle|>",
    "<fim-middle>",
    "<fim_middle>",
    "<｜fim▁end｜>",
    "<MID>",
    "▁<MID>",
    "<|code_middle|>",
    "<|middle|>",
    "<|fim_pad|>",
    "<fim-pad>",
    "<fim_pad>",
    "<PAD>",
    "<|fim_repo|>",
    "<fim-repo>",
    "<|repo_name|>",
    "<REPO>",
    "<reponame>",
    "[PAD]",
    "<|file_sep|>",
];

/// A `tokenizer.json` that gives the tokens of llama.cpp, with special tokens found in text.
///
/// # Errors
/// [`GgufError`] if the file has no tokenizer, or one that fixfly cannot express: only
/// byte-level BPE with a known `tokenizer.ggml.pre` can be.
pub fn tokenizer_json(header: &GgufHeader) -> Result<Json, GgufError> {
    if header.texts(TOKENS).is_none_or(<[String]>::is_empty) {
        return Err(GgufError::NoTokenizer(header.file().into()));
    }
    made(header).map_err(|why| GgufError::Tokenizer { file: header.file().into(), why })
}

impl GgufHeader {
    /// The named special tokens by the names of transformers, such as `bos_token`.
    pub fn named_tokens(&self) -> BTreeMap<String, String> {
        let token = |(name, key): (&str, &str)| {
            let token = self.token(&format!("tokenizer.ggml.{key}_token_id"))?;
            Some((name.to_string(), token.to_string()))
        };
        NAMED.into_iter().filter_map(token).filter(|(_, token)| !token.is_empty()).collect()
    }
}

fn made(header: &GgufHeader) -> Result<Json, String> {
    let convert = "use the model's tokenizer.json, or its Hugging Face folder as the base";
    match header.text(MODEL) {
        Some("gpt2") => {}
        Some(kind) => {
            let kind = if kind == "llama" { "llama (SentencePiece)" } else { kind };
            return Err(format!(
                "its tokenizer is of the kind {kind}, and fixfly reads only byte-level BPE (`gpt2`) from a GGUF file; {convert}"
            ));
        }
        None => return Err(format!("its header has no `{MODEL}`; {convert}")),
    }
    let name = header.text("general.name").unwrap_or_default().to_lowercase();
    if name.contains("phi-3") || name.contains("phi3") {
        return Err(format!(
            "by its name it is a Phi-3, whose special tokens llama.cpp treats otherwise; {convert}"
        ));
    }
    let pre = header.text(PRE).ok_or_else(|| {
        format!("its header has no `{PRE}`: it was converted by an old llama.cpp; convert it again, or {convert}")
    })?;
    let rule = PreRule::find(pre)?;
    let tokens = tokens(header)?;
    let vocab = vocab(&tokens)?;
    let merges = merges(header, &vocab)?;
    Ok(json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": added(header, &tokens)?,
        // llama.cpp applies none.
        "normalizer": null,
        "pre_tokenizer": rule.pre_tokenizer(),
        "post_processor": around(header, rule.adds_bos.iter().any(|one| one == pre))?,
        "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true,
            "use_regex": true},
        "model": {
            "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false,
            "ignore_merges": rule.ignore_merges, "vocab": vocab, "merges": merges,
        },
    }))
}

/// The text of each token. llama.cpp gives names to empty ones.
fn tokens(header: &GgufHeader) -> Result<Vec<String>, String> {
    let all = header.texts(TOKENS).unwrap_or_default();
    if u32::try_from(all.len()).is_err() {
        return Err(format!("it has {} tokens", all.len()));
    }
    let named = |(at, token): (usize, &String)| match token.is_empty() {
        true => format!("[EMPTY_{at}]"),
        false => token.clone(),
    };
    Ok(all.iter().enumerate().map(named).collect())
}

fn vocab(tokens: &[String]) -> Result<Map<String, Json>, String> {
    let mut vocab = Map::new();
    for (at, token) in tokens.iter().enumerate() {
        if let Some(first) = vocab.insert(token.clone(), json!(at)) {
            return Err(format!(
                "its tokens {first} and {at} are both {token:?}; convert the model again"
            ));
        }
    }
    Ok(vocab)
}

fn merges(header: &GgufHeader, vocab: &Map<String, Json>) -> Result<Vec<Json>, String> {
    let all = header.texts(MERGES).ok_or_else(|| {
        format!("its header has no `{MERGES}`, which byte-level BPE needs; convert the model again")
    })?;
    let mut merges = Vec::new();
    // Of equal merges, llama.cpp takes the first and `tokenizers` the last.
    let mut seen = HashSet::new();
    for (at, merge) in all.iter().enumerate() {
        let space = merge.char_indices().skip(1).find(|(_, letter)| *letter == ' ');
        let (left, right) = space.map_or((&**merge, ""), |(at, _)| merge.split_at(at));
        let right = right.strip_prefix(' ').unwrap_or(right);
        let whole = format!("{left}{right}");
        if let Some(lacking) =
            [left, right, &whole].into_iter().find(|one| !vocab.contains_key(*one))
        {
            return Err(format!(
                "its merge {at} ({merge:?}) needs the token {lacking:?}, which its vocabulary lacks; convert the model again"
            ));
        }
        if seen.insert(merge) {
            merges.push(json!([left, right]));
        }
    }
    Ok(merges)
}

/// The tokens that are found whole in a text.
fn added(header: &GgufHeader, tokens: &[String]) -> Result<Vec<Json>, String> {
    let types = match header.value(TYPES) {
        None => &[],
        Some(GgufValue::Numbers(types)) if types.len() >= tokens.len() => &**types,
        Some(_) => return Err(format!("`{TYPES}` is no list with a type for each token")),
    };
    let normal_end = tokens.iter().any(|one| one == "<|tool_response>" || one == "<|plamo:eos|>");
    let mut added = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        let kind = types.get(at).map_or(1, |kind| *kind as u64);
        let kind = match token.as_str() {
            "</s>" if normal_end => continue,
            text if CONTROLS.contains(&text) => CONTROL,
            _ => kind,
        };
        if matches!(kind, UNKNOWN | CONTROL | USER_DEFINED) {
            added.push(json!({
                "id": at, "content": token, "special": kind != USER_DEFINED, "single_word": false,
                "lstrip": false, "rstrip": false, "normalized": false,
            }));
        }
    }
    Ok(added)
}

/// The post-processor: the tokens that begin and end a text where special tokens are asked
/// for.
fn around(header: &GgufHeader, adds_bos: bool) -> Result<Json, String> {
    let named = |name: &str, default: bool| {
        let key = format!("tokenizer.ggml.add_{name}_token");
        let (key, id) = (&key, format!("tokenizer.ggml.{name}_token_id"));
        match header.flag(key).unwrap_or(default) {
            false => Ok(None),
            true => match (header.number(&id), header.token(&id)) {
                (Some(id), Some(token)) => Ok(Some((id, token))),
                _ => Err(format!(
                    "a text shall have the token `{name}` around it (`{key}`), and its header has no `{id}`; convert the model again"
                )),
            },
        }
    };
    let (before, after) = (named("bos", adds_bos)?, named("eos", false)?);
    if before.is_none() && after.is_none() {
        return Ok(json!({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": false,
            "use_regex": true}));
    }
    let special = |kind: u64| move |(_, token): (u64, &str)| json!({"SpecialToken": {"id": token, "type_id": kind}});
    let text = |name: &str, kind: u64| {
        let sequence = json!({"Sequence": {"id": name, "type_id": kind}});
        let begin = before.map(special(kind)).into_iter();
        begin.chain([sequence]).chain(after.map(special(kind))).collect::<Vec<_>>()
    };
    let tokens = [before, after].into_iter().flatten().map(|(id, token)| {
        (token.to_string(), json!({"id": token, "ids": [id], "tokens": [token]}))
    });
    let single = text("A", 0);
    let pair = [single.clone(), text("B", 1)].concat();
    Ok(json!({"type": "TemplateProcessing", "single": single, "pair": pair,
        "special_tokens": tokens.collect::<Map<_, _>>()}))
}

#[cfg(test)]
mod tests;
