//! The page of a training, or of the trainings of a sweep: plots of its log, and its
//! checkpoints.

mod charts;
mod log;

use std::path::{Path, PathBuf};

use minijinja::Environment;
use minijinja::value::Serde;
use serde::Serialize;
use serde_json::{Value, json};

use super::error::ViewError;
use super::paint;
use charts::Chart;
use log::Training;

const TEMPLATE: &str = "training.html";

/// The page of a training, or of a sweep.
pub(crate) struct TrainingPage<'a> {
    /// The folder of a training, or one that contains trainings.
    pub(crate) folder: &'a Path,
    /// The address of a folder's page, if the site has one.
    pub(crate) link: &'a dyn Fn(&Path) -> Option<String>,
}

/// Context of the template.
#[derive(Serialize)]
struct Context {
    folder_html: String,
    facts: Vec<(&'static str, String)>,
    state: String,
    complete: bool,
    charts: Vec<Chart>,
    checkpoints: Vec<CheckpointRow>,
    students: Vec<StudentRow>,
}

#[derive(Serialize)]
struct CheckpointRow {
    step: usize,
    epoch: String,
    loss: String,
    validation: String,
    solved: String,
    /// Why it stands out; empty if it does not.
    best: String,
}

#[derive(Serialize)]
struct StudentRow {
    name_html: String,
    /// The address of its page; empty if there is none.
    href: String,
    base_html: String,
    method_html: String,
    state: String,
    loss: String,
    validation: String,
    solved: String,
}

/// Adds the templates of this page.
pub(crate) fn add_templates(env: &mut Environment<'static>) -> Result<(), ViewError> {
    Ok(env.add_template(TEMPLATE, include_str!("training.html"))?)
}

impl TrainingPage<'_> {
    /// The content of the page.
    pub(crate) fn html(&self, engine: &Environment<'static>) -> Result<String, ViewError> {
        let context = match self.folder.join(log::RECORD).is_file() {
            true => of_training(self.folder, &Training::open(self.folder)?),
            false => self.of_sweep()?,
        };
        Ok(engine.get_template(TEMPLATE)?.render(Serde(context))?)
    }

    /// The values of the page for updates: the state, and each chart by its name.
    pub(crate) fn data_json(&self) -> Result<Value, ViewError> {
        let training = match self.folder.join(log::RECORD).is_file() {
            true => vec![Training::open(self.folder)?],
            false => self.trainings()?.into_iter().map(|(_, training)| training).collect(),
        };
        let charts = match training.as_slice() {
            [one] => charts::of(one),
            several => charts::losses(several),
        };
        let charts: Vec<Value> =
            charts.iter().map(|chart| json!({"name": chart.name, "svg": chart.svg})).collect();
        let states: Vec<String> = training.iter().map(Training::state).collect();
        let complete = training.iter().all(Training::is_complete);
        Ok(json!({"complete": complete, "states": states, "charts": charts}))
    }

    /// The trainings in the folder and in the folders in it, by their paths.
    fn trainings(&self) -> Result<Vec<(PathBuf, Training)>, ViewError> {
        let mut found = Vec::new();
        let mut folders = log::folders(self.folder)?;
        for outer in folders.clone() {
            if !outer.join(log::RECORD).is_file() {
                folders.extend(log::folders(&outer)?);
            }
        }
        folders.retain(|folder| folder.join(log::RECORD).is_file());
        folders.sort();
        for folder in folders {
            let training = Training::open(&folder)?;
            let name = folder.strip_prefix(self.folder).unwrap_or(&folder).to_path_buf();
            found.push((name, training));
        }
        Ok(found)
    }

    fn of_sweep(&self) -> Result<Context, ViewError> {
        let trainings = self.trainings()?;
        let complete = trainings.iter().filter(|(_, training)| training.is_complete()).count();
        let students = trainings.iter().map(|(name, training)| StudentRow {
            name_html: paint::text(&name.display().to_string()),
            href: (self.link)(&self.folder.join(name)).unwrap_or_default(),
            base_html: paint::text(&training.text("/base")),
            method_html: paint::text(&training.method()),
            state: training.state(),
            loss: figure(training.last_loss()),
            validation: figure(training.least_validation()),
            solved: training.most_solved().map(|solved| solved.text()).unwrap_or_default(),
        });
        let students = students.collect();
        let named: Vec<Training> = trainings
            .into_iter()
            .map(|(name, training)| Training { name: name.display().to_string(), ..training })
            .collect();
        Ok(Context {
            folder_html: paint::text(&self.folder.display().to_string()),
            facts: Vec::new(),
            state: match named.len() {
                0 => "no student is in training yet".into(),
                all => format!("{complete} of {all} trainings are complete"),
            },
            complete: complete == named.len() && complete > 0,
            charts: charts::losses(&named),
            checkpoints: Vec::new(),
            students,
        })
    }
}

fn of_training(folder: &Path, training: &Training) -> Context {
    let facts = [
        ("base model", training.text("/base")),
        ("dataset", training.text("/dataset")),
        ("method", training.method()),
        ("trainer", training.text("/engine")),
        ("dtype", training.text("/dtype")),
        ("learning rate", training.text("/settings/learning_rate")),
        ("epochs", training.text("/settings/epochs")),
        ("seed", training.text("/settings/seed")),
    ];
    let facts = facts.into_iter().filter(|(_, value)| !value.is_empty());
    Context {
        folder_html: paint::text(&folder.display().to_string()),
        facts: facts.map(|(name, value)| (name, paint::text(&value))).collect(),
        state: training.state(),
        complete: training.is_complete(),
        charts: charts::of(training),
        checkpoints: checkpoint_rows(training),
        students: Vec::new(),
    }
}

fn checkpoint_rows(training: &Training) -> Vec<CheckpointRow> {
    let least = training.least_validation();
    let most = training.most_solved();
    let row = |checkpoint: &log::Checkpoint| {
        let is_least = checkpoint.validation.is_some() && checkpoint.validation == least;
        let is_most = checkpoint.solved.is_some()
            && checkpoint.solved.map(log::Solved::share) == most.map(log::Solved::share);
        let best = [(is_most, "most solved"), (is_least, "lowest validation loss")];
        let best: Vec<&str> = best.iter().filter(|(is, _)| *is).map(|(_, name)| *name).collect();
        CheckpointRow {
            step: checkpoint.step,
            epoch: checkpoint.epoch.map(|epoch| epoch.to_string()).unwrap_or_default(),
            loss: figure(checkpoint.loss),
            validation: figure(checkpoint.validation),
            solved: checkpoint.solved.map(|solved| solved.text()).unwrap_or_default(),
            best: best.join(", "),
        }
    };
    training.checkpoints.iter().map(row).collect()
}

/// A loss; empty if it is unknown.
fn figure(value: Option<f64>) -> String {
    value.map(|value| format!("{value:.4}")).unwrap_or_default()
}

#[cfg(test)]
mod tests;
