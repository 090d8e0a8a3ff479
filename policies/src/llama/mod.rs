//! Lets a student write: a GGUF file, with an adapter or not, run by llama.cpp
//! in a process of its own.
//!
//! [`files`] and [`memory`] say what does not fit before llama.cpp sees it,
//! [`Chat`] makes the prompt, [`child`] asks the [`engine`], and there
//! [`schedule`] puts all episodes into one context whose cells [`sequences`]
//! counts.

mod child;
mod compose;
mod engine;
mod fault;
mod files;
mod gguf;
mod grammar;
mod memory;
mod protocol;
mod schedule;
mod sequences;
mod speech;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use fixfly_runtime::{
    Action, Chat, Completion, Entry, Finish, Generation, Limit, Message, Policy, PolicyError,
    Request, Sampling, Thinking, ThinkingMode, ThinkingSwitch, ToolSpec, Usage, View, told,
};

use crate::answer::{call, thought};
use crate::{CallForm, Lora, Open, Settings};
use child::{Engine, Unanswered};
pub use engine::llama_engine;
use fault::Fault;
use files::Model;
use protocol::{Form, Refusal, Said, Say, Thought};

pub(crate) const ENTRY: Entry<Open> = Entry {
    name: "llama",
    about: "a student: a GGUF file, run by llama.cpp",
    open: Open::Model(|settings| {
        let this = || std::env::current_exe().map_err(|error| error.to_string());
        let engine = settings.student.engine.clone().map_or_else(this, Ok)?;
        llama_by(&engine, settings)
    }),
};

/// What a generation is sampled with where nothing is said: as in the thesis.
const TEMPERATURE: f64 = 0.6;
const MAX_TOKENS: u32 = 10_000;
/// How a chat template begins a thought in the model's place.
const OPENED: &str = "<think>";

/// The policy `llama`, with an engine other than this executable: one that runs
/// [`llama_engine`] when its first argument is `llama-engine`.
///
/// # Errors
/// What is wrong with the settings or their files, in one sentence.
pub fn llama_by(engine: &Path, settings: &Settings) -> Result<Box<dyn Policy>, String> {
    let mut students =
        students_by(engine, settings, std::slice::from_ref(&settings.student.loras))?;
    Ok(students.remove(0))
}

/// One policy `llama` for each of these lists of adapters, in place of the
/// settings' own. They share an engine: the model and all adapters are loaded
/// once. It speaks for one of them at a time, so ask them one after the other.
///
/// # Errors
/// What is wrong with the settings or the files, in one sentence.
pub fn students_by(
    engine: &Path,
    settings: &Settings,
    students: &[Vec<Lora>],
) -> Result<Vec<Box<dyn Policy>>, String> {
    let llama = Llama::open(engine, settings, students).map_err(|fault| fault.to_string())?;
    let one = |student| Box::new(Llama { student, ..llama.clone() }) as Box<dyn Policy>;
    Ok((0..students.len()).map(one).collect())
}

#[derive(Clone)]
struct Llama {
    model: String,
    chat: Arc<Chat>,
    engine: Arc<Engine>,
    /// Which of the engine's students speaks.
    student: usize,
    sampling: Sampling,
    thinking: Thinking,
    calls: CallForm,
    record_tokens: bool,
}

impl Llama {
    fn open(engine: &Path, settings: &Settings, students: &[Vec<Lora>]) -> Result<Self, Fault> {
        let file = PathBuf::from(settings.model.as_ref().ok_or(Fault::NoModel)?);
        let model = Model::open(&file)?;
        let load = model.load(settings, students)?;
        let chat = chat(&model, settings.student.chat_template.as_deref())?;
        let thinking = thinking(settings.thinking, &chat, &model)?;
        let engine = Engine::start(engine.to_path_buf(), load).map_err(Fault::Engine)?;
        let sampling = Sampling {
            temperature: settings.sampling.temperature.or(Some(TEMPERATURE)),
            max_tokens: settings.sampling.max_tokens.or(Some(MAX_TOKENS)),
            ..settings.sampling.clone()
        };
        let (calls, record_tokens) = (settings.calls, settings.student.record_tokens);
        Ok(Llama {
            model: model.name(),
            chat: Arc::new(chat),
            engine: Arc::new(engine),
            student: 0,
            sampling,
            thinking,
            calls,
            record_tokens,
        })
    }

    fn words(&self, said: Said, opened: bool, sampling: Sampling) -> Completion {
        let before = if opened { OPENED } else { "" };
        let (reasoning, text) = thought(&format!("{before}{}", said.text));
        let answer_at = said.text.len().saturating_sub(text.len());
        let thinks = |end: &&usize| reasoning.is_some() && **end <= answer_at;
        let reasoning_tokens = said.ends.iter().filter(thinks).count() as u64;
        Completion {
            text,
            reasoning,
            usage: Usage {
                prompt_tokens: said.prompt_tokens,
                completion_tokens: said.ends.len() as u64,
                cached_tokens: said.cached_tokens,
                reasoning_tokens,
                calls: 1,
                ..Usage::default()
            },
            generation: Generation {
                model: self.model.clone(),
                sampling,
                thinking: self.thinking,
                finish: said.finish,
                first_token_ms: Some(said.first_token_ms),
                tokens_per_second: said.tokens_per_second,
                tokens: said.tokens,
            },
        }
    }

    /// What the model says next in a conversation.
    async fn say(
        &self,
        messages: Vec<Message>,
        tools: Vec<ToolSpec>,
        episode: String,
        seed: u64,
    ) -> Result<Completion, PolicyError> {
        let messages = told(messages, self.thinking);
        let prompt = self.chat.prompt(&messages, &tools, self.thinking);
        let prompt = prompt.map_err(|why| PolicyError::Model(why.to_string()))?;
        let opened = prompt.trim_end().ends_with(OPENED);
        let thought = match (opened, self.thinking.mode) {
            (true, _) => Thought::Opened,
            (false, ThinkingMode::NoThink) => Thought::Without,
            (false, _) => Thought::Open,
        };
        let form = if tools.is_empty() { Form::Free } else { Form::Call(tools, thought) };
        let sampling = Sampling { seed: Some(seed), ..self.sampling.clone() };
        let (sampled, record_tokens) = (sampling.clone(), self.record_tokens);
        let student = self.student;
        let say = Say { id: 0, student, episode, prompt, sampling, form, record_tokens };
        match self.engine.say(say).await {
            Ok(said) => Ok(self.words(said, opened, sampled)),
            Err(Unanswered::Refused(Refusal::TooLong)) => Err(PolicyError::Spent(Limit::Context)),
            Err(Unanswered::Refused(Refusal::Form(why))) => Err(PolicyError::Model(why)),
            Err(Unanswered::Gone(how)) => Err(PolicyError::Infrastructure(how)),
        }
    }
}

#[async_trait]
impl Policy for Llama {
    async fn act(&self, view: View<'_>) -> Result<Action, PolicyError> {
        let tools = match self.calls {
            CallForm::Text => Vec::new(),
            CallForm::Native => view.specs(),
        };
        let episode = format!("{}#{}", view.task.id, view.sample);
        let seed = seed(view.seed, view.turns.len());
        let mut words = self.say(view.messages(), tools, episode, seed).await?;
        let call = call(&words.text, &view.specs(), words.generation.finish);
        if (self.calls, words.generation.finish) == (CallForm::Native, Finish::Stop) {
            words.generation.finish = Finish::ToolCall;
        }
        Ok(words.action(call))
    }

    async fn write(&self, request: Request<'_>) -> Result<Completion, PolicyError> {
        let episode = format!("{}#{}", request.name, request.sample);
        let (messages, seed) = (request.messages.to_vec(), seed(request.seed, 0));
        self.say(messages, Vec::new(), episode, seed).await
    }
}

fn chat(model: &Model, own: Option<&Path>) -> Result<Chat, Fault> {
    let (file, text) = match own {
        Some(file) => (file, std::fs::read_to_string(file)),
        None => {
            let text = model.head.text("tokenizer.chat_template");
            let text = text.ok_or_else(|| Fault::NoTemplate(model.file.clone()))?;
            (&*model.file, Ok(text.to_string()))
        }
    };
    let text = text.map_err(|error| Fault::Unreadable(file.to_path_buf(), error.to_string()))?;
    let token = |name| model.head.token(name).unwrap_or_default();
    let (bos, eos) = (token("tokenizer.ggml.bos_token_id"), token("tokenizer.ggml.eos_token_id"));
    Chat::new(&text, bos, eos).map_err(|why| Fault::Template(file.to_path_buf(), why.to_string()))
}

/// By the template where nothing is said and the template can be told.
fn thinking(asked: Thinking, chat: &Chat, model: &Model) -> Result<Thinking, Fault> {
    let told_by = match (asked.mode, asked.told_by) {
        (ThinkingMode::Unsaid, by) => by,
        (_, ThinkingSwitch::Template) if !chat.has_switch() => {
            return Err(Fault::NoSwitch(model.file.clone()));
        }
        (_, ThinkingSwitch::None) if chat.has_switch() => ThinkingSwitch::Template,
        (_, by) => by,
    };
    Ok(Thinking { told_by, ..asked })
}

/// Another one for each turn. Llama.cpp's seeds have 32 bits, and it takes the
/// largest for a wish to be random.
fn seed(seed: u64, turn: usize) -> u64 {
    let mixed = seed.wrapping_add(turn as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed >> 33
}
