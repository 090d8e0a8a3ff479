//! A Docker engine that is stopped and started during a run: an engine of the test's own,
//! so that nobody else's containers are stopped. Only in the long form, and where there is
//! an engine with an image.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use super::kills::kill;
use super::notice::send;
use super::stage::{Kind, Stage, Switch};
use super::table::{long, not_run, row, times};

/// The first line that the machine's engine answers.
fn asked(words: &[&str]) -> Option<String> {
    let answered = Command::new("docker").args(words).output().ok()?;
    String::from_utf8(answered.stdout).unwrap().lines().next().map(str::to_owned)
}

/// The name of an image in the machine's engine.
fn image() -> Option<String> {
    asked(&["images", "--format", "{{.Repository}}:{{.Tag}}", "fixfly/python"])
}

/// Containers and volumes of all runs below this folder.
fn left(host: Option<&str>, folder: &Path) -> usize {
    let of = |words: &[&str]| {
        let mut docker = Command::new("docker");
        docker.args(host.map(|host| format!("--host={host}"))).args(words);
        docker.args(["--format", "{{.Labels}}"]);
        let listed = docker.output().unwrap();
        assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
        let folder = folder.to_str().unwrap();
        String::from_utf8(listed.stdout).unwrap().lines().filter(|one| one.contains(folder)).count()
    };
    of(&["ps", "--all"]) + of(&["volume", "ls"])
}

/// An engine that ends with the test.
struct Engine {
    folder: PathBuf,
    process: Option<Child>,
}

impl Engine {
    fn host(&self) -> String {
        format!("unix://{}", self.folder.join("sock").display())
    }

    fn start(&mut self) {
        let at = |name: &str| self.folder.join(name);
        fs::write(at("daemon.json"), "{}").unwrap();
        let log = File::options().create(true).append(true).open(at("log")).unwrap();
        // In a network of its own: an engine without a bridge removes that of the machine's engine.
        let mut dockerd = Command::new("unshare");
        dockerd.args(["--net", "dockerd"]);
        dockerd.arg("--config-file").arg(at("daemon.json"));
        dockerd.arg("--data-root").arg(at("data")).arg("--exec-root").arg(at("exec"));
        dockerd.arg("--pidfile").arg(at("pid")).arg("--host").arg(self.host());
        dockerd.args(["--bridge=none", "--iptables=false", "--ip6tables=false"]);
        let driver = asked(&["info", "--format", "{{.Driver}}"]).unwrap();
        dockerd.args(["--storage-driver", &driver]).stdout(Stdio::null()).stderr(log);
        self.process = Some(dockerd.spawn().unwrap());
        let start = Instant::now();
        while !self.docker(&["version"]) {
            let log = || fs::read_to_string(at("log")).unwrap();
            assert!(start.elapsed() < Duration::from_secs(120), "it never answers: {}", log());
            sleep(Duration::from_millis(100));
        }
    }

    fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            send("-TERM", process.id());
            process.wait().unwrap();
        }
    }

    fn docker(&self, words: &[&str]) -> bool {
        let mut docker = Command::new("docker");
        docker.arg(format!("--host={}", self.host())).args(words);
        docker.output().unwrap().status.success()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.stop();
    }
}

#[test]
fn an_engine_that_is_stopped_and_started_costs_what_runs() {
    let fault = "the Docker engine is stopped and started";
    if long().is_none() {
        return;
    }
    let Some(image) = image() else {
        return not_run(30, fault, "there is no Docker engine with an image");
    };
    let mut stage = Stage::new(Kind::Paid, []);
    let folder = tempfile::tempdir().unwrap();
    // Processes of containers have other users, and start from here.
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    let mut engine = Engine { folder: folder.path().into(), process: None };
    engine.start();
    let file = folder.path().join("image.tar");
    let file = file.to_str().unwrap();
    let saved = Command::new("docker").args(["save", "-o", file, &image]).status().unwrap();
    assert!(saved.success() && engine.docker(&["load", "-i", file]));
    stage.words.extend(["--sandbox".into(), "docker".into()]);
    stage.variables.push(("DOCKER_HOST".into(), engine.host()));
    stage.variables.push(("FIXFLY_DOCKER_IMAGE".into(), image));
    let count = times(1);
    stage.outages(count, (40_000, 2000), |_, switch| match switch {
        Switch::Off => engine.stop(),
        Switch::On => engine.start(),
    });
    let mut damage = stage.sweep();
    damage.left += left(Some(&engine.host()), stage.folder());
    engine.stop();
    row(30, fault, count, damage);
}

#[test]
fn a_killed_run_in_containers_goes_on() {
    let fault = "`kill -9` of a run in containers";
    let Some(kills) = long() else { return };
    if image().is_none() {
        return not_run(31, fault, "there is no Docker engine with an image");
    }
    let mut stage = Stage::new(Kind::Paid, []);
    stage.words.extend(["--sandbox".into(), "docker".into()]);
    kill(&mut stage, kills);
    let mut damage = stage.sweep();
    damage.left += left(None, stage.folder());
    row(31, fault, kills, damage);
}
