//! `fixfly dataset`: builds training datasets from recorded runs.

pub(crate) mod build;
mod hub;
pub(crate) mod known;
mod look;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use fixfly_datasets::RECIPES;

pub(crate) use known::Python;

use crate::flags::named;
use crate::terminal::{Terminal, print};

#[derive(Debug, Args)]
pub(crate) struct Flags {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Build a dataset from recorded runs
    Build(Box<build::Flags>),
    /// Show rows as conversations; `+` marks lines that carry loss
    Show(look::Show),
    /// Print statistics of a dataset
    Stats(look::Stats),
    /// Print the rows that differ between two datasets
    Diff(look::Diff),
    /// Write a dataset as the Hugging Face hub wants it: Parquet files and a card
    Hub(hub::Flags),
    /// Print a built-in recipe, as a starting point for your own
    Recipe(Name),
}

#[derive(Debug, Args)]
struct Name {
    /// Name of the recipe
    name: String,
}

#[derive(Debug, Args)]
struct Folder {
    /// Folder written by `fixfly dataset build`
    #[arg(value_name = "DIR")]
    dataset: PathBuf,
}

pub(crate) fn dataset(flags: &Flags, terminal: &Terminal) -> anyhow::Result<()> {
    match &flags.command {
        Command::Build(flags) => build::build(flags, terminal),
        Command::Show(flags) => look::show(flags),
        Command::Stats(flags) => look::stats(flags),
        Command::Diff(flags) => look::diff(flags),
        Command::Hub(flags) => hub::hub(flags, terminal),
        Command::Recipe(name) => recipe(&name.name),
    }
}

fn recipe(name: &str) -> anyhow::Result<()> {
    let entry = named("recipe", RECIPES, name)?;
    print(entry.open)
}
