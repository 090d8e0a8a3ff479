//! The artifacts of a sweep's stages, each stored under the hash of its inputs.

use std::cell::RefCell;
use std::fs::File;
use std::path::{Path, PathBuf};

use super::{Commands, Stage, SweepError};
use crate::lock::{SWEEP, locked, shared};

/// The path of an artifact, and of the file that marks it as complete.
struct Place {
    made: PathBuf,
    done: PathBuf,
}

/// Runs stages and stores their artifacts.
pub(super) struct ArtifactStore<'a, C> {
    folder: PathBuf,
    pub(super) commands: &'a C,
    scope: Scope<'a>,
    /// The stages that can run now, by name.
    pub(super) ready: RefCell<Vec<String>>,
    _lock: Option<File>,
}

/// Which stages run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scope<'a> {
    /// All that are not done.
    All,
    /// None; those that could run are listed.
    List,
    /// The stage of that name.
    One(&'a str),
}

impl<'a, C: Commands> ArtifactStore<'a, C> {
    pub(super) fn open(
        folder: &Path,
        scope: Scope<'a>,
        commands: &'a C,
    ) -> Result<Self, SweepError> {
        std::fs::create_dir_all(folder).map_err(SweepError::io("make", folder))?;
        let folder = folder.canonicalize().map_err(SweepError::io("read", folder))?;
        let lock = match scope {
            Scope::All => Some(locked(&folder, SWEEP)?),
            // Stages that `fixfly cluster` runs, each in a process of its own.
            Scope::One(_) => shared(&folder, SWEEP)?,
            Scope::List => None,
        };
        Ok(ArtifactStore { folder, commands, scope, ready: RefCell::default(), _lock: lock })
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
            if self.scope == Scope::All {
                self.commands.status(&format!("{named} exists"));
            }
            return Ok(made);
        }
        let is_in_scope = self.is_in_scope(&named);
        if self.scope != Scope::All {
            let mut ready = self.ready.borrow_mut();
            if !ready.contains(&named) {
                ready.push(named.clone());
            }
        }
        if !is_in_scope {
            return Err(SweepError::Waits.into());
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

    /// The stage with its output, unless it is done or another process runs it.
    pub(super) fn to_do(&self, stage: &Stage) -> Result<Option<Stage>, SweepError> {
        let Place { made, done } = self.place(stage)?;
        let is_left = !done.is_file() && self.is_in_scope(&self.within(&made));
        Ok(is_left.then(|| stage.clone().into(&made)))
    }

    /// Whether this process runs every stage.
    pub(super) fn runs_all(&self) -> bool {
        self.scope == Scope::All
    }

    fn is_in_scope(&self, named: &str) -> bool {
        match self.scope {
            Scope::All => true,
            Scope::List => false,
            Scope::One(name) => name == named,
        }
    }

    /// Goes on after a stage that waits for another process, and notes that one does.
    pub(super) fn unless_waiting<T>(
        &self,
        result: Result<T, C::Error>,
        waits: &mut bool,
    ) -> Result<Option<T>, C::Error> {
        match result {
            Err(error) if self.commands.waits(&error) => {
                *waits = true;
                Ok(None)
            }
            result => result.map(Some),
        }
    }

    /// An error if something waits.
    pub(super) fn nothing_waits(waits: bool) -> Result<(), C::Error> {
        if waits { Err(SweepError::Waits.into()) } else { Ok(()) }
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
