//! A GGUF file in place of a `tokenizer.json`.

use super::*;
use crate::tokens::Tokens;

fn text(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat()
}

/// The student of `tokenizer()` as a GGUF file of this model, with these other texts.
fn write(file: &Path, model: &str, texts: &[(&str, &str)]) {
    let tokenizer: Value = serde_json::from_str(&fs::read_to_string(tokenizer()).unwrap()).unwrap();
    let id = |id: &Value| id.as_u64().unwrap();
    let mut tokens = BTreeMap::new();
    for (word, at) in tokenizer["model"]["vocab"].as_object().unwrap() {
        tokens.insert(id(at), (word.clone(), 1_i32));
    }
    for added in tokenizer["added_tokens"].as_array().unwrap() {
        let kind = if added["special"] == true { 3 } else { 4 };
        tokens.insert(id(&added["id"]), (added["content"].as_str().unwrap().into(), kind));
    }
    let merges = tokenizer["model"]["merges"].as_array().unwrap().iter();
    let merges = merges
        .map(|pair| text(&format!("{} {}", pair[0].as_str().unwrap(), pair[1].as_str().unwrap())));
    let list = |kind: u32, elements: Vec<Vec<u8>>| {
        let head = [&9_u32.to_le_bytes()[..], &kind.to_le_bytes()].concat();
        [head, (elements.len() as u64).to_le_bytes().into(), elements.concat()].concat()
    };
    let words = tokens.values().map(|(word, _)| text(word)).collect();
    let kinds = tokens.values().map(|(_, kind)| kind.to_le_bytes().to_vec()).collect();
    let mut values = vec![
        ("tokenizer.ggml.tokens", list(8, words)),
        ("tokenizer.ggml.token_type", list(5, kinds)),
        ("tokenizer.ggml.merges", list(8, merges.collect())),
    ];
    for (key, value) in [("tokenizer.ggml.model", model)].iter().chain(texts) {
        values.push((key, [&8_u32.to_le_bytes()[..], &text(value)].concat()));
    }
    let mut bytes = b"GGUF\x03\0\0\0".to_vec();
    bytes.extend(0_u64.to_le_bytes());
    bytes.extend((values.len() as u64).to_le_bytes());
    values.iter().for_each(|(key, value)| bytes.extend([text(key), value.clone()].concat()));
    fs::write(file, bytes).unwrap();
}

const PRE: (&str, &str) = ("tokenizer.ggml.pre", "qwen2");
const TEMPLATE: &str = "tokenizer.chat_template";

#[test]
fn a_gguf_file_gives_the_same_tokens_as_its_tokenizer_json() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("m.gguf");
    write(&file, "gpt2", &[PRE, (TEMPLATE, CHATS[0].open)]);
    let reader = Reader::open(&file, None, None).unwrap();
    let tokens = |reader: &Reader| {
        let sequences = reader.sequences(&lines(&REPAIR)).unwrap();
        sequences.into_iter().map(|one| (one.tokens, one.loss)).collect::<Vec<_>>()
    };
    assert_eq!(tokens(&reader), tokens(qwen3()));
    let Reader { facts, .. } = &reader;
    assert_eq!(facts.chat_template, file.display().to_string());
    assert_eq!(facts.end_of_turn, qwen3().facts.end_of_turn);
    assert_eq!(facts.told_by, ThinkingSwitch::Template);
    let copy = folder.path().join("copy.gguf");
    fs::copy(&file, &copy).unwrap();
    let copied = Reader::open(&copy, None, None).unwrap();
    assert_eq!(copied.facts.tokenizer_sha256, facts.tokenizer_sha256);
    let counts = [&file, &tokenizer()].map(|file| {
        Tokens::open(Some(file)).unwrap().of("def total(self):\n    return 12 <|im_end|> é")
    });
    assert_eq!(counts[0], counts[1]);
}

#[test]
fn a_gguf_file_that_lacks_something_is_refused_with_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("m.gguf");
    let check = |template: Option<&str>, expected: &str| {
        let error = Reader::open(&file, template, None).err().unwrap().to_string();
        assert!(error.contains(expected) && error.contains("m.gguf"), "{error}");
    };
    check(None, "there is no such file");
    fs::write(&file, "<html>").unwrap();
    check(None, "it is not a GGUF file");
    write(&file, "gpt2", &[PRE]);
    check(None, "has no chat template: name one with --chat-template, qwen3 or a file");
    check(Some(file.to_str().unwrap()), "has no chat template; name another file");
    assert!(Reader::open(&file, Some("qwen3"), None).is_ok());
    write(&file, "gpt2", &[("tokenizer.ggml.pre", "kimi-k2")]);
    check(Some("qwen3"), "its pre-tokenizer is `kimi-k2`");
    write(&file, "llama", &[PRE]);
    check(Some("qwen3"), "is of the kind llama (SentencePiece)");
}
