//! `fixfly generate`: what shells and `man` read, from the command line's own definition.

use std::path::PathBuf;

use anyhow::Context;
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
            clap_mangen::generate_to(command, folder).with_context(failed)?;
            terminal.status(&format!("man pages: {}", folder.display()));
            Ok(())
        }
    }
}
