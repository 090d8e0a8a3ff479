//! What a sandbox must withstand: each file of `attacks/`, played in every
//! sandbox, and the deaths of what runs in it and of fixfly.
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod attacks;
mod common;

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::Stdio;
use std::time::{Duration, Instant};

use attacks::{Attack, attacks};
use common::*;
use fixfly_runtime::{Command, Host, Sandbox};

/// What is wrong after an attack, if anything is.
async fn fault(attack: &Attack, sandbox: &dyn Sandbox, mark: &str, body: &str) -> Option<String> {
    let start = Instant::now();
    let output = match sandbox.exec(&attack.command(body)).await {
        Ok(output) => output,
        Err(why) => return Some(format!("it is an error: {why}")),
    };
    let (said, complaint) = (out(&output), err(&output));
    if !attack.ends.contains(&output.status) {
        return Some(format!("it ended by {:?}: {said}{complaint}", output.status));
    }
    if attack.prints.as_ref().is_some_and(|prints| said.trim() != prints) {
        return Some(format!("it printed {said}{complaint}"));
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

/// Whether a host cannot hold such an attack, and says so itself.
fn beyond_it(attack: &Attack, host: &dyn Host) -> bool {
    attack.needs_memory && host.isolation().contains("no memory limit")
}

#[tokio::test]
async fn no_attack_gets_out_of_any_sandbox() {
    if !python() {
        return;
    }
    let secret = open_folder();
    let file = secret.path().join("secret");
    std::fs::write(&file, "secret").unwrap();
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let fixfly = std::process::id().to_string();
    let mark = marker();
    let mut faults = Vec::new();
    for attack in attacks() {
        let body = attack.body.replace("MARK", &mark).replace("PORT", &port);
        let body = body.replace("SECRET", file.to_str().unwrap()).replace("FIXFLY", &fixfly);
        for (host, sandbox) in each(&attack.spec).await {
            let kind = host.isolation();
            let kind = kind.split(':').next().unwrap_or_default();
            if beyond_it(&attack, &*host) {
                eprintln!("skipped {} in {kind}: {}", attack.name, host.isolation());
                continue;
            }
            let fault = fault(&attack, &*sandbox, &mark, &body).await;
            faults.extend(fault.map(|fault| format!("{kind}, {}: {fault}", attack.name)));
            sandbox.close().await.unwrap();
        }
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "secret", "{}", attack.name);
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

/// Where there are no processes, most attacks end with what they do not find.
#[tokio::test]
async fn no_attack_gets_out_of_a_sandbox_of_python_alone() {
    let secret = open_folder();
    let file = secret.path().join("secret");
    std::fs::write(&file, "a kept word").unwrap();
    let listener = TcpListener::bind("0.0.0.0:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let fixfly = std::process::id().to_string();
    let mark = marker();
    for attack in attacks() {
        let body = attack.body.replace("MARK", &mark).replace("PORT", &port);
        let body = body.replace("SECRET", file.to_str().unwrap()).replace("FIXFLY", &fixfly);
        for (_, sandbox) in each_of_python_alone(&attack.spec).await {
            let start = Instant::now();
            let output = sandbox.exec(&attack.command(&body)).await.unwrap();
            assert!(start.elapsed() < attack.timeout + Duration::from_secs(25), "{}", attack.name);
            assert!(!out(&output).contains("a kept word"), "{}: {}", attack.name, out(&output));
            let kept = attack.kept.unwrap_or(1 << 20);
            assert!(output.stdout.len() <= kept && output.stderr.len() <= kept + 100);
            assert_eq!(marked(&mark), 0, "{}", attack.name);
            let after = Command::new(["python3", "-c", "print('still there')"]);
            let after = sandbox.exec(&after).await.unwrap();
            assert_eq!(out(&after), "still there\n", "{}", attack.name);
            sandbox.close().await.unwrap();
        }
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "a kept word", "{}", attack.name);
    }
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err(), "something connected");
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
