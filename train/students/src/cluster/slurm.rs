//! Slurm's programs, and what they print.

use std::collections::HashMap;
use std::path::Path;
use std::process::Command;

use super::ClusterError;

/// Columns of squeue. Each has a separator; the last needs none.
const COLUMNS: &str = "JobArrayID:|,State:|,exit_code:|,Reason:|,NodeList:|,Name:";

/// The state of a job, as Slurm names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum SlurmState {
    Pending,
    Running,
    Completed,
    Failed,
    Cancelled,
    TimeLimit,
    NodeFail,
    Preempted,
    OutOfMemory,
    /// A state that fixfly does not know; never a reason to submit again.
    Other(String),
}

impl SlurmState {
    fn of(text: &str) -> SlurmState {
        // `CANCELLED by 1000`.
        match text.split_whitespace().next().unwrap_or_default().trim_end_matches('+') {
            "PENDING" | "REQUEUED" | "REQUEUE_HOLD" | "REQUEUE_FED" | "RESV_DEL_HOLD"
            | "SPECIAL_EXIT" => SlurmState::Pending,
            "RUNNING" | "COMPLETING" | "CONFIGURING" | "SIGNALING" | "STAGE_OUT" | "STOPPED"
            | "SUSPENDED" | "RESIZING" => SlurmState::Running,
            "COMPLETED" => SlurmState::Completed,
            "FAILED" => SlurmState::Failed,
            "CANCELLED" => SlurmState::Cancelled,
            "TIMEOUT" | "DEADLINE" => SlurmState::TimeLimit,
            "NODE_FAIL" | "BOOT_FAIL" => SlurmState::NodeFail,
            "PREEMPTED" | "REVOKED" => SlurmState::Preempted,
            "OUT_OF_MEMORY" => SlurmState::OutOfMemory,
            other => SlurmState::Other(other.into()),
        }
    }
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// With an exit code.
    Code(i32),
    /// By a signal.
    Signal(i32),
}

impl Ended {
    /// Of a status as `wait` returns it.
    fn of_status(status: i32) -> Ended {
        match status & 0x7f {
            0 => Ended::Code(status >> 8),
            signal => Ended::Signal(signal),
        }
    }
}

/// A job, or one element of an array.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct QueuedJob {
    pub(super) state: SlurmState,
    pub(super) ended: Ended,
    /// Why it waits or ended, in Slurm's words; may be empty.
    pub(super) reason: String,
    pub(super) nodes: String,
    pub(super) name: String,
}

/// Jobs by their id: `12`, or `12_3` of an array.
pub(super) type Queue = HashMap<String, QueuedJob>;

/// Reads squeue's lines. Jobs that fixfly did not name are left out.
pub(super) fn read_squeue(text: &str) -> Result<Queue, ClusterError> {
    let mut queue = Queue::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let fields: Vec<&str> = line.splitn(6, '|').map(str::trim).collect();
        let [id, state, status, reason, nodes, name] = fields[..] else {
            return Err(unreadable("squeue", line));
        };
        if !name.starts_with("fixfly-") {
            continue;
        }
        let status = status.parse().map_err(|_| unreadable("squeue", line))?;
        let text = |text: &str| match text {
            "None" | "n/a" | "(null)" => String::new(),
            text => text.to_string(),
        };
        let (reason, nodes, name) = (text(reason), text(nodes), name.to_string());
        let (state, ended) = (SlurmState::of(state), Ended::of_status(status));
        queue.insert(id.to_string(), QueuedJob { state, ended, reason, nodes, name });
    }
    Ok(queue)
}

/// Reads sacct's lines: `12_3|NODE_FAIL|0:0`. Elements that wait are in squeue.
pub(super) fn read_sacct(text: &str) -> Queue {
    let mut queue = Queue::new();
    for line in text.lines() {
        let fields: Vec<&str> = line.split('|').collect();
        let [id, state, ended] = fields[..] else { continue };
        if id.contains(['[', '.', '+']) {
            continue;
        }
        let (code, signal) = ended.split_once(':').unwrap_or((ended, "0"));
        let number = |text: &str| text.trim().parse().unwrap_or_default();
        let ended = match number(signal) {
            0 => Ended::Code(number(code)),
            signal => Ended::Signal(signal),
        };
        let (reason, nodes, name) = Default::default();
        let job = QueuedJob { state: SlurmState::of(state), ended, reason, nodes, name };
        queue.insert(id.into(), job);
    }
    queue
}

fn unreadable(program: &str, line: &str) -> ClusterError {
    ClusterError::Slurm {
        doing: format!("cannot read what {program} prints"),
        why: format!("`{}`; fixfly needs Slurm 20.11 or later", fixfly_runtime::one_line(line)),
    }
}

/// The user and the cluster that squeue shows.
pub(super) fn place() -> Result<String, ClusterError> {
    let config = run("scontrol", &["show", "config"], "cannot read Slurm's settings")?;
    let cluster = config.lines().find_map(|line| {
        let (key, value) = line.split_once('=')?;
        (key.trim() == "ClusterName").then(|| value.trim().to_string())
    });
    let user = run("id", &["-un"], "cannot find the user's name")?;
    Ok(format!("by {} on the cluster {}", user.trim(), cluster.unwrap_or_default()))
}

/// The jobs of this user, also those that ended a short time ago.
pub(super) fn queue() -> Result<Queue, ClusterError> {
    let format = format!("--Format={COLUMNS}");
    let words = ["--me", "--array", "--states=all", "--noheader", &format];
    read_squeue(&run("squeue", &words, "cannot read the queue")?)
}

/// Jobs that ended earlier; empty if the cluster keeps no accounts.
pub(super) fn ended(ids: &[u64]) -> Queue {
    let ids: Vec<String> = ids.iter().map(u64::to_string).collect();
    let words = ["-X", "-n", "-P", "-o", "JobID,State,ExitCode", "-j", &ids.join(",")];
    let text = run("sacct", &words, "cannot read the accounts");
    // Many clusters keep no accounts, and sacct then fails.
    text.map(|text| read_sacct(&text)).unwrap_or_default()
}

/// Submits a script; returns the id of its job.
pub(super) fn submit(script: &Path, name: &str, more: &[String]) -> Result<u64, ClusterError> {
    let (named, script) = (format!("--job-name={name}"), script.display().to_string());
    let mut words = vec!["--parsable", &*named];
    words.extend(more.iter().map(String::as_str));
    words.push(&script);
    let doing = format!("sbatch refused {script}");
    let text = run("sbatch", &words, &doing)?;
    let id = text.trim().lines().last().and_then(|line| line.split(';').next());
    id.and_then(|id| id.parse().ok()).ok_or_else(|| ClusterError::Slurm {
        doing: "sbatch printed no job id".into(),
        why: fixfly_runtime::one_line(&text),
    })
}

/// Removes jobs from the queue.
pub(super) fn cancel(ids: &[String]) -> Result<(), ClusterError> {
    let words: Vec<&str> = ids.iter().map(String::as_str).collect();
    run("scancel", &words, "cannot cancel jobs").map(drop)
}

fn run(program: &str, words: &[&str], doing: &str) -> Result<String, ClusterError> {
    let output = Command::new(program)
        .args(words)
        // Defaults of the user that would change what is printed or done.
        .env_remove("SQUEUE_FORMAT")
        .env_remove("SQUEUE_FORMAT2")
        .env_remove("SBATCH_ARRAY_INX")
        .env_remove("SBATCH_JOB_NAME")
        .env_remove("SBATCH_SIGNAL")
        .output()
        .map_err(|why| ClusterError::NoSlurm { program: program.into(), why })?;
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        let last = errors.lines().rev().find(|line| !line.trim().is_empty());
        let why = last.map_or_else(|| output.status.to_string(), |line| line.trim().to_string());
        return Err(ClusterError::Slurm { doing: doing.into(), why });
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
