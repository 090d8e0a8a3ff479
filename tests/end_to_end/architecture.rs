//! The rules of the layout, checked: prose alone comes too late.

mod cycles;
mod names;
mod sources;
pub(crate) mod texts;
mod tokens;
mod words;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// Lines of a file before its tests.
const LONGEST: usize = 450;
/// Lines of the binary before tests: more belongs into a library.
const BINARY: usize = 7600;

/// Packages that are programs: they put the crates together.
const PROGRAMS: [&str; 2] = ["fixfly", "fixfly-counts"];

pub(crate) fn root() -> &'static Path {
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

/// The root file of each crate and of the binary.
fn roots() -> Vec<PathBuf> {
    let is_program = |target: &&Value| {
        target["kind"].as_array().unwrap().iter().any(|kind| kind == "lib" || kind == "bin")
    };
    let mut roots = Vec::new();
    for package in packages() {
        let targets = package["targets"].as_array().unwrap().iter().filter(is_program);
        roots.extend(targets.map(|target| PathBuf::from(target["src_path"].as_str().unwrap())));
    }
    assert!(roots.len() > 5, "the crates were not found");
    roots
}

/// What git tracks, relative to the root.
fn listed() -> Vec<String> {
    let output = Command::new("git").args(["ls-files", "-z"]).current_dir(root()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let names = String::from_utf8(output.stdout).unwrap();
    let names = names.split_terminator('\0').filter(|name| root().join(name).exists());
    let names: Vec<String> = names.map(str::to_owned).collect();
    assert!(names.len() > 100, "git lists no files");
    names
}

fn relative(file: &Path) -> String {
    file.strip_prefix(root()).unwrap().display().to_string()
}

/// Lines before the tests.
fn lines(file: &Path) -> usize {
    let text = fs::read_to_string(file).unwrap();
    text.lines().take_while(|line| line.trim() != "#[cfg(test)]").count()
}

#[test]
fn every_crate_may_use_the_runtime_and_nothing_else_of_ours() {
    let mut wrong = Vec::new();
    for package in packages() {
        let name = package["name"].as_str().unwrap();
        if PROGRAMS.contains(&name) {
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
        let lines = lines(&file);
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

#[test]
fn the_binary_stays_small() {
    let is_part =
        |file: &&PathBuf| file.starts_with(root().join("src")) && !file.ends_with("tests.rs");
    let total: usize = files().iter().filter(is_part).map(|file| lines(file)).sum();
    assert!(total > 0, "the binary was not found");
    assert!(total < BINARY, "src/ has {total} lines before tests, not less than {BINARY}");
}

#[test]
fn no_modules_at_the_top_of_a_crate_import_each_other_in_a_cycle() {
    let read = |file: &Path| sources::read(&root().join(file));
    let mut found = Vec::new();
    for root in roots() {
        let root = relative(&root);
        let cycles = cycles::cycles(Path::new(&root), &read);
        found.extend(cycles.into_iter().map(|cycle| format!("{root}: {cycle}")));
    }
    assert!(found.is_empty(), "cycles of modules:\n{}", found.join("\n"));
}

#[test]
fn no_word_comes_back_that_the_glossary_replaced() {
    let denials = words::denials(&texts::all());
    assert!(denials.is_empty(), "{} words:\n{}", denials.len(), denials.join("\n"));
}

#[test]
fn the_program_needs_no_checkout() {
    let mut wrong = Vec::new();
    let is_part = |file: &&PathBuf| {
        let shown = relative(file);
        shown.contains("src/") && !shown.ends_with("tests.rs") && !shown.contains("/tests/")
    };
    for file in files().iter().filter(is_part) {
        let text = fs::read_to_string(file).unwrap();
        let program = text.lines().take_while(|line| line.trim() != "#[cfg(test)]");
        if program.into_iter().any(|line| line.contains("CARGO_MANIFEST_DIR")) {
            wrong.push(relative(file));
        }
    }
    assert!(wrong.is_empty(), "an installed fixfly has no source tree: {wrong:?}");
}

#[test]
fn no_file_has_a_space_in_its_name() {
    let spaced: Vec<_> = listed().into_iter().filter(|name| name.contains(' ')).collect();
    assert!(spaced.is_empty(), "{spaced:#?}");
}
