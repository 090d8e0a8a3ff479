//! Makes one patch of the changed files, in a git directory of fixfly's own.
//!
//! The patch is UTF-8 and can be applied by `git apply`: a file whose change is not UTF-8 text
//! is in git's binary form. Prefixes are `a/` and `b/`, and no file is renamed or copied, so
//! each part of the patch is about one path.

use std::collections::HashMap;
use std::fs;

use fixfly_runtime::BenchmarkError;

use super::base::Base;
use super::{Edit, Mode, TreePath, quoted};
use crate::git::stdout;

const FAILED: &str = "the change of the work tree cannot be made a patch";

/// The patch, if anything changed, and the links that no patch in UTF-8 can contain.
pub(super) fn patch(
    base: &Base,
    edits: Vec<Edit>,
) -> Result<(Option<String>, Vec<TreePath>), BenchmarkError> {
    let mut changed = Vec::new();
    let mut links = Vec::new();
    for edit in edits {
        let old = match base.get(&edit.path) {
            Some(file) => Some((file.mode, base.content(&edit.path)?)),
            None => None,
        };
        let is_odd_link = |side: &Option<(Mode, Vec<u8>)>| {
            side.as_ref().is_some_and(|(mode, target)| *mode == Mode::Link && !is_text(target))
        };
        if old == edit.to {
            continue;
        } else if is_odd_link(&old) || is_odd_link(&edit.to) {
            links.push(edit.path);
        } else {
            changed.push((edit, old));
        }
    }
    if changed.is_empty() {
        return Ok((None, links));
    }
    changed.sort_by(|(one, _), (other, _)| one.path.cmp(&other.path));
    import(base, &changed)?;
    // Attributes can make a change disappear, such as one of line ends only.
    Ok((Some(diff(base)?).filter(|patch| !patch.is_empty()), links))
}

type Changed = (Edit, Option<(Mode, Vec<u8>)>);

/// Whether bytes can stand in a patch as text.
fn is_text(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok() && !bytes.contains(&0)
}

/// What git is given as the contents of a file.
enum Content<'a> {
    Bytes(&'a [u8]),
    Blob(String),
}

/// Commits the base, and the change on top of it.
fn import(base: &Base, changed: &[Changed]) -> Result<(), BenchmarkError> {
    let converted = converted(base, changed)?;
    let (mut before, mut after, mut deleted) = (Vec::new(), Vec::new(), Vec::new());
    for (edit, old) in changed {
        let path = edit.path.as_slice();
        let Some((mode, bytes)) = &edit.to else {
            deleted.extend(format!("D {}\n", quoted(path)).into_bytes());
            continue;
        };
        let content = match (converted.get(path), old) {
            (Some(blob), Some((old_mode, old))) if *mode != Mode::Link => {
                // As text, the bytes themselves can be applied. In binary form git applies
                // only what it would have stored.
                let is_plain =
                    is_text(old) && is_text(bytes) && has_other_line_ends(base, blob, old)?;
                if is_plain {
                    modify(&mut before, *old_mode, path, &Content::Bytes(old));
                    Content::Bytes(bytes)
                } else {
                    Content::Blob(cleaned(base, path, bytes)?)
                }
            }
            _ => Content::Bytes(bytes),
        };
        modify(&mut after, *mode, path, &content);
    }
    let mut stream = commit("base", &base.commit);
    stream.extend(before);
    stream.extend(commit("change", "refs/heads/base"));
    stream.extend(deleted);
    stream.extend(after);
    let mut import = base.git();
    import.args(["fast-import", "--quiet", "--force"]);
    stdout(&mut import, &stream, FAILED).map(drop)
}

fn commit(branch: &str, from: &str) -> Vec<u8> {
    let committer = "committer fixfly <fixfly@localhost> 0 +0000";
    format!("commit refs/heads/{branch}\n{committer}\ndata 0\n\nfrom {from}\n").into_bytes()
}

fn modify(stream: &mut Vec<u8>, mode: Mode, path: &[u8], content: &Content) {
    let (mode, path) = (mode.name(), quoted(path));
    match content {
        Content::Blob(hash) => stream.extend(format!("M {mode} {hash} {path}\n").into_bytes()),
        Content::Bytes(bytes) => {
            let head = format!("M {mode} inline {path}\ndata {}\n", bytes.len());
            stream.extend(head.into_bytes());
            stream.extend(*bytes);
            stream.push(b'\n');
        }
    }
}

/// The blobs of changed files that attributes of the base commit convert (line ends,
/// encodings, `$Id$`).
fn converted(
    base: &Base,
    changed: &[Changed],
) -> Result<HashMap<TreePath, String>, BenchmarkError> {
    let files =
        changed.iter().filter(|(_, old)| old.as_ref().is_some_and(|(mode, _)| *mode != Mode::Link));
    let paths: Vec<&[u8]> = files.map(|(edit, _)| edit.path.as_slice()).collect();
    let hashes = base.hashes(&paths)?;
    let blobs = paths.into_iter().zip(hashes).filter_map(|(path, hash)| {
        let blob = &base.get(path)?.blob;
        (*blob != hash).then(|| (path.to_vec(), blob.clone()))
    });
    Ok(blobs.collect())
}

/// Whether a file differs from its blob in nothing but line ends.
fn has_other_line_ends(base: &Base, blob: &str, file: &[u8]) -> Result<bool, BenchmarkError> {
    let blob = stdout(base.git().args(["cat-file", "blob", blob]), &[], FAILED)?;
    let normal = |bytes: &[u8]| String::from_utf8_lossy(bytes).replace("\r\n", "\n");
    Ok(normal(&blob) == normal(file))
}

/// Stores a file's contents as the base commit's attributes convert them.
fn cleaned(base: &Base, path: &[u8], bytes: &[u8]) -> Result<String, BenchmarkError> {
    use std::os::unix::ffi::OsStrExt;
    let mut store = base.git();
    store.args(["hash-object", "-w", "--stdin", "--path"]).arg(std::ffi::OsStr::from_bytes(path));
    let hash = stdout(&mut store, bytes, FAILED)?;
    Ok(String::from_utf8_lossy(&hash).trim().to_string())
}

/// The diff between the two commits: each file as text, if that is UTF-8.
fn diff(base: &Base) -> Result<String, BenchmarkError> {
    let texts = diff_with(base, "* diff\n")?;
    if is_text(&texts) {
        return utf8(texts);
    }
    let binaries = diff_with(base, "* -diff\n")?;
    let (texts, binaries) = (parts(&texts), parts(&binaries));
    if texts.len() != binaries.len() {
        return Err(BenchmarkError::Broken(format!("{FAILED}: its binary form has other files")));
    }
    let pairs = texts.into_iter().zip(binaries);
    let chosen: Vec<&[u8]> =
        pairs.map(|(text, binary)| if is_text(text) { text } else { binary }).collect();
    utf8(chosen.concat())
}

fn utf8(patch: Vec<u8>) -> Result<String, BenchmarkError> {
    String::from_utf8(patch)
        .map_err(|_| BenchmarkError::Broken(format!("{FAILED}: it is not UTF-8")))
}

fn diff_with(base: &Base, attributes: &str) -> Result<Vec<u8>, BenchmarkError> {
    // These attributes precede those of files.
    let file = base.git_dir().join("info/attributes");
    fs::write(&file, attributes)
        .map_err(|e| BenchmarkError::Broken(format!("{}: {e}", file.display())))?;
    let mut diff = base.git();
    diff.args(["diff-tree", "-p", "--binary", "--no-renames", "--no-color", "--no-ext-diff"]);
    diff.args(["--no-textconv", "--src-prefix=a/", "--dst-prefix=b/", "--unified=3"]);
    diff.args(["refs/heads/base", "refs/heads/change"]);
    stdout(&mut diff, &[], FAILED)
}

/// The parts of git's own diff, one for each file. No line inside a part begins as a part does:
/// a line of text has a sign first, and a line of binary data has no space.
fn parts(diff: &[u8]) -> Vec<&[u8]> {
    const START: &[u8] = b"diff --git ";
    let mut starts = Vec::new();
    let mut at = 0;
    for line in diff.split_inclusive(|byte| *byte == b'\n') {
        if line.starts_with(START) {
            starts.push(at);
        }
        at += line.len();
    }
    let ends = starts.iter().skip(1).copied().chain([diff.len()]);
    starts.iter().zip(ends).map(|(start, end)| &diff[*start..end]).collect()
}
