//! `--smoke-test`: the same sweep, so small that two CPUs run it in minutes. It runs
//! every stage; its results mean nothing.

use super::artifacts::ArtifactStore;
use super::{Commands, Stage, Sweep};

/// Maximum length of lists.
const MOST: usize = 2;

/// Tasks of the runs that stand in for teachers: enough for some to be repaired.
const TRIED: i64 = 60;

/// A randomly initialised model, with a context long enough for the benchmark's files.
const INIT: &str = "hidden-size = 64\nnum-hidden-layers = 2\nnum-attention-heads = 2\nnum-key-value-heads = 1\nintermediate-size = 128\nvocab-size = 2048\nmax-position-embeddings = 32768\n";
/// Its training rows are shorter; otherwise training would take hours.
const SHORT: &str = "max-length = 8192\nmax-dropped = 1\n";
const TRAIN: &str = "epochs = 2\nwarmup-steps = 1\n";
const RUN: &str = "limit = 2\nturns = 2\nmax-tokens = 16\nkeep-going = true\n";
/// The same, for policies that use no model.
const FEW: &str = "limit = 2\nturns = 2\n";
const TASKS: &str = "limit = 40\n";
const BUILD: &str = "train-methods = 2\nper-method = 1\nmax-chars = 160\nrenamed-copies = 1\n";

fn table(text: &str) -> toml::Table {
    text.parse().unwrap_or_default()
}

/// Flags of the datasets.
pub(super) fn short() -> toml::Table {
    table(SHORT)
}

/// The sweep with random models and short lists.
pub(super) fn reduced(mut sweep: Sweep) -> Sweep {
    let over = |flags: &mut toml::Table, text: &str| flags.extend(table(text));
    for (model, seed) in sweep.model.iter_mut().zip(0..) {
        model.base = None;
        let mut init = table(INIT);
        init.insert("seed".into(), toml::Value::Integer(seed));
        model.init = Some(init);
        if let Some(pretrain) = &mut model.pretrain {
            over(pretrain, TRAIN);
        }
    }
    sweep.ranks.truncate(MOST);
    sweep.seeds.truncate(MOST);
    sweep.repeats = sweep.repeats.min(MOST as u64);
    for flags in [&mut sweep.train, &mut sweep.lora, &mut sweep.full] {
        for flag in ["gpu", "epochs", "warmup-steps"] {
            flags.remove(flag);
        }
    }
    over(&mut sweep.train, TRAIN);
    over(&mut sweep.run, RUN);
    if !sweep.validation.is_empty() {
        over(&mut sweep.validation, FEW);
    }
    for attempts in &mut sweep.attempts {
        over(&mut attempts.flags, if attempts.policy.is_some() { FEW } else { RUN });
    }
    for data in &mut sweep.dataset {
        data.flags.remove("max-rows");
        data.flags.remove("max-total-tokens");
    }
    over(&mut sweep.tasks, TASKS);
    if let Some(build) = &mut sweep.build {
        over(build, BUILD);
    }
    sweep
}

/// Runs of the retrieval policy in place of those of a recipe's teachers, as `fixfly
/// dataset build` takes them; runs of one turn stand in for small teachers.
pub(super) fn teachers<C: Commands>(
    recipe: &str,
    runs: &dyn Fn(&str) -> Stage,
    artifacts: &ArtifactStore<'_, C>,
) -> Result<Vec<String>, C::Error> {
    let mut named = Vec::new();
    for teacher in artifacts.commands.teachers(recipe)? {
        let turns = if teacher.ends_with("-nano") { 1 } else { 5 };
        let stage = runs(&format!("retrieval-{turns}")).set("limit", TRIED).set("turns", turns);
        let run = artifacts.make(&stage)?;
        named.push(format!("{teacher}={}", run.display()));
    }
    Ok(named)
}
