//! Repeats the actions of recorded episodes, whatever their results are now.

use std::collections::HashMap;

use async_trait::async_trait;
use fixfly_runtime::{Action, Call, Entry, Episode, Policy, PolicyError, Usage, View};

use crate::Open;

pub(crate) const ENTRY: Entry<Open> = Entry {
    name: "replay",
    about: "the actions of a recorded run, in order",
    open: Open::Episodes(|episodes| Box::new(Replay::new(episodes))),
};

struct Replay {
    /// The actions of each task and sample.
    recorded: HashMap<(String, u32), Vec<Action>>,
}

impl Replay {
    fn new(episodes: Vec<Episode>) -> Self {
        let recorded = episodes.into_iter().map(|episode| {
            let actions = episode.turns.into_iter().map(|turn| turn.action).collect();
            ((episode.task.id, episode.provenance.sample), actions)
        });
        Replay { recorded: recorded.collect() }
    }
}

#[async_trait]
impl Policy for Replay {
    async fn act(&self, view: View<'_>) -> Result<Action, PolicyError> {
        let key = (view.task.id.clone(), view.sample);
        let actions = self.recorded.get(&key).ok_or_else(|| {
            PolicyError::Infrastructure(format!(
                "the recording has no sample {} of {}; replay the tasks of the recorded run only",
                view.sample, view.task.id
            ))
        })?;
        let done = Action {
            text: String::new(),
            reasoning: None,
            call: Call::Submit,
            usage: Usage::default(),
            generation: None,
        };
        Ok(actions.get(view.turns.len()).cloned().unwrap_or(done))
    }
}
