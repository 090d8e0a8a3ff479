//! What a dataset build gets from its benchmark: the one place where training data
//! and ground truth meet.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use fixfly_benchmarks::{find_methods, source};
use fixfly_datasets::{DatasetError, HeldOut, Known, Language, Run, benchmark_of};
use fixfly_runtime::{Answer, Benchmark, RunRecord, Split, Task};
use serde_json::Value;

use crate::bench::INSTEAD;
use crate::failure::Usage;
use crate::swebench::opening;

/// Python, as benchmarks read it.
pub(crate) struct Python;

impl Language for Python {
    fn tree_hash(&self, text: &str) -> Option<String> {
        source::tree_hash(text)
    }

    fn shingles(&self, text: &str) -> Vec<u64> {
        source::shingles(text)
    }

    fn methods(&self, text: &str) -> Vec<(String, String)> {
        let methods = source::methods(text).unwrap_or_default();
        methods.iter().map(|m| (m.path(), source::source_of(text, m))).collect()
    }

    fn without(&self, text: &str, names: &[String]) -> String {
        let mut text = text.to_string();
        for name in names {
            let methods = source::methods(&text).unwrap_or_default();
            if let Some(method) = methods.iter().find(|method| method.path() == *name) {
                text = source::removed(&text, method);
            }
        }
        text
    }
}

/// The common benchmark of these runs.
pub(super) fn benchmark(runs: &[Run], chosen: Option<&Path>) -> anyhow::Result<Arc<dyn Benchmark>> {
    let name = benchmark_of(runs).map_err(usage)?;
    let benchmark = installed(name, &runs[0].record, chosen)?;
    runs.iter().try_for_each(|run| same(&run.name, &run.record, &*benchmark))?;
    Ok(benchmark)
}

/// Runs that were named wrongly are an error of usage.
pub(super) fn usage(error: DatasetError) -> anyhow::Error {
    match error {
        DatasetError::Usage(why) => Usage(why).into(),
        error => error.into(),
    }
}

/// The benchmark of a run: in the chosen folder, otherwise in the recorded one.
pub(crate) fn opened(
    run: &str,
    record: &RunRecord,
    chosen: Option<&Path>,
) -> anyhow::Result<Arc<dyn Benchmark>> {
    let name = record.config.get("benchmark").and_then(Value::as_str);
    let name = name.with_context(|| format!("{run} does not record its benchmark"))?;
    let benchmark = installed(name, record, chosen)?;
    same(run, record, &*benchmark)?;
    Ok(benchmark)
}

fn installed(
    name: &str,
    record: &RunRecord,
    chosen: Option<&Path>,
) -> anyhow::Result<Arc<dyn Benchmark>> {
    let recorded = record.config.get("benchmark_dir").and_then(Value::as_str).map(PathBuf::from);
    Ok(find_methods(name, INSTEAD).map_err(opening)?(chosen.or(recorded.as_deref()))?)
}

/// Checks that the benchmark has the version of the run.
fn same(run: &str, record: &RunRecord, benchmark: &dyn Benchmark) -> anyhow::Result<()> {
    if let Some((key, then, now)) = record.changed_source(&benchmark.facts()) {
        anyhow::bail!(
            "{run} is of a benchmark whose {key} was `{then}` and is now `{now}`: \
             name the folder of that version with --benchmark-dir"
        );
    }
    Ok(())
}

/// The method a task asks for, as its authors wrote it.
pub(crate) fn original(benchmark: &dyn Benchmark, task: &Task) -> Result<String, String> {
    benchmark.ground_truth().answer(task, Answer::Truth).map_err(|error| error.to_string())
}

/// What a build may know of the benchmark.
pub(super) fn known<'a>(
    benchmark: &dyn Benchmark,
    original: fixfly_datasets::Original<'a>,
) -> anyhow::Result<Known<'a>> {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let runtime = runtime.context("cannot start threads")?;
    let tasks = runtime.block_on(benchmark.tasks(Split::Benchmark))?;
    let mut held_out = Vec::new();
    for task in tasks {
        let source = benchmark.ground_truth().answer(&task, Answer::Truth)?;
        let sources = match task.statement.methods().len() {
            0 | 1 => vec![source],
            _ => Python.methods(&source).into_iter().map(|(_, source)| source).collect(),
        };
        held_out.extend(sources.into_iter().map(|source| HeldOut { id: task.id.clone(), source }));
    }
    let facts = benchmark.facts();
    let fact = |name: &str| facts.get(name).cloned().unwrap_or_default();
    Ok(Known {
        about: format!("{} {}", fact("package"), fact("version")),
        original,
        held_out,
        language: &Python,
    })
}
