//! Grades logs by the rules of the package `swebench` (MIT).

use fixfly_runtime::GradingRules;
use serde_json::{Map, Value, json};

use super::instance::Instance;
use super::log::{Parser, Statuses};

/// Marks in a log.
pub(super) const START: &str = ">>>>> Start Test Output";
pub(super) const END: &str = ">>>>> End Test Output";
pub(super) const EXIT_CODE: &str = ">>>>> Test Exit Code";
/// A log that contains one of these is not from a run of the tests.
const BAD: [&str; 4] = [
    ">>>>> Patch Apply Failed",
    ">>>>> Reset Failed",
    ">>>>> Tests Errored",
    ">>>>> Tests Timed Out",
];

/// How far an instance is resolved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// Every test that must pass does.
    Full,
    /// Nothing is broken, and some tests to be fixed pass.
    Partial,
    /// Anything else.
    No,
}

impl Resolution {
    /// `RESOLVED_FULL` and so on.
    pub fn name(self) -> &'static str {
        match self {
            Resolution::Full => "RESOLVED_FULL",
            Resolution::Partial => "RESOLVED_PARTIAL",
            Resolution::No => "RESOLVED_NO",
        }
    }
}

/// The results of the tests that decide.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tests {
    /// Tests to be fixed: those that pass, and those that do not.
    pub fail_to_pass: [Vec<String>; 2],
    /// Tests to be kept passing: those that pass, and those that do not.
    pub pass_to_pass: [Vec<String>; 2],
}

/// The grade of an instance by its log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Grade {
    /// The log is not from a run of the tests.
    NoRun,
    /// The tests ran.
    Ran {
        /// Their results.
        tests: Tests,
        /// The resolution that follows.
        resolution: Resolution,
    },
}

impl Grade {
    /// Whether the instance is resolved.
    pub fn resolved(&self) -> bool {
        matches!(self, Grade::Ran { resolution: Resolution::Full, .. })
    }

    /// The resolution.
    pub fn resolution(&self) -> Resolution {
        match self {
            Grade::NoRun => Resolution::No,
            Grade::Ran { resolution, .. } => *resolution,
        }
    }
}

/// The status of each test in a log; `None` if the log is not from a run.
///
/// # Errors
/// If the official parser raises.
pub fn statuses(
    log: &str,
    parser: Parser,
    rules: GradingRules,
) -> Result<Option<Statuses>, String> {
    // Python reads every kind of line ending as one.
    let log = log.replace("\r\n", "\n").replace('\r', "\n");
    let marked = log.contains(START) && log.contains(END);
    if BAD.iter().any(|bad| log.contains(bad)) || !marked {
        return Ok(None);
    }
    let sliced = log.split(START).nth(1).and_then(|rest| rest.split(END).next());
    let mut statuses = parser.parse(sliced.unwrap_or_default(), rules)?;
    if statuses.is_empty() {
        statuses = parser.parse(&log, rules)?;
    }
    if rules == GradingRules::V4 {
        return Ok(Some(statuses));
    }
    if statuses.is_empty() && !suite_ran(&log) {
        return Ok(None);
    }
    let failed = |(_, status): (&str, &str)| status == "FAILED" || status == "ERROR";
    let lies = exit_code(&log).is_some_and(|code| code != 0)
        && !statuses.is_empty()
        && !statuses.iter().any(failed);
    Ok((!lies).then_some(statuses))
}

/// The grade of a log.
///
/// # Errors
/// If the official parser raises.
pub fn grade(
    instance: &Instance,
    log: &str,
    parser: Parser,
    rules: GradingRules,
) -> Result<Grade, String> {
    Ok(match statuses(log, parser, rules)? {
        None => Grade::NoRun,
        Some(statuses) => of(instance, &statuses, rules),
    })
}

/// The grade for these statuses.
pub fn of(instance: &Instance, statuses: &Statuses, rules: GradingRules) -> Grade {
    let mut tests = Tests::default();
    for (case, lists, may_skip) in instance
        .fail_to_pass
        .iter()
        .map(|case| (case, 0, false))
        .chain(instance.pass_to_pass.iter().map(|case| (case, 1, rules == GradingRules::V5)))
    {
        let status = resolve(case, statuses, rules);
        let passed = match status {
            Some("PASSED" | "XFAIL") => Some(true),
            Some("SKIPPED") if may_skip => Some(true),
            None | Some("FAILED" | "ERROR") => Some(false),
            Some("SKIPPED") if rules == GradingRules::V5 => Some(false),
            // By the rules this is neither a pass nor a failure; it is not counted.
            Some(_) => None,
        };
        let lists = if lists == 0 { &mut tests.fail_to_pass } else { &mut tests.pass_to_pass };
        if let Some(passed) = passed {
            lists[usize::from(!passed)].push(case.clone());
        }
    }
    let resolution = tests.resolution();
    Grade::Ran { tests, resolution }
}

impl Tests {
    fn resolution(&self) -> Resolution {
        let [fixed, not_fixed] = &self.fail_to_pass;
        let [_, broken] = &self.pass_to_pass;
        match (fixed.is_empty(), not_fixed.is_empty(), broken.is_empty()) {
            (_, true, true) => Resolution::Full,
            (false, false, true) => Resolution::Partial,
            _ => Resolution::No,
        }
    }

    /// As `tests_status` in an official report.
    pub fn json(&self) -> Value {
        let lists = |[success, failure]: &[Vec<String>; 2]| json!({ "success": success, "failure": failure });
        let mut status = Map::new();
        status.insert("FAIL_TO_PASS".into(), lists(&self.fail_to_pass));
        status.insert("PASS_TO_PASS".into(), lists(&self.pass_to_pass));
        status.insert("FAIL_TO_FAIL".into(), lists(&Default::default()));
        status.insert("PASS_TO_FAIL".into(), lists(&Default::default()));
        Value::Object(status)
    }
}

/// The status of a test. Some tables cut parameters short; such a name stands for all tests
/// that start with it, if they agree.
fn resolve<'a>(case: &str, statuses: &'a Statuses, rules: GradingRules) -> Option<&'a str> {
    if let Some(status) = statuses.get(case) {
        return Some(status);
    }
    let count = |letter| case.matches(letter).count();
    if rules == GradingRules::V4 || count('[') <= count(']') {
        return None;
    }
    let matching = || statuses.iter().filter(|(name, _)| name.starts_with(case)).map(|(_, s)| s);
    let passes = |status: &str| status == "PASSED" || status == "XFAIL";
    let first = matching().next()?;
    matching().all(|status| passes(status) == passes(first)).then_some(first)
}

fn exit_code(log: &str) -> Option<i64> {
    static CODE: std::sync::LazyLock<regex::Regex> = std::sync::LazyLock::new(|| {
        regex::Regex::new(&format!(r"{EXIT_CODE}:\s*(-?\d+)"))
            .unwrap_or_else(|e| unreachable!("a fixed pattern: {e}"))
    });
    CODE.captures(log).map(|found| found[1].parse().unwrap_or(i64::MAX))
}

/// Whether the log contains the summary of a test runner, for runners of other languages.
fn suite_ran(log: &str) -> bool {
    static RAN: std::sync::LazyLock<regex::Regex> = std::sync::LazyLock::new(|| {
        let pattern = r"(?m)Executed [1-9]\d* of \d+|TOTAL: [1-9]\d* (?:SUCCESS|FAILED)|[1-9]\d* passing|Tests:\s+[1-9]\d*|Test Suites:\s+(?:\d+ \w+, )*[1-9]\d* total|^# tests [1-9]\d*|[1-9]\d* specs?, \d+ failures?|': ok$";
        regex::Regex::new(pattern).unwrap_or_else(|e| unreachable!("a fixed pattern: {e}"))
    });
    RAN.is_match(log)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn instance(fail_to_pass: &[&str], pass_to_pass: &[&str]) -> Instance {
        let list = |names: &[&str]| names.iter().map(|name| name.to_string()).collect();
        Instance {
            id: "a__b-1".into(),
            repo: "a/b".into(),
            version: "1".into(),
            base_commit: String::new(),
            environment_commit: String::new(),
            statement: String::new(),
            patch: String::new(),
            test_patch: String::new(),
            fail_to_pass: list(fail_to_pass),
            pass_to_pass: list(pass_to_pass),
            more: Map::new(),
        }
    }

    #[track_caller]
    fn check(log: &str, code: i32, v5: Resolution, v4: Resolution) {
        let log = format!("{START}\n{log}\n{END}\n{EXIT_CODE}: {code}\n");
        let instance = instance(&["f", "g[x"], &["p"]);
        for (rules, expected) in [(GradingRules::V5, v5), (GradingRules::V4, v4)] {
            let grade = grade(&instance, &log, Parser::Django, rules).unwrap();
            assert_eq!(grade.resolution(), expected, "{rules:?}: {log}");
        }
    }

    #[test]
    fn the_rules() {
        use Resolution::{Full, No, Partial};
        check("f ... ok\ng[x ... ok\np ... ok", 0, Full, Full);
        check("f ... ok\ng[x, y] ... ok\np ... ok", 0, Full, Partial);
        check("f ... ok\ng[x ... FAIL\np ... ok", 1, Partial, Partial);
        check("f ... ok\ng[x ... ok", 0, No, No);
        check("f ... FAIL\ng[x ... FAIL\np ... ok", 1, No, No);
        // A skip, a log without failures from a run that failed, and an empty log.
        check("f ... skipped ''\ng[x ... ok\np ... ok", 0, Partial, Full);
        check("f ... ok\ng[x ... ok\np ... skipped ''", 0, Full, Full);
        check("f ... ok\ng[x ... ok\np ... ok", 1, No, Full);
        check("", 1, No, No);
        check(">>>>> Tests Errored", 0, No, No);
    }

    #[test]
    fn without_marks_there_was_no_run() {
        let grade = grade(&instance(&["f"], &[]), "f ... ok", Parser::Django, GradingRules::V5);
        assert_eq!(grade, Ok(Grade::NoRun));
    }
}
