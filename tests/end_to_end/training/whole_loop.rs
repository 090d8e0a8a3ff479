//! The whole loop in one binary: episodes, dataset, adapter, GGUF, and the student at work.

use std::fs;
use std::path::Path;

use fixfly_runtime::{
    KvType, LocalModel, Lora, RunSpec, Sampling, Settings, Split, Thinking, ThinkingMode,
    read_episodes,
};
use serde_json::Value;

use super::here;
use crate::datasets::Bench;
use crate::{command, fixfly, library, printed, refused, runs};

/// Learns one method by heart, and must then write it in a run: with each
/// token the probability that its training had. The base is a folder or, with the same
/// numbers, the GGUF file that the student is served on.
#[track_caller]
fn check(kind: &str, format: &str) {
    let bench = Bench::new();
    let [recipe, data, student] = ["mine.toml", "data", "student"].map(|name| bench.word(name));
    let [whole, lora] = ["base.gguf", "student.gguf"].map(|name| bench.word(name));
    let folder = here::base(&bench.path("models"), kind).display().to_string();
    printed(&["export", "gguf", &folder, "--dtype", "f32", "-o", &whole]);
    let (base, tokenizer) = match format {
        "gguf" => (whole.clone(), whole.clone()),
        _ => (folder.clone(), format!("{folder}/tokenizer.json")),
    };
    let taught = bench.run("train", "oracle");
    let more = ["--format", "tokens", "--tokenizer", &tokenizer];
    printed(&[&bench.build(&taught, &data, &recipe)[..], &more].concat());
    let rows = bench.path("data/tokens/rows.jsonl");
    // What it learned is what it is judged by: here nothing else is of interest.
    fs::copy(&rows, bench.path("data/tokens/validation.jsonl")).unwrap();
    let places = ["train", "lora", "--base", &base, "--dataset", &data, "-o", &student];
    let settings =
        ["--target", "all", "--rank", "32", "--dropout", "0", "--gradient-accumulation-steps", "1"];
    let steps = ["--lr", "0.01", "--warmup-steps", "5", "--epochs", "60"];
    printed(&[&places[..], &settings, &steps].concat());
    printed(&["export", "gguf", &student, "-o", &lora]);
    let again = bench.word("again");
    let more = ["--format", "tokens", "--tokenizer", &whole];
    printed(&[&bench.build(&taught, &again, &recipe)[..], &more].concat());
    let rows = fs::read_to_string(rows).unwrap();
    let same = fs::read_to_string(bench.path("again/tokens/rows.jsonl")).unwrap();
    assert_eq!(same, rows, "{kind}: tokens by the exported file's tokenizer and template");

    let row: Value = serde_json::from_str(&rows).unwrap();
    let [from, to] = [0, 1].map(|at| row["loss"][0][at].as_u64().unwrap() as usize);
    let learned: Vec<_> = row["tokens"].as_array().unwrap()[from..to].to_vec();
    let run = |name: &str, more: &[&str]| {
        let (folder, run) = (bench.word(""), bench.word(name));
        let words =
            ["run", "python", "--benchmark-dir", &folder, "--policy", "llama", "--model", &whole];
        let how = ["--turns", "1", "--split", "train", "--temperature", "0", "--max-tokens", "150"];
        let exact = ["--think", "no", "--kv-cache-dtype", "f32", "--record-tokens", "-o", &run];
        runs::ended_well(command(&[&words[..], &how, &exact, more].concat()));
        read_episodes(&bench.path(name)).unwrap().remove(0)
    };
    assert!(!run("before", &[]).solved(), "{kind}: a model of random weights");
    let episode = run("after", &["--lora", &lora]);
    let action = &episode.turns[0].action;
    let generation = action.generation.as_ref().unwrap();
    let ids: Vec<Value> = generation.tokens.iter().map(|token| token.id.into()).collect();
    assert_eq!(ids, learned, "{kind} generates {:?}", action.text);
    assert!(episode.solved(), "{kind}: {:?}", episode.end);
    let surprise = generation.tokens.iter().map(|token| -f64::from(token.logprob)).sum::<f64>();
    let (served, trained) = (surprise / ids.len() as f64, chosen_loss(&bench.path("student")));
    let by_hand = RunSpec {
        benchmark: "python".into(),
        benchmark_dir: Some(bench.path("")),
        split: Split::Train,
        policy: "llama".into(),
        turns: Some(1),
        model: Some(Settings {
            model: Some(whole.clone()),
            sampling: Sampling {
                max_tokens: Some(150),
                temperature: Some(0.0),
                ..Sampling::default()
            },
            thinking: Thinking { mode: ThinkingMode::NoThink, ..Thinking::default() },
            local: LocalModel {
                loras: vec![Lora { file: lora.clone().into(), scale: 1.0 }],
                kv_type: KvType::F32,
                engine: Some(env!("CARGO_BIN_EXE_fixfly").into()),
                ..LocalModel::default()
            },
            ..Settings::default()
        }),
        output: bench.path("by-hand"),
        allow_weak: true,
        ..RunSpec::default()
    };
    assert_eq!(library::run(by_hand).solved, 1, "{kind}: the engine of another program");
    assert!(
        (served - trained).abs() < 1e-5 + 1e-3 * trained,
        "{kind}: a token's loss is {served} in llama.cpp, and {trained} where it was trained"
    );
}

/// The least validation loss: that of the checkpoint that is taken.
fn chosen_loss(student: &Path) -> f64 {
    let log = fs::read_to_string(student.join("log.jsonl")).unwrap();
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let losses = lines.filter(|line| line["kind"] == "validation");
    losses.map(|line| line["loss"].as_f64().unwrap()).fold(f64::INFINITY, f64::min)
}

#[test]
fn a_student_does_at_work_what_it_learned() {
    check("qwen3", "folder");
    check("llama", "folder");
    check("llama", "gguf");
    check("qwen2", "gguf");
}

/// Flags of a try: the one task of the validation split, and what the student needs to say
/// word for word what it learned.
const TRY: &str =
    "benchmark = \"python\"\nturns = 1\ntemperature = 0\nthink = \"no\"\nmax-tokens = 150\n";

#[test]
fn checkpoints_are_evaluated_and_chosen_by_solved_tasks() {
    let bench = Bench::new();
    let [recipe, data, student] = ["mine.toml", "data", "student"].map(|name| bench.word(name));
    let [flags, folder] = ["try.toml", ""].map(|name| bench.word(name));
    let base = here::base(&bench.path("models"), "qwen3").display().to_string();
    let tokenizer = format!("{base}/tokenizer.json");
    let taught = bench.run("train", "oracle");
    let more = ["--format", "tokens", "--tokenizer", &tokenizer];
    printed(&[&bench.build(&taught, &data, &recipe)[..], &more].concat());
    let rows = bench.path("data/tokens/rows.jsonl");
    let row = fs::read_to_string(&rows).unwrap();
    fs::write(&rows, row.repeat(30)).unwrap();
    // What it learns is what it is tried on: here nothing else is of interest.
    let manifest = fs::read_to_string(bench.path("manifest.jsonl")).unwrap();
    let manifest = manifest.replace("\"split\":\"train\"", "\"split\":\"validation\"");
    fs::write(bench.path("manifest.jsonl"), manifest).unwrap();

    let places = ["train", "lora", "--base", &base, "--dataset", &data, "-o", &student];
    let settings =
        ["--target", "all", "--rank", "32", "--dropout", "0", "--gradient-accumulation-steps", "1"];
    let steps = ["--lr", "0.01", "--warmup-steps", "5", "--epochs", "2", "--eval", &flags];
    let words = [&places[..], &settings, &steps].concat();
    let with = |flags: &str| fs::write(bench.path("try.toml"), flags).unwrap();
    let check = |flags: &str, expected: &str| {
        with(flags);
        let (code, why) = refused(&words);
        assert!(code == 2 && why.contains(expected), "{why}");
        assert!(!bench.path("student").exists(), "a refused training left something");
    };
    check(
        "benchmark = \"python\"\nsplit = \"benchmark\"\n",
        "try.toml: remove `split`: the evaluation sets it itself",
    );
    check("turnz = 1\n", "try.toml: line 1: `turnz` is not a flag of `fixfly run`");
    check("turns = 1\n", "BENCHMARK");

    let flags = format!("{TRY}benchmark-dir = \"{folder}\"\n");
    with(&flags);
    let out = printed(&words);
    let chosen = out.lines().find(|line| line.contains("<- chosen")).expect(&out);
    assert!(chosen.contains("1 of 1"), "{out}");
    let log = fs::read_to_string(bench.path("student/log.jsonl")).unwrap();
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let tried: Vec<Value> = lines.filter(|line| line["kind"] == "repairs").collect();
    let at: Vec<_> =
        tried.iter().map(|line| (line["step"].as_u64(), line["of"].as_u64())).collect();
    assert_eq!(at, [(Some(30), Some(1)), (Some(60), Some(1))]);
    let episode = read_episodes(&bench.path("student/repairs/step-000060")).unwrap().remove(0);
    assert_eq!(u64::from(episode.solved()), tried[1]["solved"].as_u64().unwrap());
    assert_eq!(printed(&words), out, "what is known is not found out again");
    with(&flags.replace("turns = 1", "turns = 2"));
    let (code, why) = refused(&words);
    assert!(code == 2 && why.contains("holds evaluations with other flags"), "{why}");
}

/// Two ranks, two epochs each.
const SWEEP: &str = r#"
about = "Two ranks."
benchmark = "python"
benchmark-dir = "."
ranks = [2, 4]
modes = ["nothink"]
checkpoints = "all"
tables = ["5.2", "checkpoints"]

[[model]]
name = "Tiny-1B"
base = "models/qwen3"

[[dataset]]
recipe = "mine.toml"
runs = ["train"]

[train]
epochs = 2
gradient-accumulation-steps = 1

[run]
turns = 1
temperature = 0
max-tokens = 8
"#;

#[test]
fn a_sweep_makes_everything_once_and_tabulates_it() {
    let bench = Bench::new();
    here::base(&bench.path("models"), "qwen3");
    bench.run("train", "oracle");
    fs::write(bench.path("sweep.toml"), SWEEP).unwrap();
    let [file, made] = ["sweep.toml", "made"].map(|name| bench.word(name));
    let sweep = || {
        let output = fixfly(&["sweep", &file, "-o", &made]);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{stderr}");
        (
            String::from_utf8(output.stdout).unwrap(),
            stderr.matches("\nmaking ").count() + usize::from(stderr.starts_with("making ")),
        )
    };
    let (out, steps) = sweep();
    assert!(out.contains("Tiny-1B") && out.contains("mine"), "{out}");
    // A model, its run and a dataset; of each rank a student, two adapters and their runs.
    assert_eq!(steps, 3 + 2 * 5);
    let runs = fs::read_to_string(bench.path("made/runs.toml")).unwrap();
    assert_eq!(
        (runs.matches("[[run]]").count(), runs.matches("rank = 4").count()),
        (5, 2),
        "{runs}"
    );
    assert!(bench.path("made/report.html").is_file());
    let (again, steps) = sweep();
    assert_eq!((again, steps), (out, 0));
    fs::write(bench.path("sweep.toml"), SWEEP.replace("[2, 4]", "[4, 8]")).unwrap();
    assert_eq!(sweep().1, 5, "only the new rank is new");
    fs::write(bench.path("sweep.toml"), SWEEP.replace("[2, 4]", "[]")).unwrap();
    let (code, why) = refused(&["sweep", &file, "-o", &made]);
    assert!(code == 2 && why.ends_with("ranks is empty; name at least one"), "{why}");
    let other = bench.word("other");
    for (from, to, expected) in [
        ("models/qwen3", "models/none", "models/none/config.json"),
        ("turns = 1", "turns = 1\nmodel = \"x\"", "remove `model` from [run]: the sweep sets it"),
    ] {
        fs::write(bench.path("sweep.toml"), SWEEP.replace(from, to)).unwrap();
        let (code, why) = refused(&["sweep", &file, "-o", &other]);
        assert!(code == 2 && why.contains(expected), "{why}");
        assert!(!bench.path("other").exists(), "a stage was run");
    }
}
