//! Changes a file by exact text, and undoes changes.

use async_trait::async_trait;
use fixfly_runtime::{
    Call, Entry, Observation, Outcome, SandboxError, Tool, ToolContext, ToolError, ToolSpec, Turn,
};
use ruff_python_ast::PySourceType;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use crate::document::{Document, with_line_feeds};
use crate::place::{OWN, absolute, root, run, shown};
use crate::view::{text, window};
use crate::{Open, arguments, parameters};

const NAME: &str = "edit";

pub(crate) const ENTRY: Entry<Open> =
    Entry { name: NAME, about: "change a file by exact words", open: || Box::new(Edit) };

struct Edit;

/// Number of lines shown around a change.
const AROUND: usize = 4;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Arguments {
    /// What to do: `str_replace`, `insert`, `create` or `undo`.
    command: What,
    /// The file, below the repository's root or absolute.
    path: String,
    /// For `str_replace`: the words to replace, exactly as they stand in the file, and there once only.
    old_str: Option<String>,
    /// For `str_replace` and `insert`: the new words; none delete the old ones.
    new_str: Option<String>,
    /// For `insert`: the line after which the new words go; 0 is the beginning.
    insert_line: Option<usize>,
    /// For `create`: the whole text of the new file.
    file_text: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
enum What {
    StrReplace,
    Insert,
    Create,
    Undo,
}

#[async_trait]
impl Tool for Edit {
    fn spec(&self) -> ToolSpec {
        ToolSpec {
            name: NAME.into(),
            description: "Changes a file: `str_replace` puts new words in the place of old ones that stand in it once, \
                          `insert` adds lines, `create` makes a file that is not there, `undo` takes back the last change \
                          of the file. Shows the changed lines, and whether a Python file still parses."
                .into(),
            parameters: parameters::<Arguments>(),
        }
    }

    async fn call(&self, args: Value, context: ToolContext<'_>) -> Result<Observation, ToolError> {
        let asked: Arguments = arguments(NAME, args)?;
        let root = root(NAME, &context)?;
        let path = absolute(root, &asked.path);
        let name = shown(root, &path).to_string();
        let depth = depth(context.turns, root, &path);
        if asked.command == What::Undo {
            return undo(&context, root, &path, depth).await;
        }
        let before = match context.sandbox.read(&path).await {
            Ok(bytes) => Some(bytes),
            Err(SandboxError::File { .. }) if asked.command == What::Create => None,
            Err(SandboxError::File { why, .. }) => {
                return Err(ToolError::Refused(format!("{name}: {why}")));
            }
            Err(error) => return Err(error.into()),
        };
        let (change, was) = asked.change(&name, before.as_deref())?;
        let kept = [b"1", before.as_deref().unwrap_or_default()].concat();
        let kept = if before.is_some() { &*kept } else { b"0" };
        context.sandbox.write(&backup(&path, depth), kept).await?;
        write(&context, &path, &change.bytes).await?;
        let Change { bytes, line, lines } = change;
        let text = text(&name, bytes)?.shown();
        let from = line.saturating_sub(AROUND).max(1);
        let mut shown = window(&name, &text, Some(from), Some(line + lines + AROUND))?;
        if name.ends_with(".py")
            && let Some(fault) = fault(&text)
            && was.is_none_or(|was| self::fault(&was).is_none())
        {
            shown += &format!(
                "\nThe file no longer parses: {fault}. Fix it, or take the change back by `undo`.\n"
            );
        }
        Ok(done(shown))
    }
}

fn done(text: String) -> Observation {
    Observation::new(Outcome::Done, text)
}

/// A file's new bytes, and the lines that changed.
#[derive(Debug, PartialEq)]
struct Change {
    bytes: Vec<u8>,
    line: usize,
    lines: usize,
}

impl Arguments {
    /// The change to a file, and the text that it had.
    fn change(
        &self,
        name: &str,
        before: Option<&[u8]>,
    ) -> Result<(Change, Option<String>), ToolError> {
        let Some(before) = before else {
            return Ok((self.create().map_err(ToolError::Refused)?, None));
        };
        if self.command == What::Create {
            let why = format!("{name} is there already; change it by `str_replace`");
            return Err(ToolError::Refused(why));
        }
        let before = text(name, before.to_vec())?;
        let change = match self.command {
            What::Insert => self.insert(name, &before),
            _ => self.replace(name, &before),
        };
        Ok((change.map_err(ToolError::Refused)?, Some(before.shown())))
    }

    fn create(&self) -> Result<Change, String> {
        let text = self.file_text.clone().ok_or("`create` takes `file_text`")?;
        if text.contains('\0') {
            return Err("`file_text` holds a zero byte, which no text has".into());
        }
        let lines = text.lines().count();
        let bytes = Document::created(&text)
            .map_err(|why| format!("the file cannot be made so: {why}; nothing was changed"))?;
        Ok(Change { bytes, line: 1, lines })
    }

    fn insert(&self, name: &str, document: &Document) -> Result<Change, String> {
        let (Some(after), Some(new)) = (self.insert_line, &self.new_str) else {
            return Err("`insert` takes `insert_line` and `new_str`".into());
        };
        let before = document.shown();
        let count = before.lines().count();
        if after > count {
            return Err(format!(
                "{name} has {count} lines; nothing can be inserted after line {after}"
            ));
        }
        let at: usize = before.split_inclusive('\n').take(after).map(str::len).sum();
        let (head, tail) = before.split_at(at);
        let mut text = String::new();
        if !head.is_empty() && !head.ends_with('\n') {
            text.push('\n');
        }
        text += new;
        if !new.ends_with('\n') && (!tail.is_empty() || before.ends_with('\n')) {
            text.push('\n');
        }
        let bytes = changed(name, document, (at, at), &text)?;
        Ok(Change { bytes, line: after + 1, lines: new.lines().count() })
    }

    fn replace(&self, name: &str, document: &Document) -> Result<Change, String> {
        let old = with_line_feeds(self.old_str.as_deref().unwrap_or_default());
        if old.is_empty() {
            return Err("`str_replace` takes `old_str`, the words to replace".into());
        }
        let new = self.new_str.as_deref().unwrap_or_default();
        let before = document.shown();
        let line_of = |at: usize| before[..at].matches('\n').count() + 1;
        let is_whole =
            |at: &usize| document.is_boundary(*at) && document.is_boundary(at + old.len());
        let places = before.match_indices(&old).map(|(at, _)| at).filter(is_whole);
        match places.collect::<Vec<_>>().as_slice() {
            [] => Err(format!(
                "{name} does not hold these words: `old_str` must be exactly what stands there, white space and all; nothing was changed"
            )),
            [at] => Ok(Change {
                bytes: changed(name, document, (*at, at + old.len()), new)?,
                line: line_of(*at),
                lines: new.lines().count(),
            }),
            places => {
                let lines: Vec<String> = places.iter().map(|at| line_of(*at).to_string()).collect();
                Err(format!(
                    "{name} holds these words {} times, at lines {}: give more of what stands around the place; nothing was changed",
                    places.len(),
                    lines.join(", ")
                ))
            }
        }
    }
}

/// The bytes of a changed file.
fn changed(
    name: &str,
    document: &Document,
    (from, to): (usize, usize),
    new: &str,
) -> Result<Vec<u8>, String> {
    if new.contains('\0') {
        return Err("`new_str` holds a zero byte, which no text has; nothing was changed".into());
    }
    document
        .replaced(from, to, new)
        .map_err(|why| format!("{name} cannot be changed so: {why}; nothing was changed"))
}

async fn write(context: &ToolContext<'_>, path: &str, bytes: &[u8]) -> Result<(), ToolError> {
    match context.sandbox.write(path, bytes).await {
        Err(SandboxError::File { why, .. }) => {
            Err(ToolError::Refused(format!("{path} cannot be written: {why}")))
        }
        written => Ok(written?),
    }
}

async fn undo(
    context: &ToolContext<'_>,
    root: &str,
    path: &str,
    depth: usize,
) -> Result<Observation, ToolError> {
    let name = shown(root, path);
    let Some(last) = depth.checked_sub(1) else {
        return Err(ToolError::Refused(format!("{name} has no change of `edit` to take back")));
    };
    let kept = context.sandbox.read(&backup(path, last)).await?;
    match kept.strip_prefix(b"1") {
        Some(before) => write(context, path, before).await?,
        None => drop(run(context, root, &["rm", "-f", "--", path], 1024).await?),
    }
    Ok(done(format!("{name} is as it was before its last change")))
}

/// The number of changes of a file that have not been undone.
fn depth(turns: &[Turn], root: &str, path: &str) -> usize {
    let edits = turns.iter().filter(|turn| turn.observation.outcome == Outcome::Done);
    edits.fold(0, |depth, turn| match &turn.action.call {
        Call::Tool { name, args } if name == NAME => {
            let same = args["path"].as_str().is_some_and(|other| absolute(root, other) == path);
            match (same, args["command"].as_str()) {
                (true, Some("undo")) => depth.saturating_sub(1),
                (true, _) => depth + 1,
                (false, _) => depth,
            }
        }
        _ => depth,
    })
}

fn backup(path: &str, depth: usize) -> String {
    let flat: String = path.chars().map(|c| if c == '/' { '%' } else { c }).collect();
    format!("{OWN}/edits/{flat}.{depth}")
}

/// The first syntax error of a Python text.
fn fault(text: &str) -> Option<String> {
    let parsed = ruff_python_parser::parse_unchecked_source(text, PySourceType::Python);
    let error = parsed.errors().first()?;
    let at = usize::from(error.location.start()).min(text.len());
    let line = text.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count() + 1;
    Some(format!("line {line}: {}", error.error))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(command: What) -> Arguments {
        Arguments {
            command,
            path: "a.py".into(),
            old_str: None,
            new_str: None,
            insert_line: None,
            file_text: None,
        }
    }

    #[track_caller]
    fn check_replace(before: &str, old: &str, new: &str, expected: Result<&str, &str>) {
        let asked = Arguments {
            old_str: Some(old.into()),
            new_str: Some(new.into()),
            ..asked(What::StrReplace)
        };
        let document = Document::read(before.into()).unwrap();
        match (asked.replace("a.py", &document), expected) {
            (Ok(change), Ok(text)) => assert_eq!(String::from_utf8(change.bytes).unwrap(), text),
            (Err(why), Err(part)) => assert!(why.contains(part), "{why}"),
            (change, expected) => panic!("{change:?} is not {expected:?}"),
        }
    }

    #[test]
    fn words_are_replaced_where_they_stand_once() {
        check_replace("a\nb\n", "b", "c", Ok("a\nc\n"));
        check_replace("a\nb\n", "b\n", "", Ok("a\n"));
        check_replace("a\n", "x", "c", Err("does not hold"));
        check_replace("a\na\n", "a", "c", Err("2 times, at lines 1, 2"));
        check_replace("a\n", "", "c", Err("takes `old_str`"));
    }

    #[test]
    fn lines_are_matched_whatever_ends_them() {
        let file = "def f():\r\n    x = 1\r\n    return x\r\n";
        check_replace(
            file,
            "    x = 1\n    return x\n",
            "    x = 5\n    return x\n",
            Ok("def f():\r\n    x = 5\r\n    return x\r\n"),
        );
        check_replace(
            file,
            "    x = 1",
            "    y = 1\n    x = 5 * y",
            Ok("def f():\r\n    y = 1\r\n    x = 5 * y\r\n    return x\r\n"),
        );
        check_replace(file, "    x = 1\r\n", "", Ok("def f():\r\n    return x\r\n"));
        check_replace("a\rb\rc\r", "a\nb\n", "a\nx\nb\n", Ok("a\rx\rb\rc\r"));
        check_replace("a\nb\n", "a\r\nb", "x\r\nb", Ok("x\nb\n"));
        check_replace("\u{feff}a\r\nb", "a", "c\nd", Ok("\u{feff}c\r\nd\r\nb"));
        check_insert("a\r\nb\r\n", 1, "    z = 3\n", "a\r\n    z = 3\r\nb\r\n");
        check_insert("a\r\nb", 2, "x", "a\r\nb\r\nx");
        check_insert("\u{feff}a\r\n", 0, "x", "\u{feff}x\r\na\r\n");
    }

    #[test]
    fn form_feeds_and_separators_end_no_line() {
        let file = "a\u{c}b\u{b}\u{2028}c\u{85}d\re\nf\n";
        check_insert(file, 1, "x", "a\u{c}b\u{b}\u{2028}c\u{85}d\re\nx\nf\n");
        check_insert(file, 3, "x", "a.py has 2 lines; nothing can be inserted after line 3");
        check_replace(file, "e\nf", "g", Ok("a\u{c}b\u{b}\u{2028}c\u{85}d\rg\n"));
    }

    #[track_caller]
    fn check_insert(before: &str, after: usize, new: &str, expected: &str) {
        let asked = Arguments {
            insert_line: Some(after),
            new_str: Some(new.into()),
            ..asked(What::Insert)
        };
        let document = Document::read(before.into()).unwrap();
        let bytes = asked.insert("a.py", &document).map(|change| change.bytes);
        let text = bytes.map(|bytes| String::from_utf8(bytes).unwrap());
        assert_eq!(text.unwrap_or_else(|why| why), expected);
    }

    #[test]
    fn lines_are_inserted_whole() {
        check_insert("a\nb\n", 1, "x", "a\nx\nb\n");
        check_insert("a\nb\n", 0, "x\n", "x\na\nb\n");
        check_insert("a\nb", 2, "x", "a\nb\nx");
        check_insert("", 0, "x", "x");
        check_insert("a\n", 3, "x", "a.py has 1 lines; nothing can be inserted after line 3");
    }

    #[test]
    fn what_python_cannot_read_is_named_by_its_line() {
        assert_eq!(fault("x = 1\n"), None);
        assert!(fault("x = 1\ny = (\n").unwrap().starts_with("line "));
    }
}
