//! Finds the reason of a failure in what pip prints.

/// What pip prints around the reason of a failure.
const GENERIC: [&str; 9] = [
    "subprocess-exited-with-error",
    "metadata-generation-failed",
    "failed-wheel-build",
    "legacy-install-failure",
    "Encountered error",
    "Exception:",
    "Failed building",
    "Failed to build",
    "Could not build",
];

/// The last line that states a reason, without pip's prefix: pip prints the reason of a
/// build back end first, and what the failure means to pip after it. What a back end adds
/// to its exception follows it.
pub(super) fn last_words(stderr: &[u8]) -> String {
    const MOST: usize = 300;
    let text = String::from_utf8_lossy(stderr);
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let reason = |line: &&str| {
        let bare = without_prefix(line);
        let stated = bare != *line || is_exception(line);
        stated && !bare.is_empty() && !GENERIC.iter().any(|words| bare.starts_with(words))
    };
    let is_end = |line: &&str| *line == "[end of output]";
    let before_end = || lines.iter().rposition(is_end)?.checked_sub(1);
    let at = lines.iter().rposition(reason).or_else(before_end).or(lines.len().checked_sub(1));
    let Some((line, rest)) = at.and_then(|at| lines[at..].split_first()) else {
        return "no reason given".to_string();
    };
    let more = match rest.iter().position(is_end) {
        Some(end) if is_exception(line) => &rest[..end],
        _ => &[],
    };
    let words = [&[without_prefix(line)], more].concat().join(" ");
    match words.char_indices().nth(MOST) {
        Some((end, _)) if !more.is_empty() => format!("{}…", &words[..end]),
        _ => words,
    }
}

/// A line without `error:` before it.
fn without_prefix(line: &str) -> &str {
    match line.get(..6) {
        Some(start) if start.eq_ignore_ascii_case("error:") => line[6..].trim(),
        _ => line,
    }
}

/// Whether a line is the last one of a Python traceback: `tomllib.TOMLDecodeError: why`.
fn is_exception(line: &str) -> bool {
    let name = line.split(':').next().unwrap_or_default();
    let dotted = name.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '.');
    let kinds = ["Error", "Exception", "Exit", "Interrupt"];
    dotted && kinds.iter().any(|kind| name.ends_with(kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(stderr: &str, expected: &str) {
        assert_eq!(last_words(stderr.as_bytes()), expected);
    }

    /// pip's output around that of a build back end, as of pip 23 and of pip 26.
    fn backend(output: &str, ends: &str) -> String {
        let output: String = output.lines().map(|line| format!("      {line}\n")).collect();
        format!(
            "  error: subprocess-exited-with-error\n  \n  \u{d7} Getting requirements to build \
             wheel did not run successfully.\n  \u{2502} exit code: 1\n  \u{2570}\u{2500}> [14 \
             lines of output]\n{output}      [end of output]\n  \n  note: This error \
             originates from a subprocess, and is likely not a problem with pip.\n{ends}"
        )
    }

    #[test]
    fn a_failed_installation_states_the_reason_itself() {
        let old = "error: subprocess-exited-with-error\n\n\u{d7} Getting requirements to build \
                   wheel did not run successfully.\n\u{2502} exit code: 1\n\u{2570}\u{2500}> See \
                   above for output.\n";
        let new = "ERROR: Failed to build 'file:///x' when getting requirements to build wheel\n";
        for ends in [old, new] {
            let flat = "error: Multiple top-level packages discovered in a flat-layout: ['a', \
                        'b'].\n\nTo avoid accidental inclusion of unwanted files\n";
            let expected = "Multiple top-level packages discovered in a flat-layout: ['a', 'b'].";
            check(&backend(flat, ends), expected);
            let raised = "Traceback (most recent call last):\n  File \"<string>\", line 1\n\
                          RuntimeError: why not\n";
            check(&backend(raised, ends), "RuntimeError: why not");
            let added = "ValueError: invalid pyproject.toml config: `project`.\nconfiguration \
                         error: `project` must contain ['version'] properties\n";
            let expected = "ValueError: invalid pyproject.toml config: `project`. configuration \
                            error: `project` must contain ['version'] properties";
            check(&backend(added, ends), expected);
            let long = format!("ValueError: why\n{}\n", "\u{e9}".repeat(400));
            let expected = format!("ValueError: why {}…", "\u{e9}".repeat(284));
            check(&backend(&long, ends), &expected);
            let missing = "Collecting setuptools\nERROR: Could not find a version\nERROR: No \
                           matching distribution found for nosuchpkg\n";
            check(&backend(missing, ends), "No matching distribution found for nosuchpkg");
        }
        check(&backend("it just ends here\n", new), "it just ends here");
        let toml = "ERROR: Exception:\nTraceback (most recent call last):\n  File \"x\", line 1\n\
                    tomllib.TOMLDecodeError: Expected '='\n";
        check(toml, "tomllib.TOMLDecodeError: Expected '='");
        check(
            "ERROR: Could not find a version\nERROR: No matching distribution found for x\n",
            "No matching distribution found for x",
        );
        check("[Errno 28] No space left on device\n", "[Errno 28] No space left on device");
        check("", "no reason given");
    }
}
