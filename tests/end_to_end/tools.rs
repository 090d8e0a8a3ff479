//! Tools of an agent, one after the other in one sandbox.

use fixfly_runtime::{Action, Call, Outcome, RunDirectory, Usage, read_episodes, read_run};
use serde_json::{Value, json};

use crate::issues::Bench;

/// Passes each time but the first.
const FLAKY: &str = "import os, unittest


class FlakyTests(unittest.TestCase):
    def test_once(self):
        seen = os.path.exists('/tmp/seen')
        open('/tmp/seen', 'w').close()
        self.assertTrue(seen)

    def test_always(self):
        pass
";

fn call((tool, args): (&str, Value)) -> Action {
    let call = Call::Tool { name: tool.into(), args };
    Action { text: String::new(), reasoning: None, call, usage: Usage::default(), generation: None }
}

#[test]
fn changes_are_undone_and_flaky_tests_are_recognised() {
    let bench = Bench::new();
    let null = bench.path("null").display().to_string();
    bench.run("null", &["--policy", "null", "--filter", "slug"]);
    let edit = |command: &str, path: &str, more: Value| {
        let mut args = json!({ "command": command, "path": path });
        args.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        ("edit", args)
    };
    let broken = json!({ "old_str": "def slugify(text):", "new_str": "def slugify(text:" });
    let tests = ("run_tests", json!({ "labels": ["tests.test_flaky"], "again": 2 }));
    let calls = [
        edit("str_replace", "slug.py", broken),
        edit("undo", "slug.py", json!({})),
        ("view", json!({ "path": "slug.py" })),
        edit("create", "tests/test_flaky.py", json!({ "file_text": FLAKY })),
        ("run_tests", json!({ "labels": ["tests.test_slug"] })),
        tests.clone(),
        tests,
        edit("undo", "tests/test_flaky.py", json!({})),
        edit("undo", "tests/test_flaky.py", json!({})),
    ];
    let mut plan = read_episodes(&bench.path("null")).unwrap().remove(0);
    let turn = plan.turns.remove(0);
    plan.turns = calls
        .map(|words| {
            let mut turn = turn.clone();
            turn.action = call(words);
            turn
        })
        .into();
    let record = read_run(null.as_ref()).unwrap();
    RunDirectory::open(&bench.path("plan"), &record).unwrap().0.append(&plan).unwrap();
    let plan = bench.path("plan").display().to_string();
    let words = ["--policy", "replay", "--replay", &plan, "--filter", "slug"];
    let turns = bench.run("done", &words).remove(0).turns;
    let [broken, undone, view, _, _, flaky, steady, _, nothing] = turns.as_slice() else {
        panic!("{turns:#?}")
    };
    assert!(broken.observation.text.contains("no longer parses"), "{broken:#?}");
    assert_eq!(undone.observation.text, "slug.py is as it was before its last change");
    assert!(view.observation.text.contains("def slugify(text):"), "{view:#?}");
    assert_eq!(flaky.observation.outcome, Outcome::Failed);
    assert_eq!(
        flaky.feedback.message,
        "Since the tests last ran: flaky 1: tests.test_flaky.FlakyTests.test_once."
    );
    assert!(steady.observation.text.contains("the same in each of 3 runs"), "{steady:#?}");
    assert_eq!(nothing.observation.outcome, Outcome::Refused);
}
