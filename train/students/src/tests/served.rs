//! Compares the loss of a row with that of llama.cpp on the same GGUF file and adapter.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};

use candle_core::quantized::GgmlDType;
use candle_core::safetensors;
use tempfile::TempDir;

use super::gguf::{FORMATS, bases};
use super::{learn, loaded, settings, with_adapter};
use crate::model::Chunks;
use crate::rows::Row;
use crate::settings::{BaseDtype, Method};
use crate::{export, gguf_adapter};

/// Letters of the row; each is one token.
const LENGTH: usize = 64;

/// The largest relative difference of the loss. llama.cpp's products round activations to the
/// type of the weights, or to 8 bits where those are quantised. Measured: 9e-8, 1e-4, 1.1e-3
/// and 4.2e-3; random weights multiply each rounding.
fn bound(format: GgmlDType) -> f64 {
    match format {
        GgmlDType::F32 => 1e-6,
        GgmlDType::F16 => 3e-4,
        GgmlDType::BF16 => 3e-3,
        _ => 1e-2,
    }
}

fn row() -> Row {
    let tokens = (0..LENGTH).map(|at| ((at * 7 + at * at * 3) % 60) as u32).collect();
    Row { id: "row".into(), tokens, loss: vec![[0, LENGTH]] }
}

/// The mean loss of the row's tokens, on a quantised base with an adapter. Writes what
/// llama.cpp needs into `output`.
fn trained(folder: &Path, output: &Path, kind: &str, format: GgmlDType) -> f64 {
    let (file, _) = bases(folder, kind, format);
    let settings = settings(Method::Lora);
    let model = loaded(&file, &settings, Chunks::default(), BaseDtype::Quantized);
    let model = with_adapter(model, &settings);
    let adapter = folder.join(format!("{kind}-adapter"));
    fs::create_dir_all(&adapter).unwrap();
    export::adapter_config(&adapter, &file, &settings).unwrap();
    let learned = model.params.all().iter().map(|one| (one.name.clone(), one.value.clone()));
    let learned: HashMap<_, _> = learned.collect();
    safetensors::save(&learned, adapter.join("adapter_model.safetensors")).unwrap();
    let name = format!("{kind}-{format:?}");
    gguf_adapter(&adapter, None, &output.join(format!("{name}.lora.gguf"))).unwrap();
    fs::copy(&file, output.join(format!("{name}.gguf"))).unwrap();
    learn(&model, &[row()], LENGTH, 0.0).0
}

/// `scripts/goldens/llama_cpp` names a folder for the files and has llama.cpp read them.
#[test]
fn a_row_has_the_loss_that_llama_cpp_gives_it() {
    let golden = include_str!("../goldens/llama_cpp.json");
    let golden: BTreeMap<String, f64> = serde_json::from_str(golden).unwrap();
    let folder = TempDir::new().unwrap();
    let named = std::env::var_os("FIXFLY_GOLDEN_MODELS").map(PathBuf::from);
    let output = named.as_deref().unwrap_or(folder.path());
    let text: String = row().tokens.iter().map(|at| char::from(b'!' + *at as u8)).collect();
    fs::write(output.join("row.txt"), text).unwrap();
    let mut off = Vec::new();
    for kind in ["llama", "qwen2", "qwen3"] {
        for format in FORMATS {
            let name = format!("{kind}-{format:?}");
            let loss = trained(folder.path(), output, kind, format);
            let served = golden.get(&name).copied().unwrap_or(f64::NAN);
            let apart = (loss / served - 1.0).abs();
            if named.is_some() || apart.is_nan() || apart > bound(format) {
                off.push(format!("{name}: {loss}, {served} in llama.cpp, {apart:.1e} apart"));
            }
        }
    }
    assert!(named.is_some() || off.is_empty(), "{}", off.join("\n"));
    if named.is_some() {
        fs::write(output.join("losses.txt"), off.join("\n")).unwrap();
    }
}
