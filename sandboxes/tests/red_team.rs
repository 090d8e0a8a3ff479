//! What a sandbox must withstand.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod common;

use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use common::*;
use fixfly_runtime::{Command, Status};

#[tokio::test]
async fn a_fork_bomb_stays_small_and_ends() {
    if !python() {
        return;
    }
    let mark = marker();
    let bomb = format!(
        "import os, time
mark = '{mark}'
forks = refused = 0
while refused < 50:
    try:
        if os.fork() == 0:
            time.sleep(60)
        forks += 1
    except OSError:
        refused += 1
print(forks)"
    );
    let mut spec = spec();
    spec.limits.processes = 64;
    for (_, sandbox) in each(&spec).await {
        let start = Instant::now();
        let output = sandbox.exec(&Command::new(["python3", "-c", &bomb])).await.unwrap();
        let forks: u32 = out(&output).trim().parse().unwrap();
        assert!((32..=96).contains(&forks), "{forks}");
        assert!(start.elapsed() < Duration::from_secs(30));
        assert_eq!(marked(&mark), 0);
        let wild =
            Command { timeout: Some(Duration::from_secs(2)), ..sh(":(){ :|:& };:; sleep 9") };
        sandbox.exec(&wild).await.unwrap();
        assert_eq!(expect(&*sandbox, "echo still there").await, "still there\n");
        sandbox.close().await.unwrap();
    }
}

#[tokio::test]
async fn memory_beyond_the_limit_kills_what_takes_it() {
    if !python() {
        return;
    }
    let mut spec = spec();
    spec.limits.memory_mb = 128;
    for (host, sandbox) in each(&spec).await {
        if host.isolation().contains("no memory limit") {
            eprintln!("skipped: {}", host.isolation());
            continue;
        }
        let glutton = "held = [bytearray(b'x' * (1 << 20)) for _ in range(10 << 10)]; print('ate')";
        let output = sandbox.exec(&Command::new(["python3", "-c", glutton])).await.unwrap();
        assert_eq!((output.status, out(&output)), (Status::Signalled(9), String::new()));
        let output = run(&*sandbox, "head -c 200m /dev/zero > /tmp/a").await;
        assert_ne!(output.status, Status::Exited(0), "a full tmpfs counts as memory");
        expect(&*sandbox, "rm -f /tmp/a").await;
        sandbox.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_full_disk_is_the_sandboxes_own() {
    let mut spec = spec();
    spec.limits.disk_mb = 8;
    spec.limits.file_mb = 6;
    for (_, sandbox) in each(&spec).await {
        let output = run(&*sandbox, "head -c 5m /dev/zero > a && head -c 5m /dev/zero > b").await;
        assert!(err(&output).contains("No space left"), "{}", err(&output));
        expect(&*sandbox, "rm -f a b").await;
        let output = run(&*sandbox, "exec head -c 7m /dev/zero > c").await;
        assert_eq!(output.status, Status::Signalled(25), "SIGXFSZ");
        expect(&*sandbox, "rm -f c; echo fits > d").await;
        let many = "i=0; while [ $i -lt 9999 ]; do : > f$i || exit 1; i=$((i+1)); done";
        assert_ne!(run(&*sandbox, many).await.status, Status::Exited(0));
        sandbox.close().await.unwrap();
    }
}

#[tokio::test]
async fn an_endless_loop_ends_with_its_time() {
    for (_, sandbox) in each(&spec()).await {
        let timeout = Some(Duration::from_millis(500));
        let start = Instant::now();
        let endless = Command { timeout, ..sh("trap '' TERM INT HUP; while :; do :; done") };
        assert_eq!(sandbox.exec(&endless).await.unwrap().status, Status::TimedOut);
        let chatty = Command { timeout, ..Command::new(["yes"]) };
        let output = sandbox.exec(&chatty).await.unwrap();
        assert_eq!((output.status, output.stdout.len()), (Status::TimedOut, 1 << 20));
        assert!(start.elapsed() < Duration::from_secs(15));
        sandbox.close().await.unwrap();
    }
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
        .args(["--exact", "held_until_killed", "--nocapture"])
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
