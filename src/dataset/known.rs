//! What a dataset build gets from its benchmark: the one place where training data
//! and ground truth meet.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use fixfly_benchmarks::source;
use fixfly_datasets::{HeldOut, Known, Language, Run};
use fixfly_runtime::{Answer, Benchmark, RunRecord, Split, Task};
use serde_json::Value;

use crate::failure::Usage;

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
        methods.iter().map(|m| (m.qualname.clone(), source::source_of(text, m))).collect()
    }

    fn without(&self, text: &str, names: &[String]) -> String {
        let mut text = text.to_string();
        for name in names {
            let methods = source::methods(&text).unwrap_or_default();
            if let Some(method) = methods.iter().find(|method| method.qualname == *name) {
                text = source::removed(&text, method);
            }
        }
        text
    }
}

/// The common benchmark of these runs.
pub(super) fn benchmark(runs: &[Run], chosen: Option<&Path>) -> anyhow::Result<Arc<dyn Benchmark>> {
    let of =
        |run: &Run, key: &str| run.record.config.get(key).and_then(Value::as_str).map(String::from);
    let mut names: Vec<_> = runs.iter().map(|run| (of(run, "benchmark"), run)).collect();
    names.dedup_by(|a, b| a.0 == b.0);
    let (name, first) = match names.as_slice() {
        [(Some(name), run)] => (name, run),
        [(None, run), ..] => {
            return Err(Usage(format!("{} does not record its benchmark", run.name)).into());
        }
        [(_, one), (_, other), ..] => {
            let (one, other) = (&one.name, &other.name);
            let said =
                format!("{one} and {other} are of different benchmarks: build a dataset for each");
            return Err(Usage(said).into());
        }
        [] => return Err(Usage("no run was given".into()).into()),
    };
    let benchmark = installed(name, &first.record, chosen)?;
    runs.iter().try_for_each(|run| same(&run.name, &run.record, &*benchmark))?;
    Ok(benchmark)
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
    let entry = fixfly_runtime::find("benchmark", fixfly_benchmarks::ALL, name).map_err(Usage)?;
    let recorded = record.config.get("benchmark_dir").and_then(Value::as_str).map(PathBuf::from);
    Ok(crate::bench::methods(entry)?(chosen.or(recorded.as_deref()))?)
}

/// Checks that the benchmark has the version of the run.
fn same(run: &str, record: &RunRecord, benchmark: &dyn Benchmark) -> anyhow::Result<()> {
    let facts = benchmark.facts();
    for key in ["package", "version", "source_sha256"] {
        let then = record.benchmark.get(key).and_then(Value::as_str).unwrap_or_default();
        let now = facts.get(key).map_or("", String::as_str);
        if then != now {
            anyhow::bail!(
                "{run} is of a benchmark whose {key} was `{then}` and is now `{now}`: \
                 name the folder of that version with --benchmark-dir"
            );
        }
    }
    Ok(())
}

/// The method a task asks for, as its authors wrote it.
pub(super) fn original(benchmark: &dyn Benchmark, task: &Task) -> Result<String, String> {
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
    let held_out = tasks.into_iter().map(|task| {
        let source = benchmark.ground_truth().answer(&task, Answer::Truth)?;
        Ok(HeldOut { id: task.id, source })
    });
    let facts = benchmark.facts();
    let fact = |name: &str| facts.get(name).cloned().unwrap_or_default();
    Ok(Known {
        about: format!("{} {}", fact("package"), fact("version")),
        original,
        held_out: held_out.collect::<anyhow::Result<_>>()?,
        language: &Python,
    })
}
