//! Ranks the places that may have the fault: those in the tracebacks of the failing tests,
//! then those that failing tests enter and passing tests do not.

use std::sync::LazyLock;

use fixfly_runtime::TestResult;
use regex::Regex;
use serde::Serialize;

use super::census::Census;
use crate::places::Place;

/// A function or method that may have the fault.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Suspect {
    /// The id of its task: `shop/cart.py::Cart.total`.
    pub id: String,
    /// Its file, relative to the repository.
    pub file: String,
    /// The line of `def`, from 1.
    pub line: usize,
    /// Ochiai's coefficient, from 0 to 1: how well entering it predicts that a test fails.
    pub score: f64,
    /// Whether it is in the traceback of a failing test.
    pub in_traceback: bool,
    /// Number of failing tests that enter it.
    pub failed: usize,
    /// Number of passing tests that enter it.
    pub passed: usize,
}

/// The suspects, the likeliest first, at most `most`.
pub(super) fn suspects(
    places: &[Place],
    failing: &[TestResult],
    census: &Census,
    most: usize,
) -> Vec<(Suspect, Place)> {
    let frames = frames(failing);
    let mut ranked: Vec<_> = places
        .iter()
        .filter_map(|place| {
            let entered = census.entered(&place.file, place.method.line, failing);
            let depth = frames.iter().position(|frame| is_in(frame, place));
            if depth.is_none() && entered.failed == 0 {
                return None;
            }
            let suspect = Suspect {
                id: id(place),
                file: place.file.clone(),
                line: place.method.line,
                score: ochiai(entered.failed, entered.passed, failing.len()),
                in_traceback: depth.is_some(),
                failed: entered.failed,
                passed: entered.passed,
            };
            Some((depth.unwrap_or(usize::MAX), entered.distance, suspect, place.clone()))
        })
        .collect();
    ranked.sort_by(|(depth, distance, one, _), (other_depth, other_distance, other, _)| {
        let place = |suspect: &Suspect| (suspect.file.clone(), suspect.line);
        depth
            .cmp(other_depth)
            .then(other.score.total_cmp(&one.score))
            .then(distance.cmp(other_distance))
            .then_with(|| place(one).cmp(&place(other)))
    });
    ranked.truncate(most);
    ranked.into_iter().map(|(_, _, suspect, place)| (suspect, place)).collect()
}

/// An id that is unique in the repository: a property's setter has its getter's name.
fn id(place: &Place) -> String {
    match place.method.unique {
        true => place.id(),
        false => format!("{}:{}", place.id(), place.method.line),
    }
}

/// Ochiai's coefficient: `failed / sqrt(all failing * (failed + passed))`.
fn ochiai(failed: usize, passed: usize, total_failed: usize) -> f64 {
    let product = total_failed as f64 * (failed + passed) as f64;
    if product == 0.0 { 0.0 } else { failed as f64 / product.sqrt() }
}

/// A line of a traceback, in a file below the repository.
#[derive(Debug, PartialEq, Eq)]
struct Frame {
    file: String,
    line: usize,
}

static FRAME: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r#"(?m)^[ |]*File "([^"]+)", line (\d+)"#).ok());

/// The frames of all tracebacks: first the innermost one of each, then those around them. The
/// exception that a test ended with comes before those that led to it.
fn frames(failing: &[TestResult]) -> Vec<Frame> {
    let mut all: Vec<(usize, Frame)> = Vec::new();
    for failure in failing.iter().filter_map(|result| result.failure.as_ref()) {
        let found = FRAME.iter().flat_map(|frame| frame.captures_iter(&failure.traceback));
        let found = found.filter_map(|captures| {
            let line = captures.get(2)?.as_str().parse().ok()?;
            Some(Frame { file: captures.get(1)?.as_str().to_string(), line })
        });
        let found: Vec<Frame> = found.collect();
        all.extend(found.into_iter().rev().enumerate());
    }
    all.sort_by_key(|(depth, _)| *depth);
    all.into_iter().map(|(_, frame)| frame).collect()
}

/// Whether the frame is a line of this place.
fn is_in(frame: &Frame, place: &Place) -> bool {
    let method = &place.method;
    let end = method.line + place.text[method.span.clone()].matches('\n').count();
    frame.file == place.file && (method.line..=end).contains(&frame.line)
}

/// The suspects as text, the likeliest first.
pub(super) fn list<'a>(suspects: impl Iterator<Item = &'a Suspect>) -> String {
    let mut text = "Places to try, the likeliest first, with Ochiai's score:\n".to_string();
    for (at, suspect) in suspects.enumerate() {
        let Suspect { id, line, score, failed, passed, .. } = suspect;
        let mut why = Vec::new();
        why.extend(suspect.in_traceback.then(|| "in the traceback".to_string()));
        why.push(format!("entered by {failed} failing and {passed} passing tests"));
        text += &format!("  {}  {score:.2}  {id} (line {line}): {}\n", at + 1, why.join(", "));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use fixfly_runtime::{TestFailure, TestOutcome};
    use serde_json::json;

    use super::*;
    use crate::source;

    const TEXT: &str = "\
class Cart:
    def __init__(self):
        self.items = []

    def total(self):
        return self.sum()

    def sum(self):
        raise KeyError

    def name(self):
        return ''
";

    fn places() -> Vec<Place> {
        let place = |method| Place { file: "cart.py".into(), text: Arc::from(TEXT), method };
        source::methods(TEXT).unwrap().into_iter().map(place).collect()
    }

    fn failing(traceback: &str) -> Vec<TestResult> {
        let failure = TestFailure {
            exception: "KeyError".into(),
            message: String::new(),
            traceback: traceback.into(),
            output: String::new(),
        };
        vec![TestResult { id: "bad".into(), outcome: TestOutcome::Failed, failure: Some(failure) }]
    }

    /// A census in which each test enters the methods that are on these lines.
    fn census(tests: &[(&str, bool, &[usize])]) -> Census {
        let mut census = Census::default();
        let mut events = Vec::new();
        for (id, passed, lines) in tests {
            let hits: Vec<_> = lines.iter().map(|line| json!(["cart.py", line, 0, 3])).collect();
            events.push(json!({ "event": "census", "id": id, "hits": hits }));
            let event = if *passed { "passed" } else { "failed" };
            events.push(json!({ "event": event, "id": id }));
        }
        let answer = serde_json::from_value(json!({ "events": events, "outcome": "done" }));
        census.add(answer.unwrap());
        census
    }

    #[track_caller]
    fn check(traceback: &str, tests: &[(&str, bool, &[usize])], expected: &[(&str, f64)]) {
        let found = suspects(&places(), &failing(traceback), &census(tests), 3);
        let found: Vec<(&str, f64)> = found
            .iter()
            .map(|(suspect, _)| {
                let name = suspect.id.trim_start_matches("cart.py::Cart.");
                (name, (suspect.score * 100.0).round() / 100.0)
            })
            .collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn what_passing_tests_enter_is_less_likely() {
        check(
            "",
            &[("bad", false, &[2, 5, 8]), ("good", true, &[2, 8]), ("other", true, &[2, 11])],
            &[("total", 1.0), ("sum", 0.71), ("__init__", 0.58)],
        );
    }

    #[test]
    fn frames_of_the_traceback_come_first_the_innermost_before_its_callers() {
        let traceback = "Traceback (most recent call last):\n  \
            File \"test_cart.py\", line 5, in test\n    cart.total()\n  \
            File \"cart.py\", line 6, in total\n    return self.sum()\n  \
            File \"cart.py\", line 9, in sum\n    raise KeyError\nKeyError\n";
        let tests: &[(&str, bool, &[usize])] =
            &[("bad", false, &[2, 5, 8]), ("good", true, &[5, 8])];
        check(traceback, tests, &[("sum", 0.71), ("total", 0.71), ("__init__", 1.0)]);
    }

    #[test]
    fn a_test_that_enters_nothing_has_no_suspects() {
        check("", &[("good", true, &[2, 5])], &[]);
        check("  File \"other.py\", line 6, in total\n", &[], &[]);
        // The line between two methods.
        check("  File \"cart.py\", line 4, in total\n", &[], &[]);
    }

    #[test]
    fn the_list_gives_the_reasons() {
        let found = suspects(
            &places(),
            &failing("  File \"cart.py\", line 6, in total\n"),
            &census(&[("bad", false, &[2, 5]), ("good", true, &[2])]),
            5,
        );
        insta::assert_snapshot!(list(found.iter().map(|(suspect, _)| suspect)), @r"
        Places to try, the likeliest first, with Ochiai's score:
          1  1.00  cart.py::Cart.total (line 5): in the traceback, entered by 1 failing and 0 passing tests
          2  0.71  cart.py::Cart.__init__ (line 2): entered by 1 failing and 1 passing tests
        ");
    }
}
