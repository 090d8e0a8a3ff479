//! `--rewrite-reports`: grades existing logs of any harness.

use std::collections::BTreeMap;

use anyhow::Context;
use fixfly_benchmarks::swebench::Graded;
use fixfly_benchmarks::swebench::report::{log_folder, write_report};
use fixfly_benchmarks::swebench::spec::Specs;

use super::{Swebench, given, summary, write_run_report};
use crate::terminal::print;

/// Reads each prediction's log and writes its report next to it.
pub(super) fn reports(flags: &Swebench) -> anyhow::Result<()> {
    let instances = flags.issues.chosen()?;
    let grading = flags.issues.grading();
    let specs = Specs::load(grading.specs.as_deref())?;
    let given = given(flags, &instances)?;
    let mut graded = BTreeMap::new();
    for prediction in &given {
        let Some(instance) = instances.iter().find(|instance| instance.id == prediction.id) else {
            continue;
        };
        let folder = log_folder(&flags.output, &flags.run_id, &prediction.model, &prediction.id);
        // Like the official harness, count a prediction without a log as an error.
        let Ok(log) = std::fs::read(folder.join("test_output.txt")) else { continue };
        let one = Graded::of_log(instance, specs.of(instance)?.log_parser, grading.rules, &log);
        write_report(&folder, &one, grading.rules)
            .with_context(|| format!("cannot write {}", folder.display()))?;
        graded.insert(prediction.id.clone(), one);
    }
    let dataset: Vec<String> = instances.iter().map(|instance| instance.id.clone()).collect();
    write_run_report(flags, &dataset, &given, &graded, grading.rules)?;
    print(&summary(&dataset, &given, &graded))
}
