use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;

use crate::project::benchmark;
use crate::reports::run;
use crate::{command, fixfly, refused, sentence};

#[track_caller]
fn check(words: &str, code: i32, expected: &str) {
    let words: Vec<&str> = words.split_whitespace().collect();
    assert_eq!(refused(&words), (code, expected.to_string()));
}

#[test]
fn names_that_do_not_exist() {
    check(
        "run django --policy nul -o /nonexistent/x",
        2,
        "unknown policy `nul`; available: retrieval, openai, llama, oracle, null, mutants, replay",
    );
    check(
        "run djnago --policy null -o /nonexistent/x",
        2,
        "unknown benchmark `djnago`; available: django, python, faults, swebench",
    );
    check(
        "run django --policy null --sandbox vm -o /nonexistent/x",
        2,
        match cfg!(feature = "wasm") {
            true => "unknown sandbox `vm`; available: local, docker, wasm",
            false => "unknown sandbox `vm`; available: local, docker",
        },
    );
    check(
        "run django --policy null --split test -o /nonexistent/x",
        2,
        "invalid value 'test' for '--split <SPLIT>': expected one of: train, validation, \
         benchmark; see --help",
    );
    check(
        "run django --policy null -o /nonexistent/x --turns ten",
        2,
        "invalid value 'ten' for '--turns <TURNS>': invalid digit found in string; see --help",
    );
    check(
        "run django --policy null -o /nonexistent/x --prompts /nonexistent",
        1,
        "/nonexistent is not a folder",
    );
    check(
        "run django --policy null -o /nonexistent/x --budget 3",
        2,
        "the policy `null` uses no model: remove the flags that --help lists under \
         \"Model options\"",
    );
    check(
        "run django --policy replay -o /nonexistent/x",
        2,
        "the policy `replay` replays a recorded run: name it with --replay RUN",
    );
    check(
        "run django --policy null --replay /nonexistent -o /nonexistent/x",
        2,
        "the policy `null` replays no run: remove --replay",
    );
    check(
        "run django --policy replay --replay /nonexistent -o /nonexistent/x",
        1,
        "there is no run in /nonexistent: it has no run.json; \
         name a folder that `fixfly run -o` wrote",
    );
}

#[test]
fn a_benchmark_that_is_not_there() {
    let (code, stderr) = refused(&["run", "django", "--policy", "null", "-o", "/nonexistent/x"]);
    assert_eq!(code, 1);
    assert!(stderr.contains("run `fixfly bench build django` first"), "{stderr}");
}

#[test]
fn options_of_faulty_methods_are_refused_elsewhere() {
    let bench = benchmark(0.0);
    let bench = bench.path().to_str().unwrap();
    let check = |policy: &str, flags: &str, expected: &str| {
        let words = ["run", "python", "--benchmark-dir", bench, "-o", "/nonexistent/x"];
        let more: Vec<&str> = policy.split(' ').chain(flags.split(' ')).collect();
        let (code, stderr) = refused(&[&words[..], &more].concat());
        assert_eq!(code, 2, "{stderr}");
        assert!(stderr.starts_with(expected), "{stderr}");
    };
    for flags in ["--edit text", "--feedback none", "--mention-repeats"] {
        let flag = flags.split(' ').next().unwrap();
        let expected = format!("{flag} needs tasks that show a faulty method, and ");
        check("--policy null", flags, &expected);
    }
    let model = "--policy openai --model m --base-url http://localhost:9/v1";
    for flag in ["--answer-grammar", "--distinct-answers"] {
        let expected = format!("{flag} needs tasks that show a faulty method, and ");
        check(model, flag, &expected);
        check("--policy null", flag, "the policy `null` uses no model: remove the flags");
    }
    check(
        model,
        "--answer-grammar --edit text",
        "--answer-grammar makes changes of whole lines: remove --edit text or the grammar",
    );
    check("--policy null", "--edit part", "invalid value 'part' for '--edit <line|text>'");
    check(model, "--temperature 0.6,3", "invalid value '3' for '--temperature <TEMPERATURE>'");
}

#[test]
fn a_folder_that_cannot_hold_a_run() {
    let bench = benchmark(0.0);
    let bench = bench.path().to_str().unwrap();
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("thesis.tex"), "x").unwrap();
    let check = |path: &str, expected: &str| {
        let words = ["run", "python", "--benchmark-dir", bench, "--policy", "null", "-o", path];
        let (code, stderr) = refused(&words);
        assert_eq!((code, stderr.replace(path, "RUN").as_str()), (1, expected));
    };
    check(
        folder.path().to_str().unwrap(),
        "RUN is not a run directory: it is not empty and has no run.json; \
         name an empty or a new folder",
    );
    check(
        folder.path().join("thesis.tex").to_str().unwrap(),
        "cannot make RUN: File exists (os error 17); there is a file of this name, name another folder",
    );
}

#[test]
fn what_one_may_not_read() {
    let folder = run();
    let file = folder.path().join("run.json");
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(&file, Permissions::from_mode(0o000)).unwrap();
    let mut command = command(&["report", folder.path().to_str().unwrap()]);
    if File::open(&file).is_ok() {
        // Root may read everything, so somebody else must try.
        command.uid(65534).gid(65534);
    }
    let Ok(output) = command.output() else {
        return; // The binary lies where nobody but its owner can start it.
    };
    let (code, stderr) = sentence(output);
    assert_eq!(code, 1);
    assert_eq!(
        stderr,
        format!(
            "cannot read {}: Permission denied (os error 13); \
             change its permissions or name another folder",
            file.display()
        )
    );
}

#[test]
fn a_full_disk_under_standard_output() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let output = command(&["schema", "run"]).stdout(full).output().unwrap();
    let (code, stderr) = sentence(output);
    assert_eq!(code, 1);
    assert_eq!(stderr, "cannot write standard output: No space left on device (os error 28)");
}

#[test]
fn help_is_help() {
    for words in [&["--help"][..], &["run", "--help"], &["report", "--help"], &["schema", "-h"]] {
        let output = fixfly(words);
        assert!(output.status.success());
        assert!(String::from_utf8(output.stdout).unwrap().contains("Examples:"), "{words:?}");
    }
    assert_eq!(fixfly(&[]).status.code(), Some(2));
}
