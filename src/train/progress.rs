//! Progress of a training: a bar on a terminal, otherwise a line now and then.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use fixfly_students::{Line, Step};

use crate::terminal::{Bar, Terminal};

/// Shows the progress of a training.
pub(super) struct Progress {
    terminal: Terminal,
    steps: usize,
    /// The last steps, from which the speed is computed.
    last: VecDeque<Step>,
    shown: Shown,
}

enum Shown {
    Bar(Bar),
    Lines { last: Instant },
}

/// Time between two lines without a terminal.
const PAUSE: Duration = Duration::from_secs(10);

/// Number of steps from which the speed is computed.
const RECENT: usize = 20;

impl Progress {
    pub(super) fn new(terminal: &Terminal, steps: usize, done: usize) -> Progress {
        let shown = match terminal.is_watched() {
            true => Shown::Bar(terminal.line_bar(steps, done)),
            false => Shown::Lines { last: Instant::now() },
        };
        let progress = Progress { terminal: terminal.clone(), steps, last: VecDeque::new(), shown };
        if done > 0 {
            progress.print(&format!("resuming after step {done}"));
        }
        progress
    }

    pub(super) fn print(&self, line: &str) {
        self.terminal.status(line);
    }

    pub(super) fn see(&mut self, line: &Line) {
        match line {
            Line::Validation { epoch, loss, learned, .. } => {
                let over = learned.map_or_else(String::new, |n| format!(" over {n} tokens"));
                self.print(&format!("epoch {epoch}: validation loss {loss:.4}{over}"));
            }
            Line::Eval { epoch, result, .. } => self.print(&format!(
                "epoch {epoch}: {} of {} validation tasks solved",
                result.solved, result.of
            )),
            Line::Step(step) => {
                self.last.push_back(step.clone());
                if self.last.len() > RECENT {
                    self.last.pop_front();
                }
                self.tick(step);
            }
        }
    }

    fn tick(&mut self, step: &Step) {
        let text = step.text(self.steps, self.last.make_contiguous());
        match &mut self.shown {
            Shown::Bar(bar) => {
                bar.set_position(step.step as u64);
                bar.set_message(text);
            }
            Shown::Lines { last } if last.elapsed() >= PAUSE || step.step == self.steps => {
                *last = Instant::now();
                self.terminal.status(&text);
            }
            Shown::Lines { .. } => {}
        }
    }

    /// Removes the bar.
    pub(super) fn finish(&self) {
        if let Shown::Bar(bar) = &self.shown {
            bar.finish_and_clear();
        }
    }
}
