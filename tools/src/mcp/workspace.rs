//! The copy of a repository that a session works on, and the tools that act on it.

use std::sync::Arc;

use fixfly_runtime::{
    Action, Benchmark, Call, Feedback, Observation, Outcome, Sandbox, Task, TestOutcome,
    TestReport, TestResult, Timings, Tool, ToolContext, ToolError, ToolSpec, Turn, Usage,
    printable,
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::run_tests::refuse_odd;
use crate::{arguments, bash, edit, parameters, search, view};

/// Maximum number of tests whose results are returned one by one.
const MAX_LISTED: usize = 1000;
const RUN_TESTS: &str = "run_tests";
const SUBMIT: &str = "submit";

/// A copy of a repository in a sandbox.
pub struct Workspace {
    /// The copy, as tools see it.
    pub task: Task,
    /// Contains the copy.
    pub sandbox: Box<dyn Sandbox>,
    /// The ways to run its tests, by name; the first is the default.
    pub frameworks: Vec<(&'static str, Arc<dyn Benchmark>)>,
    /// The last result of each test so far.
    results: Vec<TestResult>,
}

/// The result of a call.
#[derive(Debug, PartialEq)]
pub(super) struct Reply {
    pub(super) text: String,
    pub(super) structured: Option<Value>,
}

impl Reply {
    pub(super) fn text(text: String) -> Reply {
        Reply { text, structured: None }
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct RunTests {
    /// Ids of tests, or of the folders, files and classes that contain them, for example `tests/test_a.py::test_x` with pytest or `tests.test_a.CaseTests` with unittest; all tests if not given.
    #[serde(default)]
    ids: Vec<String>,
    /// How to run them; the first of the possible values if not given.
    framework: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Submit {}

impl Workspace {
    /// A workspace in which no test has run. `frameworks` must not be empty.
    pub fn new(
        task: Task,
        sandbox: Box<dyn Sandbox>,
        frameworks: Vec<(&'static str, Arc<dyn Benchmark>)>,
    ) -> Workspace {
        Workspace { task, sandbox, frameworks, results: Vec::new() }
    }

    pub(super) fn specs(&self) -> Vec<ToolSpec> {
        let mut ids = parameters::<RunTests>();
        let names: Vec<&str> = self.frameworks.iter().map(|(name, _)| *name).collect();
        ids["properties"]["framework"]["enum"] = names.into();
        ids["properties"]["framework"]["type"] = "string".into();
        let run_tests = ToolSpec {
            name: RUN_TESTS.into(),
            description: "Runs tests of the repository. Answers with the result of each, with what failed and \
                          how, and with what changed since these tests last ran: fixed, broken, still failing. \
                          Running tests changes no file."
                .into(),
            parameters: ids,
        };
        let submit = ToolSpec {
            name: SUBMIT.into(),
            description: "Returns everything that was changed since the start as a unified diff. \
                          The work can go on afterwards."
                .into(),
            parameters: parameters::<Submit>(),
        };
        let others = existing().into_iter().map(|tool| tool.spec());
        [run_tests].into_iter().chain(others).chain([submit]).collect()
    }

    /// Calls a tool.
    pub(super) async fn call(&mut self, name: &str, args: Value) -> Result<Reply, ToolError> {
        match name {
            RUN_TESTS => self.run_tests(args).await,
            SUBMIT => self.submit(args).await,
            name => {
                let tools = existing();
                let Some(tool) = tools.iter().find(|tool| tool.spec().name == name) else {
                    return Err(ToolError::Refused(format!("there is no tool `{name}`")));
                };
                let observation = tool.call(args, self.context(0)).await?;
                // Output of programs can act on a terminal; a file's text must stay as it is.
                let text = match name {
                    "bash" => printable(&observation.text).into_owned(),
                    _ => observation.text,
                };
                match observation.outcome {
                    Outcome::Refused => Err(ToolError::Refused(text)),
                    _ => Ok(Reply::text(text)),
                }
            }
        }
    }

    fn context(&self, framework: usize) -> ToolContext<'_> {
        let benchmark = &*self.frameworks[framework].1;
        ToolContext { task: &self.task, turns: &[], sandbox: &*self.sandbox, benchmark }
    }

    async fn run_tests(&mut self, args: Value) -> Result<Reply, ToolError> {
        let call = Call::Tool { name: RUN_TESTS.into(), args: args.clone() };
        let RunTests { ids, framework } = arguments(RUN_TESTS, args)?;
        refuse_odd(&ids)?;
        let names: Vec<&str> = self.frameworks.iter().map(|(name, _)| *name).collect();
        let framework = match &framework {
            None => 0,
            Some(name) => names.iter().position(|known| known == name).ok_or_else(|| {
                ToolError::Refused(format!(
                    "`{RUN_TESTS}`: there is no framework `{}`; it is one of {}",
                    printable(name),
                    names.join(", ")
                ))
            })?,
        };
        let context = self.context(framework);
        let tree = context.work_tree()?;
        let seen = tree.run_tests(context.task, &ids, context.sandbox).await?;
        let feedback = self.feedback(&call, &seen);
        let mut text = printable(&seen.text).trim_end().to_string();
        if !feedback.message.is_empty() {
            text += &format!("\n\n{}", printable(&feedback.message));
        }
        let report = seen.tests.unwrap_or_default();
        let structured = structured(seen.outcome, &report, &feedback);
        self.remember(report.results);
        Ok(Reply { text, structured: Some(structured) })
    }

    /// What changed since each of these tests last ran.
    fn feedback(&self, call: &Call, seen: &Observation) -> Feedback {
        let budget = &self.task.budget;
        let before = (!self.results.is_empty()).then(|| {
            let report = TestReport { results: self.results.clone() };
            let observation =
                Observation { tests: Some(report), ..Observation::new(Outcome::Done, "") };
            let action = Action {
                text: String::new(),
                reasoning: None,
                call: call.clone(),
                usage: Usage::default(),
                generation: None,
            };
            let feedback = Feedback {
                delta: Default::default(),
                left: budget.clone(),
                message: String::new(),
            };
            Turn { action, observation, feedback, timings: Timings::default() }
        });
        self.task.statement.feedback(&Vec::from_iter(before), call, seen, budget.clone())
    }

    fn remember(&mut self, results: Vec<TestResult>) {
        let new: std::collections::HashSet<&str> =
            results.iter().map(|result| result.id.as_str()).collect();
        self.results.retain(|result| !new.contains(result.id.as_str()));
        let without_failure =
            results.iter().map(|result| TestResult { failure: None, ..result.clone() });
        self.results.extend(without_failure);
    }

    async fn submit(&self, args: Value) -> Result<Reply, ToolError> {
        let Submit {} = arguments(SUBMIT, args)?;
        let context = self.context(0);
        let change = context.work_tree()?.change(context.task, context.sandbox).await?;
        let structured = json!({
            "patch": change.patch,
            "left_out": change.left_out.iter().map(ToString::to_string).collect::<Vec<_>>(),
        });
        let text = match &change.patch {
            Some(patch) => patch.clone(),
            None => "Nothing is changed.".to_string(),
        };
        Ok(Reply { text: text + &change.note(), structured: Some(structured) })
    }
}

/// The tools that are offered as they are.
fn existing() -> [Box<dyn Tool>; 4] {
    [&view::ENTRY, &search::ENTRY, &edit::ENTRY, &bash::ENTRY].map(|entry| (entry.open)())
}

/// The results as data: first those that did not pass.
fn structured(outcome: Outcome, report: &TestReport, feedback: &Feedback) -> Value {
    let (passed, others): (Vec<&TestResult>, Vec<&TestResult>) =
        report.results.iter().partition(|result| result.outcome == TestOutcome::Passed);
    let listed: Vec<Value> = others
        .iter()
        .chain(&passed)
        .take(MAX_LISTED)
        .map(|result| json!({ "id": result.id, "outcome": result.outcome }))
        .collect();
    json!({
        "outcome": outcome,
        "tests": report.results.len(),
        "passed": passed.len(),
        "not_listed": report.results.len() - listed.len(),
        "results": listed,
        "fixed": feedback.delta.fixed,
        "broken": feedback.delta.broken,
        "still_failing": feedback.delta.still_failing,
    })
}
