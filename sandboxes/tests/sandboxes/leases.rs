//! What could outlive fixfly bears the name of the run that it was made for.

use std::path::Path;

use crate::common::*;
use fixfly_runtime::{Host, find};
use fixfly_sandboxes::{ALL, HostOptions};

/// Control groups below a folder whose names end so.
fn groups(folder: &Path, end: &str) -> usize {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let count = |entry: std::fs::DirEntry| {
        let is_one = entry.file_name().to_string_lossy().ends_with(end);
        usize::from(is_one) + groups(&entry.path(), end)
    };
    folders.map(count).sum()
}

#[tokio::test]
async fn two_local_hosts_of_one_process_name_their_groups_after_their_own_runs() {
    let runs = ["one", "two"].map(|name| format!("runs/{name}{}", std::process::id()));
    let entry = find("sandbox", ALL, "local").unwrap();
    let hosts = runs
        .clone()
        .map(|run| (entry.open)(&HostOptions { run, ..HostOptions::default() }).unwrap());
    if !hosts[0].isolation().contains("cgroup v") {
        eprintln!("skipped: {}", hosts[0].isolation());
        return;
    }
    for (host, run) in hosts.iter().zip(&runs) {
        let found = |run: &String| groups(Path::new("/sys/fs/cgroup"), &run.replace('/', "_"));
        match host.open(&spec()).await {
            Ok(sandbox) => {
                assert!(found(run) > 0, "{run}");
                let others = runs.iter().filter(|other| *other != run).map(found);
                assert_eq!(others.sum::<usize>(), 0, "{run}");
                sandbox.close().await.unwrap();
            }
            Err(why) => assert!(beyond(&why), "{why}"),
        }
    }
}

#[cfg(feature = "docker")]
#[tokio::test]
async fn two_engines_of_one_process_label_their_containers_with_their_own_runs() {
    use crate::common::between::{Between, Fate};
    use fixfly_sandboxes::docker::Patience;

    let between = Between::new(false, Box::new(|_, _| Fate::Answered));
    let engines = ["runs/one", "runs/two"]
        .map(|run| between.engine(Patience { tries: 1, ..Patience::default() }).for_run(run));
    for engine in &engines {
        // The scripted engine makes no container; it keeps what it was asked for.
        assert!(engine.open(&spec()).await.is_err());
    }
    let labels = between.asked("/containers/create").into_iter().map(|request| {
        let body: serde_json::Value = serde_json::from_slice(&request.body).unwrap();
        body["Labels"]["dev.fixfly.run"].as_str().unwrap().to_owned()
    });
    assert_eq!(labels.collect::<Vec<_>>(), ["runs/one", "runs/two"]);
}
