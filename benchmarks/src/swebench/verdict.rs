//! The grades of an evaluation: the official one by the log, and the one by events, which a
//! candidate's output cannot affect.

use fixfly_runtime::GradingRules;
use std::sync::LazyLock;

use regex::Regex;
use serde_json::{Map, Value, json};

use super::evaluate::Evaluation;
use super::events::Events;
use super::grade::{self, Grade, Resolution};
use super::instance::Instance;
use super::log::{Parser, Statuses};
use super::spec::Spec;

/// The grades of one patch.
#[derive(Clone, Debug, PartialEq)]
pub struct Graded {
    /// The instance.
    pub id: String,
    /// The evaluation; `None` if there was no patch.
    pub evaluation: Option<Evaluation>,
    /// The grade by the printed log, as the official harness grades; an error if its parser
    /// raises.
    pub by_log: Result<Grade, String>,
    /// The grade by unittest's events; `None` if they were not recorded.
    pub by_events: Option<Grade>,
    /// Tests for which the log and the events differ.
    pub disagreements: Vec<String>,
    /// Why a pass is not believed, if so.
    pub tampering: Option<String>,
}

impl Graded {
    /// The result of an instance without a patch.
    pub fn nothing(id: &str) -> Graded {
        Graded {
            id: id.to_string(),
            evaluation: None,
            by_log: Ok(Grade::NoRun),
            by_events: None,
            disagreements: Vec::new(),
            tampering: None,
        }
    }

    /// The official grade of a log alone, whoever made it.
    pub fn of_log(instance: &Instance, parser: Parser, rules: GradingRules, log: &[u8]) -> Graded {
        let mut graded = Graded::nothing(&instance.id);
        graded.by_log = match std::str::from_utf8(log) {
            Ok(log) => grade::grade(instance, log, parser, rules),
            Err(_) => Err("the log is not UTF-8".to_string()),
        };
        graded.evaluation = Some(Evaluation {
            applied: true,
            timed_out: false,
            log: String::from_utf8_lossy(log).into_owned(),
            story: String::new(),
            script: String::new(),
            events: None,
            seconds: 0.0,
        });
        graded
    }

    /// The grades of an evaluation. `same_python` states whether the interpreter is the one
    /// that the table's names come from.
    pub(super) fn of(
        instance: &Instance,
        spec: &Spec,
        rules: GradingRules,
        same_python: bool,
        seen: Evaluation,
    ) -> Graded {
        let mut graded = Graded::nothing(&instance.id);
        if seen.applied && !seen.timed_out {
            let events = seen.events.as_ref();
            let mut log = grade::statuses(&seen.log, spec.log_parser, rules);
            if let (Ok(Some(log)), Some(events), false) = (&mut log, events, same_python) {
                events.normalise(log);
            }
            graded.by_log = log.as_ref().map_err(Clone::clone).map(|log| match log {
                None => Grade::NoRun,
                Some(log) => grade::of(instance, log, rules),
            });
            if let Some(events) = events {
                let log = log.ok().flatten().unwrap_or_default();
                graded.add_events(instance, events, &log, rules);
            }
        }
        graded.evaluation = Some(seen);
        graded
    }

    /// Adds the grade by events, and where the log differs.
    fn add_events(
        &mut self,
        instance: &Instance,
        events: &Events,
        log: &Statuses,
        rules: GradingRules,
    ) {
        let statuses = events.statuses();
        let mut sure = Statuses::default();
        for name in instance.fail_to_pass.iter().chain(&instance.pass_to_pass) {
            let printed = log.get(name);
            match (statuses.get(name), printed) {
                (Some(status), printed) => {
                    sure.insert(name.clone(), status.to_string());
                    if printed != Some(status) {
                        let printed = printed.unwrap_or("nothing");
                        self.disagreements
                            .push(format!("{name}: the log says {printed}, unittest {status}"));
                    }
                }
                // Some names are lines of output that belong to no test.
                (None, Some(status)) if !is_test(name) => {
                    sure.insert(name.clone(), status.to_string());
                }
                (None, Some(status)) => {
                    self.disagreements
                        .push(format!("{name}: the log says {status}, unittest nothing"));
                }
                (None, None) => {}
            }
        }
        if events.tampered() {
            self.tampering = Some("a test that must fail did not".to_string());
        } else if !events.sound() && self.by_log.as_ref().is_ok_and(Grade::resolved) {
            self.tampering = Some("the run left before it had ended".to_string());
        }
        self.by_events = Some(match events.sound() {
            true => grade::of(instance, &sure, rules),
            false => Grade::NoRun,
        });
        let resolved = |grade: &Grade| grade.resolved();
        if self.tampering.is_none()
            && self.by_log.as_ref().is_ok_and(resolved)
            && !self.by_events.as_ref().is_some_and(resolved)
        {
            self.tampering = Some("the log tells of passes that did not happen".to_string());
        }
    }

    /// The grade that counts: the one by events, if there is one.
    pub fn grade(&self) -> Grade {
        match (&self.by_events, &self.by_log) {
            (Some(grade), _) | (None, Ok(grade)) => grade.clone(),
            (None, Err(_)) => Grade::NoRun,
        }
    }

    /// Whether the instance is resolved.
    pub fn resolved(&self) -> bool {
        self.tampering.is_none() && self.grade().resolved()
    }

    /// Whether there is a grade; if not, the official harness counts an error.
    pub fn completed(&self) -> bool {
        self.evaluation.as_ref().is_some_and(|seen| seen.applied && !seen.timed_out)
            && (self.by_events.is_some() || self.by_log.is_ok())
    }

    /// The official `report.json`, with fixfly's additional fields.
    pub fn report(&self, rules: GradingRules) -> Value {
        let mut own = Map::new();
        let grade = self.grade();
        own.insert("patch_is_None".into(), json!(self.evaluation.is_none()));
        own.insert("patch_exists".into(), json!(self.evaluation.is_some()));
        let ran = matches!(grade, Grade::Ran { .. });
        own.insert("patch_successfully_applied".into(), json!(ran));
        own.insert("resolved".into(), json!(self.resolved()));
        if rules == GradingRules::V5 {
            own.insert("infra_failure".into(), json!(false));
            let class =
                self.evaluation.as_ref().and_then(|seen| classify(&seen.log)).filter(|_| !ran);
            if let Some((reason, environment)) = class {
                own.insert("infra_failure".into(), json!(environment));
                own.insert("infra_failure_reason".into(), json!(reason));
            }
        }
        if let Grade::Ran { tests, .. } = &grade {
            own.insert("tests_status".into(), tests.json());
        }
        let by_log = match &self.by_log {
            Ok(grade) => json!(grade.resolution().name()),
            Err(why) => json!({ "error": why }),
        };
        let more = json!({
            "by_log": by_log,
            "by_events": self.by_events.as_ref().map(|grade| grade.resolution().name()),
            "disagreements": self.disagreements,
            "tampering": self.tampering,
        });
        own.insert("fixfly".into(), more);
        json!({ self.id.as_str(): own })
    }

    /// The result as a word for tables.
    pub fn word(&self) -> &'static str {
        match &self.evaluation {
            None => "no patch",
            Some(seen) if !seen.applied => "does not apply",
            Some(seen) if seen.timed_out => "timed out",
            Some(_) if self.tampering.is_some() => "tampered",
            Some(_) => match self.grade().resolution() {
                Resolution::Full => "FULL",
                Resolution::Partial => "PARTIAL",
                Resolution::No => "NO",
            },
        }
    }
}

/// Whether a name is certainly a test's: `test_x (m.C)`.
fn is_test(name: &str) -> bool {
    static TEST: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"^\w+ \([\w.]+\)$").unwrap_or_else(|e| unreachable!("a fixed pattern: {e}"))
    });
    TEST.is_match(name)
}

/// Why a run may have failed because of its environment, by the official signatures, and
/// whether that is certain.
pub(super) fn classify(log: &str) -> Option<(&'static str, bool)> {
    const SIGNATURES: [(&str, bool, &str); 8] = [
        ("browser_launch_failed", true, r"Failed to launch|Failed to connect to the bus"),
        (
            "display_unavailable",
            true,
            r"cannot open display|Missing X server|unable to open X display",
        ),
        ("out_of_memory", true, r"Cannot allocate memory|OutOfMemoryError|^Killed$"),
        (
            "container_unavailable",
            true,
            r"Error response from daemon|Cannot connect to the Docker daemon",
        ),
        (
            "network_unreachable",
            true,
            r"Could not resolve host|Temporary failure in name resolution",
        ),
        ("missing_module", false, r"Cannot find module|MODULE_NOT_FOUND|ModuleNotFoundError"),
        ("no_tests_collected", false, r"no tests ran|collected 0 items"),
        ("tests_timed_out", false, r"Timeout error: \d+ seconds exceeded"),
    ];
    static COMPILED: LazyLock<Vec<Regex>> = LazyLock::new(|| {
        let all = SIGNATURES.iter().map(|(_, _, pattern)| Regex::new(&format!("(?m){pattern}")));
        all.collect::<Result<_, _>>().unwrap_or_else(|e| unreachable!("a fixed pattern: {e}"))
    });
    let found = SIGNATURES.iter().zip(COMPILED.iter()).find(|(_, pattern)| pattern.is_match(log));
    found.map(|((reason, environment, _), _)| (*reason, *environment))
}
