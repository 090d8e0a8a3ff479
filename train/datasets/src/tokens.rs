//! How long a row is to a student.

use std::path::Path;

use tokenizers::Tokenizer;

use crate::error::DatasetError;
use crate::row::Line;

/// Tokens that a chat template sets around one message: ChatML's
/// `<|im_start|>`, role, line break, `<|im_end|>`, line break.
const AROUND: usize = 5;

/// Bytes of Python in a token, nearly, where no tokenizer counts them.
const BYTES: usize = 4;

/// What counts tokens.
pub enum Tokens {
    /// Four bytes are taken for a token.
    Estimated,
    /// A student's own tokenizer, and the name of its file.
    Counted(Box<Tokenizer>, String),
}

impl Tokens {
    /// The tokenizer in a `tokenizer.json`; an estimate where none is named.
    ///
    /// # Errors
    /// [`DatasetError::Input`] where the file is not one.
    pub fn open(file: Option<&Path>) -> Result<Self, DatasetError> {
        let Some(file) = file else { return Ok(Tokens::Estimated) };
        let shown = file.display().to_string();
        let tokenizer = Tokenizer::from_file(file).map_err(|e| {
            let what = "name the tokenizer.json that comes with the student";
            DatasetError::Input(format!("{shown} is not a tokenizer ({e}); {what}"))
        })?;
        Ok(Tokens::Counted(Box::new(tokenizer), shown))
    }

    /// How tokens are counted, in words.
    pub fn how(&self) -> String {
        match self {
            Tokens::Estimated => {
                format!("estimated at {BYTES} bytes per token; use --tokenizer to count them")
            }
            Tokens::Counted(_, file) => format!("counted by {file}"),
        }
    }

    /// Tokens of a text.
    pub fn of(&self, text: &str) -> usize {
        let counted = match self {
            Tokens::Estimated => None,
            Tokens::Counted(tokenizer, _) => tokenizer.encode_fast(text, false).ok(),
        };
        counted.map_or_else(|| text.len().div_ceil(BYTES), |encoding| encoding.len())
    }

    /// Tokens of a conversation, with those a chat template adds.
    pub fn of_row(&self, messages: &[Line]) -> usize {
        messages.iter().map(|line| self.of(&line.content) + AROUND).sum()
    }
}
