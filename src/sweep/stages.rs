//! The stages of a sweep, as commands in this process.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use fixfly_datasets::{Dataset, Recipe};
use fixfly_policies::models::resolve;
use fixfly_runtime::{Policy, Settings};
use fixfly_students::sweep::{Commands, Stage, SweepError, Verb};
use toml::Table;

use crate::failure::Usage;
use crate::terminal::Terminal;
use crate::{bench, config, dataset, run, train};

/// Runs stages until somebody asks to stop.
pub(super) struct Stages {
    pub(super) stop: Arc<AtomicBool>,
    pub(super) terminal: Terminal,
}

/// A run to do, and its policy.
pub(super) struct Student {
    flags: run::Flags,
    policy: Box<dyn Policy>,
}

fn run_flags(stage: &Stage) -> anyhow::Result<run::Flags> {
    Ok(config::flags("run", stage.flags())?)
}

impl Commands for Stages {
    type Error = anyhow::Error;
    type Student = Student;

    fn status(&self, line: &str) {
        self.terminal.status(line);
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    fn waits(&self, error: &anyhow::Error) -> bool {
        matches!(error.downcast_ref(), Some(SweepError::Waits))
    }

    fn execute(&self, stage: &Stage) -> anyhow::Result<()> {
        let (words, flags, terminal) = (stage.verb().words(), stage.flags(), &self.terminal);
        match stage.verb() {
            Verb::BuildBenchmark(name) => {
                bench::build::build(&bench::build::command(name, flags)?, terminal)
            }
            Verb::Run => run::record(&run_flags(stage)?, None, terminal),
            Verb::BuildDataset => dataset::build::build(&config::flags(&words, flags)?, terminal),
            Verb::Init => train::init(&config::flags(&words, flags)?, terminal),
            Verb::Train(method) => train::here(&config::flags(&words, flags)?, *method, terminal),
            Verb::ExportGguf => export(&words, flags, terminal),
        }
    }

    fn failed(&self, error: anyhow::Error, command: &str) -> anyhow::Error {
        error.context(format!("this stage failed: {command}"))
    }

    /// Loads the model and all adapters once, and swaps adapters between runs.
    fn students(&self, stages: &[Stage]) -> anyhow::Result<Vec<Student>> {
        let flags = stages.iter().map(run_flags).collect::<anyhow::Result<Vec<_>>>()?;
        let models = flags.iter().map(|flags| Ok(flags.spec()?.model.unwrap_or_default()));
        let models: Vec<Settings> = models.collect::<anyhow::Result<_>>()?;
        let Some(first) = models.first() else { return Ok(Vec::new()) };
        let loras: Vec<_> = models.iter().map(|model| model.local.loras.clone()).collect();
        let engine = std::env::current_exe()?;
        let policies = fixfly_policies::students_by(&engine, first, &loras).map_err(Usage)?;
        let all = flags.into_iter().zip(policies);
        Ok(all.map(|(flags, policy)| Student { flags, policy }).collect())
    }

    fn run(&self, student: Student) -> anyhow::Result<()> {
        run::record(&student.flags, Some(student.policy), &self.terminal)
    }

    fn base_model(&self, base: &Path) -> anyhow::Result<PathBuf> {
        Ok(resolve(base)?)
    }

    fn rows(&self, dataset: &Path) -> anyhow::Result<usize> {
        Ok(Dataset::open(dataset)?.summary.rows())
    }

    fn teachers(&self, recipe: &str) -> anyhow::Result<Vec<String>> {
        let (recipe, _) = Recipe::open(recipe)?;
        Ok(recipe.teachers.into_iter().map(|teacher| teacher.name).collect())
    }

    /// One sentence that names the task, for each row.
    fn placeholder_traces(&self, dataset: &Path, file: &Path) -> anyhow::Result<()> {
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
}

#[cfg(feature = "train")]
fn export(verb: &str, flags: &Table, terminal: &Terminal) -> anyhow::Result<()> {
    crate::export::gguf_file(&config::flags(verb, flags)?, terminal)
}

#[cfg(not(feature = "train"))]
fn export(_: &str, _: &Table, _: &Terminal) -> anyhow::Result<()> {
    Ok(crate::built::require(&[crate::built::Feature::Train])?)
}
