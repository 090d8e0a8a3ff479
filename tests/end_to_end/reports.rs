use std::fs;
use std::path::Path;

use fixfly_runtime::{Machine, RunDirectory, RunRecord, SCHEMA, Wording};
use tempfile::TempDir;

use crate::runs::{Bench, ended_well};
use crate::{printed, refused};

/// A run without episodes.
pub(crate) fn run() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let record = RunRecord {
        schema: SCHEMA,
        fixfly: "0.1.0".into(),
        started: "2026-01-01T00:00:00Z".into(),
        config: [("policy".to_string(), "null".into())].into(),
        seed: 0,
        benchmark: Default::default(),
        templates: Wording::default(),
        isolation: String::new(),
        machine: Machine::default(),
        tasks: None,
        merged: Vec::new(),
    };
    RunDirectory::open(folder.path(), &record).unwrap();
    folder
}

#[track_caller]
fn check(break_run: impl Fn(&Path), expected: &str) {
    let folder = run();
    break_run(folder.path());
    let path = folder.path().to_str().unwrap();
    let (code, error) = refused(&["report", path]);
    assert_eq!((code, error.replace(path, "RUN").as_str()), (1, expected));
}

#[test]
fn an_unreadable_run_is_named_with_its_remedy() {
    check(
        |run| fs::remove_file(run.join("run.json")).unwrap(),
        "there is no run in RUN: it has no run.json; name a folder that `fixfly run -o` wrote",
    );
    check(
        |run| fs::write(run.join("run.json"), "{").unwrap(),
        "RUN/run.json is not JSON: EOF while parsing an object at line 1 column 1; \
         fix it, or replace it by the run.json that the same command with a new folder writes there",
    );
    check(
        |run| fs::write(run.join("run.json"), "{\"schema\": 7}").unwrap(),
        "RUN/run.json was written by a newer fixfly (schema 7, this one reads up to 3); \
         update fixfly to read it",
    );
    check(
        |run| fs::write(run.join("episodes.jsonl"), "{\"schema\": 1}\n{}\n").unwrap(),
        "RUN/episodes.jsonl:1 is not an episode: missing field `task`; fix or remove it",
    );
}

#[test]
fn every_format_of_an_empty_run() {
    let folder = run();
    let path = folder.path().to_str().unwrap();
    assert!(printed(&["report", path]).contains("0 episodes on 0 tasks"));
    assert!(printed(&["report", path, "--format", "markdown"]).starts_with("## "));
    assert!(printed(&["report", path, "--format", "csv"]).starts_with("run,table,row,column,"));
    let json: serde_json::Value =
        serde_json::from_str(&printed(&["report", path, path, "--format", "json"])).unwrap();
    assert_eq!(json["runs"].as_array().unwrap().len(), 2);
}

#[test]
fn runs_make_tables_claims_a_comparison_and_a_page() {
    let bench = Bench::new(0.0);
    for policy in ["oracle", "null"] {
        ended_well(bench.run(policy, &["--policy", policy, "--turns", "2"]));
    }
    let path = |name: &str| bench.runs.path().join(name).display().to_string();
    let set = "[[run]]\npath = \"null\"\nmodel = \"M-1B\"\nmode = \"think\"\n\
               [[run]]\npath = \"oracle\"\nmodel = \"M-1B\"\nmode = \"think\"\n\
               method = \"lora\"\ndataset = \"d\"\nrows = 10\n";
    fs::write(path("set.toml"), set).unwrap();
    let shown = |words: &[&str]| {
        let folder = bench.runs.path().to_str().unwrap();
        printed(&[&["report"], words].concat()).replace(folder, "RUNS")
    };
    let tables = "base-models,datasets,reasoning,5.5,families,errors";
    insta::assert_snapshot!(shown(&[&path("set.toml"), "--table", tables]));
    let claims = shown(&[&path("set.toml"), "--table", "claims", "--format", "csv"]);
    assert!(claims.contains("LoRA students solve more than their base model,Result,holds"));
    assert!(claims.contains("Models solve more when they think first,Result,not enough data"));

    let labelled = format!("{},method=lora,dataset=d", path("oracle"));
    let compared = shown(&[&path("null"), &labelled, "--compare", "--format", "json"]);
    let compared: serde_json::Value = serde_json::from_str(&compared).unwrap();
    assert_eq!(compared["comparison"]["mcnemar"]["only_second"], 3);
    let p = compared["comparison"]["mcnemar"]["p"].as_f64().unwrap();
    assert!((p - 0.25).abs() < 1e-9, "{p}");

    let page = path("page.html");
    shown(&[&path("set.toml"), "--html", &page]);
    let html = fs::read_to_string(page).unwrap();
    assert!(html.contains("M-1B before and after training") && html.contains("</html>"));

    // The benchmark is not installed: the table names the reason.
    let gone = [&path("oracle"), "--table", "code-scores", "--benchmark-dir", "/nonexistent"];
    let text = shown(&gone);
    assert!(text.contains("Cannot read the reference methods: "), "{text}");
    assert!(text.contains("of 3"), "exact match as recorded: {text}");
}

#[test]
fn invalid_arguments_are_refused() {
    let error = |words: &[&str]| refused(&[&["report"], words].concat());
    let (code, why) = error(&["x,rank=many"]);
    assert_eq!(code, 2);
    assert!(why.contains("x,rank=many: invalid type: string \"many\", expected u32"), "{why}");
    assert!(
        error(&["x", "--table", "5.9"])
            .1
            .contains("unknown table; available tables: base-models, datasets")
    );
    assert!(error(&["/nonexistent/set.toml"]).1.contains("cannot read /nonexistent/set.toml"));
    let folder = run();
    let path = folder.path().to_str().unwrap();
    assert!(error(&[path, "--compare"]).1.contains("requires two configurations, found 0"));
}
