//! Renders a test report as the text that a policy reads: the first failure of each test,
//! within a size limit. The same report gives the same bytes.

use fixfly_runtime::{Outcome, TestOutcome, TestReport, TestResult};

/// Maximum bytes of an observation.
const BUDGET: usize = 8_000;
/// Maximum bytes of one test's failure if several failed.
const SHARE: usize = 2_500;

/// The observation of a report.
pub(crate) fn observation(outcome: Outcome, report: &TestReport, notes: &[String]) -> String {
    let total = report.results.len();
    let passed = report.count_passed();
    let mut text: String = notes.iter().map(|note| format!("Note: {note}\n")).collect();
    text.push_str(&format!("{} {passed} of {total} tests passed.\n", headline(outcome)));
    let failed: Vec<_> =
        report.results.iter().filter(|r| r.outcome != TestOutcome::Passed).collect();
    let failures = failures(&failed, text.len());
    text + &failures
}

/// The failures of these tests, as many as there is room for beside `used` bytes.
pub(crate) fn failures(failed: &[&TestResult], used: usize) -> String {
    let share = match failed.len() {
        0 | 1 => BUDGET * 3 / 4,
        several => (BUDGET / several).clamp(600, SHARE),
    };
    let (mut text, mut left_out) = (String::new(), 0);
    for result in failed {
        let block = block(result, share);
        if used + text.len() + block.len() > BUDGET {
            left_out += 1;
            continue;
        }
        text.push_str(&block);
    }
    if left_out > 0 {
        text.push_str(&format!("\n[{left_out} more failing tests are not shown]\n"));
    }
    text
}

pub(crate) fn headline(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Passed => "Passed.",
        Outcome::TimedOut => "The time limit ran out.",
        Outcome::Crashed => "The process crashed.",
        Outcome::OutOfMemory => "The memory limit was met.",
        Outcome::Exited => "The process exited before the tests were done.",
        Outcome::Tampered => "The test run was interfered with.",
        Outcome::Failed
        | Outcome::Invalid
        | Outcome::Done
        | Outcome::Refused
        | Outcome::Submitted => "Failed.",
    }
}

fn block(result: &TestResult, share: usize) -> String {
    let mut text = format!("\n{}: {}\n", word(result.outcome), result.id);
    if let Some(failure) = &result.failure {
        text.push_str(&clip(shown(&failure.traceback).trim_end(), share));
        text.push('\n');
        let output = shown(&failure.output);
        let output = output.trim();
        if !output.is_empty() {
            text.push_str(&format!("Printed:\n{}\n", clip(output, share / 3)));
        }
    }
    text
}

/// A text with the control characters that act on a terminal, or end a string for another
/// program, as their escapes. The report itself keeps them.
fn shown(text: &str) -> String {
    let acts = |c: char| c.is_control() && c != '\n' && c != '\t';
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match acts(c) {
            true => shown.push_str(&format!("\\x{:02x}", u32::from(c))),
            false => shown.push(c),
        }
    }
    shown
}

pub(crate) fn word(outcome: TestOutcome) -> &'static str {
    match outcome {
        TestOutcome::Passed => "PASSED",
        TestOutcome::Failed => "FAILED",
        TestOutcome::Errored => "ERROR",
        TestOutcome::Skipped => "SKIPPED (this is not a pass)",
        TestOutcome::ExpectedFailure => "FAILED AS EXPECTED (this is not a pass)",
        TestOutcome::UnexpectedSuccess => "PASSED, THOUGH A FAILURE IS EXPECTED",
        TestOutcome::TimedOut => "TIMED OUT",
        TestOutcome::Crashed => "CRASHED",
        TestOutcome::OutOfMemory => "OUT OF MEMORY",
        TestOutcome::Exited => "EXITED",
        TestOutcome::NotRun => "NOT RUN",
        TestOutcome::Misreported => "NOT REPORTED ONCE AS PASSED",
        TestOutcome::Flaky => "FLAKY",
    }
}

/// Keeps the start and the end of a text.
pub(crate) fn clip(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_string();
    }
    let head = text.floor_char_boundary(most / 3);
    let tail = text.ceil_char_boundary(text.len() - (most - most / 3));
    let elided = text[head..tail].chars().count();
    format!("{}\n[... {elided} characters left out ...]\n{}", &text[..head], &text[tail..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use fixfly_runtime::TestFailure;

    fn failing(id: &str, size: usize) -> TestResult {
        TestResult {
            id: id.into(),
            outcome: TestOutcome::Failed,
            failure: Some(TestFailure {
                exception: "AssertionError".into(),
                message: "1 != 2".into(),
                traceback: format!("Traceback\n{}\nAssertionError: 1 != 2\n", "x".repeat(size)),
                output: "hello\n".into(),
            }),
        }
    }

    #[test]
    fn a_report_reads_well() {
        let report = TestReport {
            results: vec![
                TestResult { id: "a.A.test_1".into(), outcome: TestOutcome::Passed, failure: None },
                failing("a.A.test_2", 10),
                TestResult {
                    id: "a.A.test_3".into(),
                    outcome: TestOutcome::Skipped,
                    failure: None,
                },
            ],
        };
        insta::assert_snapshot!(observation(
            Outcome::Failed,
            &report,
            &["decorators were left out".into()]
        ));
    }

    #[test]
    fn control_characters_are_shown_as_their_escapes() {
        let mut result = failing("a.A.test_1", 0);
        let failure = result.failure.as_mut().unwrap();
        failure.traceback = "ValueError: red \u{1b}[31m, nothing \0\n\tcaf\u{e9}\n".into();
        failure.output = "\u{9b}31m and \u{7}\r\n".into();
        let text = observation(Outcome::Failed, &TestReport { results: vec![result] }, &[]);
        assert!(text.contains("ValueError: red \\x1b[31m, nothing \\x00\n\tcaf\u{e9}\n"), "{text}");
        assert!(text.contains("\\x9b31m and \\x07\\x0d"), "{text}");
        assert!(!text.chars().any(|c| c.is_control() && c != '\n' && c != '\t'), "{text:?}");
    }

    #[test]
    fn a_text_stays_within_its_budget() {
        for (tests, size) in [(1, 50_000), (5, 50_000), (50, 50_000), (500, 10)] {
            let results = (0..tests).map(|n| failing(&format!("t{n}"), size)).collect();
            let text = observation(Outcome::Failed, &TestReport { results }, &[]);
            assert!(text.len() < BUDGET + 200, "{tests} tests of {size}: {}", text.len());
            assert!(text.contains("AssertionError: 1 != 2"));
        }
    }
}
