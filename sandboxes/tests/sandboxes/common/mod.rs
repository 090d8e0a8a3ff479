//! What the tests of every sandbox share.
// Each test file uses some of it.
#![allow(dead_code, clippy::unwrap_used, clippy::print_stderr)]

#[cfg(feature = "docker")]
pub(crate) mod between;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use fixfly_runtime::{
    Command, Host, Mount, MountMode, Output, Sandbox, SandboxError, SandboxSpec, Status,
};
use fixfly_sandboxes::{ALL, HostOptions};

pub(crate) fn spec() -> SandboxSpec {
    let env = [("PATH", "/usr/bin:/bin"), ("LANG", "C.UTF-8")];
    SandboxSpec {
        env: env.map(|(name, value)| (name.into(), value.into())).into(),
        workdir: "/tmp".into(),
        ..SandboxSpec::default()
    }
}

/// Sandboxes that run Python and no other program, by construction. What they
/// promise all the same is in `contract.rs`, and that they say so.
pub(crate) const PYTHON_ONLY: &[&str] = &["wasm"];

/// The sandboxes that run any program.
pub(crate) async fn each(spec: &SandboxSpec) -> Vec<(Arc<dyn Host>, Box<dyn Sandbox>)> {
    opened(spec, |name| !PYTHON_ONLY.contains(&name)).await
}

/// The sandbox of that name, where this machine gives it.
pub(crate) async fn the(
    kind: &str,
    spec: &SandboxSpec,
) -> Option<(Arc<dyn Host>, Box<dyn Sandbox>)> {
    opened(spec, |name| name == kind).await.pop()
}

/// The sandboxes that run Python and nothing else.
pub(crate) async fn each_of_python_alone(
    spec: &SandboxSpec,
) -> Vec<(Arc<dyn Host>, Box<dyn Sandbox>)> {
    opened(spec, |name| PYTHON_ONLY.contains(&name)).await
}

/// All sandboxes: each runs Python.
pub(crate) async fn each_with_python(spec: &SandboxSpec) -> Vec<(Arc<dyn Host>, Box<dyn Sandbox>)> {
    opened(spec, |name| python() || PYTHON_ONLY.contains(&name)).await
}

/// The sandboxes this machine gives. A machine without user namespaces has
/// nothing to test, and says so; any other failure fails the test.
async fn opened(
    spec: &SandboxSpec,
    wanted: impl Fn(&str) -> bool,
) -> Vec<(Arc<dyn Host>, Box<dyn Sandbox>)> {
    let mut opened = Vec::new();
    for entry in ALL.iter().filter(|entry| wanted(entry.name)) {
        let host = (entry.open)(&HostOptions::default()).unwrap();
        match host.open(spec).await {
            Ok(sandbox) => opened.push((host, sandbox)),
            Err(why) if beyond(&why) => eprintln!("skipped `{}`: {why}", entry.name),
            Err(why) => panic!("`{}`: {why}", entry.name),
        }
    }
    opened
}

/// Whether this machine cannot give any such sandbox.
pub(crate) fn beyond(why: &SandboxError) -> bool {
    let why = why.to_string();
    [
        "does not allow user namespaces",
        "no Docker engine answers",
        "has no image for sandboxes",
        "is not made yet",
    ]
    .iter()
    .any(|lack| why.contains(lack))
}

pub(crate) fn sh(script: &str) -> Command {
    Command::new(["sh", "-c", script])
}

pub(crate) async fn run(sandbox: &dyn Sandbox, script: &str) -> Output {
    sandbox.exec(&sh(script)).await.unwrap()
}

pub(crate) fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(crate) fn err(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Fails unless the script exits with 0; gives its output.
pub(crate) async fn expect(sandbox: &dyn Sandbox, script: &str) -> String {
    let output = run(sandbox, script).await;
    assert_eq!(output.status, Status::Exited(0), "{script}\n{}{}", out(&output), err(&output));
    out(&output)
}

pub(crate) fn mount(from: &std::path::Path, to: &str, mode: MountMode) -> Mount {
    Mount { from: from.into(), to: to.into(), mode }
}

/// A folder that everybody may read.
pub(crate) fn open_folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(folder.path(), mode).unwrap();
    folder
}

/// A number of seconds to sleep that no other process sleeps.
pub(crate) fn marker() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    format!("77{}.{:09}", std::process::id(), now.subsec_nanos())
}

/// Processes of the host whose arguments hold `marker`.
pub(crate) fn marked(marker: &str) -> usize {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let arguments = processes.filter_map(|at| std::fs::read(at.path().join("cmdline")).ok());
    let holds = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).contains(marker);
    arguments.filter(holds).count()
}

/// Waits until `done`, at most `limit`.
pub(crate) async fn within(limit: Duration, mut done: impl FnMut() -> bool) -> bool {
    let start = Instant::now();
    while start.elapsed() < limit {
        if done() {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    done()
}

/// A program of the host that sandboxes see, too; prints a note if there is none.
pub(crate) fn python() -> bool {
    let there = std::path::Path::new("/usr/bin/python3").exists();
    if !there {
        eprintln!("skipped: there is no /usr/bin/python3");
    }
    there
}
