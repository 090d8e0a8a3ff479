//! What an agent changed is found through the real binary and its sandbox, whatever the agent
//! did to its repository.

use std::fs;
use std::path::Path;

use fixfly_runtime::{Episode, LeftOutReason};
use serde_json::json;
use tempfile::TempDir;

use crate::issues::{Bench, SPECS, bash, call, git};

const EDIT: &str = "sed -i 's/VALUE = 1/VALUE = 2/' demo.py";
const CHEAT: &str = "echo 'import demo; demo.VALUE = 2' > tests/__init__.py";
const LATIN: &[u8] = b"# -*- coding: latin-1 -*-\nA = 1\nNAME = 'caf\xe9'\nVALUE = 1\nB = 2\n";

/// The instances: a name and two commands. All resolve the issue except cheats.
const CASES: &[(&str, &str, &str)] = &[
    ("amend", EDIT, "git commit -qa --amend --no-edit"),
    ("orphan", EDIT, "git checkout -q --orphan o; git commit -qam o"),
    ("nogit", EDIT, "rm -rf .git"),
    ("lock", EDIT, "touch .git/index.lock; rm -rf .git/objects"),
    ("nested", EDIT, "mkdir r; (cd r; git init -q; echo 1 > x); git add -A"),
    ("nestednew", EDIT, "mkdir -p sub; cp demo.py sub/; (cd sub; git init -q)"),
    (
        "lfs",
        EDIT,
        "git config filter.lfs.clean 'git-lfs clean -- %f'; git config filter.lfs.required true
         echo '*.bin filter=lfs diff=lfs merge=lfs -text' > .gitattributes; echo x > a.bin",
    ),
    (
        "nestedcommit",
        EDIT,
        "mkdir r; cd r; git init -q; echo 1 > x; git add -A; git -c user.name=a -c user.email=a@a commit -qm x",
    ),
    ("noprefix", EDIT, "git config diff.noprefix true"),
    ("assume", "git update-index --assume-unchanged demo.py", EDIT),
    ("skip", "git update-index --skip-worktree demo.py", EDIT),
    ("latin", EDIT, "LC_ALL=C sed -i 's/VALUE = 1/VALUE = 2/' latin.py"),
    ("latinline", EDIT, r#"LC_ALL=C sed -i "s/NAME = 'caf/NAME = 'xcaf/" latin.py"#),
    ("latinadd", EDIT, r#"printf 'x = "\xe9"\n' > newlatin.py"#),
    ("big", EDIT, "seq 1 3000000 > out.txt; mkfifo pipe"),
    ("cheatplain", CHEAT, ""),
    ("cheatmnemonic", CHEAT, "git config diff.mnemonicPrefix true"),
    ("cheatprefix", CHEAT, "git config diff.srcPrefix x/; git config diff.dstPrefix y/"),
    (
        "home",
        EDIT,
        "printf '[diff]\n noprefix = true\n' > ~/.gitconfig; p=~/.local/lib/python3.11/site-packages
         mkdir -p $p; echo 'raise SystemExit(7)' > $p/usercustomize.py",
    ),
    (
        "mounts",
        EDIT,
        "mkdir -p /tmp/mine; printf '#!/bin/sh\nexit 1\n' > /tmp/mine/python3; chmod +x /tmp/mine/python3
         for place in /env/bin /usr/bin /testbed; do mount --bind /tmp/mine $place; done; true",
    ),
];

const TESTS: &str = "import unittest\n\nimport demo\n\n\nclass DemoTests(unittest.TestCase):\n    def test_value(self):\n        self.assertEqual(demo.VALUE, 2)\n\n    def test_other(self):\n        self.assertEqual(demo.OTHER, 1)\n";

/// One repository, and an issue for each case.
fn bench() -> Bench {
    let folder = TempDir::new().unwrap();
    let repo = folder.path().join("repos/acme__demo");
    fs::create_dir_all(repo.join("tests")).unwrap();
    let put = |name: &str, bytes: &[u8]| fs::write(repo.join(name), bytes).unwrap();
    let commit = |message: &str| {
        git(&repo, &["add", "."]);
        git(&repo, &["commit", "-qm", message]);
        git(&repo, &["rev-parse", "HEAD"]).trim().to_string()
    };
    git(&repo, &["init", "-q", "-b", "main"]);
    put("demo.py", b"VALUE = 1\nOTHER = 1\n");
    put("latin.py", LATIN);
    put("tests/__init__.py", b"");
    let base = commit("base");
    put("demo.py", b"VALUE = 2\nOTHER = 1\n");
    let patch = git(&repo, &["diff", &base]);
    commit("the fix");
    put("tests/test_demo.py", TESTS.as_bytes());
    git(&repo, &["add", "."]);
    let test_patch = git(&repo, &["diff", "--cached", "HEAD"]);
    git(&repo, &["checkout", "-qf", &base]);
    let rows = CASES.iter().map(|(name, _, _)| {
        let row = json!({
            "instance_id": format!("acme__demo-{name}"), "repo": "acme/demo", "version": "1.0",
            "base_commit": base, "problem_statement": "VALUE must be 2.", "patch": patch,
            "test_patch": test_patch, "created_at": "2026-01-01",
            "FAIL_TO_PASS": ["test_value (tests.test_demo.DemoTests.test_value)"],
            "PASS_TO_PASS": ["test_other (tests.test_demo.DemoTests.test_other)"],
        });
        row.to_string() + "\n"
    });
    fs::write(folder.path().join("issues.jsonl"), rows.collect::<String>()).unwrap();
    fs::create_dir(folder.path().join("specs")).unwrap();
    let specs = format!("repo = \"acme/demo\"\n{SPECS}");
    fs::write(folder.path().join("specs/demo.toml"), specs).unwrap();
    Bench::at(folder)
}

/// The bytes of a file after the recorded patch is applied to the base commit.
fn patched(repo: &Path, episode: &Episode, file: &str) -> Vec<u8> {
    git(repo, &["reset", "-q", "--hard"]);
    git(repo, &["clean", "-qfd"]);
    let patch = repo.with_file_name("patch");
    fs::write(&patch, episode.patch.as_deref().unwrap()).unwrap();
    git(repo, &["apply", patch.to_str().unwrap()]);
    fs::read(repo.join(file)).unwrap()
}

#[test]
fn right_work_is_kept_and_a_cheat_is_not_resolved_whatever_an_agent_did_to_its_repository() {
    let bench = bench();
    bench.run("null", &["--policy", "null"]);
    let episodes = bench.play("null", "deeds", &|id| {
        let is_it = |case: &&(&str, &str, &str)| id.strip_prefix("acme__demo-") == Some(case.0);
        let (_, first, then) = CASES.iter().find(is_it).unwrap();
        vec![bash(first), bash(then), call("submit", json!({})), call("submit", json!({}))]
    });
    assert_eq!(episodes.len(), CASES.len());
    let repo = bench.path("repos/acme__demo");
    for episode in &episodes {
        let id = &episode.task.id;
        assert_eq!(episode.solved(), !id.contains("cheat"), "{id}: {episode:#?}");
        let patch = episode.patch.as_deref().unwrap();
        assert!(patch.starts_with("diff --git a/"), "{id}: {patch}");
        assert!(!patch.contains("Subproject") && !patch.contains('\u{fffd}'), "{id}: {patch}");
        if !id.contains("cheat") {
            assert_eq!(patched(&repo, episode, "demo.py"), b"VALUE = 2\nOTHER = 1\n", "{id}");
        }
        let verdict = episode.verdict.as_ref().unwrap();
        let graded = verdict.graded.as_deref().unwrap_or(patch);
        assert!(!graded.contains("tests/"), "{id}: {graded}");
    }
    let of = |name: &str| {
        let id = format!("acme__demo-{name}");
        episodes.iter().find(|episode| episode.task.id == id).unwrap()
    };
    let replaced = |from: &[u8], to: &[u8]| {
        let at = LATIN.windows(from.len()).position(|part| part == from).unwrap();
        [&LATIN[..at], to, &LATIN[at + from.len()..]].concat()
    };
    let latin = replaced(b"VALUE = 1", b"VALUE = 2");
    assert_eq!(patched(&repo, of("latin"), "latin.py"), latin);
    assert_eq!(patched(&repo, of("latinline"), "latin.py"), replaced(b"'caf", b"'xcaf"));
    assert_eq!(patched(&repo, of("latinadd"), "newlatin.py"), b"x = \"\xe9\"\n");
    assert_eq!(patched(&repo, of("nested"), "r/x"), b"1\n");
    assert_eq!(patched(&repo, of("nestedcommit"), "r/x"), b"1\n");
    assert_eq!(patched(&repo, of("lfs"), "a.bin"), b"x\n");

    let big = of("big");
    let left: Vec<_> = big.left_out.iter().map(|out| (out.path.as_str(), out.reason)).collect();
    let (large, special) = (LeftOutReason::TooLarge, LeftOutReason::SpecialFile);
    assert_eq!(left, [("out.txt", large), ("pipe", special)]);
    let review = &big.turns[2].observation;
    assert!(review.text.contains("left out of the change:\n- out.txt: "), "{}", review.text);
    assert_eq!(big.turns[3].observation.left_out, big.left_out);
}
