//! The documentation: what it links to, what its commands do, what is generated from the code.

pub(crate) mod blocks;
mod links;
mod reference;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use blocks::{Block, Mark, all, pages};

use crate::project::benchmark;
use crate::runs::ended_well;
use crate::{architecture, command};

fn contents(page: &str) -> String {
    fs::read_to_string(architecture::root().join(page)).unwrap()
}

#[test]
fn every_command_is_run_or_marked_with_why_not() {
    let mut wrong = vec![];
    let (mut run, mut not_run) = (0, 0);
    for block in all() {
        let is_shell = block.language == "sh";
        // What fixfly prints may begin with its name.
        let is_output = block.language == "text";
        if !is_shell && !is_output && !block.commands().is_empty() {
            wrong.push(format!("{}: commands in a block that is not `sh`", block.place()));
        }
        match &block.mark {
            Mark::Missing if is_shell => {
                let comment = "<!-- run --> or <!-- not run: WHY -->";
                wrong.push(format!("{}: the line above has to be {comment}", block.place()));
            }
            Mark::NotRun(why) if why.len() < 10 => wrong.push(format!("{}: why?", block.place())),
            Mark::NotRun(_) => not_run += 1,
            Mark::Run => run += 1,
            Mark::Missing => {}
        }
    }
    for page in pages() {
        for (index, line) in contents(&page).lines().enumerate() {
            if line.starts_with("    fixfly ") {
                wrong.push(format!("{page}:{}: put the command into a block of `sh`", index + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(run > 5 && not_run > 5, "{run} blocks are run, {not_run} are not");
}

/// A folder as the pages assume it: a benchmark and runs. Django is replaced by the
/// benchmark of three methods, one of them to train on.
fn place() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let at = |path: &str| folder.path().join(path);
    for made in ["bin", "benchmarks", "runs"] {
        fs::create_dir(at(made)).unwrap();
    }
    let made = benchmark(0.0).keep();
    let manifest = fs::read_to_string(made.join("manifest.jsonl")).unwrap();
    let lines = manifest.lines().map(|line| match line.contains("Cart.total") {
        true => line.replace("\"split\":\"benchmark\"", "\"split\":\"train\"") + "\n",
        false => line.to_owned() + "\n",
    });
    fs::write(made.join("manifest.jsonl"), lines.collect::<String>()).unwrap();
    let bench = at("benchmarks/mine");
    fs::rename(&made, &bench).unwrap();

    let program = env!("CARGO_BIN_EXE_fixfly");
    let bench = bench.display().to_string();
    let script = format!(
        "#!/bin/bash\n\
         case \"$1 $2\" in\n\
         \"run django\") set -- run python --benchmark-dir '{bench}' \"${{@:3}}\" ;;\n\
         \"bench verify\") [ \"$3\" != django ] || \
         set -- bench verify python --benchmark-dir '{bench}' \"${{@:4}}\" ;;\n\
         esac\n\
         exec '{program}' \"$@\"\n"
    );
    fs::write(at("bin/fixfly"), script).unwrap();
    fs::set_permissions(at("bin/fixfly"), fs::Permissions::from_mode(0o755)).unwrap();

    for (run, policy) in [("first", "oracle"), ("a", "null"), ("b", "oracle")] {
        let to = at("runs").join(run).display().to_string();
        let words = ["run", "python", "--benchmark-dir", &bench, "-o", &to];
        ended_well(command(&[&words[..], &["--policy", policy]].concat()));
    }
    let runs =
        "[[run]]\npath = 'runs/a'\nmodel = 'A-1B'\n[[run]]\npath = 'runs/b'\nmodel = 'B-1B'\n";
    fs::write(at("sweep.toml"), runs).unwrap();
    folder
}

/// Runs the marked blocks of a page in their order, in one folder.
fn play(page: &str, blocks: &[Block]) {
    let folder = place();
    let path = format!("{}/bin:{}", folder.path().display(), std::env::var("PATH").unwrap());
    for block in blocks {
        let ran = Command::new("bash")
            .args(["-euo", "pipefail", "-c", &block.text])
            .current_dir(folder.path())
            .envs([("PATH", path.as_str()), ("HOME", folder.path().to_str().unwrap())])
            .env("FIXFLY_HOME", folder.path().join("home"))
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&ran.stderr);
        assert!(ran.status.success(), "{page}:{}\n{}{errors}", block.line, block.text);
    }
}

#[test]
fn the_commands_that_are_marked_run() {
    let mut of_pages: BTreeMap<String, Vec<Block>> = BTreeMap::new();
    for block in all().into_iter().filter(|block| block.mark == Mark::Run) {
        of_pages.entry(block.file.clone()).or_default().push(block);
    }
    for (page, blocks) in &of_pages {
        play(page, blocks);
    }
}

#[test]
fn the_summary_lists_every_page_once() {
    let summary = contents("docs/SUMMARY.md");
    let mut listed: Vec<&str> = summary
        .lines()
        .filter_map(|line| Some(line.split_once("](")?.1.split_once(')')?.0))
        .collect();
    listed.sort_unstable();
    let pages = pages();
    let pages = pages.iter().filter_map(|page| page.strip_prefix("docs/"));
    let mut expected: Vec<&str> = pages.filter(|page| *page != "SUMMARY.md").collect();
    expected.sort_unstable();
    assert_eq!(listed, expected, "docs/SUMMARY.md beside the files of docs");
    for part in ["# Tutorial", "# How-to", "# Reference", "# Explanation"] {
        assert!(summary.lines().any(|line| line == part), "docs/SUMMARY.md lacks {part}");
    }
}

#[test]
fn every_link_of_a_page_resolves() {
    let read = |page: &str| fs::read_to_string(architecture::root().join(page)).ok();
    let exists = |file: &str| architecture::root().join(file).exists();
    let mut broken = vec![];
    for page in pages() {
        broken.extend(links::broken(&page, &contents(&page), &read, &exists));
    }
    assert!(broken.is_empty(), "links that lead nowhere:\n{}", broken.join("\n"));
}

#[test]
fn the_reference_of_files_is_that_of_the_schemas() {
    reference::check("docs/reference/files.md", &reference::files());
}

/// Help differs where parts are left out.
#[cfg_attr(
    not(all(feature = "llama", feature = "train", feature = "wasm")),
    ignore = "the page shows a build with llama, train and wasm"
)]
#[test]
fn the_reference_of_commands_is_the_help() {
    reference::check("docs/reference/commands.md", &reference::commands());
}

#[test]
fn a_block_has_its_commands_and_its_mark() {
    let page = "<!-- run -->\n```sh\nA=1 fixfly run x \\\n  -o 'a b' # why\ncargo build\n```\n\
                <!-- not run: it costs money -->\n```sh\ntarget/release/fixfly report a | head\n```\n\
                text\n```\nfixfly\n```\n";
    let found = blocks::blocks("x.md", page);
    let marks: Vec<&Mark> = found.iter().map(|block| &block.mark).collect();
    assert_eq!(marks, [&Mark::Run, &Mark::NotRun("it costs money".into()), &Mark::Missing]);
    let commands: Vec<String> =
        found.iter().flat_map(Block::commands).map(|words| words.join(" ")).collect();
    assert_eq!(commands, ["fixfly run x -o a b", "fixfly report a", "fixfly"]);
    assert_eq!(found[1].place(), "x.md:8");
    assert!(Path::new(&found[0].file).is_relative());
}
