//! The root of an issue's work tree, and paths below it.

use fixfly_runtime::{Command, Output, SandboxError, ToolContext, ToolError};

/// Folder for the tools' own files, outside of the work tree.
pub(crate) const OWN: &str = "/tmp/.fixfly-tools";
/// Maximum number of characters of an observation.
pub(crate) const MOST: usize = 16_000;

/// The work tree of the task. Tools for issues need one.
pub(crate) fn root<'a>(tool: &str, context: &ToolContext<'a>) -> Result<&'a str, ToolError> {
    context.task.statement.work_tree().ok_or_else(|| {
        ToolError::Refused(format!("`{tool}` works on issues; this task has no work tree"))
    })
}

/// Makes a model's path absolute, inside the sandbox.
pub(crate) fn absolute(root: &str, path: &str) -> String {
    let path = path.trim();
    let path = if path.starts_with('/') { path.to_string() } else { format!("{root}/{path}") };
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

/// A path as it is shown: relative if it is below the root.
pub(crate) fn shown<'a>(root: &str, path: &'a str) -> &'a str {
    match path.strip_prefix(root) {
        Some("") => ".",
        Some(rest) => rest.strip_prefix('/').unwrap_or(path),
        None => path,
    }
}

/// Runs a command in the work tree.
pub(crate) async fn run(
    context: &ToolContext<'_>,
    root: &str,
    argv: &[&str],
    cap: usize,
) -> Result<Output, SandboxError> {
    let mut command = Command::new(argv.iter().copied());
    command.workdir = Some(root.to_string());
    command.output_cap = Some(cap);
    context.sandbox.exec(&command).await
}

/// Keeps the first and the last part of a long text, and states how much is left out.
pub(crate) fn clipped(text: &str, more: u64) -> String {
    let count = text.chars().count();
    if count <= MOST && more == 0 {
        return text.to_string();
    }
    let at = |nth: usize| text.char_indices().nth(nth).map_or(text.len(), |(at, _)| at);
    let (head, tail) = match count <= MOST {
        true => (text, ""),
        false => (&text[..at(MOST / 2)], &text[at(count - MOST / 2)..]),
    };
    let left_out = (text.len() - head.len() - tail.len()) as u64 + more;
    format!("{head}\n(... {left_out} bytes left out: ask for less at a time ...)\n{tail}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_below_the_root_or_absolute() {
        for (path, expected) in [
            ("a/b.py", "/r/a/b.py"),
            ("./a//b", "/r/a/b"),
            ("/etc/x", "/etc/x"),
            ("../x", "/x"),
            ("", "/r"),
            (".", "/r"),
        ] {
            assert_eq!(absolute("/r", path), expected, "{path}");
        }
        assert_eq!((shown("/r", "/r/a"), shown("/r", "/r"), shown("/r", "/rx")), ("a", ".", "/rx"));
    }

    #[test]
    fn long_texts_are_cut_in_the_middle() {
        assert_eq!(clipped("ä\n", 0), "ä\n");
        let long = "ä".repeat(MOST + 10);
        let cut = clipped(&long, 5);
        assert!(cut.contains("(... 25 bytes left out"), "{}", &cut[cut.len() / 2 - 40..]);
        assert!(clipped("a", 7).contains("(... 7 bytes left out"));
    }
}
