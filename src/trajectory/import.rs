//! `fixfly trajectory import`: converts other agents' trajectories to a run without verdicts.

use std::path::PathBuf;

use clap::Args;
use fixfly_benchmarks::swebench::instance;
use fixfly_benchmarks::swebench::trajectory::{ENDINGS, Form, Import};
use fixfly_runtime::RunDirectory;

use crate::failure::Usage;
use crate::run::issues::write_predictions;
use crate::terminal::Terminal;

#[derive(Debug, Args)]
pub(super) struct Flags {
    /// Files of SWE-agent (`.traj`) or mini-swe-agent (`.traj.json`), files in the Agent
    /// Trajectory Interchange Format (`trajectory.json`), or folders of them
    #[arg(value_name = "FILE|DIR", required = true)]
    from: Vec<PathBuf>,

    /// Take only files of this format: traj (SWE-agent's), mini or atif
    #[arg(long, value_name = "FORMAT")]
    format: Option<Form>,

    /// Table of instances, for the issues' texts
    #[arg(long, value_name = "TABLE")]
    instances: Option<PathBuf>,

    /// Run directory to write
    #[arg(short, long, value_name = "RUN")]
    output: PathBuf,
}

pub(super) fn import(flags: &Flags, terminal: &Terminal) -> anyhow::Result<()> {
    let instances = match &flags.instances {
        Some(table) => {
            let table = instance::read(table)?;
            table.warn();
            table.rows
        }
        None => Vec::new(),
    };
    let import = Import::read(&flags.from, &instances, flags.format)?;
    if import.is_empty() {
        let why = format!("found no trajectory: no file name ends in {}", ENDINGS.join(" or "));
        return Err(Usage(why).into());
    }
    let Import { trajectories, broken, .. } = &import;
    if let ([why], []) = (broken.as_slice(), trajectories.as_slice()) {
        return Err(Usage(why.clone()).into());
    }
    broken.iter().for_each(|why| terminal.status(&format!("skipped: {why}")));
    if trajectories.is_empty() {
        anyhow::bail!("none of {} files could be read", import.len());
    }
    let record = import.record(flags.instances.as_deref())?;
    let (mut directory, _) = RunDirectory::open(&flags.output, &record)?;
    trajectories.iter().try_for_each(|(_, imported)| directory.append(&imported.episode))?;
    write_predictions(&flags.output, &flags.output, &import.model_or_agents())?;
    let table = flags.instances.as_ref().map(|_| instances.as_slice());
    import.summary(table).iter().for_each(|sentence| terminal.status(sentence));
    match broken.len() {
        0 => Ok(()),
        count => anyhow::bail!("{count} of {} files could not be read", import.len()),
    }
}
