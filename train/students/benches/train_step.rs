//! Compares a LoRA step on the CPU with PyTorch and peft with gradient checkpointing: time,
//! and memory beyond the loaded model. Hidden size 512, 8 layers, vocabulary 8,192, rank
//! 32, f32. Each side runs in processes of its own, in turn.
//!
//! ```text
//! cargo bench -p fixfly-students --features native --bench train_step -- \
//!     --python target/peers/train/bin/python [--tokens 512,2048] [--steps 4] [--rounds 3] [--threads 1]
//! ```
//!
//! `scripts/peers/train` installs this Python environment.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "it is run by people")]

#[path = "../src/tests/layers.rs"]
mod layers;

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::AtomicBool;

use candle_core::{Device, Tensor, safetensors};
use fixfly_students::{ComputeConfig, Job, Line, Method, Settings};
use layers::{Sizes, layers};

const PEFT: &str = include_str!("train_step.py");

fn flag<T: std::str::FromStr>(name: &str, default: T) -> T {
    let mut words = std::env::args().skip_while(|word| word != name).skip(1);
    words.next().and_then(|word| word.parse().ok()).unwrap_or(default)
}

fn main() {
    let folder: String = flag("--side", String::new());
    if folder.is_empty() { both() } else { side(Path::new(&folder)) }
}

/// A value of `/proc/self/status`, in MB.
fn memory(key: &str) -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(key)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
}

/// CPU seconds of this process.
fn processor() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let fields = stat.rsplit(')').next().unwrap().split_whitespace().skip(11).take(2);
    fields.map(|ticks| ticks.parse::<f64>().unwrap()).sum::<f64>() / 100.0
}

/// fixfly's side: prints seconds per step, and MB beyond the loaded model.
fn side(folder: &Path) {
    let settings = Settings {
        dropout: 0.0,
        gradient_accumulation_steps: 1,
        epochs: 1,
        ..Settings::of(Method::Lora)
    };
    let output = tempfile::tempdir().unwrap();
    let job = Job {
        base: folder.into(),
        dataset: folder.into(),
        output: output.path().join("student"),
        settings,
        means: ComputeConfig::default(),
        gpus: Vec::new(),
        precision: None,
        base_dtype: None,
    };
    let mut trainer = job.ready().unwrap().load().unwrap();
    let base = memory("VmRSS");
    let (mut begun, mut steps, mut spent, mut peak) = (0.0, 0, 0.0, 0.0);
    trainer
        .run(&AtomicBool::new(false), &mut |line: &Line| {
            if let Line::Step(step) = line {
                // The first step warms up.
                match step.step {
                    1 => begun = processor(),
                    at => (steps, spent) = (at - 1, processor() - begun),
                }
                peak = memory("VmHWM");
            }
        })
        .unwrap();
    println!("{} {}", spent / f64::from(u32::try_from(steps).unwrap()), peak - base);
}

/// A model folder with random weights, and a dataset of `rows` rows of `tokens` tokens.
fn stage(folder: &Path, tokens: usize, rows: usize) {
    let (width, count, heads, kept, head, intermediate, words) = (512, 8, 8, 4, 64, 1536, 8192);
    let config = serde_json::json!({
        "model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"], "hidden_size": width,
        "num_hidden_layers": count, "num_attention_heads": heads, "num_key_value_heads": kept,
        "head_dim": head, "intermediate_size": intermediate, "vocab_size": words, "rms_norm_eps": 1e-6,
        "max_position_embeddings": 32768, "rope_theta": 1e6, "tie_word_embeddings": true,
        "hidden_act": "silu",
    });
    fs::write(folder.join("config.json"), config.to_string()).unwrap();
    let mut all = HashMap::new();
    let mut put = |name: String, sizes: &[usize]| {
        let tensor = match sizes.len() {
            1 => Tensor::ones(sizes, candle_core::DType::F32, &Device::Cpu),
            _ => Tensor::randn(0_f32, 0.04, sizes, &Device::Cpu),
        };
        all.insert(name, tensor.unwrap());
    };
    put("model.embed_tokens.weight".into(), &[words, width]);
    put("model.norm.weight".into(), &[width]);
    layers(
        count,
        "qwen3",
        &Sizes {
            hidden_size: width,
            num_attention_heads: heads,
            num_key_value_heads: kept,
            head_dim: head,
            intermediate_size: intermediate,
        },
        &mut put,
    );
    safetensors::save(&all, folder.join("model.safetensors")).unwrap();
    fs::create_dir_all(folder.join("tokens")).unwrap();
    let row = |row: usize| {
        let ids: Vec<_> = (0..tokens).map(|at| (at * 31 + row * 7 + at * at) % words).collect();
        serde_json::json!({"row": format!("{row}"), "tokens": ids, "loss": [[tokens / 3, tokens]]})
    };
    let rows: Vec<_> = (0..rows).map(|at| row(at).to_string()).collect();
    fs::write(folder.join("tokens/rows.jsonl"), rows.join("\n")).unwrap();
}

/// The two numbers in the last line of a side's output.
fn numbers(command: &mut Command) -> [f64; 2] {
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
    let text = String::from_utf8(output.stdout).unwrap();
    let all: Vec<f64> =
        text.lines().last().unwrap().split(' ').map(|number| number.parse().unwrap()).collect();
    all.try_into().unwrap()
}

fn median(all: &mut [f64]) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

fn both() {
    let python: PathBuf = flag("--python", "target/peers/train/bin/python".into());
    // cargo runs a bench in its package's folder, not in the user's.
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(python);
    let (steps, rounds, threads) = (flag("--steps", 4), flag("--rounds", 3), flag("--threads", 1));
    let tokens: String = flag("--tokens", "512,2048".into());
    println!(
        "seconds of processors a step, and MB beyond the loaded model; medians of {rounds} rounds"
    );
    for tokens in tokens.split(',').map(|count| count.parse::<usize>().unwrap()) {
        let folder = tempfile::tempdir().unwrap();
        stage(folder.path(), tokens, steps + 1);
        let script = folder.path().join("step.py");
        fs::write(&script, PEFT).unwrap();
        let mut all: [Vec<[f64; 2]>; 2] = [Vec::new(), Vec::new()];
        for _ in 0..rounds {
            let mut own = Command::new(std::env::current_exe().unwrap());
            own.arg("--side").arg(folder.path()).env("RAYON_NUM_THREADS", format!("{threads}"));
            all[0].push(numbers(&mut own));
            let mut peft = Command::new(&python);
            peft.arg(&script).arg(folder.path()).arg(format!("{threads}"));
            all[1].push(numbers(&mut peft));
        }
        let [own, peft] = all.map(|side| {
            [0, 1].map(|at| median(&mut side.iter().map(|one| one[at]).collect::<Vec<_>>()))
        });
        println!(
            "{tokens} tokens: fixfly {:.2} s {:.0} MB, PyTorch + peft with checkpointing {:.2} s {:.0} MB: \
             {:.2}x the time, {:.2}x the memory",
            own[0],
            own[1],
            peft[0],
            peft[1],
            own[0] / peft[0],
            own[1] / peft[1]
        );
    }
}
