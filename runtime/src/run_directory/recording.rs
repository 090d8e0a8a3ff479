//! A run's episodes one at a time, so that a run need not fit in memory.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::scan::parse;
use super::{EPISODES, RunError, read_run};
use crate::episode::Episode;

/// The latest episode of each task and sample of a run, by its place in the
/// file. Works while the run goes on.
#[derive(Debug)]
pub struct Recording {
    path: PathBuf,
    file: Option<File>,
    /// First byte and length of each line, and its number.
    places: Vec<(u64, usize, usize)>,
}

/// What tells one episode from another.
#[derive(Deserialize)]
struct Name {
    task: Id,
    provenance: Sample,
}

#[derive(Deserialize)]
struct Id {
    id: String,
}

#[derive(Deserialize)]
struct Sample {
    sample: u32,
}

impl Recording {
    /// Looks through the episodes of the run in a directory. What is not an
    /// episode is an error when it is read; only the end may be torn.
    ///
    /// # Errors
    /// [`RunError`] where there is no run.
    pub fn open(path: &Path) -> Result<Self, RunError> {
        read_run(path)?;
        let path = path.join(EPISODES);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == ErrorKind::NotFound => {
                return Ok(Recording { path, file: None, places: Vec::new() });
            }
            Err(e) => return Err(RunError::io(&path, "read", e)),
        };
        let places = places(&file).map_err(|e| RunError::io(&path, "read", e))?;
        Ok(Recording { path, file: Some(file), places })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// The episode at a place below [`Recording::len`], in the order first seen.
    ///
    /// # Errors
    /// [`RunError`] where the line is not an episode.
    pub fn episode(&self, at: usize) -> Result<Episode, RunError> {
        let (start, length, number) = self.places[at];
        let mut line = vec![0; length];
        if let Some(file) = &self.file {
            let read = file.read_exact_at(&mut line, start);
            read.map_err(|e| RunError::io(&self.path, "read", e))?;
        }
        // The quick way first; what is wrong is found out the slow way.
        serde_json::from_slice(&line).or_else(|_| {
            let place = format!("{}:{number}", self.path.display());
            parse(&line).map_err(|fault| fault.at(place, "an episode"))
        })
    }
}

fn places(file: &File) -> std::io::Result<Vec<(u64, usize, usize)>> {
    let mut reader = BufReader::with_capacity(1 << 20, file);
    let (mut line, mut start) = (Vec::new(), 0);
    let mut places: Vec<(u64, usize, usize)> = Vec::new();
    let mut known: HashMap<(String, u32), usize> = HashMap::new();
    for number in 1.. {
        line.clear();
        let length = reader.read_until(b'\n', &mut line)?;
        if length == 0 {
            break;
        }
        let place = (start, length, number);
        start += length as u64;
        // A line without its end is torn, whatever stands in it.
        let name = line.ends_with(b"\n").then(|| serde_json::from_slice::<Name>(&line).ok());
        match name.flatten() {
            Some(name) => match known.get(&(name.task.id.clone(), name.provenance.sample)) {
                Some(&at) => places[at] = place,
                None => {
                    known.insert((name.task.id, name.provenance.sample), places.len());
                    places.push(place);
                }
            },
            // Torn: the run goes on, or was killed.
            None if reader.fill_buf()?.is_empty() => break,
            None => places.push(place),
        }
    }
    Ok(places)
}
