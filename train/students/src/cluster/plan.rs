//! The jobs of a file: for each stage one, or an array of shards and a job that merges them.

use std::path::{Path, PathBuf};

use fixfly_runtime::sha256;
use serde::{Deserialize, Serialize};

use super::file::{StageTable, listed};
use super::words::PART;
use super::{ClusterError, ClusterFile, Options};

/// Version of `plan.json`.
const VERSION: u32 = 1;

/// The jobs of a file, with absolute paths.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Version of this file.
    pub version: u32,
    /// Short hash of the output folder; part of the jobs' names.
    pub id: String,
    /// The folder of everything.
    pub output: PathBuf,
    /// The folder in which the commands run.
    pub directory: PathBuf,
    /// The jobs, each after those that it depends on.
    pub jobs: Vec<PlannedJob>,
}

/// What a job does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// One command.
    Whole,
    /// An array of the shards of a run.
    Shards,
    /// Merges the shards of a run.
    Merge,
    /// LLaMA-Factory, on one or more nodes.
    LlamaFactory,
    /// A sweep, after its stages, which are jobs of their own.
    Sweep,
}

/// A job of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedJob {
    /// Its name: that of the stage, or with `.merge`.
    pub name: String,
    /// What it does.
    pub kind: Kind,
    /// Words after the program, `{part}` for the number of the part.
    pub command: Vec<String>,
    /// The number of its parts; 1 without an array.
    pub parts: u32,
    /// The jobs before it.
    pub after: Vec<String>,
    /// What it writes; of shards the folder of their run directories.
    pub output: PathBuf,
    /// Whether what it writes are run directories.
    pub records: bool,
    /// What it asks of Slurm.
    pub options: Options,
    /// The file of the stages, for LLaMA-Factory's script.
    pub file: PathBuf,
    /// The sweep that this is a stage of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sweep: Option<String>,
    /// Of a sweep: whether it has stages that are not done.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub held: bool,
    /// Of a sweep: how many of its stages were done when the next ones were added.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub looked: Option<usize>,
}

impl Plan {
    /// The jobs of a file. `output` is the folder of everything, `directory` that of the
    /// commands, `program` the path of fixfly outside of containers.
    ///
    /// # Errors
    /// [`ClusterError::Usage`] if a stage cannot be a job.
    pub fn new(
        file: &ClusterFile,
        output: &Path,
        directory: &Path,
        program: &str,
    ) -> Result<Plan, ClusterError> {
        check_folder(output)?;
        let id = sha256(output.as_os_str().as_encoded_bytes())[..6].to_string();
        let (output, directory) = (output.to_path_buf(), directory.to_path_buf());
        let mut plan = Plan { version: VERSION, id, output, directory, jobs: Vec::new() };
        for (at, stage) in file.stages.iter().enumerate() {
            let jobs = plan.jobs_of(stage, &file.stages[..at], file, program)?;
            plan.jobs.extend(jobs);
        }
        Ok(plan)
    }

    /// Refuses a stage whose command `accepts` does not; it returns why.
    ///
    /// # Errors
    /// [`ClusterError::Usage`] with the line of the command.
    pub fn check(
        &self,
        file: &ClusterFile,
        accepts: impl Fn(Vec<String>) -> Result<(), String>,
    ) -> Result<(), ClusterError> {
        for job in &self.jobs {
            let words = job.command.iter().map(|word| word.replace(PART, "1"));
            let words: Vec<String> = std::iter::once("fixfly".into()).chain(words).collect();
            // A file of flags is read on the node.
            if words.iter().any(|word| word.starts_with("--config")) {
                continue;
            }
            if let Err(why) = accepts(words) {
                let stage = job.name.split('.').next().unwrap_or_default();
                let stage = file.stages.iter().find(|other| other.name == stage);
                let place = stage.map(|stage| &*stage.place).unwrap_or_default();
                let why = format!("{place}: the command of {}: {why}", job.name);
                return Err(ClusterError::Usage(why));
            }
        }
        Ok(())
    }

    /// The job of that name.
    pub fn job(&self, name: &str) -> Option<&PlannedJob> {
        self.jobs.iter().find(|job| job.name == name)
    }

    /// Takes over the stages of sweeps that an earlier plan of this folder has.
    pub(super) fn take_stages(&mut self, then: &Plan) {
        for job in then.jobs.iter().filter(|job| job.sweep.is_some()) {
            let of = |sweep: &PlannedJob| Some(&sweep.name) == job.sweep.as_ref();
            let Some(at) = self.jobs.iter().position(of) else { continue };
            let options = self.jobs[at].options.clone();
            self.jobs.insert(at, PlannedJob { options, ..job.clone() });
        }
        for sweep in self.jobs.iter_mut().filter(|job| job.kind == Kind::Sweep) {
            if let Some(earlier) = then.job(&sweep.name) {
                (sweep.held, sweep.looked) = (earlier.held, earlier.looked);
            }
        }
    }

    /// The output of a stage.
    fn output_of(&self, stage: &StageTable) -> PathBuf {
        match &stage.output {
            Some(output) if !output.is_empty() => self.directory.join(output),
            _ => self.output.join(&stage.name),
        }
    }

    /// The last job of a stage, whose output others read.
    fn last(stage: &StageTable) -> String {
        match stage.shards {
            1 => stage.name.clone(),
            _ => format!("{}.merge", stage.name),
        }
    }

    fn jobs_of(
        &self,
        stage: &StageTable,
        earlier: &[StageTable],
        file: &ClusterFile,
        program: &str,
    ) -> Result<Vec<PlannedJob>, ClusterError> {
        let fault = |why: String| ClusterError::Usage(format!("{}: {why}", stage.place));
        let output = self.output_of(stage);
        let mut after: Vec<&StageTable> =
            earlier.iter().filter(|other| stage.after.contains(&other.name)).collect();
        let (mut command, mut has_output) = (Vec::new(), false);
        for word in &stage.command {
            let (mut filled, mut rest) = (String::new(), &**word);
            while let Some((before, name, behind)) = placeholder(rest) {
                filled += before;
                rest = behind;
                if name == "output" {
                    has_output = true;
                    filled += &output.display().to_string();
                    continue;
                }
                let Some(other) = earlier.iter().find(|other| other.name == name) else {
                    return Err(fault(format!(
                        "the command of {} has {{{name}}}, which is no earlier stage; {}",
                        stage.name,
                        listed(earlier)
                    )));
                };
                filled += &self.output_of(other).display().to_string();
                if !after.contains(&other) {
                    after.push(other);
                }
            }
            command.push(filled + rest);
        }
        let gives_output = |word: &&String| *word == "-o" || word.starts_with("--output");
        if !has_output && command.iter().any(|word| gives_output(&word)) {
            return Err(fault(format!(
                "the command of {} has -o, which fixfly adds; remove it, and set `output` if the folder matters",
                stage.name
            )));
        }
        if command.iter().any(|word| word == "--shard") {
            return Err(fault(format!(
                "the command of {} has --shard; remove it and set `shards`",
                stage.name
            )));
        }
        let appends = !has_output && stage.output.as_deref() != Some("");
        let mut options = stage.options.clone();
        let default = || if options.is_contained() { "fixfly".into() } else { program.to_string() };
        options.program = Some(options.program.clone().unwrap_or_else(default));
        let kind = match command[..] {
            [ref train, ref factory, ..] if train == "train" && factory == "llamafactory" => {
                Kind::LlamaFactory
            }
            [ref sweep, ..] if sweep == "sweep" => Kind::Sweep,
            _ if stage.shards > 1 => Kind::Shards,
            _ => Kind::Whole,
        };
        if kind != Kind::LlamaFactory && options.nodes.is_some_and(|nodes| nodes > 1) {
            return Err(fault(format!(
                "`nodes` of {} is more than 1, and only train llamafactory uses several nodes; set `nodes = 1` and use `shards`",
                stage.name
            )));
        }
        let after: Vec<String> = after.into_iter().map(Plan::last).collect();
        let mut job = PlannedJob {
            name: stage.name.clone(),
            kind,
            records: command[0] == "run",
            command,
            parts: stage.shards,
            after,
            output: output.clone(),
            options,
            file: file.path.clone(),
            sweep: None,
            held: kind == Kind::Sweep,
            looked: None,
        };
        if kind == Kind::LlamaFactory {
            job.for_nodes();
        }
        if kind != Kind::Shards {
            if appends {
                job.command.extend(["-o".into(), output.display().to_string()]);
            }
            return Ok(vec![job]);
        }
        if !appends {
            return Err(fault(format!(
                "{} has shards, whose folders fixfly names; remove {{output}} from its command",
                stage.name
            )));
        }
        job.output = shards_folder(&output);
        let shard = |part: &str| job.output.join(part).display().to_string();
        let own = ["--shard".into(), format!("{PART}/{}", stage.shards), "-o".into(), shard(PART)];
        let all = (1..=stage.shards).map(|part| shard(&part.to_string()));
        let mut merge = vec!["merge-runs".to_string()];
        merge.extend(all);
        merge.extend(["-o".into(), output.display().to_string()]);
        job.command.extend(own);
        let merge = PlannedJob {
            name: Plan::last(stage),
            kind: Kind::Merge,
            command: merge,
            parts: 1,
            after: vec![stage.name.clone()],
            output,
            records: true,
            // Merging needs no GPU.
            options: file.merge.over(&Options {
                gpus: None,
                cpus: None,
                max_running: None,
                ..job.options.clone()
            }),
            file: file.path.clone(),
            sweep: None,
            held: false,
            looked: None,
        };
        Ok(vec![job, merge])
    }
}

impl PlannedJob {
    /// Adds the flags that the options already state.
    fn for_nodes(&mut self) {
        let has = |words: &[String], flag: &str| {
            words.iter().any(|word| word == flag || word.starts_with(&format!("{flag}=")))
        };
        let gpus = self.options.gpus().map(|gpus| gpus.rsplit(':').next().unwrap_or(gpus));
        let gpus = Some(gpus.unwrap_or("0").to_string());
        let nodes = self.options.nodes.map(|nodes| nodes.to_string());
        for (flag, value) in [("--gpus", gpus), ("--nodes", nodes)] {
            if let Some(value) = value
                && !has(&self.command, flag)
            {
                self.command.extend([flag.to_string(), value]);
            }
        }
    }

    /// The run directory of a part.
    pub fn run_directory(&self, part: u32) -> PathBuf {
        match self.kind {
            Kind::Shards => self.output.join(part.to_string()),
            Kind::Whole | Kind::Merge | Kind::LlamaFactory | Kind::Sweep => self.output.clone(),
        }
    }

    /// The job of a stage of this sweep; `name` is that of the stage's output.
    pub(super) fn stage(&self, name: &str) -> PlannedJob {
        let is_odd = |c: char| !c.is_ascii_alphanumeric() && !"._-".contains(c);
        let mut command = self.command.clone();
        command.extend(["--stage".into(), name.into()]);
        PlannedJob {
            name: format!("{}.{}", self.name, name.replace(is_odd, "-")),
            kind: Kind::Whole,
            command,
            parts: 1,
            after: Vec::new(),
            output: self.output.join(name),
            records: name.starts_with("runs/"),
            sweep: Some(self.name.clone()),
            held: false,
            looked: None,
            ..self.clone()
        }
    }
}

/// The folder of the shards of a run.
fn shards_folder(output: &Path) -> PathBuf {
    let mut name = output.as_os_str().to_owned();
    name.push(".shards");
    name.into()
}

/// The text before the first `{name}`, the name, and the text behind it.
fn placeholder(text: &str) -> Option<(&str, &str, &str)> {
    let mut from = 0;
    while let Some(open) = text[from..].find('{') {
        let open = from + open;
        let close = open + text[open..].find('}')?;
        let name = &text[open + 1..close];
        let plain = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
        if !name.is_empty() && name.chars().all(plain) {
            return Some((&text[..open], name, &text[close + 1..]));
        }
        from = open + 1;
    }
    None
}

/// Refuses a folder whose path sbatch would not read as it is.
fn check_folder(folder: &Path) -> Result<(), ClusterError> {
    let shown = folder.display().to_string();
    let refused = |c: char| c.is_control() || "\"\\%{},:".contains(c);
    match folder.to_str().is_none() || shown.contains(refused) {
        true => Err(ClusterError::Usage(format!(
            "the path {shown} has a character that sbatch or a container reads as its own (one of \" \\ % {{ }} , : or no UTF-8); name another folder with -o"
        ))),
        false => Ok(()),
    }
}
