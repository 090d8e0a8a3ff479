//! The loop's turn, with the prompt that a model would get.

use std::path::Path;

use crate::scripted::{Script, episode};

pub(crate) fn work(_: &Path, rounds: u64) {
    for _ in 0..rounds {
        let episode = episode(20, 0, Script::NeverSolves);
        assert_eq!(episode.turns.len(), 20, "{:?}", episode.end);
    }
}
