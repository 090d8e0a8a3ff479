//! What a sandbox must withstand: each file of `attacks/`, played in every
//! sandbox, and the deaths of what runs in it and of fixfly.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::attacks::{Attack, attack};
use crate::common::*;
use fixfly_runtime::{Command, Host, Sandbox};
use rstest::rstest;

/// What is wrong after an attack, if anything is.
async fn fault(attack: &Attack, sandbox: &dyn Sandbox, mark: &str, body: &str) -> Option<String> {
    let start = Instant::now();
    let output = match sandbox.exec(&attack.command(body)).await {
        Ok(output) => output,
        Err(why) => return Some(format!("it is an error: {why}")),
    };
    let (stdout, stderr) = (out(&output), err(&output));
    if !attack.ends.contains(&output.status) {
        return Some(format!("it ended by {:?}: {stdout}{stderr}", output.status));
    }
    if attack.prints.as_ref().is_some_and(|prints| stdout.trim() != prints) {
        return Some(format!("it printed {stdout}{stderr}"));
    }
    if attack.kept.is_some_and(|kept| output.stdout.len() > kept || output.stderr.len() > kept) {
        return Some("more of its output was kept than asked".to_owned());
    }
    if start.elapsed() > attack.timeout + Duration::from_secs(25) {
        return Some(format!("it took {:?}", start.elapsed()));
    }
    if !within(Duration::from_secs(2), || marked(mark) == 0).await {
        return Some("processes are left".to_owned());
    }
    match sandbox.exec(&sh("rm -rf /tmp/* /dev/shm/*; echo still there")).await {
        Ok(output) if out(&output) == "still there\n" => None,
        after => Some(format!("afterwards: {after:?}")),
    }
}

/// Whether a host reports itself that it cannot stop such an attack.
fn beyond_it(attack: &Attack, host: &dyn Host) -> bool {
    attack.needs_memory && host.isolation().contains("no memory limit")
}

/// What an attack reaches for, and the word by which what it starts is known.
struct Stage {
    secret: tempfile::TempDir,
    listener: TcpListener,
    mark: String,
}

impl Stage {
    fn new() -> Stage {
        let secret = open_folder();
        std::fs::write(secret.path().join("secret"), "a kept word").unwrap();
        let listener = TcpListener::bind("0.0.0.0:0").unwrap();
        Stage { secret, listener, mark: marker() }
    }

    fn body(&self, attack: &Attack) -> String {
        let port = self.listener.local_addr().unwrap().port().to_string();
        let body = attack.body.replace("MARK", &self.mark).replace("PORT", &port);
        let secret = self.secret.path().join("secret");
        let body = body.replace("SECRET", secret.to_str().unwrap());
        body.replace("FIXFLY", &std::process::id().to_string())
    }

    #[track_caller]
    fn is_untouched(&self) {
        let secret = std::fs::read_to_string(self.secret.path().join("secret")).unwrap();
        assert_eq!(secret, "a kept word");
        self.listener.set_nonblocking(true).unwrap();
        assert!(self.listener.accept().is_err(), "something connected");
    }
}

#[rstest]
#[tokio::test]
async fn it_does_not_get_out(
    #[files("tests/sandboxes/attacks/*.py")] file: PathBuf,
    #[values("local", "docker")] kind: &str,
) {
    if !python() {
        return;
    }
    let (stage, attack) = (Stage::new(), attack(&file));
    let Some((host, sandbox)) = the(kind, &attack.spec).await else { return };
    if beyond_it(&attack, &*host) {
        eprintln!("skipped: {}", host.isolation());
        return;
    }
    let fault = fault(&attack, &*sandbox, &stage.mark, &stage.body(&attack)).await;
    sandbox.close().await.unwrap();
    assert_eq!(fault, None, "{}", attack.name);
    stage.is_untouched();
}

/// Where there are no processes, most attacks end with what they do not find.
#[rstest]
#[tokio::test]
async fn it_does_not_get_out_of_a_sandbox_of_python_alone(
    #[files("tests/sandboxes/attacks/*.py")] file: PathBuf,
) {
    let (stage, attack) = (Stage::new(), attack(&file));
    for (_, sandbox) in each_of_python_alone(&attack.spec).await {
        let start = Instant::now();
        let output = sandbox.exec(&attack.command(&stage.body(&attack))).await.unwrap();
        assert!(start.elapsed() < attack.timeout + Duration::from_secs(25));
        assert!(!out(&output).contains("a kept word"), "{}", out(&output));
        let kept = attack.kept.unwrap_or(1 << 20);
        assert!(output.stdout.len() <= kept && output.stderr.len() <= kept + 100);
        assert_eq!(marked(&stage.mark), 0);
        let after = Command::new(["python3", "-c", "print('still there')"]);
        let after = sandbox.exec(&after).await.unwrap();
        assert_eq!(out(&after), "still there\n");
        sandbox.close().await.unwrap();
    }
    stage.is_untouched();
}

/// A server that starts sleepers as far from itself as it can.
fn runaway(mark: &str) -> Command {
    sh(&format!(
        "setsid sh -c '(setsid sleep {mark} >/dev/null 2>&1 &) ; setsid sleep {mark} &' &
         while read -r line; do echo $line; done; trap '' TERM; sleep {mark}"
    ))
}

#[tokio::test]
async fn closing_leaves_nothing() {
    for (_, sandbox) in each(&spec()).await {
        let mark = marker();
        let process = sandbox.spawn("runaway", &runaway(&mark)).await.unwrap();
        process.ask("x", Duration::from_secs(10)).await.unwrap();
        assert!(within(Duration::from_secs(5), || marked(&mark) >= 3).await, "it never ran");
        sandbox.close().await.unwrap();
        assert_eq!(marked(&mark), 0);
    }
}

/// Processes of this one that have ended, and that nobody waited for.
fn zombies() -> usize {
    let own = std::process::id().to_string();
    let is_zombie = |stat: &String| {
        let mut fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
        (fields.next(), fields.next()) == (Some("Z"), Some(&own))
    };
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let stats = entries.filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok());
    stats.filter(is_zombie).count()
}

#[tokio::test]
async fn closing_leaves_no_zombie_of_a_server() {
    for (_, sandbox) in each(&spec()).await {
        let server = sandbox.spawn("cat", &sh("cat")).await.unwrap();
        server.ask("x", Duration::from_secs(10)).await.unwrap();
        drop(server);
        sandbox.close().await.unwrap();
    }
    assert!(within(Duration::from_secs(5), || zombies() == 0).await, "{} are left", zombies());
}

#[tokio::test]
async fn dropping_leaves_nothing_even_with_a_process_in_hand() {
    for (_, sandbox) in each(&spec()).await {
        let mark = marker();
        let process = sandbox.spawn("runaway", &runaway(&mark)).await.unwrap();
        process.ask("x", Duration::from_secs(10)).await.unwrap();
        assert!(within(Duration::from_secs(5), || marked(&mark) >= 3).await, "it never ran");
        drop(sandbox);
        assert!(within(Duration::from_secs(3), || marked(&mark) == 0).await);
        drop(process);
    }
}

#[tokio::test]
async fn giving_a_command_up_ends_it() {
    for (_, sandbox) in each(&spec()).await {
        let mark = marker();
        let sleep = sh(&format!("setsid sleep {mark} & sleep {mark}"));
        let given_up = tokio::time::timeout(Duration::from_millis(500), sandbox.exec(&sleep));
        assert!(given_up.await.is_err());
        assert!(within(Duration::from_secs(3), || marked(&mark) == 0).await);
        sandbox.close().await.unwrap();
    }
}

/// Not a test of its own: what the next one kills.
#[tokio::test]
async fn held_until_killed() {
    let Ok(mark) = std::env::var("FIXFLY_TEST_HOLD") else { return };
    let mut kept = Vec::new();
    for (_, sandbox) in each(&spec()).await {
        let process = sandbox.spawn("runaway", &runaway(&mark)).await.unwrap();
        process.ask("x", Duration::from_secs(10)).await.unwrap();
        kept.push((sandbox, process));
    }
    eprintln!("\nholding {}", kept.len());
    let endless = sh(&format!("sleep {mark}"));
    for (sandbox, _) in &kept {
        let command = Command { timeout: Some(Duration::from_secs(60)), ..endless.clone() };
        let _ = sandbox.exec(&command).await;
    }
}

#[tokio::test]
async fn killing_fixfly_leaves_no_process() {
    if each(&spec()).await.is_empty() {
        return;
    }
    let mark = marker();
    let mut holder = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "red_team::held_until_killed", "--nocapture"])
        .env("FIXFLY_TEST_HOLD", &mark)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(holder.stderr.take().unwrap()).lines();
    let holding = lines.map_while(Result::ok).any(|line| line.starts_with("holding"));
    assert!(holding, "the holder failed");
    assert!(within(Duration::from_secs(5), || marked(&mark) >= 4).await, "it never ran");
    holder.kill().unwrap();
    holder.wait().unwrap();
    assert!(within(Duration::from_secs(2), || marked(&mark) == 0).await, "{}", marked(&mark));
}
