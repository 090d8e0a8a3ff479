//! The artifacts of a sweep's stages, each stored under the hash of its inputs.

use std::path::{Path, PathBuf};

use super::{Commands, Stage, SweepError};

/// The path of an artifact, and of the file that marks it as complete.
struct Place {
    made: PathBuf,
    done: PathBuf,
}

/// Runs stages and stores their artifacts.
pub(super) struct ArtifactStore<'a, C> {
    folder: PathBuf,
    pub(super) commands: &'a C,
}

impl<'a, C: Commands> ArtifactStore<'a, C> {
    pub(super) fn open(folder: &Path, commands: &'a C) -> Result<Self, SweepError> {
        std::fs::create_dir_all(folder).map_err(SweepError::io("make", folder))?;
        let folder = folder.canonicalize().map_err(SweepError::io("read", folder))?;
        Ok(ArtifactStore { folder, commands })
    }

    /// A path relative to the folder.
    pub(super) fn within(&self, path: &Path) -> String {
        path.strip_prefix(&self.folder).unwrap_or(path).display().to_string()
    }

    /// Runs a stage unless it is done; returns the path of its artifact.
    pub(super) fn make(&self, stage: &Stage) -> Result<PathBuf, C::Error> {
        self.make_by(stage, |stage| self.commands.execute(stage))
    }

    /// The same, with `work` to run the stage.
    pub(super) fn make_by(
        &self,
        stage: &Stage,
        work: impl FnOnce(&Stage) -> Result<(), C::Error>,
    ) -> Result<PathBuf, C::Error> {
        let Place { made, done } = self.place(stage)?;
        let named = self.within(&made);
        if done.is_file() {
            self.commands.status(&format!("{named} exists"));
            return Ok(made);
        }
        let stage = stage.clone().into(&made);
        let command = stage.command();
        self.commands.status(&format!("making {named}: {command}"));
        let worked = work(&stage);
        if self.commands.is_stopped() {
            return Err(SweepError::Stopped.into());
        }
        worked.map_err(|error| self.commands.failed(error, &command))?;
        // Without this file the command resumes or starts again.
        std::fs::write(&done, command).map_err(SweepError::io("write", &done))?;
        Ok(made)
    }

    /// The stage with its output, unless it is done.
    pub(super) fn to_do(&self, stage: &Stage) -> Result<Option<Stage>, SweepError> {
        let Place { made, done } = self.place(stage)?;
        Ok((!done.is_file()).then(|| stage.clone().into(&made)))
    }

    fn place(&self, stage: &Stage) -> Result<Place, SweepError> {
        let key = stage.key(&self.folder.display().to_string())?;
        let ending = stage.ending.map_or_else(String::new, |ending| format!(".{ending}"));
        let kind = self.folder.join(stage.kind);
        std::fs::create_dir_all(&kind).map_err(SweepError::io("make", &kind))?;
        let named = |ending: &str| kind.join(format!("{}-{key}{ending}", stage.name));
        Ok(Place { made: named(&ending), done: named(".done") })
    }
}
