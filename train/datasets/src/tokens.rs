//! Counts the tokens of rows.

use std::path::Path;

use fixfly_runtime::TokenizerFiles;
use tokenizers::Tokenizer;

use crate::error::DatasetError;
use crate::reader::opened;
use crate::row::Line;

/// Tokens that a chat template adds to a message. In ChatML: `<|im_start|>`, role, line
/// break, `<|im_end|>`, line break.
const AROUND: usize = 5;

/// Bytes per token of Python, roughly; used without a tokenizer.
const BYTES: usize = 4;

/// Counts tokens.
pub enum Tokens {
    /// An estimate: four bytes per token.
    Estimated,
    /// The student's own tokenizer, and the name of its file.
    Counted(Box<Tokenizer>, String),
}

impl Tokens {
    /// Opens a `tokenizer.json` or a GGUF file; estimates if `None`.
    ///
    /// # Errors
    /// [`DatasetError::Input`] if the file is not a tokenizer.
    pub fn open(file: Option<&Path>) -> Result<Self, DatasetError> {
        let Some(file) = file else { return Ok(Tokens::Estimated) };
        let shown = file.display().to_string();
        let files = TokenizerFiles::beside(file).map_err(DatasetError::Input)?;
        let bytes = files.text().map_err(DatasetError::Input)?;
        let tokenizer = opened(file, &bytes, &files)?;
        Ok(Tokens::Counted(Box::new(tokenizer), shown))
    }

    /// How tokens are counted, as text.
    pub fn how(&self) -> String {
        match self {
            Tokens::Estimated => {
                format!("estimated at {BYTES} bytes per token; use --tokenizer to count them")
            }
            Tokens::Counted(_, file) => format!("counted by {file}"),
        }
    }

    /// The number of tokens of a text.
    pub fn of(&self, text: &str) -> usize {
        let counted = match self {
            Tokens::Estimated => None,
            Tokens::Counted(tokenizer, _) => tokenizer.encode_fast(text, false).ok(),
        };
        counted.map_or_else(|| text.len().div_ceil(BYTES), |encoding| encoding.len())
    }

    /// The number of tokens of a conversation, including those that a chat template adds.
    pub fn of_row(&self, messages: &[Line]) -> usize {
        messages.iter().map(|line| self.of(&line.content) + AROUND).sum()
    }
}
