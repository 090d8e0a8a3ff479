//! The report on a run.

use std::path::Path;
use std::sync::Arc;

use fixfly_report::{Format, Inputs, Reference, Report, Retained, Runs, Selection, labelled_runs};
use fixfly_runtime::{Benchmark, JoinedRecording, JoinedRun, RunRecord};

use super::episodes::recorded;

/// No benchmark: the report compares with no reference.
struct NoReference;

impl Reference for NoReference {
    fn submitted(&self, _: &str, _: &str) -> Option<String> {
        None
    }

    fn normal_form(&self, method: &str) -> String {
        method.into()
    }

    fn benchmark(&self, _: &str, _: &RunRecord) -> Result<Arc<dyn Benchmark>, String> {
        Err("there is none".into())
    }
}

pub(crate) fn work(folder: &Path, rounds: u64) {
    recorded(folder);
    let runs = labelled_runs(&[folder.display().to_string()]).expect("a run");
    let inputs = Inputs {
        reference: &NoReference,
        truth: false,
        texts: false,
        tokens: None,
        retained: &|_| Retained::Nothing,
    };
    for _ in 0..rounds {
        let mut measured = Runs::default();
        for labelled in &runs {
            let run = JoinedRun::open(folder).expect("a record");
            let recording = JoinedRecording::open(&run).expect("a recording");
            measured.add(&labelled.labels, &run, &recording, &inputs).expect("episodes");
        }
        let report = Report::of(&measured, &Selection::default()).expect("a report");
        let text = report.text(Format::Table, Some(100)).expect("tables");
        assert!(text.contains("scripted") || text.contains("24"), "{text}");
    }
}
