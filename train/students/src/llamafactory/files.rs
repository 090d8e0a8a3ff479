//! LLaMA-Factory's input: data, settings, and its command.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use fixfly_runtime::sha256;

use super::LlamaFactory;
use crate::cluster::{Header, Options, quoted, setup};
use crate::error::TrainError;
use crate::settings::{Method, Precision, Schedule};

/// The files of a dataset that LLaMA-Factory reads.
const DATA: [&str; 3] = ["dataset_info.json", "train.jsonl", "validation.jsonl"];

/// The file of DeepSpeed's settings.
const DEEPSPEED: &str = "ds_z2_offload_config.json";

/// A dataset in ShareGPT format, with its settings for LLaMA-Factory.
#[derive(Clone, Debug)]
pub struct ShareGpt {
    folder: PathBuf,
    told: Vec<(String, String)>,
    /// SHA-256 of the training rows.
    pub hash: String,
}

impl ShareGpt {
    /// Opens `sharegpt/` of a dataset folder.
    ///
    /// # Errors
    /// [`TrainError::Rows`] if there is none; [`TrainError::Io`] if its rows cannot be
    /// read.
    pub fn open(dataset: &Path) -> Result<ShareGpt, TrainError> {
        let folder = dataset.join("sharegpt");
        let file = folder.join("llamafactory.yaml");
        let text = fs::read_to_string(&file).map_err(|why| {
            TrainError::Rows(format!(
                "cannot read {} ({why}); build the dataset with --format sharegpt",
                file.display()
            ))
        })?;
        let pair = |line: &str| {
            let (key, value) = line.split('#').next()?.split_once(':')?;
            Some((key.trim().to_string(), value.trim().to_string()))
        };
        let told = text.lines().filter_map(pair).collect();
        let train = folder.join(DATA[1]);
        let rows = fs::read(&train).map_err(TrainError::io("read", &train))?;
        Ok(ShareGpt { folder, told, hash: sha256(rows) })
    }
}

impl LlamaFactory {
    /// Writes LLaMA-Factory's input.
    ///
    /// # Errors
    /// [`TrainError::Io`] if a file cannot be written.
    pub fn write(&self, data: &ShareGpt) -> Result<(), TrainError> {
        let (handed, made) = (self.handed(), self.made());
        let copies = handed.join("data");
        fs::create_dir_all(&copies).map_err(TrainError::io("make", &copies))?;
        for name in DATA {
            let from = data.folder.join(name);
            if from.is_file() {
                fs::copy(&from, copies.join(name)).map_err(TrainError::io("copy", &from))?;
            }
        }
        // LLaMA-Factory rejects a folder that is not empty and has no checkpoint.
        if super::collect::left(&made)?.is_empty() && made.is_dir() {
            fs::remove_dir_all(&made).map_err(TrainError::io("remove", &made))?;
        }
        let put = |file: PathBuf, text: String| {
            fs::write(&file, text).map_err(TrainError::io("write", &file))
        };
        put(self.settings_file(), self.yaml(data))?;
        if self.settings.method == Method::Full && self.gpus > 0 {
            let text = serde_json::to_string_pretty(&deepspeed()).unwrap_or_default();
            put(handed.join(DEEPSPEED), text + "\n")?;
        }
        if let Some(options) = &self.slurm {
            put(self.script(), self.sbatch(options)?)?;
        }
        Ok(())
    }

    /// LLaMA-Factory's settings, all of them explicit.
    fn yaml(&self, data: &ShareGpt) -> String {
        let settings = &self.settings;
        let text = |text: &str| serde_json::Value::from(text).to_string();
        let path = |path: &Path| text(&path.display().to_string());
        let mut lines = vec![
            ("model_name_or_path", path(&self.base)),
            ("trust_remote_code", "false".into()),
            ("finetuning_type", settings.method.name().into()),
        ];
        if settings.method == Method::Lora {
            let targets: Vec<_> = settings.targets.iter().map(|target| target.name()).collect();
            lines.extend([
                ("lora_rank", settings.rank.to_string()),
                ("lora_alpha", settings.alpha.to_string()),
                ("lora_dropout", settings.dropout.to_string()),
                ("lora_target", targets.join(",")),
            ]);
        } else if self.gpus > 0 {
            lines.push(("deepspeed", path(&self.handed().join(DEEPSPEED))));
        }
        let schedule = match settings.lr_scheduler {
            Schedule::Cosine => "cosine",
            Schedule::Linear => "linear",
            Schedule::Constant => "constant_with_warmup",
        };
        let bf16 = self.dtype == Precision::Bf16;
        lines.extend([
            ("output_dir", path(&self.made())),
            ("per_device_train_batch_size", settings.batch_size.to_string()),
            ("gradient_accumulation_steps", settings.gradient_accumulation_steps.to_string()),
            ("learning_rate", number(settings.learning_rate)),
            ("num_train_epochs", format!("{:.1}", settings.epochs as f64)),
            ("lr_scheduler_type", schedule.into()),
            ("warmup_steps", settings.warmup_steps.to_string()),
            ("optim", "adamw_torch".into()),
            ("adam_beta1", settings.adam_beta1.to_string()),
            ("adam_beta2", settings.adam_beta2.to_string()),
            ("adam_epsilon", number(settings.adam_epsilon)),
            ("weight_decay", settings.weight_decay.to_string()),
            ("max_grad_norm", settings.max_grad_norm.to_string()),
            ("seed", settings.seed.to_string()),
            ("bf16", bf16.to_string()),
            ("save_strategy", "epoch".into()),
            ("logging_steps", "1".into()),
            ("include_num_input_tokens_seen", "true".into()),
            ("report_to", "none".into()),
            ("ddp_timeout", "180000000".into()),
        ]);
        if self.gpus == 0 {
            lines.push(("use_cpu", "true".into()));
        }
        if settings.train_on_prompt {
            lines.push(("train_on_prompt", "true".into()));
        }
        let mut said = String::from("# Written by fixfly train llamafactory.\n");
        for (key, value) in lines {
            let _ = writeln!(said, "{key}: {value}");
        }
        for (key, value) in &data.told {
            let value = match (&**key, &self.template) {
                ("dataset_dir", _) => path(&self.handed().join("data")),
                ("template", Some(template)) => template.clone(),
                ("cutoff_len", _) => settings.max_length.to_string(),
                _ => value.clone(),
            };
            let _ = writeln!(said, "{key}: {value}");
            if key == "eval_dataset" {
                said += "eval_strategy: epoch\nper_device_eval_batch_size: 1\n";
            }
        }
        said
    }

    /// The absolute path of the program; a bare name stays, to be looked up in `PATH`.
    fn program(&self) -> Result<PathBuf, TrainError> {
        match self.program.components().count() {
            1 => Ok(self.program.clone()),
            _ => std::path::absolute(&self.program).map_err(TrainError::io("find", &self.program)),
        }
    }

    /// The command. Several GPUs or DeepSpeed need torchrun.
    pub(super) fn command(&self) -> Result<Command, TrainError> {
        let program = self.program()?;
        let mut command = Command::new(&program);
        command.arg("train").arg(self.settings_file()).current_dir(self.handed());
        command.env("DISABLE_VERSION_CHECK", "1");
        if let Some(folder) = beside(&program) {
            let others = std::env::var_os("PATH").unwrap_or_default();
            let all = std::iter::once(folder.into()).chain(std::env::split_paths(&others));
            let all =
                std::env::join_paths(all).map_err(|why| TrainError::Settings(why.to_string()))?;
            command.env("PATH", all);
        }
        let deepspeed = self.settings.method == Method::Full && self.gpus > 0;
        if self.gpus > 1 || deepspeed {
            command.env("FORCE_TORCHRUN", "1").env("NPROC_PER_NODE", self.gpus.to_string());
        }
        Ok(command)
    }

    /// The script for sbatch.
    fn sbatch(&self, options: &Options) -> Result<String, TrainError> {
        let shown = |path: &Path| path.display().to_string();
        let name =
            self.output.file_name().map_or_else(Default::default, |name| name.to_string_lossy());
        let LlamaFactory { nodes, gpus, .. } = self;
        let program = self.program()?;
        let path = beside(&program)
            .map(|folder| format!("export PATH={}:\"$PATH\"\n", quoted(&shown(folder))));
        // Its own flags decide how many; a file may also name the type.
        let typed = options.gpus.as_ref().filter(|typed| typed.ends_with(&format!(":{gpus}")));
        let options = Options {
            nodes: u32::try_from(*nodes).ok(),
            gpus: Some(typed.cloned().unwrap_or_else(|| gpus.to_string())),
            ..options.clone()
        };
        let header = options.header(&Header {
            name: &format!("fixfly-{name}"),
            output: &shown(&self.handed().join("slurm-%j.txt")),
            ..Header::default()
        });
        let advice = match (&options.time, &options.partition) {
            (None, None) => {
                "# Set time, partition and account for your cluster: --cluster FILE.toml, or sbatch --time 24:00:00 --partition gpu train.sbatch\n"
            }
            _ => "",
        };
        let handed = self.handed();
        let folders = [&*handed, &*self.output, &*self.base];
        let contained = [options.step(&folders), options.wrapped(&folders)].concat();
        let contained: String = contained.iter().map(|word| quoted(word) + " ").collect();
        Ok(format!(
            "#!/usr/bin/env bash\n\
             {header}\
             {advice}\
             set -e -o pipefail\n\
             MASTER_ADDR=$(scontrol show hostnames \"$SLURM_JOB_NODELIST\" | head -n 1)\n\
             export MASTER_ADDR MASTER_PORT=$((20000 + SLURM_JOB_ID % 20000))\n\
             export FORCE_TORCHRUN=1 DISABLE_VERSION_CHECK=1 NNODES=$SLURM_NNODES NPROC_PER_NODE={}\n\
             {}\
             {}\
             cd {}\n\
             srun {contained}bash -c 'NODE_RANK=$SLURM_NODEID exec \"$0\" train \"$1\"' {} {}\n",
            gpus.max(&1),
            setup(&options),
            path.unwrap_or_default(),
            quoted(&shown(&self.handed())),
            quoted(&shown(&program)),
            quoted(&shown(&self.settings_file())),
        ))
    }
}

/// A number with a decimal point, because YAML reads `5e-6` as text.
fn number(number: f64) -> String {
    let text = format!("{number:e}");
    match text.split_once('e') {
        Some((digits, power)) if !digits.contains('.') => format!("{digits}.0e{power}"),
        _ => text,
    }
}

/// LLaMA-Factory's `examples/deepspeed/ds_z2_offload_config.json`.
fn deepspeed() -> serde_json::Value {
    serde_json::json!({
        "train_batch_size": "auto",
        "train_micro_batch_size_per_gpu": "auto",
        "gradient_accumulation_steps": "auto",
        "gradient_clipping": "auto",
        "zero_allow_untested_optimizer": true,
        "fp16": {
            "enabled": "auto", "loss_scale": 0, "loss_scale_window": 1000,
            "initial_scale_power": 16, "hysteresis": 2, "min_loss_scale": 1,
        },
        "bf16": { "enabled": "auto" },
        "zero_optimization": {
            "stage": 2,
            "offload_optimizer": { "device": "cpu", "pin_memory": true },
            "allgather_partitions": true,
            "allgather_bucket_size": 5e8,
            "overlap_comm": false,
            "reduce_scatter": true,
            "reduce_bucket_size": 5e8,
            "contiguous_gradients": true,
            "round_robin_gradients": true,
        },
    })
}

/// The folder of the program, if it was given by path: LLaMA-Factory looks up `torchrun` in
/// `PATH`.
fn beside(program: &Path) -> Option<&Path> {
    program.parent().filter(|folder| !folder.as_os_str().is_empty())
}
