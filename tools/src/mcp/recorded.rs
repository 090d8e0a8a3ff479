//! Recorded runs: which ones a folder has, and an episode as text.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use fixfly_runtime::{
    Call, Episode, EpisodeSummary, Recording, RunRecord, ToolError, ToolSpec, Turn, printable,
    read_run,
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::workspace::Reply;
use crate::{arguments, parameters};

const LIST_RUNS: &str = "list_runs";
const SHOW_EPISODE: &str = "show_episode";
pub(super) const TOOLS: [&str; 2] = [LIST_RUNS, SHOW_EPISODE];

/// How deep below the folder runs are looked for.
const DEPTH: usize = 4;
/// Maximum number of runs or tasks that are named.
const MAX_NAMED: usize = 200;
/// Maximum characters of an answer, and of the result, of one turn.
const ANSWER: usize = 2_000;
const RESULT: usize = 3_000;
/// Maximum characters of an episode.
const EPISODE: usize = 40_000;

/// The runs below a folder.
pub(super) struct Recorded {
    pub(super) folder: PathBuf,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ListRuns {}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ShowEpisode {
    /// The run, as `list_runs` names it.
    run: String,
    /// The task's id.
    task: String,
    /// Which sample of the task, counted from 0; 0 if not given.
    #[serde(default)]
    sample: u32,
}

pub(super) fn specs() -> [ToolSpec; 2] {
    let spec = |name: &str, description: &str, parameters| ToolSpec {
        name: name.into(),
        description: description.into(),
        parameters,
    };
    [
        spec(
            LIST_RUNS,
            "Lists the recorded runs: benchmark, policy, solved episodes of all.",
            parameters::<ListRuns>(),
        ),
        spec(
            SHOW_EPISODE,
            "Shows a recorded episode: each action, its outcome and what it returned, then the verdict. \
             Long texts are cut.",
            parameters::<ShowEpisode>(),
        ),
    ]
}

impl Recorded {
    pub(super) fn call(&self, name: &str, args: Value) -> Result<Reply, ToolError> {
        match name {
            LIST_RUNS => self.list(args),
            _ => self.show(args).map(Reply::text),
        }
    }

    fn list(&self, args: Value) -> Result<Reply, ToolError> {
        let ListRuns {} = arguments(LIST_RUNS, args)?;
        let names = self.names()?;
        if names.is_empty() {
            let folder = self.folder.display();
            return Ok(Reply::text(format!("There are no runs below {folder}.")));
        }
        let (mut text, mut rows) = (String::new(), Vec::new());
        for name in names.iter().take(MAX_NAMED) {
            match self.row(name) {
                Ok((line, row)) => {
                    text += &format!("{line}\n");
                    rows.push(row);
                }
                Err(why) => text += &format!("{name}: {why}\n"),
            }
        }
        let more = names.len().saturating_sub(MAX_NAMED);
        if more > 0 {
            text += &format!("and {more} more\n");
        }
        let text = printable(text.trim_end()).into_owned();
        Ok(Reply { text, structured: Some(json!({ "runs": rows })) })
    }

    fn row(&self, name: &str) -> Result<(String, Value), ToolError> {
        let folder = self.folder.join(name);
        let record = read_run(&folder).map_err(|e| refused(&e))?;
        let summaries = summaries(&folder)?;
        let solved = summaries.iter().filter(|summary| summary.solved()).count();
        let (benchmark, policy) = (setting(&record, "benchmark"), setting(&record, "policy"));
        let episodes = summaries.len();
        let line =
            format!("{name}: {policy} on {benchmark}, {solved} of {episodes} episodes solved");
        let row = json!({
            "run": name, "benchmark": benchmark, "policy": policy, "episodes": episodes,
            "solved": solved, "started": record.started,
        });
        Ok((line, row))
    }

    fn show(&self, args: Value) -> Result<String, ToolError> {
        let ShowEpisode { run, task, sample } = arguments(SHOW_EPISODE, args)?;
        let names = self.names()?;
        // Only a listed name is a run: a path could lead out of the folder.
        if !names.contains(&run) {
            let known = names.iter().take(5).map(|name| format!("`{name}`")).collect::<Vec<_>>();
            let known = match known.is_empty() {
                true => "there are none".to_string(),
                false => format!("runs are {}", known.join(", ")),
            };
            let folder = self.folder.display();
            return Err(ToolError::Refused(format!(
                "there is no run `{}` below {folder}; {known}",
                printable(&run)
            )));
        }
        match episode(&self.folder.join(&run), &task, sample)? {
            Some(episode) => Ok(printable(&rendered(&episode)).into_owned()),
            None => Err(ToolError::Refused(format!(
                "the run `{run}` has no episode of the task `{}`, sample {sample}",
                printable(&task)
            ))),
        }
    }

    /// The runs, by their paths below the folder, sorted.
    fn names(&self) -> Result<Vec<String>, ToolError> {
        let mut names = Vec::new();
        walk(&self.folder, Path::new(""), &mut names).map_err(|e| {
            let folder = self.folder.display();
            ToolError::Refused(format!(
                "{folder} cannot be read: {e}; name another folder with --runs"
            ))
        })?;
        names.sort();
        Ok(names)
    }
}

fn walk(folder: &Path, below: &Path, names: &mut Vec<String>) -> std::io::Result<()> {
    if folder.join("run.json").is_file() {
        let name = below.to_string_lossy();
        names.push(if name.is_empty() { ".".to_string() } else { name.into_owned() });
        return Ok(());
    }
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let is_near = below.components().count() < DEPTH;
        if is_near && entry.file_type()?.is_dir() {
            // A folder that cannot be read hides no other.
            let _ = walk(&entry.path(), &below.join(entry.file_name()), names);
        }
    }
    Ok(())
}

fn summaries(run: &Path) -> Result<Vec<EpisodeSummary>, ToolError> {
    Ok(Recording::open(run).map_err(|e| refused(&e))?.into_summaries())
}

fn episode(run: &Path, task: &str, sample: u32) -> Result<Option<Episode>, ToolError> {
    let recording = Recording::open(run).map_err(|e| refused(&e))?;
    let is_meant = |summary: &EpisodeSummary| *summary.task == *task && summary.sample == sample;
    let at = recording.summaries().iter().position(is_meant);
    at.map(|at| recording.episode(at)).transpose().map_err(|e| refused(&e))
}

fn refused(error: &dyn std::error::Error) -> ToolError {
    ToolError::Refused(error.to_string())
}

fn setting(record: &RunRecord, name: &str) -> String {
    let value = record.config.get(name).and_then(Value::as_str);
    value.unwrap_or("unknown").to_string()
}

fn rendered(episode: &Episode) -> String {
    let Episode { task, policy, turns, end, verdict, .. } = episode;
    let count = match turns.len() {
        1 => "1 turn".to_string(),
        count => format!("{count} turns"),
    };
    let mut text = format!("{}, by {policy}, {count}, {}\n", task.id, end.name());
    for (at, turn) in turns.iter().enumerate() {
        let part = rendered_turn(at + 1, turn);
        if text.len() + part.len() > EPISODE {
            let left = turns.len() - at;
            let _ = write!(text, "\n({left} more turns are left out)\n");
            break;
        }
        text += &part;
    }
    text += "\nVerdict: ";
    text += match verdict {
        None => "none",
        Some(verdict) if verdict.tampering.is_some() => "tampering",
        Some(verdict) if verdict.solved => "solved",
        Some(_) => "not solved",
    };
    text
}

fn rendered_turn(number: usize, turn: &Turn) -> String {
    let Turn { action, observation, feedback, .. } = turn;
    let call = match &action.call {
        Call::Tool { name, args } => match action.call.code() {
            Some(code) => format!("{name}\n{code}"),
            None => format!("{name} {args}"),
        },
        Call::Submit => "submit".to_string(),
        Call::Malformed(why) => format!("no usable call ({why})\n{}", action.text),
    };
    let mut text = format!(
        "\n## Turn {number}: {}\n{}\n\n{}\n",
        observation.outcome.name(),
        cut(&call, ANSWER),
        cut(&observation.text, RESULT)
    );
    if !feedback.message.is_empty() {
        text += &format!("{}\n", feedback.message);
    }
    text
}

/// Keeps the start and the end of a text.
fn cut(text: &str, most: usize) -> String {
    let text = text.trim_end();
    if text.len() <= most {
        return text.to_string();
    }
    let head = text.floor_char_boundary(most / 2);
    let tail = text.ceil_char_boundary(text.len() - most / 2);
    let left_out = tail - head;
    format!("{}\n[... {left_out} bytes left out ...]\n{}", &text[..head], &text[tail..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_are_found_below_the_folder_and_nowhere_else() {
        let folder = std::env::temp_dir().join(format!("fixfly-recorded-{}", std::process::id()));
        for run in ["runs/a", "runs/x/b", "runs/x/b/inside", "other"] {
            fs::create_dir_all(folder.join(run)).unwrap();
            fs::write(folder.join(run).join("run.json"), "{}").unwrap();
        }
        let recorded = Recorded { folder: folder.join("runs") };
        assert_eq!(recorded.names().unwrap(), ["a", "x/b"]);
        let check = |args: Value, expected: &str| {
            let why = recorded.call(SHOW_EPISODE, args).unwrap_err().to_string();
            assert!(why.contains(expected) && !why.contains('\n'), "{why}");
        };
        check(json!({ "run": "../other", "task": "t" }), "there is no run `../other` below");
        check(json!({ "run": "c", "task": "t" }), "runs are `a`, `x/b`");
        check(json!({ "run": "a", "task": "t" }), "run.json");
        check(json!({ "task": "t" }), "wrong arguments: missing field `run`");
        let list = recorded.call(LIST_RUNS, json!({})).unwrap();
        assert!(list.text.starts_with("a: ") && list.text.contains("\nx/b: "), "{}", list.text);
        fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn long_texts_keep_their_start_and_end() {
        assert_eq!(cut("ä\n", 10), "ä");
        assert_eq!(cut(&"ä".repeat(10), 9), "ää\n[... 12 bytes left out ...]\nää");
    }
}
