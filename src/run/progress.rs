//! How a run is going: a bar where somebody watches, else a line now and then.

use std::time::{Duration, Instant};

use fixfly_runtime::{Episode, EpisodeSummary, Observer};

use crate::terminal::{Bar, Terminal, readable};

/// Shows a run's progress.
pub(super) struct Progress {
    terminal: Terminal,
    tally: Tally,
    started: Instant,
    shown: Shown,
    waiting: Option<String>,
}

enum Shown {
    Bar(Bar),
    Lines { last: Instant },
}

/// Interval between lines if standard error is not a terminal.
const PAUSE: Duration = Duration::from_secs(10);

impl Progress {
    pub(super) fn new(terminal: &Terminal) -> Self {
        let now = Instant::now();
        let shown = Shown::Lines { last: now };
        Progress {
            terminal: terminal.clone(),
            tally: Tally::default(),
            started: now,
            shown,
            waiting: None,
        }
    }
}

impl Observer for Progress {
    fn started(&mut self, total: usize, finished: &[EpisodeSummary]) {
        self.tally = Tally { total, ..Tally::default() };
        for episode in finished {
            self.tally.count(episode.infrastructure_failure(), episode.solved_at());
        }
        self.tally.earlier = self.tally.done;
        self.started = Instant::now();
        match (self.terminal.is_watched(), self.tally.earlier) {
            (true, _) => {
                let Tally { total, done, .. } = self.tally;
                self.shown = Shown::Bar(self.terminal.line_bar(total, done));
            }
            (false, 0) => {}
            (false, n) => self.terminal.status(&format!("resuming after {n} episodes")),
        }
    }

    fn recorded(&mut self, episode: &Episode) {
        self.tally.count(episode.infrastructure_failure(), episode.solved_at());
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
        if let Some(what) = &self.waiting {
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

#[derive(Default)]
struct Tally {
    total: usize,
    done: usize,
    /// Episodes done before this process started.
    earlier: usize,
    failed: usize,
    /// How many were solved at turn 1, 2, …
    solved_at: Vec<usize>,
}

impl Tally {
    fn count(&mut self, failed: bool, solved_at: Option<usize>) {
        self.done += 1;
        if failed {
            self.failed += 1;
        }
        if let Some(turn) = solved_at {
            self.solved_at.resize(self.solved_at.len().max(turn), 0);
            self.solved_at[turn - 1] += 1;
        }
    }

    /// `120/397  solved 85 of 119 (71.4 %): @1 60 @2 25  failed 1  2.1/s  ETA 2m 12s`
    fn line(&self, elapsed: Duration) -> String {
        let mut line = format!("{}/{}", self.done, self.total);
        let counted = self.done - self.failed;
        if counted > 0 {
            let solved: usize = self.solved_at.iter().sum();
            let percent = 100.0 * solved as f64 / counted as f64;
            line += &format!("  solved {solved} of {counted} ({percent:.1} %)");
            let at = self.solved_at.iter().enumerate().filter(|(_, count)| **count > 0);
            let at: Vec<_> = at.map(|(at, count)| format!("@{} {count}", at + 1)).collect();
            if !at.is_empty() {
                line += &format!(": {}", at.join(" "));
            }
        }
        if self.failed > 0 {
            line += &format!("  infrastructure failed {}", self.failed);
        }
        let fresh = self.done - self.earlier;
        if fresh > 0 && self.done < self.total {
            let rate = fresh as f64 / elapsed.as_secs_f64().max(0.001);
            let left = Duration::from_secs_f64((self.total - self.done) as f64 / rate);
            line += &format!("  {rate:.1}/s  ETA {}", readable(left));
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(tally: Tally, expected: &str) {
        assert_eq!(tally.line(Duration::from_secs(60)), expected);
    }

    #[test]
    fn a_line_shows_progress_results_and_eta() {
        check(Tally { total: 397, ..Tally::default() }, "0/397");
        check(
            Tally { total: 397, done: 121, failed: 1, earlier: 1, solved_at: vec![60, 0, 25] },
            "121/397  solved 85 of 120 (70.8 %): @1 60 @3 25  infrastructure failed 1  2.0/s  \
             ETA 2m 18s",
        );
        check(
            Tally { total: 2, done: 2, failed: 2, ..Tally::default() },
            "2/2  infrastructure failed 2",
        );
        check(Tally { total: 2, done: 2, ..Tally::default() }, "2/2  solved 0 of 2 (0.0 %)");
    }
}
