//! Checks that a model and its adapters are valid and fit each other.

use std::path::{Path, PathBuf};

use fixfly_runtime::{GgufHeader, GgufTensor};

use super::fault::Fault;
use super::protocol::Load;
use crate::{KvType, Lora, Settings};

/// A model whose header has been read.
pub(super) struct Model {
    pub(super) file: PathBuf,
    pub(super) header: GgufHeader,
    architecture: String,
}

impl Model {
    /// Reads the header of a file.
    ///
    /// # Errors
    /// [`Fault`] if it is not a model.
    pub(super) fn open(file: &Path) -> Result<Self, Fault> {
        let header = whole(file)?;
        if header.text("general.type") == Some("adapter") {
            return Err(Fault::NotAModel(file.to_path_buf()));
        }
        let architecture = header.architecture()?.to_string();
        Ok(Model { file: file.to_path_buf(), header, architecture })
    }

    /// The model's name in records.
    pub(super) fn name(&self) -> String {
        let file = self.file.file_name().unwrap_or(self.file.as_os_str());
        file.to_string_lossy().into_owned()
    }

    /// What the engine has to load for these students. The settings' own adapters are
    /// ignored.
    ///
    /// # Errors
    /// [`Fault`] if an adapter or a setting does not fit the model.
    pub(super) fn load(&self, settings: &Settings, students: &[Vec<Lora>]) -> Result<Load, Fault> {
        let local = &settings.local;
        for lora in students.iter().flatten() {
            self.check_adapter(&lora.file)?;
        }
        let active =
            |loras: &Vec<Lora>| loras.iter().filter(|lora| lora.scale != 0.0).cloned().collect();
        Ok(Load {
            model: self.file.clone(),
            students: students.iter().map(active).collect(),
            gpu_layers: local.gpu_layers,
            threads: local.threads,
            kv_type: local.kv_type,
            context_length: self.context_length(local.context_length)?,
            episodes: local.episodes.max(1),
            token_bytes: self.token_bytes(local.kv_type)?,
            unified_cache: local.unified_cache,
            speculation: local.speculation,
        })
    }

    fn context_length(&self, asked: Option<u32>) -> Result<u32, Fault> {
        let limit = self.header.context_length()?;
        match asked {
            Some(asked) if u64::from(asked) > limit => {
                Err(Fault::Context { file: self.file.clone(), asked, window: limit })
            }
            Some(asked) => Ok(asked),
            None => Ok(u32::try_from(limit).unwrap_or(u32::MAX)),
        }
    }

    /// Bytes of one token in the KV cache.
    fn token_bytes(&self, kv_type: KvType) -> Result<u64, Fault> {
        let sizes = self.header.kv_sizes()?;
        let blocks = matches!(kv_type, KvType::Q8_0 | KvType::Q4_0);
        for size in [sizes.key, sizes.value] {
            if blocks && !size.is_multiple_of(32) {
                return Err(Fault::Blocks { file: self.file.clone(), size });
            }
        }
        // A block has a scale besides its numbers; rounded up.
        let bits = match kv_type {
            KvType::F32 => 32,
            KvType::F16 => 16,
            KvType::Q8_0 => 9,
            KvType::Q4_0 => 5,
        };
        Ok(sizes.numbers().saturating_mul(bits) / 8)
    }

    fn check_adapter(&self, file: &Path) -> Result<(), Fault> {
        let header = whole(file)?;
        let file = file.to_path_buf();
        let kinds = (header.text("general.type"), header.text("adapter.type"));
        if kinds != (Some("adapter"), Some("lora")) {
            return Err(Fault::NotAnAdapter(file));
        }
        if header.numbers("adapter.alora.invocation_tokens").is_some() {
            return Err(Fault::Activated(file));
        }
        let architecture = header.text("general.architecture").unwrap_or_default();
        if architecture != self.architecture {
            let (adapter, model) = (architecture.to_string(), self.architecture.clone());
            return Err(Fault::OtherArchitecture { file, adapter, model });
        }
        for (name, a) in header.tensors() {
            if let Some(tensor) = name.strip_suffix(".lora_a") {
                let b = header.tensor(&format!("{tensor}.lora_b"));
                self.check_change(&file, tensor, a, b)?;
            } else if let Some(tensor) = name.strip_suffix(".lora_b")
                && header.tensor(&format!("{tensor}.lora_a")).is_none()
            {
                return Err(Fault::Half { file, tensor: tensor.to_string() });
            }
        }
        Ok(())
    }

    fn check_change(
        &self,
        file: &Path,
        tensor: &str,
        a: &GgufTensor,
        b: Option<&GgufTensor>,
    ) -> Result<(), Fault> {
        let (file, tensor) = (file.to_path_buf(), tensor.to_string());
        let Some(base) = self.header.tensor(&tensor) else {
            return Err(Fault::NoSuchTensor { file, tensor });
        };
        let Some(b) = b else { return Err(Fault::Half { file, tensor }) };
        let (&[columns, rows, ..], &[a0, a1, ..], &[b0, b1, ..]) =
            (&base.dimensions[..], &a.dimensions[..], &b.dimensions[..])
        else {
            return Err(Fault::OtherShape { file, tensor });
        };
        // An embedding is looked up, not multiplied, so its two matrices are swapped.
        let (shape, rank) = match tensor.as_str() {
            "token_embd.weight" => ((b1, a1), (a0, b0)),
            _ => ((a0, b1), (a1, b0)),
        };
        match (shape == (columns, rows), rank.0 == rank.1) {
            (false, _) => Err(Fault::OtherShape { file, tensor }),
            (true, false) => Err(Fault::OtherRank { file, tensor }),
            (true, true) => Ok(()),
        }
    }
}

/// The header of a file that has all of its tensors.
fn whole(file: &Path) -> Result<GgufHeader, Fault> {
    let header = GgufHeader::open(file)?;
    if let Ok(about) = file.metadata() {
        header.check_tensors(about.len())?;
    }
    Ok(header)
}
