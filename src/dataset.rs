//! `fixfly dataset`: recorded runs become what a student learns from.

mod build;
pub(crate) mod known;
mod look;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use fixfly_train::RECIPES;

pub(crate) use known::Python;

use crate::failure::Usage;
use crate::terminal::{Terminal, print};

#[derive(Debug, Args)]
pub(crate) struct Flags {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a dataset of recorded runs
    Build(Box<build::Flags>),
    /// Show rows as conversations, what is learned marked with `+`
    Show(look::Show),
    /// Say what a dataset holds
    Stats(look::Stats),
    /// Say which rows two datasets do not share
    Diff(look::Diff),
    /// Print a recipe that comes with fixfly, to make your own of it
    Recipe(Name),
}

#[derive(Debug, Args)]
struct Name {
    /// Its name
    name: String,
}

#[derive(Debug, Args)]
struct Folder {
    /// Folder that `fixfly dataset build` wrote
    #[arg(value_name = "DIR")]
    dataset: PathBuf,
}

pub(crate) fn dataset(flags: &Flags, terminal: &Terminal) -> anyhow::Result<()> {
    match &flags.command {
        Command::Build(flags) => build::build(flags, terminal),
        Command::Show(flags) => look::show(flags),
        Command::Stats(flags) => look::stats(flags),
        Command::Diff(flags) => look::diff(flags),
        Command::Recipe(name) => recipe(&name.name),
    }
}

fn recipe(name: &str) -> anyhow::Result<()> {
    let entry = fixfly_runtime::find("recipe", RECIPES, name).map_err(Usage)?;
    print(entry.open)
}
