//! `fixfly train --repairs FILE`: each checkpoint's student is tried on tasks of
//! the validation split, by `fixfly run` with the flags of the file.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use fixfly_runtime::read_episodes;
use fixfly_train::Method;
use fixfly_train::student::{Checkpoint, Numbers, Repairs, gguf_adapter, gguf_model};

use crate::built::{Feature, require};
use crate::failure::{Usage, one_line};
use crate::terminal::Terminal;
use crate::{cli, run};

/// Flags that a try sets itself.
const OWN: [&str; 5] = ["policy", "split", "model", "lora", "output"];

/// How the students of a training are tried.
pub(super) struct Tries<'a> {
    /// The file, whose flags decide what numbers mean.
    file: PathBuf,
    text: String,
    /// Where what they leave is kept, beside the training's checkpoints.
    folder: PathBuf,
    base: PathBuf,
    method: Method,
    terminal: &'a Terminal,
}

impl<'a> Tries<'a> {
    /// Reads the file, and sees that it can be done.
    pub(super) fn open(
        file: &Path,
        output: &Path,
        (base, method): (&Path, Method),
        terminal: &'a Terminal,
    ) -> anyhow::Result<Tries<'a>> {
        require(&[Feature::Train, Feature::Llama])?;
        let shown = file.display();
        let text = std::fs::read_to_string(file).map_err(|why| Usage(format!("{shown}: {why}")))?;
        let tries = Tries {
            file: file.into(),
            text,
            folder: Repairs::folder(output),
            base: base.into(),
            method,
            terminal,
        };
        tries.check()?;
        Ok(tries)
    }

    fn check(&self) -> anyhow::Result<()> {
        let (shown, folder) = (self.file.display(), self.folder.display());
        let read = |text: &str| text.parse::<toml::Table>();
        let said = read(&self.text)
            .map_err(|why| Usage(format!("{shown}: {}", one_line(&why.to_string()))))?;
        if let Some(own) = OWN.iter().find(|own| said.contains_key(**own)) {
            return Err(Usage(format!(
                "{shown}: leave `{own}` out: a training tries its own students, on the validation split"
            ))
            .into());
        }
        let any = Path::new("any");
        cli::run(&self.words(any, Some(any), any))?;
        match std::fs::read_to_string(self.kept()) {
            Ok(kept) if read(&kept).ok() != Some(said) => Err(Usage(format!(
                "{shown}: {folder} holds tries with other flags ({}): give those, or remove the folder to try every checkpoint again",
                self.kept().display()
            ))
            .into()),
            _ => Ok(()),
        }
    }

    /// The flags that earlier tries had.
    fn kept(&self) -> PathBuf {
        self.folder.join("flags.toml")
    }

    fn words(&self, model: &Path, adapter: Option<&Path>, output: &Path) -> Vec<String> {
        let config = self.file.display().to_string();
        let words = ["run", "--policy", "llama", "--split", "validation", "--config", &config];
        let mut words = words.map(String::from).to_vec();
        let paths = [("--model", Some(model)), ("--lora", adapter), ("--output", Some(output))];
        for (flag, path) in paths {
            words.extend(path.iter().flat_map(|path| [flag.into(), path.display().to_string()]));
        }
        words
    }

    /// What the student of a checkpoint repairs; goes on where it was stopped.
    pub(super) fn repairs(&self, checkpoint: &Checkpoint) -> anyhow::Result<Repairs> {
        std::fs::create_dir_all(&self.folder)
            .with_context(|| format!("cannot make {}", self.folder.display()))?;
        std::fs::write(self.kept(), &self.text)
            .with_context(|| format!("cannot write {}", self.kept().display()))?;
        let output = self.folder.join(format!("step-{:06}", checkpoint.facts.step));
        let file = output.with_extension("gguf");
        let words = match self.method {
            Method::Full => {
                gguf_model(&checkpoint.folder, &file, Numbers::F16)?;
                self.words(&file, None, &output)
            }
            Method::Lora => {
                gguf_adapter(&checkpoint.folder, Some(&self.base), &file)?;
                self.words(&self.whole()?, Some(&file), &output)
            }
        };
        run::record_by(&*cli::run(&words)?, None, self.terminal)?;
        std::fs::remove_file(&file).with_context(|| format!("cannot remove {}", file.display()))?;
        let episodes = read_episodes(&output)?;
        let counted = episodes.iter().filter(|one| !one.infrastructure_failure());
        let solved = counted.clone().filter(|one| one.solved()).count();
        let repairs = Repairs { solved, of: counted.count() };
        ensure!(repairs.of > 0, "{}: there is no task to try", self.file.display());
        Ok(repairs)
    }

    /// The model that adapters are tried beside, exported once.
    fn whole(&self) -> anyhow::Result<PathBuf> {
        let file = self.folder.join("base.gguf");
        if !file.is_file() {
            gguf_model(&self.base, &file, Numbers::F16)?;
        }
        Ok(file)
    }
}
