//! The policy `llama`: a GGUF file, with or without adapters, that llama.cpp runs in
//! a process of its own.
//!
//! [`files`] and [`memory`] refuse what does not fit before llama.cpp loads it,
//! [`Chat`] makes the prompt, and [`child`] sends it to the [`engine`]. There
//! [`schedule`] puts all episodes into one context, and [`sequences`] counts its
//! cells; [`speculation`] guesses the tokens that a prompt already has. [`sampler`] draws
//! the tokens; [`exclusion`] keeps answers from being repeated.

mod child;
mod compose;
mod engine;
mod exclusion;
mod fault;
mod files;
mod generator;
mod grammar;
mod memory;
mod protocol;
mod sampler;
mod schedule;
mod sequences;
mod speculation;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use fixfly_runtime::{
    Action, Chat, ChatTemplates, Completion, Entry, Finish, Generation, Limit, Message, Policy,
    PolicyError, Request, Resource, Role, Sampling, Speculation, Thinking, ThinkingMode,
    ThinkingSwitch, ToolSpec, Usage, View, with_thinking_switch,
};

use crate::answer::{read, split_reasoning};
use crate::calls::ReadCall;
use crate::{CallForm, Lora, Open, Settings};
use child::{CallError, Engine};
pub use engine::llama_engine;
use fault::Fault;
use files::Model;
use grammar::change::removable;
use protocol::{CallSyntax, Constraint, Drawn, GenerateRequest, Generated, Reasoning, Refusal};

pub(crate) const ENTRY: Entry<Open> = Entry {
    name: "llama",
    about: "a student: a GGUF file, run by llama.cpp",
    open: Open::Model(|settings| {
        let this = || std::env::current_exe().map_err(|error| error.to_string());
        let engine = settings.local.engine.clone().map_or_else(this, Ok)?;
        llama_by(&engine, settings)
    }),
};

/// Default sampling: the paper's.
const TEMPERATURE: f64 = 0.6;
const MAX_TOKENS: u32 = 10_000;
/// How often one answer is generated at most, if it repeats an earlier one.
const MAX_TRIES: usize = 8;
/// The end of a prompt whose chat template starts the reasoning.
const OPENED: &str = "<think>";

/// Opens the policy `llama` with another executable as its engine. The executable
/// must run [`llama_engine`] if its first argument is `llama-engine`.
///
/// # Errors
/// What is wrong with the settings or their files, in one sentence.
pub fn llama_by(engine: &Path, settings: &Settings) -> Result<Box<dyn Policy>, String> {
    let mut students = students_by(engine, settings, std::slice::from_ref(&settings.local.loras))?;
    Ok(students.remove(0))
}

/// Opens one policy `llama` for each list of adapters; the settings' own adapters are
/// ignored. The policies share an engine, so the model and all adapters are loaded
/// once. The engine runs one student at a time: use the policies one after the other.
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
    /// Index of this policy's student in the engine.
    student: usize,
    sampling: Sampling,
    thinking: Thinking,
    calls: CallForm,
    later_temperatures: Vec<f64>,
    local: LocalOptions,
}

/// Options of the answers.
#[derive(Clone, Copy)]
struct LocalOptions {
    record_tokens: bool,
    answer_grammar: bool,
    distinct_answers: bool,
}

/// What one generation is for.
#[derive(Clone)]
struct Ask {
    messages: Vec<Message>,
    form: Form,
    episode: String,
    sampling: Sampling,
    /// Whole answers that are not to be generated again.
    excluded: Vec<Vec<Drawn>>,
    /// Whether the probability of each token is needed.
    probabilities: bool,
}

/// The form of an answer.
#[derive(Clone)]
enum Form {
    Text,
    Calls(Vec<ToolSpec>),
    /// A change of one of these lines.
    Change(Vec<String>),
}

impl Llama {
    fn open(engine: &Path, settings: &Settings, students: &[Vec<Lora>]) -> Result<Self, Fault> {
        let file = PathBuf::from(settings.model.as_ref().ok_or(Fault::NoModel)?);
        if settings.local.answer_grammar && settings.calls == CallForm::Native {
            return Err(Fault::GrammarOfCalls);
        }
        let model = Model::open(&file)?;
        let load = model.load(settings, students)?;
        let chat = chat(&model, settings.local.chat_template.as_deref())?;
        let thinking = thinking(settings.thinking, &chat, &model)?;
        let engine = Engine::start(engine.to_path_buf(), load).map_err(Fault::Engine)?;
        let sampling = Sampling {
            temperature: settings.sampling.temperature.or(Some(TEMPERATURE)),
            max_tokens: settings.sampling.max_tokens.or(Some(MAX_TOKENS)),
            ..settings.sampling.clone()
        };
        let local = LocalOptions {
            record_tokens: settings.local.record_tokens,
            answer_grammar: settings.local.answer_grammar,
            distinct_answers: settings.local.distinct_answers,
        };
        Ok(Llama {
            model: model.name(),
            chat: Arc::new(chat),
            engine: Arc::new(engine),
            student: 0,
            sampling,
            thinking,
            calls: settings.calls,
            later_temperatures: settings.later_temperatures.clone(),
            local,
        })
    }

    fn completion(&self, generated: Generated, opened: bool, sampling: Sampling) -> Completion {
        let before = if opened { OPENED } else { "" };
        let (reasoning, text) = split_reasoning(&format!("{before}{}", generated.text));
        let answer_at = generated.text.len().saturating_sub(text.len());
        let thinks = |end: &&usize| reasoning.is_some() && **end <= answer_at;
        let reasoning_tokens = generated.ends.iter().filter(thinks).count() as u64;
        Completion {
            text,
            reasoning,
            usage: Usage {
                prompt_tokens: generated.prompt_tokens,
                completion_tokens: generated.ends.len() as u64,
                cached_tokens: generated.cached_tokens,
                reasoning_tokens,
                calls: 1,
                ..Usage::default()
            },
            generation: Generation {
                model: self.model.clone(),
                sampling,
                thinking: self.thinking,
                finish: generated.finish,
                finish_reason: None,
                first_token_ms: Some(generated.first_token_ms),
                tokens_per_second: generated.tokens_per_second,
                tokens: generated.tokens,
                native_calls: Vec::new(),
                repaired: Vec::new(),
                resampled: 0,
                speculation: (generated.drafted_tokens > 0).then_some(Speculation {
                    drafted_tokens: generated.drafted_tokens,
                    accepted_tokens: generated.accepted_tokens,
                }),
            },
        }
    }

    /// The form of calls that the chat template teaches: what it adds to a short
    /// conversation when it is given the tools.
    fn syntax(&self, tools: &[ToolSpec]) -> CallSyntax {
        let message = |role| Message { role, content: "x".into() };
        let messages = [Role::System, Role::User].map(message);
        let prompt = self.chat.prompt(&messages, tools, self.thinking);
        prompt.map_or(CallSyntax::Json, |prompt| CallSyntax::of(&prompt))
    }

    /// Generates the model's next message in a conversation. Also returns its tokens, if
    /// their probabilities are needed.
    async fn generate(&self, ask: Ask) -> Result<(Completion, Vec<Drawn>), PolicyError> {
        let messages = with_thinking_switch(ask.messages, self.thinking);
        let tools: &[ToolSpec] = match &ask.form {
            Form::Calls(tools) => tools,
            Form::Text | Form::Change(_) => &[],
        };
        let prompt = self.chat.prompt(&messages, tools, self.thinking);
        let prompt = prompt.map_err(|why| PolicyError::Model(why.to_string()))?;
        let opened = prompt.trim_end().ends_with(OPENED);
        let reasoning = match (opened, self.thinking.mode) {
            (true, _) => Reasoning::Started,
            (false, ThinkingMode::NoThink) => Reasoning::Forbidden,
            (false, _) => Reasoning::Optional,
        };
        let constraint = match ask.form {
            Form::Calls(tools) if !tools.is_empty() => {
                let syntax = self.syntax(&tools);
                Constraint::ToolCall(tools, reasoning, syntax)
            }
            Form::Calls(_) | Form::Text => Constraint::None,
            Form::Change(lines) => Constraint::Change(lines, reasoning),
        };
        let request = GenerateRequest {
            id: 0,
            student: self.student,
            episode: ask.episode,
            prompt,
            sampling: ask.sampling.clone(),
            constraint,
            record_tokens: self.local.record_tokens,
            excluded: ask.excluded,
            probabilities: ask.probabilities,
        };
        match self.engine.generate(request).await {
            Ok(mut generated) => {
                let drawn = std::mem::take(&mut generated.drawn);
                Ok((self.completion(generated, opened, ask.sampling), drawn))
            }
            Err(CallError::Refused(Refusal::TooLong)) => Err(PolicyError::Spent(Limit::Context)),
            Err(CallError::Refused(Refusal::Grammar(why))) => Err(PolicyError::Model(why)),
            Err(CallError::Ended(how)) => Err(PolicyError::Infrastructure(how)),
        }
    }

    /// The form of the answer to a task.
    fn form(&self, view: &View<'_>) -> Result<Form, PolicyError> {
        let faulty = view.task.statement.method().and_then(|method| method.faulty.as_deref());
        match (self.calls, faulty) {
            (CallForm::Native, _) => Ok(Form::Calls(view.specs())),
            (CallForm::Text, Some(faulty)) if self.local.answer_grammar => {
                let lines = removable(faulty);
                match lines.is_empty() {
                    false => Ok(Form::Change(lines)),
                    true => Err(PolicyError::Model(
                        "no line of the method occurs once, so --answer-grammar allows no answer"
                            .into(),
                    )),
                }
            }
            (CallForm::Text, _) => Ok(Form::Text),
        }
    }

    /// The action in a completion.
    fn action(&self, mut completion: Completion, view: &View<'_>) -> Action {
        let finish = completion.generation.finish;
        let read = read(&completion.text, &view.task.statement.asked(), &view.specs(), finish);
        let ReadCall { call, repaired } = read;
        completion.generation.repaired = repaired;
        if (self.calls, completion.generation.finish) == (CallForm::Native, Finish::Stop) {
            completion.generation.finish = Finish::ToolCall;
        }
        completion.action(call)
    }
}

#[async_trait]
impl Policy for Llama {
    async fn act(&self, view: View<'_>) -> Result<Action, PolicyError> {
        let turn = view.turns.len();
        let earlier: Vec<&str> = match self.local.distinct_answers {
            true => view.turns.iter().map(|turn| turn.action.answer()).collect(),
            false => Vec::new(),
        };
        let sampling = self.sampling.at_turn(&self.later_temperatures, turn);
        let mut ask = Ask {
            messages: view.messages(),
            form: self.form(&view)?,
            episode: format!("{}#{}", view.task.id, view.sample),
            sampling,
            excluded: Vec::new(),
            probabilities: !earlier.is_empty(),
        };
        let mut spent = Usage::default();
        loop {
            let tries = ask.excluded.len();
            ask.sampling.seed = Some(seed(view.seed, turn, tries));
            let (completion, drawn) = self.generate(ask.clone()).await?;
            let mut action = self.action(completion, &view);
            spent = sum(&spent, &action.usage);
            if tries + 1 == MAX_TRIES || !earlier.contains(&action.answer()) {
                if let Some(generation) = &mut action.generation {
                    generation.resampled = tries as u32;
                }
                action.usage = spent;
                return Ok(action);
            }
            ask.excluded.push(drawn);
        }
    }

    async fn complete(&self, request: Request<'_>) -> Result<Completion, PolicyError> {
        let ask = Ask {
            messages: request.messages.to_vec(),
            form: Form::Text,
            episode: format!("{}#{}", request.name, request.sample),
            sampling: Sampling { seed: Some(seed(request.seed, 0, 0)), ..self.sampling.clone() },
            excluded: Vec::new(),
            probabilities: false,
        };
        self.generate(ask).await.map(|(completion, _)| completion)
    }

    fn waiting_for(&self) -> Vec<(Resource, usize)> {
        vec![(Resource::KvCells, self.engine.waiting())]
    }
}

/// The usage of both. What is counted in dollars does not occur here.
fn sum(one: &Usage, other: &Usage) -> Usage {
    Usage {
        prompt_tokens: one.prompt_tokens + other.prompt_tokens,
        completion_tokens: one.completion_tokens + other.completion_tokens,
        cached_tokens: one.cached_tokens + other.cached_tokens,
        reasoning_tokens: one.reasoning_tokens + other.reasoning_tokens,
        calls: one.calls + other.calls,
        ..Usage::default()
    }
}

/// The chat templates of a file, or else of the model.
fn chat(model: &Model, own: Option<&Path>) -> Result<Chat, Fault> {
    let templates = match own {
        Some(file) => ChatTemplates::open(file).map_err(Fault::NoChat)?,
        None => ChatTemplates::of_gguf(&model.header)
            .map_err(Fault::NoChat)?
            .ok_or_else(|| Fault::NoTemplate(model.file.clone()))?,
    };
    let tokens = model.header.named_tokens();
    let file = own.unwrap_or(&model.file);
    Chat::open(&templates, tokens)
        .map_err(|why| Fault::Template(file.to_path_buf(), why.to_string()))
}

/// Chooses the template's switch if none is given and the template has one.
fn thinking(asked: Thinking, chat: &Chat, model: &Model) -> Result<Thinking, Fault> {
    let switch = match (asked.mode, asked.switch) {
        (ThinkingMode::Default, switch) => switch,
        (_, ThinkingSwitch::Template) if !chat.has_switch() => {
            return Err(Fault::NoSwitch(model.file.clone()));
        }
        (_, ThinkingSwitch::None) if chat.has_switch() => ThinkingSwitch::Template,
        (_, switch) => switch,
    };
    Ok(Thinking { switch, ..asked })
}

/// A seed for each turn and try. llama.cpp's seeds have 32 bits, and the largest one means
/// "random".
fn seed(seed: u64, turn: usize, tries: usize) -> u64 {
    let seed = seed.wrapping_add((tries as u64) << 32);
    let mixed = seed.wrapping_add(turn as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    mixed >> 33
}
