//! Applies a known patch with an agent's tools: hunk by hunk, then it submits. The
//! turns so far show what is already done.

use fixfly_runtime::{Action, Call, Outcome, SUBMIT_COMMAND, Usage, View};
use serde_json::{Value, json};

use crate::answer::call_as_text;

/// The next step of applying `patch`.
pub(crate) fn next(patch: &str, view: &View<'_>) -> Action {
    let plan = plan(patch, view);
    let (text, call) = match plan.into_iter().nth(view.turns.len()) {
        Some((name, args)) => {
            (call_as_text(name, &args), Call::Tool { name: name.to_string(), args })
        }
        None => (String::new(), Call::Submit),
    };
    Action { text, reasoning: None, call, usage: Usage::default(), generation: None }
}

type Step = (&'static str, Value);

/// All steps, including those already taken. An edit is refused if its text occurs in
/// the file more than once; from then on the shell applies the patch.
fn plan(patch: &str, view: &View<'_>) -> Vec<Step> {
    let has = |tool: &str| view.task.tools.iter().any(|name| name == tool);
    let edits = has("edit").then(|| edits(patch)).flatten();
    let refused = |turn: &fixfly_runtime::Turn| turn.observation.outcome == Outcome::Refused;
    let mut plan = match (edits, view.turns.iter().position(refused)) {
        (Some(edits), None) => edits,
        (Some(mut edits), Some(at)) => {
            edits.truncate(at + 1);
            edits.push(by_shell(patch));
            edits
        }
        (None, _) if patch.is_empty() => Vec::new(),
        (None, _) => vec![by_shell(patch)],
    };
    match has("submit") {
        true => plan.extend([("submit", json!({})), ("submit", json!({}))]),
        false => plan.push(("bash", json!({ "command": SUBMIT_COMMAND }))),
    }
    plan
}

fn by_shell(patch: &str) -> Step {
    let command = format!(
        "git checkout -q -- . && git clean -fdq && git apply - <<'END_OF_PATCH'\n{}\nEND_OF_PATCH",
        patch.trim_end_matches('\n')
    );
    ("bash", json!({ "command": command }))
}

/// The patch as edits; `None` if edits cannot express it.
fn edits(patch: &str) -> Option<Vec<Step>> {
    let mut steps = Vec::new();
    let (mut path, mut is_new) = (String::new(), false);
    let mut hunk: Option<[String; 2]> = None;
    let mut left = [0_usize; 2];
    let mut last = ' ';
    for line in patch.split_inclusive('\n') {
        if let (Some([old, new]), true) = (&mut hunk, left != [0, 0] || line.starts_with('\\')) {
            let (sign, rest) = (line.chars().next()?, line.get(1..).unwrap_or_default());
            match sign {
                '\\' => {
                    let sides = [(old, '+'), (new, '-')];
                    for (side, _) in sides.into_iter().filter(|(_, other)| last != *other) {
                        side.truncate(side.trim_end_matches('\n').len());
                    }
                    continue;
                }
                '-' => old.push_str(rest),
                '+' => new.push_str(rest),
                _ => {
                    old.push_str(if rest.is_empty() { "\n" } else { rest });
                    new.push_str(if rest.is_empty() { "\n" } else { rest });
                }
            }
            last = sign;
            left[0] = left[0].checked_sub(usize::from(sign != '+'))?;
            left[1] = left[1].checked_sub(usize::from(sign != '-'))?;
            continue;
        }
        steps.extend(step(&path, is_new, hunk.take())?);
        if line.starts_with("rename ")
            || line.starts_with("deleted file")
            || line.starts_with("GIT binary")
        {
            return None;
        } else if let Some(old) = line.strip_prefix("--- ") {
            is_new = old.trim() == "/dev/null";
        } else if let Some(new) = line.strip_prefix("+++ b/") {
            path = new.split('\t').next()?.trim_end().to_string();
        } else if let Some(ranges) = line.strip_prefix("@@ -") {
            let (old, rest) = ranges.split_once(" +")?;
            let count = |range: &str| {
                range.split_once(',').map_or(Some(1), |(_, count)| count.parse().ok())
            };
            left = [count(old)?, count(rest.split(' ').next()?)?];
            hunk = Some(Default::default());
        }
    }
    steps.extend(step(&path, is_new, hunk)?);
    Some(steps)
}

/// The step for a hunk: `Some(None)` without a hunk, `None` if an edit cannot
/// express it.
fn step(path: &str, is_new: bool, hunk: Option<[String; 2]>) -> Option<Option<Step>> {
    let Some([old, new]) = hunk else { return Some(None) };
    let args = match (is_new, old.is_empty()) {
        (true, _) => json!({ "command": "create", "path": path, "file_text": new }),
        (false, true) => return None,
        (false, false) => {
            json!({ "command": "str_replace", "path": path, "old_str": old, "new_str": new })
        }
    };
    Some(Some(("edit", args)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_is_edits() {
        let patch = "diff --git a/a.py b/a.py\n--- a/a.py\n+++ b/a.py\n@@ -1,3 +1,3 @@\n x\n-y\n+z\n w\n@@ -9 +9,2 @@ def f():\n q\n+r\n\
                     diff --git a/b.py b/b.py\nnew file mode 100644\n--- /dev/null\n+++ b/b.py\n@@ -0,0 +1 @@\n+new\n\\ No newline at end of file\n";
        let expected: Vec<Step> = vec![
            (
                "edit",
                json!({ "command": "str_replace", "path": "a.py", "old_str": "x\ny\nw\n", "new_str": "x\nz\nw\n" }),
            ),
            (
                "edit",
                json!({ "command": "str_replace", "path": "a.py", "old_str": "q\n", "new_str": "q\nr\n" }),
            ),
            ("edit", json!({ "command": "create", "path": "b.py", "file_text": "new" })),
        ];
        assert_eq!(edits(patch), Some(expected));
        assert_eq!(edits("rename from a\n"), None);
        assert_eq!(edits(""), Some(Vec::new()));
    }
}
