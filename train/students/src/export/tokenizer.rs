//! Converts a `tokenizer.json` for llama.cpp. All supported families use byte-level BPE.

use std::fs;
use std::path::Path;

use candle_core::quantized::gguf_file::Value as Gguf;
use serde_json::Value;

use crate::error::TrainError;

/// llama.cpp's token types.
const NORMAL: i32 = 1;
const CONTROL: i32 = 3;
const USER_DEFINED: i32 = 4;
const UNUSED: i32 = 5;

/// The values of a GGUF file that describe the tokenizer.
pub(super) fn values(base: &Path, words: usize) -> Result<Vec<(String, Gguf)>, TrainError> {
    let file = base.join("tokenizer.json");
    let fault = |why: &str| TrainError::Base(format!("{}: {why}", file.display()));
    let text = fs::read_to_string(&file).map_err(TrainError::io("read", &file))?;
    let tokenizer: Value = serde_json::from_str(&text).map_err(|why| fault(&why.to_string()))?;
    let model = &tokenizer["model"];
    let map =
        model["vocab"].as_object().ok_or_else(|| fault("the tokenizer is not byte-level BPE"))?;
    let mut tokens: Vec<_> = (0..words).map(|at| (format!("[PAD{at}]"), UNUSED)).collect();
    let mut put = |token: &str, id: Option<u64>, kind: i32| {
        let id = id.and_then(|id| usize::try_from(id).ok()).filter(|id| *id < words);
        let id = id.ok_or_else(|| {
            fault(&format!("token {token:?} is outside the model's vocabulary of {words}"))
        })?;
        tokens[id] = (token.to_string(), kind);
        Ok::<_, TrainError>(())
    };
    for (token, id) in map {
        put(token, id.as_u64(), NORMAL)?;
    }
    for added in tokenizer["added_tokens"].as_array().into_iter().flatten() {
        let kind = if added["special"] == Value::Bool(true) { CONTROL } else { USER_DEFINED };
        put(added["content"].as_str().unwrap_or_default(), added["id"].as_u64(), kind)?;
    }
    let merges: Vec<String> = model["merges"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|merge| match merge {
            Value::String(both) => Some(both.clone()),
            Value::Array(both) => {
                Some(format!("{} {}", both.first()?.as_str()?, both.get(1)?.as_str()?))
            }
            _ => None,
        })
        .collect();
    let pre = pre(&tokenizer["pre_tokenizer"])
        .ok_or_else(|| fault("llama.cpp does not support its pre_tokenizer"))?;
    let id = |token: &str| tokens.iter().position(|(other, _)| other == token);
    let (text, texts) =
        (Gguf::String, |all: Vec<String>| Gguf::Array(all.into_iter().map(Gguf::String).collect()));
    let mut values = vec![
        ("tokenizer.ggml.model".into(), text("gpt2".into())),
        ("tokenizer.ggml.pre".into(), text(pre.into())),
        (
            "tokenizer.ggml.token_type".into(),
            Gguf::Array(tokens.iter().map(|(_, kind)| Gguf::I32(*kind)).collect()),
        ),
        ("tokenizer.ggml.merges".into(), texts(merges)),
    ];
    let config = json(&base.join("tokenizer_config.json"));
    for (name, key) in [("bos", "bos_token"), ("eos", "eos_token"), ("padding", "pad_token")] {
        let token = config[key].as_str().or_else(|| config[key]["content"].as_str());
        if let Some(id) = token.and_then(id) {
            values.push((format!("tokenizer.ggml.{name}_token_id"), Gguf::U32(id as u32)));
        }
    }
    let begins = config["add_bos_token"].as_bool().unwrap_or_else(|| begins(&tokenizer));
    values.push(("tokenizer.ggml.add_bos_token".into(), Gguf::Bool(begins)));
    let template = fs::read_to_string(base.join("chat_template.jinja")).ok();
    let template = template.or_else(|| config["chat_template"].as_str().map(String::from));
    if let Some(template) = template {
        values.push(("tokenizer.chat_template".into(), text(template)));
    }
    let names = tokens.into_iter().map(|(token, _)| token).collect();
    values.push(("tokenizer.ggml.tokens".into(), texts(names)));
    Ok(values)
}

fn json(file: &Path) -> Value {
    let text = fs::read_to_string(file).unwrap_or_default();
    serde_json::from_str(&text).unwrap_or_default()
}

/// llama.cpp's name of a pre-tokenizer. Each family's pattern contains a part that the
/// others lack.
fn pre(pre_tokenizer: &Value) -> Option<&'static str> {
    let said = pre_tokenizer.to_string();
    let has = |part: &str| said.contains(part);
    if has(r"\\p{Lu}\\p{Lt}") {
        Some("tekken")
    } else if has(r"\\p{N}{1,3}") {
        Some("llama-bpe")
    } else if has(r"|\\p{N}|") {
        Some("qwen2")
    } else if has("ByteLevel") && !has(r#""use_regex":false"#) && !has("Split") {
        Some("gpt-2")
    } else {
        None
    }
}

/// Whether the tokenizer adds a token at the beginning of a text.
fn begins(tokenizer: &Value) -> bool {
    let processor = &tokenizer["post_processor"];
    let all =
        processor["processors"].as_array().cloned().unwrap_or_else(|| vec![processor.clone()]);
    all.iter().any(|one| one["single"][0].get("SpecialToken").is_some())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(pre_tokenizer: Value, expected: Option<&str>) {
        assert_eq!(pre(&pre_tokenizer), expected);
    }

    #[test]
    fn words_are_cut_as_the_families_cut_them() {
        let split = |regex: &str| {
            json!({"type": "Sequence", "pretokenizers": [
                {"type": "Split", "pattern": {"Regex": regex}}, {"type": "ByteLevel", "use_regex": false},
            ]})
        };
        let qwen = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*";
        check(split(qwen), Some("qwen2"));
        check(split(&qwen.replace(r"|\p{N}|", r"|\p{N}{1,3}|")), Some("llama-bpe"));
        check(
            split(r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?"),
            Some("tekken"),
        );
        check(json!({"type": "ByteLevel", "use_regex": true}), Some("gpt-2"));
        check(json!({"type": "Metaspace"}), None);
    }

    #[test]
    fn a_text_begins_with_a_token_where_the_processor_says_so() {
        let single = json!([{"SpecialToken": {"id": "<s>"}}, {"Sequence": {"id": "A"}}]);
        assert!(begins(
            &json!({"post_processor": {"processors": [{"type": "ByteLevel"}, {"single": single}]}})
        ));
        assert!(!begins(&json!({"post_processor": {"type": "ByteLevel"}})));
        assert!(!begins(&json!({"post_processor": null})));
    }
}
