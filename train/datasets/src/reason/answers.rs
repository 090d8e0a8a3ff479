//! The output folder of `fixfly reason`: every answer, on disk before it is used, and the
//! accepted traces.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Seek, Write};
use std::path::{Path, PathBuf};

use fixfly_runtime::{Generation, Usage, without_addresses, write_whole};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::DatasetError;
use crate::traces::{Trace, TraceOrigin};

const ABOUT: &str = "reason.json";
const ANSWERS: &str = "answers.jsonl";
const TRACES: &str = "traces.jsonl";

/// An answer of a teacher, and its outcome.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answered {
    /// The row.
    pub row: String,
    /// The number of the attempt, from 1.
    pub attempt: u32,
    /// The prompt's name.
    pub prompt: String,
    /// SHA-256 of the request's messages.
    pub prompt_sha256: String,
    /// The text of the answer.
    pub text: String,
    /// The reasoning, if the model returned it separately.
    pub reasoning: Option<String>,
    /// How the answer was generated; `None` if the model gave no answer.
    pub generation: Option<Generation>,
    /// The cost of the answer.
    pub usage: Usage,
    /// Whether the trace was accepted.
    pub outcome: Outcome,
}

/// The outcome of an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The trace is accepted.
    Accepted {
        /// The trace.
        reasoning: String,
        /// Number of tokens, if they were counted.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tokens: Option<usize>,
        /// Number of removed sentences, which mentioned a given solution.
        leaks: usize,
        /// Why it was accepted.
        by: String,
    },
    /// The trace is rejected.
    Rejected {
        /// The reason, for a table.
        why: String,
        /// Whether another answer might be accepted.
        again: bool,
    },
}

/// A folder of answers that more can be added to.
pub struct Answers {
    folder: PathBuf,
    file: File,
    /// The last answer for each row.
    last: HashMap<String, Answered>,
    /// Totals of all answers.
    pub tally: Tally,
}

/// Totals of answers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tally {
    /// Number of answers.
    pub answers: usize,
    /// Rows whose trace was accepted.
    pub accepted: usize,
    /// Accepted traces from which sentences were removed.
    pub leaky: usize,
    /// Sentences that were removed from them.
    pub leaks: usize,
    /// Number of rejected answers, by reason.
    pub rejected: BTreeMap<String, usize>,
    /// Tokens and US dollars.
    pub usage: Usage,
}

impl Answers {
    /// Creates a folder, or resumes it if it has the same settings (`about`).
    ///
    /// # Errors
    /// [`DatasetError`] if its settings differ or it cannot be used.
    pub fn open(folder: &Path, about: &Value) -> Result<Self, DatasetError> {
        fs::create_dir_all(folder).map_err(DatasetError::io("make", folder))?;
        let record = folder.join(ABOUT);
        match fs::read_to_string(&record) {
            Ok(text) => same(&record, &text, about)?,
            Err(_) if folder.join(ANSWERS).exists() => {
                return Err(DatasetError::NotEmpty(folder.into()));
            }
            Err(_) => {
                let text = serde_json::to_string_pretty(about).unwrap_or_default();
                replace(&record, &format!("{text}\n"))?;
            }
        }
        let file = folder.join(ANSWERS);
        let io = DatasetError::io("use", &file);
        let options = OpenOptions::new().create(true).read(true).append(true).open(&file);
        let opened = options.map_err(io)?;
        let mut answers = Answers {
            folder: folder.into(),
            file: opened,
            last: HashMap::new(),
            tally: Tally::default(),
        };
        answers.read(&file)?;
        Ok(answers)
    }

    /// Reads the existing answers. A partial last line was never used and is removed.
    fn read(&mut self, file: &Path) -> Result<(), DatasetError> {
        let mut reader = BufReader::new(&self.file);
        let (mut line, mut whole, mut number) = (Vec::new(), 0, 0);
        let mut found = Vec::new();
        loop {
            line.clear();
            let read = reader.read_until(b'\n', &mut line);
            let length = read.map_err(DatasetError::io("read", file))?;
            if length == 0 || line.last() != Some(&b'\n') {
                break;
            }
            number += 1;
            let answered: Answered = serde_json::from_slice(&line).map_err(|e| {
                let place = format!("{}:{number}", file.display());
                DatasetError::Input(format!(
                    "{place} is not an answer ({e}); remove the line to ask again"
                ))
            })?;
            found.push(answered);
            whole += length as u64;
        }
        self.file.set_len(whole).map_err(DatasetError::io("repair", file))?;
        for answered in found {
            self.take(answered);
        }
        Ok(())
    }

    /// Appends an answer. It is on the disk when this returns.
    ///
    /// # Errors
    /// [`DatasetError::Io`] if it cannot be written.
    pub fn add(&mut self, answered: Answered) -> Result<(), DatasetError> {
        let file = self.folder.join(ANSWERS);
        let mut line = serde_json::to_vec(&answered).unwrap_or_default();
        line.push(b'\n');
        let written = self.file.seek(std::io::SeekFrom::End(0));
        let written = written.and_then(|_| self.file.write_all(&line));
        written.and_then(|()| self.file.sync_data()).map_err(DatasetError::io("write", &file))?;
        self.take(answered);
        Ok(())
    }

    fn take(&mut self, answered: Answered) {
        let tally = &mut self.tally;
        tally.answers += 1;
        let Usage { prompt_tokens, completion_tokens, reasoning_tokens, calls, usd, .. } =
            answered.usage;
        tally.usage.prompt_tokens += prompt_tokens;
        tally.usage.completion_tokens += completion_tokens;
        tally.usage.reasoning_tokens += reasoning_tokens;
        tally.usage.calls += calls;
        if let Some(usd) = usd {
            *tally.usage.usd.get_or_insert(0.0) += usd;
        }
        match &answered.outcome {
            Outcome::Accepted { leaks, .. } => {
                tally.accepted += 1;
                tally.leaky += usize::from(*leaks > 0);
                tally.leaks += leaks;
            }
            Outcome::Rejected { why, .. } => *tally.rejected.entry(why.clone()).or_default() += 1,
        }
        self.last.insert(answered.row.clone(), answered);
    }

    /// The last answer for a row.
    pub fn last(&self, row: &str) -> Option<&Answered> {
        self.last.get(row)
    }

    /// The number of the next attempt for a row; `None` if the row is done: it has a trace,
    /// used up its `tries`, or no other answer can be accepted.
    pub fn next(&self, row: &str, tries: u32) -> Option<u32> {
        match self.last.get(row) {
            None => Some(1),
            Some(Answered { outcome: Outcome::Rejected { again: true, .. }, attempt, .. }) => {
                (*attempt < tries).then_some(attempt + 1)
            }
            Some(_) => None,
        }
    }

    /// Writes the traces of these rows, in their order, and returns the file. `earlier` is
    /// the trace that a row had before: it is kept if the row is `spared`, and recorded as
    /// the origin if a new trace replaced it.
    ///
    /// # Errors
    /// [`DatasetError::Io`] if the file cannot be written.
    pub fn write_traces<'r, 't>(
        &self,
        rows: impl Iterator<Item = &'r str>,
        earlier: impl Fn(&str) -> Option<&'t Trace>,
        spared: &HashSet<&str>,
    ) -> Result<PathBuf, DatasetError> {
        let file = self.folder.join(TRACES);
        let traces = rows.filter_map(|row| match self.last.get(row) {
            Some(answered) => trace(answered, earlier(row)),
            None => spared.contains(row).then(|| earlier(row).cloned()).flatten(),
        });
        let lines = traces.map(|trace| serde_json::to_string(&trace).unwrap_or_default() + "\n");
        replace(&file, &lines.collect::<String>())?;
        Ok(file)
    }
}

fn trace(answered: &Answered, earlier: Option<&Trace>) -> Option<Trace> {
    let Outcome::Accepted { reasoning, tokens, leaks, by } = &answered.outcome else {
        return None;
    };
    let generation = answered.generation.as_ref();
    let origin = TraceOrigin {
        model: generation.map(|made| made.model.clone()),
        sampling: generation.map(|made| made.sampling.clone()),
        thinking: generation.map(|made| made.thinking),
        prompt: answered.prompt.clone(),
        prompt_sha256: answered.prompt_sha256.clone(),
        attempt: answered.attempt,
        accepted_by: by.clone(),
        leaks: *leaks,
        tokens: *tokens,
        usage: answered.usage.clone(),
        from: earlier.and_then(|trace| trace.origin.clone()),
    };
    Some(Trace {
        row: answered.row.clone(),
        reasoning: reasoning.clone(),
        origin: Some(Box::new(origin)),
    })
}

fn same(record: &Path, text: &str, about: &Value) -> Result<(), DatasetError> {
    let then: Value = serde_json::from_str(text).unwrap_or_default();
    let keys = about.as_object().into_iter().flat_map(|about| about.keys());
    let value = |record: &Value, key: &str| match (key, record.get(key)) {
        ("model", Some(model)) => Some(without_addresses(model)),
        (_, value) => value.cloned(),
    };
    let is_other = |key: &&String| value(&then, key) != value(about, key);
    let other: Vec<&str> = keys.filter(is_other).map(String::as_str).collect();
    match other.is_empty() {
        true => Ok(()),
        false => Err(DatasetError::Input(format!(
            "{} was made with a different {}: use the same one, or name a new folder",
            record.parent().unwrap_or(record).display(),
            other.join(" and a different ")
        ))),
    }
}

/// Replaces a file atomically.
fn replace(file: &Path, text: &str) -> Result<(), DatasetError> {
    write_whole(file, text).map_err(DatasetError::io("write", file))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answered(row: &str, attempt: u32, outcome: Outcome) -> Answered {
        Answered {
            row: row.into(),
            attempt,
            prompt: "minimal".into(),
            prompt_sha256: String::new(),
            text: String::new(),
            reasoning: None,
            generation: None,
            usage: Usage { usd: Some(0.5), ..Usage::default() },
            outcome,
        }
    }

    fn rejected(why: &str, again: bool) -> Outcome {
        Outcome::Rejected { why: why.into(), again }
    }

    fn accepted(reasoning: &str) -> Outcome {
        let by = "same".into();
        Outcome::Accepted { reasoning: reasoning.into(), tokens: None, leaks: 1, by }
    }

    #[test]
    fn a_folder_is_resumed_with_other_servers_but_not_with_another_model() {
        let folder = tempfile::tempdir().unwrap();
        let about = |model: &str, address: &str| json!({ "model": { "model": model, "teacher": { "base_url": address } } });
        Answers::open(folder.path(), &about("m", "http://a/v1")).unwrap();
        Answers::open(folder.path(), &about("m", "http://b/v1")).unwrap();
        let other = Answers::open(folder.path(), &about("n", "http://a/v1"));
        let why = other.err().unwrap().to_string();
        assert!(why.contains("with a different model"), "{why}");
    }

    #[test]
    fn what_was_answered_is_not_asked_again() {
        let folder = tempfile::tempdir().unwrap();
        let about = json!({ "seed": 1 });
        let mut answers = Answers::open(folder.path(), &about).unwrap();
        assert_eq!(answers.next("a", 3), Some(1));
        answers.add(answered("a", 1, rejected("other code", true))).unwrap();
        answers.add(answered("b", 1, accepted("Hm."))).unwrap();
        answers.add(answered("c", 1, rejected("too long", false))).unwrap();
        let file = folder.path().join(ANSWERS);
        let whole = fs::read(&file).unwrap();
        // As if the process was killed while it wrote a fourth line.
        fs::write(&file, [&whole[..], &whole[..40]].concat()).unwrap();

        let mut again = Answers::open(folder.path(), &about).unwrap();
        assert_eq!(fs::read(&file).unwrap(), whole);
        assert_eq!(again.tally, answers.tally);
        let tally = &again.tally;
        assert_eq!((tally.answers, tally.accepted, tally.leaks), (3, 1, 1));
        assert_eq!(tally.usage.usd, Some(1.5));
        let next = |answers: &Answers, tries| ["a", "b", "c"].map(|row| answers.next(row, tries));
        assert_eq!(next(&again, 3), [Some(2), None, None]);
        assert_eq!(next(&again, 1), [None, None, None]);
        again.add(answered("a", 2, accepted("So."))).unwrap();
        let traces =
            again.write_traces(["b", "c", "a"].into_iter(), |_| None, &HashSet::new()).unwrap();
        let text = fs::read_to_string(traces).unwrap();
        let rows = text.lines().map(|line| serde_json::from_str::<Trace>(line).unwrap().row);
        assert_eq!(rows.collect::<Vec<_>>(), ["b", "a"]);

        let error = Answers::open(folder.path(), &json!({ "seed": 2 })).err().unwrap();
        let expected = "with a different seed: use the same one, or name a new folder";
        assert!(error.to_string().ends_with(expected), "{error}");
    }
}
