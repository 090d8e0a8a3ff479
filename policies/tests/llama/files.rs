//! A wrong file is refused in one sentence, before llama.cpp loads it.

use std::fs;
use std::path::{Path, PathBuf};

use fixfly_runtime::{KvType, Lora, Settings};
use fixfly_runtime::{Thinking, ThinkingMode, ThinkingSwitch};

use crate::stage::{Folder, QWEN3, fault, settings};
use crate::tiny::{Flaw, Kind, adapter, model};

#[track_caller]
fn check(settings: &Settings, expected: &str) {
    let why = fault(settings);
    assert!(why.contains(expected) && !why.contains('\n'), "{why}");
}

#[test]
fn a_model_must_be_one() {
    let folder = Folder::new();
    let good = model(&folder, Kind::Qwen3, Some(QWEN3));
    check(&Settings::default(), "the policy `llama` needs --model FILE.gguf");
    let file = |name: &str, bytes: &[u8]| {
        let path = folder.join(name);
        fs::write(&path, bytes).unwrap();
        settings(&path, 1)
    };
    check(&settings(&folder.join("none.gguf"), 1), "there is no such file");
    check(&settings(&folder, 1), "it is not a GGUF file");
    check(&file("empty.gguf", b""), "it is not a GGUF file");
    check(&file("text.gguf", b"<html>Not found</html>"), "it is not a GGUF file");
    let bytes = fs::read(&good).unwrap();
    check(&file("header.gguf", &bytes[..1000]), "it ends in its header");
    check(&file("half.gguf", &bytes[..bytes.len() / 2]), "it is cut off");
    let mut other = bytes.clone();
    let named = bytes.windows(5).enumerate().filter(|(_, word)| word == b"qwen3");
    named.for_each(|(at, _)| other[at + 4] = b'x');
    check(&file("other.gguf", &other), "llama.cpp cannot load it");
    check(&file("old.gguf", b"GGUF\x01\0\0\0"), "version 1 of GGUF is not known");
    let mut many = bytes.clone();
    many[16..24].copy_from_slice(&u64::MAX.to_le_bytes());
    check(&file("many.gguf", &many), "it claims 18446744073709551615 of something");
    check(&settings(&adapter(&folder, Kind::Qwen3, 1, Flaw::None), 1), "it is an adapter");
}

#[test]
fn an_adapter_must_fit_its_model() {
    let folder = Folder::new();
    let good = model(&folder, Kind::Qwen3, Some(QWEN3));
    let with = |file: PathBuf| {
        let mut settings = settings(&good, 1);
        settings.local.loras = vec![Lora { file, scale: 1.0 }];
        settings
    };
    check(&with(Path::new("none.gguf").into()), "there is no such file");
    check(&with(good.clone()), "it is not a LoRA adapter");
    for (kind, flaw, expected) in [
        (Kind::Llama, Flaw::None, "it is an adapter for `llama`, but the model is a `qwen3`"),
        (Kind::Qwen3, Flaw::Rank, "the two halves of its change of `blk.0.attn_q.weight` differ"),
        (Kind::Qwen3, Flaw::Shape, "its change of `blk.0.attn_q.weight` has another shape"),
        (Kind::Qwen3, Flaw::Tensor, "it changes `blk.2.attn_q.weight`, which the model does not"),
        (Kind::Qwen3, Flaw::Activated, "it is an activated LoRA, which changes the model only"),
        (Kind::Qwen3, Flaw::Half, "it has half a change of `blk.0.attn_q.weight`"),
    ] {
        check(&with(adapter(&folder, kind, 1, flaw)), expected);
    }
}

#[test]
fn settings_must_fit_the_model() {
    let folder = Folder::new();
    let good = settings(&model(&folder, Kind::Qwen3, Some(QWEN3)), 1);
    let changed = |change: fn(&mut Settings)| {
        let mut settings = good.clone();
        change(&mut settings);
        settings
    };
    let context = changed(|settings| settings.local.context_length = Some(5000));
    check(&context, "--ctx-size 5000 is more than the 4096 tokens of");
    let missing = changed(|settings| settings.local.chat_template = Some("none.jinja".into()));
    check(&missing, "none.jinja: it cannot be read");
    // The head's size of this model is a multiple of 32, so blocks are fine.
    let blocks = changed(|settings| settings.local.kv_type = KvType::Q8_0);
    assert!(fixfly_policies::llama_by(crate::stage::ENGINE.as_ref(), &blocks).is_ok());
}

#[test]
fn a_chat_template_must_be_there_and_usable() {
    let folder = Folder::new();
    let bare = settings(&model(&folder, Kind::Qwen3, None), 1);
    check(&bare, "it has no chat template: give one by --chat-template");
    let with = |template: &str| {
        let file = folder.join("own.jinja");
        fs::write(&file, template).unwrap();
        let mut settings = bare.clone();
        settings.local.chat_template = Some(file);
        settings
    };
    check(&with("{% if %}"), "own.jinja: syntax error");
    check(&with("{{ raise_exception('Alas') }}"), "Alas");
    let turn = "{% for m in messages %}{{ m.role + m.content }}{% endfor %}";
    for usable in [
        "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}",
        "{% generation %}{% endgeneration %}",
        "{% if tools is defined and tools is none %}{% endif %}",
    ] {
        let opened = fixfly_policies::llama_by(
            crate::stage::ENGINE.as_ref(),
            &with(&format!("{usable}{turn}")),
        );
        assert!(opened.is_ok(), "{usable}: {:?}", opened.err());
    }
    let mut think = with("{{ messages[0].content }}");
    think.thinking = Thinking { mode: ThinkingMode::Think, switch: ThinkingSwitch::Template };
    check(&think, "does not know `enable_thinking`");
}
