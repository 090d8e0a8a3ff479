//! Converts a `tokenizer.json` for llama.cpp. All supported families use byte-level BPE.

use std::fs;
use std::path::Path;

use candle_core::quantized::gguf_file::Value as Gguf;
use fixfly_runtime::{ChatTemplates, TokenizerFiles};
use serde_json::Value;

use super::pre::pre;
use crate::error::TrainError;

/// llama.cpp's token types.
const NORMAL: i32 = 1;
const CONTROL: i32 = 3;
const USER_DEFINED: i32 = 4;
const UNUSED: i32 = 5;

/// The named tokens of a GGUF file, and their names in `tokenizer_config.json`.
const NAMED: [(&str, &str); 4] = [
    ("bos", "bos_token"),
    ("eos", "eos_token"),
    ("padding", "pad_token"),
    ("unknown", "unk_token"),
];

/// The values of a GGUF file that describe the tokenizer.
pub(super) fn values(base: &Path, words: usize) -> Result<Vec<(String, Gguf)>, TrainError> {
    let file = base.join("tokenizer.json");
    let fault = |why: String| TrainError::Base(format!("{}: {why}", file.display()));
    let text = fs::read_to_string(&file).map_err(TrainError::io("read", &file))?;
    let tokenizer: Value = serde_json::from_str(&text).map_err(|why| fault(why.to_string()))?;
    let files = TokenizerFiles::beside(&file).map_err(TrainError::Base)?;
    let changed = files.changed(&tokenizer).map_err(TrainError::Base)?;
    let tokenizer = changed.unwrap_or(tokenizer);
    check(&tokenizer).map_err(fault)?;
    let tokens = tokens(&tokenizer, words).map_err(fault)?;
    let (text, texts) =
        (Gguf::String, |all: Vec<String>| Gguf::Array(all.into_iter().map(Gguf::String).collect()));
    let mut values = vec![
        ("tokenizer.ggml.model".into(), text("gpt2".into())),
        ("tokenizer.ggml.pre".into(), text(pre(&tokenizer).map_err(fault)?)),
        (
            "tokenizer.ggml.token_type".into(),
            Gguf::Array(tokens.iter().map(|(_, kind)| Gguf::I32(*kind)).collect()),
        ),
        ("tokenizer.ggml.merges".into(), texts(merges(&tokenizer))),
    ];
    let around = Around::read(&tokenizer, &files).map_err(fault)?;
    let id = |token: &str| tokens.iter().position(|(other, _)| other == token);
    for (name, key) in NAMED {
        let token = files.named().get(key).or(match name {
            "bos" => around.before.as_ref(),
            "eos" => around.after.as_ref(),
            _ => None,
        });
        if let Some(id) = token.and_then(|token| id(token)) {
            values.push((format!("tokenizer.ggml.{name}_token_id"), Gguf::U32(id as u32)));
        }
    }
    let begins = around.before.is_some();
    values.push(("tokenizer.ggml.add_bos_token".into(), Gguf::Bool(begins)));
    if around.after.is_some() {
        values.push(("tokenizer.ggml.add_eos_token".into(), Gguf::Bool(true)));
    }
    if let Some(ChatTemplates { default, tool_use, .. }) =
        files.templates().map_err(TrainError::Base)?
    {
        values.push(("tokenizer.chat_template".into(), text(default)));
        if let Some(tool_use) = tool_use {
            values.push(("tokenizer.chat_templates".into(), texts(vec!["tool_use".into()])));
            values.push(("tokenizer.chat_template.tool_use".into(), text(tool_use)));
        }
    }
    let names = tokens.into_iter().map(|(token, _)| token).collect();
    values.push(("tokenizer.ggml.tokens".into(), texts(names)));
    Ok(values)
}

/// Refuses what llama.cpp's byte-level BPE does not do.
fn check(tokenizer: &Value) -> Result<(), String> {
    let model = &tokenizer["model"];
    let kind = model["type"].as_str().unwrap_or("BPE");
    if kind != "BPE" || !model["vocab"].is_object() || !model["merges"].is_array() {
        let kind = if kind == "BPE" { "unknown" } else { kind };
        return Err(format!(
            "its model is {kind}, and only byte-level BPE can be exported to GGUF; convert it with llama.cpp's convert_hf_to_gguf.py"
        ));
    }
    for name in ["continuing_subword_prefix", "end_of_word_suffix"] {
        if model[name].as_str().is_some_and(|part| !part.is_empty()) {
            return Err(format!("its model has {name} {}, which llama.cpp lacks", model[name]));
        }
    }
    if model["byte_fallback"] == Value::Bool(true) {
        return Err("its model has byte_fallback true, which llama.cpp's byte-level BPE lacks; convert it with llama.cpp's convert_hf_to_gguf.py".into());
    }
    if let Some(kind) = normalizer(&tokenizer["normalizer"]) {
        return Err(format!("its normalizer is {kind}, and llama.cpp applies none"));
    }
    for token in tokenizer["added_tokens"].as_array().into_iter().flatten() {
        for flag in ["lstrip", "rstrip", "single_word"] {
            if token[flag] == Value::Bool(true) {
                return Err(format!(
                    "the token {} has {flag} true, which llama.cpp does not apply; set it to false, train, and export again",
                    token["content"]
                ));
            }
        }
    }
    Ok(())
}

/// The type of a normalizer that changes text as people write it; NFC does not.
fn normalizer(normalizer: &Value) -> Option<String> {
    match normalizer["type"].as_str()? {
        "NFC" => None,
        "Sequence" => normalizer["normalizers"].as_array()?.iter().find_map(self::normalizer),
        kind => Some(kind.into()),
    }
}

/// The text and the type of each token.
fn tokens(tokenizer: &Value, words: usize) -> Result<Vec<(String, i32)>, String> {
    let mut tokens: Vec<_> = (0..words).map(|at| (format!("[PAD{at}]"), UNUSED)).collect();
    let mut put = |token: &str, id: Option<u64>, kind: i32| {
        let id = id.and_then(|id| usize::try_from(id).ok()).filter(|id| *id < words);
        let id = id.ok_or_else(|| {
            format!("token {token:?} is outside the model's vocabulary of {words}")
        })?;
        tokens[id] = (token.to_string(), kind);
        Ok::<_, String>(())
    };
    for (token, id) in tokenizer["model"]["vocab"].as_object().into_iter().flatten() {
        put(token, id.as_u64(), NORMAL)?;
    }
    for added in tokenizer["added_tokens"].as_array().into_iter().flatten() {
        let kind = if added["special"] == Value::Bool(true) { CONTROL } else { USER_DEFINED };
        put(added["content"].as_str().unwrap_or_default(), added["id"].as_u64(), kind)?;
    }
    Ok(tokens)
}

fn merges(tokenizer: &Value) -> Vec<String> {
    let pair = |merge: &Value| match merge {
        Value::String(both) => Some(both.clone()),
        Value::Array(both) => {
            Some(format!("{} {}", both.first()?.as_str()?, both.get(1)?.as_str()?))
        }
        _ => None,
    };
    tokenizer["model"]["merges"].as_array().into_iter().flatten().filter_map(pair).collect()
}

/// The tokens that the tokenizer adds around a text.
#[derive(Debug, Default, PartialEq)]
struct Around {
    before: Option<String>,
    after: Option<String>,
}

impl Around {
    /// What the post-processor adds; `add_bos_token` and `add_eos_token` override it.
    fn read(tokenizer: &Value, files: &TokenizerFiles) -> Result<Around, String> {
        let processor = &tokenizer["post_processor"];
        let all =
            processor["processors"].as_array().map_or(std::slice::from_ref(processor), |all| all);
        let mut around = Around::default();
        for one in all {
            match one["type"].as_str() {
                None | Some("ByteLevel") => {}
                Some("TemplateProcessing") => around.template(&one["single"])?,
                Some(kind) => {
                    return Err(format!(
                        "its post_processor is {kind}, and llama.cpp has only a token before and one after a text"
                    ));
                }
            }
        }
        let config = files.config();
        let named = |key: &str, token: &str| {
            let token = files.named().get(token).cloned();
            match (config[key].as_bool(), token) {
                (Some(true), None) => {
                    Err(format!("tokenizer_config.json has {key} true, and names no such token"))
                }
                (Some(true), token) => Ok(Some(token)),
                (Some(false), _) => Ok(Some(None)),
                (None, _) => Ok(None),
            }
        };
        if let Some(before) = named("add_bos_token", "bos_token")? {
            around.before = before;
        }
        if let Some(after) = named("add_eos_token", "eos_token")? {
            around.after = after;
        }
        for (token, key) in [(&around.before, "bos_token"), (&around.after, "eos_token")] {
            if let (Some(token), Some(named)) = (token, files.named().get(key))
                && token != named
            {
                return Err(format!(
                    "its post_processor adds {token:?}, but llama.cpp would add the {key}, {named:?}"
                ));
            }
        }
        Ok(around)
    }

    fn template(&mut self, single: &Value) -> Result<(), String> {
        let mut inside = false;
        for piece in single.as_array().into_iter().flatten() {
            let Some(token) = piece["SpecialToken"]["id"].as_str() else {
                inside = true;
                continue;
            };
            let place = if inside { &mut self.after } else { &mut self.before };
            if place.replace(token.to_string()).is_some() {
                return Err("its post_processor adds several tokens on one side of a text, and llama.cpp adds one".into());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check_refused(change: Value, expected: &str) {
        let mut tokenizer = json!({
            "model": {"type": "BPE", "vocab": {"a": 0}, "merges": [], "dropout": null,
                "byte_fallback": false, "end_of_word_suffix": null},
            "normalizer": {"type": "NFC"},
            "added_tokens": [{"id": 0, "content": "a", "lstrip": false}],
        });
        assert_eq!(check(&tokenizer), Ok(()));
        for (path, value) in change.as_object().unwrap() {
            *tokenizer.pointer_mut(path).unwrap() = value.clone();
        }
        let why = check(&tokenizer).unwrap_err();
        assert!(why.contains(expected), "{why}");
    }

    #[test]
    fn what_llama_cpp_does_not_do_is_refused_by_name() {
        check_refused(json!({"/model/type": "Unigram"}), "its model is Unigram");
        check_refused(json!({"/model/type": "WordPiece"}), "its model is WordPiece");
        check_refused(json!({"/model/type": "WordLevel"}), "its model is WordLevel");
        check_refused(json!({"/model/vocab": []}), "its model is unknown");
        check_refused(json!({"/model/byte_fallback": true}), "byte_fallback true");
        check_refused(json!({"/model/end_of_word_suffix": "</w>"}), "end_of_word_suffix \"</w>\"");
        check_refused(json!({"/normalizer": {"type": "Lowercase"}}), "normalizer is Lowercase");
        let sequence = json!([{"type": "NFC"}, {"type": "Prepend", "prepend": "_"}]);
        check_refused(
            json!({"/normalizer": {"type": "Sequence", "normalizers": sequence}}),
            "normalizer is Prepend",
        );
        check_refused(json!({"/added_tokens/0/lstrip": true}), "the token \"a\" has lstrip true");
    }

    #[track_caller]
    fn check_around(processor: Value, config: Value, expected: Result<[Option<&str>; 2], &str>) {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("tokenizer_config.json"), config.to_string()).unwrap();
        let files = TokenizerFiles::beside(&folder.path().join("tokenizer.json")).unwrap();
        let around = Around::read(&json!({"post_processor": processor}), &files);
        match (around, expected) {
            (Err(why), Err(expected)) => assert!(why.contains(expected), "{why}"),
            (around, expected) => {
                let expected = expected.unwrap().map(|token| token.map(String::from));
                let [before, after] = expected;
                assert_eq!(around, Ok(Around { before, after }));
            }
        }
    }

    #[test]
    fn tokens_around_a_text_are_those_of_the_processor_and_the_configuration() {
        let token = |id: &str| json!({"SpecialToken": {"id": id, "type_id": 0}});
        let text = json!({"Sequence": {"id": "A", "type_id": 0}});
        let template = |single: Vec<Value>| json!({"type": "TemplateProcessing", "single": single});
        let begins = template(vec![token("<s>"), text.clone()]);
        let bytes = json!({"type": "ByteLevel"});
        let both = json!({"type": "Sequence", "processors": [bytes, begins]});
        let ends = template(vec![text.clone(), token("</s>")]);
        check_around(Value::Null, Value::Null, Ok([None, None]));
        check_around(bytes.clone(), Value::Null, Ok([None, None]));
        check_around(both.clone(), Value::Null, Ok([Some("<s>"), None]));
        check_around(ends, Value::Null, Ok([None, Some("</s>")]));
        check_around(both.clone(), json!({"add_bos_token": false}), Ok([None, None]));
        let add = json!({"add_bos_token": true, "bos_token": {"content": "<b>"}});
        check_around(bytes.clone(), add, Ok([Some("<b>"), None]));
        let add = json!({"add_eos_token": true, "eos_token": "<e>"});
        check_around(bytes, add, Ok([None, Some("<e>")]));
        check_around(
            Value::Null,
            json!({"add_bos_token": true}),
            Err("add_bos_token true, and names no"),
        );
        check_around(both, json!({"bos_token": "<other>"}), Err("adds \"<s>\", but llama.cpp"));
        let many = template(vec![token("<s>"), token("<lang>"), text]);
        check_around(many, Value::Null, Err("several tokens on one side"));
        check_around(json!({"type": "BertProcessing"}), Value::Null, Err("is BertProcessing"));
    }
}
