//! Finds what an agent changed in its work tree, by fixfly's own memory of the tree.
//!
//! A program in the sandbox compares the files with a list of the base commit ([`listing`]).
//! The rest happens on this machine, where the agent has no reach: the base commit's ignore
//! rules ([`base`]), and the diff in a git directory that lives for one call ([`diff`]). The
//! agent's own git directory is never read, so its history, index, configuration and
//! attributes have no influence, and the files of a nested repository are files.

mod base;
mod diff;
mod listing;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use fixfly_runtime::{BenchmarkError, Change, LeftOut, LeftOutReason, Sandbox};

use base::Base;
use listing::{Entry, Found};

use super::patch::{quoted, shown};

/// Maximum size of one file, in bytes.
const MAX_FILE: u64 = 8 << 20;
/// Maximum size of all changed files, in bytes.
const MAX_CHANGE: u64 = 16 << 20;
/// What each file counts in addition. git takes minutes for a folder of 200,000 empty files.
const PER_FILE: u64 = 1 << 10;
/// Maximum number of paths that are listed as left out for one reason.
const MAX_LISTED: usize = 200;
/// Maximum number of ignored files that are listed.
const MAX_IGNORED: usize = 20;
/// How the names of source files end.
const SOURCES: [&[u8]; 7] = [b".py", b".pyi", b".pyx", b".pxd", b".cfg", b".toml", b".ini"];

/// A path below the root of the work tree: any bytes but zero.
type TreePath = Vec<u8>;

/// The type and the permission of a file, as far as git records them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    File,
    Executable,
    Link,
}

impl Mode {
    fn name(self) -> &'static str {
        match self {
            Mode::File => "100644",
            Mode::Executable => "100755",
            Mode::Link => "120000",
        }
    }

    fn parse(name: &[u8]) -> Option<Mode> {
        [Mode::File, Mode::Executable, Mode::Link]
            .into_iter()
            .find(|mode| mode.name().as_bytes() == name)
    }
}

/// The change of one file.
#[derive(Clone, Debug, PartialEq)]
struct Edit {
    path: TreePath,
    /// Its new type and contents; `None` if it is deleted.
    to: Option<(Mode, Vec<u8>)>,
}

/// A file to read from the sandbox.
#[derive(Clone, Debug, PartialEq)]
struct Wanted {
    path: TreePath,
    mode: Mode,
    size: u64,
}

/// A path that is left out.
struct Left {
    path: TreePath,
    reason: LeftOutReason,
    bytes: Option<u64>,
}

/// The change of the work tree at `root` in the sandbox, against `tree`, the tree of the base
/// commit on this machine.
pub(crate) async fn change(
    tree: &Path,
    root: &str,
    sandbox: &dyn Sandbox,
) -> Result<Change, BenchmarkError> {
    let tree = tree.to_owned();
    let base = Arc::new(blocking(move || Base::open(&tree)).await?);
    let found = listing::list(sandbox, root, base.rows()).await?;
    if found.is_empty() {
        return Ok(Change::default());
    }
    let known = Arc::clone(&base);
    let Selected { deleted, wanted, mut left } = blocking(move || select(&known, found)).await?;
    let contents = listing::read(sandbox, root, &wanted).await?;
    let mut edits: Vec<Edit> = deleted.into_iter().map(|path| Edit { path, to: None }).collect();
    for (Wanted { path, mode, .. }, content) in wanted.into_iter().zip(contents) {
        match content {
            Ok(bytes) => edits.push(Edit { path, to: Some((mode, bytes)) }),
            Err(reason) => left.push(Left { path, reason, bytes: None }),
        }
    }
    let (patch, links) = blocking(move || diff::patch(&base, edits)).await?;
    let reason = LeftOutReason::LinkTarget;
    left.extend(links.into_iter().map(|path| Left { path, reason, bytes: None }));
    Ok(Change { patch, left_out: listed(left) })
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BenchmarkError> + Send + 'static,
) -> Result<T, BenchmarkError> {
    tokio::task::spawn_blocking(work).await.map_err(BenchmarkError::bug("a change"))?
}

/// What of the found paths becomes part of the change.
#[derive(Default)]
struct Selected {
    deleted: Vec<TreePath>,
    wanted: Vec<Wanted>,
    left: Vec<Left>,
}

impl Selected {
    fn leave(&mut self, path: TreePath, reason: LeftOutReason, bytes: Option<u64>) {
        self.left.push(Left { path, reason, bytes });
    }
}

/// Removes what the base commit ignores, and what is beyond the limits.
fn select(base: &Base, found: Vec<Found>) -> Result<Selected, BenchmarkError> {
    let ignored = ignored(base, &found)?;
    let (ignored, mut found): (Vec<Found>, Vec<Found>) =
        found.into_iter().partition(|found| ignored.contains(&found.path));
    let mut selected = Selected::default();
    for path in sources(base, ignored) {
        selected.leave(path, LeftOutReason::Ignored, None);
    }
    // Files of the base commit first, then small ones: a large file takes no other's place.
    found.sort_by_cached_key(|found| {
        let size = found.size().or(base.size(&found.path)).unwrap_or_default();
        (!base.contains(&found.path), size, found.path.clone())
    });
    let mut total = 0;
    for Found { path, entry } in found {
        let (mode, size) = match entry {
            Entry::Left(reason) => {
                selected.leave(path, reason, None);
                continue;
            }
            Entry::Changed { mode, size } | Entry::New { mode, size } => (Some(mode), size),
            Entry::Deleted => (None, base.size(&path).unwrap_or_default()),
        };
        if is_refused(&path, mode == Some(Mode::Link)) {
            selected.leave(path, LeftOutReason::RefusedPath, None);
        } else if size > MAX_FILE {
            selected.leave(path, LeftOutReason::TooLarge, Some(size));
        } else if total + size + PER_FILE > MAX_CHANGE {
            selected.leave(path, LeftOutReason::ChangeTooLarge, Some(size));
        } else {
            total += size + PER_FILE;
            match mode {
                Some(mode) => selected.wanted.push(Wanted { path, mode, size }),
                None => selected.deleted.push(path),
            }
        }
    }
    Ok(selected)
}

/// The paths that the base commit does not contain and ignores.
fn ignored(base: &Base, found: &[Found]) -> Result<HashSet<TreePath>, BenchmarkError> {
    let asked = |found: &Found| match found.entry {
        // git decides about files; this one stands for those in the folder.
        Entry::Left(LeftOutReason::TooManyFiles) => [&found.path[..], b"/file"].concat(),
        _ => found.path.clone(),
    };
    let others: Vec<&Found> =
        found.iter().filter(|found| found.path != b"." && !base.contains(&found.path)).collect();
    let ignored = base.ignored(others.iter().map(|found| asked(found)))?;
    let is_ignored = |found: &&&Found| ignored.contains(&asked(found));
    Ok(others.iter().filter(is_ignored).map(|found| found.path.clone()).collect())
}

/// Those of the ignored files that may be work of the agent: source files, but no caches and
/// packages of tools, and no copies of files of the base commit, as a build makes them.
fn sources(base: &Base, ignored: Vec<Found>) -> Vec<TreePath> {
    let known = base.names_and_sizes();
    let is_of_tool = |part: &[u8]| {
        part.starts_with(b".")
            || [&b"__pycache__"[..], b"node_modules", b"site-packages"].contains(&part)
            || part.ends_with(b".egg-info")
    };
    let is_source = |found: &Found| {
        let Entry::New { size, .. } = found.entry else { return false };
        let name = base::name(&found.path);
        SOURCES.iter().any(|end| name.ends_with(end))
            && !known.contains(&(name, size))
            && !found.path.split(|byte| *byte == b'/').any(is_of_tool)
    };
    ignored.into_iter().filter(is_source).map(|found| found.path).collect()
}

/// Whether git refuses a path: one bad path would make it refuse the whole patch.
fn is_refused(path: &[u8], is_link: bool) -> bool {
    path.split(|byte| b"/\\".contains(byte)).any(|part| {
        let part = part.to_ascii_lowercase();
        let is_git_directory = [&b".git"[..], b"git~1"].iter().any(|start| {
            let rest = part.strip_prefix(*start);
            let rest = rest.and_then(|rest| rest.split(|byte| *byte == b':').next());
            rest.is_some_and(|rest| rest.iter().all(|byte| b". ".contains(byte)))
        });
        let is_modules = [&b".gitmodules"[..], b"gitmod~", b"gi7eba~"]
            .iter()
            .any(|start| part.starts_with(start));
        is_git_directory || (is_link && is_modules)
    })
}

/// What is left out, for the record: sorted, and only so much of it that it stays readable.
fn listed(mut left: Vec<Left>) -> Vec<LeftOut> {
    left.sort_by(|one, other| (one.reason, &one.path).cmp(&(other.reason, &other.path)));
    let groups = left.chunk_by(|one, other| one.reason == other.reason);
    let shown = groups.flat_map(|group| {
        let is_ignored = group.first().is_some_and(|left| left.reason == LeftOutReason::Ignored);
        let most = if is_ignored { MAX_IGNORED } else { MAX_LISTED };
        let more = group.len().saturating_sub(most);
        let count = group.len() - more;
        group[..count].iter().enumerate().map(move |(at, left)| LeftOut {
            path: shown(&left.path),
            reason: left.reason,
            bytes: left.bytes,
            more: if at + 1 == count { more as u64 } else { 0 },
        })
    });
    shown.collect()
}
