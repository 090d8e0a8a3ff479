//! The runs of a dataset: the teacher of each, and what all have in common.

use std::path::{Path, PathBuf};

use fixfly_runtime::{JoinedRecording, RunRecord, TaskKind, Templates, join_shards, read_run};
use serde_json::Value;

use super::Run;
use crate::error::DatasetError;
use crate::recipe::Recipe;
use crate::summary::Source;

impl Run {
    /// Opens each `[TEACHER=]RUN`. Its teacher in the recipe is the one that the user names,
    /// otherwise the one that matches a name in the run. Shards of one run are one run.
    ///
    /// # Errors
    /// [`DatasetError::Usage`] if the recipe has no such teacher; other variants if a run
    /// cannot be read.
    pub fn open_all(named: &[String], recipe: &Recipe) -> Result<Vec<Run>, DatasetError> {
        let runs = named.iter().map(|named| Self::record(named, recipe));
        let joined = join_shards(runs.collect::<Result<_, _>>()?)?;
        let opened = joined.into_iter().map(|(teacher, run)| {
            let recording = JoinedRecording::open_places(&run)
                .map_err(|why| DatasetError::Runs(format!("cannot read {}: {why}", run.name())))?;
            Ok(Run { name: run.name(), teacher, record: run.record, recording })
        });
        opened.collect()
    }

    /// The teacher of a run, its folder and its record.
    fn record(named: &str, recipe: &Recipe) -> Result<(String, PathBuf, RunRecord), DatasetError> {
        let (teacher, folder) = match named.split_once('=') {
            Some((teacher, folder)) if !Path::new(named).exists() => (Some(teacher), folder),
            _ => (None, named),
        };
        let path = Path::new(folder);
        let record = read_run(path)?;
        let names = teacher.map_or_else(|| names(&record), |teacher| vec![teacher.to_string()]);
        let Some(teacher) = recipe.teacher(&names) else {
            let teachers: Vec<_> = recipe.teachers.iter().map(|teacher| &*teacher.name).collect();
            let of = names.first().map_or("of that name", String::as_str);
            return Err(DatasetError::Usage(format!(
                "the recipe has no teacher {of}, the teacher of the run {folder}; its teachers are {}: \
                 name the teacher of the run, as in {}={folder}",
                teachers.join(", "),
                teachers[0],
            )));
        };
        Ok((teacher.name.clone(), path.into(), record))
    }
}

impl Run {
    /// Its directories, for the summary.
    pub(super) fn sources(&self) -> Vec<Source> {
        let config = |key: &str| {
            self.record.config.get(key).and_then(Value::as_str).unwrap_or_default().to_string()
        };
        let shards = self.record.shards(self.recording.len());
        let source = |(directory, episodes): (&Path, usize)| Source {
            run: directory.display().to_string(),
            teacher: self.teacher.clone(),
            policy: config("policy"),
            seed: self.record.seed,
            episodes,
            split: config("split"),
            shards: shards.as_ref().map(ToString::to_string),
        };
        self.recording.directories().into_iter().map(source).collect()
    }
}

/// The model, the profile and the policy of a run, if recorded.
fn names(record: &RunRecord) -> Vec<String> {
    let model = record.config.get("model");
    let policy = record.config.get("policy");
    let names = [
        model.and_then(|model| model.get("model")),
        model.and_then(|model| model.pointer("/teacher/profile")),
        policy,
    ];
    names.into_iter().flatten().filter_map(Value::as_str).map(String::from).collect()
}

fn benchmark(run: &Run) -> Option<&str> {
    run.record.config.get("benchmark").and_then(Value::as_str)
}

/// The name of the common benchmark of these runs.
///
/// # Errors
/// [`DatasetError::Usage`] if they have none.
pub fn benchmark_of(runs: &[Run]) -> Result<&str, DatasetError> {
    let mut names: Vec<_> = runs.iter().map(|run| (benchmark(run), run)).collect();
    names.dedup_by(|a, b| a.0 == b.0);
    match names.as_slice() {
        [(Some(name), _)] => Ok(name),
        [(None, run), ..] => {
            Err(DatasetError::Usage(format!("{} does not record its benchmark", run.name)))
        }
        [(_, one), (_, other), ..] => {
            let (one, other) = (&one.name, &other.name);
            Err(DatasetError::Usage(format!(
                "{one} and {other} are of different benchmarks: build a dataset for each"
            )))
        }
        [] => Err(DatasetError::Usage("no run was given".into())),
    }
}

/// The prompts in a folder, for the kind of task that these runs have.
///
/// # Errors
/// [`DatasetError`] if a run cannot be read, or a prompt cannot be used.
pub fn templates_in(runs: &[Run], folder: &Path) -> Result<Templates, DatasetError> {
    let kind = match runs.iter().find(|run| !run.recording.is_empty()) {
        Some(run) => run.recording.episode(0)?.task.statement.kind(),
        None => TaskKind::Method,
    };
    Ok(Templates::load(kind, Some(folder))?)
}

/// The common prompts of these runs.
///
/// # Errors
/// [`DatasetError::Runs`] if they have different prompts.
pub fn templates_of(runs: &[Run]) -> Result<Templates, DatasetError> {
    let first = &runs[0];
    if let Some(other) =
        runs.iter().find(|run| run.record.templates.hash != first.record.templates.hash)
    {
        return Err(DatasetError::Runs(format!(
            "{} and {} have different prompts: name the student's prompts with --prompts",
            first.name, other.name
        )));
    }
    Ok(Templates::recorded(&first.record.templates.texts)?)
}
