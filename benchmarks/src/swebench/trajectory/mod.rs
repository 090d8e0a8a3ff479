//! Reads trajectories of other agents as episodes, and writes episodes in their formats.
//!
//! [`read`] reads SWE-agent's `.traj`, mini-swe-agent's JSON and ATIF, which it recognises
//! by their content, and [`Import`] makes a run of many files. [`sweagent::write`] and
//! [`atif::write`] do the opposite, and [`Format::write`] writes the episodes of a run. What
//! a file does not contain stays unknown: nothing is inferred from elsewhere.

pub mod atif;
mod end;
mod export;
mod import;
mod mini;
pub mod sweagent;

use std::collections::BTreeMap;
use std::path::Path;
use std::str::FromStr;

use fixfly_runtime::{
    Action, BenchmarkError, Budget, Call, End, Episode, Feedback, Generation, History, Issue,
    Observation, Outcome, Provenance, SandboxSpec, Statement, Task, TestDelta, Timings, Turn,
    Usage, decode_utf8, parse_json, replace_lone_surrogates, sha256,
};
use serde_json::{Map, Value, json};

use super::Instance;
use super::issues::NAME;

pub use export::Format;
pub use import::{ENDINGS, Import};

/// The tool that runs shell commands.
const BASH: &str = "bash";

/// A trajectory as an episode without a verdict, and the other contents of its file.
#[derive(Clone, Debug, PartialEq)]
pub struct Imported {
    /// The episode, without a verdict.
    pub episode: Episode,
    /// The format of the file.
    pub form: Form,
    /// The agent's name.
    pub agent: String,
    /// SHA-256 of the file.
    pub sha256: String,
    /// Version of the agent.
    pub version: Option<String>,
    /// The model, as the agent named it.
    pub model: Option<String>,
    /// How it ended, in the agent's own words.
    pub exit_status: Option<String>,
    /// Total calls, tokens and dollars, as the agent reported them.
    pub totals: Map<String, Value>,
    /// What could not be taken over unchanged, and how often.
    pub remarks: BTreeMap<&'static str, usize>,
}

/// The format of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Form {
    /// SWE-agent's `.traj`.
    SweAgent,
    /// mini-swe-agent's `mini-swe-agent-1.1`.
    Mini,
    /// The Agent Trajectory Interchange Format, of any agent.
    Atif,
}

impl Form {
    /// The name of the format.
    pub fn name(self) -> &'static str {
        match self {
            Form::SweAgent => "SWE-agent's",
            Form::Mini => "mini-swe-agent's",
            Form::Atif => "ATIF",
        }
    }
}

impl FromStr for Form {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "traj" => Ok(Form::SweAgent),
            "mini" => Ok(Form::Mini),
            "atif" => Ok(Form::Atif),
            _ => Err("expected one of: traj, mini, atif".into()),
        }
    }
}

/// Reads the trajectory in a file. Its issue is that of the instance with its id, otherwise
/// the first request to the agent that the file shows.
///
/// # Errors
/// One sentence that names the file and what is wrong with it.
pub fn read(file: &Path, instances: &[Instance]) -> Result<Imported, BenchmarkError> {
    let broken = |why: String| BenchmarkError::Broken(format!("{}: {why}", file.display()));
    let bytes = std::fs::read(file).map_err(|e| broken(e.to_string()))?;
    let text = decode_utf8(bytes.clone()).map_err(|why| broken(why.to_string()))?;
    let mut value = parse_json(&text).map_err(|e| broken(format!("it is not JSON: {e}")))?;
    replace_lone_surrogates(&mut value);
    let parsed = match form(&value).map_err(broken)? {
        Form::SweAgent => sweagent::read(&value),
        Form::Mini => mini::read(&value),
        Form::Atif => atif::read(&value),
    };
    let parsed = parsed.map_err(broken)?;
    let told = ["/instance_id", "/extra/instance_id"];
    let told = told.into_iter().find_map(|pointer| string(&value, pointer));
    let id = told.unwrap_or_else(|| id(file));
    Ok(parsed.imported(&id, sha256(&bytes), instances))
}

fn form(value: &Value) -> Result<Form, String> {
    if value.get("schema_version").and_then(Value::as_str).is_some_and(atif::is_version) {
        return Ok(Form::Atif);
    }
    let form = value.get("trajectory_format").and_then(Value::as_str);
    match form {
        Some("mini-swe-agent-1.1") => return Ok(Form::Mini),
        Some(other) => {
            return Err(format!(
                "its form is `{other}`; mini-swe-agent-1.1 is read, which mini-swe-agent 2 writes"
            ));
        }
        None => {}
    }
    let is_list = |key: &str| value.get(key).is_some_and(Value::is_array);
    match (is_list("trajectory"), is_list("messages")) {
        (true, _) => Ok(Form::SweAgent),
        (_, true) => {
            Err("it has `messages` and no `trajectory_format`; mini-swe-agent-1.1 is read, \
                          which mini-swe-agent 2 writes"
                .into())
        }
        _ => Err("it is no trajectory: SWE-agent's have a list `trajectory`, mini-swe-agent's a \
                  `trajectory_format`, ATIF's a `schema_version`"
            .into()),
    }
}

/// The instance's id in the file's name: `a__b-1.traj`, `a__b-1.traj.json`; for
/// `trajectory.json` in the folder's name, or in harbor's `result.json` of the trial.
fn id(file: &Path) -> String {
    let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let own = name(file);
    if own == atif::FILE
        && let Some(folder) = file.parent().filter(|folder| folder.file_name().is_some())
    {
        let trial = folder.parent().filter(|_| name(folder) == "agent");
        let result = trial.and_then(|trial| std::fs::read(trial.join("result.json")).ok());
        let result = result.and_then(|bytes| serde_json::from_slice::<Value>(&bytes).ok());
        let task = result.and_then(|result| string(&result, "/task_name"));
        let task = task.and_then(|task| task.rsplit('/').next().map(str::to_string));
        return task.unwrap_or_else(|| name(trial.unwrap_or(folder)));
    }
    let own = own.strip_suffix(".json").unwrap_or(&own);
    let own = own.strip_suffix(".traj").or(own.strip_suffix(".trajectory")).unwrap_or(own);
    own.to_string()
}

/// The parsed contents of a file.
struct Parsed {
    form: Form,
    agent: String,
    version: Option<String>,
    model: Option<String>,
    /// The first request to the agent.
    asked: Option<String>,
    /// The folder in which it started.
    root: Option<String>,
    turns: Vec<Turn>,
    exit_status: Option<String>,
    end: End,
    submission: Option<String>,
    totals: Map<String, Value>,
    /// Its limits of turns and dollars.
    limits: (Option<u32>, Option<f64>),
    /// The start in RFC 3339, and the seconds from then to the last message.
    time: Option<(String, f64)>,
    /// What only fixfly's own exports contain.
    own: Option<atif::Own>,
    remarks: BTreeMap<&'static str, usize>,
}

impl Parsed {
    fn imported(self, id: &str, sha256: String, instances: &[Instance]) -> Imported {
        let instance = instances.iter().find(|instance| instance.id == id);
        let issue = Issue {
            repo: instance.map(|there| there.repo.clone()).unwrap_or_default(),
            version: instance.map(|there| there.version.clone()).unwrap_or_default(),
            text: instance.map(|there| there.statement.clone()).or(self.asked).unwrap_or_default(),
            root: self.root.unwrap_or_default(),
            manual: String::new(),
            history: History::All,
        };
        let mut tools: Vec<String> = self.turns.iter().filter_map(tool).collect();
        tools.sort();
        tools.dedup();
        let (turns, usd) = self.limits;
        let turns = turns.unwrap_or(self.turns.len() as u32);
        let (started, seconds) = self.time.unwrap_or_default();
        let provenance = Provenance {
            fixfly: env!("CARGO_PKG_VERSION").to_string(),
            isolation: "not told".to_string(),
            started,
            seconds,
            ..Provenance::default()
        };
        let statement = Statement::Issue(issue);
        let mut episode = Episode {
            schema: statement.schema(),
            task: Task {
                id: id.to_string(),
                benchmark: NAME.to_string(),
                statement,
                sandbox: SandboxSpec::default(),
                tools,
                budget: Budget { turns, tokens: None, seconds: None, usd },
            },
            policy: self.agent.clone(),
            provenance,
            turns: self.turns,
            end: self.end,
            patch: self.submission.filter(|patch| !patch.trim().is_empty()),
            left_out: Vec::new(),
            verdict: None,
        };
        if let Some(own) = self.own {
            own.restore(&mut episode, instance.is_some());
        }
        Imported {
            episode,
            form: self.form,
            agent: self.agent,
            sha256,
            version: self.version,
            model: self.model,
            exit_status: self.exit_status,
            totals: self.totals,
            remarks: self.remarks,
        }
    }
}

fn tool(turn: &Turn) -> Option<String> {
    match &turn.action.call {
        Call::Tool { name, .. } => Some(name.clone()),
        Call::Submit | Call::Malformed(_) => None,
    }
}

/// The output of an agent's model.
#[derive(Default)]
struct ModelOutput {
    text: String,
    reasoning: Option<String>,
    usage: Usage,
    generation: Option<Generation>,
}

impl ModelOutput {
    fn with_call(self, call: Call) -> Action {
        let ModelOutput { text, reasoning, usage, generation } = self;
        Action { text, reasoning, call, usage, generation }
    }
}

/// A turn. Other agents record neither budgets nor changes of tests.
fn turn(action: Action, text: String, outcome: Outcome, timings: Timings) -> Turn {
    let left = Budget { turns: 0, tokens: None, seconds: None, usd: None };
    Turn {
        action,
        observation: Observation::new(outcome, text),
        feedback: Feedback { delta: TestDelta::default(), left, message: String::new() },
        timings,
    }
}

fn command(command: &str) -> Call {
    Call::Tool { name: BASH.to_string(), args: json!({ "command": command }) }
}

/// Text, or the text in a list of parts.
fn text(content: Option<&Value>) -> String {
    match content {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(parts)) => {
            let texts = parts.iter().filter_map(|part| part.get("text").and_then(Value::as_str));
            texts.collect::<Vec<_>>().join("\n")
        }
        _ => String::new(),
    }
}

fn string(value: &Value, pointer: &str) -> Option<String> {
    value.pointer(pointer).and_then(Value::as_str).map(str::to_string)
}

/// The reasoning, if a server returned it separately from the text.
fn thinking(message: &Value) -> Option<String> {
    let blocks = message.get("thinking_blocks").and_then(Value::as_array);
    let thoughts = blocks.into_iter().flatten().filter_map(|block| block.get("thinking"));
    let thoughts: Vec<&str> = thoughts.filter_map(Value::as_str).collect();
    let whole = string(message, "/reasoning_content").unwrap_or_else(|| thoughts.join("\n"));
    Some(whole).filter(|whole| !whole.is_empty())
}

#[cfg(test)]
mod tests;
