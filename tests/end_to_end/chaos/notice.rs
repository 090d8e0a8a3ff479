//! SIGTERM some seconds before the kill, as Slurm and Kubernetes send it.

use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use super::chance::Chance;
use super::stage::{Kind, Stage};
use super::table::{row, times};
use crate::server::{Reply, words};

/// Sends a signal to a process, or to a process group.
pub(super) fn send(signal: &str, to: impl std::fmt::Display) {
    let sent = Command::new("kill").args([signal, "--", &to.to_string()]).status().unwrap();
    assert!(sent.success());
}

#[test]
fn after_sigterm_running_episodes_finish_and_the_same_command_goes_on() {
    let count = times(1);
    let mut chance = Chance::new();
    let mut stage = Stage::new(Kind::Paid, []);
    let undisturbed = stage.undisturbed();
    for number in 0..count {
        let run = format!("run-{number}");
        let mut child = stage.start(&run);
        let bytes = 1 + chance.below(40_000);
        assert!(stage.wait_for_growth(&mut child, &run, bytes), "{}", stage.printed(&run));
        // As Slurm does, to everything that was started.
        send("-TERM", format!("-{}", child.id()));
        let status = child.wait().unwrap();
        stage.count_lost(&run);
        let errors = stage.printed(&run);
        assert!(matches!(status.code(), Some(0 | 130)), "{status}: {errors}");
        assert_eq!(stage.linked.left(stage.folder()), 0, "before any sweep");
        stage.finish(&run, |_, errors| panic!("{errors}"));
        stage.compare(&run, &undisturbed);
    }
    row(11, "SIGTERM: what runs is finished", count, stage.end());
}

#[test]
fn what_cannot_finish_after_sigterm_is_left_open() {
    // The first answer takes longer than anything waits.
    let mut stage = Stage::new(Kind::Paid, [Reply::Late(3_600_000, words("late"))]);
    stage.variables.push(("FIXFLY_NOTICE".into(), "1".into()));
    let mut child = stage.start("run");
    while stage.asked() < 2 {
        assert!(child.try_wait().unwrap().is_none(), "{}", stage.printed("run"));
        sleep(Duration::from_millis(5));
    }
    send("-TERM", child.id());
    let status = child.wait().unwrap();
    stage.count_lost("run");
    let errors = stage.printed("run");
    assert_eq!(status.code(), Some(130), "{errors}");
    assert!(errors.contains("episodes left; run the same command again to resume"), "{errors}");
    assert_eq!(stage.linked.left(stage.folder()), 0, "before any sweep");
    stage.finish("run", |_, errors| panic!("{errors}"));
    let undisturbed = stage.undisturbed();
    stage.compare("run", &undisturbed);
    row(12, "SIGTERM: what cannot finish in time is left open", 1, stage.end());
}

#[cfg(feature = "train")]
#[test]
fn after_sigterm_a_training_saves_a_checkpoint_and_goes_on() {
    use std::path::Path;
    use std::process::Stdio;

    use super::table::Damage;
    use crate::command;
    use crate::training::here::{Stage, learned, wait};

    let stage = Stage::new();
    let (whole, parts) = (stage.path("whole"), stage.path("parts"));
    crate::printed(&stage.words("lora", &whole, "8"));
    let mut words = command(&stage.words("lora", &parts, "8"));
    let mut child = words.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    wait(&mut child, || Path::new(&parts).join("checkpoints/step-000003").is_dir());
    send("-TERM", child.id());
    let output = child.wait_with_output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(130), "{errors}");
    assert!(errors.contains("saved a checkpoint"), "{errors}");
    crate::printed(&stage.words("lora", &parts, "8"));
    let file = "adapter_model.safetensors";
    assert!(learned(&whole, file) == learned(&parts, file), "another student");
    row(13, "SIGTERM during a training", 1, Damage::default());
}
