//! Parses lines, and tells damage from newer versions.

use serde::Deserialize;
use serde_json::Value;

use super::RunError;
use crate::checksum::is_altered;
use crate::episode::Episode;
use crate::statement::TaskKind;

/// Why bytes cannot be parsed.
#[derive(Debug)]
pub(super) enum Fault {
    NotJson(String),
    NotThis(String),
    /// Its schema version, and the newest that this version reads.
    Newer(u32, u32),
    Altered,
}

impl Fault {
    pub(super) fn at(self, place: String, what: &str) -> RunError {
        match self {
            Fault::Newer(schema, newest) => RunError::Newer { place, schema, newest },
            Fault::Altered => RunError::Corrupt {
                place,
                why: "not what was recorded: its crc32c is another one".into(),
            },
            Fault::NotJson(why) => RunError::Corrupt { place, why: format!("not JSON: {why}") },
            Fault::NotThis(why) => RunError::Corrupt { place, why: format!("not {what}: {why}") },
        }
    }
}

/// Parses one value of at most this schema version. Distinguishes newer versions from damage.
pub(super) fn parse<T: for<'a> Deserialize<'a>>(bytes: &[u8], newest: u32) -> Result<T, Fault> {
    #[derive(Deserialize)]
    struct Version {
        schema: u32,
    }
    let value: Value = serde_json::from_slice(bytes).map_err(|e| Fault::NotJson(e.to_string()))?;
    match Version::deserialize(&value) {
        Ok(Version { schema }) if schema > newest => Err(Fault::Newer(schema, newest)),
        _ => T::deserialize(value).map_err(|e| Fault::NotThis(e.to_string())),
    }
}

/// Parses an episode: the fast path first, and the slow path to find the cause of an error.
pub(super) fn parse_episode(line: &[u8]) -> Result<Episode, Fault> {
    let episode = match serde_json::from_slice::<Episode>(line) {
        Ok(episode) if episode.schema <= TaskKind::newest_schema() => Ok(episode),
        _ => parse(line, TaskKind::newest_schema()),
    };
    match episode {
        // Other damage is named in more detail.
        Ok(_) | Err(Fault::Newer(..)) if is_altered(line) => Err(Fault::Altered),
        episode => episode,
    }
}
