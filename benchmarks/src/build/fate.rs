//! Why tests of the census are left out, and why there may be nothing to build on.

use std::collections::BTreeMap;
use std::fs;

use serde_json::Value;

use super::count::{Answer, Row};
use super::newer::newer_syntax;
use super::repeat::{NETWORK, Unreliable};
use crate::observe::clip;
use crate::project::Project;

/// Why a test is left out that no later run finds.
pub(super) const UNSTABLE: &str = "its id changes from run to run";

/// The tests that did not pass in the census, each with the reason.
pub(super) fn of(events: &[Row]) -> impl Iterator<Item = Unreliable> {
    let mut fates: BTreeMap<&str, Option<&Row>> = BTreeMap::new();
    for row in events {
        match row.event.as_str() {
            "started" => {
                fates.entry(&row.id).or_default();
            }
            "passed" => {
                fates.remove(row.id.as_str());
            }
            "failed" | "errored" | "out_of_memory" | "skipped" | "expected_failure"
            | "unexpected_success" => {
                if let Some(fate) = fates.get_mut(row.id.as_str()) {
                    fate.get_or_insert(row);
                }
            }
            _ => {}
        }
    }
    fates.into_iter().map(|(id, row)| {
        let Some(row) = row else {
            let evidence = "it started, and its process ended or took too long";
            return Unreliable::new(id, "hangs, or ends its process", evidence);
        };
        let reason = match row.event.as_str() {
            "skipped" => "is skipped",
            "expected_failure" => "is expected to fail",
            _ if needs_network(&row.failure) => NETWORK,
            _ => "fails on the unchanged source",
        };
        Unreliable::new(id, reason, clip(traceback(&row.failure).trim_end(), 1_000))
    })
}

fn traceback(failure: &Value) -> &str {
    failure.get("traceback").and_then(Value::as_str).unwrap_or_default()
}

/// Whether one of the exceptions behind a failure is what Python raises without a network:
/// a name that is not resolved, a service that is not there, no way to it. The types are
/// read from the lines that state them; errors of the operating system have only a number.
fn needs_network(failure: &Value) -> bool {
    const TYPES: [&str; 4] = [
        "socket.gaierror:",
        "ConnectionRefusedError:",
        "OSError: [Errno 101]",
        "OSError: [Errno 113]",
    ];
    let mut lines = traceback(failure).lines().map(|line| line.trim_start_matches([' ', '|']));
    lines.any(|line| TYPES.iter().any(|kind| line.starts_with(kind)))
}

/// An error if no test can be used: why there is nothing to build on, and what to do.
pub(super) fn no_pass(project: &Project, answers: &[Answer]) -> String {
    let rows = || answers.iter().flat_map(|answer| &answer.events);
    let count = rows().filter(|row| row.event == "census").count();
    let unreliable = || answers.iter().flat_map(|answer| answer.unreliable.iter().flatten());
    if let Some(test) = unreliable().next() {
        return format!(
            "none of the project's {count} tests passes each time: {} {} ({}); the project needs \
             tests that depend on its source alone",
            test.id,
            test.reason,
            last_line(&test.evidence)
        );
    }
    if let Some(why) = needs_newer(project) {
        return why;
    }
    let fates: Vec<Unreliable> = answers.iter().flat_map(|answer| of(&answer.events)).collect();
    let offline = || fates.iter().filter(|test| test.reason == NETWORK);
    if let Some(first) = offline().next().filter(|_| 2 * offline().count() > fates.len()) {
        return format!(
            "none of the project's {count} tests passes on its unchanged source, and {} of them \
             need a network or a service ({}); fixfly's sandbox has neither: choose tests that \
             need none in the project's settings (addopts = \"-m 'not network'\")",
            offline().count(),
            last_line(&first.evidence)
        );
    }
    let first = rows().map(|row| traceback(&row.failure)).find(|text| !text.is_empty());
    let why = first.map_or("no reason given", last_line);
    format!(
        "none of the project's {count} tests passes on its unchanged source; the first: {why}; \
         what they need is named by --extra or --install"
    )
}

/// The first file whose syntax the environment's Python does not have, in a sentence.
pub(super) fn needs_newer(project: &Project) -> Option<String> {
    let version = fs::read_to_string(project.folder.join("python")).ok()?;
    let minor = version.trim().split('.').nth(1)?.parse().ok()?;
    let source = project.folder.join("source");
    let found = super::tree::texts(&source, &["py"])
        .into_iter()
        .find_map(|(file, text)| newer_syntax(&text, minor).map(|newer| (file, newer)));
    let (file, newer) = found?;
    Some(format!(
        "none of the project's tests can run: {file}, line {}, needs Python 3.{} ({}), and the \
         environment has Python {}; point FIXFLY_PYTHON at Python 3.{} or newer",
        newer.line,
        newer.minor,
        newer.what,
        version.trim(),
        newer.minor
    ))
}

fn last_line(text: &str) -> &str {
    text.trim_end().lines().last().unwrap_or("no reason given")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The events of one test, and the reason expected.
    #[track_caller]
    fn check(events: Value, expected: &[&str]) {
        let rows: Vec<Row> = serde_json::from_value(events).unwrap();
        let reasons: Vec<String> = of(&rows).map(|test| test.reason).collect();
        assert_eq!(reasons, expected);
    }

    #[test]
    fn tests_that_do_not_pass_are_left_out_by_their_reason() {
        let fails = |traceback: &str| {
            json!([{"event": "started", "id": "a"},
                   {"event": "failed", "id": "a", "failure": {"traceback": traceback}}])
        };
        let source = "fails on the unchanged source";
        check(json!([{"event": "started", "id": "a"}, {"event": "passed", "id": "a"}]), &[]);
        check(json!([{"event": "started", "id": "a"}]), &["hangs, or ends its process"]);
        check(
            json!([{"event": "started", "id": "a"}, {"event": "skipped", "id": "a"}]),
            &["is skipped"],
        );
        check(fails("AssertionError: 1 != 2\n"), &[source]);
        check(fails("socket.gaierror: [Errno -2] Name or service not known\n"), &[NETWORK]);
        check(
            fails("ConnectionRefusedError: [Errno 111] no\n\nThe above\n\nx.ConnectionError: y\n"),
            &[NETWORK],
        );
        check(fails("  | OSError: [Errno 101] Network is unreachable\n"), &[NETWORK]);
        check(fails("OSError: [Errno 28] No space left on device\n"), &[source]);
        check(fails("AssertionError: not ConnectionRefusedError: x\n"), &[source]);
    }
}
