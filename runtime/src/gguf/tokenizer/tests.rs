use std::path::Path;

use super::*;

/// A vocabulary of a few letters.
fn header() -> GgufHeader {
    let texts = |all: &[&str]| GgufValue::Texts(all.iter().map(ToString::to_string).collect());
    let text = |text: &str| GgufValue::Text(text.into());
    let values = [
        (MODEL, text("gpt2")),
        (PRE, text("smollm")),
        (TOKENS, texts(&["<|im_start|>", "<|im_end|>", "<think>", "a", "b", "ab", "", "[PAD7]"])),
        (TYPES, GgufValue::Numbers([3, 1, 4, 1, 1, 1, 1, 5].map(f64::from).into())),
        (MERGES, texts(&["a b", "a b"])),
        ("tokenizer.ggml.bos_token_id", GgufValue::Unsigned(0)),
        ("tokenizer.ggml.eos_token_id", GgufValue::Unsigned(1)),
        ("tokenizer.ggml.padding_token_id", GgufValue::Unsigned(99)),
    ];
    let values = values.into_iter().map(|(key, value)| (key.to_string(), value)).collect();
    GgufHeader { file: Path::new("m.gguf").into(), values, ..GgufHeader::default() }
}

fn with(key: &str, value: Option<GgufValue>) -> GgufHeader {
    let mut header = header();
    match value {
        Some(value) => header.values.insert(key.into(), value),
        None => header.values.remove(key),
    };
    header
}

#[test]
fn a_vocabulary_becomes_a_tokenizer_json() {
    let made = tokenizer_json(&header()).unwrap();
    insta::assert_json_snapshot!(made);
}

#[test]
fn named_tokens_have_the_names_of_transformers() {
    let named = header().named_tokens();
    let named: Vec<_> = named.iter().map(|(name, token)| (&**name, &**token)).collect();
    assert_eq!(named, [("bos_token", "<|im_start|>"), ("eos_token", "<|im_end|>")]);
}

#[track_caller]
fn check_around(pre: &str, adds: &[(&str, bool)], expected: &[&str]) {
    let mut header = with(PRE, Some(GgufValue::Text(pre.into())));
    for (name, adds) in adds {
        let key = format!("tokenizer.ggml.add_{name}_token");
        header.values.insert(key, GgufValue::Bool(*adds));
    }
    let made = tokenizer_json(&header).unwrap();
    let pieces = made["post_processor"]["single"].as_array().into_iter().flatten();
    let piece = |piece: &Json| {
        let token = piece["SpecialToken"]["id"].as_str();
        token.unwrap_or("TEXT").to_string()
    };
    assert_eq!(pieces.map(piece).collect::<Vec<_>>(), expected);
}

/// As llama.cpp adds them, by name of the pre-tokenizer where the file does not state it.
#[test]
fn a_text_begins_and_ends_with_the_tokens_that_the_file_states() {
    check_around("smollm", &[], &[]);
    check_around("smollm", &[("bos", true)], &["<|im_start|>", "TEXT"]);
    check_around("llama3", &[], &["<|im_start|>", "TEXT"]);
    check_around("llama3", &[("bos", false)], &[]);
    check_around("glm4", &[], &[]);
    check_around("qwen2", &[("eos", true)], &["TEXT", "<|im_end|>"]);
    let both = [("bos", true), ("eos", true)];
    check_around("qwen2", &both, &["<|im_start|>", "TEXT", "<|im_end|>"]);
}

#[track_caller]
fn check_refused(key: &str, value: Option<GgufValue>, expected: &str) {
    let why = tokenizer_json(&with(key, value)).unwrap_err().to_string();
    let whole = why.starts_with("m.gguf: ") && !why.contains('\n');
    assert!(whole && why.contains(expected), "{why}");
}

#[test]
fn what_cannot_be_expressed_is_refused_by_name() {
    let text = |text: &str| Some(GgufValue::Text(text.into()));
    let texts =
        |all: &[&str]| Some(GgufValue::Texts(all.iter().map(ToString::to_string).collect()));
    check_refused(TOKENS, None, "it has no tokenizer");
    check_refused(TOKENS, texts(&[]), "it has no tokenizer");
    check_refused(MODEL, None, "its header has no `tokenizer.ggml.model`");
    check_refused(MODEL, text("llama"), "is of the kind llama (SentencePiece)");
    check_refused(MODEL, text("t5"), "is of the kind t5");
    check_refused(PRE, None, "its header has no `tokenizer.ggml.pre`");
    check_refused(PRE, text("kimi-k2"), "its pre-tokenizer is `kimi-k2`");
    check_refused(PRE, text("default"), "its pre-tokenizer is `default`");
    check_refused(MERGES, None, "its header has no `tokenizer.ggml.merges`");
    check_refused(MERGES, texts(&["a c"]), "its merge 0 (\"a c\") needs the token \"c\"");
    check_refused(MERGES, texts(&["b a"]), "needs the token \"ba\"");
    check_refused(MERGES, texts(&["ab"]), "needs the token \"\"");
    check_refused(TYPES, Some(GgufValue::Numbers(vec![1.0])), "a type for each token");
    check_refused(TOKENS, texts(&["a", "b", "a"]), "its tokens 0 and 2 are both \"a\"");
    check_refused("general.name", text("Phi-3 Mini"), "it is a Phi-3");
    let mut lacking = with("tokenizer.ggml.bos_token_id", None);
    lacking.values.insert(PRE.into(), GgufValue::Text("llama3".into()));
    let why = tokenizer_json(&lacking).unwrap_err().to_string();
    assert!(why.contains("has no `tokenizer.ggml.bos_token_id`"), "{why}");
}
