//! Whole trainings, on models that are small enough for a test.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod beside_pytorch;
pub(crate) mod gguf;
mod gradients;
mod layers;
mod served;
mod tried;

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use candle_core::{DType, Device, Tensor, safetensors};
use layers::{Sizes, layers};
use serde_json::json;
use tempfile::TempDir;

use crate::base_model::Base;
use crate::model::{Chunks, Model};
use crate::ops::Dropout;
use crate::ops::tests::random;
use crate::params::Grads;
use crate::pass::Pass;
use crate::record::Record;
use crate::rows::Row;
use crate::settings::{BaseDtype, MatmulPrecision, Method, Settings, Target};
use crate::{ComputeConfig, Job, Line, Outcome, TrainError, checkpoints};

const WORDS: usize = 64;

/// Sizes of the model that PyTorch's goldens are about.
const SMALL: Sizes = Sizes {
    hidden_size: 32,
    num_attention_heads: 4,
    num_key_value_heads: 2,
    head_dim: 16,
    intermediate_size: 48,
};

fn base(folder: &Path, kind: &str) -> PathBuf {
    sized(folder, kind, &SMALL)
}

/// A model folder of two layers with random weights.
fn sized(folder: &Path, kind: &str, sizes: &Sizes) -> PathBuf {
    let folder = folder.join(kind);
    fs::create_dir_all(&folder).unwrap();
    let Sizes { hidden_size: width, num_attention_heads, num_key_value_heads, .. } = *sizes;
    let tied = ["qwen3", "qwen2", "smollm2"].contains(&kind);
    let (model_type, theta) = match kind {
        "smollm2" => ("llama", 100_000.0),
        _ => (kind, 10_000.0),
    };
    let mut config = json!({
        "model_type": model_type, "hidden_size": width, "num_hidden_layers": 2,
        "num_attention_heads": num_attention_heads, "num_key_value_heads": num_key_value_heads,
        "head_dim": sizes.head_dim, "intermediate_size": sizes.intermediate_size,
        "vocab_size": WORDS, "max_position_embeddings": 256, "rms_norm_eps": 1e-6,
        "rope_theta": theta, "tie_word_embeddings": tied,
    });
    if kind == "mistral" {
        config["sliding_window"] = json!(5);
    }
    if kind == "llama" {
        config["rope_scaling"] = json!({
            "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": 16,
        });
    }
    fs::write(folder.join("config.json"), config.to_string()).unwrap();
    let mut tensors = HashMap::new();
    let mut seed = 100;
    let mut put = |name: String, sizes: &[usize]| {
        seed += 1;
        let norm = name.contains("norm");
        let numbers = random(sizes, seed);
        let numbers = if norm { (numbers * 0.2).unwrap() + 1.0 } else { numbers * 0.25 };
        tensors.insert(name, numbers.unwrap());
    };
    put("model.embed_tokens.weight".into(), &[WORDS, width]);
    put("model.norm.weight".into(), &[width]);
    if !tied {
        put("lm_head.weight".into(), &[WORDS, width]);
    }
    layers(2, kind, sizes, &mut put);
    safetensors::save(&tensors, folder.join("model.safetensors")).unwrap();
    folder
}

fn row(at: usize, length: usize) -> Row {
    let tokens = (0..length).map(|token| ((token * 7 + at * 13 + token * token) % WORDS) as u32);
    let loss = vec![[length / 3, length / 2], [length / 2 + 1, length]];
    Row { id: format!("row-{at}"), tokens: tokens.collect(), loss }
}

fn rows() -> Vec<Row> {
    [11, 7, 20, 5, 16, 9].iter().enumerate().map(|(at, length)| row(at, *length)).collect()
}

fn dataset(folder: &Path, rows: &[Row]) -> PathBuf {
    let folder = folder.join("dataset");
    fs::create_dir_all(folder.join("tokens")).unwrap();
    let line =
        |row: &Row| json!({"row": row.id, "tokens": row.tokens, "loss": row.loss}).to_string();
    let write = |name: &str, rows: &[Row]| {
        let lines: Vec<_> = rows.iter().map(line).collect();
        fs::write(folder.join("tokens").join(name), lines.join("\n") + "\n").unwrap();
    };
    write("rows.jsonl", rows);
    write("validation.jsonl", &[row(20, 12), row(21, 30)]);
    folder
}

fn settings(method: Method) -> Settings {
    let (rank, alpha, targets) = (4, 8.0, Target::ALL.to_vec());
    let (warmup_steps, gradient_accumulation_steps) = (2, 3);
    let (epochs, learning_rate) = (3, 1e-2);
    let changed = Settings::of(method);
    Settings {
        rank,
        alpha,
        targets,
        warmup_steps,
        gradient_accumulation_steps,
        epochs,
        learning_rate,
        ..changed
    }
}

fn loaded(base: &Path, settings: &Settings, chunks: Chunks, held: BaseDtype) -> Model {
    let base = Base::open(base).unwrap();
    let held = (held, MatmulPrecision::Highest);
    Model::load(&base, settings, chunks, held, &Device::Cpu, DType::F32).unwrap()
}

fn model(base: &Path, settings: &Settings, chunks: Chunks) -> Model {
    with_adapter(loaded(base, settings, chunks, BaseDtype::F32), settings)
}

fn with_adapter(mut model: Model, settings: &Settings) -> Model {
    if settings.method == Method::Lora {
        // A new adapter changes nothing, and half of its gradients are zero.
        for at in 0..model.params.all().len() {
            let sizes = model.params.all()[at].value.dims().to_vec();
            model.params.set(at, (random(&sizes, at as u64) * 0.2).unwrap()).unwrap();
        }
    }
    model
}

/// The loss of rows and all gradients, with micro-batches of at most `pass` tokens.
fn learn(model: &Model, rows: &[Row], pass: usize, rate: f64) -> (f64, Vec<Tensor>) {
    let passes = Pass::pack(rows, pass);
    let learned: usize = passes.iter().map(|pass| pass.targets.len()).sum();
    let mut grads = Grads::new(&model.params);
    let mut loss = 0.0;
    for pass in &passes {
        let key = |at: &usize| crate::chance::key(&[7, *at as u64]);
        let rows = pass.which.iter().zip(&pass.rows).map(|(at, row)| (key(at), row.length));
        let dropout = Dropout { rate, rows: rows.collect() };
        loss += model.learn(pass, 1.0 / learned as f64, &dropout, &mut grads).unwrap();
    }
    let all = (0..model.params.all().len()).map(|at| grads.get(at).unwrap().clone()).collect();
    (loss / learned as f64, all)
}

const KINDS: [&str; 5] = ["qwen3", "llama", "mistral", "qwen2", "smollm2"];

fn job(folder: &Path, base: &Path, dataset: &Path, method: Method, name: &str) -> Job {
    Job {
        base: base.into(),
        dataset: dataset.into(),
        output: folder.join(name),
        settings: settings(method),
        means: ComputeConfig {
            micro_batch_tokens: 24,
            memory: Some(1 << 40),
            ..ComputeConfig::default()
        },
        gpus: Vec::new(),
        precision: None,
        base_dtype: None,
        matmul_precision: MatmulPrecision::Highest,
    }
}

/// Runs a job, which stops after this many steps. Returns its lines.
fn run(job: &Job, stop_after: Option<usize>) -> (Outcome, Vec<Line>) {
    let stop = AtomicBool::new(false);
    let mut lines = Vec::new();
    let mut trainer = job.clone().ready().unwrap().load().unwrap();
    let outcome = trainer
        .run(&stop, &mut |line: &Line| {
            if matches!(line, Line::Step(step) if Some(step.step) == stop_after) {
                stop.store(true, Ordering::Relaxed);
            }
            lines.push(line.clone());
        })
        .unwrap();
    (outcome, lines)
}

fn numbers(lines: &[Line]) -> Vec<(usize, u64, u64)> {
    let of = |line: &Line| match line {
        Line::Step(step) => (step.step, step.loss.to_bits(), step.gradient.unwrap().to_bits()),
        Line::Validation { step, loss, .. } => (*step, loss.to_bits(), 0),
        Line::Eval { .. } => panic!("nobody evaluated"),
    };
    lines.iter().map(of).collect()
}

#[test]
fn a_training_that_was_stopped_ends_bit_by_bit_as_one_that_was_not() {
    let folder = TempDir::new().unwrap();
    let base = base(folder.path(), "qwen3");
    let dataset = dataset(folder.path(), &rows());
    for (method, file) in
        [(Method::Lora, "adapter_model.safetensors"), (Method::Full, "model.safetensors")]
    {
        let whole = job(folder.path(), &base, &dataset, method, &format!("whole-{method:?}"));
        let (outcome, expected) = run(&whole, None);
        assert_eq!((outcome, expected.len()), (Outcome::Done, 9));
        let parts = job(folder.path(), &base, &dataset, method, &format!("parts-{method:?}"));
        let mut lines = Vec::new();
        // In the middle of an epoch, and at the end of one.
        for stop in [Some(1), Some(4), None] {
            // An unfinished checkpoint, as a power failure leaves it.
            let partial = parts.output.join("checkpoints/partial-000001");
            if parts.output.is_dir() {
                fs::create_dir_all(&partial).unwrap();
                fs::write(partial.join("checkpoint.json"), "{\"st").unwrap();
            }
            let (outcome, part) = run(&parts, stop);
            assert_eq!(outcome, stop.map_or(Outcome::Done, Outcome::Stopped));
            lines.extend(part);
        }
        assert_eq!(numbers(&lines), numbers(&expected));
        let kept = |job: &Job| {
            let all = checkpoints(&job.output).unwrap();
            let steps: Vec<_> =
                all.iter().map(|one| (one.facts.clone(), one.folder.clone())).collect();
            let last = fs::read(all.last().unwrap().folder.join(file)).unwrap();
            (steps.into_iter().map(|(facts, _)| facts).collect::<Vec<_>>(), last)
        };
        assert_eq!(kept(&whole).0, kept(&parts).0);
        assert!(kept(&whole).1 == kept(&parts).1, "{file} differs");
        let all = checkpoints(&parts.output).unwrap();
        assert_eq!(
            all.iter().map(|one| one.facts.epoch).collect::<Vec<_>>(),
            [Some(1), Some(2), Some(3)]
        );
    }
}

#[test]
fn a_training_learns() {
    let folder = TempDir::new().unwrap();
    let base = base(folder.path(), "llama");
    let dataset = dataset(folder.path(), &rows());
    let mut job = job(folder.path(), &base, &dataset, Method::Lora, "student");
    job.settings.epochs = 30;
    let (_, lines) = run(&job, None);
    let losses: Vec<f64> = lines.iter().filter_map(loss).collect();
    let (first, last) = (losses[0], losses[losses.len() - 1]);
    assert!(last < first * 0.7, "{first} became {last}");
}

#[test]
fn products_of_bf16_change_losses_by_their_rounding_and_are_recorded() {
    KINDS.into_iter().for_each(check_products_of_bf16);
}

#[track_caller]
fn check_products_of_bf16(kind: &str) {
    let folder = TempDir::new().unwrap();
    let base = base(folder.path(), kind);
    let dataset = dataset(folder.path(), &rows());
    let with = |precision, name| {
        let exact = job(folder.path(), &base, &dataset, Method::Lora, name);
        let job = Job { matmul_precision: precision, ..exact };
        let losses: Vec<f64> = run(&job, None).1.iter().filter_map(loss).collect();
        (losses, Record::open(&job.output).unwrap().float32_matmul_precision, job)
    };
    let (exact, recorded, _) = with(MatmulPrecision::Highest, "exact");
    assert_eq!(recorded, MatmulPrecision::Highest);
    let (rounded, recorded, mut job) = with(MatmulPrecision::Medium, "rounded");
    let has_tiles = crate::amx::is_available();
    assert_eq!(recorded == MatmulPrecision::Medium, has_tiles);
    assert_eq!(rounded != exact, has_tiles);
    for (exact, rounded) in exact.iter().zip(&rounded) {
        assert!((exact - rounded).abs() < 0.01 * exact, "{exact} became {rounded}");
    }
    if has_tiles {
        job.matmul_precision = MatmulPrecision::Highest;
        check(
            job,
            "its float32 matmul precision is medium, and this one, on this processor, is highest",
        );
    }
}

fn loss(line: &Line) -> Option<f64> {
    match line {
        Line::Step(step) => Some(step.loss),
        Line::Validation { .. } | Line::Eval { .. } => None,
    }
}

#[track_caller]
fn check(job: Job, expected: &str) {
    let said: Result<(), TrainError> = job.ready().and_then(|ready| ready.load()).map(drop);
    let said = said.unwrap_err().to_string();
    assert!(said.contains(expected), "{said}");
}

#[test]
fn what_cannot_be_trained_is_refused_in_a_sentence() {
    let folder = TempDir::new().unwrap();
    let base = base(folder.path(), "qwen3");
    let rows = dataset(folder.path(), &rows());
    let job = |name| job(folder.path(), &base, &rows, Method::Lora, name);
    let mut long = job("long");
    long.settings.max_length = 15;
    check(
        long,
        "row row-2 has 20 tokens, and the limit is 15: build the dataset with --max-length 15",
    );
    let mut small = job("small");
    small.means.memory = Some(100_000);
    check(small, "training needs about");
    let kept = job("kept");
    kept.clone().ready().unwrap().load().unwrap();
    let mut other = kept;
    other.settings.rank = 8;
    check(other, "holds another training: its rank is 4, not 8");
    let mut gpu = job("gpu");
    gpu.gpus = vec![0, 1];
    check(gpu.clone(), "this fixfly was built without GPU support");
    gpu.gpus = vec![1, 0, 1];
    check(gpu, "--gpu lists 1 twice");
}

#[test]
fn prompts_are_learned_where_it_is_asked() {
    let folder = TempDir::new().unwrap();
    let base = base(folder.path(), "qwen3");
    let rows = dataset(folder.path(), &rows());
    let mut job = job(folder.path(), &base, &rows, Method::Full, "prompts");
    let answers = job.clone().ready().unwrap().plan().tokens;
    job.settings.train_on_prompt = true;
    let (tokens, learned) = job.clone().ready().unwrap().plan().tokens;
    // The first token of each of the six rows cannot be predicted.
    assert_eq!((answers.0, learned), (tokens, tokens - 6));
    assert!(answers.1 < learned);
}

#[test]
fn several_devices_learn_what_one_does() {
    let folder = TempDir::new().unwrap();
    let base = base(folder.path(), "qwen3");
    let rows = dataset(folder.path(), &rows());
    for method in [Method::Lora, Method::Full] {
        let train = |devices: usize, name: &str| {
            let job = job(folder.path(), &base, &rows, method, &format!("{name}-{method:?}"));
            let mut ready = job.clone().ready().unwrap();
            ready.devices = vec![Device::Cpu; devices];
            let mut losses = Vec::new();
            let mut see = |line: &Line| {
                if let Line::Step(step) = line {
                    losses.push(step.loss);
                }
            };
            let stop = AtomicBool::new(false);
            ready.load().unwrap().run(&stop, &mut see).unwrap();
            losses
        };
        let one = train(1, "one");
        for devices in [2, 3] {
            let several = train(devices, &format!("on-{devices}"));
            assert_eq!(one.len(), several.len());
            for (one, several) in one.iter().zip(&several) {
                assert!((one / several - 1.0).abs() < 1e-4, "{one} is not {several}");
            }
        }
    }
}

#[test]
fn a_merged_model_is_the_model_with_its_adapter() {
    let folder = TempDir::new().unwrap();
    for kind in ["qwen3", "llama", "qwen2"] {
        let base = base(folder.path(), kind);
        let dataset = dataset(folder.path(), &rows());
        let job = job(folder.path(), &base, &dataset, Method::Lora, &format!("student-{kind}"));
        run(&job, None);
        let adapter = checkpoints(&job.output).unwrap().pop().unwrap().folder;
        let merged = folder.path().join(format!("merged-{kind}"));
        crate::merge(Some(&base), Some(&adapter), &merged, None).unwrap();
        let learned =
            safetensors::load(adapter.join("adapter_model.safetensors"), &Device::Cpu).unwrap();
        let mut beside = model(&base, &job.settings, Chunks::default());
        for at in 0..beside.params.all().len() {
            let value = learned[&beside.params.all()[at].name].clone();
            beside.params.set(at, value).unwrap();
        }
        let full = Settings::of(Method::Full);
        let merged = loaded(&merged, &full, Chunks::default(), BaseDtype::F32);
        let loss = |model: &Model| model.loss(&Pass::pack(&rows(), 1000)[0]).unwrap();
        let (one, other) = (loss(&beside), loss(&merged));
        assert!((one / other - 1.0).abs() < 1e-5, "{one} is not {other}");
    }
}
