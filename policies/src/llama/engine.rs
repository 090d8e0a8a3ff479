//! The engine: a process of its own, since llama.cpp ends its process where a
//! contract is broken. It reads calls and answers them until its input ends.

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
use super::memory;
use super::protocol::{Answer, Ask, Load, Refusal, Say};
use super::schedule::{Row, Schedule};
use super::sequences::{Cache, Sequences};
use super::speech::Speech;
use crate::{KvType, Lora};

/// Tokens of one batch at most.
const BATCH: u32 = 512;
/// Sequences of one context at most; llama.cpp's own limit.
const SEQUENCES: usize = 256;
/// llama.cpp's words for when flash attention is used: where it can be.
const FLASH: i32 = -1;
/// Never: it is fast and skips what other sequences hold, but on a CPU its
/// numbers for a prompt and for single tokens differ by much more than rounding.
const NO_FLASH: i32 = 0;

/// What the hidden command `llama-engine` does: answers the calls of the policy
/// that started it, line by line, until its standard input ends. `before` comes
/// before llama.cpp, and may say why there is no going on.
pub fn llama_engine(before: impl FnOnce() -> Result<(), String>) {
    let (heard, asks) = channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            let Ok(ask) = serde_json::from_str(&line) else { break };
            if heard.send(ask).is_err() {
                break;
            }
        }
        // Whoever asked is gone, and a long batch may be under way.
        std::process::exit(0);
    });
    if let Ok(Ask::Load(load)) = asks.recv()
        && let Err(why) = before().and_then(|()| serve(&load, &asks))
    {
        tell(&Answer::Failed(why));
    }
}

fn tell(answer: &Answer) {
    let told = serde_json::to_string(answer).map(|line| writeln!(std::io::stdout(), "{line}"));
    if !matches!(told, Ok(Ok(()))) {
        std::process::exit(1);
    }
}

/// Loads the model and answers until it cannot any more; says why in a sentence.
fn serve(load: &Load, asks: &Receiver<Ask>) -> Result<(), String> {
    let mut backend = LlamaBackend::init().map_err(|error| format!("llama.cpp: {error}"))?;
    backend.void_logs();
    let cells = memory::cells(load)?;
    let layers = load.gpu_layers.unwrap_or(i32::MAX.cast_unsigned());
    let params = LlamaModelParams::default().with_n_gpu_layers(layers);
    let file = load.model.display();
    let mut model = LlamaModel::load_from_file(&backend, &load.model, &params)
        .map_err(|error| format!("{file}: llama.cpp cannot load it: {error}"))?;
    let adapters = load.students.iter().map(|loras| adapter(loras, &mut model));
    let adapters = adapters.collect::<Result<Vec<_>, _>>()?;
    let sequences = (load.episodes + 2).min(SEQUENCES);
    let params = context_params(load, cells, sequences)?;
    let context = model
        .new_context(&backend, params)
        .map_err(|error| format!("{file}: llama.cpp makes no context of it: {error}"))?;
    let cuts = !model.is_recurrent() && !model.is_hybrid();
    let sequences = Sequences::new(sequences, context.n_ctx() as usize, cuts);
    let mut kept = Kept { context, adapters };
    for student in (0..load.students.len()).rev() {
        kept.put_on(student).map_err(|why| format!("the adapter does not fit {file}: {why}"))?;
    }
    tell(&Answer::Ready);
    Engine {
        model: &model,
        kept,
        window: load.window as usize,
        schedule: Schedule::new(sequences, BATCH as usize),
        speeches: HashMap::new(),
    }
    .work(asks)
}

/// An adapter and what its change is multiplied by; none for the model itself.
type Adapter = Option<(LlamaLoraAdapter, f32)>;

/// What all adapters of a student together change: a context takes one, for all
/// its sequences.
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

fn context_params(load: &Load, cells: u32, sequences: usize) -> Result<LlamaContextParams, String> {
    let threads = match load.threads {
        Some(threads) => threads as usize,
        None => std::thread::available_parallelism().map_or(1, Into::into),
    };
    let threads = i32::try_from(threads).map_err(|_| "so many threads cannot be".to_string())?;
    let numbers = match load.kv_type {
        KvType::F32 => KvCacheType::F32,
        KvType::F16 => KvCacheType::F16,
        KvType::Q8_0 => KvCacheType::Q8_0,
        KvType::Q4_0 => KvCacheType::Q4_0,
    };
    // Who asks for the widest numbers asks for exactness.
    let flash = if load.kv_type == KvType::F32 { NO_FLASH } else { FLASH };
    Ok(LlamaContextParams::default()
        .with_n_ctx(NonZeroU32::new(cells))
        .with_n_batch(BATCH)
        .with_n_ubatch(BATCH)
        .with_n_seq_max(sequences as u32)
        .with_n_threads(threads)
        .with_n_threads_batch(threads)
        .with_type_k(numbers)
        .with_type_v(numbers)
        .with_flash_attention_policy(flash)
        .with_swa_full(true)
        // Else cells are dealt out to sequences, and no beginning can be shared.
        .with_kv_unified(true))
}

struct Engine<'m> {
    model: &'m LlamaModel,
    kept: Kept<'m>,
    window: usize,
    schedule: Schedule,
    speeches: HashMap<u64, Speech>,
}

impl Engine<'_> {
    fn work(mut self, asks: &Receiver<Ask>) -> Result<(), String> {
        let mut batch = LlamaBatch::new(BATCH as usize, 1);
        while self.hear(asks) {
            let rows = self.schedule.next(&mut self.kept);
            if !rows.is_empty() {
                self.step(&mut batch, &rows)?;
            }
        }
        Ok(())
    }

    /// Takes what was asked meanwhile, or waits for it where there is nothing
    /// else to do; false where nobody will ask any more.
    fn hear(&mut self, asks: &Receiver<Ask>) -> bool {
        loop {
            let ask = match self.schedule.idle() {
                true => asks.recv().map_err(|_| TryRecvError::Disconnected),
                false => asks.try_recv(),
            };
            match ask {
                Ok(Ask::Say(say)) => self.begin(say),
                Ok(Ask::Permit(id)) => self.leave(id),
                Ok(Ask::Load(_)) | Err(TryRecvError::Disconnected) => return false,
                Err(TryRecvError::Empty) => return true,
            }
        }
    }

    fn begin(&mut self, say: Say) {
        let prompt = self.model.vocab().tokenize(say.prompt.as_bytes(), false, true);
        let begun = match prompt.is_empty() {
            true => Err(Refusal::Form("the prompt is empty".into())),
            false => Speech::new(&say, self.model, prompt.len(), self.window),
        };
        match begun {
            Ok(speech) => {
                self.speeches.insert(say.id, speech);
                let prompt = prompt.into_iter().map(|token| token.0).collect();
                self.schedule.ask(say.id, say.student, say.episode, prompt);
            }
            Err(refusal) => tell(&Answer::Not(say.id, refusal)),
        }
    }

    fn leave(&mut self, id: u64) {
        if self.speeches.remove(&id).is_some() {
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
        self.kept.context.decode(batch).map_err(|error| broken(&error))?;
        for (at, row) in rows.iter().enumerate().filter(|(_, row)| row.last) {
            let Some(speech) = self.speeches.get_mut(&row.job) else { continue };
            match speech.hear(self.model, &self.kept.context, at as i32) {
                Ok(token) => self.schedule.said(row.job, token.0),
                Err(finish) => {
                    let cached = self.schedule.end(row.job);
                    if let Some(speech) = self.speeches.remove(&row.job) {
                        tell(&Answer::Said(row.job, speech.said(finish, cached)));
                    }
                }
            }
        }
        Ok(())
    }
}

/// The cache of a context. It is unified, so that any range may be shared, and
/// the numbers of sequences are those it was made for: anything else would end
/// the process.
struct Kept<'m> {
    context: LlamaContext<'m>,
    /// Of each student.
    adapters: Vec<Adapter>,
}

impl Kept<'_> {
    /// The context speaks for this student from now on.
    fn put_on(&mut self, student: usize) -> Result<(), String> {
        let Kept { context, adapters } = self;
        // What is taken off does not matter: llama.cpp takes all off.
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

impl Cache for Kept<'_> {
    fn cut(&mut self, sequence: usize, from: usize) {
        let cut = self.context.clear_kv_cache_seq(Some(sequence as u32), Some(from as u32), None);
        assert!(matches!(cut, Ok(true)), "the cache cannot be cut at {from}: {cut:?}");
    }

    fn share(&mut self, from: usize, to: usize, length: usize) {
        let all = (Some(0), Some(length as u32));
        let shared = self.context.kv_cache_seq_cp(from as i32, to as i32, all.0, all.1);
        assert!(shared.is_ok(), "the cache cannot be shared up to {length}: {shared:?}");
    }

    fn turn_to(&mut self, student: usize) {
        let turned = self.put_on(student);
        assert!(turned.is_ok(), "another adapter cannot be put on: {turned:?}");
    }
}
