//! The same sweep so small that two processors do it in minutes: every step is
//! taken, and no number means anything.

use std::io::Write as _;
use std::path::Path;

use anyhow::Context;
use clap::ValueEnum;
use fixfly_train::{Dataset, Recipe};

use super::file::Sweep;
use super::workshop::{ArtifactStore, Step};

/// How much of what the file says is done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Scale {
    /// All of it, with the models it names
    #[default]
    Whole,
    /// Each step, with random models, the retrieval policy for teachers, a few
    /// tasks and two epochs: to see that it runs
    Tiny,
}

/// Lists are cut to this many.
const MOST: usize = 2;

/// Tasks that stand-ins for teachers try: enough for some to be repaired.
const TRIED: &str = "60";

/// A model of random weights that reads files as long as the benchmark's.
const BLANK: &str = "width = 64\nlayers = 2\nheads = 2\nkept-heads = 1\ninner = 128\nvocabulary = 2048\ncontext = 32768\n";
/// What it learns from is not as long: that would take hours.
pub(super) const SHORT: [&str; 4] = ["--max-tokens", "8192", "--max-dropped", "1"];
const TRAIN: &str = "epochs = 2\nwarmup = 1\n";
const RUN: &str = "limit = 2\nturns = 2\nmax-tokens = 16\n";
const TASKS: &str = "limit = 40\n";
const BUILD: &str = "tried = 2\neach = 1\nlongest = 160\nrenamed = 1\n";

/// The sweep with stand-ins, and little of each.
pub(super) fn tiny(mut sweep: Sweep) -> Sweep {
    let table = |text: &str| text.parse::<toml::Table>().unwrap_or_default();
    let over = |flags: &mut toml::Table, text: &str| flags.extend(table(text));
    for (model, seed) in sweep.model.iter_mut().zip(0..) {
        model.base = None;
        let mut blank = table(BLANK);
        blank.insert("seed".into(), toml::Value::Integer(seed));
        model.blank = Some(blank);
        if let Some(school) = &mut model.school {
            over(school, TRAIN);
        }
    }
    sweep.ranks.truncate(MOST);
    sweep.repeats = sweep.repeats.min(MOST as u64);
    for flags in [&mut sweep.train, &mut sweep.lora, &mut sweep.full] {
        flags.remove("gpu");
        flags.remove("epochs");
    }
    over(&mut sweep.train, TRAIN);
    over(&mut sweep.run, RUN);
    over(&mut sweep.attempts, RUN);
    over(&mut sweep.tasks, TASKS);
    if let Some(build) = &mut sweep.build {
        over(build, BUILD);
    }
    sweep
}

/// Runs in place of those of a recipe's teachers, as `fixfly dataset build` takes
/// them: of the retrieval policy, whose first turn stands for a small teacher.
pub(super) fn teachers(
    recipe: &str,
    runs: &dyn Fn(&str, &[&str]) -> anyhow::Result<Step>,
    workshop: &ArtifactStore,
) -> anyhow::Result<Vec<String>> {
    let (recipe, _) = Recipe::open(recipe)?;
    let mut named = Vec::new();
    for teacher in &recipe.teachers {
        let turns = if teacher.name.ends_with("-nano") { "1" } else { "5" };
        let words =
            ["--policy", "retrieval", "--split", "train", "--limit", TRIED, "--turns", turns];
        let run = workshop.make(&runs(&format!("retrieval-{turns}"), &words)?)?;
        named.push(format!("{}={}", teacher.name, run.display()));
    }
    Ok(named)
}

/// Reasoning for each row of a dataset, in place of a teacher's: nothing is
/// thought, the task is named.
pub(super) fn traces(dataset: &Path, file: &Path) -> anyhow::Result<()> {
    let unwritten = || format!("cannot write {}", file.display());
    let mut out = std::fs::File::create(file).with_context(unwritten)?;
    for row in Dataset::open(dataset)?.rows()? {
        let row = row?;
        let task = &row.origin.task;
        let reasoning = format!("The task is {task}, and its tests say what is missing.");
        let trace = serde_json::json!({"row": row.id, "reasoning": reasoning});
        writeln!(out, "{trace}").with_context(unwritten)?;
    }
    Ok(())
}
