//! Parses lines as episodes, and detects a partial last line.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;

use super::RunError;
use crate::episode::Episode;
use crate::statement::TaskKind;

/// The contents of a file of episodes.
pub(super) struct Scan {
    /// The latest episode of each task and sample, in the order of first appearance.
    pub(super) episodes: Vec<Episode>,
    /// Bytes of complete lines.
    pub(super) whole: u64,
    /// The bytes of a partial line after them.
    pub(super) torn: Vec<u8>,
}

/// Reads a file of episodes. Only the last line may be partial; an invalid line before it
/// is an error, because no kill causes one.
pub(super) fn scan(file: &Path, open: &File) -> Result<Scan, RunError> {
    let mut reader = BufReader::new(open);
    let mut scan = Scan { episodes: Vec::new(), whole: 0, torn: Vec::new() };
    let mut places: HashMap<(String, u32), usize> = HashMap::new();
    let mut line = Vec::new();
    let fault = |e| RunError::io(file, "read", e);
    for number in 1.. {
        line.clear();
        if reader.read_until(b'\n', &mut line).map_err(fault)? == 0 {
            break;
        }
        let ended = line.ends_with(b"\n");
        let parsed = if ended { parse::<Episode>(&line) } else { Err(Fault::NotJson("".into())) };
        let episode = match parsed {
            Ok(episode) => episode,
            Err(Fault::NotJson(_)) if reader.fill_buf().map_err(fault)?.is_empty() => {
                scan.torn = line;
                break;
            }
            Err(fault) => {
                return Err(fault.at(format!("{}:{number}", file.display()), "an episode"));
            }
        };
        scan.whole += line.len() as u64;
        let key = (episode.task.id.clone(), episode.provenance.sample);
        match places.get(&key) {
            Some(&place) => scan.episodes[place] = episode,
            None => {
                places.insert(key, scan.episodes.len());
                scan.episodes.push(episode);
            }
        }
    }
    Ok(scan)
}

/// Why bytes cannot be parsed.
pub(super) enum Fault {
    NotJson(String),
    NotThis(String),
    Newer(u32),
}

impl Fault {
    pub(super) fn at(self, place: String, what: &str) -> RunError {
        match self {
            Fault::Newer(schema) => RunError::Newer { place, schema },
            Fault::NotJson(why) => RunError::Corrupt { place, why: format!("not JSON: {why}") },
            Fault::NotThis(why) => RunError::Corrupt { place, why: format!("not {what}: {why}") },
        }
    }
}

/// Parses one value. Distinguishes newer versions from damage.
pub(super) fn parse<T: for<'a> Deserialize<'a>>(bytes: &[u8]) -> Result<T, Fault> {
    #[derive(Deserialize)]
    struct Version {
        schema: u32,
    }
    let value: Value = serde_json::from_slice(bytes).map_err(|e| Fault::NotJson(e.to_string()))?;
    match Version::deserialize(&value) {
        Ok(Version { schema }) if schema > TaskKind::newest_schema() => Err(Fault::Newer(schema)),
        _ => T::deserialize(value).map_err(|e| Fault::NotThis(e.to_string())),
    }
}
