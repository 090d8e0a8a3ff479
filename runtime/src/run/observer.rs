//! Progress of a run, for whoever displays it.

use crate::episode::Episode;

/// Hears how a run proceeds. Every method does nothing by default.
pub trait Observer: Send {
    /// The run starts: `total` episodes are wanted, `finished` of them are already
    /// recorded.
    fn started(&mut self, total: usize, finished: &[Episode]) {
        let _ = (total, finished);
    }

    /// An episode was recorded.
    fn recorded(&mut self, episode: &Episode) {
        let _ = episode;
    }

    /// A message for the user: what the run does next after an interrupt.
    fn status(&mut self, line: &str) {
        let _ = line;
    }

    /// Called twice a second while episodes run.
    fn tick(&mut self) {}

    /// No episode runs any more.
    fn ended(&mut self) {}
}

/// An observer that displays nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Observer for Silent {}
