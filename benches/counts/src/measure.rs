//! Runs this program under callgrind and reads the counts.

use std::collections::VecDeque;
use std::process::{Command, Output};
use std::sync::{Mutex, PoisonError};
use std::thread;

use crate::fault::Fault;
use crate::kept::Counts;
use crate::paths::{ALL, HotPath};

/// A path, its rounds and its count.
type Counted = (&'static str, u64, u64);

/// The key of this compiler and of the processor that valgrind imitates.
pub(crate) fn key() -> Result<String, Fault> {
    let output = under_valgrind("none", &["key"])?;
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The count of every path, as many at once as there are processors.
pub(crate) fn all() -> Result<Counts, Fault> {
    let runs = ALL.iter().flat_map(|path| [(path, path.rounds + 1), (path, 1)]);
    let waiting: Mutex<VecDeque<(&'static HotPath, u64)>> = Mutex::new(runs.collect());
    let next = || waiting.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
    let worker = |cpu: usize| -> Result<Vec<Counted>, Fault> {
        let mut counted = Vec::new();
        while let Some((path, rounds)) = next() {
            counted.push((path.name, rounds, count(path.name, rounds, cpu)?));
        }
        Ok(counted)
    };
    let workers = thread::available_parallelism().map_or(1, usize::from);
    let counted: Result<Vec<Vec<Counted>>, Fault> = thread::scope(|scope| {
        let all: Vec<_> = (0..workers).map(|cpu| scope.spawn(move || worker(cpu))).collect();
        let joined = all
            .into_iter()
            .map(|one| one.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        joined.collect()
    });
    let counted = counted?.concat();
    let of = |name: &str, wanted: u64| {
        let found = counted.iter().find(|(path, rounds, _)| *path == name && *rounds == wanted);
        found.map_or(0, |(_, _, count)| *count)
    };
    let per_round = |path: &HotPath| {
        let rest = of(path.name, path.rounds + 1).saturating_sub(of(path.name, 1));
        (path.name.to_owned(), rest / path.rounds)
    };
    Ok(ALL.iter().map(per_round).collect())
}

/// Instructions of a process that makes so many rounds.
fn count(path: &str, rounds: u64, cpu: usize) -> Result<u64, Fault> {
    let words = ["run", path, &rounds.to_string(), &cpu.to_string()];
    let output = under_valgrind("callgrind", &words)?;
    let text = String::from_utf8_lossy(&output.stderr);
    let count = text.lines().find_map(|line| line.split_once("Collected :")?.1.trim().parse().ok());
    count.ok_or_else(|| failed(&words, "it printed no count"))
}

/// Runs this program in an environment that is the same everywhere.
fn under_valgrind(tool: &str, words: &[&str]) -> Result<Output, Fault> {
    let program = std::env::current_exe().map_err(|why| failed(words, &why.to_string()))?;
    let home = tempfile::tempdir().map_err(|why| failed(words, &why.to_string()))?;
    let mut command = Command::new("valgrind");
    command.arg(format!("--tool={tool}"));
    if tool == "callgrind" {
        command.arg("--callgrind-out-file=/dev/null");
    }
    command.arg(program).args(words).current_dir(home.path());
    command.env_clear().env("PATH", "/usr/bin:/bin").env("HOME", home.path());
    command.env("FIXFLY_HOME", home.path()).env("TMPDIR", home.path());
    let output = command.output().map_err(Fault::NoValgrind)?;
    match output.status.success() {
        true => Ok(output),
        false => {
            let text = String::from_utf8_lossy(&output.stderr);
            let is_own = |line: &&str| !line.starts_with("==");
            let line = text.lines().rfind(is_own).or(text.lines().last());
            Err(failed(words, line.unwrap_or_default()))
        }
    }
}

fn failed(words: &[&str], why: &str) -> Fault {
    Fault::Failed { command: words.join(" "), why: why.to_owned() }
}
