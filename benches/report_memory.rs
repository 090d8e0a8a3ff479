//! What reports on a run of many episodes, resuming it and building a dataset of it take, in
//! time and in memory: as lines and compressed, with an index and without one.
//!
//! ```text
//! cargo bench --bench report_memory -- [--episodes 100000] [--bytes 8192]
//! ```
//!
//! The episodes have one to five turns and are copies of a recorded one, with other names, other
//! answers, and one of 86 files of so many bytes, in the order of a shuffle. Their benchmark is not there, so the report compares no methods with references.
//! `--in FOLDER` keeps the run and the dataset there, and uses a run that is there.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod common;
#[path = "counts/src/language.rs"]
mod language;

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Took, flag, took};
use fixfly_datasets::{Build, Known, Recipe, Run, Tokens, Traces, templates_of};
use fixfly_runtime::{End, Episode, Limit, Outcome, RunDirectory, read_run};
use language::Plain;

const TURNS: usize = 5;
/// Files of the project: an episode shows one of them, as in the Django benchmark.
const FILES: usize = 86;
const INDEX: &str = "episodes.index.jsonl";
const RECIPE: &str = "about = 'What was solved.'\nloss = 'all'\n\
    [[teachers]]\nname = 'any'\nmodels = ['*']\ntake = ['repaired', 'at-once']\n\
    [leaks]\nanswers = 'keep'\n";

fn main() {
    let [resumed, built]: [PathBuf; 2] =
        ["--resume", "--build"].map(|name| flag(name, PathBuf::new()));
    if !resumed.as_os_str().is_empty() {
        return resume(&resumed);
    }
    if !built.as_os_str().is_empty() {
        return build(&built);
    }
    let temporary = tempfile::tempdir().expect("a folder");
    let folder: PathBuf = flag("--in", temporary.path().into());
    let run = folder.join("run");
    if !run.exists() {
        make(&run, flag("--episodes", 100_000), flag("--bytes", 8_192));
    }
    let fixfly = |words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fixfly"));
        command.args(words).arg(&run).env("FIXFLY_HOME", folder.join("home"));
        command
    };
    measure(&run, "lines", &mut fixfly(&["report"]));
    print("compress", &run, &took(&mut fixfly(&["compress"])));
    measure(&run, "compressed", &mut fixfly(&["report"]));
    print("decompress", &run, &took(&mut fixfly(&["compress", "--decompress"])));
}

/// Prints what is done with a run in one form takes.
fn measure(run: &Path, form: &str, report: &mut Command) {
    let this = |flag: &str| {
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        command.arg(flag).arg(run);
        command
    };
    for index in ["no index", "index"] {
        for (what, command) in [("report", &mut *report), ("resume", &mut this("--resume"))] {
            if index == "no index" {
                let _ = fs::remove_file(run.join(INDEX));
            }
            print(&format!("{form}: {what}, {index}"), run, &took(command));
        }
    }
    print(&format!("{form}: dataset build"), run, &took(&mut this("--build")));
}

fn print(what: &str, run: &Path, Took { seconds, memory }: &Took) {
    let size = |name: &str| fs::metadata(run.join(name)).map_or(0, |file| file.len());
    let stored = size("episodes.jsonl") + size("episodes.jsonl.zst");
    let (stored, index) = (stored as f64 / 1048576.0, size(INDEX) as f64 / 1048576.0);
    println!(
        "{what:28} {seconds:>7.2} s, {memory:>6.1} MiB resident; on disk {stored:>6.1} MiB, index {index:>5.1}"
    );
}

/// Builds a dataset of a run beside it.
fn build(run: &Path) {
    let recipe_file = run.with_file_name("recipe.toml");
    fs::write(&recipe_file, RECIPE).expect("a recipe");
    let (recipe, recipe_text) = Recipe::open(&recipe_file.display().to_string()).expect("a recipe");
    let runs = Run::open_all(&[run.display().to_string()], &recipe).expect("a run");
    let templates = templates_of(&runs).expect("its prompts");
    let build = Build {
        recipe_name: "solved".into(),
        recipe_text,
        recipe,
        runs,
        templates: &templates,
        known: Known {
            about: "a shop".into(),
            original: &|_| Err("the benchmark is not there".into()),
            held_out: Vec::new(),
            language: &Plain,
        },
        tokens: Tokens::open(None).expect("a count of tokens"),
        student: None,
        traces: Traces::default(),
        mask: false,
        formats: Vec::new(),
    };
    let folder = run.with_file_name("dataset");
    let _ = fs::remove_dir_all(&folder);
    let summary = build.write(&folder).expect("a dataset");
    assert!(summary.parts.values().sum::<usize>() > 0, "no rows");
}

/// What a run does before its first new episode.
fn resume(run: &Path) {
    let record = read_run(run).expect("a run");
    let (_, recorded) = RunDirectory::open(run, &record).expect("a run that can be resumed");
    assert!(!recorded.is_empty(), "the run has episodes");
}

/// Makes a run of so many episodes of about so many bytes.
fn make(run: &Path, count: usize, bytes: usize) {
    let recorded = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/recorded/run");
    fs::create_dir_all(run).expect("a folder");
    fs::copy(recorded.join("run.json"), run.join("run.json")).expect("a record");
    let text = fs::read_to_string(recorded.join("episodes.jsonl")).expect("episodes");
    let template: Episode =
        serde_json::from_str(text.lines().next().expect("an episode")).expect("an episode");
    let mut words = Words { state: 1 };
    let files: Vec<String> = (0..FILES).map(|_| words.text(bytes.saturating_sub(3_000))).collect();
    let file = run.join("episodes.jsonl");
    let mut out = BufWriter::new(File::create(&file).expect("a file"));
    for at in 0..count {
        let mut episode = episode(&template, at, &mut words);
        let shown = words.next(FILES);
        episode.task.statement.set_content(files[shown].clone());
        serde_json::to_writer(&mut out, &episode).expect("a line");
        out.write_all(b"\n").expect("a line");
    }
    out.flush().expect("a file");
}

/// Words in a fixed order that no compression finds.
struct Words {
    state: u64,
}

impl Words {
    fn next(&mut self, below: usize) -> usize {
        self.state = self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.state >> 33) as usize % below
    }

    /// Lines like a program's, of so many bytes.
    fn text(&mut self, bytes: usize) -> String {
        let mut text = String::new();
        while text.len() < bytes {
            let (name, other, value) = (self.next(3_000), self.next(3_000), self.next(100));
            text += &format!("    value_{name} = self.call_{other}({value})\n");
        }
        text
    }
}

fn episode(template: &Episode, at: usize, words: &mut Words) -> Episode {
    let mut episode = template.clone();
    episode.task.id = format!("{} {at}", template.task.id);
    let turns = 1 + at % TURNS;
    let last = template.turns.last().expect("a turn");
    let failed = || {
        let mut turn = last.clone();
        turn.observation.outcome = [Outcome::Failed, Outcome::TimedOut][at % 2];
        turn
    };
    episode.turns = (1..turns).map(|_| failed()).chain([last.clone()]).collect();
    if turns == TURNS {
        episode.end = End::BudgetSpent { limit: Limit::Turns };
        (episode.patch, episode.verdict) = (None, None);
        episode.turns[turns - 1] = failed();
    }
    for turn in &mut episode.turns {
        turn.action.text = format!("{}{}", words.text(100), turn.action.text);
        turn.observation.text += &words.text(200);
    }
    episode
}
