//! Stages of a sweep: commands of fixfly, and the artifacts that they write.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, bail};
use fixfly_runtime::hex;
use sha2::{Digest, Sha256};

use super::file;
use crate::failure::{Interrupted, Usage};
use crate::terminal::Terminal;

/// Files that identify the content of a folder.
const TELLING: [&str; 4] = ["config.json", "tokenizer.json", "run.json", "episodes.jsonl"];

/// A command that writes one artifact.
pub(super) struct Step {
    kind: &'static str,
    name: String,
    ending: Option<&'static str>,
    words: Vec<String>,
    /// Inputs that no stage wrote.
    inputs: Vec<PathBuf>,
}

impl Step {
    pub(super) fn new(kind: &'static str, name: &str, words: &[&str]) -> Step {
        let words = words.iter().map(ToString::to_string).collect();
        Step { kind, name: name.into(), ending: None, words, inputs: Vec::new() }
    }

    pub(super) fn word(mut self, word: &str) -> Step {
        self.words.push(word.into());
        self
    }

    pub(super) fn words(mut self, words: &[impl AsRef<str>]) -> Step {
        self.words.extend(words.iter().map(|word| word.as_ref().to_string()));
        self
    }

    pub(super) fn with(mut self, flags: &toml::Table) -> Result<Step, Usage> {
        self.words.extend(file::words(flags)?);
        Ok(self)
    }

    /// Adds inputs.
    pub(super) fn of(mut self, inputs: &[&Path]) -> Step {
        self.inputs.extend(inputs.iter().map(|path| path.to_path_buf()));
        self
    }

    /// Marks the artifact as a file instead of a folder.
    pub(super) fn file(mut self, ending: &'static str) -> Step {
        self.ending = Some(ending);
        self
    }

    fn command(&self, made: &Path) -> Vec<String> {
        let output = ["-o".to_string(), made.display().to_string()];
        self.words.iter().cloned().chain(output).collect()
    }

    /// The hash of everything that determines the artifact.
    fn key(&self, folder: &str) -> anyhow::Result<String> {
        let mut hash = Sha256::new_with_prefix(env!("CARGO_PKG_VERSION"));
        for word in &self.words {
            hash.update(word.replace(folder, ".").as_bytes());
            hash.update([0]);
        }
        for input in &self.inputs {
            hash_input(&mut hash, input)?;
        }
        Ok(hex(&hash.finalize()[..5]))
    }
}

/// Hashes a file's content, or the identifying files of a folder. Skips missing
/// files: the command itself reports them.
fn hash_input(hash: &mut Sha256, path: &Path) -> anyhow::Result<()> {
    let read = |file: &Path| {
        std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))
    };
    if path.is_file() {
        hash.update(Sha256::digest(read(path)?));
        return Ok(());
    }
    for name in TELLING {
        let file = path.join(name);
        if file.is_file() {
            hash.update(Sha256::digest(read(&file)?));
        }
    }
    let mut weights: Vec<(String, u64)> = Vec::new();
    for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.ends_with(".safetensors") {
            weights.push((name, entry.metadata()?.len()));
        }
    }
    weights.sort();
    hash.update(format!("{weights:?}").as_bytes());
    Ok(())
}

/// The path of an artifact, and of the file that marks it as complete.
struct Place {
    made: PathBuf,
    done: PathBuf,
}

/// Runs stages and stores their artifacts.
pub(super) struct ArtifactStore {
    folder: PathBuf,
    program: PathBuf,
    stop: Arc<AtomicBool>,
    terminal: Terminal,
}

impl ArtifactStore {
    pub(super) fn open(
        folder: &Path,
        stop: Arc<AtomicBool>,
        terminal: &Terminal,
    ) -> anyhow::Result<ArtifactStore> {
        std::fs::create_dir_all(folder)
            .with_context(|| format!("cannot make {}", folder.display()))?;
        let folder = folder.canonicalize()?;
        let program = std::env::current_exe().context("cannot find this program")?;
        Ok(ArtifactStore { folder, program, stop, terminal: terminal.clone() })
    }

    /// A path relative to the folder.
    pub(super) fn within(&self, path: &Path) -> String {
        path.strip_prefix(&self.folder).unwrap_or(path).display().to_string()
    }

    /// Runs a stage unless it is done; returns the path of its artifact.
    pub(super) fn make(&self, step: &Step) -> anyhow::Result<PathBuf> {
        self.make_by(step, |words| {
            let mut command = Command::new(&self.program);
            command.args(words).stdin(Stdio::null()).stdout(Stdio::null());
            self.check(command.status().context("cannot start fixfly")?, words)
        })
    }

    /// The same, with `work` to run the command.
    pub(super) fn make_by(
        &self,
        step: &Step,
        work: impl FnOnce(&[String]) -> anyhow::Result<()>,
    ) -> anyhow::Result<PathBuf> {
        let Place { made, done } = self.place(step)?;
        let named = self.within(&made);
        if done.is_file() {
            self.terminal.status(&format!("{named} exists"));
            return Ok(made);
        }
        let words = step.command(&made);
        self.terminal.status(&format!("making {named}: fixfly {}", words.join(" ")));
        work(&words)?;
        // Without this file the command resumes or starts again.
        std::fs::write(&done, words.join("\n"))
            .with_context(|| format!("cannot write {}", done.display()))?;
        Ok(made)
    }

    /// The command of a stage, unless it is done.
    pub(super) fn to_do(&self, step: &Step) -> anyhow::Result<Option<Vec<String>>> {
        let Place { made, done } = self.place(step)?;
        Ok((!done.is_file()).then(|| step.command(&made)))
    }

    fn place(&self, step: &Step) -> anyhow::Result<Place> {
        let key = step.key(&self.folder.display().to_string())?;
        let ending = step.ending.map_or_else(String::new, |ending| format!(".{ending}"));
        let kind = self.folder.join(step.kind);
        std::fs::create_dir_all(&kind)
            .with_context(|| format!("cannot make {}", kind.display()))?;
        let named = |ending: &str| kind.join(format!("{}-{key}{ending}", step.name));
        Ok(Place { made: named(&ending), done: named(".done") })
    }

    /// The terminal of the sweep's messages.
    pub(super) fn terminal(&self) -> &Terminal {
        &self.terminal
    }

    /// Runs a command and shows its output.
    pub(super) fn show(&self, words: &[String]) -> anyhow::Result<()> {
        let status =
            Command::new(&self.program).args(words).status().context("cannot start fixfly")?;
        self.check(status, words)
    }

    fn check(&self, status: ExitStatus, words: &[String]) -> anyhow::Result<()> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(Interrupted("stopped; run the same command again to resume".into()).into());
        }
        if !status.success() {
            bail!("this stage failed with {status}: fixfly {}", words.join(" "));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_depends_on_inputs_and_not_on_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let input = folder.path().join("recipe.toml");
        let key = |words: &[&str], text: &str, place: &str| {
            std::fs::write(&input, text).unwrap();
            Step::new("runs", "x", words).of(&[&input]).key(place).unwrap()
        };
        let first = key(&["run", "/here/a"], "one", "/here");
        assert_eq!(first, key(&["run", "/there/a"], "one", "/there"));
        assert_ne!(first, key(&["run", "/here/b"], "one", "/here"));
        assert_ne!(first, key(&["run", "/here/a"], "two", "/here"));
        assert_ne!(key(&["ru", "n"], "one", "/x"), key(&["run", ""], "one", "/x"));
    }
}
