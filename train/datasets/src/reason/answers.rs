//! The folder of a search for traces: every answer on the disk before it is
//! used, and the traces that were accepted.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Seek, Write};
use std::path::{Path, PathBuf};

use fixfly_runtime::{Generation, Usage, write_whole};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::DatasetError;
use crate::traces::{Trace, TraceOrigin};

const ABOUT: &str = "reason.json";
const ANSWERS: &str = "answers.jsonl";
const TRACES: &str = "traces.jsonl";

/// One answer of a teacher, and what came of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Answered {
    /// The row.
    pub row: String,
    /// Which try, from 1.
    pub attempt: u32,
    /// The prompt's name.
    pub prompt: String,
    /// SHA-256 of what was sent.
    pub prompt_sha256: String,
    /// Its words.
    pub text: String,
    /// Its reasoning, where it gives one apart from its words.
    pub reasoning: Option<String>,
    /// How they were made; none where the model gave no answer.
    pub generation: Option<Generation>,
    /// What they cost.
    pub usage: Usage,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of an answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Its trace is taken.
    Accepted {
        /// The trace.
        reasoning: String,
        /// Its tokens, where they were counted.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tokens: Option<usize>,
        /// Sentences that spoke of a given solution; taken out.
        leaks: usize,
        /// What the answer was held against.
        by: String,
    },
    /// It is not.
    Rejected {
        /// Why not, in words for a table.
        why: String,
        /// Whether another answer could be better.
        again: bool,
    },
}

/// A folder of answers, open for more.
pub struct Answers {
    folder: PathBuf,
    file: File,
    /// The last answer to each row.
    last: HashMap<String, Answered>,
    /// All there are, what they cost and what came of them.
    pub tally: Tally,
}

/// What was asked and what came of it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tally {
    /// Answers.
    pub answers: usize,
    /// Rows whose trace was taken.
    pub accepted: usize,
    /// Of those, the ones that had sentences taken out.
    pub leaky: usize,
    /// Sentences taken out of them.
    pub leaks: usize,
    /// Answers that were rejected, by reason.
    pub rejected: BTreeMap<String, usize>,
    /// Tokens and dollars.
    pub usage: Usage,
}

impl Answers {
    /// Begins a folder, or goes on with it where `about` is what made it.
    ///
    /// # Errors
    /// [`DatasetError`] where it was made otherwise, or cannot be used.
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

    /// Takes what is there. A last line that was cut off was never used.
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

    /// Adds an answer; it is on the disk when this returns.
    ///
    /// # Errors
    /// [`DatasetError::Io`] where it cannot be written.
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

    /// The last answer to a row.
    pub fn last(&self, row: &str) -> Option<&Answered> {
        self.last.get(row)
    }

    /// The next try for a row of at most so many; none where it has a trace or
    /// no other answer could be better.
    pub fn next(&self, row: &str, tries: u32) -> Option<u32> {
        match self.last.get(row) {
            None => Some(1),
            Some(Answered { outcome: Outcome::Rejected { again: true, .. }, attempt, .. }) => {
                (*attempt < tries).then_some(attempt + 1)
            }
            Some(_) => None,
        }
    }

    /// Writes the traces of these rows, in their order; gives the file. Where a
    /// row had a trace before, it is `earlier`: it stays where the row is
    /// `spared`, and is named where a new one was made of it.
    ///
    /// # Errors
    /// [`DatasetError::Io`] where it cannot be written.
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
    let other: Vec<&str> =
        keys.filter(|key| then.get(key) != about.get(key)).map(String::as_str).collect();
    match other.is_empty() {
        true => Ok(()),
        false => Err(DatasetError::Input(format!(
            "{} was made with another {}: use the same one, or name a new folder",
            record.parent().unwrap_or(record).display(),
            other.join(" and another ")
        ))),
    }
}

/// A file whole or as it was.
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
        // Killed while it wrote a fourth.
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
        assert!(
            error
                .to_string()
                .ends_with("with another seed: use the same one, or name a new folder")
        );
    }
}
