//! Students of one model, served by one engine: the model and all their adapters
//! are loaded once, and swapped between runs.

use fixfly_runtime::Policy;

use crate::cli;
use crate::failure::Usage;
use crate::run;
use crate::terminal::Terminal;

/// A run to be, and whoever will do it.
pub(super) struct Student {
    flags: Box<run::Flags>,
    policy: Box<dyn Policy>,
}

/// The students that these commands, `fixfly run` of one model each, are about.
pub(super) fn students(commands: &[Vec<String>]) -> anyhow::Result<Vec<Student>> {
    let flags = commands.iter().map(|words| cli::run(words));
    let flags: Vec<Box<run::Flags>> = flags.collect::<anyhow::Result<_>>()?;
    let Some(first) = flags.first() else { return Ok(Vec::new()) };
    let loras: Vec<_> = flags.iter().map(|flags| run::settings(flags).student.loras).collect();
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
