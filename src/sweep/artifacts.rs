//! The artifacts of a sweep's stages, each stored under the hash of its inputs.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;

use super::stage::Stage;
use crate::failure::Interrupted;
use crate::terminal::Terminal;

/// The path of an artifact, and of the file that marks it as complete.
struct Place {
    made: PathBuf,
    done: PathBuf,
}

/// Runs stages and stores their artifacts.
pub(super) struct ArtifactStore {
    folder: PathBuf,
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
        Ok(ArtifactStore { folder, stop, terminal: terminal.quiet() })
    }

    /// A path relative to the folder.
    pub(super) fn within(&self, path: &Path) -> String {
        path.strip_prefix(&self.folder).unwrap_or(path).display().to_string()
    }

    /// Runs a stage unless it is done; returns the path of its artifact.
    pub(super) fn make(&self, stage: &Stage) -> anyhow::Result<PathBuf> {
        self.make_by(stage, |stage| stage.execute(&self.terminal))
    }

    /// The same, with `work` to run the stage.
    pub(super) fn make_by(
        &self,
        stage: &Stage,
        work: impl FnOnce(&Stage) -> anyhow::Result<()>,
    ) -> anyhow::Result<PathBuf> {
        let Place { made, done } = self.place(stage)?;
        let named = self.within(&made);
        if done.is_file() {
            self.terminal.status(&format!("{named} exists"));
            return Ok(made);
        }
        let stage = stage.clone().into(&made);
        let command = stage.command();
        self.terminal.status(&format!("making {named}: {command}"));
        let worked = work(&stage);
        if self.stop.load(Ordering::Relaxed) {
            return Err(Interrupted("stopped; run the same command again to resume".into()).into());
        }
        worked.with_context(|| format!("this stage failed: {command}"))?;
        // Without this file the command resumes or starts again.
        std::fs::write(&done, command)
            .with_context(|| format!("cannot write {}", done.display()))?;
        Ok(made)
    }

    /// The stage with its output, unless it is done.
    pub(super) fn to_do(&self, stage: &Stage) -> anyhow::Result<Option<Stage>> {
        let Place { made, done } = self.place(stage)?;
        Ok((!done.is_file()).then(|| stage.clone().into(&made)))
    }

    fn place(&self, stage: &Stage) -> anyhow::Result<Place> {
        let key = stage.key(&self.folder.display().to_string())?;
        let ending = stage.ending.map_or_else(String::new, |ending| format!(".{ending}"));
        let kind = self.folder.join(stage.kind);
        std::fs::create_dir_all(&kind)
            .with_context(|| format!("cannot make {}", kind.display()))?;
        let named = |ending: &str| kind.join(format!("{}-{key}{ending}", stage.name));
        Ok(Place { made: named(&ending), done: named(".done") })
    }

    /// The terminal of the sweep's messages.
    pub(super) fn terminal(&self) -> &Terminal {
        &self.terminal
    }
}
