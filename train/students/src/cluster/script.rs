//! The script of a job.

use std::fmt::Display;
use std::path::{Path, PathBuf};

use super::options::{Header, Signalled};
use super::words::{PART, line, quoted};
use super::{Kind, Options, Plan, PlannedJob};

/// Seconds to close sandboxes after the last episode was stopped.
const CLOSING: u32 = 20;

/// A script for sbatch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Script {
    /// Its file.
    pub(super) path: PathBuf,
    /// Its text.
    pub(super) text: String,
}

/// The folder of a plan's own files.
pub(super) fn own_folder(output: &Path) -> PathBuf {
    output.join("cluster")
}

/// A job's script.
pub(super) fn file(plan: &Plan, job: &PlannedJob) -> PathBuf {
    own_folder(&plan.output).join("scripts").join(format!("{}.sbatch", job.name))
}

/// The file of a part's output.
pub(super) fn log(plan: &Plan, job: &PlannedJob, part: impl Display) -> PathBuf {
    own_folder(&plan.output).join("logs").join(format!("{}-{part}.txt", job.name))
}

/// The file that a part writes when it ends.
pub(super) fn state(plan: &Plan, job: &PlannedJob, part: impl Display) -> PathBuf {
    own_folder(&plan.output).join("state").join(format!("{}-{part}", job.name))
}

impl Plan {
    /// The scripts of the jobs, in their order.
    pub(super) fn scripts(&self) -> Vec<Script> {
        self.jobs.iter().map(|job| self.script(job)).collect()
    }

    pub(super) fn script(&self, job: &PlannedJob) -> Script {
        let is_array = job.parts > 1;
        let part = if is_array { "%a" } else { "1" };
        let output = log(self, job, part);
        let contained = job.options.pyxis().is_some();
        let header = job.options.header(&Header {
            name: &format!("fixfly-{}", job.name),
            output: &output.display().to_string(),
            array: is_array.then_some(job.parts),
            signal: Some(match job.kind {
                Kind::LlamaFactory => Signalled::Steps,
                _ if contained => Signalled::Steps,
                _ => Signalled::Script,
            }),
        });
        let number = if is_array { "$SLURM_ARRAY_TASK_ID" } else { "1" };
        let state = state(self, job, PART).display().to_string();
        let mut text = format!(
            "#!/usr/bin/env bash\n\
             # Written by fixfly cluster submit, which overwrites changes.\n\
             {header}\
             set -e -o pipefail\n\
             cd {}\n\
             part={number}\n\
             state={}\n\
             # What an earlier try left.\n\
             rm -f -- \"$state.exit\"\n",
            quoted(&self.directory.display().to_string()),
            line(&[state]),
        );
        // fixfly takes as long as Slurm gives it, less the time to close sandboxes.
        let notice = job.options.grace().saturating_sub(CLOSING).max(1);
        text += &format!("export FIXFLY_NOTICE={notice}\n");
        text += &setup(&job.options);
        text += &self.commands(job);
        Script { path: file(self, job), text }
    }

    /// The commands. The last one replaces the script, so that it gets Slurm's signals and
    /// its exit code is the job's.
    fn commands(&self, job: &PlannedJob) -> String {
        let mut folders = vec![&*self.directory, &*self.output];
        // Where the output is elsewhere, the container has to see that folder.
        let elsewhere = job.output.parent().filter(|parent| !parent.starts_with(&self.output));
        folders.extend(elsewhere);
        let program = job.options.program.clone().unwrap_or_else(|| "fixfly".into());
        let words = |more: &[String]| {
            let mut words = job.options.prefix(&folders);
            words.push(program.clone());
            words.extend_from_slice(&job.command);
            words.extend_from_slice(more);
            line(&words)
        };
        let state = "--job-state \"$state\"";
        match job.kind {
            Kind::Whole | Kind::Shards | Kind::Merge | Kind::Sweep => {
                format!("exec {} {state}\n", words(&[]))
            }
            Kind::LlamaFactory => {
                let file = job.file.display().to_string();
                let written = words(&["--slurm".into(), "--cluster".into(), file]);
                let script = job.output.join("llamafactory/train.sbatch").display().to_string();
                let collect = words(&["--collect".into()]);
                format!("{written}\nbash {}\nexec {collect} {state}\n", quoted(&script))
            }
        }
    }
}

/// Variables and lines before the command.
pub(crate) fn setup(options: &Options) -> String {
    let variables = options.environment.iter();
    let variables = variables.map(|(name, value)| format!("export {name}={}\n", quoted(value)));
    let lines = options.setup.iter().map(|line| format!("{line}\n"));
    variables.chain(lines).collect()
}
