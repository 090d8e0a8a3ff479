//! A base model: a Hugging Face folder, or a GGUF file.

mod config;

use std::fs;
use std::path::{Path, PathBuf};

use candle_core::quantized::GgmlDType;
use fixfly_runtime::{ChatTemplates, GgufHeader, TokenizerFiles};
use serde_json::{Value, json};

use crate::error::TrainError;
use crate::model_config::ModelConfig;
use crate::record::folder_hash;
use crate::settings::{BaseDtype, Method, Precision};
use crate::weights::{self, Weights};

/// Files of a model folder, other than its weights.
const BESIDE: [&str; 9] = [
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "vocab.json",
    "merges.txt",
];

/// A base model whose sizes were read. Its weights are read on request.
pub(crate) struct Base {
    path: PathBuf,
    config: ModelConfig,
    /// The header, if it is a GGUF file.
    gguf: Option<GgufHeader>,
}

/// Refuses a model that cannot be trained by this method: one that is missing, that is not
/// supported, or a GGUF file that is broken or has no tokenizer. Reads no weights.
///
/// # Errors
/// [`TrainError::Base`] in one sentence.
pub fn check_base(path: &Path, method: Method) -> Result<(), TrainError> {
    let base = Base::open(path)?;
    match (method, base.is_gguf()) {
        (Method::Full, _) => base.check_as_folder(),
        (Method::Lora, true) => base.tokenizer().map(drop),
        (Method::Lora, false) => Ok(()),
    }
}

impl Base {
    /// Reads the sizes of a model; of a GGUF file also which tensors it has, and whether they
    /// are whole.
    ///
    /// # Errors
    /// [`TrainError::Base`] if the model is not supported, or lacks something.
    pub(crate) fn open(path: &Path) -> Result<Base, TrainError> {
        if !GgufHeader::is_gguf(path) {
            let config = ModelConfig::open(path)?;
            return Ok(Base { path: path.into(), config, gguf: None });
        }
        let wrong = |why: String| TrainError::Base(why);
        let header = GgufHeader::open(path).map_err(|why| wrong(why.to_string()))?;
        let length = fs::metadata(path).map_err(TrainError::io("read", path))?.len();
        header.check_tensors(length).map_err(|why| wrong(why.to_string()))?;
        let fault = |why: String| wrong(format!("{}: {why}", path.display()));
        let mut config = config::read(&header).map_err(fault)?;
        let factors = weights::rope_factors(&header, config.head_dim / 2)?;
        let scaling = factors.map(|factors| config::rope_scaling(&config, factors));
        config.rope_scaling = scaling.transpose().map_err(fault)?;
        weights::check(&header, &config)?;
        Ok(Base { path: path.into(), config, gguf: Some(header) })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn config(&self) -> &ModelConfig {
        &self.config
    }

    pub(crate) fn is_gguf(&self) -> bool {
        self.gguf.is_some()
    }

    /// Opens the weights.
    ///
    /// # Errors
    /// [`TrainError::Base`] if a folder has none.
    pub(crate) fn weights(&self) -> Result<Weights, TrainError> {
        match &self.gguf {
            None => Weights::folder(&self.path),
            Some(header) => Ok(Weights::gguf(header, &self.config)),
        }
    }

    /// The file that contains the tokenizer.
    pub(crate) fn tokenizer_file(&self) -> PathBuf {
        match self.is_gguf() {
            true => self.path.clone(),
            false => self.path.join("tokenizer.json"),
        }
    }

    /// The bytes of `tokenizer.json`; of a GGUF file, of one that gives the same tokens.
    ///
    /// # Errors
    /// [`TrainError::Base`] if there is no tokenizer, or one that fixfly does not support.
    pub(crate) fn tokenizer(&self) -> Result<Vec<u8>, TrainError> {
        let files = TokenizerFiles::beside(&self.tokenizer_file());
        files.and_then(|files| files.text()).map_err(TrainError::Base)
    }

    /// What identifies the model in `train.json`: a hash of its `config.json`, or of a GGUF
    /// file's header and the beginning of each tensor.
    ///
    /// # Errors
    /// [`TrainError::Io`] if a file cannot be read.
    pub(crate) fn hash(&self) -> Result<String, TrainError> {
        match &self.gguf {
            None => folder_hash(&self.path),
            Some(header) => header.fingerprint().map_err(TrainError::io("read", &self.path)),
        }
    }

    /// How frozen matrices are held: as it was asked, or else as the base model has them.
    ///
    /// # Errors
    /// [`TrainError::Settings`] if a folder's weights are to stay quantised.
    pub(crate) fn held(&self, asked: Option<BaseDtype>) -> Result<BaseDtype, TrainError> {
        match (asked, self.is_gguf()) {
            (None, false) => Ok(BaseDtype::F32),
            (None, true) => Ok(BaseDtype::Quantized),
            (Some(BaseDtype::Quantized), false) => Err(TrainError::Settings(format!(
                "--base-dtype quantized needs a GGUF file, and {} is a folder; name one with --base, or use --base-dtype bf16",
                self.path.display()
            ))),
            (Some(asked), _) => Ok(asked),
        }
    }

    /// Bytes and format of matrices that are dequantised block by block; `None` if they are
    /// held in the dtype of computation.
    pub(crate) fn stored(&self, held: BaseDtype, dtype: Precision) -> Option<(u64, GgmlDType)> {
        match (held, &self.gguf, dtype) {
            (BaseDtype::Quantized, Some(header), _) => {
                let bytes = header.tensors().values().filter_map(|tensor| tensor.bytes()).sum();
                Some((bytes, weights::format(header)))
            }
            (BaseDtype::Bf16, _, Precision::F32) => {
                Some((2 * self.config.parameters() as u64, GgmlDType::BF16))
            }
            _ => None,
        }
    }

    /// Writes the files that turn weights into a model folder.
    ///
    /// # Errors
    /// [`TrainError`] if one cannot be written, or a GGUF file has no such tokenizer.
    pub(crate) fn write_beside(&self, folder: &Path) -> Result<(), TrainError> {
        if self.is_gguf() {
            return self.write_config(folder);
        }
        for name in BESIDE {
            let (from, to) = (self.path.join(name), folder.join(name));
            if from.is_file() {
                fs::copy(&from, &to).map_err(TrainError::io("copy to", &to))?;
            }
        }
        Ok(())
    }

    /// Refuses a model for which [`Base::write_beside`] would fail.
    ///
    /// # Errors
    /// [`TrainError::Base`] with what a folder cannot express.
    pub(crate) fn check_as_folder(&self) -> Result<(), TrainError> {
        if !self.is_gguf() {
            return Ok(());
        }
        self.tokenizer()?;
        self.json().map(drop)
    }

    fn json(&self) -> Result<Value, TrainError> {
        let shown = self.path.display();
        let fault = |why| {
            TrainError::Base(format!(
                "{shown}: {why}; use fixfly train lora, and export its adapter without --merge"
            ))
        };
        self.config.to_json().map_err(fault)
    }

    /// The files of a folder, from a GGUF file's header.
    fn write_config(&self, folder: &Path) -> Result<(), TrainError> {
        let put = |name: &str, bytes: &[u8]| {
            let file = folder.join(name);
            if let Some(folder) = file.parent() {
                fs::create_dir_all(folder).map_err(TrainError::io("make", folder))?;
            }
            fs::write(&file, bytes).map_err(TrainError::io("write", &file))
        };
        let pretty = |value: &Value| serde_json::to_vec_pretty(value).unwrap_or_default();
        put("config.json", &pretty(&self.json()?))?;
        let files = TokenizerFiles::beside(&self.path).map_err(TrainError::Base)?;
        put("tokenizer.json", &self.tokenizer()?)?;
        let mut about = json!({
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": self.config.max_position_embeddings,
        });
        for (name, token) in files.named() {
            about[name] = json!(token);
        }
        put("tokenizer_config.json", &pretty(&about))?;
        let templates = files.templates().map_err(TrainError::Base)?;
        let Some(ChatTemplates { default, tool_use, .. }) = templates else { return Ok(()) };
        put("chat_template.jinja", default.as_bytes())?;
        match tool_use {
            Some(template) => put("additional_chat_templates/tool_use.jinja", template.as_bytes()),
            None => Ok(()),
        }
    }
}
