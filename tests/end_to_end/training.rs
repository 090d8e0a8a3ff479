//! `fixfly train`: what is refused, and LLaMA-Factory from its files to its checkpoints.

#[cfg(feature = "train")]
pub(crate) mod here;
mod nothing;
#[cfg(all(feature = "train", feature = "llama"))]
mod whole_loop;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::{command, printed, refused, sentence};

/// A model folder's configuration, and a dataset's ShareGPT form.
fn stage(folder: &Path) -> (PathBuf, PathBuf) {
    let (base, dataset) = (folder.join("base"), folder.join("dataset"));
    fs::create_dir_all(&base).unwrap();
    fs::write(base.join("config.json"), r#"{"model_type": "qwen3"}"#).unwrap();
    let data = dataset.join("sharegpt");
    fs::create_dir_all(&data).unwrap();
    fs::write(data.join("train.jsonl"), "{}\n").unwrap();
    fs::write(data.join("validation.jsonl"), "{}\n").unwrap();
    fs::write(data.join("dataset_info.json"), "{}").unwrap();
    let settings = "stage: sft\ndo_train: true\ndataset_dir: .  # this folder\ndataset: fixfly_train\n\
                eval_dataset: fixfly_validation\ntemplate: qwen3\nenable_thinking: false  # none reasons\n\
                mask_history: true\ncutoff_len: 900\n";
    fs::write(data.join("llamafactory.yaml"), settings).unwrap();
    (base, dataset)
}

/// The words of a training by LLaMA-Factory.
fn words<'a>(
    base: &'a Path,
    dataset: &'a Path,
    output: &'a Path,
    more: &[&'a str],
) -> Vec<&'a str> {
    let [base, dataset, output] = [base, dataset, output].map(|path| path.to_str().unwrap());
    let words = ["train", "llamafactory", "--base", base, "--dataset", dataset, "-o", output];
    words.into_iter().chain(more.iter().copied()).collect()
}

#[test]
fn a_training_that_cannot_be_is_refused_in_a_sentence() {
    let folder = TempDir::new().unwrap();
    let (base, dataset) = stage(folder.path());
    let output = folder.path().join("student");
    let (code, why) = refused(&words(&base, &dataset, &output, &["--rank", "0"]));
    assert_eq!((code, &*why), (2, "--rank is 0; it must be at least 1"));
    let (code, why) = refused(&words(&base, &folder.path().join("none"), &output, &[]));
    assert!(code == 2 && why.contains("build the dataset with --format sharegpt"), "{why}");
    let (code, why) = refused(&words(&base, &dataset, &output, &["--program", "/nonexistent"]));
    assert!(code == 2 && why.contains("pip install llamafactory"), "{why}");
    let (code, why) = refused(&words(&base, &dataset, &output, &["--rank", "64"]));
    assert!(
        code == 1 && why.contains("holds another training: its alpha is 64.0, not 128.0"),
        "{why}"
    );
}

#[test]
fn a_build_without_a_feature_says_how_to_get_it() {
    let without = |feature, words: &[&str]| {
        sentence(command(words).env("FIXFLY_WITHOUT", feature).output().unwrap())
    };
    let lora = ["train", "lora", "--base", "b", "--dataset", "d", "-o", "s"];
    let (code, why) = without("train", &lora);
    let remedy = "build it with `cargo build --release --features train`, or train with LLaMA-Factory: \
                  `fixfly train llamafactory`";
    assert_eq!((code, why), (2, format!("this fixfly was built without train; {remedy}")));

    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/benchmarks/experiments/closed-loop.toml");
    let sweep = ["sweep", file, "-o", "/nonexistent/s"];
    for feature in ["train", "llama"] {
        let (code, why) = without(feature, &sweep);
        let remedy = "build it with `cargo build --release --features train,llama`";
        assert_eq!((code, why), (2, format!("this fixfly was built without {feature}; {remedy}")));
    }
}

#[test]
fn llamafactory_gets_every_setting() {
    let folder = TempDir::new().unwrap();
    let (base, dataset) = stage(folder.path());
    let output = folder.path().join("student");
    let more =
        ["--method", "full", "--gpus", "4", "--nodes", "2", "--slurm", "--max-length", "1000"];
    let script = printed(&words(&base, &dataset, &output, &more));
    let sbatch = fs::read_to_string(script.trim()).unwrap();
    for line in
        ["#SBATCH --nodes=2", "#SBATCH --gpus-per-node=4", "NPROC_PER_NODE=4", "srun bash -c"]
    {
        assert!(sbatch.contains(line), "no {line}: {sbatch}");
    }
    let settings = fs::read_to_string(output.join("llamafactory/train.yaml")).unwrap();
    for line in [
        "finetuning_type: full",
        "per_device_train_batch_size: 1",
        "gradient_accumulation_steps: 8",
        "learning_rate: 5.0e-6",
        "num_train_epochs: 10.0",
        "lr_scheduler_type: cosine",
        "warmup_steps: 100",
        "weight_decay: 0.001",
        "max_grad_norm: 1",
        "bf16: true",
        "save_strategy: epoch",
        "eval_strategy: epoch",
        "template: qwen3",
        "enable_thinking: false",
        "mask_history: true",
        "cutoff_len: 1000",
    ] {
        assert!(settings.lines().any(|setting| setting == line), "no `{line}`: {settings}");
    }
    assert!(settings.contains("ds_z2_offload_config.json"), "{settings}");
    for name in [
        "ds_z2_offload_config.json",
        "data/dataset_info.json",
        "data/train.jsonl",
        "data/validation.jsonl",
    ] {
        assert!(output.join("llamafactory").join(name).is_file(), "{name}");
    }
    // On processors one process a machine, and no GPU is asked for.
    let more = ["--gpus", "0", "--nodes", "2", "--slurm"];
    let script = printed(&words(&base, &dataset, &folder.path().join("slow"), &more));
    let sbatch = fs::read_to_string(script.trim()).unwrap();
    assert!(sbatch.contains("NPROC_PER_NODE=1\n"), "{sbatch}");
    assert!(!sbatch.contains("gpus-per-node"), "{sbatch}");
}

/// Stands for LLaMA-Factory: reads where to write from what it was given, logs two steps and a
/// look at the validation rows, and leaves a checkpoint as it does.
const FACTORY: &str = r#"#!/bin/sh
set -e
[ "$1" = train ]
grep -q '^lora_rank: 32$' "$2"
out=$(sed -n 's/^output_dir: "\(.*\)"$/\1/p' "$2")
mkdir -p "$out/checkpoint-2"
echo '{"current_steps": 1, "total_steps": 2, "loss": 2.0, "lr": 1e-5, "epoch": 0.5, "total_tokens": 100}' > "$out/trainer_log.jsonl"
echo '{"current_steps": 2, "total_steps": 2, "loss": 1.0, "lr": 0.0, "epoch": 1.0, "total_tokens": 200}' >> "$out/trainer_log.jsonl"
echo '{"current_steps": 2, "total_steps": 2, "eval_loss": 1.5, "epoch": 1.0}' >> "$out/trainer_log.jsonl"
echo weights > "$out/checkpoint-2/adapter_model.safetensors"
echo '{"epoch": 1.0, "log_history": [{"step": 2, "eval_loss": 1.5}]}' > "$out/checkpoint-2/trainer_state.json"
"#;

#[test]
fn llamafactory_is_watched_and_resumed_from_its_checkpoints() {
    let folder = TempDir::new().unwrap();
    let (base, dataset) = stage(folder.path());
    let (output, program) = (folder.path().join("student"), folder.path().join("factory"));
    fs::write(&program, FACTORY).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    // It is started in the student's folder, and named from here.
    let mut command = command(&words(&base, &dataset, &output, &["--program", "./factory"]));
    let ended = command.current_dir(folder.path()).output().unwrap();
    let (out, errors) =
        (String::from_utf8(ended.stdout).unwrap(), String::from_utf8(ended.stderr).unwrap());
    assert!(ended.status.success(), "{errors}");
    assert!(errors.contains("epoch 1: validation loss 1.5000"), "{errors}");
    assert!(out.contains("<- chosen") && out.contains("1.5000"), "{out}");
    assert!(output.join("checkpoints/step-000002/adapter_model.safetensors").is_file());
    let failing = folder.path().join("failing");
    fs::write(&failing, "#!/bin/sh\necho 'ValueError: no such template'\nexit 3\n").unwrap();
    fs::set_permissions(&failing, fs::Permissions::from_mode(0o755)).unwrap();
    let failing = failing.to_str().unwrap();
    let other = folder.path().join("other");
    let (code, why) = refused(&words(&base, &dataset, &other, &["--program", failing]));
    assert!(code == 1 && why.contains("ValueError: no such template"), "{why}");
}
