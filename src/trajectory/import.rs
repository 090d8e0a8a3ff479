//! `fixfly trajectory import`: converts other agents' trajectories to a run without verdicts.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use fixfly_benchmarks::swebench::trajectory::{Imported, read};
use fixfly_benchmarks::swebench::{Instance, NAME, instance};
use fixfly_runtime::{Machine, RunDirectory, RunRecord, SCHEMA, TaskKind, Templates, Wording};
use serde_json::{Value, json};

use crate::failure::Usage;
use crate::run::issues::write_predictions;
use crate::terminal::Terminal;

#[derive(Debug, Args)]
pub(super) struct Flags {
    /// Files of SWE-agent (`.traj`) or mini-swe-agent (`.traj.json`), or folders
    /// of them
    #[arg(value_name = "FILE|DIR", required = true)]
    from: Vec<PathBuf>,

    /// Table of instances, for the issues' texts
    #[arg(long, value_name = "TABLE")]
    instances: Option<PathBuf>,

    /// Run directory to write
    #[arg(short, long, value_name = "RUN")]
    output: PathBuf,
}

/// File name endings of trajectories.
const ENDS: [&str; 2] = [".traj", ".traj.json"];

pub(super) fn import(flags: &Flags, terminal: &Terminal) -> anyhow::Result<()> {
    let instances = match &flags.instances {
        Some(table) => instance::read(table)?,
        None => Vec::new(),
    };
    let (files, others) = files(&flags.from)?;
    if files.is_empty() {
        let why = format!("found no trajectory: no file name ends in {}", ENDS.join(" or "));
        return Err(Usage(why).into());
    }
    let (mut all, mut broken) = (Vec::new(), Vec::new());
    for file in &files {
        match read(file, &instances) {
            Ok(imported) => all.push((file, imported)),
            Err(why) => broken.push(why.to_string()),
        }
    }
    if let ([why], []) = (broken.as_slice(), all.as_slice()) {
        return Err(Usage(why.clone()).into());
    }
    broken.iter().for_each(|why| terminal.status(&format!("skipped: {why}")));
    if all.is_empty() {
        anyhow::bail!("none of {} files could be read", files.len());
    }
    number(&mut all);
    let record = record(flags, &all)?;
    let (mut directory, _) = RunDirectory::open(&flags.output, &record)?;
    all.iter().try_for_each(|(_, imported)| directory.append(&imported.episode))?;
    let model = model(&all).unwrap_or_else(|| agents(&all));
    write_predictions(&flags.output, &flags.output, &model)?;
    for sentence in summary(&all, others, flags.instances.as_ref().map(|_| instances.as_slice())) {
        terminal.status(&sentence);
    }
    match broken.len() {
        0 => Ok(()),
        count => anyhow::bail!("{count} of {} files could not be read", files.len()),
    }
}

/// The given files, the trajectories in the given folders, and the number of other
/// files in the folders.
fn files(from: &[PathBuf]) -> anyhow::Result<(Vec<PathBuf>, usize)> {
    let (mut files, mut others) = (Vec::new(), 0);
    for path in from {
        match path.is_dir() {
            true => walk(path, &mut files, &mut others)?,
            false => files.push(path.clone()),
        }
    }
    Ok((files, others))
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>, others: &mut usize) -> anyhow::Result<()> {
    let cannot = || format!("cannot read {}", folder.display());
    let entries = std::fs::read_dir(folder).with_context(cannot)?;
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<_, _>>()
        .with_context(cannot)?;
    paths.sort();
    for path in paths {
        let name = path.to_string_lossy().into_owned();
        if path.is_dir() {
            walk(&path, files, others)?;
        } else if ENDS.iter().any(|end| name.ends_with(end)) {
            files.push(path);
        } else {
            *others += 1;
        }
    }
    Ok(())
}

/// Numbers the trajectories of one instance as samples, in the given order.
fn number(all: &mut [(&PathBuf, Imported)]) {
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    for (_, Imported { episode, .. }) in all {
        let next = seen.entry(episode.task.id.clone()).or_default();
        episode.provenance.sample = *next;
        *next += 1;
    }
}

fn record(flags: &Flags, all: &[(&PathBuf, Imported)]) -> anyhow::Result<RunRecord> {
    let templates = Templates::load(TaskKind::Issue, None)?;
    let sources = all.iter().map(|(file, imported)| source(file, imported)).collect();
    let table = flags.instances.as_ref().map(|table| table.display().to_string());
    let config = [
        ("benchmark", json!(NAME)),
        ("split", json!("benchmark")),
        ("policy", json!(agents(all))),
        ("model", model(all).map_or(Value::Null, |model| json!({ "model": model }))),
        ("imported", Value::Array(sources)),
        ("instances", json!(table)),
    ];
    Ok(RunRecord {
        schema: SCHEMA,
        fixfly: env!("CARGO_PKG_VERSION").into(),
        started: fixfly_runtime::now(),
        config: config.into_iter().map(|(key, value)| (key.to_string(), value)).collect(),
        seed: 0,
        benchmark: [("tasks".to_string(), json!(ids(all).len()))].into(),
        templates: Wording { hash: templates.hash.clone(), texts: templates.texts() },
        isolation: "not told".into(),
        machine: Machine::default(),
    })
}

/// The source of an episode, and its file's totals.
fn source(file: &Path, imported: &Imported) -> Value {
    json!({
        "task": imported.episode.task.id,
        "sample": imported.episode.provenance.sample,
        "file": file.display().to_string(),
        "sha256": imported.sha256,
        "agent": imported.form.agent(),
        "version": imported.version,
        "model": imported.model,
        "exit_status": imported.exit_status,
        "totals": imported.totals,
    })
}

fn agents(all: &[(&PathBuf, Imported)]) -> String {
    let forms: BTreeSet<_> = all.iter().map(|(_, imported)| imported.form).collect();
    forms.into_iter().map(|form| form.agent()).collect::<Vec<_>>().join(" and ")
}

/// The model, if all episodes have the same.
fn model(all: &[(&PathBuf, Imported)]) -> Option<String> {
    let models: BTreeSet<_> = all.iter().map(|(_, imported)| imported.model.as_ref()).collect();
    match models.into_iter().collect::<Vec<_>>().as_slice() {
        [one] => one.cloned(),
        _ => None,
    }
}

fn ids<'a>(all: &'a [(&PathBuf, Imported)]) -> BTreeSet<&'a str> {
    all.iter().map(|(_, imported)| imported.episode.task.id.as_str()).collect()
}

/// A summary of what was imported and what was not.
fn summary(all: &[(&PathBuf, Imported)], others: usize, table: Option<&[Instance]>) -> Vec<String> {
    let ids = ids(all);
    let turns: usize = all.iter().map(|(_, imported)| imported.episode.turns.len()).sum();
    let patches = all.iter().filter(|(_, imported)| imported.episode.patch.is_some()).count();
    let mut lines = vec![format!(
        "{} trajectories of {}: {} instances, {turns} turns, {patches} patches, all without a verdict",
        all.len(),
        agents(all),
        ids.len()
    )];
    let mut remarks: BTreeMap<&str, usize> = BTreeMap::new();
    for (remark, times) in all.iter().flat_map(|(_, imported)| &imported.remarks) {
        *remarks.entry(remark).or_default() += times;
    }
    lines.extend(remarks.into_iter().map(|(remark, times)| format!("{times} {remark}")));
    let unknown = table.map_or(0, |table| {
        ids.iter().filter(|id| !table.iter().any(|instance| instance.id == **id)).count()
    });
    if unknown > 0 {
        lines.push(format!(
            "{unknown} instances are not in the table: the issue text is taken from the trajectory"
        ));
    }
    if others > 0 {
        lines.push(format!("{others} other files in the folders are not trajectories"));
    }
    lines
}
