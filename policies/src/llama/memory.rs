//! Checks how much fits into memory before llama.cpp allocates it.

use llama_cpp_2::{LlamaBackendDevice, LlamaBackendDeviceType, list_llama_ggml_backend_devices};

use super::protocol::Load;
use super::sequences::Layout;

/// Share of the memory left beside the model that the cache may use.
const SHARE: f64 = 0.5;
/// Maximum sequences of one context; llama.cpp's own limit.
const SEQUENCES: usize = 256;
/// llama.cpp rounds the cells of a stream up to a multiple of this.
const STREAM_UNIT: u64 = 256;

/// The size of a KV cache.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct CacheSize {
    pub(super) layout: Layout,
    pub(super) sequences: usize,
    /// Cells of all sequences together.
    pub(super) cells: u32,
}

impl CacheSize {
    /// The same cells in a unified cache. Two more sequences than episodes keep what an
    /// episode that has ended shares with the next one.
    pub(super) fn unified(self, load: &Load) -> Self {
        let sequences = (load.episodes + 2).min(SEQUENCES);
        CacheSize { layout: Layout::Unified, sequences, ..self }
    }
}

/// The size of the cache: a stream with a full context for each episode if that fits,
/// otherwise a unified cache of as many cells as fit, at least one full context.
pub(super) fn cache_size(load: &Load) -> Result<CacheSize, String> {
    let loras = load.students.iter().flatten();
    let files = loras.map(|lora| &lora.file).chain([&load.model]);
    let model = files.filter_map(|file| file.metadata().ok()).map(|file| file.len()).sum();
    fit(load, model, free(load.gpu_layers != Some(0)))
}

fn fit(load: &Load, model: u64, free: Option<u64>) -> Result<CacheSize, String> {
    let window = u64::from(load.context_length);
    let sequences = load.episodes.clamp(1, SEQUENCES);
    let free = free.unwrap_or(u64::MAX);
    let cache = window.saturating_mul(load.token_bytes);
    if model.saturating_add(cache) > free {
        return Err(format!(
            "{} takes {} and its cache for {window} tokens takes {}, but {} are free: \
             give a smaller --ctx-size or another --kv-cache-dtype",
            load.model.display(),
            gibibytes(model),
            gibibytes(cache),
            gibibytes(free),
        ));
    }
    let fits = ((free - model) as f64 * SHARE) as u64 / load.token_bytes.max(1);
    let limit = u64::from(i32::MAX.cast_unsigned());
    let most = fits.min(limit);
    let streams = window.next_multiple_of(STREAM_UNIT) * sequences as u64;
    let (layout, cells) = match streams <= most && !load.unified_cache {
        true => (Layout::Streams, streams),
        false => (Layout::Unified, (window * load.episodes.max(1) as u64).min(most).max(window)),
    };
    let cells = u32::try_from(cells.min(limit)).unwrap_or(u32::MAX);
    let size = CacheSize { layout, sequences, cells };
    Ok(if layout == Layout::Streams { size } else { size.unified(load) })
}

/// Whether llama.cpp finds a GPU.
pub(super) fn has_gpu() -> bool {
    gpus().next().is_some()
}

fn gpus() -> impl Iterator<Item = LlamaBackendDevice> {
    let devices = list_llama_ggml_backend_devices().into_iter();
    devices.filter(|device| device.device_type == LlamaBackendDeviceType::Gpu)
}

/// Free bytes on the device that runs the model, if they are known.
fn free(on_gpu: bool) -> Option<u64> {
    match gpus().map(|device| device.memory_free as u64).sum() {
        bytes if on_gpu && bytes > 0 => Some(bytes),
        _ => available(&std::fs::read_to_string("/proc/meminfo").ok()?),
    }
}

fn available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

fn gibibytes(bytes: u64) -> String {
    format!("{:.1} GiB", bytes as f64 / f64::from(1 << 30))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::KvType;

    const GIB: u64 = 1 << 30;

    fn load(context_length: u32, episodes: usize) -> Load {
        Load {
            model: "m.gguf".into(),
            students: Vec::new(),
            gpu_layers: None,
            threads: None,
            kv_type: KvType::F16,
            context_length,
            episodes,
            token_bytes: 1 << 10,
            unified_cache: false,
            speculation: None,
        }
    }

    #[test]
    fn every_episode_gets_its_window_while_there_is_room() {
        let check = |window, episodes, free, (layout, sequences, cells)| {
            let size = CacheSize { layout, sequences, cells };
            assert_eq!(fit(&load(window, episodes), GIB, free), Ok(size));
        };
        check(1000, 8, Some(8 * GIB), (Layout::Streams, 8, 8 * 1024));
        check(1000, 0, None, (Layout::Streams, 1, 1024));
        check(1000, 300, None, (Layout::Streams, 256, 256 * 1024));
        check(1 << 20, 2, Some(5 * GIB), (Layout::Streams, 2, 2 << 20));
        check(1 << 20, 8, Some(5 * GIB), (Layout::Unified, 10, 2 << 20));
        check(1 << 20, 8, Some(2 * GIB), (Layout::Unified, 10, 1 << 20));
        check(1 << 24, 300, None, (Layout::Unified, 256, i32::MAX.cast_unsigned()));
        let shared = Load { unified_cache: true, ..load(1000, 2) };
        let size = CacheSize { layout: Layout::Unified, sequences: 4, cells: 2000 };
        assert_eq!(fit(&shared, GIB, None), Ok(size));
    }

    #[test]
    fn a_model_that_does_not_fit_is_refused_in_a_sentence() {
        assert_eq!(
            fit(&load(1 << 20, 1), 4 * GIB, Some(4 * GIB)),
            Err("m.gguf takes 4.0 GiB and its cache for 1048576 tokens takes 1.0 GiB, but \
                 4.0 GiB are free: give a smaller --ctx-size or another --kv-cache-dtype"
                .into())
        );
    }

    #[test]
    fn what_is_available_is_read_from_the_kernel() {
        assert_eq!(available("MemFree: 1 kB\nMemAvailable:    3 kB\n"), Some(3072));
        assert_eq!(available(""), None);
    }
}
