//! `fixfly trajectory export`.

use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, ValueEnum};
use fixfly_benchmarks::swebench::trajectory::{self, atif};
use fixfly_runtime::{Recording, RunRecord, TaskKind, Templates, read_run};
use serde_json::{Value, json};

use crate::failure::Usage;
use crate::run::issues::write_predictions;
use crate::terminal::Terminal;

#[derive(Debug, Args)]
pub(super) struct Flags {
    /// Run directory of `fixfly run swebench` or `fixfly trajectory import`
    #[arg(value_name = "RUN")]
    run: PathBuf,

    /// Format to write
    #[arg(long, value_enum)]
    format: Format,

    /// Folder to write to
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// SWE-agent's ID/ID.traj, and preds.json
    Traj,
    /// The Agent Trajectory Interchange Format, ID/trajectory.json
    Atif,
    /// The patches alone: preds.json, for any SWE-bench grader
    Preds,
}

pub(super) fn export(flags: &Flags, terminal: &Terminal) -> anyhow::Result<()> {
    let record = read_run(&flags.run)?;
    let model =
        json!(record.config).pointer("/model/model").and_then(Value::as_str).map(String::from);
    let recording = Recording::open(&flags.run)?;
    std::fs::create_dir_all(&flags.output)
        .with_context(|| format!("cannot create {}", flags.output.display()))?;
    let run = (&record, &recording);
    let written = match flags.format {
        Format::Traj => write(flags, trajectory::Format::SweAgent, run, model.as_deref())?,
        Format::Atif => write(flags, trajectory::Format::Atif, run, model.as_deref())?,
        Format::Preds => 0,
    };
    let out = flags.output.display();
    if flags.format == Format::Atif {
        terminal.status(&format!("wrote {written} trajectories ({}) to {out}", atif::VERSION));
        return Ok(());
    }
    let policy = record.config.get("policy").and_then(Value::as_str).unwrap_or("fixfly");
    let patches = write_predictions(&flags.run, &flags.output, model.as_deref().unwrap_or(policy))?;
    match flags.format {
        Format::Traj => terminal.status(&format!(
            "wrote {written} trajectories and preds.json with {patches} instances to {out}"
        )),
        _ => terminal.status(&format!("wrote preds.json with {patches} instances to {out}")),
    }
    Ok(())
}

/// Writes the episodes' trajectories and returns their number.
fn write(
    flags: &Flags,
    format: trajectory::Format,
    (record, recording): (&RunRecord, &Recording),
    model: Option<&str>,
) -> anyhow::Result<usize> {
    let templates = Templates::recorded(&record.templates.texts)?;
    let all =
        (0..recording.len()).map(|at| recording.episode(at)).collect::<Result<Vec<_>, _>>()?;
    if all.iter().any(|episode| episode.task.statement.kind() != TaskKind::Issue) {
        return Err(Usage(format!(
            "{} is a run on methods: only runs of `fixfly run swebench` have trajectories",
            flags.run.display()
        ))
        .into());
    }
    format.write(&flags.output, &all, &templates, model)?;
    Ok(all.len())
}
