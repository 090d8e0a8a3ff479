//! A task, a tool and a way to ask a student for its next action.

use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{fs, process};

use async_trait::async_trait;
use fixfly_policies::llama_by;
use fixfly_runtime::{
    Action, Budget, DescribedBy, Feedback, Method, Observation, Outcome, Policy, PolicyError,
    Sampling, SandboxSpec, Statement, Task, TaskKind, Templates, TestDelta, Timings, Tool,
    ToolContext, ToolError, ToolSpec, Turn, View,
};
use fixfly_runtime::{KvType, LocalModel, Settings};
use llama_cpp_2::llama_backend::LlamaBackend;
use serde_json::{Value, json};

/// The executable that is the engine.
pub(crate) const ENGINE: &str = env!("CARGO_BIN_EXE_llama-engine");
pub(crate) const QWEN3: &str = fixfly_runtime::CHATS[0].open;

/// llama.cpp in the tests' own process, which has one for all tests.
pub(crate) fn backend() -> &'static LlamaBackend {
    static BACKEND: LazyLock<LlamaBackend> = LazyLock::new(|| {
        let mut backend = LlamaBackend::init().unwrap();
        backend.void_logs();
        backend
    });
    &BACKEND
}

/// A folder of a test's own, gone with it.
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let name = format!("llama-{}-{}", process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }
}

impl Deref for Folder {
    type Target = Path;

    fn deref(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Greedy words of so many tokens, by a model with numbers exact enough that
/// what is asked together makes no difference.
pub(crate) fn settings(model: &Path, max_tokens: u32) -> Settings {
    Settings {
        model: Some(model.display().to_string()),
        sampling: Sampling {
            temperature: Some(0.0),
            max_tokens: Some(max_tokens),
            ..Sampling::default()
        },
        local: LocalModel {
            threads: Some(1),
            kv_type: KvType::F32,
            episodes: 4,
            record_tokens: true,
            ..LocalModel::default()
        },
        ..Settings::default()
    }
}

pub(crate) fn open(settings: &Settings) -> Box<dyn Policy> {
    llama_by(ENGINE.as_ref(), settings).unwrap()
}

pub(crate) fn fault(settings: &Settings) -> String {
    match llama_by(ENGINE.as_ref(), settings) {
        Ok(_) => panic!("it opened"),
        Err(why) => why,
    }
}

/// A method task whose statement has about so many lines.
pub(crate) fn task(id: &str, lines: usize) -> Task {
    let line = |at| format!("    value_{at} = compute({at}, \"{}\")\n", "ab".repeat(at % 7));
    let method = Method {
        file: "shapes.py".into(),
        class_name: "Square".into(),
        name: "area".into(),
        declaration: "def area(self):".into(),
        decorators: Vec::new(),
        description: format!("What `{id}` asks for."),
        described_by: DescribedBy::Docstring,
        content: (0..lines).map(line).collect(),
        faulty: None,
    };
    Task {
        id: id.into(),
        benchmark: "shapes".into(),
        statement: Statement::Method(method),
        sandbox: SandboxSpec::default(),
        tools: vec!["submit_method".into()],
        budget: Budget { turns: 5, tokens: None, seconds: None, usd: None },
    }
}

/// The turn that followed an action.
pub(crate) fn turn(action: Action, answer: &str) -> Turn {
    let observation = Observation::new(Outcome::Failed, answer);
    let left = Budget { turns: 4, tokens: None, seconds: None, usd: None };
    let feedback = Feedback { delta: TestDelta::default(), left, message: String::new() };
    Turn { action, observation, feedback, timings: Timings::default() }
}

pub(crate) struct SubmitMethod;

#[async_trait]
impl Tool for SubmitMethod {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: "submit_method".into(),
            description: "Put a method into its class".into(),
            parameters: json!({
                "type": "object",
                "properties": { "code": { "type": "string", "maxLength": 20 } },
                "required": ["code"],
                "additionalProperties": false,
            }),
        }
    }

    async fn call(&self, _: Value, _: ToolContext<'_>) -> Result<Observation, ToolError> {
        Err(ToolError::Refused("nothing runs here".into()))
    }
}

/// The next action on a task.
pub(crate) async fn act(
    policy: &dyn Policy,
    task: &Task,
    turns: &[Turn],
    seed: u64,
) -> Result<Action, PolicyError> {
    let templates = Templates::load(TaskKind::Method, None).unwrap();
    let tools: Vec<Box<dyn Tool>> = vec![Box::new(SubmitMethod)];
    let view = View { task, tools: &tools, turns, templates: &templates, sample: 0, seed };
    policy.act(view).await
}

/// Token ids of an action.
pub(crate) fn ids(action: &Action) -> Vec<u32> {
    action.generation.as_ref().unwrap().tokens.iter().map(|token| token.id).collect()
}
