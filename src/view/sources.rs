//! What the viewer shows besides runs: originals of installed benchmarks, prompts by the
//! model's own files, and datasets.

use std::path::Path;

use fixfly_datasets::{RecordedPrompts, Row, RowIndex};
use fixfly_report::{DatasetRow, DatasetRows, Prompt, RowOrigin, Segment, Sources};
use fixfly_runtime::{Episode, RunRecord, Task, Templates, render};

use crate::dataset::known;

/// Installed benchmarks, and model files that are where the runs recorded them.
#[derive(Default)]
pub(crate) struct Installed {
    prompts: RecordedPrompts,
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
        Ok(Box::new(Rows(index)))
    }
}

struct Rows(RowIndex);

impl DatasetRows for Rows {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn row(&self, at: usize) -> Result<DatasetRow, String> {
        self.0.row(at).map(shown).map_err(|why| why.to_string())
    }

    fn rule(&self, at: usize) -> Option<String> {
        self.0.rule(at).map(String::from)
    }

    fn facts(&self) -> Vec<(String, String)> {
        self.0.summary().facts()
    }

    fn audit(&self) -> Vec<String> {
        self.0.summary().audit.sentences()
    }

    fn lengths(&self) -> Vec<(usize, usize)> {
        self.0.summary().lengths.histogram.clone()
    }

    fn rules(&self) -> Vec<(String, usize)> {
        self.0.rules()
    }
}

fn shown(row: Row) -> DatasetRow {
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
