//! A Docker engine that fails under a run: what it took is no failure of a
//! candidate, and is made again.

use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::between::{Between, Fate, Request};
use fixfly_runtime::{Boundary, End, FailureKind, read_episodes};

/// Calls that one attempt to open a sandbox makes in vain.
const PATIENCE: usize = 3;

async fn has_docker() -> bool {
    let protections =
        (fixfly_sandboxes::docker::ENTRY.open)(&fixfly_sandboxes::HostOptions::default())
            .unwrap()
            .protections()
            .await;
    let missing = protections.iter().find(|protection| protection.is_missing());
    missing.inspect(|protection| eprintln!("skipped: {}", protection.remedy)).is_none()
}

async fn play(engine: &str, benchmark: &Path, run: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_fixfly"));
    command.args(["run", "python", "--policy", "oracle", "--sandbox", "docker", "--allow-weak"]);
    command.args(["--jobs", "1", "-v", "--benchmark-dir"]).arg(benchmark).arg("-o").arg(run);
    command.env("DOCKER_HOST", engine).env_remove("RUST_LOG");
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_engine_fails_the_sandbox_and_the_same_command_solves_all() {
    if !has_docker().await {
        return;
    }
    let failing = Arc::new(AtomicUsize::new(usize::MAX));
    let left = Arc::clone(&failing);
    let decide = move |request: &Request, _| {
        let makes = request.is("/containers/create");
        let one_less = |left: usize| left.checked_sub(1);
        match makes && left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less).is_ok() {
            true => Fate::Fails,
            false => Fate::Answered,
        }
    };
    let between = Between::new(true, Box::new(decide));
    let (benchmark, folder) = (crate::project::benchmark(0.0), tempfile::tempdir().unwrap());
    let run = folder.path().join("run");

    let down = play(&between.address(), benchmark.path(), &run).await;
    assert_eq!(down.status.code(), Some(1));
    let episodes = read_episodes(&run).unwrap();
    assert_eq!(episodes.len(), 3);
    for episode in &episodes {
        let End::Failed { at: Boundary::Sandbox, kind: FailureKind::Infrastructure, why } =
            &episode.end
        else {
            panic!("{:?}", episode.end)
        };
        assert!(why.contains("out of sorts"), "{why}");
    }

    // Down for one attempt, and up again for the next.
    failing.store(PATIENCE, Ordering::SeqCst);
    let up = play(&between.address(), benchmark.path(), &run).await;
    let stderr = String::from_utf8_lossy(&up.stderr);
    assert!(up.status.success(), "{stderr}");
    assert_eq!(stderr.matches("retrying the episode").count(), 1, "{stderr}");
    let episodes = read_episodes(&run).unwrap();
    let solved = episodes.iter().filter(|episode| episode.solved()).count();
    assert_eq!(solved, 3, "{episodes:?}");
}
