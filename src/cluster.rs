//! `fixfly cluster`: stages of a file as jobs of Slurm, and what became of them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use clap::{Args, Subcommand, value_parser};
use fixfly_students::cluster::{
    Cluster, ClusterError, ClusterFile, Plan, Retry, Survey, plan_table, state_table,
};

use crate::config::sentence;
use crate::failure::of_cluster;
use crate::sweep;
use crate::terminal::{Terminal, one_line, print};

#[derive(Debug, Args)]
pub(crate) struct Flags {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Submit the stages of a file that are not queued, running or done
    Submit(Submit),
    /// Show the stages, and submit again what a lost node left
    Status(Status),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  fixfly cluster submit cluster.toml -o runs/big --dry-run
  fixfly cluster submit cluster.toml -o runs/big
  fixfly cluster status runs/big

The commands of the stages run in the current folder. The same command again submits what
failed or was cancelled; stages that are queued, running or done stay as they are.
docs/scale.md documents the file.")]
struct Submit {
    /// TOML file of the stages
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// Folder of the outputs; its folder cluster/ has scripts, logs and job ids
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,

    /// Write the scripts and print the plan without submitting
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  fixfly cluster status runs/big
  fixfly cluster status runs/big --watch
  fixfly cluster status runs/big --no-resubmit

Submits again what ended with work left: its node failed, another job preempted it, its
time limit came, or it was killed. Failed stages stay; submit them again with fixfly cluster
submit after you removed the cause.")]
struct Status {
    /// Folder that fixfly cluster submit wrote
    #[arg(value_name = "DIR")]
    folder: PathBuf,

    /// Repeat until every stage is done or nothing can continue
    #[arg(long)]
    watch: bool,

    /// Seconds between two looks with --watch
    #[arg(long, value_name = "SECONDS", default_value_t = 15, value_parser = value_parser!(u64).range(1..=86_400))]
    every: u64,

    /// Show the stages without submitting
    #[arg(long)]
    no_resubmit: bool,
}

pub(crate) fn cluster(
    flags: &Flags,
    commands: clap::Command,
    terminal: &Terminal,
) -> anyhow::Result<()> {
    let done = match &flags.command {
        Command::Submit(flags) => submit(flags, &commands, terminal),
        Command::Status(flags) => status(flags, &commands, terminal),
    };
    done.map_err(|error| match error.downcast::<ClusterError>() {
        Ok(error) => of_cluster(error),
        Err(error) => error,
    })
}

fn submit(flags: &Submit, commands: &clap::Command, terminal: &Terminal) -> anyhow::Result<()> {
    let file = ClusterFile::open(&flags.file)?;
    let program = std::env::current_exe().context("cannot find the path of fixfly")?;
    let directory = std::env::current_dir().context("cannot find the current folder")?;
    let output = std::path::absolute(&flags.output)?;
    let plan = Plan::new(&file, &output, &directory, &program.display().to_string())?;
    plan.check(&file, |words| match commands.clone().try_get_matches_from(words) {
        Ok(_) => Ok(()),
        Err(error) => Err(sentence(&error.render().to_string()).replace("error: ", "")),
    })?;
    let shown = plan_table(&plan);
    let mut cluster = Cluster::create(plan)?;
    if flags.dry_run {
        let scripts = output.join("cluster/scripts");
        return print(&format!("{shown}scripts: {}\n", scripts.display()));
    }
    let mut survey = cluster.survey()?;
    add_stages(&mut cluster, &mut survey, commands, terminal)?;
    let lines = cluster.submit(&mut survey, Retry::All)?;
    if lines.is_empty() {
        terminal.status("nothing to submit: every stage is queued, running or done");
    }
    lines.iter().for_each(|line| terminal.status(line));
    print(&state_table(&cluster, &survey))?;
    terminal.status(&format!("next: fixfly cluster status {} --watch", flags.output.display()));
    Ok(())
}

/// Adds the stages of sweeps that became ready.
fn add_stages(
    cluster: &mut Cluster,
    survey: &mut Survey,
    commands: &clap::Command,
    terminal: &Terminal,
) -> anyhow::Result<()> {
    for job in cluster.sweeps(survey) {
        let ready = sweep::ready(&job.command, commands, &cluster.plan.directory, terminal)?;
        cluster.add_stages(&job.name, &ready, survey)?;
    }
    Ok(())
}

fn status(flags: &Status, commands: &clap::Command, terminal: &Terminal) -> anyhow::Result<()> {
    let folder = std::path::absolute(&flags.folder)?;
    let mut last = String::new();
    loop {
        let looked = look(&folder, flags, commands, terminal);
        let Look { shown, is_over, stopped } = match looked {
            // The controller of a cluster may be away for a moment.
            Err(error) if flags.watch && is_passing(&error) => {
                terminal.status(&one_line(&format!("{error:#}; asking again")));
                std::thread::sleep(Duration::from_secs(flags.every));
                continue;
            }
            looked => looked?,
        };
        if shown != last {
            print(&shown)?;
            last = shown;
        }
        match stopped {
            Some(why) if is_over || !flags.watch => bail!(why),
            _ if is_over || !flags.watch => return Ok(()),
            _ => std::thread::sleep(Duration::from_secs(flags.every)),
        }
    }
}

fn is_passing(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(ClusterError::Slurm { .. } | ClusterError::Busy(_)))
}

/// One look at the jobs.
struct Look {
    shown: String,
    /// Whether nothing is queued or running.
    is_over: bool,
    /// Why a stage does not continue.
    stopped: Option<String>,
}

fn look(
    folder: &Path,
    flags: &Status,
    commands: &clap::Command,
    terminal: &Terminal,
) -> anyhow::Result<Look> {
    let mut cluster = Cluster::open(folder)?;
    let mut survey = cluster.survey()?;
    if !flags.no_resubmit {
        add_stages(&mut cluster, &mut survey, commands, terminal)?;
        for line in cluster.submit(&mut survey, Retry::Lost)? {
            terminal.status(&line);
        }
    }
    let stopped = survey.stopped(&cluster.plan).map(|(job, why)| {
        format!(
            "{job} stopped: {why}; its logs are in {}; submit the file again to continue",
            folder.join("cluster/logs").display()
        )
    });
    let is_over = !survey.is_active(&cluster.plan);
    Ok(Look { shown: state_table(&cluster, &survey), is_over, stopped })
}
