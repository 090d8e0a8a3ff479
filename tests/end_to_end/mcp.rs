//! A client of the Model Context Protocol works on a repository through the program.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rmcp::model::{CallToolRequestParams, CallToolResult};
use rmcp::service::{RunningService, ServiceError};
use rmcp::transport::TokioChildProcess;
use rmcp::{RoleClient, ServiceExt};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{command, refused};

const CALC: &str = "def add(a, b):\n    return a + b\n\n\ndef subtract(a, b):\n    return a + b\n";
const TESTS: &str = "import unittest

import calc


class CalcTests(unittest.TestCase):
    def test_add(self):
        self.assertEqual(calc.add(1, 2), 3)

    def test_subtract(self):
        self.assertEqual(calc.subtract(3, 1), 2)
";

/// A repository with a fault in a change that is not committed, and a Python without pytest.
fn repository() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let script = "git init -q -b main .; git config user.name x; git config user.email x@x
         python3 -m venv --without-pip .venv; echo .venv > .gitignore
         printf 'def add(a, b):\\n    return a + b\\n' > calc.py
         git add -A; git commit -qm start";
    let made = Command::new("sh").args(["-ec", script]).current_dir(folder.path()).status();
    assert!(made.unwrap().success());
    fs::write(folder.path().join("calc.py"), CALC).unwrap();
    fs::write(folder.path().join("test_calc.py"), TESTS).unwrap();
    folder
}

/// A folder with one recorded run. Readers write an index beside its episodes.
fn recorded() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/recorded/run");
    fs::create_dir(folder.path().join("run")).unwrap();
    for name in ["run.json", "episodes.jsonl"] {
        fs::copy(fixture.join(name), folder.path().join("run").join(name)).unwrap();
    }
    folder
}

/// All files of a folder with their contents, without git's own.
fn contents(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.is_file())
        .map(|path| (path.clone(), fs::read(&path).unwrap()))
        .collect();
    files.sort();
    files
}

struct Session {
    client: RunningService<RoleClient, ()>,
    temporary: TempDir,
}

impl Session {
    async fn start(words: &[&str]) -> Session {
        let temporary = tempfile::tempdir().unwrap();
        let mut program = command(&["mcp", "--allow-weak"]);
        program.args(words).env("TMPDIR", temporary.path()).env_remove("VIRTUAL_ENV");
        let transport = TokioChildProcess::new(tokio::process::Command::from(program)).unwrap();
        Session { client: ().serve(transport).await.unwrap(), temporary }
    }

    async fn try_call(
        &self,
        name: &'static str,
        args: Value,
    ) -> Result<CallToolResult, ServiceError> {
        let args = args.as_object().unwrap().clone();
        self.client.call_tool(CallToolRequestParams::new(name).with_arguments(args)).await
    }

    /// The text and the data of a call that succeeds.
    async fn call(&self, name: &'static str, args: Value) -> (String, Value) {
        let result = self.try_call(name, args).await.unwrap();
        let text = text(&result);
        assert_eq!(result.is_error, Some(false), "{name}: {text}");
        (text, result.structured_content.unwrap_or_default())
    }

    /// The error of a call that fails, in one sentence.
    async fn error(&self, name: &'static str, args: Value) -> String {
        let result = self.try_call(name, args).await.unwrap();
        let text = text(&result);
        assert_eq!(result.is_error, Some(true), "{name}: {text}");
        assert!(!text.contains('\n'), "{text}");
        text
    }

    /// Ends the session; nothing of the copy remains.
    async fn end(self) {
        self.client.cancel().await.unwrap();
        for _ in 0..100 {
            if fs::read_dir(self.temporary.path()).unwrap().next().is_none() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let left: Vec<_> = fs::read_dir(self.temporary.path()).unwrap().collect();
        panic!("the copy remains: {left:?}");
    }
}

fn text(result: &CallToolResult) -> String {
    result.content.iter().map(|block| block.as_text().unwrap().text.as_str()).collect()
}

#[tokio::test]
async fn an_agent_repairs_a_copy_and_gets_the_change() {
    let folder = repository();
    let before = contents(folder.path());
    let session = Session::start(&["--repo", folder.path().to_str().unwrap()]).await;
    let run = json!({ "framework": "unittest" });
    let (text, data) = session.call("run_tests", run.clone()).await;
    insta::assert_snapshot!("failing_tests", text);
    assert_eq!((&data["passed"], &data["tests"]), (&json!(1), &json!(2)));
    let failed = json!({ "id": "test_calc.CalcTests.test_subtract", "outcome": "failed" });
    assert_eq!(data["results"][0], failed);

    let (text, _) = session.call("search", json!({ "pattern": "def subtract" })).await;
    assert_eq!(text, "1 lines in 1 files:\ncalc.py:5:def subtract(a, b):");
    let (text, _) = session.call("view", json!({ "path": "calc.py", "from": 5 })).await;
    assert!(text.contains("     6\t    return a + b"), "{text}");
    let edit = json!({
        "command": "str_replace", "path": "calc.py",
        "old_str": "def subtract(a, b):\n    return a + b", "new_str": "def subtract(a, b):\n    return a - b",
    });
    session.call("edit", edit).await;
    let ids = json!({ "framework": "unittest", "ids": ["test_calc.CalcTests.test_subtract"] });
    let (text, data) = session.call("run_tests", ids).await;
    assert!(text.starts_with("Passed. 1 tests: 1 passed, 0 failed"), "{text}");
    assert!(text.ends_with("fixed 1: test_calc.CalcTests.test_subtract."), "{text}");
    assert_eq!(data["fixed"], json!(["test_calc.CalcTests.test_subtract"]));

    // A test file that can no longer be imported breaks its tests.
    let (text, _) = session.call("bash", json!({ "command": "echo 'def' >> calc.py; pwd" })).await;
    assert_eq!(text, "/repo");
    let (_, data) = session.call("run_tests", run.clone()).await;
    assert_eq!(data["broken"].as_array().unwrap().len(), 2, "{data}");
    session.call("bash", json!({ "command": "sed -i '$d' calc.py" })).await;
    let (_, data) = session.call("run_tests", run).await;
    assert_eq!((&data["passed"], data["fixed"].as_array().unwrap().len()), (&json!(2), 2));

    let (patch, data) = session.call("submit", json!({})).await;
    insta::assert_snapshot!("change", patch);
    assert_eq!((&data["patch"], &data["left_out"]), (&json!(patch), &json!([])));
    assert_eq!(contents(folder.path()), before, "the user's files are the user's");
    session.end().await;
}

#[tokio::test]
async fn the_tools_describe_themselves() {
    let folder = repository();
    let runs = recorded();
    let runs = runs.path().to_str().unwrap();
    let repo = folder.path().to_str().unwrap();
    let session = Session::start(&["--repo", repo, "--runs", runs]).await;
    insta::assert_json_snapshot!("list_tools", session.client.list_all_tools().await.unwrap());

    let (text, data) = session.call("list_runs", json!({})).await;
    assert!(text.contains("run: oracle on python, 4 of 4 episodes solved"), "{text}");
    assert_eq!(data["runs"][0]["run"], "run");
    let task = "shop/cart.py::Cart.total";
    let (text, _) = session.call("show_episode", json!({ "run": "run", "task": task })).await;
    assert!(text.starts_with(&format!("{task}, by oracle, 1 turn, solved\n")), "{text}");
    assert!(text.contains("## Turn 1: passed") && text.ends_with("Verdict: solved"), "{text}");
    for (run, task) in [("../recorded/run", task), ("none", task), ("/etc", task)] {
        let why = session.error("show_episode", json!({ "run": run, "task": task })).await;
        assert!(why.contains(&format!("there is no run `{run}`")), "{why}");
    }
    let why = session.error("show_episode", json!({ "run": "run", "task": "x" })).await;
    assert_eq!(why, "the run `run` has no episode of the task `x`, sample 0");
    session.end().await;
}

#[tokio::test]
async fn a_wrong_call_is_a_result_and_an_unknown_tool_an_error_of_the_protocol() {
    let folder = repository();
    let session = Session::start(&["--repo", folder.path().to_str().unwrap()]).await;
    let hostile = |id: &str| json!({ "framework": "unittest", "ids": [id] });
    for id in ["; rm -rf /repo", "$(touch /repo/x)", "../../etc/passwd", "test_calc.Nothing"] {
        let why = session.error("run_tests", hostile(id)).await;
        assert!(why.starts_with("no test has the id `"), "{why}");
    }
    for id in ["--help", "-p evil", "a\nb"] {
        let why = session.error("run_tests", hostile(id)).await;
        assert!(why.ends_with("is no label of a test"), "{why}");
    }
    let why = session.error("run_tests", json!({ "framework": "nose" })).await;
    assert_eq!(why, "`run_tests`: there is no framework `nose`; it is one of pytest, unittest");
    let why = session.error("run_tests", json!({})).await;
    assert!(why.contains("has no pytest; install it there"), "{why}");
    let why = session.error("view", json!({ "path": 3 })).await;
    assert!(why.starts_with("`view` was called with wrong arguments"), "{why}");
    let (patch, _) = session.call("submit", json!({})).await;
    assert_eq!(patch, "Nothing is changed.");
    for tool in ["rm", "list_runs"] {
        match session.try_call(tool, json!({})).await {
            Err(ServiceError::McpError(why)) => assert!(why.message.contains("there is no tool")),
            other => panic!("{tool}: {other:?}"),
        }
    }
    session.end().await;
}

#[test]
fn a_session_that_cannot_start_is_one_sentence() {
    let empty = tempfile::tempdir().unwrap();
    let folder = empty.path().to_str().unwrap();
    let check = |words: &[&str], expected: &str| {
        let (_, why) = refused(&[&["mcp", "--allow-weak"], words].concat());
        assert!(why.contains(expected), "{why}");
    };
    check(&["--repo", folder], "is not in a git repository; run `git init` there");
    check(&["--repo", "/nonexistent"], "/nonexistent cannot be read");
    check(&["--runs", "/nonexistent"], "/nonexistent is not a folder; name one with --runs");
    check(&["--python", "/bin/false"], "`/bin/false` cannot be used");
    check(&["--sandbox", "paper"], "paper");
}
