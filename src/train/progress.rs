//! Progress of a training: a bar on a terminal, otherwise a line now and then.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use fixfly_runtime::readable;
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
        let text = line(step, self.steps, self.last.make_contiguous());
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

/// `120/6630  epoch 0.18  loss 0.4312  lr 9.9e-5  grad norm 0.81  812 tokens/s  ETA 2h 2m`
fn line(step: &Step, steps: usize, last: &[Step]) -> String {
    let seconds: f64 = last.iter().map(|step| step.seconds).sum();
    let tokens: usize = last.iter().map(|step| step.tokens).sum();
    let left = (steps - step.step) as f64 * seconds / last.len().max(1) as f64;
    let speed = tokens as f64 / seconds.max(1e-9);
    let mut text = format!(
        "{}/{steps}  epoch {:.2}  loss {:.4}  lr {:.1e}",
        step.step, step.epoch, step.loss, step.rate,
    );
    if let Some(gradient) = step.gradient {
        text += &format!("  grad norm {gradient:.2}");
    }
    text += &format!("  {speed:.0} tokens/s");
    if step.step < steps {
        text += &format!("  ETA {}", readable(Duration::from_secs_f64(left.clamp(0.0, 1e12))));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_the_step_the_loss_and_the_time_left() {
        let step = |step| Step {
            step,
            epoch: 0.18,
            loss: 0.43121,
            rate: 9.9e-5,
            gradient: Some(0.812),
            tokens: 1624,
            learned: Some(300),
            seconds: 2.0,
        };
        let expected = "120/6630  epoch 0.18  loss 0.4312  lr 9.9e-5  grad norm 0.81  812 tokens/s";
        assert_eq!(
            line(&step(120), 6630, &[step(119), step(120)]),
            format!("{expected}  ETA 3h 37m")
        );
        assert!(line(&step(6630), 6630, &[step(6630)]).ends_with("812 tokens/s"));
    }
}
