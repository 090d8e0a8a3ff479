//! The report of a sweep: its runs, and the tables and plots that `fixfly report` makes of
//! them.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use fixfly_runtime::{Benchmark, JoinedRecording, JoinedRun, RunError, RunRecord};
use minijinja::Environment;
use serde::Serialize;

use super::engine::value;
use super::error::ViewError;
use super::show;
use crate::html::Chart;
use crate::inputs::{Inputs, Reference, Retained};
use crate::labels::{Labelled, Labels, labelled_runs};
use crate::metrics::Share;
use crate::print::shared_tables;
use crate::report::{Report, Runs, charts};
use crate::run_tables::Table;
use crate::selection::Selection;

const TEMPLATE: &str = "sweep.html";
/// The runs with their labels, which a sweep writes last.
const SET: &str = "runs.toml";

/// What is known of a sweep's runs so far.
#[derive(Serialize)]
pub(crate) struct SweepReport {
    /// Whether all runs have their labels.
    complete: bool,
    rows: Vec<Row>,
    /// Runs that cannot be read, and why.
    faults: Vec<String>,
    tables: Vec<Table>,
    charts: Vec<Chart>,
}

#[derive(Serialize)]
struct Row {
    name: String,
    /// The address of its page; empty if there is none.
    href: String,
    labels: String,
    episodes: usize,
    solved: String,
}

/// The viewer opens no benchmark for a table.
struct NoReference;

impl Reference for NoReference {
    fn submitted(&self, _: &str, _: &str) -> Option<String> {
        None
    }

    fn normal_form(&self, method: &str) -> String {
        method.into()
    }

    fn benchmark(&self, _: &str, _: &RunRecord) -> Result<Arc<dyn Benchmark>, String> {
        Err("the viewer compares no methods; `fixfly report` does".into())
    }
}

impl SweepReport {
    /// The report of a folder. `link`: the address of a folder's page.
    pub(crate) fn of(
        folder: &Path,
        link: &dyn Fn(&Path) -> Option<String>,
    ) -> Result<SweepReport, ViewError> {
        let (mut rows, mut faults, mut runs) = (Vec::new(), Vec::new(), Runs::default());
        let complete = folder.join(SET).is_file();
        let labelled = match complete {
            true => from_set(folder).unwrap_or_else(|why| {
                faults.push(why);
                found(folder)
            }),
            false => found(folder),
        };
        for run in &labelled {
            match added(&mut runs, run) {
                Ok(row) => rows.push(Row {
                    name: run.path.strip_prefix(folder).unwrap_or(&run.path).display().to_string(),
                    href: link(&run.path).unwrap_or_default(),
                    ..row
                }),
                Err(error) => faults.push(error.to_string()),
            }
        }
        let selection = Selection { from_file: true, ..Selection::default() };
        let report = Report::of(&runs, &selection)?;
        let mut tables = shared_tables(&report);
        tables.retain(|table| !table.rows.is_empty());
        let charts = charts(&runs, &selection);
        Ok(SweepReport { complete, rows, faults, tables, charts })
    }

    pub(crate) fn html(&self, engine: &Environment<'static>) -> Result<String, ViewError> {
        let SweepReport { complete, rows, faults, tables, charts } = self;
        Ok(engine.get_template(TEMPLATE)?.render(minijinja::context! {
            complete => *complete,
            rows => value(rows),
            faults => value(faults),
            tables => value(tables),
            charts => value(charts),
        })?)
    }
}

/// The runs of the file that a sweep wrote.
fn from_set(folder: &Path) -> Result<Vec<Labelled>, String> {
    let set = folder.join(SET).display().to_string();
    labelled_runs(&[set]).map_err(|error| error.to_string())
}

/// The runs of a sweep that goes on, without its labels.
fn found(folder: &Path) -> Vec<Labelled> {
    let folders = fs::read_dir(folder.join("runs")).into_iter().flatten().flatten();
    let folders = folders.map(|entry| entry.path()).filter(|run| run.join("run.json").is_file());
    let mut runs: Vec<Labelled> =
        folders.map(|path| Labelled { path, labels: Labels::default() }).collect();
    runs.sort_by(|one, other| one.path.cmp(&other.path));
    runs
}

/// Adds a run to the tables, unless it has no episode yet.
fn added(runs: &mut Runs, run: &Labelled) -> Result<Row, RunError> {
    let joined = JoinedRun::open(&run.path)?;
    let episodes = JoinedRecording::open(&joined)?;
    let inputs = Inputs {
        reference: &NoReference,
        truth: false,
        texts: false,
        tokens: None,
        retained: &|_| Retained::Nothing,
    };
    let summaries = episodes.summaries();
    if !summaries.is_empty() {
        runs.add(&run.labels, &joined, &episodes, &inputs)?;
    }
    let judged = summaries.iter().filter(|one| !one.infrastructure_failure() && !one.unjudged());
    let judged: Vec<bool> = judged.map(fixfly_runtime::EpisodeSummary::solved).collect();
    let solved = judged.iter().filter(|solved| **solved).count();
    Ok(Row {
        name: String::new(),
        href: String::new(),
        labels: run.labels.clone().or_recorded(&joined.record).shown(),
        episodes: summaries.len(),
        solved: show::share(&Share::new(solved, judged.len())),
    })
}
