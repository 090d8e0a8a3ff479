//! `fixfly export`: converts students to the formats of other programs.

use std::path::{Path, PathBuf};

use clap::builder::PossibleValue;
use clap::{Args, Subcommand, ValueEnum};
use fixfly_students::{ExportDtype, Student, TrainError};

use crate::failure::Usage;
use crate::terminal::Terminal;

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  fixfly export gguf models/Qwen3-0.6B -o base.gguf
  fixfly export gguf qwen2.5-coder-0.5b --dtype q8_0 -o qwen-q8_0.gguf
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
    /// Folder written by fixfly train or peft, a checkpoint, or a model
    #[arg(value_name = "STUDENT", value_parser = crate::model::file)]
    from: PathBuf,

    /// Output path
    #[arg(short, long, value_name = "PATH")]
    output: PathBuf,

    /// The adapter's base model, a folder or a GGUF file [default: the one it was trained on]
    #[arg(long, value_name = "MODEL", value_parser = crate::model::file)]
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

    /// Dtype of the weights [default: the model's; of a GGUF file f16]
    #[arg(long, value_name = "DTYPE")]
    dtype: Option<FolderDtype>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Dtype {
    F32,
    F16,
    Bf16,
    #[value(name = "q8_0")]
    Q8_0,
}

/// A dtype that safetensors files have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct FolderDtype(Dtype);

impl ValueEnum for FolderDtype {
    fn value_variants<'a>() -> &'a [FolderDtype] {
        &[FolderDtype(Dtype::F32), FolderDtype(Dtype::F16), FolderDtype(Dtype::Bf16)]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        self.0.to_possible_value()
    }
}

impl From<Dtype> for ExportDtype {
    fn from(dtype: Dtype) -> ExportDtype {
        match dtype {
            Dtype::F32 => ExportDtype::F32,
            Dtype::F16 => ExportDtype::F16,
            Dtype::Bf16 => ExportDtype::Bf16,
            Dtype::Q8_0 => ExportDtype::Q8_0,
        }
    }
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
    fn student(&self) -> anyhow::Result<Student> {
        Student::open(&self.from, self.base.as_deref()).map_err(refused)
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
    fixfly_students::peft(&folder, output)?;
    Ok(output.into())
}

fn gguf(flags: &Gguf) -> anyhow::Result<PathBuf> {
    let file = flags.place.file()?;
    let student = flags.place.student()?;
    student.gguf(file, flags.dtype.into(), flags.merge).map_err(refused)?;
    Ok(file.into())
}

fn safetensors(flags: &Merged) -> anyhow::Result<PathBuf> {
    let output = flags.place.folder()?;
    let dtype = flags.dtype.map(|FolderDtype(dtype)| dtype.into());
    flags.place.student()?.safetensors(output, dtype).map_err(refused)?;
    Ok(output.into())
}

fn refused(error: TrainError) -> anyhow::Error {
    match error {
        TrainError::Export(why) => Usage(why).into(),
        error => error.into(),
    }
}
