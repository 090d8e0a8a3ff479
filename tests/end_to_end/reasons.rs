use std::fs;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::datasets::{Bench, read};
use crate::runs::{ended_well, wait_for_lines};
use crate::server::{Reply, Server, words};
use crate::{command, printed, sentence};

const RECIPE: &str = "about = 'Three of a kind.'\nloss = 'last'\n\
    [[teachers]]\nname = 'any'\nmodels = ['*']\ntake = ['unsolved']\n[duplicates]\nscope = 'off'\n";
const RIGHT: &str = "```python\ndef total(self):\n    return sum(self.items.values())\n```\n";
const OTHER: &str = "```python\ndef total(self):\n    return sum(list(self.items.values()))\n```\n";
const WRONG: &str = "```python\ndef total(self):\n    return 0\n```\n";
const TOKENIZER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/runtime/tests/chat/tokenizer.json");
const PROFILE: &str = "[price]\ninput = 10.0\noutput = 1000.0\n[seconds]\nbackoff = 0.01\n";

/// A dataset of so many rows, and a server that reasons about it.
struct Asked {
    bench: Bench,
    server: Server,
}

fn thought(reasoning: &str, text: &str) -> Reply {
    Reply::Message(json!({ "content": text, "reasoning_content": reasoning }))
}

impl Asked {
    fn new(rows: &str, script: impl IntoIterator<Item = Reply>) -> Asked {
        let bench = Bench::new();
        let folder = bench.word("");
        let words = ["run", "python", "--benchmark-dir", &folder, "--policy", "null", "--turns"];
        let run = bench.word("run");
        let more = ["1", "--split", "train", "--samples", rows, "-o", &run];
        ended_well(command(&[&words[..], &more[..]].concat()));
        fs::write(bench.path("three.toml"), RECIPE).unwrap();
        fs::write(bench.path("teacher.toml"), PROFILE).unwrap();
        let (recipe, to) = (bench.word("three.toml"), bench.word("plain"));
        printed(&bench.build(&run, &to, &recipe));
        Asked { bench, server: Server::new(script) }
    }

    fn teacher(&self, verb: &[&str], to: &str, more: &[&str]) -> Command {
        let (to, profile) = (self.bench.word(to), self.bench.word("teacher.toml"));
        let server = ["--model", "m", "--base-url", &self.server.url, "--profile", &profile];
        let words = [&["reason"], verb, &["-o", &to, "--jobs", "1"], &server, more].concat();
        let mut command = command(&words);
        command.env("OPENAI_API_KEY", "sk-secret-of-the-test");
        command
    }

    fn elicit(&self, more: &[&str]) -> Command {
        let dataset = self.bench.word("plain");
        self.teacher(&["elicit", &dataset], "traces", more)
    }

    fn traces(&self, folder: &str) -> Vec<Value> {
        let text = read(&self.bench.word(folder), "traces.jsonl");
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

#[track_caller]
fn stdout_of(mut command: Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_trace_is_asked_for_held_against_the_solution_and_learned() {
    let leaky = "It is the sum. The solution I was given adds the values. So I add them up.";
    let asked = Asked::new("1", [thought("Hm.", OTHER), thought(leaky, RIGHT)]);
    let table = stdout_of(asked.elicit(&[]));
    insta::assert_snapshot!(table);
    let requests = asked.server.requests();
    assert_eq!(requests.len(), 2);
    assert_ne!(requests[0]["seed"], requests[1]["seed"], "another try is another answer");
    let prompt = requests[0]["messages"][1]["content"].as_str().unwrap();
    assert!(prompt.contains("return sum(self.items.values())") && prompt.ends_with("<think>\n"));
    let trace = asked.traces("traces").remove(0);
    assert_eq!(trace["reasoning"], "It is the sum. So I add them up.");
    let origin = &trace["origin"];
    assert_eq!((&origin["model"], &origin["prompt"]), (&json!("taught"), &json!("minimal")));
    assert_eq!((&origin["attempt"], &origin["leaks"]), (&json!(2), &json!(1)));

    assert_eq!(stdout_of(asked.elicit(&[])), table, "the same command does nothing anew");
    assert_eq!(asked.server.requests().len(), 2);
    fs::remove_file(asked.bench.path("traces/answers.jsonl")).unwrap();
    stdout_of(asked.elicit(&[]));
    assert_eq!(asked.server.requests().len(), 2, "what was paid for is in the journal");
    let (code, why) = sentence(asked.elicit(&["--prompt", "reflection"]).output().unwrap());
    assert!(code == 1 && why.contains("was made with a different prompts"), "{why}");

    let traces = asked.bench.word("traces/traces.jsonl");
    let recipe = asked.bench.word("with.toml");
    fs::write(&recipe, format!("{RECIPE}[reasoning]\nrows = 'with'\n")).unwrap();
    let (run, to) = (asked.bench.word("run"), asked.bench.word("reasoned"));
    let tokens = ["--traces", &traces, "--format", "tokens", "--tokenizer", TOKENIZER];
    let template = ["--chat-template", "qwen3"];
    printed(&[&asked.bench.build(&run, &to, &recipe)[..], &tokens, &template].concat());
    let row: Value = serde_json::from_str(read(&to, "rows.jsonl").trim()).unwrap();
    let answer = row["messages"][4]["content"].as_str().unwrap();
    assert!(answer.starts_with("<think>\nIt is the sum. So I add them up.\n</think>\n\n```python"));
    assert_eq!(row["origin"]["trace"]["model"], "taught");
    let journal = read(&asked.bench.word("traces"), "journal/calls.jsonl");
    assert!(!journal.contains("sk-secret"));
}

#[test]
fn a_trace_may_be_taken_for_code_that_passes_the_tests() {
    let asked = Asked::new("1", [thought("Hm.", WRONG), thought("A list, then.", OTHER)]);
    let folder = asked.bench.word("");
    let tests = ["--accept", "tests", "--benchmark", "python", "--benchmark-dir", &folder];
    let table = stdout_of(asked.elicit(&tests));
    assert!(table.contains("1    rejected: its code does not pass the tests"), "{table}");
    let trace = asked.traces("traces").remove(0);
    assert_eq!(trace["reasoning"], "A list, then.");
    assert_eq!(trace["origin"]["accepted_by"], "tests");
}

#[test]
fn a_search_that_is_killed_goes_on_and_pays_for_nothing_twice() {
    let late = Reply::Late(60_000, words(RIGHT));
    let asked = Asked::new("3", [thought("One.", RIGHT), late, thought("More.", RIGHT)]);
    let mut child = asked.elicit(&[]).stderr(Stdio::null()).spawn().unwrap();
    wait_for_lines(&asked.bench.path("traces/answers.jsonl"), 1);
    while asked.server.requests().len() < 2 {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let table = stdout_of(asked.elicit(&[]));
    assert!(table.contains("3  traces accepted"), "{table}");
    assert_eq!(asked.server.requests().len(), 4, "the call under way is the only one lost");
    let thoughts: Vec<_> =
        asked.traces("traces").iter().map(|trace| trace["reasoning"].clone()).collect();
    assert_eq!(thoughts, ["One.", "More.", "More."]);
}

#[test]
fn a_search_stops_before_it_would_cost_more() {
    let asked = Asked::new("3", [thought("Hm.", RIGHT)]);
    // A call costs 100 tokens in and 20 out, and may cost 100 out.
    let small = ["--max-tokens", "100", "--budget", "0.14"];
    let (code, why) = sentence_of(asked.elicit(&small));
    assert!(code == 1 && why.contains("budget of $0.14 does not cover the next call"), "{why}");
    assert!(
        why.contains("rows left") && why.contains("run the same command again to resume"),
        "{why}"
    );
    let before = asked.server.requests().len();
    assert!((1..3).contains(&before), "{before}");
    let table = stdout_of(asked.elicit(&["--max-tokens", "100", "--budget", "9"]));
    assert!(table.contains("3  traces accepted") && table.contains("  spent"), "{table}");
    assert_eq!(asked.server.requests().len(), 3);
}

/// The exit code, and the last line.
fn sentence_of(mut command: Command) -> (i32, String) {
    let output = command.output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    (output.status.code().unwrap(), stderr.lines().last().unwrap().to_string())
}

#[test]
fn a_trace_is_made_shorter_or_dropped_and_counted() {
    let long = "Okay, so the sum of all of the values is what is wanted here. ".repeat(8);
    let asked =
        Asked::new("1", [words(&long), words("Okay, the sum."), words(&long)].map(Reply::Message));
    let traces = asked.bench.path("long.jsonl");
    let line =
        |row: &str, reasoning: &str| json!({ "row": row, "reasoning": reasoning }).to_string();
    let lines = [line("a", &long), line("b", "Short."), line("c", &long)];
    fs::write(&traces, lines.join("\n")).unwrap();
    let traces = traces.display().to_string();
    let verb = ["compress", &traces, "--tokenizer", TOKENIZER, "--max-trace-tokens", "20"];
    let table = stdout_of(asked.teacher(&verb, "short", &["--max-attempts", "2"]));
    insta::assert_snapshot!(table);
    let requests = asked.server.requests();
    assert_eq!(requests.len(), 4);
    let again = requests[1]["messages"][0]["content"].as_str().unwrap();
    assert!(again.contains("at most 20 tokens") && again.contains("An earlier answer had "));
    let kept: Vec<_> = asked.traces("short");
    let kept: Vec<_> = kept.iter().map(|trace| (&trace["row"], &trace["reasoning"])).collect();
    assert_eq!(kept, [(&json!("a"), &json!("Okay, the sum.")), (&json!("b"), &json!("Short."))]);
}

#[test]
fn what_cannot_be_asked_says_why() {
    let asked = Asked::new("1", [thought("Hm.", RIGHT)]);
    let check = |more: &[&str], code: i32, expected: &str| {
        let (was, why) = sentence(asked.elicit(more).output().unwrap());
        assert!(was == code && why.contains(expected), "{why}");
    };
    check(&["--policy", "null"], 2, "the policy `null` does not use a model");
    check(&["--prompt", "shouting"], 2, "unknown prompt `shouting`; available: minimal,");
    check(&["--prompts", "/nowhere"], 1, "/nowhere is not a folder");
    assert_eq!(asked.server.requests().len(), 0);
}
