//! `edit` changes what it names, and keeps the file's own form.

use fixfly_runtime::{Action, Outcome, RunDirectory, read_episodes, read_run};
use serde_json::json;

use crate::issues::{Bench, bash, call};

/// Plays actions on an issue and returns what each of them observed.
fn observed(bench: &Bench, actions: Vec<Action>) -> Vec<(Outcome, String)> {
    bench.run("null", &["--policy", "null", "--filter", "slug"]);
    let record = read_run(&bench.path("null")).unwrap();
    let (mut run, _) = RunDirectory::open(&bench.path("plan"), &record).unwrap();
    let mut episode = read_episodes(&bench.path("null")).unwrap().remove(0);
    let turn = episode.turns[0].clone();
    let of = |action| {
        let mut turn = turn.clone();
        turn.action = action;
        turn
    };
    episode.turns = actions.into_iter().map(of).collect();
    run.append(&episode).unwrap();
    drop(run);
    let plan = bench.path("plan");
    let more = ["--policy", "replay", "--replay", plan.to_str().unwrap(), "--filter", "slug"];
    let played = bench.run("played", &more).remove(0);
    let turns = played.turns.into_iter();
    turns.map(|turn| (turn.observation.outcome, turn.observation.text)).collect()
}

const FILES: &str = r"printf 'def f():\r\n    x = 1\r\n    return x\r\n' > crlf.py; chmod 755 crlf.py
printf '# coding: latin-1\nx = 1 # \351\n' > latin.py; printf 'a\377b\nc\n' > raw.txt
printf '\357\273\277x = 1\r\n' > real.py; ln -s real.py link.py
printf 'one\ntwo\r\nthree' > mixed.txt; printf 'a\0b' > binary";

const SHOW: &str = r#"python3 -c 'import os, sys
for name in sys.argv[1:]:
    print(name, open(name, "rb").read(), oct(os.lstat(name).st_mode))' crlf.py latin.py raw.txt real.py link.py mixed.txt"#;

#[test]
fn a_file_keeps_its_endings_encoding_mark_and_permissions() {
    let bench = Bench::new();
    let replace = |path: &str, old: &str, new: &str| {
        call(
            "edit",
            json!({ "command": "str_replace", "path": path, "old_str": old, "new_str": new }),
        )
    };
    let insert = |path: &str, line: u32, new: &str| {
        call(
            "edit",
            json!({ "command": "insert", "path": path, "insert_line": line, "new_str": new }),
        )
    };
    let undo = |path: &str| call("edit", json!({ "command": "undo", "path": path }));
    let create = call("edit", json!({ "command": "create", "path": "binary", "file_text": "x" }));
    let seen = observed(
        &bench,
        vec![
            bash(FILES),
            call("view", json!({ "path": "crlf.py" })),
            replace("crlf.py", "    x = 1\n    return x\n", "    x = 5\n    return x\n"),
            insert("crlf.py", 1, "    z = 3\n"),
            replace("latin.py", "x = 1", "y = 'è'"),
            replace("raw.txt", "c", "d\ne"),
            replace("link.py", "x", "y"),
            insert("mixed.txt", 3, "four"),
            replace("mixed.txt", "one", "1\n1"),
            bash(SHOW),
            call("search", json!({ "pattern": "^    z = 3$|xff" })),
            undo("crlf.py"),
            undo("crlf.py"),
            undo("raw.txt"),
            undo("latin.py"),
            replace("latin.py", "x", "€"),
            create,
            bash(SHOW),
        ],
    );
    let text = |at: usize| seen[at].1.as_str();
    assert!(text(1).contains("     2\t    x = 1\n"), "{}", text(1));
    for at in [2, 3, 4, 5, 6, 7, 8, 11, 12, 13, 14] {
        assert_eq!(seen[at].0, Outcome::Done, "{at}: {}", text(at));
    }
    for line in [
        r"crlf.py b'def f():\r\n    z = 3\r\n    x = 5\r\n    return x\r\n' 0o100755",
        r"latin.py b'# coding: latin-1\ny = \'\xe8\' # \xe9\n'",
        r"raw.txt b'a\xffb\nd\ne\n'",
        r"real.py b'\xef\xbb\xbfy = 1\r\n'",
        r"link.py b'\xef\xbb\xbfy = 1\r\n' 0o120777",
        r"mixed.txt b'1\n1\ntwo\r\nthree\r\nfour'",
    ] {
        assert!(loose(text(9)).contains(&loose(line)), "{line}: {}", text(9));
    }
    assert!(
        text(10).contains("crlf.py:2:    z = 3") && text(10).contains("raw.txt:1:a\\xffb"),
        "{}",
        text(10)
    );
    assert_eq!(seen[15].0, Outcome::Refused);
    assert!(text(15).contains("its encoding has no '€'; nothing was changed"), "{}", text(15));
    assert!(text(16).contains("binary is there already"), "{}", text(16));
    for line in [
        r"crlf.py b'def f():\r\n    x = 1\r\n    return x\r\n' 0o100755",
        r"latin.py b'# coding: latin-1\nx = 1 # \xe9\n'",
        r"raw.txt b'a\xffb\nc\n'",
    ] {
        assert!(text(17).contains(line), "{line}: {}", text(17));
    }
}

/// Without quotes, which Python chooses by what is in them.
fn loose(text: &str) -> String {
    text.replace("\\'", "").replace(['"', '\''], "")
}
