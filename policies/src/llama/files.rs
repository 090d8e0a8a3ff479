//! Whether a model and its adapter are what they should be and fit each other.

use std::path::{Path, PathBuf};

use super::fault::Fault;
use super::gguf::{Head, Tensor};
use super::protocol::Load;
use crate::{KvType, Lora, Settings};

/// A model whose head was read.
pub(super) struct Model {
    pub(super) file: PathBuf,
    pub(super) head: Head,
    architecture: String,
}

impl Model {
    /// Reads what a file says of itself.
    ///
    /// # Errors
    /// [`Fault`] where it is not a model.
    pub(super) fn open(file: &Path) -> Result<Self, Fault> {
        let head = Head::read(file)?;
        if head.text("general.type") == Some("adapter") {
            return Err(Fault::NotAModel(file.to_path_buf()));
        }
        let key = "general.architecture";
        let architecture = head.text(key).map(str::to_string);
        let architecture =
            architecture.ok_or_else(|| Fault::Lacks(file.to_path_buf(), key.to_string()))?;
        Ok(Model { file: file.to_path_buf(), head, architecture })
    }

    /// The name it goes by in records.
    pub(super) fn name(&self) -> String {
        let file = self.file.file_name().unwrap_or(self.file.as_os_str());
        file.to_string_lossy().into_owned()
    }

    /// What an engine is to load, if it fits together; the settings' own
    /// adapters do not count.
    ///
    /// # Errors
    /// [`Fault`] where it does not.
    pub(super) fn load(&self, settings: &Settings, students: &[Vec<Lora>]) -> Result<Load, Fault> {
        let student = &settings.student;
        for lora in students.iter().flatten() {
            self.check_adapter(&lora.file)?;
        }
        let counts =
            |loras: &Vec<Lora>| loras.iter().filter(|lora| lora.scale != 0.0).cloned().collect();
        Ok(Load {
            model: self.file.clone(),
            students: students.iter().map(counts).collect(),
            gpu_layers: student.gpu_layers,
            threads: student.threads,
            kv_type: student.kv_type,
            window: self.window(student.context)?,
            episodes: student.episodes.max(1),
            cell: self.cell(student.kv_type)?,
        })
    }

    fn window(&self, asked: Option<u32>) -> Result<u32, Fault> {
        let window = self.fact("context_length")?;
        match asked {
            Some(asked) if u64::from(asked) > window => {
                Err(Fault::Context { file: self.file.clone(), asked, window })
            }
            Some(asked) => Ok(asked),
            None => Ok(u32::try_from(window).unwrap_or(u32::MAX)),
        }
    }

    /// Bytes that a token takes in the cache.
    fn cell(&self, numbers: KvType) -> Result<u64, Fault> {
        let layers = self.fact("block_count")?;
        let heads = self.fact("attention.head_count")?.max(1);
        let size = self.fact("embedding_length")? / heads;
        let key = self.fact("attention.key_length").unwrap_or(size);
        let value = self.fact("attention.value_length").unwrap_or(size);
        let blocks = matches!(numbers, KvType::Q8_0 | KvType::Q4_0);
        for size in [key, value] {
            if blocks && !size.is_multiple_of(32) {
                return Err(Fault::Blocks { file: self.file.clone(), size });
            }
        }
        let kept = self.head.numbers(&self.key("attention.head_count_kv"));
        let kept = match kept.as_deref() {
            None => layers * heads,
            Some([all]) => layers * all,
            Some(each) => each.iter().sum(),
        };
        // Blocks carry a scale besides their numbers; rounded up.
        let bits = match numbers {
            KvType::F32 => 32,
            KvType::F16 => 16,
            KvType::Q8_0 => 9,
            KvType::Q4_0 => 5,
        };
        Ok(kept * (key + value) * bits / 8)
    }

    fn check_adapter(&self, file: &Path) -> Result<(), Fault> {
        let head = Head::read(file)?;
        let file = file.to_path_buf();
        if (head.text("general.type"), head.text("adapter.type")) != (Some("adapter"), Some("lora"))
        {
            return Err(Fault::NotAnAdapter(file));
        }
        let architecture = head.text("general.architecture").unwrap_or_default();
        if architecture != self.architecture {
            let (adapter, model) = (architecture.to_string(), self.architecture.clone());
            return Err(Fault::OtherArchitecture { file, adapter, model });
        }
        for (name, a) in &head.tensors {
            if let Some(tensor) = name.strip_suffix(".lora_a") {
                let b = head.tensors.get(&format!("{tensor}.lora_b"));
                self.check_change(&file, tensor, a, b)?;
            } else if let Some(tensor) = name.strip_suffix(".lora_b")
                && !head.tensors.contains_key(&format!("{tensor}.lora_a"))
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
        a: &Tensor,
        b: Option<&Tensor>,
    ) -> Result<(), Fault> {
        let (file, tensor) = (file.to_path_buf(), tensor.to_string());
        let Some(base) = self.head.tensors.get(&tensor) else {
            return Err(Fault::NoSuchTensor { file, tensor });
        };
        let Some(b) = b else { return Err(Fault::Half { file, tensor }) };
        let (&[columns, rows, ..], &[a0, a1, ..], &[b0, b1, ..]) =
            (&base.sizes[..], &a.sizes[..], &b.sizes[..])
        else {
            return Err(Fault::OtherShape { file, tensor });
        };
        // An embedding is looked up, not multiplied: its halves change sides.
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

    fn fact(&self, name: &str) -> Result<u64, Fault> {
        let key = self.key(name);
        self.head.number(&key).ok_or_else(|| Fault::Lacks(self.file.clone(), key))
    }

    fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.architecture)
    }
}
