//! What hostile programs do, a file each: a program below lines that say what
//! it may use and what must come of it.

use std::fs;
use std::path::Path;
use std::time::Duration;

use fixfly_runtime::{Command, SandboxSpec, Status};

use crate::common::spec;

/// One file of this folder.
pub(crate) struct Attack {
    /// The file's name and its first line.
    pub(crate) name: String,
    /// The program.
    pub(crate) body: String,
    /// The sandbox it is played in.
    pub(crate) spec: SandboxSpec,
    /// How long it may run.
    pub(crate) timeout: Duration,
    /// How it may end.
    pub(crate) ends: Vec<Status>,
    /// All that it prints, where that matters.
    pub(crate) prints: Option<String>,
    /// Bytes of each of its streams that are kept at most.
    pub(crate) kept: Option<usize>,
    /// Whether only a limit on all of a sandbox's memory holds it.
    pub(crate) needs_memory: bool,
}

impl Attack {
    pub(crate) fn command(&self, body: &str) -> Command {
        let timeout = Some(self.timeout);
        Command { timeout, ..Command::new(["python3", "-c", body]) }
    }
}

/// Reads an attack from its file.
pub(crate) fn attack(file: &Path) -> Attack {
    let text = fs::read_to_string(file).unwrap();
    let (head, body) = text.split_once("\n\n").expect("a head, an empty line and a body");
    let name = file.file_stem().unwrap().to_string_lossy();
    let mut lines = head.lines().map(|line| line.strip_prefix("# ").expect("a comment"));
    let mut attack = Attack {
        name: format!("{name}: {}", lines.next().unwrap_or_default()),
        body: body.to_owned(),
        spec: spec(),
        timeout: Duration::from_secs(60),
        ends: Vec::new(),
        prints: None,
        kept: None,
        needs_memory: false,
    };
    for line in lines {
        match line.split_once(": ").unwrap_or((line, "")) {
            ("limits", limits) => limit(&mut attack.spec, limits),
            ("time", seconds) => attack.timeout = Duration::from_secs(seconds.parse().unwrap()),
            ("ends", ends) => attack.ends = ends.split(", ").map(status).collect(),
            ("prints", text) => attack.prints = Some(text.to_owned()),
            ("kept", bytes) => attack.kept = Some(bytes.parse().unwrap()),
            ("needs", "memory") => attack.needs_memory = true,
            (other, _) => panic!("{name}: `{other}` is not a key of an attack"),
        }
    }
    assert!(!attack.ends.is_empty(), "{name}: no end");
    attack
}

fn limit(spec: &mut SandboxSpec, words: &str) {
    let words: Vec<&str> = words.split(' ').collect();
    for pair in words.chunks(2) {
        let most = pair[1].parse().unwrap();
        let limits = &mut spec.limits;
        *match pair[0] {
            "memory_mb" => &mut limits.memory_mb,
            "processes" => &mut limits.processes,
            "disk_mb" => &mut limits.disk_mb,
            "file_mb" => &mut limits.file_mb,
            "cpu_seconds" => &mut limits.cpu_seconds,
            "open_files" => &mut limits.open_files,
            other => panic!("no limit {other}"),
        } = most;
    }
}

fn status(words: &str) -> Status {
    match words.split_once(' ') {
        Some(("exited", code)) => Status::Exited(code.parse().unwrap()),
        Some(("signalled", signal)) => Status::Signalled(signal.parse().unwrap()),
        Some(("timed", "out")) => Status::TimedOut,
        _ => panic!("no such end: {words}"),
    }
}
