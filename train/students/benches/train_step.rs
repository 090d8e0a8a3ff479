//! Compares LoRA steps on the CPU with PyTorch and peft, with and without gradient
//! checkpointing: time, tokens a second and memory. Rank 32, f32, the same rows. Each side runs
//! in processes of its own, in turn.
//!
//! ```text
//! cargo bench -p fixfly-students --features native --bench train_step -- \
//!     --python target/peers/train/bin/python [--tokens 512,2048] [--steps 4] [--rounds 3] \
//!     [--threads 1] [--accumulation 1]
//! ```
//!
//! The model has random weights: hidden size 512, 8 layers, vocabulary 8,192. With `--base
//! MODEL` it is a real one, a folder or a GGUF file, all seven matrices of a layer have an
//! adapter, and dropout is 0.05. peft cannot read a GGUF file: name its weights with `--folder
//! DIR`, which `fixfly export safetensors` writes. `--rows DATASET` takes a dataset's first
//! rows instead of random ones, `--base-dtype f32` holds a GGUF file's weights dequantised.
//!
//! `scripts/peers/train` installs this Python environment; `scripts/peers/train speed` runs
//! this on SmolLM2-135M.
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "it is run by people")]

#[path = "../src/tests/layers.rs"]
mod layers;

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use candle_core::{Device, Tensor, safetensors};
use fixfly_students::{
    BaseDtype, Chunks, ComputeConfig, Job, Line, MatmulPrecision, Method, Settings, Target,
};
use layers::{Sizes, layers};

const PEFT: &str = include_str!("train_step.py");
/// Words of the model with random weights.
const WORDS: usize = 8192;
const ATTENTION: [&str; 4] = ["q_proj", "k_proj", "v_proj", "o_proj"];
const ALL: [&str; 7] =
    ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"];

fn flag<T: std::str::FromStr>(name: &str, default: T) -> T {
    let mut words = std::env::args().skip_while(|word| word != name).skip(1);
    words.next().and_then(|word| word.parse().ok()).unwrap_or(default)
}

fn main() {
    let folder: String = flag("--side", String::new());
    if folder.is_empty() { all() } else { side(Path::new(&folder)) }
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

/// fixfly's side: prints seconds of processors a step, tokens a second, MB beyond the loaded
/// model, and MB at most.
fn side(dataset: &Path) {
    let is_real: bool = flag("--real", false);
    let plain = Settings::of(Method::Lora);
    let settings = Settings {
        dropout: if is_real { 0.05 } else { 0.0 },
        targets: if is_real { Target::ALL.to_vec() } else { plain.targets.clone() },
        gradient_accumulation_steps: flag("--accumulation", 1),
        epochs: 1,
        ..plain
    };
    let output = tempfile::tempdir().unwrap();
    let layers: String = flag("--no-recompute-layers", String::new());
    let dtype: String = flag("--base-dtype", String::new());
    let chunks = Chunks { no_recompute_layers: layers.parse().ok(), ..Chunks::default() };
    let job = Job {
        base: flag("--base", PathBuf::new()),
        dataset: dataset.into(),
        output: output.path().join("student"),
        settings,
        means: ComputeConfig {
            micro_batch_tokens: flag("--micro-batch-tokens", 4096),
            chunks,
            ..ComputeConfig::default()
        },
        gpus: Vec::new(),
        precision: None,
        base_dtype: (dtype == "f32").then_some(BaseDtype::F32),
        matmul_precision: MatmulPrecision::Highest,
    };
    let mut trainer = job.ready().unwrap().load().unwrap();
    let loaded = memory("VmRSS");
    let (mut begun, mut clock, mut steps, mut tokens) = (0.0, Instant::now(), 0.0, 0);
    let (mut spent, mut took, mut peak) = (0.0, 0.0, 0.0);
    trainer
        .run(&AtomicBool::new(false), &mut |line: &Line| {
            if let Line::Step(step) = line {
                // The first step warms up.
                if step.step == 1 {
                    (begun, clock) = (processor(), Instant::now());
                } else {
                    (steps, tokens) = (steps + 1.0, tokens + step.tokens);
                    (spent, took) = (processor() - begun, clock.elapsed().as_secs_f64());
                }
                peak = memory("VmHWM");
            }
        })
        .unwrap();
    println!("{} {} {} {peak}", spent / steps, tokens as f64 / took, peak - loaded);
}

/// A model folder with random weights.
fn stage(folder: &Path) {
    let (width, count, heads, kept, head, intermediate) = (512, 8, 8, 4, 64, 1536);
    let config = serde_json::json!({
        "model_type": "qwen3", "architectures": ["Qwen3ForCausalLM"], "hidden_size": width,
        "num_hidden_layers": count, "num_attention_heads": heads, "num_key_value_heads": kept,
        "head_dim": head, "intermediate_size": intermediate, "vocab_size": WORDS, "rms_norm_eps": 1e-6,
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
    put("model.embed_tokens.weight".into(), &[WORDS, width]);
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
}

/// A dataset of the first `count` rows of another, or of as many of `tokens` tokens each.
fn dataset(folder: &Path, tokens: usize, count: usize) {
    let from = path("--rows", "");
    let rows: Vec<String> = match has_rows() {
        false => (0..count).map(|row| random(row, tokens)).collect(),
        true => {
            let text = fs::read_to_string(from.join("tokens/rows.jsonl")).unwrap();
            text.lines().take(count).map(str::to_string).collect()
        }
    };
    assert!(rows.len() == count, "{} has fewer than {count} rows", from.display());
    fs::create_dir_all(folder.join("tokens")).unwrap();
    fs::write(folder.join("tokens/rows.jsonl"), rows.join("\n")).unwrap();
}

fn has_rows() -> bool {
    std::env::args().any(|word| word == "--rows")
}

fn random(row: usize, tokens: usize) -> String {
    let ids: Vec<_> = (0..tokens).map(|at| (at * 31 + row * 7 + at * at) % WORDS).collect();
    serde_json::json!({"row": format!("{row}"), "tokens": ids, "loss": [[tokens / 3, tokens]]})
        .to_string()
}

/// The numbers in the last line of a side's output.
fn numbers(command: &mut Command) -> [f64; 4] {
    let output = command.output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
    let text = String::from_utf8(output.stdout).unwrap();
    let all: Vec<f64> =
        text.lines().last().unwrap().split(' ').map(|number| number.parse().unwrap()).collect();
    all.try_into().unwrap()
}

/// One of the programs that are compared.
#[derive(Clone, Copy)]
enum Side {
    /// fixfly, with this many layers that are not recomputed; by its default if `None`.
    Own(Option<usize>),
    Peft {
        checkpointing: bool,
    },
}

const SIDES: [(&str, Side); 4] = [
    ("fixfly", Side::Own(None)),
    ("fixfly --no-recompute-layers 0", Side::Own(Some(0))),
    ("peft with checkpointing", Side::Peft { checkpointing: true }),
    ("peft without checkpointing", Side::Peft { checkpointing: false }),
];

/// What all sides run on.
struct Setting {
    base: PathBuf,
    /// The same model as a folder.
    folder: PathBuf,
    is_real: bool,
    threads: usize,
    python: PathBuf,
    script: PathBuf,
}

impl Setting {
    fn command(&self, side: Side, rows: &Path) -> Command {
        let threads = self.threads.to_string();
        let accumulation = flag("--accumulation", 1).to_string();
        match side {
            Side::Own(layers) => {
                let mut command = Command::new(std::env::current_exe().unwrap());
                command.arg("--side").arg(rows).arg("--base").arg(&self.base);
                command.args([
                    "--real",
                    &self.is_real.to_string(),
                    "--accumulation",
                    &accumulation,
                ]);
                let tokens = flag("--micro-batch-tokens", 4096).to_string();
                command.args(["--micro-batch-tokens", &tokens]);
                command.args(["--base-dtype", &flag("--base-dtype", String::from("default"))]);
                if let Some(layers) = layers {
                    command.args(["--no-recompute-layers", &layers.to_string()]);
                }
                command.env("RAYON_NUM_THREADS", threads);
                command
            }
            Side::Peft { checkpointing } => {
                let (dropout, targets) = match self.is_real {
                    true => ("0.05", ALL.join(",")),
                    false => ("0.0", ATTENTION.join(",")),
                };
                let mut command = Command::new(&self.python);
                command.arg(&self.script).arg(&self.folder).arg(rows).arg(threads);
                command.args([&*accumulation, dropout, &*targets]);
                command.arg(if checkpointing { "checkpointing" } else { "none" });
                command
            }
        }
    }
}

fn median(all: &mut [f64]) -> f64 {
    all.sort_by(f64::total_cmp);
    all[all.len() / 2]
}

/// A path as the user gave it: cargo runs a bench in its package's folder.
fn path(name: &str, default: &str) -> PathBuf {
    let given: PathBuf = flag(name, default.into());
    match given.as_os_str().is_empty() {
        true => given,
        false => Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(given),
    }
}

fn all() {
    let (steps, rounds): (usize, usize) = (flag("--steps", 4), flag("--rounds", 3));
    let made = tempfile::tempdir().unwrap();
    let (base, script) = (path("--base", ""), made.path().join("step.py"));
    fs::write(&script, PEFT).unwrap();
    let is_real = !base.as_os_str().is_empty();
    if !is_real {
        stage(made.path());
    }
    let base = if is_real { base } else { made.path().into() };
    let folder = path("--folder", "");
    let setting = Setting {
        folder: if folder.as_os_str().is_empty() { base.clone() } else { folder },
        base,
        is_real,
        threads: flag("--threads", 1),
        python: path("--python", "target/peers/train/bin/python"),
        script,
    };
    let accumulation: usize = flag("--accumulation", 1);
    let tokens: String = flag("--tokens", "512,2048".into());
    println!(
        "{} threads, {accumulation} rows a step; medians of {rounds} rounds of {steps} steps",
        setting.threads
    );
    for tokens in tokens.split(',').map(|count| count.parse::<usize>().unwrap()) {
        let rows = tempfile::tempdir().unwrap();
        dataset(rows.path(), tokens, (steps + 1) * accumulation);
        compare(&setting, rows.path(), tokens, rounds);
        if has_rows() {
            break;
        }
    }
}

fn compare(setting: &Setting, rows: &Path, tokens: usize, rounds: usize) {
    let mut all = SIDES.map(|_| Vec::new());
    for _ in 0..rounds {
        for ((_, side), results) in SIDES.iter().zip(&mut all) {
            results.push(numbers(&mut setting.command(*side, rows)));
        }
    }
    let all = all.map(|side| {
        [0, 1, 2, 3].map(|at| median(&mut side.iter().map(|one| one[at]).collect::<Vec<_>>()))
    });
    match has_rows() {
        true => println!("rows of the dataset"),
        false => println!("rows of {tokens} tokens"),
    }
    for ((name, _), [seconds, speed, beyond, peak]) in SIDES.iter().zip(&all) {
        println!(
            "  {name:<32} {seconds:>8.2} CPU-seconds a step {speed:>8.0} tokens/s {beyond:>7.0} MB beyond the loaded model {peak:>7.0} MB in all"
        );
    }
    let [own, recomputing, checkpointing, without] = all;
    for (name, own, other) in [
        ("fixfly / peft with checkpointing", own, checkpointing),
        ("fixfly / peft without checkpointing", own, without),
        ("fixfly --no-recompute-layers 0 / peft with checkpointing", recomputing, checkpointing),
        ("fixfly --no-recompute-layers 0 / peft without checkpointing", recomputing, without),
    ] {
        let ratio = |at: usize| own[at] / other[at];
        println!(
            "  {name}: {:.2}x the tokens/s, {:.2}x the CPU time, {:.2}x the memory beyond the model, {:.2}x in all",
            ratio(1),
            ratio(0),
            ratio(2),
            ratio(3)
        );
    }
}
