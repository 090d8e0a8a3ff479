//! Files, plans, scripts, and what Slurm 22.05 printed on two nodes of one machine.

mod mistakes;

use std::path::{Path, PathBuf};
use std::process::Command;

use proptest::prelude::*;

use super::job::{JobFile, end_job};
use super::rows::{planned_rows, rows_of};
use super::slurm::{Ended, QueuedJob, SlurmState, read_sacct, read_squeue};
use super::state::{Part, PartState, state_of};
use super::steps::{Step, steps};
use super::*;

/// Stages of every kind.
const FILE: &str = r#"
[cluster]
partition = "cpu"
account = "lab"
time = "04:00:00"
cpus = 8
memory = "16G"
setup = ["module load python"]
environment = { HF_HOME = "/scratch/my cache" }

[merge]
time = "00:10:00"

[[stages]]
name = "record"
command = ["run", "django", "--policy", "retrieval", "--task-id", "django/utils/*"]
shards = 8
max-running = 4
requeue = true

[[stages]]
name = "dataset"
command = ["dataset", "build", "--recipe", "repairs", "{record}"]

[[stages]]
name = "student"
command = ["train", "llamafactory", "--base", "models/Q", "--dataset", "{dataset}"]
partition = "gpu"
gpus = "a100:4"
nodes = 2
apptainer = "factory.sif"

[[stages]]
name = "evaluate"
command = ["run", "django", "--policy", "llama", "--model", "{student}.gguf"]
gpus = 1
pyxis = "lab/fixfly:1"
mounts = ["/scratch"]
output = "results/evaluate"
sbatch = ["--exclude=node7"]
grace = 300

[[stages]]
name = "report"
command = ["report", "{evaluate}", "--html", "{output}.html"]
after = ["record"]
"#;

fn read(text: &str) -> Result<ClusterFile, String> {
    ClusterFile::read(text, "x.toml", "/data/x.toml".into()).map_err(|why| why.to_string())
}

fn plan_of(text: &str) -> Result<Plan, String> {
    let (output, directory) = (Path::new("/data/runs/big"), Path::new("/data"));
    let plan = Plan::new(&read(text)?, output, directory, "/opt/fixfly");
    plan.map_err(|why| why.to_string())
}

fn plan() -> Plan {
    plan_of(FILE).unwrap()
}

#[test]
fn each_stage_is_a_job_and_shards_are_an_array_and_a_merge() {
    let rows = planned_rows(&plan());
    let lines: Vec<String> = rows.iter().map(|row| row.join(" | ")).collect();
    insta::assert_snapshot!(lines.join("\n"));
}

#[test]
fn the_scripts_state_everything_that_the_file_does() {
    let scripts = plan().scripts();
    let shown = scripts.iter().map(|script| format!("{}\n{}", script.path.display(), script.text));
    insta::assert_snapshot!(shown.collect::<Vec<_>>().join("\n"));
}

#[test]
fn bash_reads_the_scripts() {
    let folder = tempfile::tempdir().unwrap();
    for script in plan().scripts() {
        let file = folder.path().join("x.sbatch");
        std::fs::write(&file, &script.text).unwrap();
        let checked = Command::new("bash").arg("-n").arg(&file).output().unwrap();
        assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
        // The header ends where the first command begins, and so does what sbatch reads.
        let header = script.text.lines().skip(2).take_while(|line| line.starts_with("#SBATCH "));
        assert!(header.count() >= 8, "{}", script.text);
    }
}

#[test]
fn short_forms_are_stages() {
    let text = "run = ['django', '--policy', 'null']\nshards = 2\nsweep = 'x.toml'\ntrain = ['lora', '--base', 'b']\n";
    let stages = read(text).unwrap().stages;
    let shown: Vec<_> =
        stages.iter().map(|stage| (&*stage.name, stage.command.join(" "), stage.shards)).collect();
    assert_eq!(
        shown,
        [
            ("run", "run django --policy null".to_string(), 2),
            ("sweep", "sweep x.toml".to_string(), 1),
            ("train", "train lora --base b".to_string(), 1)
        ]
    );
}

#[test]
fn a_stage_has_its_own_options_and_else_those_of_all() {
    let text = "[cluster]\ncpus = 8\ngpus = 2\nsetup = ['a']\napptainer = 'x.sif'\nenvironment = { A = '1', B = '1' }\n\
                [[stages]]\nname = 'a'\ncommand = ['run', 'django']\ngpus = 0\npyxis = 'y'\nenvironment = { B = '2' }\n";
    let options = read(text).unwrap().stages.remove(0).options;
    assert_eq!((options.cpus, options.gpus()), (Some(8), None));
    assert_eq!((options.apptainer.as_deref(), options.pyxis()), (None, Some("y")));
    assert_eq!(options.setup, ["a"]);
    let environment: Vec<_> = options.environment.into_iter().collect();
    assert_eq!(environment, [("A".into(), "1".into()), ("B".into(), "2".into())]);
}

#[test]
fn a_folder_that_sbatch_would_misread_is_refused() {
    let file = read("run = ['django']").unwrap();
    let plan = |folder: &str| Plan::new(&file, Path::new(folder), Path::new("/"), "fixfly");
    assert!(plan("/data/50%").unwrap_err().to_string().starts_with("the path /data/50% has"));
    assert!(plan("/data/my runs").is_ok());
}

/// squeue of Slurm 22.05.8: a node was killed (12_2), a process (12_1), a job was preempted (16),
/// stopped before its limit (8), stopped by its limit (13), cancelled (9); and others wait.
const SQUEUE: &str = include_str!("tests/squeue.txt");
/// sacct of the same Slurm with slurmdbd.
const SACCT: &str = include_str!("tests/sacct.txt");

#[test]
fn what_squeue_prints_is_read() {
    let queue = read_squeue(SQUEUE).unwrap();
    let mut ids: Vec<&String> = queue.keys().collect();
    ids.sort();
    let lines = ids.iter().map(|id| {
        let job = &queue[*id];
        let state = state_of(None, Some(job));
        format!("{id}: {:?} {:?} -> {state:?}", job.state, job.ended)
    });
    insta::assert_snapshot!(lines.collect::<Vec<_>>().join("\n"));
    // Others' jobs do not have our names.
    assert!(read_squeue("1|RUNNING|0|None|n|interactive\n").unwrap().is_empty());
    let why = read_squeue("JOBID STATE\n").unwrap_err().to_string();
    assert_eq!(
        why,
        "cannot read what squeue prints: `JOBID STATE`; fixfly needs Slurm 20.11 or later"
    );
}

#[test]
fn what_sacct_prints_is_read() {
    let queue = read_sacct(SACCT);
    let mut ids: Vec<&String> = queue.keys().collect();
    ids.sort();
    let lines = ids.iter().map(|id| format!("{id}: {:?} {:?}", queue[*id].state, queue[*id].ended));
    insta::assert_snapshot!(lines.collect::<Vec<_>>().join("\n"));
}

#[test]
fn the_exit_code_decides_and_slurm_explains() {
    let job = |state: SlurmState, ended: Ended| {
        let (reason, nodes, name) = Default::default();
        QueuedJob { state, ended, reason, nodes, name }
    };
    let failed = |why: &str| PartState::Failed(why.into());
    for (exit, queued, expected) in [
        (Some(0), None, PartState::Done),
        // A node may fail after the command ended.
        (Some(0), Some(job(SlurmState::NodeFail, Ended::Code(0))), PartState::Done),
        (None, Some(job(SlurmState::Completed, Ended::Code(0))), PartState::Done),
        (Some(130), None, PartState::Lost(Loss::Interrupted)),
        (
            Some(130),
            Some(job(SlurmState::Preempted, Ended::Code(130))),
            PartState::Lost(Loss::Preempted),
        ),
        (Some(130), Some(job(SlurmState::Cancelled, Ended::Code(130))), PartState::Cancelled),
        // Slurm starts it again by itself.
        (
            Some(130),
            Some(job(SlurmState::Pending, Ended::Code(0))),
            PartState::Pending(String::new()),
        ),
        (Some(1), Some(job(SlurmState::Failed, Ended::Code(1))), failed("exit code 1")),
        (Some(1), None, failed("exit code 1")),
        (None, Some(job(SlurmState::Failed, Ended::Code(127))), failed("exit code 127")),
        (None, Some(job(SlurmState::Failed, Ended::Signal(9))), PartState::Lost(Loss::Killed(9))),
        (None, Some(job(SlurmState::Failed, Ended::Code(137))), PartState::Lost(Loss::Killed(9))),
        (
            None,
            Some(job(SlurmState::OutOfMemory, Ended::Code(0))),
            failed("out of memory; raise `memory`"),
        ),
        (
            None,
            Some(job(SlurmState::Other("NEW".into()), Ended::Code(0))),
            PartState::Unknown("NEW".into()),
        ),
        (None, None, PartState::Lost(Loss::NoRecord)),
    ] {
        assert_eq!(state_of(exit, queued.as_ref()), expected, "{exit:?} {queued:?}");
    }
}

/// record (2 shards), its merge, dataset.
fn small() -> Plan {
    plan_of(
        "[[stages]]\nname = 'record'\ncommand = ['run', 'django']\nshards = 2\nresubmit = 1\n\
         [[stages]]\nname = 'dataset'\ncommand = ['dataset', 'build', '{record}']\n",
    )
    .unwrap()
}

fn part(number: u32, state: PartState, lost: u32) -> Part {
    let queued = matches!(state, PartState::Pending(_) | PartState::Running(_));
    Part { number, state, id: Some(format!("7_{number}")), queued, lost }
}

/// Each step as `JOB PARTS [lost PARTS] [cancel IDS]`.
#[track_caller]
fn stepped(states: [PartState; 4], lost: u32, retry: Retry, expected: &[&str]) {
    let plan = small();
    let [one, two, merge, dataset] = states;
    let parts = [
        vec![part(1, one, lost), part(2, two, lost)],
        vec![part(1, merge, 0)],
        vec![part(1, dataset, 0)],
    ];
    let shown = |step: Step| {
        let mut line = format!("{} {:?}", plan.jobs[step.job].name, step.parts);
        if !step.lost.is_empty() {
            line += &format!(" lost {:?}", step.lost);
        }
        if !step.cancel.is_empty() {
            line += &format!(" cancel {}", step.cancel.join(" "));
        }
        line
    };
    let found: Vec<String> = steps(&plan, &parts, retry).into_iter().map(shown).collect();
    assert_eq!(found, expected);
}

#[test]
fn what_is_queued_running_or_done_is_not_submitted() {
    use PartState::{Cancelled, Done, Failed, Lost, New, Running, Unknown};
    let pending = || PartState::Pending(String::new());
    let running = || Running(String::new());
    let all = ["record [1, 2]", "record.merge [1]", "dataset [1]"];
    stepped([New, New, New, New], 0, Retry::Lost, &all);
    stepped([running(), Done, pending(), pending()], 0, Retry::All, &[]);
    stepped([Unknown("X".into()), Done, pending(), pending()], 0, Retry::All, &[]);
    // What waits for a lost part waits for its successor.
    let again = ["record [2] lost [2]", "record.merge [1] cancel 7_1", "dataset [1] cancel 7_1"];
    stepped([Done, Lost(Loss::Node), pending(), pending()], 0, Retry::Lost, &again);
    // It was lost as often as the file allows.
    stepped([Done, Lost(Loss::Node), pending(), pending()], 1, Retry::Lost, &[]);
    stepped([Done, Lost(Loss::Node), pending(), pending()], 1, Retry::All, &again);
    let blocked = || Lost(Loss::Blocked);
    stepped(
        [Done, Done, blocked(), blocked()],
        0,
        Retry::Lost,
        &["record.merge [1]", "dataset [1]"],
    );
    // Nothing follows a stage that failed until somebody submits it again.
    let failed = || Failed("x".into());
    stepped([Done, failed(), blocked(), New], 0, Retry::Lost, &[]);
    stepped([Lost(Loss::Preempted), failed(), New, New], 0, Retry::Lost, &["record [1] lost [1]"]);
    stepped([Done, Cancelled, New, New], 0, Retry::Lost, &[]);
    stepped(
        [Done, failed(), New, New],
        0,
        Retry::All,
        &["record [2]", "record.merge [1]", "dataset [1]"],
    );
}

#[test]
fn jobs_that_wait_for_one_that_failed_are_not_active() {
    use PartState::{Done, Failed, Running};
    let pending = || PartState::Pending("Dependency".into());
    let check = |states: [PartState; 4], expected: bool| {
        let [one, two, merge, dataset] = states;
        let parts = vec![
            vec![part(1, one, 0), part(2, two, 0)],
            vec![part(1, merge, 0)],
            vec![part(1, dataset, 0)],
        ];
        assert_eq!(Survey { parts }.is_active(&small()), expected);
    };
    let failed = || Failed("x".into());
    check([Done, failed(), pending(), pending()], false);
    check([Running(String::new()), failed(), pending(), pending()], true);
    check([pending(), failed(), pending(), pending()], true);
    check([Done, Done, Done, pending()], true);
    check([Done, Done, failed(), pending()], false);
    check([Done, Done, Done, Done], false);
}

#[test]
fn parts_of_one_state_are_one_row() {
    use PartState::{Done, Failed, Lost, Running};
    let job = PlannedJob { parts: 6, ..small().jobs.remove(0) };
    let states = [
        Done,
        Done,
        Lost(Loss::Node),
        Running("n1".into()),
        Done,
        Failed("no disk (exit code 1)".into()),
    ];
    let parts: Vec<Part> =
        states.into_iter().zip(1..).map(|(state, number)| part(number, state, 0)).collect();
    let episodes = |part: u32| match part {
        3 => (None, None),
        4 => (Some(2), Some(5)),
        6 => (Some(1), None),
        _ => (Some(5), Some(5)),
    };
    let rows = rows_of(&job, &parts, &episodes).into_iter();
    let lines: Vec<String> = rows
        .map(|row| {
            [row.stage, row.shards, row.state.into(), row.episodes, row.jobs, row.detail]
                .join(" | ")
        })
        .collect();
    assert_eq!(
        lines,
        [
            "record | 1-2,5 | done | 15/15 | 7 | ",
            "record | 3 | lost |  | 7 | the node failed",
            "record | 4 | running | 2/5 | 7 | n1",
            "record | 6 | failed | 1 | 7 | no disk (exit code 1)",
        ]
    );
}

#[test]
fn a_job_writes_how_it_ended() {
    let folder = tempfile::tempdir().unwrap();
    let file = JobFile::new(folder.path().join("record-1"));
    assert_eq!(file.exit(), None);
    end_job(folder.path().join("record-1"), 130).unwrap();
    let text = std::fs::read_to_string(folder.path().join("record-1.exit")).unwrap();
    assert_eq!((text, file.exit()), ("130\n".into(), Some(130)));
}

proptest! {
    #[test]
    fn no_text_stops_the_readers(text in "\\PC{0,80}(\n\\PC{0,40}){0,3}") {
        let _ = read_squeue(&text);
        let _ = read_sacct(&text);
        let _ = ClusterFile::read(&text, "x.toml", PathBuf::new());
    }

    #[test]
    fn no_value_reaches_the_header_as_two(value in "(\\PC|[ \t\r\n]){1,20}") {
        let text = serde_json::Value::from(value.clone()).to_string();
        if let Ok(plan) = plan_of(&format!("run = ['django']\n[cluster]\npartition = {text}")) {
            prop_assert!(!value.contains(char::is_whitespace), "sbatch would read two words");
            let script = plan.scripts().remove(0).text;
            let expected = format!("#SBATCH --partition={value}");
            prop_assert!(script.lines().any(|line| line == expected));
        }
    }
}
