//! What one verdict costs in WebAssembly, against `local` by both paths and
//! Django's own runner in a fresh process, on the same work.
//!
//! ```text
//! cargo bench --bench wasm_latency -- [--items 20] [--seed 0]
//! ```
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod common;

use std::time::Instant;

use common::{Cost, Peer, Ran, flag, methods, quantile, sample, tree_cpu};
use fixfly_benchmarks::{Methods, RunPath, django};
use fixfly_runtime::{Answer, Benchmark, Command, Sandbox, Split, Task};

/// How often an instance that does nothing is made.
const INSTANCES: usize = 50;
/// How often a verdict is repeated, as CPU is told in hundredths of a second.
const TIMES: usize = 5;

type Of = fn(&Measured) -> Cost;
const PATHS: [(&str, Of); 4] = [
    ("runtests.py, fresh", |m| m.fresh),
    ("local, cold0", |m| m.cold),
    ("local, hot", |m| m.hot),
    ("wasm", |m| m.wasm),
];

/// One candidate by all paths.
struct Measured {
    fresh: Cost,
    cold: Cost,
    hot: Cost,
    wasm: Cost,
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let (folder, manifest) = sample(Some(flag("--seed", 0)));
    let wanted: usize = flag("--items", 20);
    let known = django::load(None).expect("the benchmark");
    let hot = methods(&folder, &manifest, Some(RunPath::Hot));
    let cold = methods(&folder, &manifest, Some(RunPath::Cold0));
    let peer = Peer::new(&folder);
    let tasks = hot.tasks(Split::Benchmark).await.expect("tasks");
    let local = sandbox("local", &tasks[0]).await;
    let clock = Instant::now();
    let wasm = sandbox("wasm", &tasks[0]).await;
    println!("the first sandbox wasm: {:.0} ms", 1000.0 * clock.elapsed().as_secs_f64());
    nothing("wasm: fresh instance, `python3 -c pass`", "python3", &*wasm).await;
    nothing("local: fresh process, `python3 -c pass`", "/env/bin/python", &*local).await;
    let (mut all, mut items) = (Vec::new(), 0);
    for task in tasks {
        let item = manifest.items.iter().find(|item| item.id == task.id).expect("an item");
        if items == wanted {
            break;
        } else if item.path != RunPath::Hot || known.unfit(&task, "wasm").is_some() {
            continue;
        }
        items += 1;
        for answer in [Answer::Truth, Answer::Stub] {
            let code = hot.secrets().answer(&task, answer).expect("an answer");
            let Ran { cost: fresh, .. } = peer.run(item, &code, &item.tests.ids());
            let cold = verdict(&cold, &task, &code, &*local).await;
            let hot_cost = verdict(&hot, &task, &code, &*local).await;
            let wasm = verdict(&hot, &task, &code, &*wasm).await;
            all.push(Measured { fresh, cold, hot: hot_cost, wasm });
        }
        eprint!("\r{items} of {wanted} items");
    }
    print(&all, items);
    local.close().await.expect("an end");
    wasm.close().await.expect("an end");
}

async fn sandbox(name: &str, task: &Task) -> Box<dyn Sandbox> {
    let entry = fixfly_sandboxes::ALL.iter().find(|entry| entry.name == name).expect("it");
    (entry.open)().expect("a host").open(&task.sandbox).await.expect("a sandbox")
}

async fn nothing(what: &str, python: &str, sandbox: &dyn Sandbox) {
    let command = Command::new([python, "-c", "pass"]);
    sandbox.exec(&command).await.expect("a run");
    let mut walls = Vec::new();
    for _ in 0..INSTANCES {
        let clock = Instant::now();
        sandbox.exec(&command).await.expect("a run");
        walls.push(1000.0 * clock.elapsed().as_secs_f64());
    }
    let at = |part| quantile(walls.iter().copied(), part);
    println!("{what}: median {:.1} ms, p95 {:.1} ms", at(0.5), at(0.95));
}

/// Cost of one verdict, of everything that fixfly runs for it, once what it
/// needs is set up.
async fn verdict(methods: &Methods, task: &Task, code: &str, sandbox: &dyn Sandbox) -> Cost {
    let _ = methods.trial(task, code, sandbox).await.expect("a verdict");
    let (before, clock) = (tree_cpu(), Instant::now());
    for _ in 0..TIMES {
        methods.trial(task, code, sandbox).await.expect("a verdict");
    }
    let wall = clock.elapsed().as_secs_f64();
    let cpu = tree_cpu() - before;
    Cost { cpu: cpu / TIMES as f64, wall: wall / TIMES as f64 }
}

fn print(all: &[Measured], items: usize) {
    println!("\n{items} items that wasm serves and that take the hot path, original and stub");
    println!("milliseconds            CPU median    p95   wall median    p95");
    for (name, of) in PATHS {
        let at = |part, of: &dyn Fn(&Measured) -> f64| 1000.0 * quantile(all.iter().map(of), part);
        println!(
            "{name:22} {:11.0} {:6.0} {:13.0} {:6.0}",
            at(0.5, &|m| of(m).cpu),
            at(0.95, &|m| of(m).cpu),
            at(0.5, &|m| of(m).wall),
            at(0.95, &|m| of(m).wall),
        );
    }
    for (name, of) in &PATHS[..3] {
        let ratio = |part, of: &dyn Fn(&Measured) -> (f64, f64)| {
            quantile(all.iter().map(|m| of(m).0 / of(m).1.max(0.0005)), part)
        };
        println!(
            "wasm / {name:18} CPU {:.1}x (half between {:.1}x and {:.1}x), wall {:.1}x",
            ratio(0.5, &|m| (m.wasm.cpu, of(m).cpu)),
            ratio(0.25, &|m| (m.wasm.cpu, of(m).cpu)),
            ratio(0.75, &|m| (m.wasm.cpu, of(m).cpu)),
            ratio(0.5, &|m| (m.wasm.wall, of(m).wall)),
        );
    }
}
