//! The actions of a policy, one tool per file.
//!
//! A tool reads its arguments, touches the world only through the sandbox it is given, and
//! returns an observation. It does not judge; that is the benchmark's task. A new tool is a
//! file, a `mod` line and a line in [`ALL`].
//!
//! ```
//! let entry = fixfly_runtime::find("tool", fixfly_tools::ALL, "submit_method").unwrap();
//! let spec = (entry.open)().spec();
//! assert_eq!(spec.parameters["required"], serde_json::json!(["code"]));
//! ```

mod bash;
mod bundle;
mod declared;
mod document;
mod edit;
mod files;
mod find_file;
#[cfg(feature = "mcp")]
pub mod mcp;
mod place;
mod run_tests;
mod search;
mod submit;
mod submit_method;
mod submit_methods;
mod view;

pub use bundle::{BUNDLES, manual, native_manual};

use fixfly_runtime::{Entry, Tool, ToolError};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Creates a tool; there is nothing to configure.
pub type Open = fn() -> Box<dyn Tool>;

/// All tools.
pub const ALL: &[Entry<Open>] = &[
    submit_method::ENTRY,
    submit_methods::ENTRY,
    bash::ENTRY,
    view::ENTRY,
    search::ENTRY,
    find_file::ENTRY,
    edit::ENTRY,
    run_tests::ENTRY,
    submit::ENTRY,
];

/// All tools, opened.
pub fn all() -> Vec<Box<dyn Tool>> {
    ALL.iter().map(|entry| (entry.open)()).collect()
}

/// The schema of a tool's arguments, without parts that no model needs.
fn parameters<Arguments: JsonSchema>() -> Value {
    let mut schema = schemars::schema_for!(Arguments);
    for key in ["$schema", "title"] {
        schema.remove(key);
    }
    // Some servers require `properties` even if a tool takes no argument.
    schema.ensure_object().entry("properties").or_insert_with(|| serde_json::json!({}));
    schema.to_value()
}

/// Parses the arguments of a call; wrong ones are refused with one sentence.
fn arguments<Arguments: DeserializeOwned>(tool: &str, args: Value) -> Result<Arguments, ToolError> {
    if !args.is_object() {
        let why = format!("`{tool}` was called with wrong arguments: they are no object");
        return Err(ToolError::Refused(why));
    }
    serde_json::from_value(args)
        .map_err(|e| ToolError::Refused(format!("`{tool}` was called with wrong arguments: {e}")))
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;
    use fixfly_runtime::{
        Benchmark, BenchmarkError, Budget, Command, DescribedBy, Evaluator, GroundTruth, History,
        Issue, Method, Observation, Outcome, Output, Process, Sandbox, SandboxError, SandboxSpec,
        Split, Statement, Task, ToolContext, Verdict,
    };
    use serde_json::json;
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;

    /// A benchmark that returns its input, with a sandbox in which nothing works.
    struct Echo;

    fn broken<T>() -> Result<T, SandboxError> {
        Err(SandboxError::Open("there is no world".into()))
    }

    #[async_trait]
    impl Benchmark for Echo {
        async fn tasks(&self, _: Split) -> Result<Vec<Task>, BenchmarkError> {
            Ok(Vec::new())
        }

        fn evaluator(&self) -> Option<&dyn Evaluator> {
            Some(self)
        }

        async fn judge(
            &self,
            _: &Task,
            _: &str,
            _: &dyn Sandbox,
        ) -> Result<Verdict, BenchmarkError> {
            Ok(broken()?)
        }

        fn facts(&self) -> std::collections::BTreeMap<String, String> {
            std::collections::BTreeMap::new()
        }

        fn ground_truth(&self) -> &dyn GroundTruth {
            unreachable!("a tool may not know")
        }
    }

    #[async_trait]
    impl Evaluator for Echo {
        async fn evaluate(
            &self,
            _: &Task,
            candidate: &str,
            _: &dyn Sandbox,
        ) -> Result<Observation, BenchmarkError> {
            match candidate {
                "break" => Ok(broken()?),
                words => Ok(Observation::new(Outcome::Passed, words)),
            }
        }

        fn patch(&self, _: &Task, candidate: &str) -> Result<String, BenchmarkError> {
            Ok(candidate.into())
        }
    }

    #[async_trait]
    impl Sandbox for Echo {
        async fn exec(&self, _: &Command) -> Result<Output, SandboxError> {
            broken()
        }

        async fn spawn(&self, _: &str, _: &Command) -> Result<Arc<dyn Process>, SandboxError> {
            broken()
        }

        async fn read(&self, _: &str) -> Result<Vec<u8>, SandboxError> {
            broken()
        }

        async fn write(&self, _: &str, _: &[u8]) -> Result<(), SandboxError> {
            broken()
        }

        async fn close(self: Box<Self>) -> Result<(), SandboxError> {
            Ok(())
        }
    }

    #[async_trait]
    impl Process for Echo {
        async fn ask(&self, _: &str, _: Duration) -> Result<String, SandboxError> {
            broken()
        }
    }

    fn method() -> Statement {
        Statement::Method(Method {
            file: "a.py".into(),
            class_name: "A".into(),
            name: "f".into(),
            declaration: "def f(self):".into(),
            decorators: Vec::new(),
            description: String::new(),
            described_by: DescribedBy::Nothing,
            content: String::new(),
            faulty: None,
            options: fixfly_runtime::FaultOptions::default(),
        })
    }

    fn issue() -> Statement {
        Statement::Issue(Issue {
            repo: "a/b".into(),
            version: String::new(),
            text: "It breaks.".into(),
            root: "/repo".into(),
            manual: String::new(),
            history: History::All,
        })
    }

    async fn call(
        tool: &dyn Tool,
        statement: Statement,
        args: Value,
    ) -> Result<Observation, ToolError> {
        let task = Task {
            id: "a.py::A.f".into(),
            benchmark: "echo".into(),
            statement,
            sandbox: SandboxSpec::default(),
            tools: ALL.iter().map(|entry| entry.name.to_string()).collect(),
            budget: Budget { turns: 1, tokens: None, seconds: None, usd: None },
        };
        tool.call(args, ToolContext { task: &task, turns: &[], sandbox: &Echo, benchmark: &Echo })
            .await
    }

    #[test]
    fn every_tool_tells_a_model_how_to_call_it() {
        for entry in ALL {
            let spec = (entry.open)().spec();
            assert_eq!(spec.name, entry.name);
            assert!(!spec.description.is_empty() && !entry.about.is_empty());
            assert_eq!(spec.parameters["type"], "object");
            let properties = spec.parameters["properties"].as_object().unwrap();
            for (name, property) in properties {
                assert!(property["description"].is_string(), "{}: {name}", entry.name);
            }
        }
    }

    #[tokio::test]
    async fn every_tool_refuses_wrong_arguments_in_a_sentence() {
        let garbage = [
            json!(null),
            json!([]),
            json!("code"),
            json!(1e308),
            json!({ "\u{0}": {} }),
            json!({ "code": null, "path": [], "command": {} }),
        ];
        for entry in ALL {
            let tool = (entry.open)();
            for args in &garbage {
                match call(&*tool, method(), args.clone()).await {
                    Err(ToolError::Refused(why)) => {
                        assert!(why.contains(entry.name) && !why.contains('\n'), "{why}");
                    }
                    other => panic!("{} took {args}: {other:?}", entry.name),
                }
            }
        }
    }

    #[tokio::test]
    async fn a_submitted_method_goes_to_the_evaluator_as_it_is() {
        for entry in [submit_methods::ENTRY, submit_method::ENTRY] {
            let tool = (entry.open)();
            let code = "def f(self):\n    return 'ä'\n";
            let seen = call(&*tool, method(), json!({ "code": code })).await.unwrap();
            assert_eq!(seen.text, code);
            let broke = call(&*tool, method(), json!({ "code": "break" })).await.unwrap_err();
            assert!(matches!(broke, ToolError::Benchmark(BenchmarkError::Sandbox(_))));
        }
    }

    #[tokio::test]
    async fn a_tool_needs_a_task_and_a_benchmark_with_a_work_tree() {
        let check = async |entry: &Entry<Open>, statement, args, expected: &str| {
            let error = call(&*(entry.open)(), statement, args).await.unwrap_err();
            assert_eq!(error.to_string(), expected);
        };
        let none = "`submit` works on issues; this task has no work tree";
        check(&submit::ENTRY, method(), json!({}), none).await;
        let none = "a.py::A.f: the benchmark echo has no work trees";
        check(&submit::ENTRY, issue(), json!({}), none).await;
        check(&run_tests::ENTRY, issue(), json!({ "labels": ["a"] }), none).await;
    }

    #[test]
    fn what_models_are_told() {
        let specs: Vec<_> = ALL.iter().map(|entry| (entry.open)().spec()).collect();
        insta::assert_json_snapshot!("specs", specs);
    }
}
