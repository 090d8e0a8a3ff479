//! What one verdict costs in each sandbox that is here, by each path, against
//! Django's own runner in a fresh process on the same work. With `--python DIR`, on a
//! benchmark that `fixfly bench build python` made, against `python -m pytest IDS`.
//!
//! ```text
//! cargo bench --bench verdict_latency -- [--items 40] [--seed 0]
//! cargo bench --bench verdict_latency -- --python benchmarks/mine
//! cargo bench --features wasm --bench verdict_latency
//! ```
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod common;

use std::time::Instant;

use std::path::Path;

use common::{
    Cost, Peer, Ran, flag, memory, methods, opened, quantile, sample, sample_of, tree_cpu,
};
use fixfly_benchmarks::{Methods, RunPath, django};
use fixfly_runtime::{Answer, Benchmark, Evaluator, Sandbox, Split, Task};

/// The tests of a sampled item take less, in seconds.
const SHORT: f64 = 0.05;
/// How often a verdict is repeated, because CPU time is measured in hundredths of a second.
const TIMES: usize = 10;

/// One way to a verdict.
struct Way {
    /// The project's own runner, or the sandbox and the path.
    name: String,
    /// By item, original and stub.
    costs: Vec<Cost>,
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let (seed, python): (u64, String) = (flag("--seed", 0), flag("--python", String::new()));
    let (folder, manifest) = match python.as_str() {
        "" => sample(Some(seed)),
        folder => sample_of(Path::new(folder), seed),
    };
    let is_django = python.is_empty();
    let wanted: usize = flag("--items", 40);
    let known = is_django.then(|| django::load(None).expect("the benchmark"));
    let hot = methods(&folder, &manifest, Some(RunPath::Hot));
    let cold = methods(&folder, &manifest, Some(RunPath::Cold));
    let framework = manifest.header.framework.clone();
    let peer = Peer::new(&folder, &framework);
    let tasks = hot.tasks(Split::Benchmark).await.expect("tasks");
    let mut sandboxes = opened(&tasks[0].sandbox).await;
    sandboxes.retain(|(name, _)| is_django || *name == "local");
    let mut ways = ways(&framework, &sandboxes);
    let (mut items, mut long, mut unsupported, mut unlike) = (0, 0, 0, 0);
    for task in tasks {
        let item = manifest.items.iter().find(|item| item.id == task.id).expect("an item");
        if items == wanted {
            break;
        } else if item.path != RunPath::Hot {
            continue;
        } else if sandboxes.iter().any(|(name, _)| {
            known.as_ref().is_some_and(|known| known.unsupported(&task, name).is_some())
        }) {
            unsupported += 1;
            continue;
        }
        let code = |answer| hot.ground_truth().answer(&task, answer).expect("an answer");
        let first = peer.run(item, &code(Answer::Truth), &item.tests.ids());
        assert!(first.passed || !is_django, "{}", item.id);
        if !first.passed {
            unlike += 1;
            continue;
        } else if is_django && (first.tests.is_nan() || first.tests >= SHORT) {
            long += 1;
            continue;
        }
        items += 1;
        for answer in [Answer::Truth, Answer::Stub] {
            let code = code(answer);
            let Ran { cost, .. } = peer.run(item, &code, &item.tests.ids());
            let mut costs = vec![cost];
            for (name, sandbox) in &sandboxes {
                if has_cold_path(name) {
                    costs.push(verdict(&cold, &task, &code, &**sandbox, TIMES / 3).await);
                }
                costs.push(verdict(&hot, &task, &code, &**sandbox, TIMES).await);
            }
            ways.iter_mut().zip(costs).for_each(|(way, cost)| way.costs.push(cost));
        }
        eprint!("\r{items} of {wanted} items");
    }
    println!(
        "\n{items} items on the hot path, original and stub; left out: {long} whose tests take over \
         {} ms, {unsupported} that not all of these sandboxes support",
        SHORT * 1000.0
    );
    let hot = manifest.items.iter().filter(|item| item.path == RunPath::Hot).count();
    println!(
        "{hot} of {} items take the hot path; {unlike} whose original fails with the runner alone",
        manifest.items.len()
    );
    print(&ways);
    for (_, sandbox) in sandboxes {
        sandbox.close().await.expect("an end");
    }
}

fn ways(framework: &str, sandboxes: &[(&str, Box<dyn Sandbox>)]) -> Vec<Way> {
    let of = |name: String| Way { name, costs: Vec::new() };
    let paths = sandboxes.iter().flat_map(|(name, _)| {
        let cold = has_cold_path(name).then(|| format!("{name}, cold"));
        cold.into_iter().chain([format!("{name}, hot")])
    });
    let fresh = match framework {
        "django" => "runtests.py, fresh".to_owned(),
        other => format!("{other}, fresh"),
    };
    [fresh].into_iter().chain(paths).map(of).collect()
}

/// In WebAssembly a candidate begins in a fresh instance on either path.
fn has_cold_path(sandbox: &str) -> bool {
    sandbox != "wasm"
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
    let _ = methods.evaluate(task, code, sandbox).await.expect("a verdict");
    let before = tree_cpu();
    let clock = Instant::now();
    for _ in 0..times {
        methods.evaluate(task, code, sandbox).await.expect("a verdict");
    }
    let wall = clock.elapsed().as_secs_f64();
    Cost { cpu: (tree_cpu() - before) / times as f64, wall: wall / times as f64 }
}

fn print(ways: &[Way]) {
    println!("milliseconds            CPU median    p95   wall median    p95");
    for way in ways {
        let at = |part, of: fn(&Cost) -> f64| 1000.0 * quantile(way.costs.iter().map(of), part);
        // What a container does is no child of this process.
        let cpu = |part| match way.name.starts_with("docker") {
            true => "-".to_owned(),
            false => format!("{:.0}", at(part, |cost| cost.cpu)),
        };
        println!(
            "{:22} {:>11} {:>6} {:13.0} {:6.0}",
            way.name,
            cpu(0.5),
            cpu(0.95),
            at(0.5, |cost| cost.wall),
            at(0.95, |cost| cost.wall),
        );
    }
    let [fresh, ways @ ..] = ways else { return };
    for way in ways {
        let ratio = |part, of: fn(&Cost) -> f64| {
            let pairs = fresh.costs.iter().zip(&way.costs);
            quantile(pairs.map(|(fresh, cost)| of(fresh) / of(cost).max(0.0005)), part)
        };
        let cpu = match way.name.starts_with("docker") {
            true => String::new(),
            false => format!(
                "CPU {:.1}x (half between {:.1}x and {:.1}x), ",
                ratio(0.5, |cost| cost.cpu),
                ratio(0.25, |cost| cost.cpu),
                ratio(0.75, |cost| cost.cpu),
            ),
        };
        println!("fresh process / {:14} {cpu}wall {:.1}x", way.name, ratio(0.5, |cost| cost.wall));
    }
    let (count, resident, proportional) = memory();
    println!(
        "memory of one worker in local: {count} processes, {resident:.0} MB resident, {proportional:.0} MB proportional"
    );
}
