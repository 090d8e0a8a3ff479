//! The command-line program.

mod bench;
mod built;
mod cli;
mod cluster;
mod compress;
mod config;
mod dataset;
#[cfg(feature = "train")]
mod export;
mod failure;
mod fix;
mod flags;
mod generate;
mod grade;
mod help;
mod judge;
#[cfg(feature = "mcp")]
mod mcp;
mod merge;
mod model;
mod reason;
mod report;
mod run;
mod sandbox;
mod schema;
mod show;
mod swebench;
mod sweep;
mod tasks;
mod terminal;
mod threads;
mod train;
mod trajectory;
#[cfg(feature = "view")]
mod view;

use std::process::ExitCode;

use cli::{Cli, Command};
use fixfly_students::cluster::end_job;
use terminal::Terminal;

fn main() -> ExitCode {
    let cli = match cli::parse(std::env::args_os()) {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    let terminal = Terminal::new(cli.verbose, cli.quiet, cli.log_format);
    let job_state = cli.job_state.clone();
    let code = match dispatch(cli, terminal.clone()) {
        Ok(()) => 0,
        Err(error) => failure::end(&error, &terminal),
    };
    if let Some(state) = job_state
        && let Err(why) = end_job(state, code)
    {
        terminal.error(&format!("cannot write how the job ended: {why}"));
    }
    ExitCode::from(code)
}

fn dispatch(cli: Cli, terminal: Terminal) -> anyhow::Result<()> {
    terminal.log().map_err(failure::Usage)?;
    match cli.command {
        Command::Bench(flags) => bench::bench(&flags, &terminal),
        Command::Run(flags) => run::run(&flags, &terminal),
        Command::MergeRuns(flags) => merge::merge(&flags, &terminal),
        Command::Fix(flags) => fix::fix(&flags, &terminal),
        Command::Grade(flags) => grade::grade(&flags, &terminal),
        Command::Judge(flags) => judge::judge(&flags, &terminal),
        Command::Trajectory(flags) => trajectory::trajectory(&flags, &terminal),
        Command::Report(flags) => report::report(&flags),
        #[cfg(feature = "view")]
        Command::View(flags) => view::view(&flags),
        Command::Show(flags) => show::show(&flags),
        Command::Compress(flags) => compress::compress(&flags, &terminal),
        Command::Dataset(flags) => dataset::dataset(&flags, &terminal),
        Command::Reason(flags) => reason::reason(&flags, &terminal),
        Command::Train(flags) => train::train(&flags, &terminal),
        #[cfg(feature = "train")]
        Command::Export(flags) => export::export(&flags, &terminal),
        #[cfg(not(feature = "train"))]
        Command::Export(_) => Ok(built::require(&[built::Feature::Train])?),
        Command::Model(flags) => model::model(&flags, &terminal),
        Command::Sweep(flags) => sweep::sweep(&flags, &terminal),
        Command::Cluster(flags) => cluster::cluster(&flags, cli::command(), &terminal),
        #[cfg(feature = "mcp")]
        Command::Mcp(flags) => mcp::mcp(&flags, &terminal),
        Command::Schema(flags) => schema::schema(&flags),
        Command::Sandbox(flags) => sandbox::sandbox(&flags, &terminal),
        Command::Generate(flags) => generate::generate(&flags, cli::command(), &terminal),
        #[cfg(feature = "llama")]
        Command::LlamaEngine => {
            fixfly_policies::llama_engine(find_gpus);
            Ok(())
        }
    }
}

/// Makes the CUDA libraries that training uses available to llama.cpp. Without a
/// driver, llama.cpp finds no GPU and runs on the CPU.
#[cfg(feature = "llama")]
fn find_gpus() -> Result<(), String> {
    #[cfg(all(feature = "cuda", feature = "train-cuda"))]
    {
        use fixfly_students::cuda::{Absent, open};
        if let Err(Absent::Library(why)) = open() {
            return Err(why);
        }
    }
    Ok(())
}
