//! The tokens of a text, by llama.cpp and by `tokenizers` with what fixfly reads from the
//! same file.

use std::path::Path;

use fixfly_runtime::{GgufHeader, tokenizer_json};
use llama_cpp_2::llama_backend::LlamaBackend;
use llama_cpp_2::model::LlamaModel;
use llama_cpp_2::model::params::LlamaModelParams;
use tokenizers::Tokenizer;

/// A file that both have opened.
pub(crate) struct Both {
    model: LlamaModel,
    tokenizer: Tokenizer,
}

impl Both {
    /// Opens a file: its vocabulary alone.
    pub(crate) fn open(backend: &LlamaBackend, file: &Path) -> Both {
        let params = LlamaModelParams::default().with_vocab_only(true);
        let model = LlamaModel::load_from_file(backend, file, &params).unwrap();
        let made = tokenizer_json(&GgufHeader::open(file).unwrap()).unwrap();
        Both { model, tokenizer: Tokenizer::from_bytes(made.to_string()).unwrap() }
    }

    /// llama.cpp's tokens and ours. `around`: with those that begin and end a text.
    pub(crate) fn tokens(&self, text: &str, around: bool) -> [Vec<u32>; 2] {
        let theirs = self.model.vocab().tokenize(text.as_bytes(), around, true);
        let theirs = theirs.into_iter().map(|token| token.0.cast_unsigned()).collect();
        [theirs, self.tokenizer.encode_fast(text, around).unwrap().get_ids().to_vec()]
    }
}
