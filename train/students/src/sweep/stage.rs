//! Stages of a sweep: a command of fixfly and its flags, by name.

use std::path::{Path, PathBuf};

use fixfly_runtime::{input_hash, sha256};
use toml::{Table, Value};

use super::SweepError;
use crate::settings::Method;

/// The command of a stage.
#[derive(Clone, Debug)]
pub enum Verb {
    /// `fixfly bench build NAME`.
    BuildBenchmark(String),
    /// `fixfly run`.
    Run,
    /// `fixfly dataset build`.
    BuildDataset,
    /// `fixfly train init`.
    Init,
    /// `fixfly train lora` or `fixfly train full`.
    Train(Method),
    /// `fixfly export gguf`.
    ExportGguf,
}

/// A command that writes one artifact.
#[derive(Clone, Debug)]
pub struct Stage {
    pub(super) kind: &'static str,
    pub(super) name: String,
    pub(super) ending: Option<&'static str>,
    verb: Verb,
    flags: Table,
    /// Inputs that no stage wrote.
    inputs: Vec<PathBuf>,
}

impl Verb {
    /// Its words on the command line.
    pub fn words(&self) -> String {
        match self {
            Verb::BuildBenchmark(name) => format!("bench build {name}"),
            Verb::Run => "run".into(),
            Verb::BuildDataset => "dataset build".into(),
            Verb::Init => "train init".into(),
            Verb::Train(method) => format!("train {}", method.name()),
            Verb::ExportGguf => "export gguf".into(),
        }
    }
}

impl Stage {
    pub(super) fn new(kind: &'static str, name: &str, verb: Verb) -> Stage {
        let (name, flags) = (name.into(), Table::new());
        Stage { kind, name, ending: None, verb, flags, inputs: Vec::new() }
    }

    /// Sets a flag, by its long name.
    pub(super) fn set(mut self, flag: &str, value: impl Into<Value>) -> Stage {
        self.flags.insert(flag.into(), value.into());
        self
    }

    /// Sets a flag to a path.
    pub(super) fn path(self, flag: &str, path: &Path) -> Stage {
        self.set(flag, path.display().to_string())
    }

    /// Adds flags of the sweep's file.
    pub(super) fn with(mut self, flags: &Table) -> Result<Stage, SweepError> {
        for (key, value) in flags {
            let flag = key.replace('_', "-");
            if self.flags.contains_key(&flag) {
                return Err(SweepError::Usage(format!(
                    "remove `{key}` from the flags of `fixfly {}`: the sweep sets it itself",
                    self.verb.words()
                )));
            }
            self.flags.insert(flag, value.clone());
        }
        Ok(self)
    }

    /// Adds inputs.
    pub(super) fn of(mut self, inputs: &[&Path]) -> Stage {
        self.inputs.extend(inputs.iter().map(|path| path.to_path_buf()));
        self
    }

    /// Marks the artifact as a file instead of a folder.
    pub(super) fn file(mut self, ending: &'static str) -> Stage {
        self.ending = Some(ending);
        self
    }

    /// The stage that writes its artifact to this path.
    pub(super) fn into(self, made: &Path) -> Stage {
        let flag = match self.verb {
            Verb::BuildBenchmark(ref name) if name == "django" => "benchmark-dir",
            _ => "output",
        };
        self.path(flag, made)
    }

    /// The command.
    pub fn verb(&self) -> &Verb {
        &self.verb
    }

    /// The command's flags, by their long names.
    pub fn flags(&self) -> &Table {
        &self.flags
    }

    /// The command line that does the same, for people.
    pub fn command(&self) -> String {
        let mut line = format!("fixfly {}", self.verb.words());
        for (flag, value) in &self.flags {
            let text = |value: &Value| match value {
                Value::String(text) => text.clone(),
                value => serde_json::to_string(value).unwrap_or_default(),
            };
            match value {
                Value::Boolean(true) => line += &format!(" --{flag}"),
                Value::Boolean(false) => {}
                Value::Array(all) => {
                    let all: Vec<String> = all.iter().map(text).collect();
                    line += &format!(" --{flag} {}", all.join(","));
                }
                value => line += &format!(" --{flag} {}", text(value)),
            }
        }
        line
    }

    /// The hash of everything that determines the artifact, wherever `folder` is.
    pub(super) fn key(&self, folder: &str) -> Result<String, SweepError> {
        let flags = serde_json::to_string(&self.flags);
        let flags = flags.map_err(|why| {
            SweepError::Broken(format!("a flag of {} has no JSON form: {why}", self.name))
        })?;
        let mut text = env!("CARGO_PKG_VERSION").to_string();
        for part in [self.verb.words(), flags.replace(folder, ".")] {
            text += &part;
            text.push('\0');
        }
        for input in &self.inputs {
            text += &input_hash(input).map_err(SweepError::io("read", input))?;
        }
        Ok(sha256(text)[..10].to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_depends_on_flags_and_inputs_and_not_on_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let input = folder.path().join("recipe.toml");
        let key = |verb: Verb, flag: &str, text: &str, place: &str| {
            std::fs::write(&input, text).unwrap();
            Stage::new("runs", "x", verb).set("model", flag).of(&[&input]).key(place).unwrap()
        };
        let first = key(Verb::Run, "/here/a", "one", "/here");
        assert_eq!(first, key(Verb::Run, "/there/a", "one", "/there"));
        assert_ne!(first, key(Verb::Run, "/here/b", "one", "/here"));
        assert_ne!(first, key(Verb::Run, "/here/a", "two", "/here"));
        assert_ne!(first, key(Verb::Init, "/here/a", "one", "/here"));
    }

    #[test]
    fn a_flag_that_the_sweep_sets_is_refused() {
        let stage = Stage::new("runs", "x", Verb::Run).set("max-tokens", 5);
        let own: Table = "max_tokens = 9".parse().unwrap();
        let why = stage.with(&own).unwrap_err().to_string();
        assert_eq!(
            why,
            "remove `max_tokens` from the flags of `fixfly run`: the sweep sets it itself"
        );
    }

    #[test]
    fn the_command_is_what_a_person_would_type() {
        let flags: Table = "limit = 3\nrecord-tokens = true\ntarget = ['q', 'v']".parse().unwrap();
        let stage = Stage::new("runs", "x", Verb::Run).set("policy", "llama").with(&flags).unwrap();
        assert_eq!(
            stage.command(),
            "fixfly run --limit 3 --policy llama --record-tokens --target q,v"
        );
    }
}
