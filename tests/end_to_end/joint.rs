//! Joint items: several methods of one file in one answer, in words and by a tool.

use std::fs;
use std::path::{Path, PathBuf};

use fixfly_benchmarks::{Item, Manifest};
use fixfly_datasets::Dataset;
use fixfly_runtime::{
    Call, End, Episode, Outcome, Split, TaskKind, Templates, read_episodes, render, sha256,
};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::project::{benchmark, item};
use crate::server::{Reply, Server, words};
use crate::{command, printed, refused};

const RIGHT: &str = "def total(self):\n    return sum(self.items.values())\n\n\n\
                     def add(self, name, price):\n    self.items[name] = price\n";
const TASK: &str = "shop/cart.py::Cart.add+Cart.total";

/// The project of three methods, two of them joined to learn from, and two for the benchmark.
struct Bench {
    folder: TempDir,
}

impl Bench {
    fn new() -> Bench {
        let bench = Bench { folder: benchmark(0.0) };
        let file = bench.path("manifest.jsonl");
        let mut manifest = Manifest::read(&file).unwrap();
        let text = fs::read_to_string(bench.path("source/shop/cart.py")).unwrap();
        (manifest.header.schema, manifest.header.span) = (2, Some(2));
        manifest.items = vec![
            joint(&text, ["add", "total"], Split::Train, &["test_add", "test_total"]),
            joint(&text, ["__init__", "names"], Split::Benchmark, &["test_names"]),
        ];
        fs::write(file, manifest.text()).unwrap();
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn word(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// The episode on the item of the split `train`.
    #[track_caller]
    fn run(&self, name: &str, more: &[&str]) -> Episode {
        let (folder, run) = (self.word("."), self.word(name));
        let words = ["run", "python", "--benchmark-dir", &folder, "--split", "train", "-o", &run];
        let mut command = command(&[&words[..], more].concat());
        ended_well(&mut command);
        let mut episodes = read_episodes(Path::new(&run)).unwrap();
        assert_eq!(episodes.len(), 1);
        episodes.remove(0)
    }

    /// The same, with answers of a teacher.
    fn teach(&self, name: &str, replies: Vec<Reply>, more: &[&str]) -> (Episode, Vec<Value>) {
        let server = Server::new(replies);
        let words = ["--policy", "openai", "--model", "m", "--base-url", &server.url];
        let episode = self.run(name, &[&words[..], more].concat());
        (episode, server.requests())
    }
}

#[track_caller]
fn ended_well(command: &mut std::process::Command) {
    let output = command.env("OPENAI_API_KEY", "sk-of-the-test").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

fn joint(text: &str, names: [&str; 2], split: Split, tests: &[&str]) -> Item {
    let one = |name| item("shop/cart.py", text, &format!("Cart.{name}"), split, "");
    let items = names.map(one);
    let spans: Vec<[usize; 2]> = items.iter().flat_map(|item| item.spans.clone()).collect();
    let bytes: String = spans.iter().map(|[start, end]| &text[*start..*end]).collect();
    let [first, second] = names;
    Item {
        id: format!("shop/cart.py::Cart.{first}+Cart.{second}"),
        spans,
        hash: sha256(bytes)[..16].to_string(),
        tests: tests.iter().map(|test| format!("tests.test_cart.CartTests.{test}")).collect(),
        ..items[0].clone()
    }
}

#[test]
fn a_teacher_writes_both_methods_in_one_block() {
    let bench = Bench::new();
    let first = "def total(self):\n    return sum(self.items.values())\n";
    let second = format!("def add(self, name):\n    self.items[name] = 1\n\n\n{first}");
    let fenced = |code: &str| Reply::Message(words(&format!("```python\n{code}```\n")));
    let replies = vec![fenced(first), fenced(&second), fenced(RIGHT)];
    let (episode, requests) = bench.teach("text", replies, &[]);

    assert_eq!((episode.schema, episode.task.id.as_str()), (3, TASK));
    assert_eq!(episode.task.tools, ["submit_methods"]);
    let outcomes: Vec<Outcome> = episode.turns.iter().map(|t| t.observation.outcome).collect();
    assert_eq!(outcomes, [Outcome::Invalid, Outcome::Failed, Outcome::Passed]);
    assert_eq!(
        episode.turns[0].observation.text,
        "The answer defines `total`; it does not define `add`. Send one code block that defines \
         `add`, `total`, each whole, from its `def` line on."
    );
    // In the order of the file, whatever the order of the answer.
    let candidate = episode.turns[2].observation.candidate.as_deref().unwrap();
    assert!(candidate.starts_with("def add(") && candidate.contains("\n\n\ndef total("));
    let verdict = episode.verdict.as_ref().unwrap();
    assert!(verdict.solved && verdict.exact_match, "{verdict:?}");
    let patch = episode.patch.as_deref().unwrap();
    assert_eq!(patch.matches("-        raise NotImplementedError").count(), 2, "{patch}");
    let prompt = requests[0]["messages"][1]["content"].as_str().unwrap();
    insta::assert_snapshot!("prompt", prompt);

    // Whatever shows episodes shows this one.
    let run = bench.word("text");
    let shown = printed(&["show", &run, TASK]);
    for part in ["Write the method `add` of the class `Cart`", "Change of the stubs", "solved"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    assert!(printed(&["report", &run]).contains("100.0"));
    #[cfg(feature = "view")]
    {
        let pages = bench.word("pages");
        printed(&["view", &run, "--export", &pages]);
        let all = texts(Path::new(&pages));
        assert!(all.contains("write several definitions of one file"), "no page of the task");
        assert!(all.contains("Change of the stubs"), "no page of the turns");
    }
}

#[cfg(feature = "view")]
fn texts(folder: &Path) -> String {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let text = |path: PathBuf| match path.is_dir() {
        true => texts(&path),
        false => String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned(),
    };
    entries.map(text).collect()
}

#[test]
fn a_teacher_submits_both_methods_by_a_tool() {
    let bench = Bench::new();
    let call = |code: &str| {
        let arguments = json!({ "code": code }).to_string();
        let function = json!({ "name": "submit_methods", "arguments": arguments });
        let calls = json!([{ "id": "a", "type": "function", "function": function }]);
        Reply::Finish("tool_calls", json!({ "content": null, "tool_calls": calls }))
    };
    let replies = vec![call(&RIGHT.replace("= price", "= 0")), call(RIGHT)];
    let (episode, requests) = bench.teach("tool", replies, &["--tool-calls", "native"]);
    assert_eq!(requests[0]["tools"][0]["function"]["name"], "submit_methods");
    assert_eq!(episode.solved_at(), Some(2));
    let Call::Tool { name, .. } = &episode.turns[1].action.call else { panic!("no call") };
    assert_eq!(name, "submit_methods");

    // The recorded actions give the same results again.
    let run = bench.word("tool");
    let again = bench.run("again", &["--policy", "replay", "--replay", &run]);
    let seen = |episode: &Episode| -> Vec<String> {
        episode.turns.iter().map(|turn| turn.observation.text.clone()).collect()
    };
    assert_eq!((seen(&again), again.solved_at()), (seen(&episode), Some(2)));
}

/// Both raise in turn: if both did at once, the honest one would hide the other.
#[test]
fn a_method_that_stands_in_for_the_other_is_no_pass() {
    let bench = Bench::new();
    let cheat = "def add(self, name, price):\n    self.items[name] = price\n    \
                 self.total = lambda: sum(self.items.values())\n\n\n\
                 def total(self):\n    return 0\n";
    let replies = vec![Reply::Message(words(&format!("```python\n{cheat}```\n")))];
    let (episode, _) = bench.teach("cheat", replies, &["--turns", "1"]);
    let observation = &episode.turns[0].observation;
    assert_eq!(observation.outcome, Outcome::Tampered, "{}", observation.text);
    assert!(observation.text.contains("they also pass when the method raises"));
}

#[test]
fn controls_and_retrieval_answer_with_both_methods() {
    let bench = Bench::new();
    assert_eq!(bench.run("oracle", &["--policy", "oracle"]).solved_at(), Some(1));
    assert_eq!(bench.run("null", &["--policy", "null"]).solved_at(), None);
    let episode = bench.run("retrieval", &["--policy", "retrieval"]);
    assert!(!episode.turns.is_empty());
    let mut seen = Vec::new();
    for turn in &episode.turns {
        let candidate = turn.observation.candidate.as_deref().unwrap();
        assert!(candidate.contains("def add(") && candidate.contains("def total("), "{candidate}");
        assert!(!seen.contains(&candidate), "{candidate} twice");
        seen.push(candidate);
    }
    assert!(matches!(episode.end, End::Solved | End::Submitted | End::BudgetSpent { .. }));
}

#[test]
fn a_dataset_learns_the_answer_with_both_methods() {
    let bench = Bench::new();
    let fenced = |code: &str| Reply::Message(words(&format!("```python\n{code}```\n")));
    let wrong = RIGHT.replace("= price", "= 0");
    let (episode, _) = bench.teach("text", vec![fenced(&wrong), fenced(RIGHT)], &[]);
    let (run, to) = (bench.word("text"), bench.word("dataset"));
    let printed = printed(&["dataset", "build", "--recipe", "repairs", &run, "-o", &to]);
    assert!(printed.contains("       1  train\n"), "{printed}");
    let dataset = Dataset::open(Path::new(&to)).unwrap();
    let rows: Vec<_> = dataset.rows().unwrap().collect::<Result<_, _>>().unwrap();
    let [row] = rows.as_slice() else { panic!("{rows:?}") };
    let (answer, prompt) = row.messages.split_last().unwrap();
    assert!(answer.loss && answer.content.contains("def add(self, name, price):"));
    assert!(answer.content.contains("def total(self):"));
    // The prompt is what the teacher was sent; the held-out method `names` is not in it.
    let templates = Templates::load(TaskKind::Methods, None).unwrap();
    let sent = render(&episode.task, &episode.turns[..1], &templates);
    assert_eq!(prompt.len(), sent.len());
    assert_eq!(prompt[2].content, sent[2].content);
    // Each held-out method is looked for, not only the answer that has both.
    assert!(printed.contains("1  tasks whose prompt shows such a method"), "{printed}");
}

#[test]
fn what_joint_items_cannot_be_used_for_is_said_in_a_sentence() {
    let bench = Bench::new();
    let folder = bench.word(".");
    let build = ["bench", "build", "python", "--repo", &folder, "-o", &folder];
    let check = |more: &[&str], expected: &str| {
        let (code, why) = refused(&[&build[..], more].concat());
        assert_eq!(code, 2);
        assert!(why.contains(expected), "{why}");
    };
    check(&["--span", "0"], "it must be a number from 2 to 8");
    check(&["--span", "9"], "it must be a number from 2 to 8");
    check(&["--span", "two"], "it must be a number from 2 to 8");
    check(&["--span", "1"], "items of one function or method are the default: leave it out");
    check(&["--span", "2", "--since", "HEAD"], "cannot be used with");
    let faults = bench.word("faults");
    let words = ["bench", "build", "faults", "--source", "python", "--source-dir", &folder];
    let (code, why) = refused(&[&words[..], &["-o", &faults]].concat());
    assert_eq!(code, 1);
    assert!(why.contains("was built with --span 2: build it without --span"), "{why}");

    let manifest = fs::read_to_string(bench.path("manifest.jsonl")).unwrap();
    fs::write(bench.path("manifest.jsonl"), manifest.replace("\"schema\":2", "\"schema\":3"))
        .unwrap();
    let run = bench.word("run");
    let (_, why) = refused(&["run", "python", "--benchmark-dir", &folder, "-o", &run]);
    assert!(why.contains("this is a manifest of version 3, not 1 or 2"), "{why}");
}
