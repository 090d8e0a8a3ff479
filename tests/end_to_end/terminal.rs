//! What the terminal shows: help, version, progress, logs, completions and man pages.

use std::fs;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::runs::Bench;
use crate::{command, fixfly, printed, sentence};

/// Lines of a screen.
const SCREEN: usize = 40;

/// The words of every command, those with commands below them too.
fn commands() -> Vec<Vec<String>> {
    let mut all = vec![Vec::new()];
    let mut at = 0;
    while at < all.len() {
        let verbs: Vec<String> = all[at].clone();
        let words: Vec<&str> = verbs.iter().map(String::as_str).collect();
        let output = fixfly(&[&words[..], &["-h"]].concat());
        // A part that this build leaves out refuses everything, its help too.
        let text = String::from_utf8(output.stdout).unwrap();
        let lines = text.lines().skip_while(|line| *line != "Commands:").skip(1);
        let lines = lines.take_while(|line| line.starts_with("  "));
        let below = lines.filter(|line| !line[2..].starts_with(' '));
        let below = below.filter_map(|line| line.split_whitespace().next());
        all.extend(below.map(|verb| [&verbs[..], &[verb.to_string()]].concat()));
        at += 1;
    }
    assert!(all.len() > 25, "the commands were not found: {all:?}");
    all
}

#[test]
fn the_short_help_of_every_command_fits_one_screen() {
    let mut long = Vec::new();
    for verbs in commands() {
        let words: Vec<&str> = verbs.iter().map(String::as_str).collect();
        let output = command(&[&words[..], &["-h"]].concat()).env("COLUMNS", "100").output();
        let text = String::from_utf8(output.unwrap().stdout).unwrap();
        let lines = text.lines().count();
        let wide = text.lines().filter(|line| line.chars().count() > 100);
        // Commands of examples are not wrapped.
        let wide = wide.filter(|line| !line.trim_start().starts_with("fixfly ")).count();
        if lines > SCREEN || wide > 0 {
            long.push(format!("{}: {lines} lines, {wide} too wide", words.join(" ")));
        }
    }
    assert!(long.is_empty(), "{long:#?}");
}

#[test]
fn the_long_help_has_every_flag_and_example_that_the_short_one_leaves_out() {
    let (short, long) = (printed(&["run", "-h"]), printed(&["run", "--help"]));
    for flag in ["--policy", "--turns", "--jobs", "--model", "--dry-run", "--quiet"] {
        assert!(short.contains(flag) && long.contains(flag), "{flag}: {short}");
    }
    for flag in ["--top-p", "--kv-cache-dtype", "--instances", "--mention-repeats"] {
        assert!(!short.contains(flag) && long.contains(flag), "{flag}");
    }
    assert!(short.contains("Policy to run: ") && !short.contains("- retrieval: "), "{short}");
    assert!(long.contains("- retrieval: "), "{long}");
    for heading in ["Model options:", "SWE-bench options:", "Examples:"] {
        assert!(long.contains(heading), "{heading}");
    }
    assert!(short.ends_with(" and examples: --help\n"), "{short}");
    assert!(!long.contains("and examples: --help"), "{long}");
}

#[test]
fn the_version_names_commit_features_and_target() {
    assert_eq!(printed(&["-V"]), format!("fixfly {}\n", env!("CARGO_PKG_VERSION")));
    let long = printed(&["--version"]);
    let rest = long.strip_prefix(&format!("fixfly {} (", env!("CARGO_PKG_VERSION"))).unwrap();
    let (commit, rest) = rest.split_once(") features: ").unwrap();
    let is_hash = |word: &str| word.len() >= 7 && word.chars().all(|c| c.is_ascii_hexdigit());
    let of_git =
        commit.split_once(' ').is_some_and(|(hash, date)| is_hash(hash) && date.len() == 10);
    assert!(commit == "unknown" || of_git, "{long}");
    let (features, target) = rest.split_once(" target: ").unwrap();
    assert_eq!(features.split(',').any(|one| one == "docker"), cfg!(feature = "docker"), "{long}");
    assert_eq!(features.split(',').any(|one| one == "train"), cfg!(feature = "train"), "{long}");
    assert!(target.starts_with(std::env::consts::ARCH), "{long}");
}

#[test]
fn quiet_leaves_results_and_errors() {
    let bench = Bench::new(0.0);
    let output = bench.run("quiet", &["--policy", "oracle", "--quiet"]).output().unwrap();
    assert!(output.status.success());
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
    assert!(String::from_utf8(output.stdout).unwrap().contains("3 episodes on 3 tasks"));

    let wrong = bench.run("none", &["--task-id", "flask/*", "-q"]).output().unwrap();
    assert_eq!(sentence(wrong).0, 2, "an error is printed, and is one sentence");
    let both = bench.run("none", &["-q", "-v"]).output().unwrap();
    assert!(sentence(both).1.contains("cannot be used with"));
}

#[test]
fn verbose_has_a_line_for_each_episode() {
    let bench = Bench::new(0.0);
    let output = bench.run("verbose", &["--policy", "oracle", "-v"]).output().unwrap();
    let text = String::from_utf8(output.stderr).unwrap();
    let lines: Vec<&str> =
        text.lines().filter(|line| line.starts_with("solved at turn 1  ")).collect();
    assert_eq!(lines.len(), 3, "{text}");
    assert!(lines.iter().any(|line| line.contains("  shop/cart.py::Cart.total  ")), "{text}");
    assert!(text.contains("3/3  solved 3 of 3 (100.0 %, 43.9 to 100.0)  @1 3\n"), "{text}");
    assert!(!text.contains('\u{1b}') && !text.contains('\r'), "no bar in a file: {text:?}");
}

/// The messages of lines that are JSON objects, each with its level.
#[track_caller]
fn messages(stderr: Vec<u8>) -> Vec<(String, String)> {
    let text = String::from_utf8(stderr).unwrap();
    let of = |line: &str| {
        let event: Value = serde_json::from_str(line).unwrap_or_else(|why| panic!("{why}: {line}"));
        let text = |value: &Value| value.as_str().unwrap_or_else(|| panic!("{line}")).to_string();
        assert!(event["timestamp"].is_string(), "{line}");
        (text(&event["level"]), event["fields"]["message"].as_str().unwrap_or_default().to_string())
    };
    text.lines().map(of).collect()
}

#[test]
fn every_line_is_json_where_json_is_asked_for() {
    let bench = Bench::new(0.0);
    let json = ["--log-format", "json", "-vvv"];
    let run = bench.run("json", &[&["--policy", "oracle"][..], &json].concat()).output().unwrap();
    assert!(run.status.success());
    let all = messages(run.stderr);
    assert!(
        all.contains(&("INFO".into(), "3/3  solved 3 of 3 (100.0 %, 43.9 to 100.0)  @1 3".into())),
        "{all:?}"
    );
    assert!(all.iter().any(|(_, message)| message.starts_with("solved at turn 1  ")), "{all:?}");

    let more = ["--task-id", "flask\u{202e}/*", "--log-format", "json"];
    let wrong = bench.run("none", &more).output().unwrap();
    assert_eq!(wrong.status.code(), Some(2));
    assert!(!String::from_utf8_lossy(&wrong.stderr).contains('\u{202e}'));
    let why = "error: no task of python (benchmark) matches `flask\u{202e}/*`";
    assert_eq!(messages(wrong.stderr), [("ERROR".to_string(), why.to_string())]);
}

#[test]
fn rust_log_selects_what_is_logged() {
    let bench = Bench::new(0.0);
    let run = |name: &str, filter: &str| {
        let mut command = bench.run(name, &["--policy", "oracle"]);
        command.env("RUST_LOG", filter).output().unwrap()
    };
    let text = |name: &str, filter: &str| String::from_utf8(run(name, filter).stderr).unwrap();
    let is_event = |line: &str| ["TRACE", "DEBUG", " INFO"].iter().any(|l| line.starts_with(l));
    let events = |text: String| text.lines().filter(|line| is_event(line)).count();
    assert!(events(text("more", "fixfly_benchmarks=debug")) > 0, "more than usual");
    assert_eq!(events(text("usual", "")), 0);
    let (code, why) = sentence(run("wrong", "fixfly=loud"));
    assert_eq!(code, 2);
    assert!(
        why.starts_with("RUST_LOG is `fixfly=loud`: ") && why.contains("fixfly=debug"),
        "{why}"
    );
}

#[test]
fn shells_read_the_completions() {
    for (shell, marks) in
        [("bash", "complete -F"), ("zsh", "#compdef fixfly"), ("fish", "complete -c fixfly")]
    {
        let script = printed(&["generate", "completions", shell]);
        assert!(script.contains(marks) && script.contains("trajectory"), "{shell}");
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("script");
        fs::write(&file, script).unwrap();
        let checked = Command::new(shell).arg("-n").arg(&file).stderr(Stdio::piped()).output();
        match checked {
            Ok(output) => assert!(output.status.success(), "{shell}: {output:?}"),
            // Only bash is everywhere.
            Err(_) => assert_ne!(shell, "bash"),
        }
    }
}

#[test]
fn each_command_has_a_man_page() {
    let folder = tempfile::tempdir().unwrap();
    let pages = folder.path().join("man1");
    printed(&["generate", "man", pages.to_str().unwrap()]);
    let mut missing = Vec::new();
    for verbs in commands() {
        let name = [&["fixfly".to_string()][..], &verbs].concat().join("-");
        let file = pages.join(format!("{name}.1"));
        let Ok(page) = fs::read_to_string(&file) else {
            missing.push(name);
            continue;
        };
        assert!(page.contains(".SH NAME") && page.contains(".SH SYNOPSIS"), "{name}");
    }
    assert!(missing.is_empty(), "{missing:?}");
    let run = pages.join("fixfly-run.1");
    let page = fs::read_to_string(&run).unwrap();
    // A line that begins with a space stays a line; others are joined.
    assert!(page.contains("\n  \\- local: "), "the sandboxes are a list in {page}");
    // groff prints a warning for each mistake of a page.
    if let Ok(output) =
        Command::new("groff").args(["-man", "-Tutf8", "-P-cbou", "-ww"]).arg(&run).output()
    {
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success() && text.contains("BENCHMARK"), "{text}");
    }

    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let (code, why) = crate::refused(&["generate", "man", file.to_str().unwrap()]);
    assert_eq!(code, 1);
    assert!(why.starts_with(&format!("cannot write man pages to {}: ", file.display())), "{why}");
}
