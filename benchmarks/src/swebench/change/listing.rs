//! Asks a program in the sandbox for what differs from the base commit.
//!
//! The interpreter and its library are in read-only mounts, and `-I -S` makes it ignore
//! everything that an agent can write (variables, user folders, the work tree). No program of
//! the agent runs beside it: a sandbox ends them all with the call that started them.

use std::time::Duration;

use fixfly_runtime::{BenchmarkError, Command, LeftOutReason, Sandbox, Status};

use super::{Mode, TreePath, Wanted};

const PROGRAM: &str = include_str!("files.py");
/// Maximum number of new files and folders; a sandbox's disk has room for fewer.
const MAX_NEW: usize = 300_000;
/// Maximum bytes of the program's output; it limits itself to less.
const OUTPUT: usize = 96 << 20;
const TIMEOUT: Duration = Duration::from_secs(300);

/// A path that differs from the base commit.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Found {
    pub(super) path: TreePath,
    pub(super) entry: Entry,
}

/// How it differs.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Entry {
    /// A file of the base commit with other contents, or of another type.
    Changed {
        mode: Mode,
        size: u64,
    },
    New {
        mode: Mode,
        size: u64,
    },
    Deleted,
    /// It cannot be taken.
    Left(LeftOutReason),
}

impl Found {
    /// Its size in the sandbox, if it is a file.
    pub(super) fn size(&self) -> Option<u64> {
        match self.entry {
            Entry::Changed { size, .. } | Entry::New { size, .. } => Some(size),
            Entry::Deleted | Entry::Left(_) => None,
        }
    }
}

/// What differs from the base commit, whose files `rows` lists.
pub(super) async fn list(
    sandbox: &dyn Sandbox,
    root: &str,
    rows: Vec<u8>,
) -> Result<Vec<Found>, BenchmarkError> {
    let output = run(sandbox, &["list", root, &MAX_NEW.to_string()], rows).await?;
    parse(&output).ok_or_else(|| unreadable("the list of its files is not complete"))
}

/// The contents of files, each with the reason if it cannot be taken.
pub(super) async fn read(
    sandbox: &dyn Sandbox,
    root: &str,
    wanted: &[Wanted],
) -> Result<Vec<Result<Vec<u8>, LeftOutReason>>, BenchmarkError> {
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let mut rows = Vec::new();
    for Wanted { path, size, .. } in wanted {
        rows.extend(format!("{size}\t").into_bytes());
        rows.extend(path);
        rows.push(0);
    }
    let output = run(sandbox, &["read", root], rows).await?;
    contents(&output, wanted.len())
        .ok_or_else(|| unreadable("the contents of its files are not complete"))
}

async fn run(
    sandbox: &dyn Sandbox,
    words: &[&str],
    stdin: Vec<u8>,
) -> Result<Vec<u8>, BenchmarkError> {
    let python = ["python3", "-I", "-S", "-c", PROGRAM];
    let mut command = Command::new(python.into_iter().chain(words.iter().copied()));
    command.stdin = stdin;
    command.workdir = Some("/".into());
    command.timeout = Some(TIMEOUT);
    command.output_cap = Some(OUTPUT);
    let output = sandbox.exec(&command).await?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    Err(match output.status {
        Status::Exited(0) if output.elided == 0 => return Ok(output.stdout),
        Status::Exited(0) => unreadable("the list of its files is too long"),
        Status::TimedOut => unreadable(&format!("it took longer than {} s", TIMEOUT.as_secs())),
        status => match stderr.lines().rfind(|line| !line.trim().is_empty()) {
            Some(line) => unreadable(line),
            None => unreadable(&format!("python3 ended with {status:?}")),
        },
    })
}

fn unreadable(why: &str) -> BenchmarkError {
    BenchmarkError::Broken(format!("the change of the work tree cannot be read: {why}"))
}

/// Reads the records of a list; `None` if it is damaged or not complete.
fn parse(output: &[u8]) -> Option<Vec<Found>> {
    let mut fields = output.strip_suffix(b"\0")?.split(|byte| *byte == 0);
    let mut found = Vec::new();
    loop {
        let [kind, mode, size, _hash, path] = std::array::from_fn(|_| fields.next());
        let path = path?;
        let number = |text: &[u8]| std::str::from_utf8(text).ok()?.parse::<u64>().ok();
        let file = || Some((Mode::parse(mode?)?, number(size?)?));
        let entry = match kind? {
            b"changed" => file().map(|(mode, size)| Entry::Changed { mode, size })?,
            b"new" => file().map(|(mode, size)| Entry::New { mode, size })?,
            b"deleted" => Entry::Deleted,
            b"end" => {
                let is_complete = number(path)? == found.len() as u64 && fields.next().is_none();
                return is_complete.then_some(found);
            }
            kind => Entry::Left(reason(kind)?),
        };
        if !is_below_root(path) && path != b"." {
            return None;
        }
        found.push(Found { path: path.to_vec(), entry });
    }
}

fn reason(kind: &[u8]) -> Option<LeftOutReason> {
    Some(match kind {
        b"many" => LeftOutReason::TooManyFiles,
        b"unreadable" => LeftOutReason::Unreadable,
        b"special" => LeftOutReason::SpecialFile,
        b"changing" => LeftOutReason::ChangedWhileRead,
        _ => return None,
    })
}

fn is_below_root(path: &[u8]) -> bool {
    path.split(|byte| *byte == b'/').all(|part| !matches!(part, b"" | b"." | b".."))
}

/// Reads the contents of that many files; `None` if they are not complete.
fn contents(mut output: &[u8], count: usize) -> Option<Vec<Result<Vec<u8>, LeftOutReason>>> {
    let line = |output: &mut &[u8]| {
        let end = output.iter().position(|byte| *byte == b'\n')?;
        let line = &output[..end];
        *output = &output[end + 1..];
        Some(line.to_vec())
    };
    let mut all = Vec::new();
    for _ in 0..count {
        let head = line(&mut output)?;
        all.push(match head.strip_prefix(b"-") {
            Some(kind) => Err(reason(kind)?),
            None => {
                let length = std::str::from_utf8(&head).ok()?.parse().ok()?;
                let (bytes, rest) = output.split_at_checked(length)?;
                output = rest;
                Ok(bytes.to_vec())
            }
        });
    }
    (output == b"end\n").then_some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_complete_or_refused() {
        let check = |output: &str, expected: Option<usize>| {
            let output = output.replace('|', "\0");
            assert_eq!(parse(output.as_bytes()).map(|found| found.len()), expected, "{output:?}");
        };
        check("end||0||0|", Some(0));
        check("new|100644|3||a b\n|deleted||0||c|end||0||2|", Some(2));
        check("special||0||p|many||0||.|end||0||2|", Some(2));
        check("", None);
        check("new|100644|3||a|", None);
        check("new|100644|3||a|end||0||2|", None);
        check("new|100644|3||a|end||0||1", None);
        check("new|160000|3||a|end||0||1|", None);
        check("new|100644|x||a|end||0||1|", None);
        check("odd|100644|3||a|end||0||1|", None);
        check("end||0||0|new|100644|3||a|", None);
        for path in ["../a", "/a", "a//b", "a/./b", "a/..", ""] {
            check(&format!("new|100644|3||{path}|end||0||1|"), None);
        }
    }

    #[test]
    fn contents_are_complete_or_refused() {
        let check = |output: &[u8], expected: Option<usize>| {
            assert_eq!(contents(output, 2).map(|all| all.len()), expected, "{output:?}");
        };
        check(b"2\nab-changing\nend\n", Some(2));
        check(b"0\n3\n1\n\n\xffend\n", None);
        check(b"0\n3\n\n1\xffend\n", Some(2));
        check(b"2\nab2\nab", None);
        check(b"2\nab9\nabend\n", None);
        check(b"2\nabend\n", None);
        check(b"-odd\n-changing\nend\n", None);
    }
}
