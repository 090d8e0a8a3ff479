//! The exact prompts of recorded runs, where the model's files are on this machine.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use fixfly_runtime::{CallForm, Message, RunRecord, Settings, Thinking};

use crate::reader::Reader;

/// A tokenizer, and a chat template that replaces its own.
type Files = (PathBuf, Option<PathBuf>);

/// Tokenizers and chat templates of recorded runs. Each is opened once.
#[derive(Default)]
pub struct RecordedPrompts {
    readers: Mutex<HashMap<Files, Result<Arc<Reader>, String>>>,
}

impl RecordedPrompts {
    /// The prompt by the model's own chat template, and its number of tokens.
    ///
    /// # Errors
    /// What is missing to make it.
    pub fn exact(
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
        let reader = self.reader((file, settings.local.chat_template))?;
        reader.prompt(messages, thinking).map_err(|why| why.to_string())
    }

    fn reader(&self, files: Files) -> Result<Arc<Reader>, String> {
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = readers.entry(files);
        let (file, template) = entry.key().clone();
        let open = || {
            let template = template.as_ref().map(|template| template.display().to_string());
            let reader = Reader::open(&file, template.as_deref(), None);
            reader.map(Arc::new).map_err(|why| why.to_string())
        };
        entry.or_insert_with(open).clone()
    }
}
