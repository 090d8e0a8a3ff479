//! Writes the files of the official harness, in their places.

use fixfly_runtime::GradingRules;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::{fs, io};

use serde_json::{Value, json};

use super::prediction::Prediction;
use super::verdict::{Graded, classify};

/// `logs/run_evaluation/RUN/MODEL/INSTANCE` below a folder.
pub fn log_folder(output: &Path, run: &str, model: &str, id: &str) -> PathBuf {
    output.join("logs/run_evaluation").join(run).join(model.replace('/', "__")).join(id)
}

/// Writes the results of a patch, as the official harness does.
///
/// # Errors
/// If a file cannot be written.
pub fn write_logs(
    folder: &Path,
    patch: &str,
    graded: &Graded,
    rules: GradingRules,
) -> io::Result<()> {
    let Some(seen) = &graded.evaluation else { return Ok(()) };
    fs::create_dir_all(folder)?;
    fs::write(folder.join("patch.diff"), patch)?;
    fs::write(folder.join("eval.sh"), &seen.script)?;
    fs::write(folder.join("run_instance.log"), &seen.story)?;
    if seen.applied {
        fs::write(folder.join("test_output.txt"), &seen.log)?;
    }
    write_report(folder, graded, rules)
}

/// Writes the report of one patch, or removes one that is out of date.
///
/// # Errors
/// If it cannot be written.
pub fn write_report(folder: &Path, graded: &Graded, rules: GradingRules) -> io::Result<()> {
    let report = folder.join("report.json");
    match graded.completed() {
        true => fs::write(report, serde_json::to_string_pretty(&graded.report(rules))?),
        false => match fs::remove_file(report) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        },
    }
}

/// The report of a run, the official harness's `MODEL.RUN.json`.
pub fn run_report(
    dataset: &[String],
    predictions: &[Prediction],
    graded: &BTreeMap<String, Graded>,
    rules: GradingRules,
) -> Value {
    let given: BTreeMap<&str, &Prediction> =
        predictions.iter().map(|p| (p.id.as_str(), p)).collect();
    let mut ids: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    let mut reasons = BTreeMap::new();
    for id in dataset {
        let mut put = |list| ids.entry(list).or_default().insert(id.as_str());
        let Some(prediction) = given.get(id.as_str()) else {
            put("incomplete");
            continue;
        };
        if prediction.patch.as_deref().is_none_or(str::is_empty) {
            put("empty_patch");
            continue;
        }
        let Some(graded) = graded.get(id) else {
            put("error");
            continue;
        };
        match (graded.completed(), graded.resolved()) {
            (false, _) => put("error"),
            (true, resolved) => {
                put("completed");
                put(if resolved { "resolved" } else { "unresolved" })
            }
        };
        if !graded.resolved()
            && let Some(seen) = &graded.evaluation
            && let Some((reason, environment)) = classify(&format!("{}\n{}", seen.log, seen.story))
        {
            put(if environment { "infra_failure" } else { "ambiguous_failure" });
            reasons.insert(id.as_str(), reason);
        }
    }
    let list = |name: &str| ids.get(name).cloned().unwrap_or_default();
    let submitted: BTreeSet<&str> = given.keys().copied().collect();
    let mut report = serde_json::Map::new();
    report.insert("total_instances".into(), json!(dataset.len()));
    report.insert("submitted_instances".into(), json!(submitted.len()));
    let v5 = ["infra_failure", "ambiguous_failure"];
    let counted = ["completed", "resolved", "unresolved", v5[0], v5[1], "empty_patch", "error"];
    let of_rules = |name: &&&str| rules == GradingRules::V5 || !v5.contains(name);
    for name in counted.iter().filter(of_rules) {
        report.insert(format!("{name}_instances"), json!(list(name).len()));
    }
    report.insert("submitted_ids".into(), json!(submitted));
    for name in counted.iter().chain(&["incomplete"]).filter(of_rules) {
        report.insert(format!("{name}_ids"), json!(list(name)));
    }
    match rules {
        GradingRules::V5 => report.insert("failure_reasons".into(), json!(reasons)),
        GradingRules::V4 => {
            for name in ["unstopped_containers", "unremoved_images"] {
                report.insert(name.into(), json!([]));
            }
            report.insert("unstopped_instances".into(), json!(0))
        }
    };
    report.insert("schema_version".into(), json!(2));
    Value::Object(report)
}
