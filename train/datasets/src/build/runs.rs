//! The runs of a dataset: the teacher of each, and what all have in common.

use std::path::Path;

use fixfly_runtime::{Recording, RunRecord, Templates, read_run};
use serde_json::Value;

use super::Run;
use crate::error::DatasetError;
use crate::recipe::Recipe;

impl Run {
    /// Opens `[TEACHER=]RUN`. Its teacher in the recipe is the one that the user names,
    /// otherwise the one that matches a name in the run.
    ///
    /// # Errors
    /// [`DatasetError::Usage`] if the recipe has no such teacher; other variants if the run
    /// cannot be read.
    pub fn open(named: &str, recipe: &Recipe) -> Result<Run, DatasetError> {
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
        let recording = Recording::open(path)
            .map_err(|why| DatasetError::Runs(format!("cannot read {folder}: {why}")))?
            .without_summaries();
        Ok(Run { name: folder.into(), teacher: teacher.name.clone(), record, recording })
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
