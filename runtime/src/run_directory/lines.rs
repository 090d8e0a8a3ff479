//! Reads lines of episodes as summaries, on all processors.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::panic::resume_unwind;
use std::thread::{self, ScopedJoinHandle};

use super::parse::{Fault, parse_episode};
use crate::summary::EpisodeSummary;
use crate::text::StrPool;

/// A range of fewer bytes is read by one thread.
const PART: u64 = 1 << 20;

/// A line: its first byte, its length, and the summary of its episode.
pub(super) struct Line {
    pub(super) start: u64,
    pub(super) length: u64,
    pub(super) summary: EpisodeSummary,
}

/// Why lines cannot be read.
pub(super) enum LineError {
    Io(io::Error),
    /// The frame with this number, from 0, is damaged.
    Frame {
        nth: usize,
        why: String,
    },
    /// A line is not an episode. `nth`: the number of lines before it.
    Fault {
        nth: usize,
        fault: Fault,
    },
}

/// All lines of these bytes, in order and in parts, up to the first error. The bytes start
/// with a line. Only the last line may be partial; it is left out.
pub(super) fn lines(file: &File, bytes: Range<u64>) -> Vec<Result<Vec<Line>, LineError>> {
    let length = bytes.end.saturating_sub(bytes.start);
    let threads = thread::available_parallelism().map_or(1, usize::from) as u64;
    let parts = if length < PART { 1 } else { threads };
    let at = |nth: u64| bytes.start + length * nth / parts;
    each(0..parts, |nth| lines_within(file, at(nth)..at(nth + 1), &bytes))
}

/// What `read` returns for each part, in order. Each part has a thread of its own.
pub(super) fn each<T: Send, R: Send>(
    parts: impl Iterator<Item = T>,
    read: impl Fn(T) -> R + Sync,
) -> Vec<R> {
    let read = &read;
    thread::scope(|scope| {
        let readers: Vec<_> = parts.map(|part| scope.spawn(move || read(part))).collect();
        let joined = readers.into_iter().map(ScopedJoinHandle::join);
        joined.map(|result| result.unwrap_or_else(|panic| resume_unwind(panic))).collect()
    })
}

/// All lines of a text, which starts at this byte of all lines and has no partial line.
pub(super) fn lines_of(text: &[u8], mut start: u64) -> Result<Vec<Line>, LineError> {
    let (mut lines, mut pool) = (Vec::new(), StrPool::default());
    for line in text.split_inclusive(|byte| *byte == b'\n') {
        let episode = parse_episode(line);
        let episode = episode.map_err(|fault| LineError::Fault { nth: lines.len(), fault })?;
        let mut summary = EpisodeSummary::of(&episode);
        summary.share(&mut pool);
        lines.push(Line { start, length: line.len() as u64, summary });
        start += line.len() as u64;
    }
    Ok(lines)
}

/// The lines whose first byte is in `part`, which is a part of `all`.
fn lines_within(file: &File, part: Range<u64>, all: &Range<u64>) -> Result<Vec<Line>, LineError> {
    // A line starts after the end of the previous one, so this first looks for that end.
    let mut start = part.start.saturating_sub(1).max(all.start);
    let cursor = Cursor { file, at: start, end: all.end };
    let mut reader = BufReader::with_capacity(1 << 18, cursor);
    let (mut text, mut lines, mut pool) = (Vec::new(), Vec::new(), StrPool::default());
    if part.start > all.start {
        start += reader.read_until(b'\n', &mut text).map_err(LineError::Io)? as u64;
    }
    while start < part.end {
        text.clear();
        let length = reader.read_until(b'\n', &mut text).map_err(LineError::Io)? as u64;
        // A line without a line break is partial, whatever it contains.
        if length == 0 || !text.ends_with(b"\n") {
            break;
        }
        match parse_episode(&text) {
            Ok(episode) => {
                let mut summary = EpisodeSummary::of(&episode);
                summary.share(&mut pool);
                lines.push(Line { start, length, summary });
            }
            // What a power cut leaves.
            Err(Fault::NotJson(_)) if start + length == all.end => break,
            Err(fault) => return Err(LineError::Fault { nth: lines.len(), fault }),
        }
        start += length;
    }
    Ok(lines)
}

/// Reads a file from its own position to an end.
pub(super) struct Cursor<'a> {
    pub(super) file: &'a File,
    pub(super) at: u64,
    pub(super) end: u64,
}

impl Read for Cursor<'_> {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end.saturating_sub(self.at)).unwrap_or(usize::MAX);
        let most = bytes.len().min(left);
        let read = self.file.read_at(&mut bytes[..most], self.at)?;
        self.at += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::super::tests::episode;
    use super::*;
    use crate::episode::End;

    fn line(task: &str) -> String {
        serde_json::to_string(&episode(task, 0, End::Submitted)).unwrap() + "\n"
    }

    /// The lines of a text, however it is divided; or the number of lines before a fault.
    #[track_caller]
    fn check(text: &str, expected: Result<&[&str], usize>) {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        let all = 0..text.len() as u64;
        for cut in 0..=all.end {
            let parts = [0..cut, cut..all.end].map(|part| lines_within(&file, part, &all));
            let mut found = Ok(Vec::new());
            for part in parts {
                let Ok(before) = &mut found else { break };
                match part {
                    Ok(lines) => before.extend(lines),
                    Err(LineError::Fault { nth, .. }) => found = Err(before.len() + nth),
                    Err(LineError::Io(error)) => panic!("{error}"),
                    Err(LineError::Frame { why, .. }) => panic!("{why}"),
                }
            }
            let found = found.map(|lines| {
                let text = |line: &Line| &text[line.start as usize..][..line.length as usize];
                lines.iter().map(text).collect::<Vec<_>>()
            });
            assert_eq!(found, expected.map(<[&str]>::to_vec), "cut at {cut}");
        }
    }

    #[test]
    fn each_line_is_found_once_and_in_order() {
        let (a, b, long) = (line("a"), line("b"), line(&"c".repeat(300)));
        check("", Ok(&[]));
        check(&a, Ok(&[&a]));
        check(&[&*a, &long, &b].concat(), Ok(&[&a, &long, &b]));
    }

    #[test]
    fn a_partial_end_is_left_out_and_damage_elsewhere_is_a_fault() {
        let (a, b) = (line("a"), line("b"));
        check(&[&*a, b.trim_end()].concat(), Ok(&[&a]));
        check(&[&*a, "{\"ta\n"].concat(), Ok(&[&a]));
        check(&[&*a, "{\"ta\n", &b].concat(), Err(1));
        check(&[&*a, "{}\n"].concat(), Err(1));
        check(&["\n", &*a].concat(), Err(0));
    }
}
