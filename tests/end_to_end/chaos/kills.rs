//! `kill -9` at random instants.

use std::process::Child;
use std::thread::sleep;
use std::time::Duration;

use super::chance::Chance;
use super::stage::{Kind, Stage};
use super::table::{long, row};

/// Kills in the short form.
const FEW: usize = 6;

/// Waits until a random instant: in one of five times of its start, else after a random
/// number of bytes of its episodes and journal. Returns whether the process still runs.
fn random_instant(chance: &mut Chance, stage: &Stage, child: &mut Child, run: &str) -> bool {
    if chance.below(5) == 0 {
        sleep(Duration::from_millis(chance.below(1000)));
    } else {
        let bytes = chance.below(40_000);
        stage.wait_for_growth(child, run, bytes);
        sleep(Duration::from_millis(chance.below(60)));
    }
    child.try_wait().unwrap().is_none()
}

/// Kills the process of one run after the other, each until it is complete.
pub(super) fn kill(stage: &mut Stage, times: usize) {
    let mut chance = Chance::new();
    let undisturbed = stage.undisturbed();
    let (mut killed, mut number) = (0, 0);
    while killed < times {
        let run = format!("killed-{number}");
        let mut child = stage.start(&run);
        if random_instant(&mut chance, stage, &mut child, &run) {
            child.kill().unwrap();
            killed += 1;
        }
        let status = child.wait().unwrap();
        stage.count_lost(&run);
        let errors = || stage.printed(&run);
        assert!(status.success() || status.code().is_none(), "{status}: {}", errors());
        if status.success() {
            stage.compare(&run, &undisturbed);
            number += 1;
        }
    }
    let run = format!("killed-{number}");
    stage.finish(&run, |_, errors| panic!("{errors}"));
    stage.compare(&run, &undisturbed);
}

#[test]
fn a_killed_run_with_paid_calls_goes_on_and_pays_once() {
    let mut stage = Stage::new(Kind::Paid, []);
    let times = long().unwrap_or(FEW);
    kill(&mut stage, times);
    row(1, "`kill -9` of a run with paid calls, at a random instant", times, stage.sweep());
}

#[test]
fn a_killed_run_of_ground_truth_goes_on() {
    let mut stage = Stage::new(Kind::Oracle, []);
    let times = long().map_or(2, |times| times.div_ceil(2));
    kill(&mut stage, times);
    row(2, "`kill -9` of a run of `oracle`", times, stage.sweep());
}
