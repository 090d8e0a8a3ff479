//! Work that goes to other agents' readers and comes back is the same work.

use std::fs;
use std::path::Path;

use fixfly_runtime::{Episode, read_episodes, read_run};
use serde_json::{Value, json};

use crate::command;
use crate::issues::Bench;
use crate::runs::ended_well;

/// What was done, what came of it, and the patch.
fn deeds(episodes: &[Episode]) -> Vec<Value> {
    let of = |episode: &Episode| {
        let turns = episode.turns.iter();
        let turns: Vec<_> =
            turns.map(|turn| json!([turn.action.call, turn.observation.text])).collect();
        json!([episode.task.id, turns, episode.patch])
    };
    episodes.iter().map(of).collect()
}

fn held(file: &Path) -> Value {
    serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap()
}

#[test]
fn a_run_goes_out_comes_back_and_is_played_again() {
    let bench = Bench::new();
    let ours =
        bench.run("ours", &["--policy", "oracle", "--tools", "bash-only", "--filter", "slug"]);
    assert!(ours.len() == 1 && ours[0].solved());
    let path = |name: &str| bench.path(name).display().to_string();
    let out = |format: &str, to: &str| {
        let words = ["trajectory", "export", &path("ours"), "--format", format, "-o", &path(to)];
        ended_well(command(&words));
    };
    out("traj", "traj");
    out("atif", "atif");
    out("preds", "preds");
    let atif = held(&bench.path("atif/acme__slug-1/trajectory.json"));
    assert_eq!(atif["schema_version"], "ATIF-v1.8");
    assert_eq!(atif["steps"].as_array().unwrap().len(), 2 + ours[0].turns.len());
    let preds = held(&bench.path("preds/preds.json"));
    assert_eq!(preds, held(&bench.path("traj/preds.json")));

    let table = path("issues.jsonl");
    let import = |from: &str, to: &str| {
        let from = path(from);
        let to = path(to);
        command(&["trajectory", "import", &from, "--instances", &table, "-o", &to])
    };
    ended_well(import("traj", "theirs"));
    let theirs = read_episodes(&bench.path("theirs")).unwrap();
    assert_eq!(deeds(&theirs), deeds(&ours));
    assert!(theirs[0].unjudged() && theirs[0].policy == "SWE-agent");
    assert_eq!(theirs[0].task.statement.issue().unwrap().repo, "acme/slug");
    assert!(read_run(&bench.path("theirs")).unwrap().config.contains_key("imported"));
    let graded = held(&bench.path("theirs/preds.json"));
    assert_eq!(graded["acme__slug-1"]["model_patch"], preds["acme__slug-1"]["model_patch"]);

    let (from, to) = (path("atif"), path("back"));
    ended_well(command(&["trajectory", "import", &from, "--format", "atif", "-o", &to]));
    let back = read_episodes(&bench.path("back")).unwrap();
    assert_eq!((deeds(&back), &back[0].policy), (deeds(&ours), &ours[0].policy));
    assert_eq!(back[0].task.statement, ours[0].task.statement);
    assert!(back[0].unjudged());
    let (traj, to) = (["--format", "traj", "-o"], path("no"));
    let words = [&["trajectory", "import", &from][..], &traj[..], &[&to]].concat();
    let output = command(&words).output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && stderr.contains("its format is ATIF"), "{stderr}");

    let stdout = ended_well(command(&["report", &path("theirs")]));
    assert!(stdout.contains("1 with an ungraded patch, excluded from the solve rates"), "{stdout}");
    let theirs = path("theirs");
    let again = bench.run(
        "again",
        &["--policy", "replay", "--replay", &theirs, "--tools", "bash-only", "--filter", "slug"],
    );
    assert!(again[0].solved(), "{:#?}", again[0].turns);

    fs::write(bench.path("traj/broken.traj"), "{").unwrap();
    let output = import("traj", "some").output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && stderr.contains("broken.traj: it is not JSON"), "{stderr}");
    assert!(stderr.contains("1 of 2 files could not be read"), "{stderr}");
    assert_eq!(read_episodes(&bench.path("some")).unwrap().len(), 1);
}
