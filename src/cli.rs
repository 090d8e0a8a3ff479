//! Command-line parsing. Each command's flags are in the command's own file.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::error::ErrorKind;
use clap::{ArgAction, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::config;
#[cfg(feature = "train")]
use crate::export;
#[cfg(feature = "mcp")]
use crate::mcp;
use crate::terminal::{LogFormat, one_line, print_error, print_usage};
#[cfg(feature = "view")]
use crate::view;
use crate::{
    bench, cluster, compress, dataset, fix, generate, grade, help, judge, merge, model, reason,
    report, run, sandbox, schema, show, sweep, train, trajectory,
};

#[derive(Debug, Parser)]
#[command(name = "fixfly", version, long_version = env!("FIXFLY_VERSION"), about, disable_help_subcommand = true, after_help = EXAMPLES)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,

    /// Print each episode, and more log messages: -v, -vv, -vvv
    #[arg(short, long, global = true, action = ArgAction::Count, conflicts_with = "quiet")]
    pub(crate) verbose: u8,

    /// Print only results and errors
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,

    /// Form of standard error: text or json; RUST_LOG filters logs
    #[arg(
        long,
        global = true,
        value_name = "text|json",
        default_value = "text",
        hide_default_value = true,
        hide_possible_values = true
    )]
    pub(crate) log_format: LogFormat,

    /// TOML file of flags; the command line takes precedence
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Internal: where a job of `fixfly cluster` writes its state
    #[arg(long, global = true, value_name = "FILE", hide = true)]
    pub(crate) job_state: Option<PathBuf>,
}

const EXAMPLES: &str = "\
Examples:
  fixfly bench build django
  fixfly run django --policy retrieval -o runs/retrieval
  fixfly report runs/retrieval";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Build and verify benchmarks
    Bench(bench::Flags),
    /// Run a policy on a benchmark and record every episode
    Run(Box<run::Flags>),
    /// Merge runs that are shards of one
    MergeRuns(merge::Flags),
    /// Fix a failing test of your repository
    Fix(Box<fix::Flags>),
    /// Grade patches by a benchmark's rules
    Grade(grade::Flags),
    /// Judge candidates for another program, line by line
    Judge(judge::Flags),
    /// Exchange recorded episodes with other agents
    Trajectory(trajectory::Flags),
    /// Report the results of recorded runs
    Report(report::Flags),
    /// Show runs, episodes, datasets and trainings in a browser
    #[cfg(feature = "view")]
    View(view::Flags),
    /// Show recorded episodes in the terminal
    Show(show::Flags),
    /// Compress the episodes of recorded runs, or decompress them
    Compress(compress::Flags),
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
    /// Run stages as jobs of Slurm, and watch them
    Cluster(cluster::Flags),
    /// Serve the tools to other programs over the Model Context Protocol
    #[cfg(feature = "mcp")]
    Mcp(mcp::Flags),
    /// Print the JSON Schema of a file that fixfly writes
    Schema(schema::Flags),
    /// Check this machine's isolation, build images, clean up after dead runs
    Sandbox(sandbox::Flags),
    /// Generate shell completions and man pages
    Generate(generate::Flags),
    /// Internal: run a model for the policy `llama`
    #[cfg(feature = "llama")]
    #[command(hide = true)]
    LlamaEngine,
}

/// The definition of the command line.
pub(crate) fn command() -> clap::Command {
    help::on_one_screen(Cli::command())
}

/// Parses the command line. On `--help` or an error, prints it and returns the exit code.
pub(crate) fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Cli, ExitCode> {
    let words = config::expanded(command(), words.into_iter().collect());
    let words = words.map_err(|error| {
        print_error(&format!("error: {}", one_line(&error.to_string())));
        ExitCode::from(2)
    })?;
    let mut command = command();
    let given = command.try_get_matches_from_mut(words);
    let cli = given.and_then(|given| {
        Cli::from_arg_matches(&given).map_err(|error| error.format(&mut command))
    });
    cli.map_err(|error| match error.kind() {
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
#[allow(dead_code, reason = "the tests in tests/ use the rest")]
#[path = "../tests/end_to_end/docs/blocks.rs"]
mod blocks;

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

    /// A command is accepted, or it asks for help.
    fn accept(words: &[String]) -> Result<(), String> {
        let help = [ErrorKind::DisplayHelp, ErrorKind::DisplayVersion];
        let needs_wasm = words.get(1..3).is_some_and(|verbs| verbs == ["sandbox", "wasm"]);
        if needs_wasm && !cfg!(feature = "wasm") {
            return Ok(());
        }
        match Cli::try_parse_from(words) {
            Err(error) if !help.contains(&error.kind()) => {
                let why = config::sentence(&error.render().to_string());
                // The command is right; the model is not on this machine.
                match why.contains("is not fetched; run `fixfly model fetch ") {
                    true => Ok(()),
                    false => Err(why),
                }
            }
            _ => Ok(()),
        }
    }

    #[test]
    fn the_documentation_has_no_command_that_is_refused() {
        let blocks = super::blocks::all();
        let shell = blocks.iter().filter(|block| block.language == "sh");
        let (mut count, mut wrong) = (0, vec![]);
        for block in shell {
            for words in block.commands() {
                count += 1;
                if let Err(why) = accept(&words) {
                    wrong.push(format!("{}: {}: {why}", block.place(), words.join(" ")));
                }
            }
        }
        assert!(count > 50, "{count} commands");
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}
