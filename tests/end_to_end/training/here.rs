//! `fixfly train lora` and `full`, and `fixfly export`, on a model of two layers.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{command, fixfly, printed, refused, sentence};

const TOKENIZER: &str = include_str!("../../../runtime/tests/chat/tokenizer.json");
const TEMPLATE: &str = include_str!("../../../runtime/prompts/qwen3.jinja");
const WORDS: usize = 512;

/// Numbers between -1 and 1 that look random and are the same in each run.
fn numbers(count: usize, seed: u64) -> impl Iterator<Item = f32> {
    let mut state = seed;
    (0..count).map(move |_| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    })
}

/// A safetensors file: the length of its head, the head, f32 after f32.
fn weights(tensors: &[(String, Vec<usize>)]) -> Vec<u8> {
    let (mut head, mut body) = (serde_json::Map::new(), Vec::new());
    for (seed, (name, sizes)) in tensors.iter().enumerate() {
        let (from, norm) = (body.len(), name.contains("norm"));
        for number in numbers(sizes.iter().product(), seed as u64) {
            let number = if norm { 1.0 + 0.2 * number } else { 0.2 * number };
            body.extend(number.to_le_bytes());
        }
        let about = json!({"dtype": "F32", "shape": sizes, "data_offsets": [from, body.len()]});
        head.insert(name.clone(), about);
    }
    let head = Value::Object(head).to_string();
    [&(head.len() as u64).to_le_bytes(), head.as_bytes(), &body].concat()
}

/// A model folder of Hugging Face with random weights: `qwen3`, `qwen2` or `llama`.
pub(super) fn base(folder: &Path, kind: &str) -> PathBuf {
    let folder = folder.join(kind);
    fs::create_dir_all(&folder).unwrap();
    let (width, heads, kept, head, inner) = (32, 2, 1, 16, 64);
    let config = json!({
        "model_type": kind, "hidden_size": width,
        "num_hidden_layers": 2, "num_attention_heads": heads, "num_key_value_heads": kept,
        "head_dim": head, "intermediate_size": inner, "vocab_size": WORDS, "rms_norm_eps": 1e-6,
        "max_position_embeddings": 4096, "rope_theta": 10000.0, "tie_word_embeddings": true,
    });
    fs::write(folder.join("config.json"), config.to_string()).unwrap();
    fs::write(folder.join("tokenizer.json"), TOKENIZER).unwrap();
    fs::write(folder.join("chat_template.jinja"), TEMPLATE).unwrap();
    let about = json!({"eos_token": "<|im_end|>", "pad_token": "<|endoftext|>"});
    fs::write(folder.join("tokenizer_config.json"), about.to_string()).unwrap();
    let mut tensors = vec![
        ("model.embed_tokens.weight".to_string(), vec![WORDS, width]),
        ("model.norm.weight".to_string(), vec![width]),
    ];
    for layer in 0..2 {
        let parts: [(&str, &[usize]); 14] = [
            ("input_layernorm", &[width]),
            ("post_attention_layernorm", &[width]),
            ("self_attn.q_norm", &[head]),
            ("self_attn.k_norm", &[head]),
            ("self_attn.q_proj", &[heads * head, width]),
            ("self_attn.k_proj", &[kept * head, width]),
            ("self_attn.v_proj", &[kept * head, width]),
            ("self_attn.q_proj.bias", &[heads * head]),
            ("self_attn.k_proj.bias", &[kept * head]),
            ("self_attn.v_proj.bias", &[kept * head]),
            ("self_attn.o_proj", &[width, heads * head]),
            ("mlp.gate_proj", &[inner, width]),
            ("mlp.up_proj", &[inner, width]),
            ("mlp.down_proj", &[width, inner]),
        ];
        let named = |part: &str| match part.ends_with(".bias") {
            true => format!("model.layers.{layer}.{part}"),
            false => format!("model.layers.{layer}.{part}.weight"),
        };
        let there = |part: &str| match part {
            "self_attn.q_norm" | "self_attn.k_norm" => kind == "qwen3",
            part => kind == "qwen2" || !part.ends_with(".bias"),
        };
        let parts = parts.into_iter().filter(|(part, _)| there(part));
        tensors.extend(parts.map(|(part, sizes)| (named(part), sizes.to_vec())));
    }
    fs::write(folder.join("model.safetensors"), weights(&tensors)).unwrap();
    folder
}

/// A dataset's own form: rows to learn from, and two to choose by.
fn dataset(folder: &Path) -> PathBuf {
    let folder = folder.join("dataset");
    fs::create_dir_all(folder.join("tokens")).unwrap();
    let row = |at: usize| {
        let length = 12 + at % 5;
        let tokens: Vec<_> = (0..length).map(|place| (at * 31 + place * 7 + 60) % 500).collect();
        json!({"row": format!("row-{at}"), "tokens": tokens, "loss": [[6, length]]}).to_string()
    };
    let rows = |from: usize, to: usize| (from..to).map(row).collect::<Vec<_>>().join("\n") + "\n";
    fs::write(folder.join("tokens/rows.jsonl"), rows(0, 12)).unwrap();
    fs::write(folder.join("tokens/validation.jsonl"), rows(12, 14)).unwrap();
    folder
}

/// A model, a dataset, and where students go.
pub(crate) struct Stage {
    folder: TempDir,
    pub(crate) base: String,
    pub(crate) dataset: String,
}

impl Stage {
    pub(crate) fn new() -> Stage {
        let folder = TempDir::new().unwrap();
        let text = |path: PathBuf| path.to_str().unwrap().to_string();
        let (base, dataset) = (text(base(folder.path(), "qwen3")), text(dataset(folder.path())));
        Stage { folder, base, dataset }
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.folder.path().join(name).to_str().unwrap().to_string()
    }

    /// The words of a training of so many epochs.
    pub(crate) fn words<'a>(
        &'a self,
        method: &'a str,
        output: &'a str,
        epochs: &'a str,
    ) -> Vec<&'a str> {
        let (base, dataset) = (&*self.base, &*self.dataset);
        let places = ["--base", base, "--dataset", dataset, "-o", output];
        let settings = [
            "--epochs",
            epochs,
            "--lr",
            "0.01",
            "--warmup-steps",
            "2",
            "--gradient-accumulation-steps",
            "4",
        ];
        ["train", method].into_iter().chain(places).chain(settings).collect()
    }
}

/// What a training learned: its last checkpoint.
pub(crate) fn learned(student: &str, file: &str) -> Vec<u8> {
    let mut all: Vec<_> = fs::read_dir(Path::new(student).join("checkpoints"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    all.sort();
    let names: Vec<_> = all.iter().map(|path| path.display().to_string()).collect();
    assert!(!names.iter().any(|name| name.contains("partial")), "{names:?}");
    fs::read(all.last().unwrap().join(file)).unwrap()
}

#[test]
fn a_student_is_made_and_exported() {
    let stage = Stage::new();
    let (student, dry) = (stage.path("student"), stage.path("dry"));
    let mut words = stage.words("lora", &dry, "3");
    words.push("--dry-run");
    let output = fixfly(&words);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{stderr}");
    for part in [
        "--- row-",
        "⟦",
        "12 training rows",
        "2 validation rows",
        "9 steps (3 per epoch)",
        "of memory",
    ] {
        assert!(stderr.contains(part), "no {part}: {stderr}");
    }
    assert!(!Path::new(&dry).exists(), "a dry run left something");

    let out = printed(&stage.words("lora", &student, "3"));
    assert!(out.contains("<- chosen") && out.contains("fixfly export gguf"), "{out}");
    let log = fs::read_to_string(Path::new(&student).join("log.jsonl")).unwrap();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let kinds = |kind| lines.iter().filter(|line| line["kind"] == kind).count();
    assert_eq!((kinds("step"), kinds("validation")), (9, 3));
    assert!(lines[8]["loss"].as_f64() < lines[0]["loss"].as_f64(), "{log}");

    let (lora, whole, merged) = (stage.path("s.gguf"), stage.path("b.gguf"), stage.path("m.gguf"));
    printed(&["export", "gguf", &student, "-o", &lora]);
    printed(&["export", "gguf", &stage.base, "--dtype", "f32", "-o", &whole]);
    printed(&["export", "gguf", &student, "--merge", "--dtype", "f32", "-o", &merged]);
    let size = |file: &str| fs::metadata(file).unwrap().len();
    assert_eq!(size(&whole) / 64, size(&merged) / 64, "a merged model has the base's tensors");
    assert!(fs::read(&lora).unwrap().starts_with(b"GGUF") && size(&lora) < size(&whole));
    let (peft, folder) = (stage.path("peft"), stage.path("merged"));
    printed(&["export", "peft", &student, "-o", &peft]);
    printed(&["export", "safetensors", &student, "-o", &folder]);
    assert!(Path::new(&peft).join("adapter_config.json").is_file());
    assert!(Path::new(&folder).join("tokenizer.json").is_file());
    let (code, why) = refused(&["export", "gguf", &student, "-o", "student.bin"]);
    assert_eq!((code, &*why), (2, "-o student.bin: name a file that ends in .gguf"));
    let (code, why) = refused(&["export", "peft", &student, "-o", &peft]);
    assert!(code == 2 && why.contains("already exists"), "{why}");
}

#[test]
fn a_gguf_file_is_a_base() {
    let stage = Stage::new();
    let (base, student) = (stage.path("base.gguf"), stage.path("student"));
    printed(&["export", "gguf", &stage.base, "-o", &base]);
    let words = stage.words("lora", &student, "2");
    let words: Vec<&str> =
        words.into_iter().map(|word| if word == stage.base { &*base } else { word }).collect();
    let dry = stage.path("dry");
    let tried: Vec<&str> =
        words.iter().map(|word| if *word == student { &*dry } else { *word }).collect();
    let output = fixfly(&[&tried[..], &["--dry-run"]].concat());
    let stderr = String::from_utf8(output.stderr).unwrap();
    let held = "frozen weights take 0 MB and are dequantised block by block";
    assert!(output.status.success() && stderr.contains(held), "{stderr}");
    let out = printed(&words);
    let next = format!("fixfly run django --policy llama --model {base} --lora student.gguf");
    assert!(out.contains(&next) && !out.contains("-o base.gguf"), "{out}");
    let (lora, merged, folder) = (stage.path("s.gguf"), stage.path("m.gguf"), stage.path("folder"));
    printed(&["export", "gguf", &student, "-o", &lora]);
    printed(&["export", "gguf", &student, "--merge", "-o", &merged]);
    printed(&["export", "safetensors", &base, "-o", &folder]);
    let read = |file: &str| fs::read(Path::new(&folder).join(file)).unwrap();
    let config: Value = serde_json::from_slice(&read("config.json")).unwrap();
    assert_eq!((&config["model_type"], &config["vocab_size"]), (&json!("qwen3"), &json!(WORDS)));
    assert!(String::from_utf8(read("chat_template.jinja")).unwrap() == TEMPLATE);
    let size = |file: &str| fs::metadata(file).unwrap().len();
    assert!(size(&merged).abs_diff(size(&base)) < 4096, "both are whole models in f16");
    let (code, why) = refused(&[&words[..], &["--base-dtype", "bf16"]].concat());
    let expected = "its frozen weights are not rounded, and these are rounded to bf16";
    assert!(code == 1 && why.contains(expected), "{why}");
    fs::write(&base, &fs::read(&base).unwrap()[..40_000]).unwrap();
    let (code, why) = refused(&tried);
    assert!(code == 1 && why.contains("base.gguf: it is cut off"), "{why}");
}

#[test]
fn a_training_that_does_not_fit_is_refused() {
    let stage = Stage::new();
    let student = stage.path("student");
    let refusal = |more: &[&str], method: &str| {
        let words = stage.words(method, &student, "1");
        refused(&words.into_iter().chain(more.iter().copied()).collect::<Vec<_>>())
    };
    let (code, why) = refusal(&["--max-memory", "1MB"], "lora");
    assert!(code == 1 && why.contains("training needs about"), "{why}");
    let (code, why) = refusal(&["--max-length", "14"], "full");
    assert!(code == 1 && why.contains("row-3 has 15 tokens, and the limit is 14"), "{why}");
    let (code, why) = refusal(&["--rank", "0"], "lora");
    assert_eq!((code, &*why), (2, "--rank is 0; it must be at least 1"));
    let (code, why) =
        refused(&["train", "lora", "--base", "/none", "--dataset", &stage.dataset, "-o", &student]);
    assert!(code == 1 && why.contains("name a Hugging Face model folder"), "{why}");
    assert!(!Path::new(&student).exists(), "a refused training left something");
}

/// Waits until something is there; a training that ends before is too short for its test.
pub(crate) fn wait(child: &mut Child, there: impl Fn() -> bool) {
    let begun = Instant::now();
    while !there() {
        assert!(child.try_wait().unwrap().is_none(), "it ended too soon");
        assert!(begun.elapsed() < Duration::from_secs(120), "it never came");
        std::thread::sleep(Duration::from_micros(200));
    }
}

#[test]
fn a_training_that_was_stopped_or_killed_ends_as_one_that_was_not() {
    let stage = Stage::new();
    for (method, file) in [("lora", "adapter_model.safetensors"), ("full", "model.safetensors")] {
        let (whole, parts) =
            (stage.path(&format!("{method}-whole")), stage.path(&format!("{method}-parts")));
        printed(&stage.words(method, &whole, "8"));
        let start = || {
            let mut command = command(&stage.words(method, &parts, "8"));
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        };
        let checkpoints = Path::new(&parts).join("checkpoints");
        let partial = || {
            let entries = fs::read_dir(&checkpoints).into_iter().flatten().flatten();
            entries.into_iter().any(|one| one.file_name().to_string_lossy().starts_with("partial"))
        };
        let mut stopped = start();
        wait(&mut stopped, || checkpoints.join("step-000003").is_dir());
        let asked = Command::new("kill").args(["-INT", &stopped.id().to_string()]).status();
        assert!(asked.unwrap().success());
        let (code, why) = ended(stopped);
        assert!(code == Some(130) && why.contains("run the same command again to resume"), "{why}");
        // In the middle of the writing of a checkpoint.
        let mut killed = start();
        wait(&mut killed, partial);
        killed.kill().unwrap();
        killed.wait().unwrap();
        let output = fixfly(&stage.words(method, &parts, "8"));
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success() && stderr.contains("resuming after step"), "{stderr}");
        assert!(learned(&whole, file) == learned(&parts, file), "{method} came to something else");
    }
    let parts = stage.path("lora-parts");
    let (code, why) = sentence(fixfly(&stage.words("lora", &parts, "9")));
    assert!(code == 1 && why.contains("holds another training: its epochs is 8, not 9"), "{why}");
}

/// The exit code of a process, and its last line.
fn ended(child: Child) -> (Option<i32>, String) {
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    (output.status.code(), stderr.lines().last().unwrap_or_default().to_string())
}
