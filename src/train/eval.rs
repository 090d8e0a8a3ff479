//! `fixfly train --eval FILE`: evaluates each checkpoint on tasks of the validation
//! split, by `fixfly run` with the flags of the file.

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use fixfly_runtime::{GgufHeader, Recording};
use fixfly_students::{Checkpoint, EvalResult, ExportDtype, Method, gguf_adapter, gguf_model};

use crate::built::{Feature, require};
use crate::failure::Usage;
use crate::terminal::{Terminal, one_line};
use crate::{config, run};

/// Flags that the evaluation sets itself.
const OWN: [&str; 5] = ["policy", "split", "model", "lora", "output"];

/// How the checkpoints of a training are evaluated.
pub(super) struct Evaluation<'a> {
    /// The file of flags.
    file: PathBuf,
    text: String,
    /// The folder of results, beside the training's checkpoints.
    folder: PathBuf,
    base: PathBuf,
    method: Method,
    terminal: &'a Terminal,
}

impl<'a> Evaluation<'a> {
    /// Reads and checks the file.
    pub(super) fn open(
        file: &Path,
        output: &Path,
        (base, method): (&Path, Method),
        terminal: &'a Terminal,
    ) -> anyhow::Result<Evaluation<'a>> {
        require(&[Feature::Train, Feature::Llama])?;
        let shown = file.display();
        let text =
            fixfly_runtime::read_text(file).map_err(|why| Usage(format!("{shown}: {why}")))?;
        let evaluation = Evaluation {
            file: file.into(),
            text,
            folder: EvalResult::folder(output),
            base: base.into(),
            method,
            terminal,
        };
        evaluation.check()?;
        Ok(evaluation)
    }

    fn check(&self) -> anyhow::Result<()> {
        let (shown, folder) = (self.file.display(), self.folder.display());
        let read = |text: &str| text.parse::<toml::Table>();
        let said = read(&self.text)
            .map_err(|why| Usage(format!("{shown}: {}", one_line(&why.to_string()))))?;
        if let Some(own) = OWN.iter().find(|own| said.contains_key(**own)) {
            return Err(
                Usage(format!("{shown}: remove `{own}`: the evaluation sets it itself")).into()
            );
        }
        let any = Path::new("any");
        self.flags(any, Some(any), any)?;
        match std::fs::read_to_string(self.kept()) {
            Ok(kept) if read(&kept).ok() != Some(said) => Err(Usage(format!(
                "{shown}: {folder} holds evaluations with other flags ({}): use those, or remove the folder to evaluate every checkpoint again",
                self.kept().display()
            ))
            .into()),
            _ => Ok(()),
        }
    }

    /// The flags of earlier evaluations.
    fn kept(&self) -> PathBuf {
        self.folder.join("flags.toml")
    }

    /// The flags of the file and those that the evaluation sets.
    fn flags(
        &self,
        model: &Path,
        adapter: Option<&Path>,
        output: &Path,
    ) -> anyhow::Result<run::Flags> {
        let shown = self.file.display();
        let mut table = self
            .text
            .parse::<toml::Table>()
            .map_err(|why| Usage(format!("{shown}: {}", one_line(&why.to_string()))))?;
        table.insert("policy".into(), "llama".into());
        table.insert("split".into(), "validation".into());
        let paths = [("model", Some(model)), ("lora", adapter), ("output", Some(output))];
        for (flag, path) in paths {
            if let Some(path) = path {
                table.insert(flag.into(), path.display().to_string().into());
            }
        }
        Ok(config::flags_in_file("run", &table, (&self.file, &self.text))?)
    }

    /// Evaluates a checkpoint; resumes an interrupted evaluation.
    pub(super) fn evaluate(&self, checkpoint: &Checkpoint) -> anyhow::Result<EvalResult> {
        std::fs::create_dir_all(&self.folder)
            .with_context(|| format!("cannot make {}", self.folder.display()))?;
        std::fs::write(self.kept(), &self.text)
            .with_context(|| format!("cannot write {}", self.kept().display()))?;
        let output = self.folder.join(format!("step-{:06}", checkpoint.facts.step));
        let file = output.with_extension("gguf");
        let flags = match self.method {
            Method::Full => {
                gguf_model(&checkpoint.folder, &file, ExportDtype::F16)?;
                self.flags(&file, None, &output)?
            }
            Method::Lora => {
                gguf_adapter(&checkpoint.folder, Some(&self.base), &file)?;
                self.flags(&self.whole()?, Some(&file), &output)?
            }
        };
        run::record(&flags, None, self.terminal)?;
        std::fs::remove_file(&file).with_context(|| format!("cannot remove {}", file.display()))?;
        let recorded = Recording::open(&output)?;
        let counted = recorded.summaries().iter().filter(|one| !one.infrastructure_failure());
        let solved = counted.clone().filter(|one| one.solved()).count();
        let result = EvalResult { solved, of: counted.count() };
        ensure!(result.of > 0, "{}: these flags select no task", self.file.display());
        Ok(result)
    }

    /// The base model of the adapters: a GGUF file, or a folder that is exported once.
    fn whole(&self) -> anyhow::Result<PathBuf> {
        if GgufHeader::is_gguf(&self.base) {
            return Ok(self.base.clone());
        }
        let file = self.folder.join("base.gguf");
        if !file.is_file() {
            gguf_model(&self.base, &file, ExportDtype::F16)?;
        }
        Ok(file)
    }
}
