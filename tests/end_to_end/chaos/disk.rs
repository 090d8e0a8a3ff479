//! A disk that is full, and has room again for the same command.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::stage::{Kind, Stage};
use super::table::{Damage, not_run, row};

/// Runs the command on a disk of so many bytes, and again after it has grown. The disk is
/// seen by the script alone, and gone with it; what is on it is copied after each time.
const SMALL_DISK: &str = r#"
disk=$1 kept=$2 size=$3; shift 3
mount -t tmpfs -o size="$size" none "$disk" || exit 77
started() { sh -c 'echo "pid $$"; exec "$@" >&2' sh "$@"; }
started "$@"; echo "first $?"
cp -a "$disk" "$kept-first"
mount -o remount,size=64m "$disk"
started "$@"; echo "then $?"
cp -a "$disk" "$kept"
"#;

/// What a command did on a disk that is full, and then on a larger one.
struct Done {
    /// What was on the disk, first and then.
    first: PathBuf,
    then: PathBuf,
    errors: String,
    pids: Vec<u32>,
}

/// `None` if this machine lets nobody but root make a disk. `command` gets the disk's path.
#[track_caller]
fn on_small_disk(folder: &Path, size: u64, command: impl Fn(&Path) -> Command) -> Option<Done> {
    let (disk, then) = (folder.join("disk"), folder.join("kept"));
    fs::create_dir(&disk).unwrap();
    let command = command(&disk);
    let variables = command.get_envs().filter_map(|(name, value)| Some((name, value?)));
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c", SMALL_DISK, "sh"])
        .args([&disk, &then])
        .arg(size.to_string())
        .arg(command.get_program())
        .args(command.get_args())
        .envs(variables)
        .output()
        .unwrap();
    let stdout = String::from_utf8(output.stdout).unwrap();
    if stdout.is_empty() {
        return None;
    }
    let errors = String::from_utf8(output.stderr).unwrap();
    let ends =
        |name: &str| stdout.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
    assert_eq!(ends("first ").as_deref(), Some("1"), "{errors}");
    assert_eq!(ends("then ").as_deref(), Some("0"), "{errors}");
    assert!(errors.contains("No space left on device"), "{errors}");
    assert!(!errors.contains("panicked"), "{errors}");
    let pids = stdout.lines().filter_map(|line| line.strip_prefix("pid ")?.parse().ok());
    let first = folder.join("kept-first");
    Some(Done { first, then, errors, pids: pids.collect() })
}

const NOT_ROOT: &str = "only root may make a disk";

#[test]
fn a_full_disk_stops_a_run_and_room_continues_it() {
    let fault = "disk full during an episode";
    let mut stage = Stage::new(Kind::Oracle, []);
    let undisturbed = stage.undisturbed();
    let run = |disk: &Path| {
        let run = disk.strip_prefix(stage.folder()).unwrap().join("run");
        stage.command(run.to_str().unwrap())
    };
    let Some(done) = on_small_disk(stage.folder(), 16 << 10, run) else {
        return not_run(5, fault, NOT_ROOT);
    };
    assert!(
        done.errors.contains("episodes.jsonl: No space left on device (os error 28); free some")
    );
    assert!(done.errors.contains("resuming after"), "{}", done.errors);
    stage.linked.pids.extend(done.pids);
    stage.count_lost_between(&done.first.join("run"), &done.then.join("run"));
    stage.compare("kept/run", &undisturbed);
    row(5, fault, 1, stage.sweep());
}

#[test]
fn a_full_disk_of_the_journal_stops_a_run_and_nothing_is_paid_twice() {
    let fault = "disk full during a write to the journal";
    let mut stage = Stage::new(Kind::Paid, []);
    let undisturbed = stage.undisturbed();
    // What the second try finds.
    stage.till.open(&stage.path("kept-first"));
    let run = |disk: &Path| {
        let mut command = stage.command("run");
        command.arg("--cache").arg(disk);
        command
    };
    let Some(done) = on_small_disk(stage.folder(), 32 << 10, run) else {
        return not_run(6, fault, NOT_ROOT);
    };
    assert!(done.errors.contains("calls.jsonl: No space left on device"), "{}", done.errors);
    assert!(done.first.join("calls.jsonl").exists());
    stage.linked.pids.extend(done.pids);
    stage.compare("run", &undisturbed);
    row(6, fault, 1, stage.sweep());
}

#[cfg(feature = "train")]
#[test]
fn a_full_disk_during_a_checkpoint_costs_that_checkpoint() {
    use crate::command;
    use crate::training::here::{Stage, learned};

    let fault = "disk full during a checkpoint of a training";
    let stage = Stage::new();
    let whole = stage.path("whole");
    crate::printed(&stage.words("lora", &whole, "8"));
    let folder = Path::new(&whole).parent().unwrap();
    let train = |disk: &Path| {
        let output = disk.join("student");
        command(&stage.words("lora", output.to_str().unwrap(), "8"))
    };
    let size = bytes(Path::new(&whole)) / 2;
    let Some(done) = on_small_disk(folder, size, train) else {
        return not_run(7, fault, NOT_ROOT);
    };
    let file = "adapter_model.safetensors";
    let student = done.then.join("student");
    assert!(learned(&whole, file) == learned(student.to_str().unwrap(), file), "another student");
    row(7, fault, 1, Damage::default());
}

/// Bytes of all files of a folder.
#[cfg(feature = "train")]
fn bytes(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).unwrap().flatten();
    let sizes = entries.map(|entry| match entry.file_type().unwrap().is_dir() {
        true => bytes(&entry.path()),
        false => entry.metadata().unwrap().len(),
    });
    sizes.sum()
}

#[test]
fn a_full_disk_during_a_merge_of_runs_costs_the_merge_only() {
    let fault = "disk full during a merge of runs";
    let mut stage = Stage::new(Kind::Oracle, []);
    let undisturbed = stage.undisturbed();
    let merge = |disk: &Path| {
        let mut command = Command::new(&stage.linked.path);
        command.arg("merge-runs").arg(stage.path("undisturbed")).arg("-o").arg(disk.join("run"));
        command
    };
    let Some(done) = on_small_disk(stage.folder(), 16 << 10, merge) else {
        return not_run(8, fault, NOT_ROOT);
    };
    stage.linked.pids.extend(done.pids);
    stage.compare("kept/run", &undisturbed);
    row(8, fault, 1, stage.sweep());
}
