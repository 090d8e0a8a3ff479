//! `fixfly export`: converts students to the formats of other programs.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, Subcommand, ValueEnum};
use fixfly_students::{ExportDtype, Record, checkpoints, choose, gguf_adapter, gguf_model, merge};

use crate::failure::Usage;
use crate::terminal::Terminal;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  fixfly export gguf models/Qwen3-0.6B -o base.gguf
  fixfly export gguf students/v4 -o student.gguf
  fixfly run django --policy llama --model base.gguf --lora student.gguf -o runs/student
  fixfly export safetensors students/v4/checkpoints/step-000663 -o merged
  fixfly export peft students/v4 -o adapter")]
pub(crate) struct Flags {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Export an adapter folder for peft, vLLM and transformers
    Peft(Place),
    /// Export an adapter or a whole model for llama.cpp and the policy `llama`
    Gguf(Gguf),
    /// Export a whole model folder, with the adapter merged into its weights
    Safetensors(Merged),
}

#[derive(Debug, Args)]
struct Place {
    /// Folder written by fixfly train or peft, or a checkpoint
    #[arg(value_name = "STUDENT")]
    from: PathBuf,

    /// Output path
    #[arg(short, long, value_name = "PATH")]
    output: PathBuf,

    /// The adapter's base model folder [default: the one it was trained on]
    #[arg(long, value_name = "DIR")]
    base: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct Gguf {
    #[command(flatten)]
    place: Place,

    /// Merge the adapter into its base model and write the whole model
    #[arg(long)]
    merge: bool,

    /// Dtype of a whole model's matrices; an adapter is f32
    #[arg(long, value_name = "DTYPE", default_value = "f16")]
    dtype: Dtype,
}

#[derive(Debug, Args)]
struct Merged {
    #[command(flatten)]
    place: Place,

    /// Dtype of the weights [default: the model's]
    #[arg(long, value_name = "DTYPE")]
    dtype: Option<Dtype>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Dtype {
    F32,
    F16,
    Bf16,
}

impl From<Dtype> for ExportDtype {
    fn from(dtype: Dtype) -> ExportDtype {
        match dtype {
            Dtype::F32 => ExportDtype::F32,
            Dtype::F16 => ExportDtype::F16,
            Dtype::Bf16 => ExportDtype::Bf16,
        }
    }
}

/// What there is to export.
enum Student {
    Adapter { folder: PathBuf, base: Option<PathBuf> },
    Model(PathBuf),
}

pub(crate) fn export(flags: &Flags, terminal: &Terminal) -> anyhow::Result<()> {
    let output = match &flags.command {
        Command::Peft(place) => peft(place)?,
        Command::Gguf(flags) => gguf(flags)?,
        Command::Safetensors(flags) => safetensors(flags)?,
    };
    terminal.status(&format!("wrote {}", output.display()));
    Ok(())
}

/// `fixfly export gguf`.
pub(crate) fn gguf_file(flags: &Gguf, terminal: &Terminal) -> anyhow::Result<()> {
    let output = gguf(flags)?;
    terminal.status(&format!("wrote {}", output.display()));
    Ok(())
}

impl Place {
    /// The chosen checkpoint of a training, a checkpoint, or a folder of another program.
    fn student(&self) -> anyhow::Result<Student> {
        let (mut folder, mut base) = (self.from.clone(), self.base.clone());
        if folder.join("train.json").is_file() {
            let record = Record::open(&folder)?;
            let all = checkpoints(&folder)?;
            let Some(chosen) = choose(&all) else {
                let shown = folder.display();
                return Err(Usage(format!(
                    "{shown} has no checkpoint yet; finish its training first"
                ))
                .into());
            };
            base = base.or(Some(PathBuf::from(record.base)));
            folder = chosen.folder.clone();
        }
        match folder.join("adapter_config.json").is_file() {
            true => Ok(Student::Adapter { folder, base }),
            false => Ok(Student::Model(folder)),
        }
    }

    fn file(&self) -> anyhow::Result<&Path> {
        match self.output.extension().is_some_and(|end| end == "gguf") {
            true => Ok(&self.output),
            false => {
                Err(Usage(format!("-o {}: name a file that ends in .gguf", self.output.display()))
                    .into())
            }
        }
    }

    /// An empty or new folder.
    fn folder(&self) -> anyhow::Result<&Path> {
        let empty =
            std::fs::read_dir(&self.output).map_or(true, |mut entries| entries.next().is_none());
        match empty && !self.output.is_file() {
            true => Ok(&self.output),
            false => Err(Usage(format!(
                "-o {}: already exists; name an empty or a new folder",
                self.output.display()
            ))
            .into()),
        }
    }
}

fn peft(place: &Place) -> anyhow::Result<PathBuf> {
    let output = place.folder()?;
    let Student::Adapter { folder, .. } = place.student()? else {
        let shown = place.from.display();
        return Err(Usage(format!(
            "{shown} is not an adapter; transformers loads a whole model folder as it is"
        ))
        .into());
    };
    std::fs::create_dir_all(output).with_context(|| format!("cannot make {}", output.display()))?;
    for name in ["adapter_config.json", "adapter_model.safetensors"] {
        let (from, to) = (folder.join(name), output.join(name));
        std::fs::copy(&from, &to).with_context(|| format!("cannot copy {}", from.display()))?;
    }
    Ok(output.into())
}

fn gguf(flags: &Gguf) -> anyhow::Result<PathBuf> {
    let file = flags.place.file()?;
    match flags.place.student()? {
        Student::Model(folder) => gguf_model(&folder, file, flags.dtype.into())?,
        Student::Adapter { folder, base } if !flags.merge => {
            gguf_adapter(&folder, base.as_deref(), file)?;
        }
        Student::Adapter { folder, base } => {
            let whole = file.with_extension("merging");
            merge(base.as_deref(), Some(&folder), &whole, None)?;
            let made = gguf_model(&whole, file, flags.dtype.into());
            std::fs::remove_dir_all(&whole)
                .with_context(|| format!("cannot remove {}", whole.display()))?;
            made?;
        }
    }
    Ok(file.into())
}

fn safetensors(flags: &Merged) -> anyhow::Result<PathBuf> {
    let output = flags.place.folder()?;
    let dtype = flags.dtype.map(ExportDtype::from);
    match flags.place.student()? {
        Student::Model(folder) => merge(Some(&folder), None, output, dtype)?,
        Student::Adapter { folder, base } => {
            merge(base.as_deref(), Some(&folder), output, dtype)?;
        }
    }
    Ok(output.into())
}
