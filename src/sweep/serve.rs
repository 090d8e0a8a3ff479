//! One engine for all students of a model: it loads the model and all adapters
//! once, and swaps adapters between runs.

use fixfly_runtime::Policy;

use crate::cli;
use crate::failure::Usage;
use crate::run;
use crate::terminal::Terminal;

/// A run to do, and its policy.
pub(super) struct Student {
    flags: Box<run::Flags>,
    policy: Box<dyn Policy>,
}

/// The students of these commands, each a `fixfly run` with the same model.
pub(super) fn students(commands: &[Vec<String>]) -> anyhow::Result<Vec<Student>> {
    let flags = commands.iter().map(|words| cli::run(words));
    let flags: Vec<Box<run::Flags>> = flags.collect::<anyhow::Result<_>>()?;
    let Some(first) = flags.first() else { return Ok(Vec::new()) };
    let loras: Vec<_> = flags.iter().map(|flags| run::settings(flags).local.loras).collect();
    let engine = std::env::current_exe()?;
    let policies = fixfly_policies::students_by(&engine, &run::settings(first), &loras);
    let policies = policies.map_err(Usage)?;
    Ok(flags.into_iter().zip(policies).map(|(flags, policy)| Student { flags, policy }).collect())
}

impl Student {
    pub(super) fn run(self, terminal: &Terminal) -> anyhow::Result<()> {
        run::record_by(&self.flags, Some(self.policy), terminal)
    }
}
