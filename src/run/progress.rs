//! How a run is going: a bar where somebody watches, else a line now and then.

use std::sync::Arc;
use std::time::{Duration, Instant};

use fixfly_runtime::{Episode, EpisodeSummary, Observer, RunTally, episode_line};
use fixfly_sandboxes::Pool;

use crate::terminal::{Bar, Terminal};

/// Shows a run's progress.
pub(super) struct Progress {
    terminal: Terminal,
    tally: RunTally,
    started: Instant,
    shown: Shown,
    waiting: Option<String>,
    pool: Arc<Pool>,
    /// Whether the policy asks a model before it needs a sandbox.
    asks_model: bool,
}

enum Shown {
    Bar(Bar),
    Lines { last: Instant },
}

/// Interval between lines if standard error is not a terminal.
const PAUSE: Duration = Duration::from_secs(10);

impl Progress {
    pub(super) fn new(terminal: &Terminal, pool: &Arc<Pool>, asks_model: bool) -> Self {
        let now = Instant::now();
        let shown = match terminal.is_watched() {
            true => Shown::Bar(terminal.doing("checking the sandbox")),
            false => Shown::Lines { last: now },
        };
        Progress {
            terminal: terminal.clone(),
            tally: RunTally::default(),
            started: now,
            shown,
            waiting: None,
            pool: pool.clone(),
            asks_model,
        }
    }

    /// What happens until the first episode is recorded, or what the policy waits for.
    fn doing(&self) -> Option<&str> {
        let waiting = self.waiting.as_deref();
        if self.tally.fresh() > 0 || self.tally.done == self.tally.total {
            return waiting;
        }
        let (opening, opened) = self.pool.opened();
        Some(waiting.unwrap_or_else(|| first(self.asks_model, opening, opened)))
    }
}

/// What the first attempts do.
fn first(asks_model: bool, opening: usize, opened: usize) -> &'static str {
    match (opened, opening) {
        (0, 0) if asks_model => "waiting for the model's first answers",
        (0, _) => "opening the sandbox",
        _ => "preparing and running the first tests",
    }
}

impl Observer for Progress {
    fn started(&mut self, total: usize, finished: &[EpisodeSummary]) {
        self.tally = RunTally { total, ..RunTally::default() };
        for episode in finished {
            self.tally.count(episode);
        }
        self.tally.earlier = self.tally.done;
        self.started = Instant::now();
        match (&self.shown, self.tally.earlier) {
            (Shown::Bar(checking), done) => {
                checking.finish_and_clear();
                self.shown = Shown::Bar(self.terminal.line_bar(total, done));
                self.tick();
            }
            (Shown::Lines { .. }, 0) => {}
            (_, n) => self.terminal.status(&format!("resuming after {n} episodes")),
        }
    }

    fn recorded(&mut self, episode: &Episode) {
        let episode = EpisodeSummary::of(episode);
        self.tally.count(&episode);
        if self.terminal.is_verbose() {
            self.terminal.status(&episode_line(&episode));
        }
        self.tick();
    }

    fn status(&mut self, line: &str) {
        self.terminal.status(line);
    }

    fn waiting(&mut self, what: Option<String>) {
        self.waiting = what;
    }

    fn tick(&mut self) {
        let mut line = self.tally.line(self.started.elapsed());
        if let Some(what) = self.doing() {
            line += &format!("  {what}");
        }
        match &mut self.shown {
            Shown::Bar(bar) => {
                bar.set_position(self.tally.done as u64);
                bar.set_message(line);
            }
            Shown::Lines { last } if last.elapsed() >= PAUSE => {
                *last = Instant::now();
                self.terminal.status(&line);
            }
            Shown::Lines { .. } => {}
        }
    }

    /// Prints the final state and removes the bar.
    fn ended(&mut self) {
        if let Shown::Bar(bar) = &self.shown {
            bar.finish_and_clear();
        }
        self.terminal.status(&self.tally.line(self.started.elapsed()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_names_what_the_first_attempts_do() {
        for (asks_model, opening, opened, expected) in [
            (false, 0, 0, "opening the sandbox"),
            (false, 2, 0, "opening the sandbox"),
            (true, 0, 0, "waiting for the model's first answers"),
            (true, 1, 0, "opening the sandbox"),
            (true, 1, 1, "preparing and running the first tests"),
        ] {
            assert_eq!(first(asks_model, opening, opened), expected);
        }
    }
}
