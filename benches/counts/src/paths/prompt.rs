//! A conversation, rendered from its turns.

use std::path::Path;

use fixfly_runtime::{TaskKind, Templates, render};

use crate::scripted::{Script, episode};

pub(crate) fn work(_: &Path, rounds: u64) {
    let templates = Templates::load(TaskKind::Method, None).expect("the built-in prompts");
    let episode = episode(5, 0, Script::NeverSolves);
    for _ in 0..rounds {
        let messages = render(&episode.task, &episode.turns, &templates);
        assert_eq!(messages.len(), 12, "system, task, and two for each turn");
    }
}
