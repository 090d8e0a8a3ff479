//! unittest's events: what it reports itself for each test, beside the log.

use std::collections::BTreeSet;

use fixfly_runtime::{TestOutcome, TestReport, TestResult};
use serde::{Deserialize, Serialize};

use super::log::Statuses;

/// The program that runs in the interpreter of the tests, as `sitecustomize`.
pub(super) const PROGRAM: &str = include_str!("../../swebench/events.py");

/// One event of unittest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Event {
    /// A test started, or ended with a status.
    Test {
        /// `m.C.test_x`.
        id: String,
        /// `test_x (m.C)`, or on newer Pythons `test_x (m.C.test_x)`.
        text: String,
        /// The test's name in the log: its text, and its docstring's first line.
        name: String,
        /// `started`, `passed`, `failed`, `error`, `skipped`,
        /// `expected_failure` or `unexpected_success`.
        status: String,
    },
    /// The run ended by itself, with the result of a test that must fail.
    Control {
        /// Whether that test failed.
        control: bool,
    },
}

/// All events of unittest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Events(pub Vec<Event>);

impl Events {
    /// Reads the lines of the pipe; other lines are ignored.
    pub(crate) fn read(bytes: &[u8]) -> Events {
        let lines = bytes.split(|byte| *byte == b'\n');
        Events(lines.filter_map(|line| serde_json::from_slice(line).ok()).collect())
    }

    /// Whether the run ended by itself, and the test that must fail failed.
    pub fn sound(&self) -> bool {
        let controls = self.0.iter().filter_map(|event| match event {
            Event::Control { control } => Some(*control),
            Event::Test { .. } => None,
        });
        let controls: Vec<bool> = controls.collect();
        controls == [true]
    }

    /// Whether the control shows that failures are no longer reported.
    pub fn tampered(&self) -> bool {
        self.0.iter().any(|event| matches!(event, Event::Control { control: false }))
    }

    /// Tests that started and did not end.
    fn unfinished(&self) -> BTreeSet<&str> {
        let mut open = BTreeSet::new();
        for event in &self.0 {
            let Event::Test { id, status, .. } = event else { continue };
            match status.as_str() {
                "started" => open.insert(id.as_str()),
                _ => open.remove(id.as_str()),
            };
        }
        open
    }

    /// The result of each test, by its id, in the order in which they ended.
    pub fn by_id(&self) -> Vec<(&str, &str, &str, &str)> {
        let mut all: Vec<(&str, &str, &str, &str)> = Vec::new();
        let mut places = std::collections::HashMap::new();
        for event in &self.0 {
            let Event::Test { id, text, name, status } = event else { continue };
            let word = match status.as_str() {
                "passed" => "PASSED",
                "failed" | "unexpected_success" => "FAILED",
                "error" => "ERROR",
                "skipped" => "SKIPPED",
                "expected_failure" => "XFAIL",
                _ => continue,
            };
            match places.get(id.as_str()) {
                None => {
                    places.insert(id.as_str(), all.len());
                    all.push((id, text, name, word));
                }
                // A failure remains a failure, whatever else is reported for the test.
                Some(&at) => {
                    let there: &mut (&str, &str, &str, &str) = &mut all[at];
                    if there.3 != "FAILED" && there.3 != "ERROR" {
                        there.3 = word;
                    }
                }
            }
        }
        for id in self.unfinished() {
            if let Some(&at) = places.get(id) {
                all[at].3 = "ERROR";
            }
        }
        all
    }

    /// Statuses by every name that a table may use for a test: as the log shows it, and as
    /// older and newer Pythons print it.
    pub fn statuses(&self) -> Statuses {
        let mut statuses = Statuses::default();
        let all = self.by_id();
        for (_, _, name, status) in &all {
            if let Some(line) = last_line(name) {
                statuses.insert(line.to_string(), (*status).to_string());
            }
        }
        for (id, text, _, status) in &all {
            for alias in aliases(id, text) {
                statuses.insert(alias, (*status).to_string());
            }
        }
        statuses
    }

    /// The events as a report, in their order.
    pub fn report(&self) -> TestReport {
        let outcome = |status: &str| match status {
            "PASSED" => TestOutcome::Passed,
            "FAILED" => TestOutcome::Failed,
            "SKIPPED" => TestOutcome::Skipped,
            "XFAIL" => TestOutcome::ExpectedFailure,
            _ => TestOutcome::Errored,
        };
        let results = self.by_id().into_iter().map(|(id, _, _, status)| TestResult {
            id: id.to_string(),
            outcome: outcome(status),
            failure: None,
        });
        let mut results: Vec<TestResult> = results.collect();
        let known: BTreeSet<String> = results.iter().map(|result| result.id.clone()).collect();
        results.extend(self.unfinished().into_iter().filter(|id| !known.contains(*id)).map(|id| {
            // unittest reports nothing of a test of which only subtests were skipped.
            let part = format!("{id} ");
            let outcome = match known.iter().any(|other| other.starts_with(&part)) {
                true => TestOutcome::Skipped,
                false => TestOutcome::Exited,
            };
            TestResult { id: id.to_string(), outcome, failure: None }
        }));
        TestReport { results }
    }

    /// Adds the names that another Python would print to the statuses of a log.
    pub fn normalise(&self, statuses: &mut Statuses) {
        for (id, text, name, _) in self.by_id() {
            let shown = last_line(name).and_then(|line| statuses.get(line));
            let Some(status) = shown.map(str::to_string) else { continue };
            for alias in aliases(id, text) {
                if statuses.get(&alias).is_none() {
                    statuses.insert(alias, status.clone());
                }
            }
        }
    }
}

fn last_line(name: &str) -> Option<&str> {
    name.trim().lines().next_back().map(str::trim)
}

/// Both `test_x (m.C)` and `test_x (m.C.test_x)`, whichever of them the text is.
fn aliases(id: &str, text: &str) -> Vec<String> {
    let mut aliases = vec![text.to_string()];
    if let Some((class, method)) = id.rsplit_once('.')
        && text.starts_with(method)
    {
        aliases.extend([format!("{method} ({class})"), format!("{method} ({id})")]);
        aliases.dedup();
    }
    aliases
}

#[cfg(test)]
mod tests {
    use super::*;

    fn test(id: &str, text: &str, name: &str, status: &str) -> Event {
        Event::Test { id: id.into(), text: text.into(), name: name.into(), status: status.into() }
    }

    #[test]
    fn a_test_is_known_by_every_name() {
        let events = Events(vec![
            test("m.C.a", "a (m.C.a)", "a (m.C.a)\nSays so.", "started"),
            test("m.C.a", "a (m.C.a)", "a (m.C.a)\nSays so.", "passed"),
            test("m.C.b", "b (m.C.b)", "b (m.C.b)", "started"),
            test("m.C.b", "b (m.C.b)", "b (m.C.b)", "failed"),
            test("m.C.b", "b (m.C.b)", "b (m.C.b)", "passed"),
            Event::Control { control: true },
        ]);
        let statuses = events.statuses();
        for name in ["Says so.", "a (m.C)", "a (m.C.a)"] {
            assert_eq!(statuses.get(name), Some("PASSED"), "{name}");
        }
        assert_eq!(statuses.get("b (m.C)"), Some("FAILED"), "a failure stays one");
        assert!(events.sound() && !events.tampered());
        let mut log = Statuses::default();
        log.insert("Says so.".to_string(), "PASSED".to_string());
        events.normalise(&mut log);
        assert_eq!(log.get("a (m.C)"), Some("PASSED"));
        assert_eq!(log.get("b (m.C)"), None);
    }

    /// Tests whose texts hold what JSON and UTF-8 do not.
    const HOSTILE: &str = r#"
import unittest

class T(unittest.TestCase):
    def test_a(self):
        "Half a pair: \ud800, and red: \x1b[31m \0."

    def test_b(self):
        with self.subTest("\udcff"):
            self.fail("\udcff")

    def test_c(self):
        with self.subTest("\udcff"):
            self.skipTest("\udcff")
"#;

    #[test]
    fn every_test_is_told_of_whatever_its_texts_hold() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("sitecustomize.py"), PROGRAM).unwrap();
        std::fs::write(folder.path().join("test_it.py"), HOSTILE).unwrap();
        let run = "FIXFLY_EVENTS=3 PYTHONPATH=. python3 -m unittest -v test_it 3>events 2>log";
        let ran = std::process::Command::new("bash")
            .args(["-c", run])
            .current_dir(folder.path())
            .status();
        assert!(ran.is_ok(), "{ran:?}");
        let events = Events::read(&std::fs::read(folder.path().join("events")).unwrap());
        let results: Vec<_> =
            events.report().results.into_iter().map(|test| (test.id, test.outcome)).collect();
        let expected = [
            ("test_it.T.test_a", TestOutcome::Passed),
            ("test_it.T.test_b", TestOutcome::Failed),
            ("test_it.T.test_c [\\udcff]", TestOutcome::Skipped),
            ("test_it.T.test_c", TestOutcome::Skipped),
        ];
        assert_eq!(results, expected.map(|(id, outcome)| (id.to_string(), outcome)));
        assert!(events.sound());
    }

    #[test]
    fn events_are_read_line_by_line() {
        let events = Events::read(b"noise\n{\"id\":\"a.b\",\"text\":\"b (a)\",\"name\":\"b (a)\",\"status\":\"started\"}\n{\"control\":false}\n");
        assert_eq!(events.0.len(), 2);
        assert!(!events.sound() && events.tampered());
        assert_eq!(events.report().results[0].outcome, TestOutcome::Exited);
    }
}
