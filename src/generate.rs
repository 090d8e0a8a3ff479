//! `fixfly generate`: what shells and `man` read, from the command line's own definition.

use std::path::PathBuf;

use anyhow::Context;
use clap::builder::StyledStr;
use clap::{Args, Command, Subcommand};
use clap_complete::Shell;

use crate::terminal::{Terminal, print};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  fixfly generate completions bash > ~/.local/share/bash-completion/completions/fixfly
  fixfly generate completions zsh > ~/.zfunc/_fixfly
  fixfly generate completions fish > ~/.config/fish/completions/fixfly.fish
  fixfly generate man ~/.local/share/man/man1")]
pub(crate) struct Flags {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Print a script that completes fixfly's commands and flags in a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Write a man page for each command
    Man {
        /// Folder to write to
        #[arg(value_name = "DIR")]
        folder: PathBuf,
    },
}

pub(crate) fn generate(
    flags: &Flags,
    mut command: Command,
    terminal: &Terminal,
) -> anyhow::Result<()> {
    match &flags.what {
        What::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(*shell, &mut command, "fixfly", &mut script);
            print(&String::from_utf8(script)?)
        }
        What::Man { folder } => {
            let failed = || format!("cannot write man pages to {}", folder.display());
            std::fs::create_dir_all(folder).with_context(failed)?;
            clap_mangen::generate_to(broken_lists(command), folder).with_context(failed)?;
            terminal.status(&format!("man pages: {}", folder.display()));
            Ok(())
        }
    }
}

/// The command with its lists of values indented: `man` joins lines unless they begin with a space.
fn broken_lists(command: Command) -> Command {
    let indented = |text: &StyledStr| text.to_string().replace("\n- ", "\n  - ");
    command
        .mut_args(|arg| match (arg.get_help().map(indented), arg.get_long_help().map(indented)) {
            (Some(help), Some(long)) => arg.help(help).long_help(long),
            (Some(help), None) => arg.help(help),
            (None, _) => arg,
        })
        .mut_subcommands(broken_lists)
}
