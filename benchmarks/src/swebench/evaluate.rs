//! Evaluates one patch in one fresh tree: applies it as the official harness does, adds the
//! tests and runs them.

use std::time::{Duration, Instant};

use fixfly_runtime::{BenchmarkError, Command, GradingRules, Output, Sandbox, Status};
use serde::{Deserialize, Serialize};

use super::events::{Events, PROGRAM};
use super::grade::{END, EXIT_CODE, START};
use super::guard;
use super::instance::Instance;
use super::patch::{FilePatch, files};
use super::spec::Spec;

/// The path of the work tree in the sandbox.
pub(super) const ROOT: &str = "/testbed";
/// The path of the listener for unittest's events.
pub(crate) const LISTENER: &str = "/tmp/.fixfly";
/// Maximum bytes of a log.
const LOG_CAP: usize = 64 << 20;

/// The result of evaluating a patch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Whether the patch could be applied; if not, there is no log.
    pub applied: bool,
    /// Whether the tests exceeded the time limit.
    pub timed_out: bool,
    /// The contents of the official `test_output.txt`.
    pub log: String,
    /// The contents of the official `run_instance.log`: what was done, and its output.
    pub story: String,
    /// The script that the official harness would run.
    pub script: String,
    /// unittest's events, if they were recorded.
    pub events: Option<Events>,
    /// Wall-clock seconds of the tests.
    pub seconds: f64,
}

/// What to evaluate, and how.
#[derive(Clone, Copy)]
pub(super) struct Plan<'a> {
    pub(super) instance: &'a Instance,
    pub(super) spec: &'a Spec,
    pub(super) rules: GradingRules,
    pub(super) timeout: Duration,
    /// Which paths the patch may not change: those of tests, if tests were removed from it.
    pub(super) kept: Option<&'a (dyn Fn(&str) -> bool + Sync)>,
}

/// The commands that can apply a patch, in the order in which they are tried.
fn ladder(rules: GradingRules) -> &'static [&'static str] {
    match rules {
        GradingRules::V5 => &[
            "git apply --verbose",
            "git apply --verbose --3way",
            "git apply --verbose --reject",
            "patch --batch --forward --fuzz=5 -p1 -i",
        ],
        GradingRules::V4 => &[
            "git apply --verbose",
            "git apply --verbose --reject",
            "patch --batch --fuzz=5 -p1 -i",
        ],
    }
}

impl Plan<'_> {
    /// Applies the patch, adds the tests, and runs them.
    pub(super) async fn evaluate(
        self,
        patch: &str,
        sandbox: &dyn Sandbox,
    ) -> Result<Evaluation, BenchmarkError> {
        let mut seen = Evaluation {
            applied: true,
            timed_out: false,
            log: String::new(),
            story: String::new(),
            script: self.script(),
            events: None,
            seconds: 0.0,
        };
        if !patch.is_empty() {
            let before = match self.kept {
                Some(_) => guard::changes(sandbox).await?,
                None => guard::Changes::new(),
            };
            if !self.apply(patch, sandbox, &mut seen.story).await? {
                seen.applied = false;
                return Ok(seen);
            }
            if let Some(is_kept) = self.kept {
                for path in guard::restore(sandbox, &before, is_kept).await? {
                    seen.story += &format!("Undone, as it is a test: {path}\n");
                }
            }
        }
        let diff = bash(sandbox, "git -c core.fileMode=false diff", &[]).await?;
        seen.story += &format!("Git diff before:\n{}\n", text(&diff.stdout).trim());
        seen.log = self.put_tests(sandbox).await?;
        self.run(sandbox, &mut seen).await?;
        Ok(seen)
    }

    async fn apply(
        &self,
        patch: &str,
        sandbox: &dyn Sandbox,
        story: &mut String,
    ) -> Result<bool, BenchmarkError> {
        let file = "/tmp/patch.diff";
        sandbox.write(file, patch.as_bytes()).await?;
        let mut last = String::new();
        for (at, command) in ladder(self.rules).iter().enumerate() {
            if at > 0 && self.rules == GradingRules::V5 {
                bash(sandbox, "git checkout -- . ; git clean -fd", &[]).await?;
            }
            let output = bash(sandbox, &format!("{command} {file} 2>&1"), &[]).await?;
            last = text(&output.stdout);
            if output.status == Status::Exited(0) {
                *story += &format!(">>>>> Applied Patch ({command}):\n{last}\n");
                return Ok(true);
            }
            *story += &format!("Failed to apply patch to container: {command}\n");
        }
        let reverse = format!("git apply --check --reverse {file}");
        if self.rules == GradingRules::V5
            && bash(sandbox, &reverse, &[]).await?.status == Status::Exited(0)
        {
            *story += ">>>>> Applied Patch: verified already applied\n";
            return Ok(true);
        }
        *story += &format!(">>>>> Patch Apply Failed:\n{last}\n");
        Ok(false)
    }

    /// Restores the test files, then applies the test patch.
    async fn put_tests(&self, sandbox: &dyn Sandbox) -> Result<String, BenchmarkError> {
        let mut log = String::new();
        for command in self.resets() {
            log += &format!("+ {command}\n");
            let output = bash(sandbox, &format!("{command} 2>&1"), &[]).await?;
            log += &text(&output.stdout);
        }
        let mut test_patch = self.instance.test_patch.clone();
        if !test_patch.ends_with('\n') {
            test_patch.push('\n');
        }
        let output = bash(sandbox, "git apply -v - 2>&1", test_patch.as_bytes()).await?;
        log += &format!("+ git apply -v -\n{}", text(&output.stdout));
        Ok(log)
    }

    /// Commands that undo a patch's changes to the files of the test patch.
    fn resets(&self) -> Vec<String> {
        let files = files(self.instance.test_patch.as_bytes());
        let operands = |paths: &mut dyn Iterator<Item = &Vec<u8>>| -> Vec<String> {
            paths.map(|path| operand(path)).collect()
        };
        let old = operands(&mut files.iter().filter_map(|file| file.old.as_ref()));
        let is_new = |file: &&FilePatch<'_>| file.old.is_none();
        let new = operands(&mut files.iter().filter(is_new).filter_map(|file| file.new.as_ref()));
        let mut commands = Vec::new();
        if !new.is_empty() {
            commands.push(format!("rm -rf {}", new.join(" ")));
        }
        if !old.is_empty() {
            commands.push(format!("git checkout HEAD -- {}", old.join(" ")));
        }
        commands
    }

    fn command(&self) -> String {
        let labels = self.spec.labels(&self.instance.test_patch);
        let labels = labels.iter().map(quoted);
        [self.spec.test.clone()].into_iter().chain(labels).collect::<Vec<_>>().join(" ")
    }

    fn script(&self) -> String {
        let mut lines =
            vec!["#!/bin/bash".to_string(), "set -uxo pipefail".into(), format!("cd {ROOT}")];
        lines.extend(
            self.spec.env.iter().map(|(name, value)| format!("export {name}={}", quoted(value))),
        );
        lines.extend(self.resets());
        let patch = self.instance.test_patch.trim_end_matches('\n');
        lines.push(format!("git apply -v - <<'EOF_114329324912'\n{patch}\nEOF_114329324912"));
        lines.push(format!(": '{START}'"));
        lines.push(self.command());
        lines.push("SWEBENCH_TEST_EXIT_CODE=$?".into());
        lines.push(format!(": '{END}'"));
        lines.push(format!("echo \"{EXIT_CODE}: $SWEBENCH_TEST_EXIT_CODE\""));
        lines.extend(self.resets());
        lines.join("\n") + "\n"
    }

    async fn run(
        &self,
        sandbox: &dyn Sandbox,
        seen: &mut Evaluation,
    ) -> Result<(), BenchmarkError> {
        let start = Instant::now();
        let output = tests(sandbox, self.spec, &self.command(), self.timeout).await?;
        seen.seconds = start.elapsed().as_secs_f64();
        seen.story += &format!("Test runtime: {:.2} seconds\n", seen.seconds);
        seen.log += &format!("+ : '{START}'\n+ {}\n{}", self.command(), text(&output.stdout));
        if !seen.log.ends_with('\n') {
            seen.log.push('\n');
        }
        if self.spec.events {
            seen.events = Some(Events::read(&output.stderr));
        }
        if output.elided > 0 {
            seen.story +=
                &format!("{} bytes of output beyond {LOG_CAP} were left out\n", output.elided);
        }
        match output.status {
            Status::TimedOut => {
                seen.timed_out = true;
                let limit = self.timeout.as_secs();
                seen.log += &format!("\n\nTimeout error: {limit} seconds exceeded.");
                seen.story += &format!("Test timed out after {limit} seconds.\n");
            }
            Status::Exited(code) => seen.end(code),
            Status::Signalled(signal) => seen.end(128 + signal),
        }
        Ok(())
    }
}

impl Evaluation {
    fn end(&mut self, code: i32) {
        self.log += &format!("+ : '{END}'\n+ echo '{EXIT_CODE}: {code}'\n{EXIT_CODE}: {code}\n");
    }
}

/// Runs a test command. Its printed output is on stdout, unittest's events are on stderr.
pub(super) async fn tests(
    sandbox: &dyn Sandbox,
    spec: &Spec,
    command: &str,
    timeout: Duration,
) -> Result<Output, BenchmarkError> {
    let mut run = String::new();
    for (name, value) in &spec.env {
        run += &format!("export {name}={}\n", quoted(value));
    }
    let events = if spec.events { "FIXFLY_EVENTS=3 " } else { "" };
    run += &format!("{events}PYTHONPATH={LISTENER}:{ROOT} {command}");
    listened(sandbox, ROOT, &run, timeout).await
}

/// Runs a script that runs tests in the folder `root`. Its printed output is on stdout. What
/// it writes to file descriptor 3 is on stderr: unittest's events, if [`LISTENER`] is on the
/// interpreter's path.
pub(crate) async fn listened(
    sandbox: &dyn Sandbox,
    root: &str,
    script: &str,
    timeout: Duration,
) -> Result<Output, BenchmarkError> {
    sandbox.write(&format!("{LISTENER}/sitecustomize.py"), PROGRAM.as_bytes()).await?;
    let script = format!("exec 3>&2 2>&1 </dev/null\n{script}");
    let mut run = Command::new(["bash", "-c", &script]);
    run.workdir = Some(root.into());
    run.timeout = Some(timeout);
    run.output_cap = Some(LOG_CAP);
    Ok(sandbox.exec(&run).await?)
}

pub(super) async fn bash(
    sandbox: &dyn Sandbox,
    script: &str,
    stdin: &[u8],
) -> Result<Output, BenchmarkError> {
    let mut command = Command::new(["bash", "-c", script]);
    command.workdir = Some(ROOT.into());
    command.stdin = stdin.to_vec();
    command.output_cap = Some(16 << 20);
    Ok(sandbox.exec(&command).await?)
}

pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A path as an operand for git and others, which do not take it for an option or for one of
/// git's patterns.
fn operand(path: &[u8]) -> String {
    match path.first() {
        Some(b'-' | b':') => quoted([b"./", path].concat()),
        _ => quoted(path),
    }
}

/// Quotes a word for bash.
pub(crate) fn quoted(word: impl AsRef<[u8]>) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-./=:,+@%".contains(c);
    match std::str::from_utf8(word.as_ref()) {
        Ok(word) if !word.is_empty() && word.chars().all(is_plain) => word.to_string(),
        Ok(word) => format!("'{}'", word.replace('\'', r"'\''")),
        // A script is text; the name in it is not.
        Err(_) => {
            let byte = |byte: &u8| match byte {
                b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'_' | b'-' => {
                    char::from(*byte).to_string()
                }
                byte => format!("\\{byte:03o}"),
            };
            format!("$'{}'", word.as_ref().iter().map(byte).collect::<String>())
        }
    }
}

#[cfg(test)]
mod tests_ {
    use super::*;

    #[test]
    fn words_for_a_shell() {
        for (word, expected) in
            [("a.b", "a.b"), ("", "''"), ("a b", "'a b'"), ("a';rm", r"'a'\'';rm'")]
        {
            assert_eq!(quoted(word), expected);
        }
        let bytes = b"tests/a \xe9'.py";
        assert_eq!(quoted(bytes), r"$'tests/a\040\351\047.py'");
        let echoed = std::process::Command::new("bash")
            .args(["-c", &format!("printf %s {}", quoted(bytes))])
            .output();
        assert_eq!(echoed.unwrap().stdout, bytes);
        assert_eq!([operand(b"-a"), operand(b":a"), operand(b"a")], ["./-a", "./:a", "a"]);
    }
}
