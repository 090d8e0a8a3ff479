//! The tokenizer that fixfly reads from a GGUF file gives llama.cpp's tokens.

use std::path::{Path, PathBuf};

use fixfly_runtime::{PreRule, pre_rules};
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{NormalizerWrapper, TokenizerBuilder};

use crate::gguf::{Gguf, Value};
use crate::peer::Both;
use crate::stage::{Folder, backend};

/// Words of code and prose, digits, spaces and line ends in many scripts.
const PROBE: &str = include_str!("../../../train/students/src/export/probe.txt");

const TEXTS: &[&str] = &[
    "",
    " ",
    "a  1",
    "def f(self, x_1=12345, *a):\r\n\treturn self.x[10:2]  # 3 'lines'\n\n    a  1\n",
    "for i in range(10):\n    print(f\"{i:>3}\", end='')  # 10 times\n",
    "It's 3.14\t\tok\r\n\r\n",
    "0 12 345 6789 01234 567890 1,234,567.89 1e-5 0xFF ²³½ ١٢٣",
    "I've been told he's there, 'RE you sure? 'M not sure I'll make it. We'Ve a'lL 'tis",
    "我想在apple工作1314151天～ 日本語のテキスト、カタカナ。한국어 텍스트",
    "🚀 (normal) ✅ 🦙🦙 ✨✨✨ 👍🏽",
    "café naïve Straße ÅNGSTRÖM été",
    "x\u{a0}y\u{3000}z\u{2028}w \u{200b} \t \n \n\n",
    "HTMLParser camelCase SCREAMING_CASE x = 1234",
    "<b>&amp;</b> http://x.y/z?q=1#f \\n $a `b` a^b|c~d != == -> //",
    "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\nok<|im_end|>",
    "<|im_start|><|im_end|> <|im_end|>x<|endoftext|",
    "a <fim_prefix> b</s>[PAD9]",
];

/// Texts in which combining marks follow their letters, and letters outside of ASCII.
const MARKS: &[&str] = &["កាន់តែពិសេសអាច e\u{301}te\u{301} हिन्दी", "😶\u{200d}🌫\u{fe0f} x", PROBE];

/// Names of rules that llama.cpp cannot write, so that it cuts words with combining marks, or
/// with capitals outside of ASCII, otherwise than the models do (docs/training.md).
const OTHERWISE: [&str; 6] = ["tekken", "gpt-4o", "llama4", "kanana2", "talkie", "minimax-m2"];

/// Tokens with their types, and merges. Lines are trained on as they are, so that merges
/// cross the words of every rule and a word that is cut otherwise has other tokens.
fn vocabulary() -> (Vec<(String, i32)>, Vec<String>) {
    let bytes = || ByteLevel::new(false, false, false);
    let mut tokenizer = TokenizerBuilder::<BPE, NormalizerWrapper, _, _, ByteLevel>::default()
        .with_model(BPE::default())
        .with_pre_tokenizer(Some(bytes()))
        .with_post_processor(Some(bytes()))
        .with_decoder(Some(bytes()))
        .build()
        .unwrap();
    let mut trainer = BpeTrainer::builder()
        .vocab_size(1500)
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
        .show_progress(false)
        .build();
    let lines = TEXTS.iter().chain(MARKS).flat_map(|text| text.split_inclusive('\n'));
    let lines: Vec<&str> = lines.collect();
    // Twice, since a trainer leaves out what occurs once.
    tokenizer.train(&mut trainer, lines.iter().chain(&lines).copied()).unwrap();
    let mut words: Vec<_> = tokenizer.get_model().get_vocab().into_iter().collect();
    words.sort_unstable_by_key(|(_, id)| *id);
    let mut tokens: Vec<_> = words.into_iter().map(|(word, _)| (word, 1)).collect();
    let named = [
        ("<|endoftext|>", 3),
        ("<|im_start|>", 3),
        ("<|im_end|>", 3),
        ("<think>", 4),
        ("</think>", 4),
        // llama.cpp takes these two as control tokens, whatever their type.
        ("<fim_prefix>", 1),
        ("</s>", 1),
        ("[PAD9]", 5),
    ];
    for (word, kind) in named {
        match tokens.iter_mut().find(|(token, _)| token == word) {
            Some(token) => token.1 = kind,
            None => tokens.push((word.to_string(), kind)),
        }
    }
    let model = serde_json::to_value(tokenizer.get_model()).unwrap();
    let merges = model["merges"].as_array().unwrap().iter().map(|pair| {
        let [left, right] = [0, 1].map(|at| pair[at].as_str().unwrap());
        format!("{left} {right}")
    });
    (tokens, merges.collect())
}

fn write(
    folder: &Path,
    pre: &str,
    (tokens, merges): &(Vec<(String, i32)>, Vec<String>),
) -> PathBuf {
    let id = |word: &str| {
        let at = tokens.iter().position(|(token, _)| token == word).unwrap();
        Value::U32(u32::try_from(at).unwrap())
    };
    let mut file = Gguf::default();
    file.text("general.architecture", "llama");
    file.text("tokenizer.ggml.model", "gpt2");
    file.text("tokenizer.ggml.pre", pre);
    let words = tokens.iter().map(|(token, _)| token.clone()).collect();
    file.value("tokenizer.ggml.tokens", Value::Texts(words));
    let types = tokens.iter().map(|(_, kind)| *kind).collect();
    file.value("tokenizer.ggml.token_type", Value::Numbers(types));
    file.value("tokenizer.ggml.merges", Value::Texts(merges.clone()));
    file.value("tokenizer.ggml.bos_token_id", id("<|endoftext|>"));
    file.value("tokenizer.ggml.eos_token_id", id("<|im_end|>"));
    let path = folder.join(format!("{pre}.gguf"));
    file.write(&path);
    path
}

/// The texts that get other tokens.
fn others(both: &Both, texts: &[&str]) -> Vec<String> {
    let mut others = Vec::new();
    for (text, around) in texts.iter().flat_map(|text| [(text, false), (text, true)]) {
        let [theirs, ours] = both.tokens(text, around);
        if theirs != ours {
            others.push(format!("{text:?}: {theirs:?} in llama.cpp, {ours:?} here"));
        }
    }
    others
}

#[test]
fn every_pre_tokenizer_gives_the_tokens_of_llama_cpp() {
    let folder = Folder::new();
    let vocabulary = vocabulary();
    let mut wrong = Vec::new();
    for name in pre_rules().iter().flat_map(PreRule::names) {
        let both = Both::open(backend(), &write(&folder, name, &vocabulary));
        let is_alias = pre_rules().iter().all(|rule| rule.name != name);
        let texts = if is_alias { &TEXTS[3..8] } else { TEXTS };
        let mut found = others(&both, texts);
        let marks = others(&both, if is_alias { &MARKS[..1] } else { MARKS });
        match OTHERWISE.contains(&name) {
            false => found.extend(marks),
            true if marks.is_empty() => found.push("is no exception".into()),
            true => {}
        }
        wrong.extend(found.into_iter().map(|one| format!("{name}: {one}")));
    }
    assert!(wrong.is_empty(), "{} texts:\n{}", wrong.len(), wrong.join("\n"));
}
