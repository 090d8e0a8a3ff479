//! Reads the status of each test from a printed log, exactly as the parsers of the package
//! `swebench` (MIT), including their mistakes: official grades are made of these. fixfly's
//! own verdicts also use the events.

use fixfly_runtime::GradingRules;
use std::collections::HashMap;
use std::sync::LazyLock;

use regex::Regex;

/// Statuses by test name, in the order in which they first occur. Mostly `PASSED`,
/// `FAILED`, `SKIPPED`, `ERROR` or `XFAIL`, but a parser may take other words for a status.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statuses {
    all: Vec<(String, String)>,
    places: HashMap<String, usize>,
}

impl Statuses {
    /// Sets a test's status; its position stays.
    pub fn insert(&mut self, test: String, status: String) {
        match self.places.get(&test) {
            Some(&at) => self.all[at].1 = status,
            None => {
                self.places.insert(test.clone(), self.all.len());
                self.all.push((test, status));
            }
        }
    }

    /// A test's status.
    pub fn get(&self, test: &str) -> Option<&str> {
        self.places.get(test).map(|&at| self.all[at].1.as_str())
    }

    /// Tests and statuses, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.all.iter().map(|(test, status)| (test.as_str(), status.as_str()))
    }

    /// Whether there are no statuses.
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }
}

/// A parser of `swebench`, by its name after `parse_log_`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Parser {
    /// `parse_log_django`.
    Django,
    /// `parse_log_pytest`.
    Pytest,
    /// `parse_log_pytest_options`.
    PytestOptions,
    /// `parse_log_pytest_v2`.
    PytestV2,
}

const WORDS: [&str; 5] = ["FAILED", "PASSED", "SKIPPED", "ERROR", "XFAIL"];

impl Parser {
    /// The statuses in a log.
    ///
    /// # Errors
    /// If the official parser raises.
    pub fn parse(self, log: &str, rules: GradingRules) -> Result<Statuses, String> {
        match self {
            Parser::Django => django(log),
            Parser::Pytest => Ok(pytest(log, rules, str::to_string)),
            Parser::PytestOptions => Ok(pytest(log, rules, shortened)),
            Parser::PytestV2 => Ok(pytest_v2(log, rules)),
        }
    }
}

/// White space according to Python's `str.strip`.
fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

fn words(line: &str) -> impl Iterator<Item = &str> {
    line.split(is_space).filter(|word| !word.is_empty())
}

static INTERLEAVED: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    let patterns = [
        r"(?m)^(.*?)\s\.\.\.\sTesting against Django installed in ((?s:.*?)) silenced\)\.\nok$",
        r"(?m)^(.*?)\s\.\.\.\sInternal Server Error: /(.*)/\nok$",
        r"(?m)^(.*?)\s\.\.\.\sSystem check identified no issues \(0 silenced\)\nok$",
    ];
    let compiled = patterns.iter().map(|pattern| Regex::new(pattern));
    compiled.collect::<Result<_, _>>().unwrap_or_else(|e| unreachable!("a fixed pattern: {e}"))
});

fn django(log: &str) -> Result<Statuses, String> {
    let mut statuses = Statuses::default();
    let mut previous: Option<&str> = None;
    for line in log.split('\n') {
        let mut line = line.trim_matches(is_space);
        let mut put = |test: &str, status: &str| {
            statuses.insert(test.to_string(), status.to_string());
        };
        let version = "--version is equivalent to version";
        if line.contains(version) {
            put(version, "PASSED");
        }
        if let Some((test, _)) = line.split_once(" ... ") {
            previous = Some(test);
        }
        for suffix in [" ... ok", " ... OK", " ...  OK"] {
            if line.ends_with(suffix) {
                if line.starts_with("Applying sites.0002_alter_domain_unique...test_no_migrations")
                {
                    line = line
                        .split_once("...")
                        .map_or(line, |(_, rest)| rest)
                        .trim_matches(is_space);
                }
                put(line.rsplit_once(suffix).map_or(line, |(test, _)| test), "PASSED");
                break;
            }
        }
        if let Some((test, _)) = line.split_once(" ... skipped") {
            put(test, "SKIPPED");
        }
        for (suffix, prefix, status) in
            [(" ... FAIL", "FAIL:", "FAILED"), (" ... ERROR", "ERROR:", "ERROR")]
        {
            if line.ends_with(suffix) {
                put(line.split_once(suffix).map_or(line, |(test, _)| test), status);
            }
            if line.starts_with(prefix) {
                let test = words(line).nth(1);
                put(test.ok_or_else(|| format!("`{prefix}` names no test"))?, status);
            }
        }
        if line.starts_with("ok")
            && let Some(test) = previous
        {
            put(test, "PASSED");
        }
    }
    for pattern in INTERLEAVED.iter() {
        for found in pattern.captures_iter(log) {
            statuses.insert(found[1].to_string(), "PASSED".to_string());
        }
    }
    Ok(statuses)
}

/// `SKIPPED [3] path:line: reason` is a count of tests, not the name of one.
fn is_count(status: &str, name: &str, rules: GradingRules) -> bool {
    let digits = name.strip_prefix('[').and_then(|name| name.strip_suffix(']'));
    rules == GradingRules::V5
        && status == "SKIPPED"
        && digits.is_some_and(|digits| !digits.is_empty() && digits.chars().all(char::is_numeric))
}

fn begins_with_status(line: &str) -> bool {
    WORDS.iter().any(|word| line.starts_with(word))
}

fn pytest(log: &str, rules: GradingRules, name: fn(&str) -> String) -> Statuses {
    let mut statuses = Statuses::default();
    for line in log.split('\n').filter(|line| begins_with_status(line)) {
        let line = match line.starts_with("FAILED") {
            true => line.replace(" - ", " "),
            false => line.to_string(),
        };
        let mut words = words(&line);
        let (Some(status), Some(test)) = (words.next(), words.next()) else { continue };
        if !is_count(status, test, rules) {
            statuses.insert(name(test), status.to_string());
        }
    }
    statuses
}

/// Shortens paths in a parameter to their last part, because they differ between machines.
fn shortened(test: &str) -> String {
    let Some((main, rest)) = test.split_once('[') else { return test.to_string() };
    let Some((option, _)) = rest.rsplit_once(']') else { return test.to_string() };
    let is_path = option.starts_with('/') && !option.starts_with("//") && !option.contains('*');
    let option = match option.rsplit_once('/') {
        Some((_, last)) if is_path => format!("/{last}"),
        _ => option.to_string(),
    };
    format!("{main}[{option}]")
}

fn pytest_v2(log: &str, rules: GradingRules) -> Statuses {
    static COLOUR: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"\[(\d+)m").unwrap_or_else(|e| unreachable!("a fixed pattern: {e}"))
    });
    let mut statuses = Statuses::default();
    for line in log.split('\n') {
        let line = COLOUR.replace_all(line, "");
        let line: String = line.chars().filter(|c| !('\u{1}'..='\u{1f}').contains(c)).collect();
        if begins_with_status(&line) {
            let line = match (line.starts_with("FAILED"), rules) {
                (true, GradingRules::V5) => {
                    line.split(" - ").next().unwrap_or_default().to_string()
                }
                (true, GradingRules::V4) => line.replace(" - ", " "),
                (false, _) => line,
            };
            let words: Vec<&str> = words(&line).collect();
            let [status, test @ ..] = words.as_slice() else { continue };
            match (test, rules) {
                ([], _) => {}
                ([first, ..], GradingRules::V5) if is_count(status, first, rules) => {}
                (test, GradingRules::V5) => {
                    statuses.insert(test.join(" "), (*status).to_string());
                }
                ([first, ..], GradingRules::V4) => {
                    statuses.insert((*first).to_string(), (*status).to_string());
                }
            }
        } else if WORDS.iter().any(|word| line.ends_with(word)) {
            let words: Vec<&str> = words(&line).collect();
            match (words.as_slice(), rules) {
                ([test @ .., status], GradingRules::V5) if !test.is_empty() => {
                    statuses.insert(test.join(" "), (*status).to_string());
                }
                ([first, second, ..], GradingRules::V4) => {
                    statuses.insert((*first).to_string(), (*second).to_string());
                }
                _ => {}
            }
        }
    }
    statuses
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(parser: Parser, log: &str, expected: &[(&str, &str)]) {
        let statuses = parser.parse(log, GradingRules::V5).unwrap();
        let statuses: Vec<(&str, &str)> = statuses.iter().collect();
        assert_eq!(statuses, expected, "{log}");
    }

    #[test]
    fn djangos_log() {
        let check = |log, expected: &[_]| check(Parser::Django, log, expected);
        check("test_a (m.C) ... ok\n", &[("test_a (m.C)", "PASSED")]);
        check("test_a (m.C)\nSays so. ... FAIL", &[("Says so.", "FAILED")]);
        check("a ... noise\nok", &[("a", "PASSED")]);
        check("a ... noise\nmore\nERROR: test_a (m.C)", &[("test_a", "ERROR")]);
        check("a ... skipped 'no'", &[("a", "SKIPPED")]);
        check("a ... expected failure", &[]);
        check("a ... b ... ok", &[("a ... b", "PASSED")]);
        check("a ... System check identified no issues (0 silenced)\nok", &[("a", "PASSED")]);
        assert!(Parser::Django.parse("FAIL:\n", GradingRules::V5).is_err());
    }

    #[test]
    fn pytests_log() {
        check(
            Parser::Pytest,
            "PASSED t.py::a\nFAILED t.py::b - x\nSKIPPED [2] t.py:3: no",
            &[("t.py::a", "PASSED"), ("t.py::b", "FAILED")],
        );
        check(
            Parser::PytestOptions,
            "PASSED t.py::a[/tmp/x]\nPASSED t.py::b[1]",
            &[("t.py::a[/x]", "PASSED"), ("t.py::b[1]", "PASSED")],
        );
        check(
            Parser::PytestV2,
            "\u{1b}[32mPASSED\u{1b}[0m t.py::a[x y]\nt.py::b FAILED",
            &[("t.py::a[x y]", "PASSED"), ("t.py::b", "FAILED")],
        );
    }
}
