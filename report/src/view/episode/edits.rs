//! The change so far of an issue, as the calls that edited files describe it. A record has
//! the whole change only where it was submitted, and no file that it could be made from.

use fixfly_runtime::{Call, Outcome, Turn};
use serde::Serialize;
use serde_json::Value;

use super::{EpisodePage, paint};

/// The most edits that every turn shows again: each repeats those before it.
const MAX_REPEATED: usize = 20;

#[derive(Serialize)]
pub(super) struct EditsView {
    /// The files, with the number of edits, and where the whole change is.
    note_html: String,
    /// The edits, in the order of the calls.
    edits: Vec<EditView>,
}

#[derive(Serialize)]
struct EditView {
    title_html: String,
    html: String,
}

struct Edit<'a> {
    turn: usize,
    file: &'a str,
    args: &'a Value,
}

/// The edits up to a turn that edits a file; `None` for other turns.
pub(super) fn edits(page: &EpisodePage<'_>, at: usize) -> Option<EditsView> {
    let turns = &page.episode.turns;
    let submits = |turn: &Turn| turn.observation.patch.is_some();
    edited(&turns[at])?;
    if submits(&turns[at]) {
        return None;
    }
    let whole = match turns.iter().skip(at).position(submits) {
        Some(later) => format!("turn {} records the whole change", at + later + 1),
        None if page.episode.patch.is_some() => "the verdict shows the whole change".into(),
        None => "the whole change is not recorded".into(),
    };
    let last = turns.iter().rposition(|turn| edited(turn).is_some()) == Some(at);
    let standing = standing(&turns[..=at]);
    let shown = last || standing.len() <= MAX_REPEATED;
    Some(EditsView {
        note_html: format!(
            "Calls that edited files so far: {}; {whole}.",
            files(&turns[..=at]).join(", ")
        ),
        edits: standing.iter().filter(|_| shown).map(view).collect(),
    })
}

/// The files that were edited, with the number of calls.
fn files(turns: &[Turn]) -> Vec<String> {
    let mut files: Vec<(&str, usize)> = Vec::new();
    for (file, _) in turns.iter().filter_map(edited) {
        match files.iter_mut().find(|(name, _)| *name == file) {
            Some((_, count)) => *count += 1,
            None => files.push((file, 1)),
        }
    }
    files.iter().map(|(file, count)| format!("{} ({count})", paint::text(file))).collect()
}

/// The edits that no later call undid.
fn standing(turns: &[Turn]) -> Vec<Edit<'_>> {
    let mut standing: Vec<Edit<'_>> = Vec::new();
    for (turn, (file, args)) in
        turns.iter().enumerate().filter_map(|(turn, did)| Some((turn, edited(did)?)))
    {
        if argument(args, "command") != "undo" {
            standing.push(Edit { turn, file, args });
        } else if let Some(undone) = standing.iter().rposition(|edit| edit.file == file) {
            standing.remove(undone);
        }
    }
    standing
}

fn view(edit: &Edit<'_>) -> EditView {
    let text = |key| argument(edit.args, key);
    let (old, new) = match text("command") {
        "create" => ("", text("file_text")),
        "insert" => ("", text("new_str")),
        _ => (text("old_str"), text("new_str")),
    };
    let place = match edit.args.get("insert_line").and_then(Value::as_u64) {
        Some(line) => format!(", after line {line}"),
        None => String::new(),
    };
    EditView {
        title_html: format!("Turn {}: {}{place}", edit.turn + 1, paint::text(edit.file)),
        html: paint::difference(old, new).unwrap_or_default(),
    }
}

fn argument<'a>(args: &'a Value, key: &str) -> &'a str {
    args.get(key).and_then(Value::as_str).unwrap_or_default()
}

/// The file that a turn edited with a tool, and the arguments.
fn edited(turn: &Turn) -> Option<(&str, &Value)> {
    let Call::Tool { args, .. } = &turn.action.call else { return None };
    let done = turn.observation.outcome == Outcome::Done;
    let writes = ["str_replace", "insert", "create", "undo"].contains(&argument(args, "command"));
    let path = args.get("path").and_then(Value::as_str)?;
    (done && writes).then_some((path, args))
}

#[cfg(test)]
mod tests {
    use fixfly_runtime::Action;
    use serde_json::json;

    use super::*;
    use crate::fixture::episodes;

    /// Calls in order; the titles of the edits that stand after the last one.
    #[track_caller]
    fn check(calls: &[(Outcome, Value)], expected: &[&str]) {
        let mut turn = episodes::issue().turns[0].clone();
        let turns: Vec<Turn> = calls
            .iter()
            .map(|(outcome, args)| {
                turn.observation.outcome = *outcome;
                let call = Call::Tool { name: "edit".into(), args: args.clone() };
                turn.action = Action { call, ..turn.action.clone() };
                turn.clone()
            })
            .collect();
        let titles: Vec<String> =
            standing(&turns).iter().map(|edit| view(edit).title_html).collect();
        assert_eq!(titles, expected);
    }

    #[test]
    fn edits_stand_until_they_are_undone() {
        let replace =
            json!({"command": "str_replace", "path": "a.py", "old_str": "1", "new_str": "2"});
        let insert = json!({"command": "insert", "path": "b.py", "insert_line": 3, "new_str": "x"});
        let undo = json!({"command": "undo", "path": "a.py"});
        let view = json!({"command": "view", "path": "a.py"});
        let done = |args: &Value| (Outcome::Done, args.clone());
        check(&[], &[]);
        check(&[done(&view)], &[]);
        check(&[(Outcome::Invalid, replace.clone())], &[]);
        check(&[done(&replace), done(&insert)], &["Turn 1: a.py", "Turn 2: b.py, after line 3"]);
        check(
            &[done(&replace), done(&replace), done(&insert), done(&undo)],
            &["Turn 1: a.py", "Turn 3: b.py, after line 3"],
        );
        check(&[done(&undo)], &[]);
    }
}
