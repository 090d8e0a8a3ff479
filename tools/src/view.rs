//! Shows part of a file, or a folder.

use async_trait::async_trait;
use fixfly_runtime::{
    Entry, Observation, Outcome, SandboxError, Status, Tool, ToolContext, ToolError, ToolSpec,
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use crate::document::Document;
use crate::place::{absolute, clipped, root, run, shown};
use crate::{Open, arguments, parameters};

const NAME: &str = "view";

pub(crate) const ENTRY: Entry<Open> =
    Entry { name: NAME, about: "look at lines of a file, or at a folder", open: || Box::new(View) };

struct View;

/// Number of lines shown at once.
const WINDOW: usize = 200;
/// Maximum number of characters of a line.
const WIDTH: usize = 500;
/// Maximum number of names of a folder.
const NAMES: usize = 200;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Arguments {
    /// The file or folder, below the repository's root or absolute.
    path: String,
    /// The first line to show, counted from 1; the first of the file if not given.
    from: Option<usize>,
    /// The last line to show; 200 lines are shown if not given.
    to: Option<usize>,
}

#[async_trait]
impl Tool for View {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: NAME.into(),
            description: "Shows lines of a file, with their numbers, 200 at a time; or what is in a folder, two levels deep.".into(),
            parameters: parameters::<Arguments>(),
        }
    }

    async fn call(&self, args: Value, context: ToolContext<'_>) -> Result<Observation, ToolError> {
        let Arguments { path, from, to } = arguments(NAME, args)?;
        let root = root(NAME, &context)?;
        let path = absolute(root, &path);
        let is_folder =
            run(&context, root, &["test", "-d", &path], 1024).await?.status == Status::Exited(0);
        let text = match is_folder {
            true => folder(&context, root, &path).await?,
            false => {
                let document = read(&context, root, &path).await?;
                let text = window(shown(root, &path), &document.shown(), from, to)?;
                match document.note() {
                    Some(note) => format!("{text}{note}\n"),
                    None => text,
                }
            }
        };
        Ok(Observation::new(Outcome::Done, clipped(&text, 0)))
    }
}

/// Reads a file's text. A refusal states why it cannot be read.
pub(crate) async fn read(
    context: &ToolContext<'_>,
    root: &str,
    path: &str,
) -> Result<Document, ToolError> {
    match context.sandbox.read(path).await {
        Ok(bytes) => text(shown(root, path), bytes),
        Err(SandboxError::File { why, .. }) => {
            Err(ToolError::Refused(format!("{}: {why}", shown(root, path))))
        }
        Err(error) => Err(error.into()),
    }
}

/// Decodes a file that must be text.
pub(crate) fn text(name: &str, bytes: Vec<u8>) -> Result<Document, ToolError> {
    Document::read(bytes)
        .ok_or_else(|| ToolError::Refused(format!("{name}: the file is binary, not text")))
}

async fn folder(context: &ToolContext<'_>, root: &str, path: &str) -> Result<String, ToolError> {
    let find = [
        "find",
        path,
        "-mindepth",
        "1",
        "-maxdepth",
        "2",
        "-name",
        ".git",
        "-prune",
        "-o",
        "-name",
        "__pycache__",
        "-prune",
        "-o",
        "-mindepth",
        "1",
        "-printf",
        "%P%y\\n",
    ];
    let output = run(context, root, &find, 1 << 20).await?;
    let listed = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut names: Vec<String> = listed
        .lines()
        .filter_map(|line| {
            let kind = line.chars().last()?;
            let name = &line[..line.len() - kind.len_utf8()];
            (!name.is_empty())
                .then(|| if kind == 'd' { format!("{name}/") } else { name.to_string() })
        })
        .collect();
    names.sort();
    let more = names.len().saturating_sub(NAMES);
    names.truncate(NAMES);
    let mut text = format!("{}:\n{}", shown(root, path), names.join("\n"));
    if more > 0 {
        text += &format!("\n(and {more} more: look at a folder below)");
    }
    Ok(text)
}

/// The requested lines, numbered.
pub(crate) fn window(
    name: &str,
    text: &str,
    from: Option<usize>,
    to: Option<usize>,
) -> Result<String, ToolError> {
    let lines: Vec<&str> = text.lines().collect();
    let from = from.unwrap_or(1).max(1);
    let to = to.unwrap_or(from + WINDOW - 1).min(lines.len());
    if lines.is_empty() {
        return Ok(format!("{name} is empty"));
    }
    if from > to {
        let count = lines.len();
        return Err(ToolError::Refused(format!(
            "{name} has {count} lines; `from` {from} and `to` {to} show none of them"
        )));
    }
    let mut shown = format!("{name}, lines {from} to {to} of {}:\n", lines.len());
    for (number, line) in lines.iter().enumerate().take(to).skip(from - 1) {
        let end = line.char_indices().nth(WIDTH).map_or(line.len(), |(at, _)| at);
        let cut = if end < line.len() { " (line cut)" } else { "" };
        shown += &format!("{:>6}\t{}{cut}\n", number + 1, &line[..end]);
    }
    Ok(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_numbered() {
        assert_eq!(
            window("a.py", "x\ny\nz\n", Some(2), None).unwrap(),
            "a.py, lines 2 to 3 of 3:\n     2\ty\n     3\tz\n"
        );
        assert_eq!(window("a.py", "", None, None).unwrap(), "a.py is empty");
        let why = window("a.py", "x\n", Some(5), None).unwrap_err().to_string();
        assert_eq!(why, "a.py has 1 lines; `from` 5 and `to` 1 show none of them");
    }
}
