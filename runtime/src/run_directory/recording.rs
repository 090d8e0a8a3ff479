//! Reads a run's episodes one at a time, so that a run need not fit in memory.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::thread::{self, ScopedJoinHandle};

use serde::Deserialize;

use super::scan::parse;
use super::{EPISODES, RunError, read_run};
use crate::episode::Episode;

/// The latest episode of each task and sample of a run, by its position in the file. Works
/// while the run continues.
#[derive(Debug)]
pub struct Recording {
    path: PathBuf,
    file: Option<File>,
    /// First byte, length and number of each line.
    places: Vec<(u64, usize, usize)>,
}

/// The key that identifies an episode.
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
    /// Indexes the episodes of a run directory. A line that is not an episode is an error
    /// only when it is read; only the last line may be partial.
    ///
    /// # Errors
    /// [`RunError`] if there is no run.
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

    /// The number of episodes.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether there are no episodes.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// The episode at an index below [`Recording::len`], in the order of first appearance.
    ///
    /// # Errors
    /// [`RunError`] if the line is not an episode.
    pub fn episode(&self, at: usize) -> Result<Episode, RunError> {
        let (start, length, number) = self.places[at];
        let mut line = vec![0; length];
        if let Some(file) = &self.file {
            let read = file.read_exact_at(&mut line, start);
            read.map_err(|e| RunError::io(&self.path, "read", e))?;
        }
        // The fast path first; the slow path finds the cause of an error.
        serde_json::from_slice(&line).or_else(|_| {
            let place = format!("{}:{number}", self.path.display());
            parse(&line).map_err(|fault| fault.at(place, "an episode"))
        })
    }
}

/// A line of the file, and the key of its episode.
struct Line {
    start: u64,
    length: usize,
    whose: Option<(String, u32)>,
}

fn places(file: &File) -> std::io::Result<Vec<(u64, usize, usize)>> {
    let mut lines = lines(file)?;
    // Partial: the run continues, or was killed.
    lines.pop_if(|line| line.whose.is_none());
    let mut places: Vec<(u64, usize, usize)> = Vec::new();
    let mut known: HashMap<(String, u32), usize> = HashMap::new();
    for (line, number) in lines.into_iter().zip(1..) {
        let place = (line.start, line.length, number);
        match line.whose.map(|whose| known.entry(whose)) {
            Some(Entry::Occupied(at)) => places[*at.get()] = place,
            Some(Entry::Vacant(free)) => {
                free.insert(places.len());
                places.push(place);
            }
            None => places.push(place),
        }
    }
    Ok(places)
}

/// All lines, in order. Each thread reads a part of the file.
fn lines(file: &File) -> std::io::Result<Vec<Line>> {
    let length = file.metadata()?.len();
    let parts = thread::available_parallelism().map_or(1, usize::from) as u64;
    let part = |nth: u64| length * nth / parts;
    let found: Vec<_> = thread::scope(|scope| {
        let readers: Vec<_> = (0..parts)
            .map(|nth| scope.spawn(move || lines_within(file, part(nth)..part(nth + 1))))
            .collect();
        readers.into_iter().map(ScopedJoinHandle::join).collect()
    });
    let mut all = Vec::new();
    for lines in found {
        all.extend(lines.unwrap_or_else(|panic| resume_unwind(panic))?);
    }
    Ok(all)
}

/// The lines whose first byte is in this range.
fn lines_within(file: &File, bytes: Range<u64>) -> std::io::Result<Vec<Line>> {
    // A line starts after the end of the previous one, so this first looks for that end.
    let mut start = bytes.start.saturating_sub(1);
    let mut reader = BufReader::with_capacity(1 << 20, Cursor { file, at: start });
    let (mut text, mut lines) = (Vec::new(), Vec::new());
    if bytes.start > 0 {
        start += reader.read_until(b'\n', &mut text)? as u64;
    }
    while start < bytes.end {
        text.clear();
        let length = reader.read_until(b'\n', &mut text)?;
        if length == 0 {
            break;
        }
        // A line without a line break is partial, whatever it contains.
        let name = text.ends_with(b"\n").then(|| serde_json::from_slice::<Name>(&text).ok());
        let whose = name.flatten().map(|name| (name.task.id, name.provenance.sample));
        lines.push(Line { start, length, whose });
        start += length as u64;
    }
    Ok(lines)
}

/// Reads a file from its own position.
struct Cursor<'a> {
    file: &'a File,
    at: u64,
}

impl Read for Cursor<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> std::io::Result<usize> {
        let read = self.file.read_at(bytes, self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn episode(task: &str, sample: u32, filler: usize) -> String {
        let filler = "x".repeat(filler);
        format!(r#"{{"a":"{filler}","task":{{"id":"{task}"}},"provenance":{{"sample":{sample}}}}}"#)
    }

    fn check(text: &str, expected: &[(&str, usize)]) {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        let found = places(&file).unwrap();
        let found: Vec<(&str, usize)> = (found.iter())
            .map(|(start, length, number)| (&text[*start as usize..][..*length], *number))
            .collect();
        assert_eq!(found, expected, "{text}");
        // However the file is divided, each line is found once and in order.
        let length = text.len() as u64;
        for cut in 0..=length {
            let mut lines = lines_within(&file, 0..cut).unwrap();
            lines.extend(lines_within(&file, cut..length).unwrap());
            let starts: Vec<u64> = lines.iter().map(|line| line.start).collect();
            let ends: Vec<u64> = lines.iter().map(|line| line.start + line.length as u64).collect();
            assert!(starts.first().is_none_or(|start| *start == 0), "cut at {cut}");
            assert_eq!(starts.get(1..).unwrap_or_default(), &ends[..ends.len().max(1) - 1]);
            assert_eq!(ends.last().copied().unwrap_or_default(), length, "cut at {cut}");
        }
    }

    #[test]
    fn the_latest_episode_of_each_task_stands_where_the_first_stood() {
        let (a, b) = (episode("a", 0, 0) + "\n", episode("b", 0, 40) + "\n");
        let (a1, again) = (episode("a", 1, 3) + "\n", episode("a", 0, 90) + "\n");
        check("", &[]);
        check(&a, &[(&a, 1)]);
        check(&[&*a, &b, &a1, &again].concat(), &[(&again, 4), (&b, 2), (&a1, 3)]);
    }

    #[test]
    fn a_torn_end_is_left_out_and_damage_elsewhere_is_kept_to_be_named() {
        let (a, b) = (episode("a", 0, 0) + "\n", episode("b", 0, 0));
        check(&[&*a, &b].concat(), &[(&a, 1)]);
        check(&[&*a, "{\"ta\n"].concat(), &[(&a, 1)]);
        check(&["nonsense\n", &*a].concat(), &[("nonsense\n", 1), (&a, 2)]);
    }
}
