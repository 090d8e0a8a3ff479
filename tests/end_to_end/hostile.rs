//! Text from elsewhere (answers, output of tests, errors of servers, names, rows) reaches
//! the terminal as text: nothing in it acts on the terminal or hides other text.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::process::Command;

use serde_json::{Value, json};

use crate::command;
use crate::datasets::Bench;
use crate::server::{Reply, Server, words};

/// Clipboard, erased line, 8-bit control, reversed text, DEL, backspace, zero width.
const HOSTILE: &str =
    "A\u{1b}]52;c;eA==\u{7}\u{1b}[2K\rALL PASSED\u{9b}31m\u{202e}\u{2066}\u{7f}\u{8}\u{200b}B";

/// The same, written in a Python string.
const ESCAPED: &str = r"A\x1b]52;c;eA==\x07\x1b[2K\rALL PASSED\x9b31m\u202e\u2066\x7f\x08\u200bB";

const PROFILE: &str = "[seconds]\nbackoff = 0.01\nretries = 1\n";

const RECIPE: &str = "about = 'What nobody solved.'\nloss = 'all'\n\
    [[teachers]]\nname = 'any'\nmodels = ['*']\ntake = ['unsolved']\n";

fn acts(c: char) -> bool {
    let hides = "\u{61c}\u{200b}\u{200e}\u{200f}\u{2028}\u{2029}\u{202a}\u{202b}\u{202c}\u{202d}\
                 \u{202e}\u{2066}\u{2067}\u{2068}\u{2069}\u{feff}";
    (c.is_control() && c != '\n' && c != '\t') || hides.contains(c)
}

/// What a command prints, with its exit code. None of it acts.
#[track_caller]
fn shown(mut command: Command) -> (Option<i32>, String) {
    let output = command.output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let both = [text(output.stdout), text(output.stderr)].concat();
    let found = both.chars().find(|c| acts(*c));
    assert_eq!(found, None, "{command:?}: {}", both.escape_debug());
    (output.status.code(), both)
}

/// The same, of a command that must have shown the hostile text.
#[track_caller]
fn shown_escaped(command: Command) -> String {
    let named = format!("{command:?}");
    let (_, text) = shown(command);
    assert!(text.contains("\\u001b]52;c;eA==\\u0007"), "{named}: {text}");
    text
}

/// A run on one method, of a model behind a server.
fn asking(bench: &Bench, server: &Server, run: &str, more: &[&str]) -> Command {
    let (folder, run) = (bench.word(""), bench.word(run));
    let profile = bench.word("teacher.toml");
    fs::write(&profile, PROFILE).unwrap();
    let words = ["run", "python", "--benchmark-dir", &folder, "--policy", "openai"];
    let model = ["--model", HOSTILE, "--base-url", &server.url, "--profile", &profile];
    let mut command =
        command(&[&words[..], &model, &["--split", "train", "-o", &run], more].concat());
    command.env("OPENAI_API_KEY", "sk-secret-of-the-test");
    command
}

#[test]
fn an_answer_and_a_failure_are_shown_safely() {
    let code =
        format!("def total(self):\n    raise type('{ESCAPED}', (Exception,), {{}})('{ESCAPED}')");
    let answer = format!("I think {HOSTILE}\n\n```python\n{code}\n```\n");
    let server = Server::new([Reply::Message(words(&answer))]);
    let bench = Bench::new();
    let (code, text) = shown(asking(&bench, &server, "run", &["-vv", "--turns", "2"]));
    assert_eq!(code, Some(0), "{text}");

    let run = bench.word("run");
    for format in ["table", "markdown", "csv"] {
        shown_escaped(command(&["report", &run, "--format", format]));
    }
    let html = bench.word("page.html");
    let (_, json) = shown(command(&["report", &run, "--format", "json", "--html", &html]));
    let report: Value = serde_json::from_str(&json).unwrap();
    assert!(report.to_string().contains("\\u001b]52;c;eA=="), "JSON keeps the text: {report}");
    let page = fs::read_to_string(&html).unwrap();
    assert!(page.contains("]52;c;eA==") && !page.contains(acts), "{}", page.escape_debug());

    let (recipe, to) = (bench.word("mine.toml"), bench.word("rows"));
    fs::write(&recipe, RECIPE).unwrap();
    shown(command(&bench.build(&run, &to, &recipe)));
    shown_escaped(command(&["dataset", "show", &to]));
    shown(command(&["dataset", "stats", &to]));
    shown(command(&["dataset", "stats", &to, "--format", "json"]));
    shown(command(&["dataset", "diff", &to, &to]));
    let rows = fs::read_to_string(bench.path("rows/rows.jsonl")).unwrap();
    let row: Value = serde_json::from_str(rows.lines().next().unwrap()).unwrap();
    assert!(row.to_string().contains("ALL PASSED\u{9b}31m"), "files keep the text");
    let card = fs::read_to_string(bench.path("rows/README.md")).unwrap();
    assert!(card.contains("\\u001b]52") && !card.contains(acts), "{}", card.escape_debug());
    styled(&to);
}

/// With colours, fixfly's own styles are printed, and no others.
#[track_caller]
fn styled(dataset: &str) {
    let mut show = command(&["dataset", "show", dataset, "--color", "always"]);
    let mut text = String::from_utf8(show.output().unwrap().stdout).unwrap();
    assert!(text.contains("\u{1b}[32m+ I think A\\u001b]52;"), "{}", text.escape_debug());
    for style in ["0", "1", "32", "1;36"] {
        text = text.replace(&format!("\u{1b}[{style}m"), "");
    }
    assert!(!text.contains(acts), "{}", text.escape_debug());
}

#[test]
fn an_error_of_a_server_is_shown_safely() {
    const ERROR: &str = "{\"error\": {\"message\": \"no \\u001b]52;c;eA==\\u0007\\u001b[2K\\rALL PASSED\\u009b\\u202e\"}}";
    for (name, status) in [("400", 400), ("401", 401), ("500", 500)] {
        let server = Server::new([Reply::Status(status, None, ERROR)]);
        let bench = Bench::new();
        shown_escaped(asking(&bench, &server, name, &["-v"]));
        shown(command(&["report", &bench.word(name)]));
    }
    let server = Server::new([Reply::Raw("text/html", "<h1>\u{1b}]52;c;eA==\u{7}\r\u{9b}</h1>")]);
    let bench = Bench::new();
    shown(asking(&bench, &server, "raw", &["-v"]));
}

#[test]
fn names_and_values_are_shown_safely() {
    let folder = tempfile::tempdir().unwrap();
    let hostile = folder.path().join(HOSTILE).display().to_string();
    let h = HOSTILE;
    let config = folder.path().join("config.toml").display().to_string();
    fs::write(&config, format!("{} = 1\n", json!(HOSTILE))).unwrap();
    let broken = folder.path().join(format!("{HOSTILE}.toml")).display().to_string();
    fs::write(&broken, format!("x = {HOSTILE}\n")).unwrap();
    for words in [
        &[h][..],
        &["run", h, "-o", "x"],
        &["run", "python", "--policy", h, "-o", "x"],
        &["run", "python", "--policy", "null", "--benchmark-dir", &hostile, "-o", &hostile],
        &["run", "python", "--policy", "replay", "--replay", &hostile, "-o", &hostile],
        &["run", "python", "--turns", h],
        &["run", "--config", &config],
        &["run", "--config", &broken],
        &["judge", h, "--stdio"],
        &["judge", "python", "--stdio", "--benchmark-dir", &hostile],
        &["report", &hostile],
        &["report", &format!("{hostile},{h}=1")],
        &["report", &broken],
        &["report", "x", "--table", h],
        &["dataset", "show", &hostile],
        &["dataset", "diff", &hostile, &hostile],
        &["dataset", "build", "--recipe", h, "x", "-o", "y"],
        &["dataset", "build", "--recipe", &broken, "x", "-o", "y"],
        &["dataset", "recipe", h],
        &["bench", "build", h],
        &["bench", "verify", h],
        &["bench", "verify", "python", "--benchmark-dir", &hostile],
        &["bench", "fetch-repo", h, "--repos", &hostile],
        &["grade", "swebench", "--instances", &hostile, "--predictions", &hostile],
        &["trajectory", "import", &hostile, "-o", "x"],
        &["trajectory", "export", &hostile, "-o", "x"],
        &["reason", "elicit", &hostile, "--model", "m", "-o", "x"],
        &["train", "lora", "--base", &hostile, "--dataset", &hostile, "-o", "x"],
        &["train", "llamafactory", "--base", &hostile, "--dataset", &hostile, "-o", "x"],
        &["export", "peft", &hostile, "-o", "x"],
        &["sweep", &broken],
        &["sweep", &hostile],
        &["schema", h],
        &["sandbox", h],
    ] {
        let (code, text) = shown(command(words));
        assert!(!matches!(code, Some(0) | None), "{words:?}: {text}");
    }
    for help in [&["run", "--help"][..], &["grade", "swebench", "--help"], &["--version"]] {
        let mut command = command(help);
        command.env("FIXFLY_REPOS", HOSTILE).env("FIXFLY_ALLOW_WEAK", HOSTILE);
        shown(command);
    }
    let mut command = command(&["report"]);
    command.arg(OsString::from_vec(b"\xff\x1b]52;c;eA==\x07".to_vec()));
    shown(command);
}

#[test]
fn tables_and_trajectories_are_shown_safely() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: String| {
        let file = folder.path().join(name);
        fs::write(&file, text).unwrap();
        file.display().to_string()
    };
    let row = |change: &[&str]| {
        let mut row = json!({ "instance_id": "a__b-1", "repo": "a/b", "base_commit": "0123456789",
            "problem_statement": HOSTILE, "patch": HOSTILE, "test_patch": HOSTILE, "version": "1",
            "FAIL_TO_PASS": [HOSTILE], "PASS_TO_PASS": [] });
        change.iter().for_each(|column| row[*column] = json!(HOSTILE));
        row.to_string()
    };
    let good = row(&[]);
    for column in ["instance_id", "repo", "base_commit", "PASS_TO_PASS"] {
        let table = write(&format!("{HOSTILE}-{column}"), format!("{good}\n{}\n", row(&[column])));
        for predictions in ["gold", &table] {
            let words = ["grade", "swebench", "--instances", &table, "--predictions", predictions];
            let repos = ["--repos", "/nonexistent", "--instance-id", HOSTILE];
            // The report goes to the current directory.
            let graded = |words: &[&str]| {
                let mut grade = command(words);
                grade.current_dir(folder.path());
                shown_escaped(grade)
            };
            graded(&[&words[..], &repos].concat());
            graded(&words);
        }
    }
    let mini = json!({ "trajectory_format": HOSTILE }).to_string();
    let steps = json!({ "trajectory": [{ "action": HOSTILE, "observation": HOSTILE }],
        "info": { "exit_status": HOSTILE, "submission": HOSTILE } });
    for (name, text) in [("mini", mini), ("steps", steps.to_string()), ("text", HOSTILE.into())] {
        let file = write(&format!("{HOSTILE}-{name}.traj"), text);
        let to = folder.path().join(format!("{HOSTILE}-run-{name}")).display().to_string();
        shown(command(&["trajectory", "import", &file, "-o", &to]));
        shown(command(&["report", &to]));
        shown(command(&["trajectory", "export", &to, "-o", &format!("{to}-out")]));
    }
}
