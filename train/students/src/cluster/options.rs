//! What a job asks of Slurm: partition, GPUs, time, container.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// Seconds between the request to stop and the time limit, if none are set.
const GRACE: u32 = 120;
/// How often a part that was lost is submitted again, if nothing is set.
const RESUBMIT: u32 = 20;

/// What a job asks of Slurm, and where its commands run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Options {
    /// `--partition`.
    pub partition: Option<String>,
    /// `--account`.
    pub account: Option<String>,
    /// `--qos`.
    pub qos: Option<String>,
    /// `--time`, in Slurm's form.
    pub time: Option<String>,
    /// `--cpus-per-task`.
    pub cpus: Option<u32>,
    /// `--mem`, in Slurm's form.
    pub memory: Option<String>,
    /// `--gpus-per-node`: a number, or a type and a number.
    pub gpus: Option<String>,
    /// `--nodes`.
    pub nodes: Option<u32>,
    /// `--constraint`.
    pub constraint: Option<String>,
    /// Shards that run at the same time.
    pub max_running: Option<u32>,
    /// An image for Apptainer.
    pub apptainer: Option<String>,
    /// An image for Pyxis.
    pub pyxis: Option<String>,
    /// Folders that the container sees, besides the output and the current folder.
    pub mounts: Vec<String>,
    /// Whether Slurm itself starts a job again after a node failed or a preemption.
    pub requeue: Option<bool>,
    /// Seconds between the request to stop and the time limit.
    pub grace: Option<u32>,
    /// Lines of bash before the command.
    pub setup: Vec<String>,
    /// Variables of the environment.
    pub environment: BTreeMap<String, String>,
    /// Further options of sbatch.
    pub sbatch: Vec<String>,
    /// fixfly's program on the nodes.
    pub program: Option<String>,
    /// How often a part that was lost is submitted again.
    pub resubmit: Option<u32>,
}

/// The other lines of a script's header.
#[derive(Default)]
pub(crate) struct Header<'a> {
    /// The name of the job.
    pub(crate) name: &'a str,
    /// The file of its output, with Slurm's placeholders.
    pub(crate) output: &'a str,
    /// The number of its shards, if it is an array.
    pub(crate) array: Option<u32>,
    /// Which of its processes is asked to stop before the time limit; none: Slurm's default.
    pub(crate) signal: Option<Signalled>,
}

/// Who gets the signal before the time limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signalled {
    /// The process of the script, which the command replaces.
    Script,
    /// The steps that the script starts with srun.
    Steps,
}

impl Options {
    /// These options where they are set, else those of `defaults`.
    #[must_use]
    pub fn over(&self, defaults: &Options) -> Options {
        let (own, other) = (self.clone(), defaults.clone());
        let list = |own: Vec<String>, other| if own.is_empty() { other } else { own };
        // A stage with a container of its own has no other.
        let contained = own.apptainer.is_some() || own.pyxis.is_some();
        let (apptainer, pyxis) = match contained {
            true => (own.apptainer, own.pyxis),
            false => (other.apptainer, other.pyxis),
        };
        let mut environment = other.environment;
        environment.extend(own.environment);
        Options {
            partition: own.partition.or(other.partition),
            account: own.account.or(other.account),
            qos: own.qos.or(other.qos),
            time: own.time.or(other.time),
            cpus: own.cpus.or(other.cpus),
            memory: own.memory.or(other.memory),
            gpus: own.gpus.or(other.gpus),
            nodes: own.nodes.or(other.nodes),
            constraint: own.constraint.or(other.constraint),
            max_running: own.max_running.or(other.max_running),
            apptainer,
            pyxis,
            mounts: list(own.mounts, other.mounts),
            requeue: own.requeue.or(other.requeue),
            grace: own.grace.or(other.grace),
            setup: list(own.setup, other.setup),
            environment,
            sbatch: list(own.sbatch, other.sbatch),
            program: own.program.or(other.program),
            resubmit: own.resubmit.or(other.resubmit),
        }
    }

    /// GPUs per node; none if 0.
    pub(super) fn gpus(&self) -> Option<&str> {
        self.gpus.as_deref().filter(|gpus| *gpus != "0")
    }

    /// The image of Apptainer, if there is one.
    pub(super) fn apptainer(&self) -> Option<&str> {
        self.apptainer.as_deref().filter(|image| !image.is_empty())
    }

    /// The image of Pyxis, if there is one.
    pub(super) fn pyxis(&self) -> Option<&str> {
        self.pyxis.as_deref().filter(|image| !image.is_empty())
    }

    /// Seconds between the request to stop and the end.
    pub(super) fn grace(&self) -> u32 {
        self.grace.unwrap_or(GRACE)
    }

    /// Whether the commands run in a container.
    pub(super) fn is_contained(&self) -> bool {
        self.apptainer().is_some() || self.pyxis().is_some()
    }

    /// How often a part that was lost is submitted again.
    pub(super) fn resubmissions(&self) -> u32 {
        self.resubmit.unwrap_or(RESUBMIT)
    }

    /// The lines of a script that sbatch reads.
    pub(crate) fn header(&self, header: &Header<'_>) -> String {
        let mut lines = vec![("job-name", header.name.to_string())];
        let mut set = |name, value: Option<String>| lines.extend(value.map(|value| (name, value)));
        let text = |value: &Option<String>| value.clone();
        set("partition", text(&self.partition));
        set("account", text(&self.account));
        set("qos", text(&self.qos));
        set("time", text(&self.time));
        set("nodes", Some(self.nodes.unwrap_or(1).to_string()));
        set("ntasks-per-node", Some("1".into()));
        set("cpus-per-task", self.cpus.map(|cpus| cpus.to_string()));
        set("mem", text(&self.memory));
        set("gpus-per-node", self.gpus().map(String::from));
        set("constraint", text(&self.constraint));
        set("array", header.array.map(|parts| format!("1-{parts}{}", self.at_once())));
        set("output", Some(header.output.to_string()));
        set("open-mode", Some("append".into()));
        set(
            "signal",
            header.signal.map(|signalled| {
                let grace = self.grace();
                match signalled {
                    Signalled::Script => format!("B:TERM@{grace}"),
                    Signalled::Steps => format!("TERM@{grace}"),
                }
            }),
        );
        let mut text = String::new();
        for (name, value) in lines {
            let value = match value.contains(char::is_whitespace) {
                true => format!("\"{value}\""),
                false => value,
            };
            let _ = writeln!(text, "#SBATCH --{name}={value}");
        }
        if let Some(requeue) = self.requeue {
            let _ = writeln!(text, "#SBATCH --{}requeue", if requeue { "" } else { "no-" });
        }
        for option in &self.sbatch {
            let _ = writeln!(text, "#SBATCH {option}");
        }
        text
    }

    /// The end of an array's list that limits how many run at the same time.
    pub(super) fn at_once(&self) -> String {
        self.max_running.map_or_else(String::new, |most| format!("%{most}"))
    }

    /// The words before a command that a container runs; they replace the process.
    pub(super) fn prefix(&self, folders: &[&Path]) -> Vec<String> {
        let mut words = Vec::new();
        if self.pyxis().is_some() {
            words.extend(["srun".into(), "--ntasks=1".into(), "--nodes=1".into()]);
            words.extend(self.step(folders));
        }
        words.extend(self.wrapped(folders));
        words
    }

    /// Options of srun for a step in a container of Pyxis.
    pub(crate) fn step(&self, folders: &[&Path]) -> Vec<String> {
        let Some(image) = self.pyxis() else { return Vec::new() };
        let mut words = vec![format!("--container-image={image}")];
        let mounts = self.seen(folders);
        words.push(format!("--container-mounts={}", mounts.join(",")));
        words.extend(folders.first().map(|dir| format!("--container-workdir={}", dir.display())));
        words
    }

    /// Words before a command that Apptainer runs.
    pub(crate) fn wrapped(&self, folders: &[&Path]) -> Vec<String> {
        let Some(image) = self.apptainer() else { return Vec::new() };
        let mut words: Vec<String> = ["apptainer", "exec"].map(String::from).into();
        if self.gpus().is_some() {
            words.push("--nv".into());
        }
        words.extend(["--bind".into(), self.seen(folders).join(",")]);
        words.extend(
            folders.first().iter().flat_map(|dir| ["--pwd".into(), dir.display().to_string()]),
        );
        words.push(image.into());
        words
    }

    /// The folders that the container sees, as `HOST:CONTAINER`.
    fn seen(&self, folders: &[&Path]) -> Vec<String> {
        let own = folders.iter().map(|folder| folder.display().to_string());
        let mut all: Vec<String> = Vec::new();
        for mount in own.chain(self.mounts.iter().cloned()) {
            let mount = if mount.contains(':') { mount } else { format!("{mount}:{mount}") };
            if !all.contains(&mount) {
                all.push(mount);
            }
        }
        all
    }
}
