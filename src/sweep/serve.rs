//! One engine for all students of a model: it loads the model and all adapters
//! once, and swaps adapters between runs.

use fixfly_runtime::{Policy, Settings};

use super::stage::Stage;
use crate::failure::Usage;
use crate::run;
use crate::terminal::Terminal;

/// A run to do, and its policy.
pub(super) struct Student {
    flags: run::Flags,
    policy: Box<dyn Policy>,
}

/// The students of these stages, each a run with the same model.
pub(super) fn students(stages: &[Stage]) -> anyhow::Result<Vec<Student>> {
    let flags = stages.iter().map(Stage::run_flags).collect::<anyhow::Result<Vec<_>>>()?;
    let models = flags.iter().map(|flags| Ok(flags.spec()?.model.unwrap_or_default()));
    let models: Vec<Settings> = models.collect::<anyhow::Result<_>>()?;
    let Some(first) = models.first() else { return Ok(Vec::new()) };
    let loras: Vec<_> = models.iter().map(|model| model.local.loras.clone()).collect();
    let engine = std::env::current_exe()?;
    let policies = fixfly_policies::students_by(&engine, first, &loras).map_err(Usage)?;
    Ok(flags.into_iter().zip(policies).map(|(flags, policy)| Student { flags, policy }).collect())
}

impl Student {
    pub(super) fn run(self, terminal: &Terminal) -> anyhow::Result<()> {
        run::record(&self.flags, Some(self.policy), terminal)
    }
}
