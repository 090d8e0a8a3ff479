//! Two processes on one run directory.

use std::fs;
use std::process::{Output, Stdio};

use super::stage::{Kind, Stage};
use super::table::{row, times};

#[test]
fn the_second_process_of_a_run_is_refused_and_names_the_first() {
    let count = times(1);
    let mut stage = Stage::new(Kind::Paid, []);
    let undisturbed = stage.undisturbed();
    for number in 0..count {
        let run = format!("run-{number}");
        let mut first = stage.start(&run);
        assert!(stage.wait_for_growth(&mut first, &run, 1), "{}", stage.printed(&run));
        // It cannot end before the second has asked.
        let stop = |signal: &str| super::notice::send(&format!("-{signal}"), first.id());
        stop("STOP");
        let second = stage.command(&run).stdout(Stdio::null()).output().unwrap();
        stop("CONT");
        let Output { status, stderr, .. } = second;
        let stderr = String::from_utf8(stderr).unwrap();
        let host = fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
        let expected = format!(
            "is in use by another fixfly process (pid {} on {}); wait until it ends or name \
             another folder",
            first.id(),
            host.trim()
        );
        assert!(status.code() == Some(1) && stderr.contains(&expected), "{status}: {stderr}");
        assert!(first.wait().unwrap().success(), "{}", stage.printed(&run));
        stage.count_lost(&run);
        stage.compare(&run, &undisturbed);
    }
    row(9, "a second process on the run directory", count, stage.sweep());
}

#[test]
fn of_two_processes_that_start_together_one_runs() {
    let mut stage = Stage::new(Kind::Paid, []);
    let undisturbed = stage.undisturbed();
    let mut both = [stage.start("run"), stage.start("run")];
    let ended = both.each_mut().map(|child| child.wait().unwrap());
    let errors = stage.printed("run");
    assert!(ended.iter().any(|status| status.success()), "{errors}");
    // A refusal, or a continuation after the other had ended.
    assert!(ended.iter().all(|status| matches!(status.code(), Some(0 | 1))), "{errors}");
    stage.finish("run", |_, errors| panic!("{errors}"));
    stage.compare("run", &undisturbed);
    row(10, "two processes that start together", 1, stage.sweep());
}

#[cfg(feature = "train")]
#[test]
fn the_second_process_of_a_training_is_refused_and_names_the_first() {
    use std::path::Path;

    use super::notice::send;
    use super::table::Damage;
    use crate::training::here::{Stage, learned, wait};

    let stage = Stage::new();
    let (whole, student) = (stage.path("whole"), stage.path("student"));
    crate::printed(&stage.words("lora", &whole, "8"));
    let words = stage.words("lora", &student, "8");
    let mut first =
        crate::command(&words).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait(&mut first, || Path::new(&student).join("checkpoints/step-000003").is_dir());
    send("-STOP", first.id());
    let Output { status, stderr, .. } = crate::fixfly(&words);
    send("-CONT", first.id());
    let stderr = String::from_utf8(stderr).unwrap();
    let expected = format!("student is in use by another fixfly process (pid {} on ", first.id());
    assert!(status.code() == Some(1) && stderr.contains(&expected), "{status}: {stderr}");
    assert!(first.wait().unwrap().success());
    let file = "adapter_model.safetensors";
    assert!(learned(&whole, file) == learned(&student, file), "another student");
    row(15, "a second process on the folder of a training", 1, Damage::default());
}
