//! Runs LLaMA-Factory and follows its log.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Instant;

use serde::Deserialize;

use super::LlamaFactory;
use crate::error::TrainError;
use crate::line::{Line, Step};
use crate::lock::{TRAINING, locked};

/// A running LLaMA-Factory. Dropping it stops the program and its child processes.
pub struct Running {
    child: Child,
    /// The file of the program's output.
    pub printed: PathBuf,
    log: PathBuf,
    /// Number of lines read from the log.
    read: usize,
    reader: Reader,
    _lock: File,
}

/// A new line of the log.
#[derive(Clone, Debug, PartialEq)]
pub struct News {
    /// Total number of steps.
    pub steps: usize,
    /// The line in fixfly's format; `None` if it has no loss.
    pub line: Option<Line>,
}

impl LlamaFactory {
    /// Starts the program.
    ///
    /// # Errors
    /// [`TrainError::Settings`] if it cannot be run; [`TrainError::Resume`] if another process
    /// trains in its folder.
    pub fn start(&self) -> Result<Running, TrainError> {
        let lock = locked(&self.output, TRAINING)?;
        let printed = self.handed().join("said.txt");
        let file = File::create(&printed).map_err(TrainError::io("write", &printed))?;
        let mut command = self.command()?;
        command.stdin(Stdio::null());
        command.stdout(file.try_clone().map_err(TrainError::io("write", &printed))?).stderr(file);
        command.process_group(0);
        let child = command.spawn().map_err(|why| {
            TrainError::Settings(format!(
                "cannot run {} ({why}): pip install llamafactory==0.9.5, or name the program with --program",
                self.program.display()
            ))
        })?;
        let log = self.made().join("trainer_log.jsonl");
        Ok(Running { child, printed, log, read: 0, reader: Reader::default(), _lock: lock })
    }
}

impl Running {
    /// The exit status; `None` while the program runs.
    ///
    /// # Errors
    /// If the operating system cannot determine it.
    pub fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// The lines of the log since the last call.
    pub fn news(&mut self) -> Vec<News> {
        let said = news(&self.log, &mut self.read).into_iter();
        said.map(|said| News { steps: said.total_steps, line: self.reader.line(&said) }).collect()
    }

    /// The cause of a failure: the last line that the program printed.
    pub fn cause(&self) -> String {
        last(&self.printed)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let group = format!("-{}", self.child.id());
            let _ = Command::new("kill").args(["-TERM", "--", &group]).status();
            let _ = self.child.wait();
        }
    }
}

/// A line of LLaMA-Factory's `trainer_log.jsonl`.
#[derive(Debug, Deserialize)]
struct LogLine {
    current_steps: usize,
    total_steps: usize,
    loss: Option<f64>,
    eval_loss: Option<f64>,
    lr: Option<f64>,
    epoch: Option<f64>,
    total_tokens: Option<usize>,
}

/// Converts lines of LLaMA-Factory's log to lines of fixfly's.
#[derive(Default)]
struct Reader {
    tokens: usize,
    at: Option<Instant>,
}

impl Reader {
    fn line(&mut self, said: &LogLine) -> Option<Line> {
        let epoch = said.epoch.unwrap_or(0.0);
        if let Some(loss) = said.eval_loss {
            return Some(Line::Validation { step: said.current_steps, epoch, loss, learned: None });
        }
        let seconds = self.at.replace(Instant::now()).map_or(0.0, |at| at.elapsed().as_secs_f64());
        let all = said.total_tokens.unwrap_or(0);
        let tokens = all.saturating_sub(std::mem::replace(&mut self.tokens, all));
        Some(Line::Step(Step {
            step: said.current_steps,
            epoch,
            loss: said.loss?,
            rate: said.lr.unwrap_or(0.0),
            gradient: None,
            tokens,
            learned: None,
            seconds,
        }))
    }
}

/// The lines of a log since the last call.
fn news(log: &Path, read: &mut usize) -> Vec<LogLine> {
    let Ok(file) = File::open(log) else { return Vec::new() };
    let lines: Vec<String> =
        BufReader::new(file).lines().map_while(Result::ok).skip(*read).collect();
    // A partial line is read by a later call.
    let whole: Vec<LogLine> =
        lines.iter().map_while(|line| serde_json::from_str(line).ok()).collect();
    *read += whole.len();
    whole
}

/// The last line of a program's output, as the cause of its failure.
fn last(said: &Path) -> String {
    let text = std::fs::read(said).unwrap_or_default();
    let text = String::from_utf8_lossy(&text).into_owned();
    let line =
        text.lines().rev().find(|line| line.contains("Error")).or_else(|| text.lines().last());
    line.unwrap_or("it printed nothing").trim().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_followed_line_by_line() {
        let folder = tempfile::tempdir().unwrap();
        let log = folder.path().join("trainer_log.jsonl");
        let step = r#"{"current_steps": 1, "total_steps": 4, "loss": 2.5, "lr": 1e-05, "epoch": 0.5, "total_tokens": 800}"#;
        std::fs::write(&log, format!("{step}\n{{\"current_steps\": 2, \"tot")).unwrap();
        let (mut read, mut reader) = (0, Reader::default());
        let first = news(&log, &mut read);
        assert_eq!((first.len(), read), (1, 1));
        let Some(Line::Step(line)) = reader.line(&first[0]) else { panic!("no step") };
        assert_eq!((line.step, line.loss, line.tokens), (1, 2.5, 800));
        let eval = r#"{"current_steps": 2, "total_steps": 4, "eval_loss": 2.25, "epoch": 1.0}"#;
        std::fs::write(&log, format!("{step}\n{eval}\n")).unwrap();
        let second = news(&log, &mut read);
        let expected = Line::Validation { step: 2, epoch: 1.0, loss: 2.25, learned: None };
        assert_eq!(reader.line(&second[0]), Some(expected));
    }
}
