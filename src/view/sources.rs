//! What the viewer shows besides runs: originals of installed benchmarks, prompts by the
//! model's own files, and datasets.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use fixfly_datasets::{Reader, Row, RowIndex};
use fixfly_report::{DatasetRow, DatasetRows, Prompt, RowOrigin, Segment, Sources};
use fixfly_runtime::{
    CallForm, Episode, Message, RunRecord, Settings, Task, Templates, Thinking, render,
};

use crate::dataset::known;

/// Installed benchmarks, and model files that are where the runs recorded them.
#[derive(Default)]
pub(crate) struct Installed {
    /// Tokenizers and chat templates, or the reason why there is none, by their files.
    readers: Mutex<HashMap<(PathBuf, Option<PathBuf>), Result<Arc<Reader>, String>>>,
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
        Ok(match self.exact(record, messages.clone(), thinking) {
            Ok((text, tokens)) => Prompt { text, tokens: Some(tokens), missing: None },
            Err(missing) => Prompt::of_messages(&messages, missing),
        })
    }

    fn dataset(&self, path: &Path) -> Result<Box<dyn DatasetRows>, String> {
        let index = RowIndex::open(path).map_err(|why| why.to_string())?;
        Ok(Box::new(Rows(index)))
    }
}

impl Installed {
    /// The prompt by the model's own chat template, with its tokens; or what is missing.
    fn exact(
        &self,
        record: &RunRecord,
        messages: Vec<Message>,
        thinking: Thinking,
    ) -> Result<(String, usize), String> {
        let settings = record.config.get("model").cloned().unwrap_or_default();
        let settings: Settings = serde_json::from_value(settings)
            .map_err(|_| "the run does not record the settings of a model".to_string())?;
        let model = settings.model.ok_or("the run used no model")?;
        let file = PathBuf::from(&model);
        if !file.is_file() {
            return Err(format!(
                "the chat template and the tokenizer of {model} are not on this machine"
            ));
        }
        if settings.calls == CallForm::Native {
            return Err("the run does not record the tools that the chat template showed".into());
        }
        let reader = self.reader(file, settings.local.chat_template)?;
        reader.prompt(messages, thinking).map_err(|why| why.to_string())
    }

    fn reader(&self, file: PathBuf, template: Option<PathBuf>) -> Result<Arc<Reader>, String> {
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = readers.entry((file, template));
        let (file, template) = entry.key().clone();
        let open = || {
            let template = template.as_ref().map(|template| template.display().to_string());
            let reader = Reader::open(&file, template.as_deref(), None);
            reader.map(Arc::new).map_err(|why| why.to_string())
        };
        entry.or_insert_with(open).clone()
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
