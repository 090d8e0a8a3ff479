//! A run of the official harness: its predictions, and its files in their places.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use fixfly_runtime::{BenchmarkError, GradingRules, write_whole};

use super::batch::Job;
use super::instance::Instance;
use super::prediction::Prediction;
use super::report::{log_folder, run_report, write_logs, write_report};
use super::spec::Specs;
use super::table::UnreadableRow;
use super::verdict::Graded;

/// Predictions for instances, and where the files about them go.
#[derive(Clone, Debug)]
pub struct HarnessRun {
    /// The folder of logs and reports.
    pub output: PathBuf,
    /// The run's name.
    pub name: String,
    /// Ids of all selected instances.
    pub dataset: Vec<String>,
    /// The predictions for them.
    pub predictions: Vec<Prediction>,
    /// The rules by which they are graded.
    pub rules: GradingRules,
}

impl HarnessRun {
    fn folder(&self, prediction: &Prediction) -> PathBuf {
        log_folder(&self.output, &self.name, &prediction.model, &prediction.id)
    }

    /// The instances whose prediction has a patch.
    pub fn with_patch(&self, instances: &[Instance]) -> Vec<Instance> {
        let has_patch = |prediction: &Prediction| {
            prediction.patch.as_deref().is_some_and(|patch| !patch.is_empty())
        };
        let is_wanted = |instance: &&Instance| {
            self.predictions.iter().any(|given| given.id == instance.id && has_patch(given))
        };
        instances.iter().filter(is_wanted).cloned().collect()
    }

    /// Writes the logs of each graded prediction.
    ///
    /// # Errors
    /// One sentence that names the folder.
    pub fn write_logs(
        &self,
        jobs: &[Job],
        graded: &BTreeMap<String, Graded>,
    ) -> Result<(), BenchmarkError> {
        for prediction in &self.predictions {
            let Some(one) = graded.get(&prediction.id) else { continue };
            let folder = self.folder(prediction);
            let job = jobs.iter().find(|job| job.instance.id == prediction.id);
            let patch = job.map_or("", |job| job.patch.as_str());
            write_logs(&folder, patch, one, self.rules).map_err(cannot("write", &folder))?;
        }
        Ok(())
    }

    /// Grades the existing log of each prediction, whoever made it, and writes its report
    /// next to it.
    ///
    /// # Errors
    /// One sentence that names the folder, or the instance without a specification.
    pub fn rewrite_reports(
        &self,
        instances: &[Instance],
        specs: &Specs,
    ) -> Result<BTreeMap<String, Graded>, BenchmarkError> {
        let mut graded = BTreeMap::new();
        for prediction in &self.predictions {
            let Some(instance) = instances.iter().find(|instance| instance.id == prediction.id)
            else {
                continue;
            };
            let folder = self.folder(prediction);
            // Like the official harness, count a prediction without a log as an error.
            let Ok(log) = fs::read(folder.join("test_output.txt")) else { continue };
            let one = Graded::of_log(instance, specs.of(instance)?.log_parser, self.rules, &log);
            write_report(&folder, &one, self.rules).map_err(cannot("write", &folder))?;
            graded.insert(prediction.id.clone(), one);
        }
        Ok(graded)
    }

    /// Writes the report of the run, `MODEL.RUN.json`.
    ///
    /// # Errors
    /// One sentence that names the file.
    pub fn write_report(&self, graded: &BTreeMap<String, Graded>) -> Result<(), BenchmarkError> {
        let report = run_report(&self.dataset, &self.predictions, graded, self.rules);
        let model = self.predictions.first().map_or("None", |p| p.model.as_str());
        let model = model.replace('/', "__");
        let file = self.output.join(format!("{model}.{}.json", self.name));
        fs::create_dir_all(&self.output).map_err(cannot("create", &self.output))?;
        write_whole(&file, format!("{report:#}\n")).map_err(cannot("write", &file))
    }

    /// One line per instance, and the total.
    pub fn summary(
        &self,
        graded: &BTreeMap<String, Graded>,
        unreadable: &[UnreadableRow],
    ) -> String {
        let mut text = String::new();
        for id in &self.dataset {
            let is_given = self.predictions.iter().any(|prediction| prediction.id == *id);
            let is_unreadable = unreadable.iter().any(|row| row.id.as_ref() == Some(id));
            let word = match (graded.get(id), is_given, is_unreadable) {
                (Some(graded), ..) => graded.word(),
                (None, true, _) => "no patch",
                (None, false, true) => "unreadable",
                (None, false, false) => continue,
            };
            let seconds = graded
                .get(id)
                .and_then(|graded| graded.evaluation.as_ref())
                .map_or(0.0, |seen| seen.seconds);
            text += &format!("{id:<40} {word:<15} {seconds:6.1} s\n");
            for why in graded.get(id).iter().flat_map(|graded| graded.disagreements.iter().take(5))
            {
                text += &format!("    {why}\n");
            }
            if let Some(how) = graded.get(id).and_then(|graded| graded.tampering.as_ref()) {
                text += &format!("    tampering: {how}\n");
            }
        }
        let resolved = graded.values().filter(|graded| graded.resolved()).count();
        let of = self.dataset.len();
        let unreadable = match unreadable.len() {
            0 => String::new(),
            some => format!(", {some} more could not be read"),
        };
        text + &format!(
            "resolved {resolved} of {of} ({:.1} %), {} submitted{unreadable}\n",
            100.0 * resolved as f64 / of as f64,
            self.predictions.len()
        )
    }
}

fn cannot<'a>(verb: &'a str, path: &'a Path) -> impl Fn(io::Error) -> BenchmarkError + 'a {
    move |why| BenchmarkError::Broken(format!("cannot {verb} {}: {why}", path.display()))
}
