//! `fixfly cluster` with programs that stand for Slurm's and validate what they are given.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::architecture::root;
use crate::command;
use crate::project::benchmark;
use crate::runs::ended_well;
use crate::shards::timeless;

/// A benchmark, a file of stages, and a Slurm.
struct Lab {
    bench: TempDir,
    folder: TempDir,
}

impl Lab {
    fn new() -> Lab {
        let lab = Lab { bench: benchmark(0.0), folder: tempfile::tempdir().unwrap() };
        let programs = lab.path("bin");
        fs::create_dir_all(lab.path("slurm/queue")).unwrap();
        fs::create_dir(&programs).unwrap();
        let stand_in = programs.join("slurm");
        fs::write(&stand_in, include_str!("cluster/slurm")).unwrap();
        fs::set_permissions(&stand_in, fs::Permissions::from_mode(0o755)).unwrap();
        for name in ["sbatch", "squeue", "scontrol", "sacct", "scancel"] {
            symlink(&stand_in, programs.join(name)).unwrap();
        }
        lab
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes the file of the stages.
    fn file(&self, stages: &str) -> &Lab {
        let text = format!("[cluster]\npartition = 'main'\n{stages}");
        let bench = self.bench.path().display().to_string();
        fs::write(self.path("cluster.toml"), text.replace("BENCH", &bench)).unwrap();
        self
    }

    fn fixfly(&self, words: &[&str]) -> Command {
        let mut command = command(words);
        let path = std::env::var("PATH").unwrap();
        command
            .current_dir(self.folder.path())
            .env("PATH", format!("{}:{path}", self.path("bin").display()))
            .env("SLURM_STAND_IN", self.path("slurm"));
        command
    }

    fn submit(&self) -> Output {
        self.fixfly(&["cluster", "submit", "cluster.toml", "-o", "out"]).output().unwrap()
    }

    fn status(&self, more: &[&str]) -> Output {
        self.fixfly(&[&["cluster", "status", "out"], more].concat()).output().unwrap()
    }

    /// The calls of sbatch: name, array and dependency.
    fn submitted(&self) -> Vec<String> {
        let text = fs::read_to_string(self.path("slurm/submitted")).unwrap_or_default();
        let id = self.id();
        text.lines().map(|line| line.replace(&id, "ID").trim_end().to_string()).collect()
    }

    /// The part of the jobs' names that depends on the folder.
    fn id(&self) -> String {
        let plan = fs::read(self.path("out/cluster/plan.json")).unwrap();
        let plan: serde_json::Value = serde_json::from_slice(&plan).unwrap();
        plan["id"].as_str().unwrap().to_string()
    }
}

const STAGES: &str = "\
[[stages]]
name = 'record'
command = ['run', 'python', '--benchmark-dir', 'BENCH', '--policy', 'oracle']
shards = 3
[[stages]]
name = 'report'
command = ['report', '{record}', '--html', '{output}.html']
";

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_shard_whose_node_fails_is_submitted_again_and_the_run_is_that_of_one_machine() {
    let lab = Lab::new();
    let output = lab.file(STAGES).submit();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let first =
        ["fixfly-record-ID-1 1-3", "fixfly-record.merge-ID-1  101", "fixfly-report-ID-1  102"];
    assert_eq!(lab.submitted(), first);
    // Nothing is submitted twice.
    fs::write(lab.path("slurm/lose"), format!("fixfly-record-{}-1 2\n", lab.id())).unwrap();
    let output = lab.status(&["--no-resubmit"]);
    let shown = text(&output.stdout);
    assert!(!output.status.success());
    assert!(
        shown.lines().any(|line| line.contains("record")
            && line.contains("1,3")
            && line.contains("done")
            && line.contains("2/2")),
        "{shown}"
    );
    assert!(shown.contains("the node failed"), "{shown}");
    assert_eq!(lab.submitted(), first);

    let output = lab.status(&["--watch", "--every", "1"]);
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    let again =
        ["fixfly-record-ID-2 2", "fixfly-record.merge-ID-2  104", "fixfly-report-ID-2  105"];
    assert_eq!(lab.submitted(), [first, again].concat());
    let output = lab.submit();
    assert!(text(&output.stderr).contains("nothing to submit"), "{}", text(&output.stderr));
    assert_eq!(lab.submitted().len(), 6);

    assert!(lab.path("out/report.html").is_file());
    let bench = lab.bench.path().display().to_string();
    let words = ["run", "python", "--benchmark-dir", &bench, "--policy", "oracle", "-o", "alone"];
    ended_well(lab.fixfly(&words));
    let alone = timeless(&lab.path("alone"));
    assert_eq!(alone.len(), 3);
    assert_eq!(timeless(&lab.path("out/record")), alone);
}

#[test]
fn a_stage_that_fails_is_shown_with_the_last_line_of_its_log_and_submitted_again_on_request() {
    let lab = Lab::new();
    let stages = STAGES.replace("BENCH", "/nonexistent/\u{1b}[31mbench").replace("shards = 3", "");
    let output = lab.file(&stages.replace('\u{1b}', "\\u001b").replace('\'', "\"")).submit();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let output = lab.status(&[]);
    let (shown, why) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(1));
    assert!(shown.contains("failed") && shown.contains("exit code"), "{shown}");
    assert!(!shown.contains('\u{1b}') && !why.contains('\u{1b}'), "{shown}{why}");
    assert!(
        why.contains("record stopped:") && why.contains("submit the file again to continue"),
        "{why}"
    );
    assert_eq!(lab.submitted().len(), 2, "a failed stage stays");
    // What waited for it is replaced, too.
    lab.submit();
    let again = lab.submitted();
    assert_eq!(again[2..], ["fixfly-record-ID-2", "fixfly-report-ID-2  103"]);
    // A command that failed can be corrected.
    lab.status(&["--no-resubmit"]);
    lab.file(&STAGES.replace("shards = 3", ""));
    let output = lab.submit();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let output = lab.status(&[]);
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    assert!(lab.path("out/report.html").is_file());
}

#[test]
fn a_dry_run_prints_the_plan_and_needs_no_slurm() {
    let lab = Lab::new();
    lab.file(STAGES);
    let words = ["cluster", "submit", "cluster.toml", "-o", "out", "--dry-run"];
    let mut command = lab.fixfly(&words);
    let output = command.env("SLURM_STAND_IN", "/nonexistent").output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let shown = text(&output.stdout).replace(&lab.folder.path().display().to_string(), "FOLDER");
    let shown = shown.replace(&lab.bench.path().display().to_string(), "BENCH");
    insta::assert_snapshot!(shown);
    let script = fs::read_to_string(lab.path("out/cluster/scripts/record.sbatch")).unwrap();
    assert!(script.contains("#SBATCH --signal=B:TERM@120\n"), "{script}");
}

#[test]
fn mistakes_are_found_before_anything_is_submitted() {
    let lab = Lab::new();
    let refused = |file: &str, expected: &str| {
        let output = lab.file(file).submit();
        let why = text(&output.stderr);
        assert!(!output.status.success() && why.contains(expected), "{why}");
        assert!(!lab.path("slurm/submitted").exists(), "{why}");
        (output.status.code(), why.lines().last().unwrap_or_default().to_string())
    };
    let sentence = "error: cluster.toml: line 5: the command of a: unexpected argument '--turnz' found; a similar argument exists: '--turns'; see --help";
    let file = "[[stages]]\nname = 'a'\ncommand = ['run', 'python', '--turnz', '3']\n";
    assert_eq!(refused(file, sentence), (Some(2), sentence.to_string()));
    let file = "setup = ['if']\n[[stages]]\nname = 'a'\ncommand = ['run', 'python']\n";
    refused(file, "correct the lines of `setup`");
    let output = lab.status(&[]);
    assert!(!output.status.success());
    fs::remove_dir_all(lab.path("out")).unwrap();
    let output = lab.status(&[]);
    assert!(text(&output.stderr).contains("has no cluster/plan.json; name a folder that"));
    // Slurm's own reason is shown.
    let file = "[[stages]]\nname = 'a'\ncommand = ['run', 'python']\npartition = 'gpu'\n";
    refused(file, "a.sbatch: sbatch: error: invalid partition specified");
    // A stage that was submitted keeps its command.
    lab.file(STAGES).submit();
    lab.file(&STAGES.replace("oracle", "null"));
    let output = lab.submit();
    assert!(
        text(&output.stderr).contains("the command of the stage record differs"),
        "{}",
        text(&output.stderr)
    );
}

#[test]
fn the_example_of_the_documentation_is_a_plan() {
    let folder = tempfile::tempdir().unwrap();
    let file = root().join("docs/examples/cluster.toml");
    let output = folder.path().join("out");
    let words = ["cluster", "submit", file.to_str().unwrap(), "-o", output.to_str().unwrap()];
    let shown = ended_well(command(&[&words[..], &["--dry-run"]].concat()));
    for stage in ["record", "record.merge", "dataset", "student", "evaluate", "evaluate.merge"] {
        assert!(shown.lines().any(|line| line.trim_start().starts_with(stage)), "{shown}");
    }
}
