//! Command-line parsing. Each command's flags are in the command's own file.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{ArgAction, CommandFactory, Parser, Subcommand};

use crate::config;
#[cfg(feature = "train")]
use crate::export;
use crate::terminal::{one_line, print_error, print_usage};
use crate::{
    bench, dataset, grade, model, reason, report, run, sandbox, schema, show, sweep, train,
    trajectory,
};

#[derive(Debug, Parser)]
#[command(name = "fixfly", version, about, disable_help_subcommand = true, after_help = EXAMPLES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,

    /// Print more log messages: -v, -vv, -vvv
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub(crate) verbose: u8,

    /// TOML file with flags, e.g. `max_tokens = 500` for `--max-tokens 500`; flags
    /// on the command line take precedence
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
    /// Build and verify benchmarks
    Bench(bench::Flags),
    /// Run a policy on a benchmark and record every episode
    Run(Box<run::Flags>),
    /// Grade patches by a benchmark's rules
    Grade(grade::Flags),
    /// Exchange recorded episodes with other agents
    Trajectory(trajectory::Flags),
    /// Report the results of recorded runs
    Report(report::Flags),
    /// Show recorded episodes in the terminal
    Show(show::Flags),
    /// Build training datasets from recorded runs and inspect them
    Dataset(dataset::Flags),
    /// Ask a teacher for reasoning traces that explain a dataset's answers
    Reason(reason::Flags),
    /// Train a student on a dataset: LoRA or full fine-tuning
    Train(train::Flags),
    /// Export students in formats that other programs load
    #[cfg(feature = "train")]
    Export(export::Flags),
    /// Export students in formats that other programs load (needs a build with --features train)
    #[cfg(not(feature = "train"))]
    #[command(disable_help_flag = true)]
    Export(train::Absent),
    /// List, fetch and describe models
    Model(model::Flags),
    /// Run an experiment file: train and evaluate every combination, and tabulate the results
    Sweep(sweep::Flags),
    /// Print the JSON Schema of a file that fixfly writes
    Schema(schema::Flags),
    /// Check this machine's isolation, build images, clean up after dead runs
    Sandbox(sandbox::Flags),
    /// Internal: run a model for the policy `llama`
    #[cfg(feature = "llama")]
    #[command(hide = true)]
    LlamaEngine,
}

/// Parses the command line. On `--help` or an error, prints it and returns the exit code.
pub(crate) fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Cli, ExitCode> {
    let words = config::expanded(Cli::command(), words.into_iter().collect());
    let words = words.map_err(|error| {
        print_error(&format!("error: {}", one_line(&error.to_string())));
        ExitCode::from(2)
    })?;
    Cli::try_parse_from(words).map_err(|error| match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            print_usage(&error);
            ExitCode::SUCCESS
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            print_usage(&error);
            ExitCode::from(2)
        }
        _ => {
            print_error(&config::sentence(&error.render().to_string()));
            ExitCode::from(2)
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(words: &str, expected: &str) {
        let words = words.split_whitespace().map(OsString::from);
        let error = Cli::try_parse_from(words).unwrap_err();
        assert_eq!(config::sentence(&error.render().to_string()), expected);
    }

    #[test]
    fn errors_are_one_sentence() {
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
            "error: invalid value 'test' for '--split <SPLIT>': expected one of: train, \
             validation, benchmark; see --help",
        );
    }

    #[test]
    fn the_commands_are_well_formed() {
        Cli::command().debug_assert();
    }
}
