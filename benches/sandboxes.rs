//! What a sandbox costs, against `docker run` and `docker exec` by hand and
//! against SWE-ReX on the same image, in one run.
//!
//! ```text
//! cargo bench --bench sandboxes -- [--times 20]
//! ```
//!
//! SWE-ReX is asked where `scripts/peers/sandboxes` has installed it.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod common;

use std::process::Command as Process;
use std::sync::Arc;
use std::time::Instant;

use common::{flag, methods, quantile, sample};
use fixfly_benchmarks::{Methods, RunPath};
use fixfly_runtime::{Answer, Benchmark, Command, Host, Sandbox, SandboxSpec, Split, Task};
use fixfly_sandboxes::ALL;

/// Where `scripts/peers/sandboxes` puts SWE-ReX, and what asks it.
const PEER: [&str; 2] =
    ["target/peers/sandboxes/venv/bin/python", "scripts/peers/lib/swerex_latency.py"];

/// Medians, in milliseconds; what is not measured is not a number.
struct Row {
    name: String,
    open: f64,
    exec: f64,
    close: f64,
    verdict: f64,
    /// Opened, used and closed in a second, two at a time.
    rate: f64,
    /// Of all processes of one at rest, MB.
    memory: f64,
}

#[tokio::main]
async fn main() {
    let times: usize = flag("--times", 20);
    let (folder, manifest) = sample(Some(0));
    let hot = Arc::new(methods(&folder, &manifest, Some(RunPath::Hot)));
    let tasks = hot.tasks(Split::Benchmark).await.expect("tasks");
    let mut rows = Vec::new();
    for entry in ALL.iter().filter(|entry| ["local", "docker"].contains(&entry.name)) {
        let host = (entry.open)().expect("a host");
        match host.open(&spec()).await {
            Ok(sandbox) => sandbox.close().await.expect("an end"),
            Err(why) => {
                eprintln!("skipped {}: {why}", entry.name);
                continue;
            }
        }
        let mut row = ours(entry.name, &host, times).await;
        row.verdict = verdict(&hot, &tasks[0], &*host, times).await;
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

async fn ours(name: &str, host: &Arc<dyn Host>, times: usize) -> Row {
    let (mut opens, mut execs, mut closes, mut memory) = (vec![], vec![], vec![], f64::NAN);
    let command = Command::new(["true"]);
    for _ in 0..times {
        let clock = Instant::now();
        let sandbox = host.open(&spec()).await.expect("a sandbox");
        opens.push(millis(clock));
        for _ in 0..5 {
            let clock = Instant::now();
            sandbox.exec(&command).await.expect("an end");
            execs.push(millis(clock));
        }
        memory = held(name);
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
                sandbox.exec(&Command::new(["true"])).await.expect("an end");
                sandbox.close().await.expect("an end");
            }
        })
    });
    for done in work.collect::<Vec<_>>() {
        done.await.expect("an end");
    }
    let rate = (times / 2 * 2) as f64 / clock.elapsed().as_secs_f64();
    let median = |values| quantile(values, 0.5);
    let (open, exec, close) = (median(opens), median(execs), median(closes));
    Row { name: name.to_owned(), open, exec, close, verdict: f64::NAN, rate, memory }
}

async fn verdict(methods: &Methods, task: &Task, host: &dyn Host, times: usize) -> f64 {
    let sandbox: Box<dyn Sandbox> = host.open(&task.sandbox).await.expect("a sandbox");
    let code = methods.secrets().answer(task, Answer::Truth).expect("an answer");
    let mut all = Vec::new();
    for _ in 0..=times {
        let clock = Instant::now();
        methods.trial(task, &code, &*sandbox).await.expect("a verdict");
        all.push(millis(clock));
    }
    sandbox.close().await.expect("an end");
    // The first sets the tests' databases up.
    quantile(all.split_off(1), 0.5)
}

/// Proportional memory of what a sandbox at rest runs: nothing, or a
/// container's processes.
fn held(name: &str) -> f64 {
    if name == "local" {
        return common::memory().2;
    }
    let listed = docker(&["ps", "-q", "--no-trunc", "--filter", "label=dev.fixfly.owner"]);
    let Some(id) = listed.lines().next() else { return f64::NAN };
    memory_of(id)
}

fn memory_of(container: &str) -> f64 {
    let pids = docker(&["top", container, "-o", "pid"]);
    let kilobytes = pids.lines().skip(1).filter_map(|pid| {
        let text = std::fs::read_to_string(format!("/proc/{}/smaps_rollup", pid.trim())).ok()?;
        let line = text.lines().find(|line| line.starts_with("Pss:"))?;
        line.split_whitespace().nth(1)?.parse::<f64>().ok()
    });
    kilobytes.sum::<f64>() / 1024.0
}

fn docker(words: &[&str]) -> String {
    let output = Process::new("docker").args(words).output().expect("the program docker");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "docker {}: {said}", words.join(" "));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn image() -> Option<String> {
    let listed = Process::new("docker").args(["images", "-q", "fixfly/python"]).output().ok()?;
    String::from_utf8_lossy(&listed.stdout).lines().next().map(str::to_owned)
}

/// What a shell script with the same limits would do.
fn by_hand(image: &str, times: usize) -> Row {
    let (mut opens, mut execs, mut closes, mut memory) = (vec![], vec![], vec![], f64::NAN);
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
    let clock = Instant::now();
    for _ in 0..times {
        let clock = Instant::now();
        let id = docker(&[&limits[..], &[image, "sleep", "600"]].concat());
        opens.push(millis(clock));
        for _ in 0..5 {
            let clock = Instant::now();
            docker(&["exec", &id, "true"]);
            execs.push(millis(clock));
        }
        memory = memory_of(&id);
        let clock = Instant::now();
        docker(&["rm", "-f", &id]);
        closes.push(millis(clock));
    }
    let rate = times as f64 / clock.elapsed().as_secs_f64();
    let median = |values| quantile(values, 0.5);
    let (open, exec, close) = (median(opens), median(execs), median(closes));
    let name = "docker run, exec, rm -f".to_owned();
    Row { name, open, exec, close, verdict: f64::NAN, rate, memory }
}

fn swerex(times: usize) -> Option<Row> {
    let [python, script] = PEER;
    if !std::path::Path::new(python).exists() {
        eprintln!("skipped SWE-ReX: run scripts/peers/sandboxes first");
        return None;
    }
    let output = Process::new(python).args([script, &times.to_string()]).output().ok()?;
    let said = String::from_utf8_lossy(&output.stdout);
    let measured = said.lines().rev().find_map(|line| serde_json::from_str(line).ok());
    let Some(measured): Option<serde_json::Value> = measured else {
        eprintln!("skipped SWE-ReX: {}", String::from_utf8_lossy(&output.stderr));
        return None;
    };
    let number = |name: &str| measured[name].as_f64().unwrap_or(f64::NAN);
    Some(Row {
        name: format!("SWE-ReX {}", measured["version"].as_str().unwrap_or_default()),
        open: number("open"),
        exec: number("exec"),
        close: number("close"),
        verdict: f64::NAN,
        rate: number("rate"),
        memory: number("memory"),
    })
}

fn print(rows: &[Row], times: usize) {
    println!("\nmedians of {times} sandboxes, 5 commands each, in milliseconds");
    println!("                             open     exec    close  verdict  a second   MB each");
    for row in rows {
        println!(
            "{:24} {:8.1} {:8.1} {:8.1} {:8.1} {:9.1} {:9.1}",
            row.name, row.open, row.exec, row.close, row.verdict, row.rate, row.memory
        );
    }
    let Some(ours) = rows.iter().find(|row| row.name == "docker") else { return };
    let peers = rows.iter().filter(|row| !["local", "docker"].contains(&row.name.as_str()));
    for peer in peers {
        println!(
            "{} / fixfly's docker: open {:.2}x, exec {:.1}x, close {:.2}x",
            peer.name,
            peer.open / ours.open,
            peer.exec / ours.exec,
            peer.close / ours.close
        );
    }
}
