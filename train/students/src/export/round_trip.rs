//! A tokenizer that was exported to a GGUF file and read from it again.

use std::fs;
use std::path::Path;

use fixfly_runtime::TokenizerFiles;
use serde_json::{Value, json};
use tokenizers::Tokenizer;

use super::{ExportDtype, gguf_model};
use crate::init::RandomInit;

const PROBE: &str = include_str!("probe.txt");
const CHAT: &str =
    "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\nok";

/// A model whose tokenizer was trained on the probe.
fn base(folder: &Path) {
    let init = RandomInit {
        hidden_size: 8,
        num_hidden_layers: 1,
        num_attention_heads: 2,
        num_key_value_heads: 1,
        intermediate_size: 8,
        vocab_size: 600,
        max_position_embeddings: 64,
        rope_theta: 10_000.0,
        seed: 1,
    };
    let lines = || PROBE.lines().map(String::from);
    init.write(lines().chain(lines()), folder).unwrap();
}

#[test]
fn an_exported_tokenizer_gives_the_same_tokens_when_it_is_read_from_the_gguf_file() {
    let folder = tempfile::tempdir().unwrap();
    let [model, file] = ["model", "model.gguf"].map(|name| folder.path().join(name));
    base(&model);
    fs::create_dir(model.join("additional_chat_templates")).unwrap();
    fs::write(model.join("additional_chat_templates/tool_use.jinja"), "{{ tools }}").unwrap();
    let own = model.join("tokenizer.json");
    let trained: Value = serde_json::from_str(&fs::read_to_string(&own).unwrap()).unwrap();
    let published = include_str!("../goldens/pre_tokenizers.json");
    let published: Vec<Value> = serde_json::from_str(published).unwrap();
    let named = published.iter().filter(|one| one["name"].is_string());
    let mut seen = 0;
    for one in named {
        let mut tokenizer = trained.clone();
        tokenizer["pre_tokenizer"] = one["pre_tokenizer"].clone();
        tokenizer["model"]["ignore_merges"] = one["ignore_merges"].clone();
        // llama.cpp applies none, and the probe has letters that NFC composes.
        tokenizer["normalizer"] = Value::Null;
        let end = json!({"SpecialToken": {"id": "<|im_end|>", "type_id": 0}});
        let id = trained["added_tokens"].as_array().unwrap().iter();
        let id = id.filter(|token| token["content"] == "<|im_end|>").map(|token| &token["id"]);
        tokenizer["post_processor"] = json!({
            "type": "TemplateProcessing",
            "single": [{"Sequence": {"id": "A", "type_id": 0}}, end],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, end,
                {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"<|im_end|>": {"id": "<|im_end|>",
                "ids": id.collect::<Vec<_>>(), "tokens": ["<|im_end|>"]}},
        });
        fs::write(&own, tokenizer.to_string()).unwrap();
        gguf_model(&model, &file, ExportDtype::F32).unwrap();
        let [before, after] = [&own, &file].map(|from| {
            let files = TokenizerFiles::beside(from).unwrap();
            (Tokenizer::from_bytes(files.text().unwrap()).unwrap(), files)
        });
        for (text, around) in [(PROBE, false), (PROBE, true), (CHAT, false), (CHAT, true)] {
            let tokens = |tokenizer: &Tokenizer| {
                tokenizer.encode_fast(text, around).unwrap().get_ids().to_vec()
            };
            assert_eq!(tokens(&before.0), tokens(&after.0), "{:?}", one["name"]);
        }
        assert_eq!(before.1.named(), after.1.named());
        let templates = |files: &TokenizerFiles| {
            let templates = files.templates().unwrap().unwrap();
            (templates.default, templates.tool_use.unwrap())
        };
        assert_eq!(templates(&before.1), templates(&after.1));
        seen += 1;
    }
    assert_eq!(seen, 12);
}
