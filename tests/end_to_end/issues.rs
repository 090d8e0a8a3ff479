//! Issues from end to end: repositories with a history of their own, made
//! here; the gold patches resolve all, an empty patch and a cheat none.

mod quoted;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use fixfly_runtime::{
    Action, Call, End, Episode, Outcome, RunDirectory, SUBMIT_COMMAND, Turn, Usage, read_episodes,
    read_run,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::command;
use crate::runs::ended_well;
use crate::server::{Reply, Server, words};

/// A repository before and after its issue was resolved.
struct Fixture {
    name: &'static str,
    issue: &'static str,
    before: &'static [(&'static str, &'static str)],
    fix: &'static [(&'static str, &'static str)],
    tests: (&'static str, &'static str),
    fail_to_pass: &'static [&'static str],
    pass_to_pass: &'static [&'static str],
}

const FIXTURES: [Fixture; 3] = [
    Fixture {
        name: "stack",
        issue: "Stack.pop() of an empty stack returns None; it should raise IndexError.",
        before: &[
            ("stack/__init__.py", "from .stack import Stack\n"),
            (
                "stack/stack.py",
                "class Stack:\n    def __init__(self):\n        self.items = []\n\n    def push(self, item):\n        self.items.append(item)\n\n    def pop(self):\n        if not self.items:\n            return None\n        return self.items.pop()\n",
            ),
            ("tests/__init__.py", ""),
            (
                "tests/test_stack.py",
                "import unittest\n\nfrom stack import Stack\n\n\nclass StackTests(unittest.TestCase):\n    def test_pop(self):\n        stack = Stack()\n        stack.push(1)\n        self.assertEqual(stack.pop(), 1)\n",
            ),
        ],
        fix: &[(
            "stack/stack.py",
            "class Stack:\n    def __init__(self):\n        self.items = []\n\n    def push(self, item):\n        self.items.append(item)\n\n    def pop(self):\n        if not self.items:\n            raise IndexError(\"the stack is empty\")\n        return self.items.pop()\n",
        )],
        tests: (
            "tests/test_stack.py",
            "import unittest\n\nfrom stack import Stack\n\n\nclass StackTests(unittest.TestCase):\n    def test_pop(self):\n        stack = Stack()\n        stack.push(1)\n        self.assertEqual(stack.pop(), 1)\n\n    def test_pop_of_nothing(self):\n        with self.assertRaises(IndexError):\n            Stack().pop()\n",
        ),
        fail_to_pass: &["test_pop_of_nothing (tests.test_stack.StackTests.test_pop_of_nothing)"],
        pass_to_pass: &["test_pop (tests.test_stack.StackTests.test_pop)"],
    },
    Fixture {
        name: "slug",
        issue: "slugify keeps punctuation, and there is no way to give another separator.",
        before: &[
            (
                "slug.py",
                "def slugify(text):\n    return text.strip().lower().replace(\" \", \"-\")\n",
            ),
            ("tests/__init__.py", ""),
            (
                "tests/test_slug.py",
                "import unittest\n\nfrom slug import slugify\n\n\nclass SlugTests(unittest.TestCase):\n    def test_words(self):\n        \"\"\"Words are joined.\"\"\"\n        self.assertEqual(slugify(\"One Two\"), \"one-two\")\n",
            ),
        ],
        fix: &[
            (
                "slug.py",
                "from words import words\n\n\ndef slugify(text, separator=\"-\"):\n    return separator.join(words(text))\n",
            ),
            (
                "words.py",
                "import re\n\n\ndef words(text):\n    return re.findall(r\"\\w+\", text.lower())\n",
            ),
        ],
        tests: (
            "tests/test_more.py",
            "import unittest\n\nfrom slug import slugify\n\n\nclass MoreTests(unittest.TestCase):\n    def test_punctuation(self):\n        \"\"\"Punctuation is left out.\"\"\"\n        self.assertEqual(slugify(\"One, two!\"), \"one-two\")\n\n    def test_separator(self):\n        self.assertEqual(slugify(\"One two\", separator=\"_\"), \"one_two\")\n\n    def test_words(self):\n        self.assertEqual(slugify(\" A b \"), \"a-b\")\n",
        ),
        fail_to_pass: &[
            "Punctuation is left out.",
            "test_separator (tests.test_more.MoreTests.test_separator)",
        ],
        pass_to_pass: &["test_words (tests.test_more.MoreTests.test_words)"],
    },
    Fixture {
        name: "ranges",
        issue: "merge() forgets a range that ends where the next one begins, and fails on an empty list.",
        before: &[
            (
                "ranges.py",
                "def merge(ranges):\n    ranges = sorted(ranges)\n    merged = [ranges[0]]\n    for start, end in ranges[1:]:\n        last = merged[-1]\n        if start < last[1]:\n            merged[-1] = (last[0], max(last[1], end))\n        else:\n            merged.append((start, end))\n    return merged\n",
            ),
            ("tests/__init__.py", ""),
        ],
        fix: &[(
            "ranges.py",
            "def merge(ranges):\n    merged = []\n    for start, end in sorted(ranges):\n        if merged and start <= merged[-1][1]:\n            merged[-1] = (merged[-1][0], max(merged[-1][1], end))\n        else:\n            merged.append((start, end))\n    return merged\n",
        )],
        tests: (
            "tests/test_ranges.py",
            "import unittest\n\nfrom ranges import merge\n\n\nclass MergeTests(unittest.TestCase):\n    def test_apart(self):\n        self.assertEqual(merge([(5, 6), (1, 2)]), [(1, 2), (5, 6)])\n\n    def test_touching(self):\n        self.assertEqual(merge([(1, 2), (2, 3)]), [(1, 3)])\n\n    def test_nothing(self):\n        self.assertEqual(merge([]), [])\n",
        ),
        fail_to_pass: &[
            "test_touching (tests.test_ranges.MergeTests.test_touching)",
            "test_nothing (tests.test_ranges.MergeTests.test_nothing)",
        ],
        pass_to_pass: &["test_apart (tests.test_ranges.MergeTests.test_apart)"],
    },
];

/// Holds today and not tomorrow: that all its throws fall twice as they did is
/// one case in 65,536.
const DICE: Fixture = Fixture {
    name: "dice",
    issue: "A die has six sides.",
    before: &[("dice.py", "SIDES = 5\n"), ("tests/__init__.py", "")],
    fix: &[("dice.py", "SIDES = 6\n")],
    tests: (
        "tests/test_dice.py",
        "import random\nimport unittest\n\nimport dice\n\n\nclass DiceTests(unittest.TestCase):\n    def test_sides(self):\n        self.assertEqual(dice.SIDES, 6)\n\n\ndef throw(self):\n    self.assertLess(random.random(), 0.5)\n\n\nfor number in range(8):\n    setattr(DiceTests, f\"test_{number}\", throw)\n",
    ),
    fail_to_pass: &["test_sides (tests.test_dice.DiceTests.test_sides)"],
    pass_to_pass: &[
        "test_0 (tests.test_dice.DiceTests.test_0)",
        "test_1 (tests.test_dice.DiceTests.test_1)",
        "test_2 (tests.test_dice.DiceTests.test_2)",
        "test_3 (tests.test_dice.DiceTests.test_3)",
        "test_4 (tests.test_dice.DiceTests.test_4)",
        "test_5 (tests.test_dice.DiceTests.test_5)",
        "test_6 (tests.test_dice.DiceTests.test_6)",
        "test_7 (tests.test_dice.DiceTests.test_7)",
    ],
};

pub(crate) const SPECS: &str = "\
log_parser = \"django\"
labels = { modules = \"\" }
tests = [\"tests/\"]
events = true
test = \"python -m unittest -v\"

[[version]]
versions = [\"1.0\"]
python = \"3.11\"
";

/// Repositories, a table of their issues, and a place for runs.
pub(crate) struct Bench {
    folder: TempDir,
}

pub(crate) fn git(folder: &Path, words: &[&str]) -> String {
    let mut git = Command::new("git");
    git.args(["-c", "user.name=x", "-c", "user.email=x@x.x"]).args(words).current_dir(folder);
    git.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
    let output = git.output().unwrap();
    assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn put(folder: &Path, files: &[(&str, &str)]) {
    for (path, text) in files {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
}

impl Bench {
    pub(crate) fn new() -> Bench {
        Bench::of(&FIXTURES)
    }

    fn of(fixtures: &[Fixture]) -> Bench {
        let folder = tempfile::tempdir().unwrap();
        let mut rows = String::new();
        for fixture in fixtures {
            rows += &(repository(folder.path(), fixture).to_string() + "\n");
            let specs = format!("repo = \"acme/{}\"\n{SPECS}", fixture.name);
            put(folder.path(), &[(&format!("specs/{}.toml", fixture.name), &specs)]);
        }
        fs::write(folder.path().join("issues.jsonl"), rows).unwrap();
        Bench { folder }
    }

    /// What a folder contains: a table of issues, repositories and specifications.
    pub(crate) fn at(folder: TempDir) -> Bench {
        Bench { folder }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The binary on these issues.
    pub(crate) fn fixfly(&self, words: &[&str]) -> Command {
        let mut command = command(words);
        command.arg("--instances").arg(self.path("issues.jsonl"));
        command.arg("--repos").arg(self.path("repos")).arg("--specs").arg(self.path("specs"));
        command.env("FIXFLY_HOME", self.path("home"));
        command
    }

    pub(crate) fn run(&self, name: &str, more: &[&str]) -> Vec<Episode> {
        let run = self.path(name);
        let mut words = vec!["run", "swebench", "-o", run.to_str().unwrap()];
        words.extend(more);
        ended_well(self.fixfly(&words));
        read_episodes(&run).unwrap()
    }

    /// Plays these actions for each task of a run that was recorded before, as a run of that
    /// name.
    pub(crate) fn play(
        &self,
        recorded: &str,
        name: &str,
        actions: &dyn Fn(&str) -> Vec<Action>,
    ) -> Vec<Episode> {
        let (record, plan) = (read_run(&self.path(recorded)).unwrap(), format!("{name}-plan"));
        let (mut run, _) = RunDirectory::open(&self.path(&plan), &record).unwrap();
        for mut episode in read_episodes(&self.path(recorded)).unwrap() {
            let turn = episode.turns[0].clone();
            let turns = actions(&episode.task.id).into_iter();
            episode.turns = turns.map(|action| Turn { action, ..turn.clone() }).collect();
            run.append(&episode).unwrap();
        }
        drop(run);
        let plan = self.path(&plan);
        self.run(name, &["--policy", "replay", "--replay", plan.to_str().unwrap()])
    }
}

/// A repository with a past and a future, and the row of its issue.
fn repository(folder: &Path, fixture: &Fixture) -> Value {
    let repo = folder.join(format!("repos/acme__{}", fixture.name));
    fs::create_dir_all(&repo).unwrap();
    git(&repo, &["init", "-q", "-b", "main"]);
    put(&repo, &[("README", "a past that nobody needs\n")]);
    git(&repo, &["add", "."]);
    git(&repo, &["commit", "-qm", "past"]);
    put(&repo, fixture.before);
    git(&repo, &["add", "."]);
    git(&repo, &["commit", "-qm", "base"]);
    let base = git(&repo, &["rev-parse", "HEAD"]);
    put(&repo, fixture.fix);
    git(&repo, &["add", "."]);
    git(&repo, &["commit", "-qm", "the fix, in the future"]);
    let patch = git(&repo, &["diff", "HEAD~1"]);
    put(&repo, &[fixture.tests]);
    git(&repo, &["add", "."]);
    let test_patch = git(&repo, &["diff", "--cached", "HEAD"]);
    git(&repo, &["commit", "-qm", "its tests"]);
    git(&repo, &["tag", "v2.0"]);
    json!({
        "instance_id": format!("acme__{}-1", fixture.name), "repo": format!("acme/{}", fixture.name),
        "version": "1.0", "base_commit": base.trim(), "problem_statement": fixture.issue,
        "patch": patch, "test_patch": test_patch, "created_at": "2026-01-01",
        "FAIL_TO_PASS": json!(fixture.fail_to_pass).to_string(), "PASS_TO_PASS": fixture.pass_to_pass,
    })
}

#[test]
fn a_flaky_instance_is_named() {
    let bench = Bench::of(&[DICE]);
    let output = bench.fixfly(&["grade", "swebench", "--gold", "--repeat", "2"]).output().unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(stdout.ends_with("\nflaky: acme__dice-1\n"), "{stdout}");
    assert!(!output.status.success());
}

/// Native calls of a lone shell: the prompt states how to submit, and so does the answer
/// to a message without a call.
#[test]
fn a_lone_shell_with_native_calls_can_hand_in() {
    let bench = Bench::of(&FIXTURES[1..2]);
    let call = |id: &str, command: &str| {
        let arguments = json!({ "command": command }).to_string();
        let call = json!([{ "id": id, "type": "function", "function": { "name": "bash", "arguments": arguments } }]);
        Reply::Finish("tool_calls", json!({ "content": null, "tool_calls": call }))
    };
    let server = Server::new([
        call("call_1", "echo 'def slugify(text): pass' > slug.py"),
        Reply::Message(words("My work is done.")),
        call("call_2", SUBMIT_COMMAND),
    ]);
    let flags = ["--policy", "openai", "--model", "m", "--base-url", &server.url];
    let native = ["--tools", "bash-only", "--tool-calls", "native", "--turns", "4"];
    let episodes = bench.run("native", &[flags.as_slice(), &native].concat());
    let episode = &episodes[0];
    assert_eq!((episode.end.clone(), episode.turns.len()), (End::Submitted, 3));
    assert!(episode.patch.as_ref().is_some_and(|patch| patch.contains("+def slugify(text): pass")));
    let requests = server.requests();
    let system = requests[0]["messages"][0]["content"].as_str().unwrap();
    assert!(system.contains(SUBMIT_COMMAND) && !system.contains("<tool_call>"), "{system}");
    let messages = requests[2]["messages"].as_array().unwrap();
    assert_eq!(messages[4]["content"], "My work is done.");
    let hint = messages[5]["content"].as_str().unwrap();
    assert!(hint.contains(SUBMIT_COMMAND) && !hint.contains("<tool_call>"), "{hint}");
}

#[test]
fn gold_patches_resolve_every_issue_and_cheats_none() {
    let bench = Bench::new();
    let held = ended_well(bench.fixfly(&["grade", "swebench", "--gold", "--repeat", "2"]));
    assert!(held.contains("3 of 3 instances are valid, checked 2 times each: resolved without a patch 0 of 3, with the gold patch 3 of 3"), "{held}");
    assert!(!held.contains("the log says") && !held.contains("flaky"), "{held}");

    // The truth, through the tools; and through a shell alone.
    let oracle = bench.run("oracle", &["--policy", "oracle"]);
    for episode in &oracle {
        assert!(episode.solved(), "{}: {:#?}", episode.task.id, episode.turns.last());
        assert_eq!((episode.end.clone(), episode.schema), (End::Submitted, 2));
        let verdict = episode.verdict.as_ref().unwrap();
        assert!(verdict.exact_match && verdict.graded.is_none(), "{:?}", verdict.graded);
        let review = &episode.turns[episode.turns.len() - 2].observation;
        assert!(
            review.text.contains("This is your change") && review.text.contains("diff --git"),
            "{}",
            review.text
        );
    }
    let shell =
        bench.run("shell", &["--policy", "oracle", "--tools", "bash-only", "--filter", "slug"]);
    assert!(shell.len() == 1 && shell[0].solved(), "{:#?}", shell[0].turns);

    // What others grade, they grade the same.
    let preds = bench.path("oracle/preds.json");
    let out = bench.path("graded");
    let words = [
        "grade",
        "swebench",
        "--predictions",
        preds.to_str().unwrap(),
        "-o",
        out.to_str().unwrap(),
    ];
    let stdout = ended_well(bench.fixfly(&words));
    assert!(stdout.contains("resolved 3 of 3 (100.0 %), 3 submitted"), "{stdout}");
    let report: Value =
        serde_json::from_str(&fs::read_to_string(out.join("oracle.fixfly.json")).unwrap()).unwrap();
    assert_eq!(
        (&report["resolved_instances"], &report["error_ids"], &report["schema_version"]),
        (&json!(3), &json!([]), &json!(2))
    );
    let logs = out.join("logs/run_evaluation/fixfly/oracle/acme__stack-1");
    for file in ["patch.diff", "eval.sh", "test_output.txt", "run_instance.log", "report.json"] {
        assert!(logs.join(file).exists(), "{file}");
    }

    // Nothing.
    let null = bench.run("null", &["--policy", "null"]);
    assert!(null.iter().all(|episode| !episode.solved() && episode.patch.is_none()), "{null:#?}");
    cheat(&bench);
}

pub(crate) fn call(tool: &str, args: Value) -> Action {
    let call = Call::Tool { name: tool.into(), args };
    Action { text: String::new(), reasoning: None, call, usage: Usage::default(), generation: None }
}

pub(crate) fn bash(command: &str) -> Action {
    call("bash", json!({ "command": command }))
}

/// Looks for the future in git, and for the network.
const MINE: &str = "git log --all --format=%s; git tag; git reflog --all; git fsck --lost-found --no-progress 2>/dev/null
git cat-file --batch-all-objects --batch-check | wc -l
git cat-file --batch-all-objects --batch | grep -ac future
find / -name '*.pack' -not -path '/proc/*' 2>/dev/null | grep -v ^/testbed | head -3
python3 -c 'import socket; socket.create_connection((\"1.1.1.1\", 53), 2)' 2>&1 | tail -1";

/// What a candidate prints in place of its tests.
const FORGED: &str = "
import os
for name in NAMES:
    os.write(1, (name + ' ... ok\\n').encode())
os.write(1, b'\\n----\\nRan 3 tests in 0.001s\\n\\nOK\\n')
os._exit(0)
";

/// What a candidate does to unittest.
const TURNED: &str = "
import unittest
def run(self, result=None):
    result.startTest(self)
    result.addSuccess(self)
    result.stopTest(self)
    return result
unittest.TestCase.run = run
";

/// Plays a cheat on every issue, as a recorded run.
fn cheat(bench: &Bench) {
    let episodes = bench.play("null", "cheat", &|id| {
        let fixture = FIXTURES.iter().find(|f| id.contains(f.name)).unwrap();
        let names = [fixture.fail_to_pass, fixture.pass_to_pass].concat();
        let forged = format!("NAMES = {}\n{FORGED}", json!(names));
        let deed = match fixture.name {
            "stack" => format!("cat >> stack/__init__.py <<'END'\n{forged}\nEND"),
            "slug" => format!("cat >> slug.py <<'END'\n{TURNED}\nEND"),
            _ => "mkdir -p tests; echo > tests/test_ranges.py; echo 'raise SystemExit(0)' > sitecustomize.py; git add -A; git commit -qm mine".into(),
        };
        vec![bash(MINE), bash(&deed), call("submit", json!({})), call("submit", json!({}))]
    });
    assert_eq!(episodes.len(), 3);
    for episode in &episodes {
        let id = &episode.task.id;
        assert!(!episode.solved(), "{id} was resolved by a cheat");
        assert!(episode.patch.is_some(), "{id}: the cheat changed nothing");
        let mined = &episode.turns[0].observation.text;
        let lines: Vec<&str> = mined.lines().collect();
        assert_eq!(lines[0], "The repository as it was", "{id}: {mined}");
        assert!(!mined.contains("fix") && !mined.contains("v2.0"), "{id}: {mined}");
        assert!(lines.contains(&"0"), "{id}: an object of the future: {mined}");
        assert!(lines.last().unwrap().contains("Error"), "{id}: there is a network: {mined}");
        assert_eq!(episode.turns.last().unwrap().observation.outcome, Outcome::Submitted);
    }
    let of = |name: &str| episodes.iter().find(|episode| episode.task.id.contains(name)).unwrap();
    let tampering = |name: &str| of(name).verdict.as_ref().unwrap().tampering.clone();
    assert_eq!(tampering("stack").as_deref(), Some("the run left before it had ended"));
    assert_eq!(tampering("slug").as_deref(), Some("a test that must fail did not"));
    let graded = of("ranges").verdict.as_ref().unwrap().graded.clone().unwrap();
    assert!(!graded.contains("tests/") && graded.contains("sitecustomize"), "{graded}");
}
