//! A student as an export reads it: an adapter or a whole model.

use std::fs;
use std::path::{Path, PathBuf};

use fixfly_runtime::GgufHeader;

use super::adapter::{Adapter, base_of};
use super::gguf::{check_blocks, write_named};
use super::{ExportDtype, gguf_adapter, gguf_model, merge};
use crate::base_model::Base;
use crate::checkpoint::{checkpoints, choose};
use crate::error::TrainError;
use crate::record::Record;
use crate::settings::Method;

/// A student to export.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Student {
    /// An adapter.
    Adapter {
        /// Its folder.
        folder: PathBuf,
        /// Its base model, if it is known: a folder or a GGUF file.
        base: Option<PathBuf>,
    },
    /// A whole model: its folder, or a GGUF file.
    Model(PathBuf),
}

impl Student {
    /// The chosen checkpoint of a training, a checkpoint, or a folder of another program.
    /// `base` replaces the base model that the training recorded.
    ///
    /// # Errors
    /// [`TrainError::Export`] if a training has no checkpoint yet; other variants if its
    /// files cannot be read.
    pub fn open(from: &Path, base: Option<&Path>) -> Result<Student, TrainError> {
        let (mut folder, mut base) = (from.to_path_buf(), base.map(Path::to_path_buf));
        if folder.join("train.json").is_file() {
            let record = Record::open(&folder)?;
            let all = checkpoints(&folder)?;
            let Some(chosen) = choose(&all) else {
                let shown = folder.display();
                return Err(TrainError::Export(format!(
                    "{shown} has no checkpoint yet; finish its training first"
                )));
            };
            folder = chosen.folder.clone();
            if base.is_none() && record.settings.method == Method::Lora {
                check_same(&record)?;
            }
            base = base.or(Some(PathBuf::from(record.base)));
        }
        Ok(match folder.join("adapter_config.json").is_file() {
            true => Student::Adapter { folder, base },
            false => Student::Model(folder),
        })
    }

    /// Writes a GGUF file: of the adapter, or of the whole model if `whole`.
    ///
    /// # Errors
    /// [`TrainError`] if the student cannot be read, or the file not written.
    pub fn gguf(&self, file: &Path, dtype: ExportDtype, whole: bool) -> Result<(), TrainError> {
        match self {
            Student::Model(model) if GgufHeader::is_gguf(model) => {
                self.rounded_once(model, file, dtype)
            }
            Student::Model(folder) => gguf_model(folder, file, dtype),
            Student::Adapter { folder, base } if !whole => {
                gguf_adapter(folder, base.as_deref(), file)
            }
            Student::Adapter { folder, base } => {
                let adapter = Adapter::open(folder)?;
                let base = base_of(base.as_deref(), Some(&adapter))?;
                self.rounded_once(base, file, dtype)
            }
        }
    }

    /// Writes a GGUF file by way of a folder. Dequantised weights are f32 in it, so that they are
    /// rounded once, when the file is written.
    fn rounded_once(&self, base: &Path, file: &Path, dtype: ExportDtype) -> Result<(), TrainError> {
        check_blocks(Base::open(base)?.config(), dtype)?;
        let folder = file.with_extension("merging");
        let exact = GgufHeader::is_gguf(base).then_some(ExportDtype::F32);
        let name = file.file_stem().unwrap_or_default().to_string_lossy();
        let made = self
            .safetensors(&folder, exact)
            .and_then(|()| write_named(&folder, &name, file, dtype));
        let removed = fs::remove_dir_all(&folder).map_err(TrainError::io("remove", &folder));
        made.and(removed)
    }

    /// Writes the folder of the whole model, with the adapter merged into its weights.
    ///
    /// # Errors
    /// [`TrainError`] if the student cannot be read, or the folder not written, or not in `dtype`.
    pub fn safetensors(&self, output: &Path, dtype: Option<ExportDtype>) -> Result<(), TrainError> {
        match self {
            Student::Model(folder) => merge(Some(folder), None, output, dtype),
            Student::Adapter { folder, base } => {
                merge(base.as_deref(), Some(folder), output, dtype)
            }
        }
    }
}

/// Refuses a base model that is no longer the one of a training. One that cannot be read is
/// refused where it is needed.
fn check_same(record: &Record) -> Result<(), TrainError> {
    let base = Path::new(&record.base);
    match Base::open(base).and_then(|base| base.hash()) {
        Ok(hash) if hash != record.base_config => Err(TrainError::Export(format!(
            "{} is another model than the one that the adapter was trained on; name that one with --base",
            base.display()
        ))),
        _ => Ok(()),
    }
}

/// Copies an adapter's files for peft.
///
/// # Errors
/// [`TrainError::Io`] if a file cannot be copied.
pub fn peft(adapter: &Path, output: &Path) -> Result<(), TrainError> {
    fs::create_dir_all(output).map_err(TrainError::io("make", output))?;
    for name in ["adapter_config.json", "adapter_model.safetensors"] {
        let (from, to) = (adapter.join(name), output.join(name));
        fs::copy(&from, &to).map_err(TrainError::io("copy", &from))?;
    }
    Ok(())
}
