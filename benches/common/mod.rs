//! What the benches share: a seeded sample of Django's items, the peer they
//! are measured against, and what CPU and memory processes take.
// Each bench uses some of it.
#![allow(dead_code, clippy::print_stderr)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use fixfly_benchmarks::{Item, Manifest, Methods, Project, RunPath, django, python, source};
use fixfly_runtime::{Sandbox, SandboxSpec, Split};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

/// Clock ticks of `/proc/*/stat` in a second.
const TICKS: f64 = 100.0;

/// The value of a flag, or its default.
pub(crate) fn flag<T: std::str::FromStr>(name: &str, default: T) -> T {
    let mut words = std::env::args().skip_while(|word| *word != name).skip(1);
    words.next().and_then(|word| word.parse().ok()).unwrap_or(default)
}

/// Items of the benchmark split, in an order that the seed decides, or their own.
pub(crate) fn sample(seed: Option<u64>) -> (PathBuf, Manifest) {
    let folder = django::folder();
    let mut manifest = django::load(None).expect("the benchmark").manifest().clone();
    manifest.items.retain(|item| item.split == Split::Benchmark);
    if let Some(seed) = seed {
        shuffle(&mut manifest, seed);
    }
    (folder, manifest)
}

/// All items of a benchmark that `fixfly bench build python` made, as if of one split, in
/// an order that the seed decides.
pub(crate) fn sample_of(folder: &Path, seed: u64) -> (PathBuf, Manifest) {
    let mut manifest = python::load(Some(folder)).expect("the benchmark").manifest().clone();
    manifest.items.iter_mut().for_each(|item| item.split = Split::Benchmark);
    shuffle(&mut manifest, seed);
    (folder.to_path_buf(), manifest)
}

fn shuffle(manifest: &mut Manifest, seed: u64) {
    let place = |item: &Item| Sha256::digest(format!("{seed} {}", item.id)).to_vec();
    manifest.items.sort_by_cached_key(place);
}

/// The benchmark of these items, all by one path where one is named.
pub(crate) fn methods(folder: &Path, manifest: &Manifest, path: Option<RunPath>) -> Methods {
    let mut manifest = manifest.clone();
    for item in &mut manifest.items {
        item.path = path.unwrap_or(item.path);
    }
    let project = Project::open(folder, &manifest.header.framework).expect("the project");
    Methods::new(&manifest.header.benchmark.clone(), project, manifest)
}

/// Opens one sandbox of each kind that this machine has; prints why others are skipped.
pub(crate) async fn opened(spec: &SandboxSpec) -> Vec<(&'static str, Box<dyn Sandbox>)> {
    let mut opened = Vec::new();
    for entry in fixfly_sandboxes::ALL {
        match (entry.open)(&fixfly_sandboxes::HostOptions::default())
            .expect("a host")
            .open(spec)
            .await
        {
            Ok(sandbox) => opened.push((entry.name, sandbox)),
            Err(why) => eprintln!("skipped {}: {why}", entry.name),
        }
    }
    opened
}

/// The project's own runner in a fresh process, over a copy of the source.
pub(crate) struct Peer {
    framework: String,
    python: PathBuf,
    copy: TempDir,
}

/// The cost and the result of one run.
pub(crate) struct Ran {
    pub(crate) cost: Cost,
    pub(crate) passed: bool,
    /// Seconds the tests themselves took.
    pub(crate) tests: f64,
}

impl Peer {
    pub(crate) fn new(folder: &Path, framework: &str) -> Peer {
        let copy = tempfile::tempdir().expect("a folder");
        let status = Command::new("cp")
            .arg("-a")
            .args([folder.join("source"), copy.path().join("source")])
            .status();
        assert!(status.is_ok_and(|status| status.success()), "the source was not copied");
        let python = folder.join("venv/bin/python");
        if framework != "django" {
            // Files that do not compile are no modules.
            let source = copy.path().join("source");
            let status =
                Command::new(&python).args(["-m", "compileall", "-q"]).arg(source).output();
            assert!(status.is_ok(), "no bytecode was made");
        }
        Peer { framework: framework.to_owned(), python, copy }
    }

    /// The command that runs the tests, and the variables that decide its imports.
    fn command(&self, root: &Path, tests: &[String]) -> Command {
        let mut command = Command::new(&self.python);
        command.env("PYTHONHASHSEED", "0").env("PYTHONDONTWRITEBYTECODE", "1");
        let paths = match self.framework.as_str() {
            "django" => {
                command.args(["runtests.py", "--settings=test_sqlite", "--parallel", "1"]);
                command.current_dir(root.join("tests"));
                vec![root.to_path_buf()]
            }
            framework => {
                command.args(["-m", framework, "-q"]).current_dir(root);
                if framework == "pytest" {
                    // Its own bytecode of test files is kept from run to run.
                    command.env_remove("PYTHONDONTWRITEBYTECODE");
                }
                let folders = ["", "src", "lib", "tests"].map(|name| root.join(name));
                folders.into_iter().filter(|folder| folder.is_dir()).collect()
            }
        };
        command.args(tests).env("PYTHONPATH", std::env::join_paths(paths).expect("folders"));
        command
    }

    /// Runs `tests` with `candidate` as the item's method.
    pub(crate) fn run(&self, item: &Item, candidate: &str, tests: &[String]) -> Ran {
        let root = self.copy.path().join("source");
        let (file, qualname) = item.place();
        let path = root.join(file);
        let text = fs::read_to_string(&path).expect("a file");
        let methods = source::methods(&text).expect("methods");
        let method = methods.iter().find(|method| method.qualname == qualname).expect("a method");
        fs::write(&path, source::spliced(&text, method, candidate)).expect("a write");
        // As any changed file it is compiled again; all others have bytecode.
        let stem = path.file_stem().expect("a name").to_string_lossy().into_owned();
        let cached: Vec<PathBuf> = bytecode_of(&path, &stem);
        let bytecode: Vec<Vec<u8>> =
            cached.iter().map(|file| fs::read(file).expect("bytecode")).collect();
        let forget =
            || bytecode_of(&path, &stem).iter().for_each(|file| drop(fs::remove_file(file)));
        forget();
        let mut command = self.command(&root, tests);
        let (before, clock) = (children(), Instant::now());
        let output = command.output().expect("a run");
        let wall = clock.elapsed().as_secs_f64();
        let cost = Cost { cpu: children() - before, wall };
        fs::write(&path, text).expect("a write");
        forget();
        for (file, bytes) in cached.iter().zip(bytecode) {
            fs::write(file, bytes).expect("a write");
        }
        let stderr = String::from_utf8_lossy(&output.stderr);
        let seconds =
            stderr.lines().find_map(|line| line.strip_prefix("Ran ")?.split(" in ").nth(1));
        let tests = seconds.and_then(|text| text.trim_end_matches('s').parse().ok());
        Ran { cost, passed: output.status.success(), tests: tests.unwrap_or(f64::NAN) }
    }
}

/// The files of bytecode of a module.
fn bytecode_of(path: &Path, stem: &str) -> Vec<PathBuf> {
    let files = fs::read_dir(path.with_file_name("__pycache__")).into_iter().flatten().flatten();
    let is_of = |file: &PathBuf| {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        name.strip_prefix(stem).is_some_and(|rest| rest.starts_with(".cpython"))
    };
    files.map(|entry| entry.path()).filter(is_of).collect()
}

/// Seconds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Cost {
    pub(crate) cpu: f64,
    pub(crate) wall: f64,
}

/// CPU seconds of the children of this process that have ended.
pub(crate) fn children() -> f64 {
    let (_, times) = stat("self").expect("this process");
    times[2] + times[3]
}

/// CPU seconds of this process and of all it started.
pub(crate) fn tree_cpu() -> f64 {
    tree().iter().filter_map(|pid| stat(pid)).flat_map(|(_, times)| times).sum()
}

/// This process and all below it.
pub(crate) fn tree() -> Vec<String> {
    let entries = fs::read_dir("/proc").expect("/proc").flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let all: Vec<(String, String)> = names
        .filter(|name| name.parse::<u32>().is_ok())
        .filter_map(|pid| stat(&pid).map(|(parent, _)| (pid, parent)))
        .collect();
    let mut found = vec![std::process::id().to_string()];
    let mut at = 0;
    while at < found.len() {
        let below: Vec<_> = all.iter().filter(|(_, parent)| *parent == found[at]).collect();
        found.extend(below.into_iter().map(|(pid, _)| pid.clone()));
        at += 1;
    }
    found
}

/// Parent, and CPU seconds: own user and system, ended children's the same.
fn stat(pid: &str) -> Option<(String, [f64; 4])> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
    let time = |at: usize| fields[at].parse::<f64>().unwrap_or(0.0) / TICKS;
    Some((fields[1].to_string(), [time(11), time(12), time(13), time(14)]))
}

/// Resident and proportional memory of the processes below this one, in MB.
pub(crate) fn memory() -> (usize, f64, f64) {
    let below = tree().split_off(1);
    let sum = |key| below.iter().map(|pid| rollup(pid, key)).sum();
    (below.len(), sum("Rss:"), sum("Pss:"))
}

/// A process' part of the memory it shares, and all it has alone, in MB.
pub(crate) fn proportional(pid: &str) -> f64 {
    rollup(pid, "Pss:")
}

/// Nothing of a process that has ended.
fn rollup(pid: &str, key: &str) -> f64 {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with(key));
    let kilobytes = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok());
    kilobytes.unwrap_or(0.0) / 1024.0
}

/// The value below which that part of the values lies.
pub(crate) fn quantile(values: impl IntoIterator<Item = f64>, part: f64) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    values.get(((values.len() - 1) as f64 * part).round() as usize).copied().unwrap_or(f64::NAN)
}

/// What a process took.
pub(crate) struct Took {
    pub(crate) seconds: f64,
    /// Mebibytes resident at most, of it and of each process that it waited for.
    pub(crate) memory: f64,
}

/// Runs it under GNU time, which measures the memory.
pub(crate) fn took(command: &mut Command) -> Took {
    let mut words = vec!["-f".into(), "%M".into(), command.get_program().to_owned()];
    words.extend(command.get_args().map(ToOwned::to_owned));
    let mut timed = Command::new("/usr/bin/time");
    timed.args(words).stdout(Stdio::null()).stderr(Stdio::piped());
    timed.envs(command.get_envs().filter_map(|(key, value)| Some((key, value?))));
    let start = Instant::now();
    let output = timed.output().expect("GNU time (Debian: time)");
    let seconds = start.elapsed().as_secs_f64();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{stderr}");
    let memory = stderr.lines().last().and_then(|line| line.trim().parse::<f64>().ok());
    Took { seconds, memory: memory.unwrap_or_default() / 1024.0 }
}
