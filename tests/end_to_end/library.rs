//! A run from a program that is not fixfly: `examples/run.rs`, which README.md shows.

use fixfly_runtime::{RunOutcome, RunSpec, read_episodes};

use crate::project::benchmark;

#[path = "../../examples/run.rs"]
#[allow(dead_code, reason = "a program's main function is not called")]
mod example;

/// Runs as the example does.
pub(crate) fn run(spec: RunSpec) -> RunOutcome {
    tokio::runtime::Runtime::new().unwrap().block_on(example::run(spec)).unwrap()
}

#[test]
fn a_benchmark_runs_and_resumes_from_rust() {
    let (shop, folder) = (benchmark(0.0), tempfile::tempdir().unwrap());
    let spec = RunSpec {
        benchmark: "python".into(),
        benchmark_dir: Some(shop.path().into()),
        policy: "oracle".into(),
        output: folder.path().join("run"),
        allow_weak: true,
        ..RunSpec::default()
    };
    let outcome = run(RunSpec { limit: Some(2), ..spec.clone() });
    assert_eq!((outcome.recorded, outcome.solved, outcome.left), (2, 2, 0));
    assert_eq!(read_episodes(&spec.output).unwrap().len(), 2);
    let outcome = run(RunSpec { limit: Some(2), ..spec });
    assert_eq!((outcome.recorded, outcome.left), (0, 0), "the run was complete");
}

#[test]
fn the_readme_shows_the_example() {
    let (readme, example) =
        (include_str!("../../README.md"), include_str!("../../examples/run.rs"));
    assert!(readme.contains(&format!("```rust\n{example}```")), "README.md: copy examples/run.rs");
    assert!(example.lines().count() <= 30, "{} lines", example.lines().count());
}
