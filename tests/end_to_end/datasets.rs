use std::fs;
use std::path::{Path, PathBuf};

use fixfly_datasets::Dataset;
use fixfly_runtime::{Role, TaskKind, Templates, read_episodes, render};
use serde_json::Value;

use crate::project::benchmark;
use crate::runs::ended_well;
use crate::{command, printed, refused};

const RECIPE: &str = "about = 'What nobody solved.'\nloss = 'last'\n\
                      [[teachers]]\nname = 'any'\nmodels = ['*']\ntake = ['unsolved', 'at-once']\n";

/// One method to learn from, two of the benchmark's own in the same file, and a
/// run on each split that solves nothing.
pub(crate) struct Bench {
    folder: tempfile::TempDir,
}

impl Bench {
    pub(crate) fn new() -> Self {
        let bench = Bench { folder: benchmark(0.0) };
        let manifest = bench.path("manifest.jsonl");
        let text = fs::read_to_string(&manifest).unwrap();
        let lines = text.lines().map(|line| match line.contains("Cart.total") {
            true => line.replace("\"split\":\"benchmark\"", "\"split\":\"train\"") + "\n",
            false => line.to_string() + "\n",
        });
        fs::write(&manifest, lines.collect::<String>()).unwrap();
        fs::write(bench.path("mine.toml"), RECIPE).unwrap();
        bench
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn word(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    pub(crate) fn run(&self, split: &str, policy: &str) -> String {
        let (folder, run) = (self.folder.path().display().to_string(), self.word(split));
        let words = ["run", "python", "--benchmark-dir", &folder, "--policy", policy, "--turns"];
        let more = ["2", "--split", split, "-o", &run];
        ended_well(command(&[&words[..], &more[..]].concat()));
        run
    }

    pub(crate) fn build<'a>(&self, run: &'a str, to: &'a str, recipe: &'a str) -> Vec<&'a str> {
        vec!["dataset", "build", "--recipe", recipe, run, "-o", to]
    }
}

pub(crate) fn read(folder: &str, file: &str) -> String {
    fs::read_to_string(Path::new(folder).join(file)).unwrap()
}

#[test]
fn a_run_becomes_a_dataset_of_the_bytes_a_student_is_sent() {
    let bench = Bench::new();
    let (run, recipe) = (bench.run("train", "null"), bench.word("mine.toml"));
    let (first, second) = (bench.word("first"), bench.word("second"));
    let all = ["--format", "sharegpt,openai,trl"];
    let stdout = printed(&[bench.build(&run, &first, &recipe), all.to_vec()].concat());
    assert!(stdout.contains("       1  train\n"), "{stdout}");
    assert!(stdout.contains("1  tasks whose prompt shows such a method word for word"), "{stdout}");

    let dataset = Dataset::open(Path::new(&first)).unwrap();
    let rows: Vec<_> = dataset.rows().unwrap().collect::<Result<_, _>>().unwrap();
    let [row] = rows.as_slice() else { panic!("{rows:?}") };
    let episode = read_episodes(Path::new(&run)).unwrap().remove(0);
    let templates = Templates::load(TaskKind::Method, None).unwrap();
    let sent = render(&episode.task, &episode.turns[..1], &templates);
    let (answer, prompt) = row.messages.split_last().unwrap();
    let prompt: Vec<_> = prompt.iter().map(|line| (line.role, &line.content)).collect();
    assert_eq!(
        prompt,
        sent.iter().map(|message| (message.role, &message.content)).collect::<Vec<_>>()
    );
    assert!(answer.content.contains("return sum(self.items.values())"));
    assert!(row.messages.iter().all(|line| line.loss == (line == answer)));
    assert_eq!(row.origin.failing_turns, [2]);
    check_forms(&first);

    printed(&[bench.build(&run, &second, &recipe), all.to_vec()].concat());
    for file in ["rows.jsonl", "dataset.json", "README.md", "sharegpt/train.jsonl"] {
        assert_eq!(read(&first, file), read(&second, file), "the same bytes: {file}");
    }
    let same = printed(&["dataset", "diff", &first, &second]);
    assert!(same.ends_with("0 in both but changed, 1 the same\n"), "{same}");
    let shown = printed(&["dataset", "show", &first]);
    assert!(shown.contains("\n+ def total(self):") && shown.contains("\n  def total("), "{shown}");
    assert!(printed(&["dataset", "stats", &first]).contains("the original method"));
}

#[track_caller]
fn check_forms(dataset: &str) {
    let row = |file: &str| serde_json::from_str::<Value>(read(dataset, file).trim()).unwrap();
    let roles = |messages: &Value, key: &str| -> Vec<String> {
        let messages = messages.as_array().unwrap().iter();
        messages.map(|message| message[key].as_str().unwrap().to_string()).collect()
    };
    let sharegpt = row("sharegpt/train.jsonl");
    assert_eq!(roles(&sharegpt["conversations"], "from"), ["user", "AI", "user", "AI"]);
    let info = row("sharegpt/dataset_info.json");
    assert_eq!(info["fixfly_train"]["tags"]["assistant_tag"], "AI");
    assert!(read(dataset, "sharegpt/llamafactory.yaml").contains("mask_history: true"));
    let openai = &row("openai/train.jsonl")["messages"];
    let weights: Vec<_> = openai.as_array().unwrap().iter().map(|m| m["weight"].as_u64()).collect();
    assert_eq!(weights, [None, None, Some(0), None, Some(1)]);
    let trl = row("trl/train.jsonl");
    assert_eq!(roles(&trl["completion"], "role"), ["assistant"]);
    assert_eq!(trl["prompt"].as_array().unwrap().len(), 4);
    assert!(read(dataset, "README.md").contains("## Leak audit"));
}

#[test]
fn tokens_are_written_with_what_of_them_is_learned() {
    let bench = Bench::new();
    let (run, recipe, to) = (bench.run("train", "null"), bench.word("mine.toml"), bench.word("to"));
    let tokenizer = concat!(env!("CARGO_MANIFEST_DIR"), "/runtime/tests/chat/tokenizer.json");
    let tokens = ["--format", "tokens", "--tokenizer", tokenizer];
    let build = |more: &[&str]| {
        let mut words = bench.build(&run, &to, &recipe);
        words.extend(tokens);
        let words: Vec<String> = words.iter().chain(more).map(|word| word.to_string()).collect();
        words
    };
    let check = |more: &[&str], code: i32, expected: &str| {
        let words = build(more);
        let (was, stderr) = refused(&words.iter().map(String::as_str).collect::<Vec<_>>());
        assert!(was == code && stderr.contains(expected), "{stderr}");
    };
    check(&[], 1, "has no chat template: name one with --chat-template, qwen3 or a file");
    check(&["--chat-template", "qwen9"], 1, "unknown chat template `qwen9`");
    let short = ["--chat-template", "qwen3", "--max-length", "20"];
    check(&short, 1, "1 of 1 rows would be dropped (1: longer than the token limit)");
    let words = build(&["--chat-template", "qwen3", "--loss", "all"]);
    printed(&words.iter().map(String::as_str).collect::<Vec<_>>());

    let about: Value = serde_json::from_str(&read(&to, "tokens/tokens.json")).unwrap();
    let rows: Vec<Value> =
        read(&to, "tokens/rows.jsonl").lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let row = Dataset::open(Path::new(&to)).unwrap().rows().unwrap().next().unwrap().unwrap();
    // History takes the block of no thought away, so the attempt is a line of its own.
    let ids: Vec<_> = rows.iter().map(|row| row["row"].as_str().unwrap().to_string()).collect();
    assert_eq!(ids, [format!("{}@1", row.id), row.id.clone()]);
    let count = |row: &Value| row["tokens"].as_array().unwrap().len() as u64;
    let learned = |row: &Value| {
        let spans: Vec<[u64; 2]> = serde_json::from_value(row["loss"].clone()).unwrap();
        spans.iter().map(|[from, to]| to - from).sum::<u64>()
    };
    assert_eq!(about["count"], 2);
    assert_eq!(about["rows"], 1);
    assert_eq!(about["tokens"].as_u64().unwrap(), rows.iter().map(count).sum::<u64>());
    assert_eq!(about["supervised_tokens"].as_u64().unwrap(), rows.iter().map(learned).sum::<u64>());
    assert_eq!(about["end_of_turn"]["text"], "<|im_end|>");
    assert_eq!(about["thinking"]["told_by"], "template");
    assert_eq!(row.tokens as u64, rows.iter().map(count).max().unwrap());
    let end = about["end_of_turn"]["id"].as_u64();
    assert!(
        rows.iter().all(|row| row["tokens"].as_array().unwrap().last().unwrap().as_u64() == end)
    );
    assert!(read(&to, "README.md").contains("2 sequences"));

    let show = ["dataset", "show", &to, "--tokenizer", tokenizer, "--chat-template", "qwen3"];
    let shown = printed(&show);
    assert_eq!(shown.matches("as the student sees it\n  <|im_start|>system\n").count(), 2);
    let answer = "  </think>\n\n+ ```python\n+ def total(self):\n";
    assert!(shown.contains(answer) && shown.contains("\n+ ```<|im_end|>\n"), "{shown}");
}

#[test]
fn methods_of_the_benchmark_are_found_and_taken_out() {
    let bench = Bench::new();
    let (run, recipe, to) = (bench.run("train", "null"), bench.word("mine.toml"), bench.word("to"));
    let stdout =
        printed(&[bench.build(&run, &to, &recipe), vec!["--mask-benchmark-methods"]].concat());
    assert!(
        stdout.contains("1  tasks whose prompt showed such a method; it was removed"),
        "{stdout}"
    );
    let dataset = Dataset::open(Path::new(&to)).unwrap();
    let row = dataset.rows().unwrap().next().unwrap().unwrap();
    assert_eq!(row.origin.masked, ["Cart.add", "Cart.names"]);
    let shown = row.messages.iter().find(|line| line.role == Role::User).unwrap();
    assert!(shown.content.contains("def __init__") && !shown.content.contains("def names"));

    let (run, to) = (bench.run("benchmark", "oracle"), bench.word("leaks"));
    let (code, stderr) = refused(&bench.build(&run, &to, &recipe));
    let why =
        "2 of 2 rows would be dropped (2: its task is of the benchmark's split), more than 10 %";
    assert!(code == 1 && stderr.starts_with(why), "{stderr}");
    assert!(!Path::new(&to).exists(), "a dataset is whole or not there");
}

#[test]
fn errors_of_a_build_name_the_cause_and_the_remedy() {
    let bench = Bench::new();
    let (run, mine, to) = (bench.run("train", "null"), bench.word("mine.toml"), bench.word("to"));
    let check = |words: Vec<&str>, code: i32, expected: &str| {
        let (was, stderr) = refused(&words);
        assert!(was == code && stderr.contains(expected), "{stderr}");
    };
    check(bench.build(&run, &to, "v4"), 2, "name the teacher of the run, as in gpt-4.1=");
    check(bench.build(&run, &to, "v9"), 1, "unknown recipe `v9`; available: v1,");
    check(bench.build("nowhere", &to, &mine), 1, "there is no run in nowhere");
    check(vec!["dataset", "show", &run], 1, "there is no dataset in");
    fs::create_dir(&to).unwrap();
    fs::write(bench.path("to/mine"), "").unwrap();
    check(bench.build(&run, &to, &mine), 1, "is not empty; name an empty or a new folder");
    let (other, nano) = (bench.word("other"), format!("gpt-4.1-nano={run}"));
    check(
        bench.build(&nano, &other, "v4-reasoning"),
        1,
        "1 of 1 rows would be dropped (1: without",
    );
    let traces = bench.word("traces.jsonl");
    fs::write(&traces, "{}").unwrap();
    let traced = [bench.build(&run, &other, &mine), vec!["--traces", &traces]].concat();
    check(traced, 1, "traces.jsonl:1 is not a trace (missing field `row`");
}
