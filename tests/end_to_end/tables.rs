//! Tables as people have them: what nobody needs costs nothing, a bad row costs itself.

use std::fs;

use serde_json::{Value, json};

use crate::issues::Bench;

/// Grades the gold patches, one prediction that is no patch, and the row that cannot be read.
#[test]
fn a_bad_row_costs_itself_and_is_counted() {
    let bench = Bench::new();
    let table = fs::read_to_string(bench.path("issues.jsonl")).unwrap();
    let mut lines = table.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let (mut stack, slug, mut ranges) =
        (lines.next().unwrap(), lines.next().unwrap(), lines.next().unwrap());
    // A mark, columns that JSON cannot hold, an empty line, a row without a repository.
    stack["created_at"] = json!("NOT A NUMBER");
    stack["problem_statement"] = json!("2 HALF.");
    ranges.as_object_mut().unwrap().remove("repo");
    let text = format!("\u{feff}{stack}\r\n\r\n{slug}\r\n{ranges}\r\n")
        .replace("\"NOT A NUMBER\"", "NaN")
        .replace("HALF", "\\udcff");
    fs::write(bench.path("issues.jsonl"), text).unwrap();

    let patch = |row: &Value| json!({ "instance_id": row["instance_id"], "model_name_or_path": "m", "model_patch": row["patch"] });
    let mut bad = patch(&slug);
    bad["model_patch"] = json!(["not", "text"]);
    let preds = json!({ "acme__stack-1": patch(&stack), "acme__slug-1": bad });
    fs::write(bench.path("preds.json"), format!("\u{feff}{preds}")).unwrap();
    let (preds, out) = (bench.path("preds.json"), bench.path("out"));
    let [preds, out] = [&preds, &out].map(|path| path.to_str().unwrap());
    let grade = ["grade", "swebench", "--predictions", preds, "-o", out];
    let output = bench.fixfly(&grade).output().unwrap();
    let [stdout, stderr] =
        [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
    assert_eq!(output.status.code(), Some(1), "{stdout}{stderr}");
    assert!(stdout.contains("acme__slug-1                             unreadable"), "{stdout}");
    let last = "resolved 1 of 2 (50.0 %), 1 submitted, 1 more could not be read\n";
    assert!(stdout.ends_with(last), "{stdout}");
    let place = bench.path("issues.jsonl").display().to_string();
    let left_out = format!("{place}:4: acme__ranges-1: there is no `repo`; the row is left out");
    assert!(stderr.contains(&left_out), "{stderr}");
    let why = "preds.json, `acme__slug-1`: acme__slug-1: `model_patch` is no text";
    assert!(
        stderr.contains("error: 1 predictions could not be read, and are not graded"),
        "{stderr}"
    );
    assert_eq!(stderr.matches(why).count(), 2, "{stderr}");

    // A row that is asked for by name is an error with its own sentence.
    let one = [&grade[..], &["--instance-id", "acme__ranges-1"]].concat();
    let output = bench.fixfly(&one).output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(stderr.contains(":4: acme__ranges-1: there is no `repo`"), "{stderr}");
}

#[test]
fn an_encoding_is_named_with_its_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("table.jsonl");
    let utf16 = "\u{feff}{\"instance_id\": \"a\"}\n".encode_utf16().flat_map(u16::to_le_bytes);
    fs::write(&file, utf16.collect::<Vec<_>>()).unwrap();
    let file = file.to_str().unwrap();
    let (code, why) = crate::refused(&["grade", "swebench", "--instances", file, "--gold"]);
    let remedy =
        "it is UTF-16LE text; convert it to UTF-8, for example with `iconv -f UTF-16LE -t UTF-8`";
    assert_eq!((code, why), (1, format!("{file}: {remedy}")));
}
