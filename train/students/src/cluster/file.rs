//! The file that names the stages.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use toml::{Table, Value};

use super::line::{Section, Source};
use super::{ClusterError, Options};

/// Slurm's usual limit of an array.
const MAX_SHARDS: u32 = 1000;
/// The keys of a stage that are no options.
const OF_STAGES: [&str; 5] = ["name", "command", "shards", "after", "output"];
/// Short forms of a stage, by their key, which is also its name.
const SHORT: [&str; 3] = ["run", "sweep", "train"];
/// What fixfly passes to sbatch itself.
const OWN: [&str; 12] = [
    "--array",
    "-a",
    "--dependency",
    "-d",
    "--job-name",
    "-J",
    "--open-mode",
    "--output",
    "-o",
    "--parsable",
    "--signal",
    "--wait",
];

/// A file of stages, checked.
#[derive(Clone, Debug, PartialEq)]
pub struct ClusterFile {
    /// The file; an absolute path.
    pub path: PathBuf,
    /// The stages, in their order.
    pub stages: Vec<StageTable>,
    /// Options of the jobs that merge shards, over those of their stage.
    pub merge: Options,
}

/// A stage of the file.
#[derive(Clone, Debug, PartialEq)]
pub struct StageTable {
    /// Its name.
    pub name: String,
    /// The words of its command, after `fixfly`.
    pub command: Vec<String>,
    /// The number of its shards.
    pub shards: u32,
    /// The stages before it, by name, besides those whose output its command has.
    pub after: Vec<String>,
    /// Where its output is; `Some("")`: it has none.
    pub output: Option<String>,
    /// Its options, together with those of every stage.
    pub options: Options,
    /// `FILE: line N` of its command.
    pub place: String,
}

impl ClusterFile {
    /// Reads a file.
    ///
    /// # Errors
    /// [`ClusterError::Usage`] with the file, the line and the key.
    pub fn open(file: &Path) -> Result<Self, ClusterError> {
        let text = fixfly_runtime::read_text(file)
            .map_err(|why| ClusterError::Usage(format!("cannot read {}: {why}", file.display())))?;
        let path = std::path::absolute(file).map_err(ClusterError::io("find", file))?;
        ClusterFile::read(&text, &file.display().to_string(), path)
    }

    /// Reads the options of every stage alone, for a script that is submitted by hand.
    ///
    /// # Errors
    /// As for [`ClusterFile::open`].
    pub fn options(file: &Path) -> Result<Options, ClusterError> {
        let text = fixfly_runtime::read_text(file)
            .map_err(|why| ClusterError::Usage(format!("cannot read {}: {why}", file.display())))?;
        let name = file.display().to_string();
        let source = Source { name: &name, text: &text };
        let mut table = parsed(source)?;
        options_of(source, &mut table, "cluster")
    }

    /// Parses the text of a file; errors name it `name`.
    ///
    /// # Errors
    /// As for [`ClusterFile::open`].
    pub fn read(text: &str, name: &str, path: PathBuf) -> Result<Self, ClusterError> {
        let source = Source { name, text };
        let mut table = parsed(source)?;
        let cluster = options_of(source, &mut table, "cluster")?;
        let merge = options_of(source, &mut table, "merge")?;
        let mut top = Keys { source, section: Section::Top, table: &mut table };
        let mut stages = short_forms(&mut top, &cluster)?;
        let tables: Vec<Table> = top.take("stages", "`[[stages]]` tables")?.unwrap_or_default();
        let known = [&SHORT[..], &["shards", "cluster", "merge", "stages"]].concat();
        top.nothing_else(&known)?;
        for (at, mut table) in tables.into_iter().enumerate() {
            let mut keys = Keys { source, section: Section::Stage(at), table: &mut table };
            stages.push(stage(&mut keys, &cluster)?);
        }
        let file = ClusterFile { path, stages, merge };
        file.check(source)?;
        Ok(file)
    }

    fn check(&self, source: Source<'_>) -> Result<(), ClusterError> {
        if self.stages.is_empty() {
            let why = format!(
                "{} has no stage; add a [[stages]] table with `name` and `command`, or `run`, `sweep` or `train`",
                source.name
            );
            return Err(ClusterError::Usage(why));
        }
        for (at, stage) in self.stages.iter().enumerate() {
            let earlier = &self.stages[..at];
            let fault = |why: String| ClusterError::Usage(format!("{}: {why}", stage.place));
            if earlier.iter().any(|other| other.name == stage.name) {
                return Err(fault(format!("two stages are named {}; rename one", stage.name)));
            }
            let unknown = stage.after.iter().find(|name| !earlier.iter().any(|e| e.name == **name));
            if let Some(name) = unknown {
                return Err(fault(format!(
                    "`after` of {} names {name}, which is no earlier stage; {}",
                    stage.name,
                    listed(earlier)
                )));
            }
        }
        Ok(())
    }
}

/// The names of stages, for an error.
pub(super) fn listed(stages: &[StageTable]) -> String {
    let names: Vec<&str> = stages.iter().map(|stage| &*stage.name).collect();
    match names.is_empty() {
        true => "there is none before it".into(),
        false => format!("there are: {}", names.join(", ")),
    }
}

fn parsed(source: Source<'_>) -> Result<Table, ClusterError> {
    source.text.parse().map_err(|why: toml::de::Error| {
        let at = why.span().map_or(0, |span| span.start);
        let message = fixfly_runtime::one_line(why.message());
        let place = format!("{}: line {}", source.name, source.line_at(at));
        ClusterError::Usage(format!("{place}: this is not TOML: {message}"))
    })
}

/// The keys of a table, taken one by one.
struct Keys<'a> {
    source: Source<'a>,
    section: Section<'a>,
    table: &'a mut Table,
}

impl Keys<'_> {
    fn fault(&self, key: &str, why: &str) -> ClusterError {
        self.source.fault(self.section, key, why)
    }

    /// The value of a key, which must be `expected`. `-` and `_` are the same in keys.
    fn take<T: DeserializeOwned>(
        &mut self,
        key: &str,
        expected: &str,
    ) -> Result<Option<T>, ClusterError> {
        let written = [key.to_string(), key.replace('-', "_")];
        let found = written.iter().find(|key| self.table.contains_key(*key));
        let Some(value) = found.and_then(|key| self.table.remove(key)) else { return Ok(None) };
        let wrong = |_| self.fault(key, &format!("must be {expected}"));
        value.try_into().map(Some).map_err(wrong)
    }

    /// One word, which Slurm reads as it is.
    fn word(&mut self, key: &str, expected: &str) -> Result<Option<String>, ClusterError> {
        let is_word = |text: &str| {
            !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || "\"'\\#".contains(c))
        };
        self.checked(key, expected, is_word)
    }

    fn checked(
        &mut self,
        key: &str,
        expected: &str,
        is_right: impl Fn(&str) -> bool,
    ) -> Result<Option<String>, ClusterError> {
        let Some(text) = self.take::<String>(key, expected)? else { return Ok(None) };
        match is_right(&text) {
            true => Ok(Some(text)),
            false => Err(self.fault(key, &format!("is `{text}`; it must be {expected}"))),
        }
    }

    fn count(&mut self, key: &str, least: u32, example: u32) -> Result<Option<u32>, ClusterError> {
        let expected = format!("a whole number of at least {least}, such as {example}");
        let Some(number) = self.take::<u32>(key, &expected)? else { return Ok(None) };
        match number >= least {
            true => Ok(Some(number)),
            false => Err(self.fault(key, &format!("is {number}; it must be {expected}"))),
        }
    }

    /// Refuses what was not taken.
    fn nothing_else(&self, known: &[&str]) -> Result<(), ClusterError> {
        match self.table.keys().next() {
            None => Ok(()),
            Some(key) => {
                let why = format!("is unknown here; the keys are: {}", known.join(", "));
                Err(self.fault(key, &why))
            }
        }
    }
}

fn options_of(
    source: Source<'_>,
    table: &mut Table,
    name: &'static str,
) -> Result<Options, ClusterError> {
    let mut top = Keys { source, section: Section::Top, table };
    let expected = format!("a table: [{name}]");
    let mut own = top.take::<Table>(name, &expected)?.unwrap_or_default();
    let mut keys = Keys { source, section: Section::Table(name), table: &mut own };
    let options = options(&mut keys)?;
    keys.nothing_else(&KEYS)?;
    Ok(options)
}

/// The keys of options.
const KEYS: [&str; 20] = [
    "partition",
    "account",
    "qos",
    "time",
    "cpus",
    "memory",
    "gpus",
    "nodes",
    "constraint",
    "max-running",
    "apptainer",
    "pyxis",
    "mounts",
    "requeue",
    "grace",
    "setup",
    "environment",
    "sbatch",
    "program",
    "resubmit",
];

fn options(keys: &mut Keys<'_>) -> Result<Options, ClusterError> {
    let digits = |text: &str| text.starts_with(|c: char| c.is_ascii_digit());
    let time =
        |text: &str| digits(text) && text.chars().all(|c| c.is_ascii_digit() || ":-".contains(c));
    let memory = |text: &str| {
        let number = text.trim_end_matches(['K', 'M', 'G', 'T', 'B']);
        !number.is_empty() && number.chars().all(|c| c.is_ascii_digit())
    };
    let image = |text: &str| !text.contains(char::is_control);
    let options = Options {
        partition: keys.word("partition", "the name of a partition")?,
        account: keys.word("account", "the name of an account")?,
        qos: keys.word("qos", "the name of a quality of service")?,
        time: keys.checked("time", "a text such as \"04:00:00\" or \"2-00:00:00\"", time)?,
        cpus: keys.count("cpus", 1, 8)?,
        memory: keys.checked("memory", "a text such as \"16G\"", memory)?,
        gpus: gpus(keys)?,
        nodes: keys.count("nodes", 1, 2)?,
        constraint: keys.word("constraint", "features of nodes, such as \"a100\"")?,
        max_running: keys.count("max-running", 1, 8)?,
        apptainer: keys.checked("apptainer", "an image, such as \"fixfly.sif\"", image)?,
        pyxis: keys.checked("pyxis", "an image, such as \"lab/fixfly:1\"", image)?,
        mounts: list(keys, "mounts", "a list of folders")?,
        requeue: keys.take("requeue", "true or false")?,
        grace: keys.count("grace", 1, 120)?,
        setup: list(keys, "setup", "a list of lines of bash")?,
        environment: environment(keys)?,
        sbatch: sbatch(keys)?,
        program: keys
            .checked("program", "the path of fixfly on the nodes", |text| !text.is_empty())?,
        resubmit: keys.count("resubmit", 0, 20)?,
    };
    if options.apptainer.is_some() && options.pyxis.is_some() {
        return Err(keys.fault("pyxis", "stands beside `apptainer`; keep one of them"));
    }
    Ok(options)
}

fn list(keys: &mut Keys<'_>, key: &str, expected: &str) -> Result<Vec<String>, ClusterError> {
    Ok(keys.take(key, expected)?.unwrap_or_default())
}

/// A number of GPUs, or a type with one.
fn gpus(keys: &mut Keys<'_>) -> Result<Option<String>, ClusterError> {
    const EXPECTED: &str = "a number such as 1, or a type with one, such as \"a100:2\"";
    let Some(value) = keys.take::<Value>("gpus", EXPECTED)? else { return Ok(None) };
    let wrong = |keys: &Keys<'_>| keys.fault("gpus", &format!("must be {EXPECTED}"));
    match value {
        Value::Integer(number) if number >= 0 => Ok(Some(number.to_string())),
        Value::String(text) => {
            let number = text.rsplit(':').next().unwrap_or_default();
            let plain = |c: char| c.is_ascii_alphanumeric() || "_.:-".contains(c);
            match number.parse::<u32>().is_ok() && text.chars().all(plain) {
                true => Ok(Some(text)),
                false => Err(wrong(keys)),
            }
        }
        _ => Err(wrong(keys)),
    }
}

fn environment(keys: &mut Keys<'_>) -> Result<BTreeMap<String, String>, ClusterError> {
    let expected = "a table of texts: { NAME = \"value\" }";
    let set = keys.take::<BTreeMap<String, String>>("environment", expected)?.unwrap_or_default();
    let is_name = |name: &str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
        name.starts_with(|c: char| !c.is_ascii_digit()) && name.chars().all(plain)
    };
    match set.keys().find(|name| !is_name(name)) {
        None => Ok(set),
        Some(name) => {
            let why =
                format!("has `{name}`, which is no name of a variable; use letters, digits and _");
            Err(keys.fault("environment", &why))
        }
    }
}

/// Further options of sbatch; none that fixfly sets itself.
fn sbatch(keys: &mut Keys<'_>) -> Result<Vec<String>, ClusterError> {
    let expected = "a list of options, such as [\"--exclusive\"]";
    let given = keys.take::<Vec<String>>("sbatch", expected)?.unwrap_or_default();
    for option in &given {
        if !option.starts_with('-') || option.contains(char::is_control) {
            return Err(keys.fault("sbatch", &format!("has `{option}`; it must be {expected}")));
        }
        let name = option.split(['=', ' ']).next().unwrap_or_default();
        if OWN.contains(&name) {
            let why = format!("has {name}, which fixfly sets itself; remove it");
            return Err(keys.fault("sbatch", &why));
        }
    }
    Ok(given)
}

fn short_forms(top: &mut Keys<'_>, cluster: &Options) -> Result<Vec<StageTable>, ClusterError> {
    let shards = shards(top)?;
    let mut stages = Vec::new();
    for name in SHORT {
        let command = match name {
            "sweep" => top
                .take::<String>(name, "the path of a sweep's file")?
                .map(|file| vec![name.to_string(), file]),
            _ => top
                .take::<Vec<String>>(
                    name,
                    "a list of words, such as [\"django\", \"--policy\", \"retrieval\"]",
                )?
                .map(|words| [vec![name.to_string()], words].concat()),
        };
        let Some(command) = command else { continue };
        stages.push(StageTable {
            name: name.into(),
            shards: if name == "run" { shards.unwrap_or(1) } else { 1 },
            command,
            after: Vec::new(),
            output: None,
            options: cluster.clone(),
            place: top.source.place(top.section, name),
        });
    }
    if shards.is_some() && stages.iter().all(|stage| stage.name != "run") {
        return Err(top.fault("shards", "divides `run`, which is not there; write it into a stage"));
    }
    Ok(stages)
}

fn shards(keys: &mut Keys<'_>) -> Result<Option<u32>, ClusterError> {
    match keys.count("shards", 1, 8)? {
        Some(number) if number > MAX_SHARDS => {
            let why = format!("is {number}; Slurm's arrays have at most {MAX_SHARDS}");
            Err(keys.fault("shards", &why))
        }
        number => Ok(number),
    }
}

fn stage(keys: &mut Keys<'_>, cluster: &Options) -> Result<StageTable, ClusterError> {
    let is_name = |text: &str| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
        text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.chars().all(plain)
            && text.len() <= 60
    };
    let expected = "a name of letters, digits, - and _";
    let name = keys.checked("name", expected, is_name)?;
    let name = name.ok_or_else(|| keys.fault("name", &format!("is missing; add {expected}")))?;
    if ["output", "part", "cluster"].contains(&&*name) {
        return Err(
            keys.fault("name", &format!("is `{name}`, which fixfly uses itself; rename it"))
        );
    }
    let expected = "the words after `fixfly`, such as [\"run\", \"django\"]";
    let command = keys.take::<Vec<String>>("command", expected)?;
    let command = command.filter(|words| !words.is_empty());
    let command =
        command.ok_or_else(|| keys.fault("command", &format!("is missing; add {expected}")))?;
    let shards = shards(keys)?.unwrap_or(1);
    if shards > 1 && command[0] != "run" {
        return Err(keys.fault("shards", "divides only `run`; remove it from this stage"));
    }
    let after = keys.take("after", "a list of stages, such as [\"record\"]")?.unwrap_or_default();
    let output = keys.take("output", "a path, or \"\" if the command has no -o")?;
    let place = keys.source.place(keys.section, "command");
    let options = options(keys)?.over(cluster);
    keys.nothing_else(&[&OF_STAGES[..], &KEYS].concat())?;
    Ok(StageTable { name, command, shards, after, output, options, place })
}
