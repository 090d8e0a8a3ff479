//! Names of tests that git quotes.

use super::*;

/// Its test's name is no ASCII: git quotes it.
const DEMO: Fixture = Fixture {
    name: "demo",
    issue: "VALUE must be 2.",
    before: &[("demo.py", "VALUE = 1\n"), ("tests/__init__.py", "")],
    fix: &[("demo.py", "VALUE = 2\n")],
    tests: (
        "tests/test_d\u{e9}.py",
        "import unittest\n\nimport demo\n\n\nclass DemoTests(unittest.TestCase):\n    def test_value(self):\n        self.assertEqual(demo.VALUE, 2)\n\n    def test_name(self):\n        self.assertTrue(demo.__name__)\n",
    ),
    fail_to_pass: &["test_value (tests.test_d\u{e9}.DemoTests.test_value)"],
    pass_to_pass: &["test_name (tests.test_d\u{e9}.DemoTests.test_name)"],
};

#[test]
fn a_name_that_git_quotes_is_a_test_s_as_any_other() {
    let bench = Bench::of(&[DEMO]);
    let held = ended_well(bench.fixfly(&["grade", "swebench", "--gold"]));
    assert!(held.contains("1 of 1 instances are valid"), "{held}");
    let grade = |patch: &str, clean: &[&str]| {
        let row = json!([{ "instance_id": "acme__demo-1", "model_name_or_path": "m", "model_patch": patch }]);
        let predictions = bench.path("preds.json");
        fs::write(&predictions, row.to_string()).unwrap();
        let out = bench.path("out");
        let words = ["grade", "swebench", "-o", out.to_str().unwrap(), "--predictions"];
        ended_well(bench.fixfly(&[&words[..], &[predictions.to_str().unwrap()], clean].concat()))
    };
    let cheat = |old: &str, new: &str| {
        format!("--- {old}\n+++ {new}\n@@ -0,0 +1 @@\n+import demo; demo.VALUE = 2\n")
    };
    let known = "tests/__init__.py";
    let resolved = grade(&cheat("a/tests/__init__.py", "b/tests/__init__.py"), &[]);
    assert!(resolved.contains("resolved 1 of 1"), "as the official harness does: {resolved}");
    for patch in [
        cheat("a/tests/__init__.py", "b/tests/__init__.py"),
        cheat("old/tests/__init__.py", "new/tests/__init__.py"),
        cheat("./tests/__init__.py", "./tests/__init__.py"),
        cheat("a//tests/__init__.py", "b//tests/__init__.py"),
        cheat("\"a/tests/__init__.py\"", "\"b/tests/__init__.py\""),
        cheat("\"a/tests/__init__.py", "\"b/tests/__init__.py"),
        cheat("a/nothing.py", "b/nothing.py").replacen("---", &format!("Index: {known}\n---"), 1),
        cheat(" a/tests/__init__.py", " b/tests/__init__.py")
            .replace('\n', "\n ")
            .replacen("---", " ---", 1),
    ] {
        let graded = grade(&patch, &["--clean"]);
        assert!(graded.contains("resolved 0 of 1"), "{patch}{graded}");
    }
}
