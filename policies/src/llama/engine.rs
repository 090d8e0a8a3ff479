//! The engine: a process of its own, because llama.cpp aborts its process when an
//! assertion fails. It reads calls and answers them until its input ends.

use std::collections::HashMap;
use std::io::{BufRead, Write};
use std::num::NonZeroU32;
use std::sync::mpsc::{Receiver, TryRecvError, channel};

use llama_cpp_2::context::LlamaContext;
use llama_cpp_2::context::params::{KvCacheType, LlamaContextParams};
use llama_cpp_2::llama_backend::LlamaBackend;
use llama_cpp_2::llama_batch::LlamaBatch;
use llama_cpp_2::model::params::LlamaModelParams;
use llama_cpp_2::model::{LlamaLoraAdapter, LlamaModel};
use llama_cpp_2::token::LlamaToken;

use super::compose::compose;
use super::generator::Generator;
use super::memory::{self, CacheSize};
use super::protocol::{FromEngine, GenerateRequest, Load, Refusal, ToEngine};
use super::schedule::{Row, Schedule};
use super::sequences::{Cache, Layout, Sequences};
use crate::{KvType, Lora};

/// Maximum tokens of one batch.
const BATCH: u32 = 512;
/// llama.cpp's value for "use flash attention where possible".
const FLASH: i32 = -1;
/// llama.cpp's value for "never". Flash attention skips the cells of other sequences, but on
/// a CPU its results for a prompt and for single tokens differ by much more than rounding.
const NO_FLASH: i32 = 0;

/// The hidden command `llama-engine`: answers the calls of the policy that started
/// it, line by line, until its standard input ends. `before` runs before llama.cpp
/// starts and can return an error.
pub fn llama_engine(before: impl FnOnce() -> Result<(), String>) {
    let (sender, messages) = channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            let Ok(message) = serde_json::from_str(&line) else { break };
            if sender.send(message).is_err() {
                break;
            }
        }
        // The policy has ended; do not wait for a long batch to finish.
        std::process::exit(0);
    });
    if let Ok(ToEngine::Load(load)) = messages.recv()
        && let Err(why) = before().and_then(|()| serve(&load, &messages))
    {
        send(&FromEngine::Failed(why));
    }
}

#[expect(clippy::disallowed_methods, reason = "a protocol between processes, in JSON")]
fn send(answer: &FromEngine) {
    let sent = serde_json::to_string(answer).map(|line| writeln!(std::io::stdout(), "{line}"));
    if !matches!(sent, Ok(Ok(()))) {
        std::process::exit(1);
    }
}

/// Loads the model and answers calls. An error states in one sentence why it stopped.
fn serve(load: &Load, messages: &Receiver<ToEngine>) -> Result<(), String> {
    let mut backend = LlamaBackend::init().map_err(|error| format!("llama.cpp: {error}"))?;
    backend.void_logs();
    let size = memory::cache_size(load)?;
    let layers = load.gpu_layers.unwrap_or(i32::MAX.cast_unsigned());
    let params = LlamaModelParams::default().with_n_gpu_layers(layers);
    let file = load.model.display();
    let mut model = LlamaModel::load_from_file(&backend, &load.model, &params)
        .map_err(|error| format!("{file}: llama.cpp cannot load it: {error}"))?;
    let adapters = load.students.iter().map(|loras| adapter(loras, &mut model));
    let adapters = adapters.collect::<Result<Vec<_>, _>>()?;
    let cuts = !model.is_recurrent() && !model.is_hybrid();
    let size = if cuts { size } else { size.unified(load) };
    let params = context_params(load, size)?;
    let context = model
        .new_context(&backend, params)
        .map_err(|error| format!("{file}: llama.cpp makes no context of it: {error}"))?;
    let cells = context.n_ctx() as usize;
    let sequences = Sequences::new(size.layout, size.sequences, cells, cuts);
    let mut cache = ContextCache { context, layout: size.layout, adapters };
    for student in (0..load.students.len()).rev() {
        cache.activate(student).map_err(|why| format!("the adapter does not fit {file}: {why}"))?;
    }
    let draft = load.speculation.unwrap_or(0);
    send(&FromEngine::Ready);
    Engine {
        model: &model,
        cache,
        context_length: load.context_length as usize,
        schedule: Schedule::new(sequences, BATCH as usize, draft as usize),
        generators: HashMap::new(),
    }
    .work(messages)
}

/// An adapter and its scale; `None` for the base model.
type Adapter = Option<(LlamaLoraAdapter, f32)>;

/// One adapter with the effect of all adapters of a student: a context takes only
/// one, for all its sequences.
fn adapter(loras: &[Lora], model: &mut LlamaModel) -> Result<Adapter, String> {
    let cannot = |name: &dyn std::fmt::Display, error: &dyn std::fmt::Display| {
        format!("{name}: llama.cpp cannot load this adapter: {error}")
    };
    match loras {
        [] => Ok(None),
        [lora] => {
            let adapter = model.lora_adapter_init(&lora.file);
            let adapter = adapter.map_err(|error| cannot(&lora.file.display(), &error))?;
            Ok(Some((adapter, lora.scale)))
        }
        loras => {
            let sum = tempfile::NamedTempFile::new();
            let mut sum = sum.map_err(|error| format!("a temporary file: {error}"))?;
            compose(loras, sum.as_file_mut())?;
            let adapter = model.lora_adapter_init(sum.path());
            let adapter = adapter.map_err(|error| cannot(&"the sum of adapters", &error))?;
            Ok(Some((adapter, 1.0)))
        }
    }
}

fn context_params(load: &Load, size: CacheSize) -> Result<LlamaContextParams, String> {
    let threads = match load.threads {
        Some(threads) => threads as usize,
        None => std::thread::available_parallelism().map_or(1, Into::into),
    };
    let threads = i32::try_from(threads).map_err(|_| "so many threads cannot be".to_string())?;
    let cache_type = match load.kv_type {
        KvType::F32 => KvCacheType::F32,
        KvType::F16 => KvCacheType::F16,
        KvType::Q8_0 => KvCacheType::Q8_0,
        KvType::Q4_0 => KvCacheType::Q4_0,
    };
    let on_cpu = load.gpu_layers == Some(0) || !memory::has_gpu();
    let flash = match load.kv_type {
        // A cache of f32 means that exact results matter.
        KvType::F32 => NO_FLASH,
        // A stream holds one episode, so there are no other cells to skip, and for single
        // tokens llama.cpp's flash attention on a CPU is the slower one.
        KvType::F16 if on_cpu && size.layout == Layout::Streams => NO_FLASH,
        _ => FLASH,
    };
    Ok(LlamaContextParams::default()
        .with_n_ctx(NonZeroU32::new(size.cells))
        .with_n_batch(BATCH)
        .with_n_ubatch(BATCH)
        .with_n_seq_max(size.sequences as u32)
        .with_n_threads(threads)
        .with_n_threads_batch(threads)
        .with_type_k(cache_type)
        .with_type_v(cache_type)
        .with_flash_attention_policy(flash)
        .with_swa_full(true)
        .with_kv_unified(size.layout == Layout::Unified))
}

struct Engine<'m> {
    model: &'m LlamaModel,
    cache: ContextCache<'m>,
    context_length: usize,
    schedule: Schedule,
    generators: HashMap<u64, Generator>,
}

impl Engine<'_> {
    fn work(mut self, messages: &Receiver<ToEngine>) -> Result<(), String> {
        let mut batch = LlamaBatch::new(BATCH as usize, 1);
        let mut reported = 0;
        while self.receive(messages) {
            let rows = self.schedule.next(&mut self.cache);
            let waiting = self.schedule.waiting_for_cells();
            if waiting != reported {
                send(&FromEngine::Waiting(waiting));
                reported = waiting;
            }
            if !rows.is_empty() {
                self.step(&mut batch, &rows)?;
            }
        }
        Ok(())
    }

    /// Handles all messages that have arrived, and waits for one if there is nothing
    /// to do. Returns false once no more can arrive.
    fn receive(&mut self, messages: &Receiver<ToEngine>) -> bool {
        loop {
            let message = match self.schedule.idle() {
                true => messages.recv().map_err(|_| TryRecvError::Disconnected),
                false => messages.try_recv(),
            };
            match message {
                Ok(ToEngine::Generate(request)) => self.begin(request),
                Ok(ToEngine::Cancel(id)) => self.cancel(id),
                Ok(ToEngine::Load(_)) | Err(TryRecvError::Disconnected) => return false,
                Err(TryRecvError::Empty) => return true,
            }
        }
    }

    fn begin(&mut self, request: GenerateRequest) {
        let prompt = self.model.vocab().tokenize(request.prompt.as_bytes(), false, true);
        let started = match prompt.is_empty() {
            true => Err(Refusal::Grammar("the prompt is empty".into())),
            false => Generator::new(&request, self.model, prompt.len(), self.context_length),
        };
        match started {
            Ok(generator) => {
                self.generators.insert(request.id, generator);
                let prompt = prompt.into_iter().map(|token| token.0).collect();
                self.schedule.add(request.id, request.student, request.episode, prompt);
            }
            Err(refusal) => send(&FromEngine::Refused(request.id, refusal)),
        }
    }

    fn cancel(&mut self, id: u64) {
        if self.generators.remove(&id).is_some() {
            self.schedule.end(id);
        }
    }

    fn step(&mut self, batch: &mut LlamaBatch<'_>, rows: &[Row]) -> Result<(), String> {
        let broken = |error: &dyn std::fmt::Display| format!("llama.cpp: {error}");
        batch.clear();
        for row in rows {
            let (position, sequence) = (row.position as i32, row.sequence as i32);
            batch
                .add(LlamaToken(row.token), position, &[sequence], row.last)
                .map_err(|error| broken(&error))?;
        }
        self.cache.context.decode(batch).map_err(|error| broken(&error))?;
        // The generation whose further rows follow a draft that was rejected. The rows of a
        // generation are neighbours.
        let mut rejected = None;
        for (at, row) in rows.iter().enumerate().filter(|(_, row)| row.last) {
            if rejected == Some(row.job) {
                continue;
            }
            let Some(generator) = self.generators.get_mut(&row.job) else { continue };
            match generator.next_token(self.model, &self.cache.context, at as i32) {
                Ok(token) => {
                    let is_accepted = self.schedule.push_token(row.job, token.0);
                    rejected = (!is_accepted).then_some(row.job);
                }
                Err(finish) => {
                    let counts = self.schedule.end(row.job);
                    if let Some(generator) = self.generators.remove(&row.job) {
                        send(&FromEngine::Generated(row.job, generator.finish(finish, counts)));
                    }
                }
            }
        }
        Ok(())
    }
}

/// A context and its KV cache. The sequence ids must be below the number it was made
/// for: llama.cpp would abort the process otherwise.
struct ContextCache<'m> {
    context: LlamaContext<'m>,
    layout: Layout,
    /// The adapter of each student.
    adapters: Vec<Adapter>,
}

impl ContextCache<'_> {
    /// Makes the context use this student's adapter.
    fn activate(&mut self, student: usize) -> Result<(), String> {
        let ContextCache { context, adapters, .. } = self;
        // llama.cpp removes all adapters, whichever one is given.
        if let Some((any, _)) = adapters.iter_mut().flatten().next() {
            context.lora_adapter_remove(any).map_err(|error| error.to_string())?;
        }
        match &mut adapters[student] {
            Some((adapter, scale)) => context.lora_adapter_set(adapter, *scale),
            None => return Ok(()),
        }
        .map_err(|error| error.to_string())
    }
}

impl Cache for ContextCache<'_> {
    fn cut(&mut self, sequence: usize, from: usize) {
        let cut = self.context.clear_kv_cache_seq(Some(sequence as u32), Some(from as u32), None);
        assert!(matches!(cut, Ok(true)), "the cache cannot be cut at {from}: {cut:?}");
    }

    fn share(&mut self, from: usize, to: usize, length: usize) {
        // llama.cpp shares any range within a unified cache, and aborts if it is asked to
        // copy a part of a stream to another one.
        let end = match self.layout {
            Layout::Unified => Some(length as u32),
            Layout::Streams => None,
        };
        let shared = self.context.kv_cache_seq_cp(from as i32, to as i32, Some(0), end);
        assert!(shared.is_ok(), "the cache cannot be shared up to {length}: {shared:?}");
        if self.layout == Layout::Streams {
            self.cut(to, length);
        }
    }

    fn switch_to(&mut self, student: usize) {
        let switched = self.activate(student);
        assert!(switched.is_ok(), "another adapter cannot be put on: {switched:?}");
    }
}
