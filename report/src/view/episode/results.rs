//! Results of tests: what failed and what changed first, tracebacks with the candidate's
//! own frames marked.

use std::collections::HashMap;

use fixfly_runtime::{Episode, TestDelta, TestFailure, TestOutcome, TestReport, TestResult};
use serde::Serialize;

use super::{paint, word};
use crate::recorded::cut;

/// The most tests of one kind that a page lists.
const MAX_ROWS: usize = 200;

#[derive(Serialize)]
pub(super) struct ResultsView {
    passed: usize,
    total: usize,
    /// The tests that did not pass, or changed.
    rows: Vec<Row>,
    more_rows: usize,
    /// The names of all others.
    others_html: Vec<String>,
    more_others: usize,
    counts: Vec<(&'static str, usize)>,
}

#[derive(Serialize)]
struct Row {
    name_html: String,
    outcome: String,
    class: &'static str,
    change: &'static str,
    /// The exception and its message.
    error_html: String,
    traceback_html: String,
    output_html: String,
    open: bool,
}

/// The frames that belong to a candidate.
pub(super) struct OwnFrames {
    files: Vec<String>,
    /// The functions; any if there are none.
    functions: Vec<String>,
}

impl OwnFrames {
    /// Those of the methods that a task asks for, or of the files that a change touches.
    pub(super) fn of(episode: &Episode) -> OwnFrames {
        let statement = &episode.task.statement;
        if let Some(file) = statement.file() {
            let functions = statement.names().into_iter().map(String::from).collect();
            return OwnFrames { files: vec![file.into()], functions };
        }
        let submitted = episode.turns.iter().filter_map(|turn| turn.observation.patch.as_deref());
        let patches = episode.patch.as_deref().into_iter().chain(submitted);
        let names = patches.flat_map(str::lines).filter_map(|line| line.strip_prefix("+++ b/"));
        let files = names.map(|name| name.trim_end().to_string()).collect();
        OwnFrames { files, functions: Vec::new() }
    }

    /// Whether a line opens a frame, and whether the frame is the candidate's.
    fn frame(&self, line: &str) -> Option<bool> {
        let (path, rest) = line.trim_start().strip_prefix("File \"")?.split_once("\", line ")?;
        let function = rest.split_once(", in ").map(|(_, name)| name.trim());
        let same = |file: &String| {
            let before = path.strip_suffix(file.as_str());
            before.is_some_and(|before| before.is_empty() || before.ends_with('/'))
        };
        let is_one = |name: &str| self.functions.iter().any(|function| function == name);
        let named = self.functions.is_empty() || function.is_some_and(is_one);
        Some(named && self.files.iter().any(same))
    }

    fn traceback(&self, text: &str) -> String {
        if cut(text).is_some() {
            return paint::long(text);
        }
        let mut html = String::new();
        let mut own = false;
        for line in text.lines() {
            match self.frame(line) {
                Some(is_own) => own = is_own,
                // The exception follows the frames.
                None if !line.starts_with(' ') => own = false,
                None => {}
            }
            let line = paint::text(line);
            html += &match own {
                true => format!("<span class=\"own\">{line}</span>\n"),
                false => format!("{line}\n"),
            };
        }
        html
    }
}

impl ResultsView {
    pub(super) fn of(report: &TestReport, delta: &TestDelta, own: &OwnFrames) -> ResultsView {
        let kinds = [
            ("fixed", &delta.fixed),
            ("broken", &delta.broken),
            ("still failing", &delta.still_failing),
            ("flaky", &delta.flaky),
        ];
        let changes: HashMap<&str, &'static str> = kinds
            .iter()
            .flat_map(|(kind, names)| names.iter().map(move |name| (name.as_str(), *kind)))
            .collect();
        let (shown, others): (Vec<&TestResult>, Vec<&TestResult>) =
            report.results.iter().partition(|result| {
                !result.outcome.is_fine() || changes.contains_key(result.id.as_str())
            });
        let mut rows: Vec<Row> = shown
            .iter()
            .take(MAX_ROWS)
            .map(|result| row(result, changes.get(result.id.as_str()).copied(), own))
            .collect();
        if let Some(first) = rows.iter_mut().find(|row| !row.traceback_html.is_empty()) {
            first.open = true;
        }
        let others_html: Vec<String> =
            others.iter().take(MAX_ROWS).map(|result| paint::long(&result.id)).collect();
        ResultsView {
            passed: report.count_passed(),
            total: report.results.len(),
            more_rows: shown.len() - rows.len(),
            more_others: others.len() - others_html.len(),
            rows,
            others_html,
            counts: kinds
                .into_iter()
                .map(|(kind, names)| (kind, names.len()))
                .filter(|(_, count)| *count > 0)
                .collect(),
        }
    }
}

fn row(result: &TestResult, change: Option<&'static str>, own: &OwnFrames) -> Row {
    let failure = result.failure.as_ref();
    let part = |of: fn(&TestFailure) -> &str| failure.map(of).unwrap_or_default();
    let error = match (part(|failure| &failure.exception), part(|failure| &failure.message)) {
        (exception, "") => exception.to_string(),
        (exception, message) => format!("{exception}: {message}"),
    };
    let traceback = part(|failure| &failure.traceback);
    Row {
        name_html: paint::long(&result.id),
        outcome: word(&result.outcome),
        class: match result.outcome {
            TestOutcome::Passed => "pass",
            TestOutcome::Skipped | TestOutcome::ExpectedFailure => "neutral",
            TestOutcome::Flaky | TestOutcome::Misreported | TestOutcome::NotRun => "warn",
            _ => "fail",
        },
        change: change.unwrap_or_default(),
        error_html: paint::long(&error),
        traceback_html: own.traceback(traceback),
        output_html: paint::long(part(|failure| &failure.output)),
        open: false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_candidates_frames_are_its_own() {
        let own = OwnFrames { files: vec!["shop/cart.py".into()], functions: vec!["total".into()] };
        let check = |line: &str, expected: Option<bool>| assert_eq!(own.frame(line), expected);
        check("  File \"shop/cart.py\", line 16, in total", Some(true));
        check("  File \"/src/shop/cart.py\", line 16, in total", Some(true));
        check("  File \"/src/workshop/cart.py\", line 16, in total", Some(false));
        check("  File \"shop/cart.py\", line 16, in add", Some(false));
        check("    raise ValueError", None);
        let text = "Traceback:\n  File \"a.py\", line 1, in f\n    f()\n  File \"shop/cart.py\", line 2, in total\n    <b>\nValueError\n";
        assert_eq!(
            own.traceback(text),
            "Traceback:\n  File &quot;a.py&quot;, line 1, in f\n    f()\n<span class=\"own\">  File &quot;shop&#x2f;cart.py&quot;, line 2, in total</span>\n<span class=\"own\">    &lt;b&gt;</span>\nValueError\n"
        );
    }
}
