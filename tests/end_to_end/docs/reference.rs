//! Pages that are generated from the code. `FIXFLY_DOCS=write` writes them.

use std::fs;

use serde_json::Value;

use crate::architecture::{root, texts::verbs_of};
use crate::{fixfly, printed};

/// Compares a page with what is generated, or writes it.
#[track_caller]
pub(super) fn check(page: &str, expected: &str) {
    let file = root().join(page);
    if std::env::var("FIXFLY_DOCS").is_ok_and(|value| value == "write") {
        fs::write(&file, expected).unwrap();
        return;
    }
    let found = fs::read_to_string(&file).unwrap_or_default();
    let differs = found.lines().zip(expected.lines()).position(|(one, other)| one != other);
    let line = differs.unwrap_or_else(|| found.lines().count().min(expected.lines().count())) + 1;
    assert!(
        found == expected,
        "{page}:{line} is not what the code gives; to update it: FIXFLY_DOCS=write cargo test \
         --features llama,train,wasm,otlp --test end_to_end docs"
    );
}

/// The help of each command.
pub(super) fn commands() -> String {
    let mut page =
        "# Commands\n\nThis page is generated from `fixfly --help` and the help of each \
                    command, of a build with the features `llama`, `train` and `wasm`. `-h` is \
                    shorter than `--help`.\n"
            .to_owned();
    add_command(&[], &mut page);
    page
}

fn add_command(verbs: &[&str], page: &mut String) {
    let output = fixfly(&[verbs, &["--help"]].concat());
    if !output.status.success() {
        return;
    }
    let help = String::from_utf8(output.stdout).unwrap();
    let name = [&["fixfly"][..], verbs].concat().join(" ");
    let help_lines: Vec<&str> = help.lines().map(str::trim_end).collect();
    *page += &format!("\n## {name}\n\n```text\n{}\n```\n", help_lines.join("\n").trim_end());
    for verb in verbs_of(&help) {
        add_command(&[verbs, &[verb]].concat(), page);
    }
}

/// The keys of recorded files, from their schemas.
pub(super) fn files() -> String {
    let mut page = "# Files\n\nThis page is generated from the JSON Schemas that `fixfly schema \
                    episode` and `fixfly schema run` print. The schemas themselves are \
                    [episode.json](../schema/episode.json) and [run.json](../schema/run.json). \
                    A key that is not listed as required may be missing.\n"
        .to_owned();
    for (file, name, about) in [
        ("run.json", "run", "Everything that determines a run."),
        (
            "episodes.jsonl",
            "episode",
            "One line per episode. If the run is compressed (`fixfly run --compress`, `fixfly \
             compress`), lines move to `episodes.jsonl.zst`: zstd frames of at most 256 lines, \
             which `zstdcat` prints. The lines of `episodes.jsonl` then follow those.",
        ),
    ] {
        page += &format!("\n## {file}\n\n{about}\n\n");
        let schema: Value = serde_json::from_str(&printed(&["schema", name])).unwrap();
        add_keys(file, &schema, &mut page);
        for (kind, definition) in schema["$defs"].as_object().unwrap() {
            page += &format!("\n### {file}: {kind}\n\n");
            let about = cell(definition["description"].as_str().unwrap_or_default());
            if !about.is_empty() {
                page += &format!("{about}\n\n");
            }
            add_keys(file, definition, &mut page);
        }
    }
    page
}

/// A table of an object's keys, or of an enumeration's values.
fn add_keys(file: &str, schema: &Value, page: &mut String) {
    if let Some(keys) = schema["properties"].as_object() {
        *page += "| Key | Type | Required | Meaning |\n|---|---|---|---|\n";
        let required = schema["required"].as_array();
        for (key, value) in keys {
            let is_required = required.is_some_and(|keys| keys.iter().any(|other| other == key));
            let required = if is_required { "yes" } else { "" };
            let about = cell(value["description"].as_str().unwrap_or_default());
            *page += &format!("| `{key}` | {} | {required} | {about} |\n", type_of(file, value));
        }
    }
    let variants = schema["oneOf"].as_array().or(schema["anyOf"].as_array());
    if let Some(variants) = variants {
        *page += "| Value | Meaning |\n|---|---|\n";
        for variant in variants {
            let about = cell(variant["description"].as_str().unwrap_or_default());
            *page += &format!("| {} | {about} |\n", type_of(file, variant));
        }
    }
    if let (None, None, false) =
        (schema["properties"].as_object(), variants, schema["type"].is_null())
    {
        *page += &format!("{}\n", type_of(file, schema));
    }
}

/// The type of a value, in a few words; a type of its own is a link within the page.
fn type_of(file: &str, schema: &Value) -> String {
    let texts = |values: &Value| -> Vec<String> {
        let values = values.as_array().into_iter().flatten();
        values.map(|value| format!("`{}`", value.as_str().unwrap_or("null"))).collect()
    };
    if let Some(name) = schema["$ref"].as_str() {
        let name = name.rsplit('/').next().unwrap_or(name);
        return format!("[{name}](#{}-{})", file.replace('.', ""), name.to_lowercase());
    }
    if let Some(value) = schema["const"].as_str() {
        return format!("`{value}`");
    }
    if schema["enum"].is_array() {
        return texts(&schema["enum"]).join(", ");
    }
    if let Some(choices) = schema["anyOf"].as_array().or(schema["oneOf"].as_array()) {
        return choices.iter().map(|choice| type_of(file, choice)).collect::<Vec<_>>().join(" or ");
    }
    if schema["type"] == "array" {
        return format!("list of {}", type_of(file, &schema["items"]));
    }
    if let Some(keys) = schema["properties"].as_object() {
        let pairs = keys.iter().map(|(key, value)| format!("`{key}`: {}", type_of(file, value)));
        return format!("object with {}", pairs.collect::<Vec<_>>().join(", "));
    }
    match &schema["type"] {
        Value::String(kind) => kind.clone(),
        Value::Array(kinds) => {
            let kinds = kinds.iter().filter_map(Value::as_str);
            kinds.collect::<Vec<_>>().join(" or ")
        }
        _ => "any".to_owned(),
    }
}

/// A text in a cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").split_whitespace().collect::<Vec<_>>().join(" ")
}
