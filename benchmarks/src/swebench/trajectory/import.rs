//! Trajectories of many files, as one run.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use fixfly_runtime::{
    BenchmarkError, Machine, RunRecord, SCHEMA, TaskKind, TemplateError, Templates, Wording, now,
};
use serde_json::{Value, json};

use super::{Form, Imported, read};
use crate::swebench::{Instance, NAME};

/// File name endings of trajectories.
pub const ENDINGS: [&str; 3] = [".traj", ".traj.json", "trajectory.json"];

/// The trajectories of many files.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Import {
    /// The files that could be read, and their trajectories.
    pub trajectories: Vec<(PathBuf, Imported)>,
    /// Why the other files could not be read.
    pub broken: Vec<String>,
    /// The number of files in the folders that are not trajectories.
    pub others: usize,
}

impl Import {
    /// Reads files, and the trajectories in folders. The trajectories of one instance
    /// become its samples, in the given order.
    ///
    /// `only` is the format that all files should have, if one is required.
    ///
    /// # Errors
    /// One sentence that names a folder that cannot be read.
    pub fn read(
        from: &[PathBuf],
        instances: &[Instance],
        only: Option<Form>,
    ) -> Result<Import, BenchmarkError> {
        let mut import = Import::default();
        for file in import.files(from)? {
            match read(&file, instances) {
                Ok(Imported { form, .. }) if only.is_some_and(|only| only != form) => {
                    let (file, form) = (file.display(), form.name());
                    import.broken.push(format!("{file}: its format is {form}, not the given one"));
                }
                Ok(imported) => import.trajectories.push((file, imported)),
                Err(why) => import.broken.push(why.to_string()),
            }
        }
        import.number();
        Ok(import)
    }

    /// The given files, and the trajectories in the given folders.
    fn files(&mut self, from: &[PathBuf]) -> Result<Vec<PathBuf>, BenchmarkError> {
        let mut files = Vec::new();
        for path in from {
            match path.is_dir() {
                true => self.walk(path, &mut files)?,
                false => files.push(path.clone()),
            }
        }
        Ok(files)
    }

    fn walk(&mut self, folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), BenchmarkError> {
        let cannot =
            |why| BenchmarkError::Broken(format!("cannot read {}: {why}", folder.display()));
        let entries = std::fs::read_dir(folder).map_err(cannot)?;
        let mut paths: Vec<PathBuf> = entries
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<_, _>>()
            .map_err(cannot)?;
        paths.sort();
        for path in paths {
            let name = path.to_string_lossy().into_owned();
            if path.is_dir() {
                self.walk(&path, files)?;
            } else if ENDINGS.iter().any(|end| name.ends_with(end)) {
                files.push(path);
            } else {
                self.others += 1;
            }
        }
        Ok(())
    }

    fn number(&mut self) {
        let mut seen: BTreeMap<String, u32> = BTreeMap::new();
        for (_, Imported { episode, .. }) in &mut self.trajectories {
            let next = seen.entry(episode.task.id.clone()).or_default();
            episode.provenance.sample = *next;
            *next += 1;
        }
    }

    /// The number of files, read or broken.
    pub fn len(&self) -> usize {
        self.trajectories.len() + self.broken.len()
    }

    /// Whether no file was found.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The name of the model, if all episodes have the same; otherwise those of the agents.
    pub fn model_or_agents(&self) -> String {
        self.model().unwrap_or_else(|| self.agents())
    }

    /// The record of a run that has these episodes. `table` is the table of instances.
    ///
    /// # Errors
    /// [`TemplateError`] if the templates of issues cannot be loaded.
    pub fn record(&self, table: Option<&Path>) -> Result<RunRecord, TemplateError> {
        let templates = Templates::load(TaskKind::Issue, None)?;
        let sources = self.trajectories.iter().map(|(file, imported)| source(file, imported));
        let config = [
            ("benchmark", json!(NAME)),
            ("split", json!("benchmark")),
            ("policy", json!(self.agents())),
            ("model", self.model().map_or(Value::Null, |model| json!({ "model": model }))),
            ("imported", Value::Array(sources.collect())),
            ("instances", json!(table.map(|table| table.display().to_string()))),
        ];
        Ok(RunRecord {
            schema: SCHEMA,
            fixfly: env!("CARGO_PKG_VERSION").into(),
            started: now(),
            config: config.into_iter().map(|(key, value)| (key.to_string(), value)).collect(),
            seed: 0,
            benchmark: [("tasks".to_string(), json!(self.ids().len()))].into(),
            templates: Wording { hash: templates.hash.clone(), texts: templates.texts() },
            isolation: "not told".into(),
            machine: Machine::default(),
            tasks: None,
            merged: Vec::new(),
        })
    }

    /// Sentences about what was imported and what was not. `table` has the instances that
    /// were given, if any were.
    pub fn summary(&self, table: Option<&[Instance]>) -> Vec<String> {
        let ids = self.ids();
        let all = || self.trajectories.iter().map(|(_, imported)| imported);
        let turns: usize = all().map(|imported| imported.episode.turns.len()).sum();
        let patches = all().filter(|imported| imported.episode.patch.is_some()).count();
        let mut lines = vec![format!(
            "{} trajectories of {}: {} instances, {turns} turns, {patches} patches, all without a verdict",
            self.trajectories.len(),
            self.agents(),
            ids.len()
        )];
        let mut remarks: BTreeMap<&str, usize> = BTreeMap::new();
        for (remark, times) in all().flat_map(|imported| &imported.remarks) {
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
        if self.others > 0 {
            let others = self.others;
            lines.push(format!("{others} other files in the folders are not trajectories"));
        }
        lines
    }

    fn agents(&self) -> String {
        let agents = self.trajectories.iter().map(|(_, imported)| imported.agent.as_str());
        agents.collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>().join(" and ")
    }

    fn model(&self) -> Option<String> {
        let models = self.trajectories.iter().map(|(_, imported)| imported.model.as_ref());
        let models: BTreeSet<_> = models.collect();
        match models.into_iter().collect::<Vec<_>>().as_slice() {
            [one] => one.cloned(),
            _ => None,
        }
    }

    fn ids(&self) -> BTreeSet<&str> {
        let episodes = self.trajectories.iter().map(|(_, imported)| &imported.episode);
        episodes.map(|episode| episode.task.id.as_str()).collect()
    }
}

/// The source of an episode, and its file's totals.
fn source(file: &Path, imported: &Imported) -> Value {
    json!({
        "task": imported.episode.task.id,
        "sample": imported.episode.provenance.sample,
        "file": file.display().to_string(),
        "sha256": imported.sha256,
        "format": imported.form.name(),
        "agent": imported.agent,
        "version": imported.version,
        "model": imported.model,
        "exit_status": imported.exit_status,
        "totals": imported.totals,
    })
}
