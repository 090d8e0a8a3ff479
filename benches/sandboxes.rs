//! What a sandbox costs, against `docker run` and `docker exec` by hand and
//! against SWE-ReX on the same image, in one run.
//!
//! ```text
//! cargo bench --bench sandboxes -- [--times 20]
//! cargo bench --features wasm --bench sandboxes
//! ```
//!
//! SWE-ReX is asked where `scripts/peers/sandboxes` has installed it.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod common;

use std::process::Command as Process;
use std::sync::Arc;
use std::time::Instant;

use common::{flag, methods, quantile, sample};
use fixfly_benchmarks::{Methods, RunPath, django};
use fixfly_runtime::{
    Answer, Benchmark, Command, Evaluator, Host, Sandbox, SandboxError, SandboxSpec, Split, Task,
};
use fixfly_sandboxes::{ALL, HostOptions};

/// Where `scripts/peers/sandboxes` puts SWE-ReX, and what asks it.
const PEER: [&str; 2] =
    ["target/peers/sandboxes/venv/bin/python", "scripts/peers/lib/swerex_latency.py"];

/// Medians, in milliseconds; what is not measured is not a number.
struct Row {
    name: String,
    open: f64,
    /// `true`.
    exec: f64,
    /// `python3 -c pass`.
    python: f64,
    close: f64,
    verdict: f64,
    /// Opened, used and closed in a second, two at a time.
    rate: f64,
    /// Of all processes of one at rest, MB.
    rest: f64,
    /// The same once it has reached verdicts, MB.
    work: f64,
}

impl Default for Row {
    fn default() -> Self {
        let [open, exec, python, close, verdict, rate, rest, work] = [f64::NAN; 8];
        Row { name: String::new(), open, exec, python, close, verdict, rate, rest, work }
    }
}

#[tokio::main]
async fn main() {
    let times: usize = flag("--times", 20);
    let (folder, manifest) = sample(Some(0));
    let hot = Arc::new(methods(&folder, &manifest, Some(RunPath::Hot)));
    let tasks = hot.tasks(Split::Benchmark).await.expect("tasks");
    let known = django::load(None).expect("the benchmark");
    let served =
        |task: &&Task| ALL.iter().all(|entry| known.unsupported(task, entry.name).is_none());
    let task = tasks.iter().find(served).expect("an item that every sandbox serves");
    let mut rows = Vec::new();
    for entry in ALL {
        let host = (entry.open)(&HostOptions::default()).expect("a host");
        match host.open(&spec()).await {
            Ok(sandbox) => sandbox.close().await.expect("an end"),
            Err(why) => {
                eprintln!("skipped {}: {why}", entry.name);
                continue;
            }
        }
        let mut row = ours(entry.name, &host, times).await;
        (row.verdict, row.work) = verdict(entry.name, &hot, task, &*host, times).await;
        rows.push(row);
        eprintln!("{} is measured", entry.name);
    }
    if let Some(image) = image() {
        rows.push(by_hand(&image, times));
        rows.extend(swerex(times));
    }
    print(&rows, times);
}

fn spec() -> SandboxSpec {
    let env = [("PATH".to_owned(), "/usr/bin:/bin".to_owned())];
    SandboxSpec { env: env.into(), workdir: "/tmp".to_owned(), ..SandboxSpec::default() }
}

fn millis(clock: Instant) -> f64 {
    clock.elapsed().as_secs_f64() * 1000.0
}

/// What every sandbox runs, and what most do.
fn python() -> Command {
    Command::new(["python3", "-c", "pass"])
}

async fn ours(name: &str, host: &Arc<dyn Host>, times: usize) -> Row {
    let (mut opens, mut execs, mut pythons, mut closes) = (vec![], vec![], vec![], vec![]);
    let mut row = Row { name: name.to_owned(), ..Row::default() };
    let all = Command::new(["true"]);
    for _ in 0..times {
        let before = own(name);
        let clock = Instant::now();
        let sandbox = host.open(&spec()).await.expect("a sandbox");
        opens.push(millis(clock));
        for _ in 0..5 {
            let clock = Instant::now();
            match sandbox.exec(&all).await {
                Ok(_) => execs.push(millis(clock)),
                Err(SandboxError::Unsupported { .. }) => {}
                Err(why) => panic!("{why}"),
            }
            let clock = Instant::now();
            sandbox.exec(&python()).await.expect("an end");
            pythons.push(millis(clock));
        }
        row.rest = held(name, before);
        let clock = Instant::now();
        sandbox.close().await.expect("an end");
        closes.push(millis(clock));
    }
    let clock = Instant::now();
    let work = (0..2).map(|_| {
        let host = Arc::clone(host);
        tokio::spawn(async move {
            for _ in 0..times / 2 {
                let sandbox = host.open(&spec()).await.expect("a sandbox");
                sandbox.exec(&python()).await.expect("an end");
                sandbox.close().await.expect("an end");
            }
        })
    });
    for done in work.collect::<Vec<_>>() {
        done.await.expect("an end");
    }
    row.rate = (times / 2 * 2) as f64 / clock.elapsed().as_secs_f64();
    [row.open, row.exec, row.python, row.close] = [opens, execs, pythons, closes].map(median);
    row
}

fn median(values: Vec<f64>) -> f64 {
    match values.is_empty() {
        true => f64::NAN,
        false => quantile(values, 0.5),
    }
}

/// Milliseconds of a verdict on the hot path, and the memory of what reaches it.
async fn verdict(
    name: &str,
    methods: &Methods,
    task: &Task,
    host: &dyn Host,
    times: usize,
) -> (f64, f64) {
    let before = own(name);
    let sandbox: Box<dyn Sandbox> = host.open(&task.sandbox).await.expect("a sandbox");
    let code = methods.ground_truth().answer(task, Answer::Truth).expect("an answer");
    let mut all = Vec::new();
    for _ in 0..=times {
        let clock = Instant::now();
        methods.evaluate(task, &code, &*sandbox).await.expect("a verdict");
        all.push(millis(clock));
    }
    let work = held(name, before);
    sandbox.close().await.expect("an end");
    // The first sets the tests' databases up.
    (median(all.split_off(1)), work)
}

/// Proportional memory of this process, in which `wasm` runs.
fn own(name: &str) -> f64 {
    if name == "wasm" { common::proportional("self") } else { 0.0 }
}

/// Proportional memory of what a sandbox runs: its processes, those of its
/// container, or what this process grew by.
fn held(name: &str, before: f64) -> f64 {
    match name {
        "local" => common::memory().2,
        "wasm" => own(name) - before,
        _ => {
            let ours = ["ps", "-q", "--no-trunc", "--filter", "label=dev.fixfly.owner"];
            docker(&ours).lines().next().map_or(f64::NAN, memory_of)
        }
    }
}

fn memory_of(container: &str) -> f64 {
    let pids = docker(&["top", container, "-o", "pid"]);
    pids.lines().skip(1).map(|pid| common::proportional(pid.trim())).sum()
}

fn docker(words: &[&str]) -> String {
    let output = Process::new("docker").args(words).output().expect("the program docker");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "docker {}: {stderr}", words.join(" "));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn image() -> Option<String> {
    let listed = Process::new("docker").args(["images", "-q", "fixfly/python"]).output().ok()?;
    String::from_utf8_lossy(&listed.stdout).lines().next().map(str::to_owned)
}

/// What a shell script with the same limits would do.
fn by_hand(image: &str, times: usize) -> Row {
    let (mut opens, mut execs, mut pythons, mut closes) = (vec![], vec![], vec![], vec![]);
    let mut row = Row { name: "docker run, exec, rm -f".to_owned(), ..Row::default() };
    let limits = [
        "run",
        "-d",
        "--rm",
        "--init",
        "--network=none",
        "--cap-drop=ALL",
        "--read-only",
        "--tmpfs=/tmp",
        "--memory=4g",
        "--pids-limit=280",
        "--security-opt=no-new-privileges",
        "--user=65534",
    ];
    for _ in 0..times {
        let clock = Instant::now();
        let id = docker(&[&limits[..], &[image, "sleep", "600"]].concat());
        opens.push(millis(clock));
        for _ in 0..5 {
            let clock = Instant::now();
            docker(&["exec", &id, "true"]);
            execs.push(millis(clock));
            let clock = Instant::now();
            docker(&["exec", &id, "python3", "-c", "pass"]);
            pythons.push(millis(clock));
        }
        row.rest = memory_of(&id);
        let clock = Instant::now();
        docker(&["rm", "-f", &id]);
        closes.push(millis(clock));
    }
    [row.open, row.exec, row.python, row.close] = [opens, execs, pythons, closes].map(median);
    row
}

fn swerex(times: usize) -> Option<Row> {
    let [python, script] = PEER;
    if !std::path::Path::new(python).exists() {
        eprintln!("skipped SWE-ReX: run scripts/peers/sandboxes first");
        return None;
    }
    let output = Process::new(python).args([script, &times.to_string()]).output().ok()?;
    let stdout = String::from_utf8_lossy(&output.stdout);
    let measured = stdout.lines().rev().find_map(|line| serde_json::from_str(line).ok());
    let Some(measured): Option<serde_json::Value> = measured else {
        eprintln!("skipped SWE-ReX: {}", String::from_utf8_lossy(&output.stderr));
        return None;
    };
    let number = |name: &str| measured[name].as_f64().unwrap_or(f64::NAN);
    Some(Row {
        name: format!("SWE-ReX {}", measured["version"].as_str().unwrap_or_default()),
        open: number("open"),
        exec: number("exec"),
        python: number("python"),
        close: number("close"),
        rest: number("memory"),
        ..Row::default()
    })
}

fn print(rows: &[Row], times: usize) {
    println!(
        "\nmedians of {times} sandboxes, 5 commands of each kind, in milliseconds; `-`: not available \
         or not measured"
    );
    println!(
        "                             open     true   python    close  verdict sandbox/s  MB at rest  MB at work"
    );
    for row in rows {
        let cell = |value: f64, width: usize| match value.is_nan() {
            true => format!("{:>width$}", "-"),
            false => format!("{value:width$.1}"),
        };
        let times = [row.open, row.exec, row.python, row.close, row.verdict];
        let times: String = times.map(|value| cell(value, 9)).concat();
        let rest = [(row.rate, 10), (row.rest, 12), (row.work, 12)];
        let rest: String = rest.map(|(value, width)| cell(value, width)).concat();
        println!("{:24}{times}{rest}", row.name);
    }
    let Some(ours) = rows.iter().find(|row| row.name == "docker") else { return };
    for peer in rows.iter().filter(|row| !ALL.iter().any(|entry| entry.name == row.name)) {
        println!(
            "{} / fixfly's docker: open {:.2}x, true {:.1}x, python {:.1}x, close {:.2}x",
            peer.name,
            peer.open / ours.open,
            peer.exec / ours.exec,
            peer.python / ours.python,
            peer.close / ours.close
        );
    }
}
