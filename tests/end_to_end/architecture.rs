//! The rules of the layout, checked: prose alone comes too late.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Lines of a file before its tests.
const LONGEST: usize = 450;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn packages() -> Vec<Value> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version", "1", "--offline"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    metadata["packages"].as_array().unwrap().clone()
}

/// Every Rust file of the workspace.
fn files() -> Vec<PathBuf> {
    fn walk(folder: &Path, files: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && name != "target" && !name.starts_with('.') {
                walk(&path, files);
            } else if name.ends_with(".rs") {
                files.push(path);
            }
        }
    }
    let mut files = Vec::new();
    for package in packages() {
        let folder = Path::new(package["manifest_path"].as_str().unwrap()).parent().unwrap();
        for part in ["src", "tests", "benches", "examples"] {
            if folder.join(part).is_dir() {
                walk(&folder.join(part), &mut files);
            }
        }
    }
    files.sort();
    files.dedup();
    assert!(files.len() > 20, "the files were not found");
    files
}

#[test]
fn every_crate_may_use_the_runtime_and_nothing_else_of_ours() {
    let mut wrong = Vec::new();
    for package in packages() {
        let name = package["name"].as_str().unwrap();
        if name == "fixfly" {
            continue;
        }
        for dependency in package["dependencies"].as_array().unwrap() {
            let other = dependency["name"].as_str().unwrap();
            let ours = other == "fixfly" || other.starts_with("fixfly-");
            let allowed = other == "fixfly-runtime" && name != "fixfly-runtime";
            if ours && !allowed {
                wrong.push(format!("{name} -> {other}"));
            }
        }
    }
    assert!(wrong.is_empty(), "arrows that are not of the star: {wrong:?}");
}

#[test]
fn no_file_is_too_long_to_read() {
    let mut long = Vec::new();
    for file in files() {
        let text = fs::read_to_string(&file).unwrap();
        let lines = text.lines().take_while(|line| line.trim() != "#[cfg(test)]").count();
        if lines > LONGEST {
            long.push(format!("{}: {lines}", file.display()));
        }
    }
    assert!(long.is_empty(), "more than {LONGEST} lines before the tests: {long:#?}");
}

#[test]
fn every_crate_says_what_it_is() {
    for package in packages() {
        for target in package["targets"].as_array().unwrap() {
            let path = target["src_path"].as_str().unwrap();
            let text = fs::read_to_string(path).unwrap();
            assert!(text.starts_with("//! ") && text.lines().next().unwrap().len() > 20, "{path}");
        }
        let about = package["description"].as_str().unwrap_or_default();
        assert!(about.len() > 10, "{} has no description", package["name"]);
    }
}

/// What each top-level module of the runtime uses of the others.
fn modules_of_the_runtime() -> BTreeMap<String, BTreeSet<String>> {
    let source = root().join("runtime/src");
    let mut uses: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for file in files() {
        let Ok(path) = file.strip_prefix(&source) else { continue };
        let name = path.components().next().unwrap().as_os_str().to_string_lossy().into_owned();
        let name = name.trim_end_matches(".rs");
        if name == "lib" {
            continue;
        }
        let used = uses.entry(name.to_string()).or_default();
        let text = fs::read_to_string(&file).unwrap();
        let code = text.lines().take_while(|line| line.trim() != "#[cfg(test)]");
        let code = code.filter(|line| !line.trim_start().starts_with("//"));
        for after in code.flat_map(|line| line.split("crate::").skip(1)) {
            let is_word = |c: &char| c.is_alphanumeric() || *c == '_';
            used.insert(after.chars().take_while(is_word).collect());
        }
        used.remove(name);
    }
    let all: BTreeSet<String> = uses.keys().cloned().collect();
    uses.values_mut().for_each(|used| used.retain(|name| all.contains(name)));
    uses
}

#[test]
fn no_module_of_the_runtime_uses_one_that_uses_it() {
    let mut uses = modules_of_the_runtime();
    assert!(uses["task"].contains("statement"), "{uses:#?}");
    // What uses nothing is in no cycle; without it, more uses nothing.
    while let Some(free) = uses.iter().find(|(_, used)| used.is_empty()).map(|(name, _)| name) {
        let free = free.clone();
        uses.remove(&free);
        uses.values_mut().for_each(|used| used.retain(|name| *name != free));
    }
    assert!(uses.is_empty(), "these use each other, or what does: {uses:#?}");
}
