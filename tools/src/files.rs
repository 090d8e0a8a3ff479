//! Reads the files of a work tree through the sandbox, without ignored files.

use std::io::Read;

use fixfly_runtime::{Status, ToolContext, ToolError};

use crate::place::run;

/// Maximum bytes of all files together.
const ALL: usize = 512 << 20;

/// Lists the files that git tracks or does not ignore, or all files if this is no
/// repository; `$2` is an additional condition for `find`.
const LIST: &str = "\
cd -- \"$1\" 2>/dev/null || exit 7
{ git ls-files -z --cached --others --exclude-standard 2>/dev/null || find . -name .git -prune -o -type f -print0; } |
xargs -0 -r -n 500 sh -c 'wanted=$1; shift; find \"$@\" -maxdepth 0 -type f $wanted -print0 2>/dev/null' sh \"$2\"";

/// A larger file is not source code.
const SOURCE: &str = "-size -2048k";

const PACK: &str = " | tar --null --no-recursion -cf - -T - 2>/dev/null";

/// A file below the requested folder.
pub(crate) struct Found {
    /// Its path, relative to that folder.
    pub(crate) path: String,
    pub(crate) bytes: Vec<u8>,
}

/// The paths of all files below `folder`, sorted.
pub(crate) async fn names(
    context: &ToolContext<'_>,
    root: &str,
    folder: &str,
) -> Result<Vec<String>, ToolError> {
    let listed = ask(context, root, folder, LIST, "").await?;
    let mut names: Vec<String> = listed
        .split(|byte| *byte == 0)
        .map(|name| String::from_utf8_lossy(name).trim_start_matches("./").to_string())
        .filter(|name| !name.is_empty())
        .collect();
    names.sort();
    // A file with a conflict is listed once for each side.
    names.dedup();
    Ok(names)
}

/// Every file below `folder` with its contents, by path.
pub(crate) async fn files(
    context: &ToolContext<'_>,
    root: &str,
    folder: &str,
) -> Result<Vec<Found>, ToolError> {
    let packed = ask(context, root, folder, &format!("{LIST}{PACK}"), SOURCE).await?;
    let mut archive = tar::Archive::new(packed.as_slice());
    let mut found = Vec::new();
    // Files beyond the cap are ignored.
    for mut entry in archive.entries().into_iter().flatten().map_while(Result::ok) {
        let Ok(path) = entry.path().map(|path| path.to_string_lossy().into_owned()) else {
            continue;
        };
        let mut bytes = Vec::new();
        if entry.read_to_end(&mut bytes).is_ok() {
            found.push(Found { path: path.trim_start_matches("./").to_string(), bytes });
        }
    }
    found.sort_by(|one, other| one.path.cmp(&other.path));
    Ok(found)
}

async fn ask(
    context: &ToolContext<'_>,
    root: &str,
    folder: &str,
    script: &str,
    wanted: &str,
) -> Result<Vec<u8>, ToolError> {
    let output = run(context, root, &["bash", "-c", script, "bash", folder, wanted], ALL).await?;
    if output.status == Status::Exited(7) {
        return Err(ToolError::Refused(format!("{folder} is no folder; name one below {root}")));
    }
    Ok(output.stdout)
}
