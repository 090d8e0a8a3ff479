//! The journal of paid calls: requests, answers and costs. A line is on the disk
//! before its answer is used, so a run that is killed pays for nothing twice.

use std::collections::{HashMap, HashSet};
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, BufWriter, ErrorKind, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use fixfly_runtime::{is_altered, sealed_line, sha256};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::response::Reply;

const FILE: &str = "calls.jsonl";

/// One line of the journal.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "line", rename_all = "snake_case")]
pub(crate) enum Line {
    /// Money reserved for a call that is about to be made.
    Hold { run: String, hold: String, usd: f64 },
    /// A call and its answer.
    Call {
        run: String,
        hold: String,
        key: String,
        request: Value,
        reply: Box<Reply>,
        usd: Option<f64>,
        /// The address of the server that answered, if the run has several.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        server: Option<String>,
    },
    /// A call that failed, and what it may have cost.
    Lost {
        run: String,
        hold: String,
        why: String,
        usd: Option<f64>,
        /// As in `Call`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        server: Option<String>,
    },
}

/// The calls of one run, or of all runs that share the journal.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    owner: Owner,
    state: Mutex<State>,
}

/// Whose lines count as a run's own.
#[derive(Clone, Debug, Default)]
pub(crate) struct Owner {
    /// The name of the run in the lines that it writes.
    pub(crate) run: String,
    /// The names of the runs that were merged into it.
    pub(crate) merged: HashSet<String>,
    /// Whether the journal is in the run's directory. All lines are the run's then, whatever
    /// the directory was called before it was moved or merged.
    pub(crate) whole: bool,
}

impl Owner {
    fn has(&self, run: &str) -> bool {
        self.whole || run == self.run || self.merged.contains(run)
    }
}

impl From<&str> for Owner {
    fn from(run: &str) -> Owner {
        Owner { run: run.into(), ..Owner::default() }
    }
}

#[derive(Debug)]
struct State {
    file: File,
    /// Offset and length of the line of each answered call.
    calls: HashMap<String, (u64, usize)>,
}

/// What the run has spent so far, according to its journal.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Spent {
    pub(crate) usd: f64,
    pub(crate) calls: usize,
    /// Reserved for calls whose result is unknown, because the run was killed.
    pub(crate) unknown: f64,
}

impl Journal {
    /// Opens the journal in `folder` for a run.
    pub(crate) fn open(folder: &Path, owner: impl Into<Owner>) -> Result<(Journal, Spent), String> {
        let owner = owner.into();
        std::fs::create_dir_all(folder)
            .map_err(|why| format!("cannot make {}: {why}", folder.display()))?;
        let path = folder.join(FILE);
        let broken = |why: std::io::Error| format!("cannot use {}: {why}", path.display());
        let options = OpenOptions::new().create(true).read(true).append(true).open(&path);
        let mut file = options.map_err(broken)?;
        let (calls, spent, torn) = read(&path, &file, &owner)?;
        if torn {
            // The answer was never used, so the call is made again.
            file.write_all(b"\n").map_err(broken)?;
        }
        let state = Mutex::new(State { file, calls });
        Ok((Journal { path, owner, state }, spent))
    }

    /// Looks up the answer to a call that was made before, with its cost for this run and the
    /// requests that this run made for it.
    pub(crate) fn find(&self, key: &str) -> Result<Option<(Reply, Option<f64>, u32)>, String> {
        let state = self.state();
        let Some((offset, length)) = state.calls.get(key).copied() else { return Ok(None) };
        let mut bytes = vec![0; length];
        state.file.read_exact_at(&mut bytes, offset).map_err(|why| self.broken(&why))?;
        match parse(&bytes) {
            Ok(Line::Call { reply, usd, run, .. }) if self.owner.has(&run) => {
                Ok(Some((*reply, usd, 1)))
            }
            // An answer that another run paid for costs this run nothing.
            Ok(Line::Call { reply, usd, .. }) => Ok(Some((*reply, usd.map(|_| 0.0), 0))),
            _ => Err(format!("{} was changed while it was in use", self.path.display())),
        }
    }

    /// Appends a line. It is on the disk when this returns.
    pub(crate) fn add(&self, line: &Line) -> Result<(), String> {
        let bytes = sealed_line(line).map_err(|why| self.broken(&why))?;
        let mut state = self.state();
        // Other runs may write to the same journal.
        state.file.lock().map_err(|why| self.broken(&why))?;
        let written = state.file.seek(SeekFrom::End(0)).and_then(|offset| {
            let written = state.file.write_all(&bytes).and_then(|()| state.file.sync_data());
            if written.is_err() {
                // Half a line would make the next one unreadable.
                let _ = state.file.set_len(offset);
            }
            written.map(|()| offset)
        });
        let unlocked = state.file.unlock();
        let offset = written.map_err(|why| self.broken(&why))?;
        unlocked.map_err(|why| self.broken(&why))?;
        if let Line::Call { key, .. } = line {
            state.calls.insert(key.clone(), (offset, bytes.len() - 1));
        }
        Ok(())
    }

    /// The name of the run in the journal's lines.
    pub(crate) fn run(&self) -> &str {
        &self.owner.run
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn broken(&self, why: &dyn std::fmt::Display) -> String {
        format!("cannot use {}: {why}", self.path.display())
    }
}

/// Parses a line. An answer that changed on the disk is none: it would be paid for, and
/// another one recorded.
fn parse(bytes: &[u8]) -> Result<Line, String> {
    let line = serde_json::from_slice(bytes).map_err(|why| why.to_string())?;
    match is_altered(bytes) {
        true => Err("its crc32c is another one".into()),
        false => Ok(line),
    }
}

type Read = (HashMap<String, (u64, usize)>, Spent, bool);

/// Reads a journal. Also returns whether its last line is cut off. Warns about
/// lines that are not a journal's, and skips them.
fn read(path: &Path, file: &File, owner: &Owner) -> Result<Read, String> {
    let mut reader = BufReader::new(file);
    let mut calls = HashMap::new();
    let mut spent = Spent::default();
    let mut holds: HashMap<String, f64> = HashMap::new();
    let (mut bytes, mut offset, mut number, mut torn) = (Vec::new(), 0, 0, false);
    loop {
        bytes.clear();
        let length = reader
            .read_until(b'\n', &mut bytes)
            .map_err(|why| format!("cannot read {}: {why}", path.display()))?;
        number += 1;
        let whole = bytes.pop_if(|last| *last == b'\n').is_some();
        // A line that lacks only its newline is complete.
        if !whole && parse(&bytes).is_err() {
            spent.unknown = holds.values().sum();
            spent.usd += spent.unknown;
            return Ok((calls, spent, torn || length > 0));
        }
        torn |= !whole;
        match parse(&bytes) {
            Ok(Line::Hold { run, hold, usd }) if owner.has(&run) => {
                holds.insert(hold, usd);
            }
            Ok(Line::Lost { run, hold, usd, .. }) if owner.has(&run) => {
                holds.remove(&hold);
                spent.usd += usd.unwrap_or_default();
            }
            Ok(Line::Call { run, hold, key, usd, .. }) => {
                calls.insert(key, (offset, bytes.len()));
                if owner.has(&run) {
                    holds.remove(&hold);
                    spent.usd += usd.unwrap_or_default();
                    spent.calls += 1;
                }
            }
            Ok(_) => {}
            Err(_) if bytes.is_empty() => {}
            Err(why) => tracing::warn!(
                "{}:{number}: not a line of a journal ({why}); left out",
                path.display()
            ),
        }
        offset += length as u64;
    }
}

/// Joins the journals of runs that become one, line by line. A line that is in several is
/// there once: it is one payment.
///
/// # Errors
/// Why a journal cannot be read or written, in one sentence.
pub fn join_journals(folders: &[PathBuf], to: &Path) -> Result<(), String> {
    let target = to.join(FILE);
    let unwritten = |why: std::io::Error| format!("cannot write {}: {why}", target.display());
    let mut out = BufWriter::new(File::create(&target).map_err(unwritten)?);
    let (mut known, mut line) = (HashSet::new(), Vec::new());
    for path in folders.iter().map(|folder| folder.join(FILE)) {
        let unread = |why: std::io::Error| format!("cannot read {}: {why}", path.display());
        let file = match File::open(&path) {
            Err(why) if why.kind() == ErrorKind::NotFound => continue,
            file => file.map_err(unread)?,
        };
        let mut lines = BufReader::new(file);
        loop {
            line.clear();
            if lines.read_until(b'\n', &mut line).map_err(unread)? == 0 {
                break;
            }
            // The end of a killed run's last line must not spoil the next one.
            if !line.ends_with(b"\n") {
                line.push(b'\n');
            }
            if known.insert(sha256(&line)) {
                out.write_all(&line).map_err(unwritten)?;
            }
        }
    }
    let file = out.into_inner().map_err(|why| unwritten(why.into_error()))?;
    file.sync_all().map_err(unwritten)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(run: &str, key: &str, usd: f64) -> Line {
        let reply = Box::new(Reply { text: key.into(), ..Reply::default() });
        let request = serde_json::json!({ "model": "m" });
        Line::Call {
            run: run.into(),
            hold: key.into(),
            key: key.into(),
            request,
            reply,
            usd: Some(usd),
            server: None,
        }
    }

    #[test]
    fn an_answer_is_found_again_and_paid_once() {
        let folder = tempfile::tempdir().unwrap();
        let (journal, spent) = Journal::open(folder.path(), "a").unwrap();
        assert_eq!(spent, Spent::default());
        journal.add(&call("a", "one", 0.5)).unwrap();
        let cost = |journal: &Journal, key: &str| {
            journal.find(key).unwrap().map(|(_, usd, calls)| (usd, calls))
        };
        assert_eq!(cost(&journal, "one"), Some((Some(0.5), 1)), "also after a kill");
        assert_eq!(journal.find("two").unwrap(), None);

        let (other, spent) = Journal::open(folder.path(), "b").unwrap();
        assert_eq!(spent.usd, 0.0);
        assert_eq!(cost(&other, "one"), Some((Some(0.0), 0)), "another run paid");
        other.add(&call("b", "two", 0.25)).unwrap();
        journal.add(&call("a", "three", 0.125)).unwrap();
        assert_eq!(journal.find("three").unwrap().unwrap().0.text, "three");
        let (_, spent) = Journal::open(folder.path(), "a").unwrap();
        assert_eq!(spent, Spent { usd: 0.625, calls: 2, unknown: 0.0 });
    }

    #[test]
    fn money_held_by_a_run_that_was_killed_counts_as_spent() {
        let folder = tempfile::tempdir().unwrap();
        let (journal, _) = Journal::open(folder.path(), "a").unwrap();
        for hold in ["one", "two", "three"] {
            journal.add(&Line::Hold { run: "a".into(), hold: hold.into(), usd: 1.0 }).unwrap();
        }
        journal.add(&call("a", "one", 0.5)).unwrap();
        let lost = Line::Lost {
            run: "a".into(),
            hold: "two".into(),
            why: "cut".into(),
            usd: Some(0.1),
            server: None,
        };
        journal.add(&lost).unwrap();
        let (_, spent) = Journal::open(folder.path(), "a").unwrap();
        assert_eq!(spent, Spent { usd: 1.6, calls: 1, unknown: 1.0 });
    }

    #[test]
    fn joined_journals_keep_every_payment_once() {
        let folder = tempfile::tempdir().unwrap();
        let of = |name: &str| folder.path().join(name);
        for (name, key, usd) in [("a", "one", 0.5), ("b", "two", 0.25)] {
            let (journal, _) = Journal::open(&of(name), name).unwrap();
            let hold = |hold: &str, usd| Line::Hold { run: name.into(), hold: hold.into(), usd };
            journal.add(&hold(key, 1.0)).unwrap();
            journal.add(&call(name, key, usd)).unwrap();
            journal.add(&hold(&format!("{name} killed"), 2.0)).unwrap();
        }
        // A killed run left a part of a line, and its directory was copied.
        let path = of("a").join(FILE);
        let mut text = std::fs::read_to_string(&path).unwrap();
        text += "{\"line\": \"ho";
        std::fs::write(&path, &text).unwrap();
        std::fs::create_dir(of("copy")).unwrap();
        std::fs::write(of("copy").join(FILE), &text).unwrap();
        std::fs::create_dir_all(of("all")).unwrap();
        join_journals(&[of("a"), of("copy"), of("none"), of("b")], &of("all")).unwrap();
        let joined = std::fs::read_to_string(of("all").join(FILE)).unwrap();
        let expected = format!("{text}\n{}", std::fs::read_to_string(of("b").join(FILE)).unwrap());
        assert_eq!(joined, expected);

        let spent = |owner: Owner| Journal::open(&of("all"), owner).unwrap();
        let whole = Owner { run: "all".into(), whole: true, ..Owner::default() };
        let (journal, all) = spent(whole);
        assert_eq!(all, Spent { usd: 4.75, calls: 2, unknown: 4.0 });
        assert_eq!(journal.find("two").unwrap().unwrap().1, Some(0.25));
        let merged = Owner { merged: ["a".to_string()].into(), ..Owner::from("all") };
        assert_eq!(spent(merged).1, Spent { usd: 2.5, calls: 1, unknown: 2.0 });
        assert_eq!(spent("all".into()).1, Spent::default());
    }

    #[test]
    fn an_altered_byte_costs_its_line_and_no_money() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        let (journal, _) = Journal::open(folder.path(), "a").unwrap();
        journal.add(&Line::Hold { run: "a".into(), hold: "one".into(), usd: 1.0 }).unwrap();
        journal.add(&call("a", "one", 0.5)).unwrap();
        journal.add(&call("a", "two", 0.25)).unwrap();
        let whole = std::fs::read_to_string(&path).unwrap();
        let altered = whole.replacen("\"text\":\"one\"", "\"text\":\"ome\"", 1);
        assert_ne!(altered, whole);
        std::fs::write(&path, altered).unwrap();
        let (journal, spent) = Journal::open(folder.path(), "a").unwrap();
        assert_eq!(journal.find("one").unwrap(), None);
        assert!(journal.find("two").unwrap().is_some());
        assert_eq!(spent, Spent { usd: 1.25, calls: 1, unknown: 1.0 }, "what was put aside");
    }

    #[test]
    fn a_line_cut_off_at_any_byte_spoils_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        let (journal, _) = Journal::open(folder.path(), "a").unwrap();
        journal.add(&call("a", "one", 0.5)).unwrap();
        let whole = std::fs::read(&path).unwrap().len();
        journal.add(&call("a", "two", 0.5)).unwrap();
        let all = std::fs::read(&path).unwrap();
        for cut in whole..all.len() - 1 {
            std::fs::write(&path, &all[..cut]).unwrap();
            let (journal, spent) = Journal::open(folder.path(), "a").unwrap();
            assert_eq!(spent.calls, 1, "cut at {cut}");
            journal.add(&call("a", "three", 0.5)).unwrap();
            assert!(journal.find("one").unwrap().is_some());
            assert_eq!(journal.find("three").unwrap().unwrap().0.text, "three", "cut at {cut}");
            let (again, spent) = Journal::open(folder.path(), "a").unwrap();
            assert_eq!((spent.calls, again.find("two").unwrap()), (2, None));
        }
        std::fs::write(&path, &all[..all.len() - 1]).unwrap();
        let (journal, spent) = Journal::open(folder.path(), "a").unwrap();
        assert_eq!(spent.calls, 2, "only the end of the line is missing");
        assert_eq!(journal.find("two").unwrap().unwrap().0.text, "two");
    }
}
