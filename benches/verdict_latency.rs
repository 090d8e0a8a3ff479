//! What one verdict costs, by each path, against Django's own runner in a
//! fresh process on the same work.
//!
//! ```text
//! cargo bench --bench verdict_latency -- [--items 40] [--seed 0]
//! ```
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod common;

use std::time::Instant;

use common::{Cost, Peer, Ran, flag, memory, methods, quantile, sample, sandbox, tree_cpu};
use fixfly_benchmarks::{Methods, RunPath};
use fixfly_runtime::{Answer, Benchmark, Sandbox, Split, Task};

/// The tests of a sampled item take less, in seconds.
const SHORT: f64 = 0.05;
/// How often a verdict is repeated, as CPU is told in hundredths of a second.
const TIMES: usize = 10;

/// One candidate by all paths.
struct Measured {
    fresh: Cost,
    cold: Cost,
    hot: Cost,
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let (folder, manifest) = sample(Some(flag("--seed", 0)));
    let wanted: usize = flag("--items", 40);
    let hot = methods(&folder, &manifest, Some(RunPath::Hot));
    let cold = methods(&folder, &manifest, Some(RunPath::Cold0));
    let peer = Peer::new(&folder);
    let tasks = hot.tasks(Split::Benchmark).await.expect("tasks");
    let sandbox = sandbox(&tasks[0]).await;
    let (mut all, mut items, mut long) = (Vec::new(), 0, 0);
    for task in tasks {
        let item = manifest.items.iter().find(|item| item.id == task.id).expect("an item");
        if items == wanted {
            break;
        } else if item.path != RunPath::Hot {
            continue;
        }
        let code = |answer| hot.secrets().answer(&task, answer).expect("an answer");
        let first = peer.run(item, &code(Answer::Truth), &item.tests.ids());
        assert!(first.passed, "{}", item.id);
        if first.tests.is_nan() || first.tests >= SHORT {
            long += 1;
            continue;
        }
        items += 1;
        for answer in [Answer::Truth, Answer::Stub] {
            let code = code(answer);
            let Ran { cost: fresh, .. } = peer.run(item, &code, &item.tests.ids());
            let cold = verdict(&cold, &task, &code, &*sandbox, TIMES / 3).await;
            let hot = verdict(&hot, &task, &code, &*sandbox, TIMES).await;
            all.push(Measured { fresh, cold, hot });
        }
        eprint!("\r{items} of {wanted} items");
    }
    print(&all, items, long);
    sandbox.close().await.expect("an end");
}

/// Cost of one verdict, of everything that fixfly runs for it, once what it
/// needs is set up.
async fn verdict(
    methods: &Methods,
    task: &Task,
    code: &str,
    sandbox: &dyn Sandbox,
    times: usize,
) -> Cost {
    let _ = methods.trial(task, code, sandbox).await.expect("a verdict");
    let before = tree_cpu();
    let clock = Instant::now();
    for _ in 0..times {
        methods.trial(task, code, sandbox).await.expect("a verdict");
    }
    let wall = clock.elapsed().as_secs_f64();
    Cost { cpu: (tree_cpu() - before) / times as f64, wall: wall / times as f64 }
}

fn print(all: &[Measured], items: usize, long: usize) {
    println!(
        "\n{items} items on the hot path, original and stub; {long} whose tests take over {} ms left out",
        SHORT * 1000.0
    );
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
    let ratio = |part, of: &dyn Fn(&Measured) -> (f64, f64)| {
        quantile(all.iter().map(|m| of(m).0 / of(m).1.max(0.0005)), part)
    };
    for (name, of) in &PATHS[1..] {
        println!(
            "fresh process / {name:6} CPU {:.1}x (half between {:.1}x and {:.1}x), wall {:.1}x",
            ratio(0.5, &|m| (m.fresh.cpu, of(m).cpu)),
            ratio(0.25, &|m| (m.fresh.cpu, of(m).cpu)),
            ratio(0.75, &|m| (m.fresh.cpu, of(m).cpu)),
            ratio(0.5, &|m| (m.fresh.wall, of(m).wall)),
        );
    }
    let (count, resident, proportional) = memory();
    println!(
        "memory of one worker: {count} processes, {resident:.0} MB resident, {proportional:.0} MB proportional"
    );
}

type Of = fn(&Measured) -> Cost;
const PATHS: [(&str, Of); 3] =
    [("runtests.py, fresh", |m| m.fresh), ("cold0", |m| m.cold), ("hot", |m| m.hot)];
