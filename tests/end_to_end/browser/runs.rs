//! Runs to look at, made from the recorded one.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use fixfly_runtime::{
    End, Episode, Limit, Outcome, RunDirectory, RunRecord, Statement, TestFailure, TestOutcome,
    TestReport, TestResult, read_episodes, read_run,
};
use tempfile::TempDir;

use crate::recorded::{fixture, restored};

/// Markup, a change of direction, and a sequence that writes to the clipboard of a terminal.
pub(crate) const HOSTILE: &str = "<script>window.attacked = 1</script>\
    <img src=x onerror='window.attacked = 1'>\u{202e}\u{1b}]52;c;eA==\u{7}";

pub(crate) fn record() -> RunRecord {
    read_run(&fixture("run")).unwrap()
}

/// Four episodes, all solved: `Cart.add` and `Cart.names` twice.
pub(crate) fn solved() -> Vec<Episode> {
    read_episodes(&fixture("run")).unwrap()
}

/// The episode with two turns that fail in this way.
pub(crate) fn unsolved(episode: &Episode, exception: &str, message: &str) -> Episode {
    let mut episode = episode.clone();
    let turn = &mut episode.turns[0];
    turn.action.text = format!("I think {message}");
    turn.action.reasoning = Some("idea: sibling, because it is near".into());
    turn.observation.outcome = Outcome::Failed;
    turn.observation.text = message.into();
    let failure = TestFailure {
        exception: exception.into(),
        message: message.into(),
        traceback: format!("Traceback (most recent call last):\n  File \"/src/a.py\"\n{message}"),
        output: message.into(),
    };
    let result = TestResult {
        id: "tests.test_cart.CartTests.test_add".into(),
        outcome: TestOutcome::Errored,
        failure: Some(failure),
    };
    turn.observation.tests = Some(TestReport { results: vec![result] });
    turn.feedback.message = message.into();
    episode.turns.push(episode.turns[0].clone());
    episode.end = End::BudgetSpent { limit: Limit::Turns };
    (episode.patch, episode.verdict) = (None, None);
    episode
}

pub(crate) fn write(run: &Path, episodes: &[Episode]) {
    let (mut run, _) = RunDirectory::open(run, &record()).unwrap();
    episodes.iter().for_each(|episode| run.append(episode).unwrap());
}

/// `first`, where all is solved, and `second`, where two of three are not.
pub(crate) fn two() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let episodes = solved();
    write(&folder.path().join("first"), &episodes);
    let second = [
        unsolved(&episodes[0], "TypeError", "one is not a number"),
        episodes[1].clone(),
        unsolved(&episodes[2], "ValueError", "there is no such value"),
    ];
    write(&folder.path().join("second"), &second);
    folder
}

/// The same, with a dataset and a training.
pub(crate) fn everything() -> TempDir {
    let folder = two();
    for name in ["taught", "student"] {
        let to = folder.path().join(name);
        restored(&fixture(name), &to, folder.path().to_str().unwrap());
    }
    folder
}

/// A run whose texts attack the page, with an observation of 5 MB.
pub(crate) fn hostile() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let long = format!("{HOSTILE}{}{HOSTILE}", "long ".repeat(1_000_000));
    let mut episode = unsolved(&solved()[0], HOSTILE, HOSTILE);
    episode.task.id = format!("shop/cart.py::{HOSTILE}");
    episode.policy = HOSTILE.into();
    episode.turns[1].observation.text = long;
    write(&folder.path().join("run"), &[episode]);
    folder
}

/// A run of this many small episodes. The lines are written without an index, as an
/// earlier version did: appending waits for the disk at each one.
pub(crate) fn many(count: usize) -> TempDir {
    const ID: &str = "shop/cart.py::Cart.N";
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let mut episode = solved().swap_remove(0);
    episode.task.id = ID.into();
    if let Statement::Method(method) = &mut episode.task.statement {
        method.content.clear();
    }
    episode.task.sandbox = Default::default();
    write(&run, &[]);
    let line = serde_json::to_string(&episode).unwrap();
    let (begin, end) = line.split_once(ID).unwrap();
    let mut lines = BufWriter::new(File::create(run.join("episodes.jsonl")).unwrap());
    for number in 0..count {
        writeln!(lines, "{begin}shop/cart.py::Cart.m{number}{end}").unwrap();
    }
    lines.flush().unwrap();
    folder
}
