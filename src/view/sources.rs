//! What the viewer shows besides runs: originals of installed benchmarks, prompts by the
//! model's own files, and datasets.

use std::path::Path;
use std::sync::Arc;

use fixfly_datasets::{DatasetError, Reader, RecordedPrompts, Row, RowIndex};
use fixfly_report::{DatasetRow, DatasetRows, Prompt, RowOrigin, Segment, Sources};
use fixfly_runtime::{Episode, RunRecord, Task, Templates, render};

use crate::dataset::known;

/// Installed benchmarks, and model files that are where the runs recorded them.
#[derive(Default)]
pub(crate) struct Installed {
    prompts: RecordedPrompts,
    /// The student that reads the rows of datasets.
    student: Option<Arc<Reader>>,
}

impl Installed {
    /// The same, with a student's tokenizer and the chat template beside it.
    pub(crate) fn with_student(tokenizer: Option<&Path>) -> Result<Self, DatasetError> {
        let student = tokenizer.map(|file| Reader::open(file, None, None)).transpose()?;
        Ok(Installed { student: student.map(Arc::new), ..Installed::default() })
    }
}

impl Sources for Installed {
    fn original(&self, run: &Path, record: &RunRecord, task: &Task) -> Result<String, String> {
        let run = run.display().to_string();
        let benchmark = known::opened(&run, record, None).map_err(|why| format!("{why:#}"))?;
        known::original(&*benchmark, task)
    }

    fn prompt(
        &self,
        _: &Path,
        record: &RunRecord,
        episode: &Episode,
        turn: usize,
    ) -> Result<Prompt, String> {
        let wording =
            Templates::recorded(&record.templates.texts).map_err(|why| why.to_string())?;
        let turns = episode.turns.get(..turn).unwrap_or(&episode.turns);
        let messages = render(&episode.task, turns, &wording);
        let action = episode.turns.get(turn).map(|turn| &turn.action);
        let generation = action.and_then(|action| action.generation.as_ref());
        let thinking = generation.map(|generation| generation.thinking).unwrap_or_default();
        Ok(match self.prompts.exact(record, messages.clone(), thinking) {
            Ok((text, tokens)) => Prompt { text, tokens: Some(tokens), missing: None },
            Err(missing) => Prompt::of_messages(&messages, missing),
        })
    }

    fn dataset(&self, path: &Path) -> Result<Box<dyn DatasetRows>, String> {
        let index = RowIndex::open(path).map_err(|why| why.to_string())?;
        Ok(Box::new(Rows { index, student: self.student.clone() }))
    }
}

struct Rows {
    index: RowIndex,
    student: Option<Arc<Reader>>,
}

impl DatasetRows for Rows {
    fn len(&self) -> usize {
        self.index.len()
    }

    fn row(&self, at: usize) -> Result<DatasetRow, String> {
        let row = self.index.row(at).map_err(|why| why.to_string())?;
        let student = self.student.as_ref().ok_or("--tokenizer names no student that reads them");
        let read = student
            .map_err(String::from)
            .and_then(|student| student.pieces(&row).map_err(|why| why.to_string()));
        Ok(shown(row, read))
    }

    fn rule(&self, at: usize) -> Option<String> {
        self.index.rule(at).map(String::from)
    }

    fn facts(&self) -> Vec<(String, String)> {
        self.index.summary().facts()
    }

    fn audit(&self) -> Vec<String> {
        self.index.summary().audit.sentences()
    }

    fn lengths(&self) -> Vec<(usize, usize)> {
        self.index.summary().lengths.histogram.clone()
    }

    fn rules(&self) -> Vec<(String, usize)> {
        self.index.rules()
    }
}

fn shown(row: Row, read: Result<Vec<Vec<(String, bool)>>, String>) -> DatasetRow {
    let piece = |(text, loss)| Segment { role: String::new(), text, loss };
    let (sequences, whole) =
        read.map_or_else(|why| (Vec::new(), why), |read| (read, String::new()));
    let sequences = sequences.into_iter().map(|one| one.into_iter().map(piece).collect());
    let (rule, origin) = (row.rule(), row.origin);
    let segments = row.messages.into_iter().map(|line| Segment {
        role: line.role.name().into(),
        text: line.content,
        loss: line.loss,
    });
    DatasetRow {
        id: row.id,
        part: row.part.name().into(),
        rule,
        tokens: Some(row.tokens),
        segments: segments.collect(),
        sequences: sequences.collect(),
        whole,
        origin: RowOrigin {
            run: origin.run,
            task: origin.task,
            sample: origin.sample,
            turns: origin.failing_turns,
            answer: origin.answer.to_string(),
            answer_turn: origin.answer.turn(),
        },
    }
}
