//! Writes episodes as files in other agents' formats.

use std::path::Path;

use fixfly_runtime::{BenchmarkError, Episode, Templates, render, write_whole};

use super::{atif, sweagent};

/// A format of trajectories.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// SWE-agent's `ID/ID.traj`.
    SweAgent,
    /// The Agent Trajectory Interchange Format, `ID/trajectory.json`.
    Atif,
}

impl Format {
    /// Writes a file for each of a run's episodes into `folder`; if the run has several
    /// samples, into a folder for each sample. `templates` are those of the run, and
    /// `model` is the model that it used.
    ///
    /// # Errors
    /// One sentence that names the file.
    pub fn write(
        self,
        folder: &Path,
        episodes: &[Episode],
        templates: &Templates,
        model: Option<&str>,
    ) -> Result<(), BenchmarkError> {
        let sampled = episodes.iter().any(|episode| episode.provenance.sample > 0);
        for episode in episodes {
            let id = &episode.task.id;
            let prompt = render(&episode.task, &[], templates);
            let folder = match sampled {
                true => folder.join(format!("sample-{}", episode.provenance.sample)).join(id),
                false => folder.join(id),
            };
            let (name, value) = match self {
                Format::SweAgent => (format!("{id}.traj"), sweagent::write(episode, &prompt)),
                Format::Atif => (atif::FILE.to_string(), atif::write(episode, &prompt, model)),
            };
            let file = folder.join(name);
            std::fs::create_dir_all(&folder)
                .and_then(|()| write_whole(&file, format!("{value:#}\n")))
                .map_err(|why| {
                    BenchmarkError::Broken(format!("cannot write {}: {why}", file.display()))
                })?;
        }
        Ok(())
    }
}
