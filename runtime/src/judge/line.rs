//! The lines of `fixfly judge --stdio`.

use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::test_report::{TestReport, TestResult};
use crate::text::{parse_json, replace_lone_surrogates};
use crate::turn::Outcome;

/// Maximum length of a line in bytes.
pub(super) const MAX_LINE: usize = 16 << 20;

/// A line of `fixfly judge --stdio`: a request on standard input or an answer on standard
/// output.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum JudgeLine {
    /// A line on standard input.
    Request(JudgeRequest),
    /// A line on standard output.
    Answer(Box<JudgeAnswer>),
}

/// A candidate to judge.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JudgeRequest {
    /// Id of the task.
    pub task: String,
    /// The method. Words and fences around it are allowed, as in a model's answer.
    pub candidate: String,
    /// Any value; the answer repeats it.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub id: Option<Value>,
}

/// The answer to one line.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JudgeAnswer {
    /// Number of the line that it answers, from 1.
    pub line: u64,
    /// The `id` of that line, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    pub id: Option<Value>,
    /// Id of the task; absent if the line is bad.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<String>,
    /// Whether the candidate solves the task. Null if unknown: `infrastructure` or `error`
    /// has the reason.
    pub solved: Option<bool>,
    /// Whether the benchmark judged the candidate: on the reference path, with the sabotage
    /// control and hidden tests. Without it, only the task's own tests ran.
    pub confirmed: bool,
    /// The outcome, in one word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// Results of the task's own tests, if they ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tests: Option<JudgeTests>,
    /// Tests that pass now and did not with the last candidate of this task whose tests ran;
    /// absent if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fixed: Option<Vec<String>>,
    /// Tests that passed with that candidate and do not now; absent if there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broken: Option<Vec<String>>,
    /// Whether all hidden tests passed; absent if there are none or the task is not solved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hidden_tests_pass: Option<bool>,
    /// The control that detected tampering, if one did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tampering: Option<String>,
    /// Code that a person should read before they trust a pass.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub review: Vec<String>,
    /// The message that a policy would get; absent if the task is solved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub feedback: Option<String>,
    /// Wall-clock seconds of the work on this candidate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
    /// Why there is no verdict, if the environment failed. It is not the candidate's fault.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub infrastructure: Option<String>,
    /// Why the line cannot be used, in one sentence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

/// Results of tests, with their counts.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct JudgeTests {
    /// Tests that passed.
    pub passed: usize,
    /// All tests.
    pub total: usize,
    /// The result of each test.
    pub results: Vec<TestResult>,
}

impl From<TestReport> for JudgeTests {
    fn from(report: TestReport) -> Self {
        let (passed, total) = (report.count_passed(), report.results.len());
        JudgeTests { passed, total, results: report.results }
    }
}

/// A line that cannot be used.
#[derive(Debug, PartialEq)]
pub(super) struct BadLine {
    pub(super) id: Option<Value>,
    pub(super) why: String,
}

impl BadLine {
    pub(super) fn answer(self, line: u64) -> JudgeAnswer {
        JudgeAnswer { line, id: self.id, error: Some(self.why), ..JudgeAnswer::default() }
    }
}

/// An `id` that is null is an id.
fn present<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(from).map(Some)
}

/// The request in a line.
pub(super) fn request(number: u64, line: &[u8]) -> Result<JudgeRequest, BadLine> {
    let bad = |id, why: String| BadLine { id, why: format!("line {number} {why}") };
    if line.len() > MAX_LINE {
        return Err(bad(None, format!("is longer than {} MiB", MAX_LINE >> 20)));
    }
    let text = std::str::from_utf8(line).map_err(|_| bad(None, "is not UTF-8".into()))?;
    let mut value = parse_json(text)
        .map_err(|why| bad(None, format!("is not JSON: see its column {}", why.column())))?;
    replace_lone_surrogates(&mut value);
    let Value::Object(fields) = &value else {
        return Err(bad(None, "is not a JSON object with `task` and `candidate`".into()));
    };
    let id = fields.get("id").cloned();
    for name in ["task", "candidate"] {
        match fields.get(name) {
            Some(Value::String(_)) => {}
            Some(_) => return Err(bad(id, format!("has a `{name}` that is not a string"))),
            None => return Err(bad(id, format!("has no `{name}`"))),
        }
    }
    serde_json::from_value(value).map_err(|why| bad(id, format!("cannot be used: {why}")))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_line_is_a_request_or_bad_in_one_sentence() {
        let check = |line: &[u8], id: Option<Value>, expected: &str| {
            let found = request(7, line);
            assert_eq!(found, Err(BadLine { id, why: format!("line 7 {expected}") }));
        };
        check(b"{", None, "is not JSON: see its column 1");
        check(br#"{"task": }"#, None, "is not JSON: see its column 10");
        check(b"\xff", None, "is not UTF-8");
        check(b"[1]", None, "is not a JSON object with `task` and `candidate`");
        check(b"{}", None, "has no `task`");
        check(br#"{"task": "a", "id": null}"#, Some(Value::Null), "has no `candidate`");
        check(
            br#"{"task": "a", "candidate": null, "id": [1]}"#,
            Some(json!([1])),
            "has a `candidate` that is not a string",
        );
        check(
            br#"{"task": "a", "candidate": "b", "ID": 1}"#,
            None,
            "cannot be used: unknown field `ID`, expected one of `task`, `candidate`, `id`",
        );
        check(&vec![b' '; MAX_LINE + 1], None, "is longer than 16 MiB");
    }

    #[test]
    fn what_python_writes_is_a_request() {
        let line = br#"{"task": "a", "candidate": "x = '\udcff'", "id": NaN}"#;
        let candidate = "x = '\u{fffd}'".to_string();
        let expected = JudgeRequest { task: "a".into(), candidate, id: Some(Value::Null) };
        assert_eq!(request(1, line), Ok(expected));
    }
}
