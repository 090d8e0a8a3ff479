//! Reports the progress of a run to the code that displays it.

use crate::episode::Episode;
use crate::summary::EpisodeSummary;

/// Receives the progress of a run. By default, every method does nothing.
pub trait Observer: Send {
    /// The run starts. It has `total` episodes; `finished` were recorded earlier.
    fn started(&mut self, total: usize, finished: &[EpisodeSummary]) {
        let _ = (total, finished);
    }

    /// An episode was recorded.
    fn recorded(&mut self, episode: &Episode) {
        let _ = episode;
    }

    /// A message for the user about what happens next, after an interrupt.
    fn status(&mut self, line: &str) {
        let _ = line;
    }

    /// What the policy waits for, if anything; before each tick.
    fn waiting(&mut self, what: Option<String>) {
        let _ = what;
    }

    /// Called twice a second while episodes run.
    fn tick(&mut self) {}

    /// No more episodes are running.
    fn ended(&mut self) {}
}

/// An observer that displays nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Observer for Silent {}
