//! Words to commands. What a verb takes stands in the verb's own file.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{ArgAction, CommandFactory, Parser, Subcommand};

use crate::config;
#[cfg(feature = "train")]
use crate::export;
use crate::failure::{Usage, one_line};
use crate::{
    bench, dataset, grade, reason, report, run, sandbox, schema, sweep, train, trajectory,
};

#[derive(Debug, Parser)]
#[command(name = "fixfly", version, about, disable_help_subcommand = true, after_help = EXAMPLES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,

    /// Say more of what goes on: -v, -vv, -vvv
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,

    /// TOML file with flags, `max_tokens = 500` for `--max-tokens 500`; flags
    /// given here stand over it
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  fixfly bench build django
  fixfly run django --policy retrieval -o runs/retrieval
  fixfly report runs/retrieval
  fixfly run --help";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make benchmarks, and prove that they hold
    Bench(bench::Flags),
    /// Let a policy work on a benchmark and record every episode
    Run(Box<run::Flags>),
    /// Grade patches of anybody's by the rules of a benchmark
    Grade(grade::Flags),
    /// Exchange recorded work with other agents
    Trajectory(trajectory::Flags),
    /// Say what recorded runs achieved
    Report(report::Flags),
    /// Make what a student learns from of recorded runs, and look at it
    Dataset(dataset::Flags),
    /// Have a teacher reason about the answers of a dataset
    Reason(reason::Flags),
    /// Make a student of a dataset: LoRA or a full fine-tune
    Train(train::Flags),
    /// Write students in the forms that others load
    #[cfg(feature = "train")]
    Export(export::Flags),
    /// Write students in the forms that others load (needs a build with --features train)
    #[cfg(not(feature = "train"))]
    #[command(disable_help_flag = true)]
    Export(train::Absent),
    /// Train and run what a file says, each with each, and tabulate it
    Sweep(sweep::Flags),
    /// Print the JSON Schema of a file that fixfly writes
    Schema(schema::Flags),
    /// Say what holds candidates here, make images, remove what dead runs left
    Sandbox(sandbox::Flags),
    /// Run a model for the policy `llama`, which starts this by itself
    #[cfg(feature = "llama")]
    #[command(hide = true)]
    LlamaEngine,
}

/// The command, or the exit code after its help or its fault was shown.
pub(crate) fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Cli, ExitCode> {
    let words = config::expanded(Cli::command(), words.into_iter().collect());
    let words = words.map_err(|fault| {
        eprintln!("error: {fault}");
        ExitCode::from(2)
    })?;
    Cli::try_parse_from(words).map_err(|error| match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            let _ = error.print();
            ExitCode::SUCCESS
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = error.print();
            ExitCode::from(2)
        }
        _ => {
            eprintln!("{}", sentence(&error.render().to_string()));
            ExitCode::from(2)
        }
    })
}

/// The flags of a command that is `fixfly run`.
pub(crate) fn run(words: &[String]) -> anyhow::Result<Box<run::Flags>> {
    let words = ["fixfly".to_string()].into_iter().chain(words.iter().cloned());
    let words = config::expanded(Cli::command(), words.map(OsString::from).collect())?;
    let parsed = Cli::try_parse_from(words);
    match parsed.map_err(|error| Usage(sentence(&error.render().to_string())))?.command {
        Command::Run(flags) => Ok(flags),
        _ => anyhow::bail!("it is another command"),
    }
}

/// The parser's message in one line, without its repetition of the usage.
fn sentence(message: &str) -> String {
    let end = ["\n\nUsage:", "\n\nFor more information"]
        .iter()
        .filter_map(|mark| message.find(mark))
        .min()
        .unwrap_or(message.len());
    let said = message[..end].replace("\n\n  tip:", ";");
    format!("{}; see --help", one_line(&said))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(words: &str, expected: &str) {
        let words = words.split_whitespace().map(OsString::from);
        let error = Cli::try_parse_from(words).unwrap_err();
        assert_eq!(sentence(&error.render().to_string()), expected);
    }

    #[test]
    fn faults_are_one_sentence() {
        let similar = "some similar subcommands exist: 'export', 'report'";
        check(
            "fixfly reprt",
            &format!("error: unrecognized subcommand 'reprt'; {similar}; see --help"),
        );
        check(
            "fixfly run",
            "error: the following required arguments were not provided: \
             --output <RUN> <BENCHMARK>; see --help",
        );
        check(
            "fixfly run django --policy null -o x --turns many",
            "error: invalid value 'many' for '--turns <TURNS>': invalid digit found in string; \
             see --help",
        );
        check(
            "fixfly run django --policy null -o x --jobs 0",
            "error: invalid value '0' for '--jobs <JOBS>': 0 is not in 1..=4096; see --help",
        );
        check(
            "fixfly run django --policy null -o x --split test",
            "error: invalid value 'test' for '--split <SPLIT>': there is no such split; \
             there is: train, validation, benchmark; see --help",
        );
    }

    #[test]
    fn the_commands_are_well_formed() {
        Cli::command().debug_assert();
    }
}
