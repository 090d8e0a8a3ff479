//! `fixfly export`: students in the forms that others load.

use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, Subcommand, ValueEnum};
use fixfly_train::student::{self, Record, checkpoints, choose, gguf_adapter, gguf_model, merge};

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
    /// An adapter folder as peft, vLLM and transformers load it
    Peft(Place),
    /// An adapter, or a whole model, as llama.cpp and the policy `llama` load it
    Gguf(Gguf),
    /// A whole model folder, with the adapter added into its weights
    Safetensors(Merged),
}

#[derive(Debug, Args)]
struct Place {
    /// Folder that fixfly train wrote, a checkpoint of it, or what peft wrote
    #[arg(value_name = "STUDENT")]
    from: PathBuf,

    /// Where to write it
    #[arg(short, long, value_name = "PATH")]
    output: PathBuf,

    /// The adapter's model folder, where not the one it was trained on
    #[arg(long, value_name = "DIR")]
    base: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct Gguf {
    #[command(flatten)]
    place: Place,

    /// Add the adapter into its model, and write the whole
    #[arg(long)]
    merge: bool,

    /// Numbers of a whole model's matrices; an adapter is f32
    #[arg(long, value_name = "NUMBERS", default_value = "f16")]
    numbers: Numbers,
}

#[derive(Debug, Args)]
struct Merged {
    #[command(flatten)]
    place: Place,

    /// Numbers of the weights [default: as the model has them]
    #[arg(long, value_name = "NUMBERS")]
    numbers: Option<Numbers>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Numbers {
    F32,
    F16,
    Bf16,
}

impl From<Numbers> for student::Numbers {
    fn from(numbers: Numbers) -> student::Numbers {
        match numbers {
            Numbers::F32 => student::Numbers::F32,
            Numbers::F16 => student::Numbers::F16,
            Numbers::Bf16 => student::Numbers::Bf16,
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
    terminal.say(&format!("wrote {}", output.display()));
    Ok(())
}

impl Place {
    /// The checkpoint to take of a training, a checkpoint, or a folder of others.
    fn student(&self) -> anyhow::Result<Student> {
        let (mut folder, mut base) = (self.from.clone(), self.base.clone());
        if folder.join("train.json").is_file() {
            let record = Record::open(&folder)?;
            let all = checkpoints(&folder)?;
            let Some(chosen) = choose(&all) else {
                let shown = folder.display();
                return Err(
                    Usage(format!("{shown} has no checkpoint yet; let its training end")).into()
                );
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

    /// A folder that nothing is in yet.
    fn folder(&self) -> anyhow::Result<&Path> {
        let empty =
            std::fs::read_dir(&self.output).map_or(true, |mut entries| entries.next().is_none());
        match empty && !self.output.is_file() {
            true => Ok(&self.output),
            false => Err(Usage(format!(
                "-o {}: it is there already; name an empty or a new folder",
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
            "{shown} is no adapter; a whole model is a folder that transformers loads as it is"
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
        Student::Model(folder) => gguf_model(&folder, file, flags.numbers.into())?,
        Student::Adapter { folder, base } if !flags.merge => {
            gguf_adapter(&folder, base.as_deref(), file)?;
        }
        Student::Adapter { folder, base } => {
            let whole = file.with_extension("merging");
            merge(base.as_deref(), Some(&folder), &whole, None)?;
            let made = gguf_model(&whole, file, flags.numbers.into());
            std::fs::remove_dir_all(&whole)
                .with_context(|| format!("cannot remove {}", whole.display()))?;
            made?;
        }
    }
    Ok(file.into())
}

fn safetensors(flags: &Merged) -> anyhow::Result<PathBuf> {
    let output = flags.place.folder()?;
    let numbers = flags.numbers.map(student::Numbers::from);
    match flags.place.student()? {
        Student::Model(folder) => merge(Some(&folder), None, output, numbers)?,
        Student::Adapter { folder, base } => {
            merge(base.as_deref(), Some(&folder), output, numbers)?;
        }
    }
    Ok(output.into())
}
