//! Every short text that people read: names, files, flags, help, headings, keys.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use super::names::{names, recorded_names};
use super::sources::{modules, read};
use super::words::{Found, Place};
use super::{listed, relative, roots};
use crate::runs::{Bench, ended_well};
use crate::{fixfly, printed};

/// All of them.
pub(super) fn all() -> Vec<Found> {
    let mut texts = Vec::new();
    rust(&mut texts);
    files(&mut texts);
    help(&[], &mut texts);
    headings(&mut texts);
    recorded(&mut texts);
    texts
}

fn found(place: Place, file: &str, line: usize, text: &str) -> Found {
    Found { place, at: format!("{file}:{line}"), text: text.to_owned() }
}

/// Names that Rust files lend to each other, and names that they write into records.
fn rust(texts: &mut Vec<Found>) {
    for root in roots() {
        for module in modules(&root, &read) {
            let file = relative(&module.file);
            for (line, name) in names(&module.tokens) {
                texts.push(found(Place::Name, &file, line, &name));
            }
            for (line, name) in recorded_names(&module.tokens) {
                texts.push(found(Place::Key, &file, line, &name));
            }
        }
    }
}

/// Names of the files that make the programs.
fn files(texts: &mut Vec<Found>) {
    let is_source = |file: &&String| file.ends_with(".rs") && file.contains("src/");
    for file in listed().iter().filter(is_source) {
        texts.push(found(Place::File, file, 1, &file.replace("src/", "")));
    }
}

/// The help of a verb, and of all verbs below it.
fn help(verbs: &[&str], texts: &mut Vec<Found>) {
    let output = fixfly(&[verbs, &["--help"]].concat());
    let text = String::from_utf8(output.stdout).unwrap();
    if !output.status.success() {
        // A part that this build leaves out refuses everything, its help too.
        let why = String::from_utf8(output.stderr).unwrap();
        assert!(why.contains("was built without"), "{verbs:?}: {why}");
        return;
    }
    let command = format!("fixfly {} --help", verbs.join(" "));
    for (index, line) in text.lines().enumerate() {
        texts.push(found(Place::Help, &command, index + 1, line));
        for flag in flags(line) {
            texts.push(found(Place::Flag, &command, index + 1, flag));
        }
    }
    for verb in verbs_of(&text) {
        help(&[verbs, &[verb]].concat(), texts);
    }
}

fn flags(line: &str) -> impl Iterator<Item = &str> {
    let is_end = |letter: char| !letter.is_alphanumeric() && letter != '-';
    line.split(is_end).filter(|word| word.len() > 2 && word.starts_with("--"))
}

/// The verbs that a help text lists.
pub(crate) fn verbs_of(help: &str) -> Vec<&str> {
    let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let lines = lines.take_while(|line| line.starts_with(' ') || line.is_empty());
    let verbs = lines.filter(|line| line.starts_with("  ") && !line[2..].starts_with(' '));
    verbs.filter_map(|line| line.split_whitespace().next()).collect()
}

/// Headings of documents, and of the reports that snapshots hold.
fn headings(texts: &mut Vec<Found>) {
    for file in listed() {
        let headings = match Path::new(&file).extension().and_then(|end| end.to_str()) {
            // The changelog tells what there was.
            Some("md") if file != "CHANGELOG.md" => of_document(&contents(&file)),
            Some("snap") if file.contains("report") || file.contains("sandbox") => {
                of_report(&contents(&file))
            }
            _ => continue,
        };
        for (line, heading) in headings {
            texts.push(found(Place::Heading, &file, line, &heading));
        }
    }
}

fn contents(file: &str) -> String {
    std::fs::read_to_string(super::root().join(file)).unwrap()
}

/// Lines with `#`, outside blocks of code.
fn of_document(text: &str) -> Vec<(usize, String)> {
    let mut is_code = false;
    let lines = text.lines().enumerate().filter(|(_, line)| {
        is_code ^= line.trim_start().starts_with("```");
        line.starts_with('#') && !is_code
    });
    lines.map(|(index, line)| (index + 1, line.to_owned())).collect()
}

/// Titles, the names of columns and of rows, and the keys of JSON.
fn of_report(snapshot: &str) -> Vec<(usize, String)> {
    // What is above the second line of dashes is insta's.
    let about = snapshot.lines().skip(1).take_while(|line| *line != "---").count() + 2;
    let is_bar = |letter: char| letter == '|' || letter == '│';
    let mut headings = Vec::new();
    let mut before = "";
    for (index, line) in snapshot.lines().enumerate().skip(about) {
        let line = line.trim();
        let is_header = index == about || before.starts_with(['┌', '╭']) || before.is_empty();
        let text = if line.starts_with(is_bar) && !is_header {
            line.split(['|', '│', '┆']).nth(1)
        } else if line.starts_with(is_bar) || line.starts_with('#') || line.ends_with(':') {
            Some(line)
        } else if let Some(key) = line.strip_prefix('"') {
            key.split_once("\":").map(|(key, _)| key)
        } else {
            (index == about).then_some(line)
        };
        headings.extend(text.map(|text| (index + 1, text.trim().to_owned())));
        before = line;
    }
    headings
}

/// Keys of the files that fixfly records.
fn recorded(texts: &mut Vec<Found>) {
    let mut keys = BTreeSet::new();
    for file in ["episode", "judge", "run"] {
        schema_keys(&serde_json::from_str(&printed(&["schema", file])).unwrap(), &mut keys);
    }
    let mut add = |at: &str, keys: BTreeSet<String>| {
        texts.extend(keys.iter().map(|key| found(Place::Key, at, 1, key)));
    };
    add("fixfly schema", keys);
    let bench = Bench::new(0.0);
    ended_well(bench.run("run", &["--policy", "oracle", "--limit", "1"]));
    for file in ["run/run.json", "run/episodes.jsonl"] {
        let mut keys = BTreeSet::new();
        for line in serde_json::Deserializer::from_str(
            &std::fs::read_to_string(bench.runs.path().join(file)).unwrap(),
        )
        .into_iter::<Value>()
        {
            object_keys(&line.unwrap(), &mut keys);
        }
        add(file, keys);
    }
    let mut keys = BTreeSet::new();
    object_keys(&serde_json::json!(fixfly_runtime::Settings::default()), &mut keys);
    add("config.model of run.json", keys);
}

/// The keys that a schema describes, and the constants.
fn schema_keys(schema: &Value, keys: &mut BTreeSet<String>) {
    match schema {
        Value::Object(object) => {
            if let Some(Value::Object(properties)) = object.get("properties") {
                keys.extend(properties.keys().cloned());
            }
            keys.extend(object.get("const").and_then(Value::as_str).map(str::to_owned));
            let choices = object.get("enum").and_then(Value::as_array).into_iter().flatten();
            keys.extend(choices.filter_map(Value::as_str).map(str::to_owned));
            object.values().for_each(|inside| schema_keys(inside, keys));
        }
        Value::Array(all) => all.iter().for_each(|inside| schema_keys(inside, keys)),
        _ => {}
    }
}

fn object_keys(value: &Value, keys: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            keys.extend(object.keys().cloned());
            object.values().for_each(|inside| object_keys(inside, keys));
        }
        Value::Array(all) => all.iter().for_each(|inside| object_keys(inside, keys)),
        _ => {}
    }
}

mod tests {
    use super::*;

    fn texts(headings: &[(usize, String)]) -> Vec<&str> {
        headings.iter().map(|(_, text)| text.as_str()).collect()
    }

    #[test]
    fn the_headings_of_a_document_are_those_outside_code() {
        let text = "# A\ntext\n```sh\n# no heading\n```\n## B\n    # no heading\n";
        assert_eq!(of_document(text), [(1, "# A".to_owned()), (6, "## B".to_owned())]);
    }

    #[test]
    fn the_headings_of_a_report_are_titles_columns_rows_and_keys() {
        let about = "---\nsource: x.rs\nexpression: y\n---\n";
        for (report, expected) in [
            ("runs/x\n\ntext\nA title:\n", &["runs/x", "A title:"][..]),
            ("## x\n\n| A | B |\n|---|---|\n| c | 1 |\n", &["## x", "| A | B |", "---", "c"]),
            ("x\n┌──┐\n│ A ┆ B │\n╞══╡\n│ c ┆ 1 │\n└──┘\n", &["x", "│ A ┆ B │", "c"]),
            ("{\n  \"a\": {\n    \"b\": \"c\"\n  }\n}\n", &["{", "a", "b"]),
            ("run,table\nx,y\n", &["run,table"]),
        ] {
            assert_eq!(texts(&of_report(&format!("{about}{report}"))), expected, "{report}");
        }
    }

    #[test]
    fn verbs_and_flags_are_read_from_help() {
        let help = "About\n\nUsage: x\n\nCommands:\n  one  The first\n       thing\n  two  --a-b\n\nOptions:\n  -c, --d-e <F>  G\n";
        assert_eq!(verbs_of(help), ["one", "two"]);
        assert_eq!(flags("  -c, --d-e <F>  G [--h] a--b").collect::<Vec<_>>(), ["--d-e", "--h"]);
    }

    #[test]
    fn keys_are_read_from_schemas_and_objects() {
        let schema = serde_json::json!({
            "properties": { "a": { "oneOf": [{ "const": "b" }, { "enum": ["c"] }] } },
            "$defs": { "D": { "properties": { "e": {} } } },
        });
        let mut keys = BTreeSet::new();
        schema_keys(&schema, &mut keys);
        assert_eq!(keys.into_iter().collect::<Vec<_>>(), ["a", "b", "c", "e"]);
        let mut keys = BTreeSet::new();
        object_keys(&serde_json::json!([{ "a": [{ "b": 1 }] }]), &mut keys);
        assert_eq!(keys.into_iter().collect::<Vec<_>>(), ["a", "b"]);
    }
}
