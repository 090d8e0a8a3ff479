//! The log of a training: one line of JSON per step, and the same values for TensorBoard.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use fixfly_runtime::write_whole;
use prost::Message;

use crate::error::TrainError;
use crate::line::Line;

/// The values of a line for TensorBoard, with the names that `transformers` uses.
fn values(line: &Line) -> Vec<(&'static str, f64)> {
    match line {
        Line::Step(step) => vec![
            ("train/loss", step.loss),
            ("train/learning_rate", step.rate),
            ("train/grad_norm", step.gradient.unwrap_or(f64::NAN)),
            ("train/epoch", step.epoch),
            ("train/tokens_per_second", step.tokens as f64 / step.seconds.max(1e-9)),
        ],
        Line::Validation { loss, .. } => vec![("eval/loss", *loss)],
        Line::Eval { result, .. } => vec![("eval/solved", result.share())],
    }
}

/// The open files of a log.
pub(crate) struct Log {
    lines: File,
    events: File,
}

impl Log {
    /// Opens the log of a folder and removes the lines after a step, because these steps
    /// will be repeated. Returns the remaining lines.
    pub(crate) fn open(folder: &Path, after: usize) -> Result<(Log, Vec<Line>), TrainError> {
        let file = folder.join("log.jsonl");
        let kept = fs::read_to_string(&file).unwrap_or_default();
        let lines = kept.lines().filter_map(|text| Some((text, serde_json::from_str(text).ok()?)));
        let lines = lines.filter(|(_, line): &(_, Line)| line.step() <= after);
        let (text, kept): (Vec<&str>, Vec<Line>) = lines.unzip();
        let text: String = text.iter().map(|line| format!("{line}\n")).collect();
        // Neither a kill nor a full disk may cost the lines that are there.
        write_whole(&file, text).map_err(TrainError::io("write", &file))?;
        let append = OpenOptions::new().append(true).open(&file);
        let lines = append.map_err(TrainError::io("write", &file))?;
        let board = folder.join("tensorboard");
        fs::create_dir_all(&board).map_err(TrainError::io("make", &board))?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let name = format!("events.out.tfevents.{}.fixfly.{}", now.as_secs(), std::process::id());
        let file = board.join(name);
        let events = File::create(&file).map_err(TrainError::io("write", &file))?;
        let mut log = Log { lines, events };
        log.event(Event { file_version: Some("brain.Event:2".into()), ..Event::now(0) })
            .map_err(TrainError::io("write", &file))?;
        Ok((log, kept))
    }

    /// Writes a line and its event.
    pub(crate) fn write(&mut self, line: &Line) -> std::io::Result<()> {
        let text = serde_json::to_string(line)?;
        self.lines.write_all(format!("{text}\n").as_bytes())?;
        let value =
            |(tag, value): (&str, f64)| Value { tag: tag.into(), simple_value: Some(value as f32) };
        let value = values(line).into_iter().map(value).collect();
        self.event(Event { summary: Some(Summary { value }), ..Event::now(line.step()) })
    }

    /// A TensorFlow record: length, bytes, and a masked CRC-32C of each.
    fn event(&mut self, event: Event) -> std::io::Result<()> {
        let bytes = event.encode_to_vec();
        let length = (bytes.len() as u64).to_le_bytes();
        let record = [&length[..], &masked(&length), &bytes, &masked(&bytes)].concat();
        self.events.write_all(&record)
    }
}

fn masked(bytes: &[u8]) -> [u8; 4] {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xA282_EAD8).to_le_bytes()
}

/// The part of TensorBoard's `event.proto` that is used.
#[derive(Clone, PartialEq, Message)]
struct Event {
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(string, optional, tag = "3")]
    file_version: Option<String>,
    #[prost(message, optional, tag = "5")]
    summary: Option<Summary>,
}

#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    value: Vec<Value>,
}

#[derive(Clone, PartialEq, Message)]
struct Value {
    #[prost(string, tag = "1")]
    tag: String,
    #[prost(float, optional, tag = "2")]
    simple_value: Option<f32>,
}

impl Event {
    fn now(step: usize) -> Event {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let step = i64::try_from(step).unwrap_or(i64::MAX);
        Event { wall_time: now.as_secs_f64(), step, ..Event::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_goes_on_where_the_checkpoint_was() {
        let folder = tempfile::tempdir().unwrap();
        let line = |step| Line::Validation { step, epoch: 1.0, loss: 0.5, learned: Some(10) };
        let (mut log, _) = Log::open(folder.path(), 0).unwrap();
        (1..=3).for_each(|step| log.write(&line(step)).unwrap());
        let (mut log, kept) = Log::open(folder.path(), 2).unwrap();
        assert_eq!(kept, [line(1), line(2)]);
        log.write(&line(4)).unwrap();
        let text = fs::read_to_string(folder.path().join("log.jsonl")).unwrap();
        let steps: Vec<_> =
            text.lines().map(|line| serde_json::from_str::<Line>(line).unwrap().step()).collect();
        assert_eq!(steps, [1, 2, 4]);
    }

    #[test]
    fn a_checksum_is_tensorflows() {
        // The start of every event file is a record of 24 bytes.
        assert_eq!(masked(&24_u64.to_le_bytes()), [0xa3, 0x7f, 0x4b, 0x22]);
    }
}
