//! What those sandboxes promise that run any program, beside what every one
//! does (`contract.rs`): signals, trees of processes, odd files.

use std::time::{Duration, Instant};

use crate::common::*;
use fixfly_runtime::{Command, SandboxError, Status};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

#[tokio::test]
async fn a_command_starts_in_any_folder_and_may_leave_its_input() {
    for (_, sandbox) in each(&spec()).await {
        let command = Command { workdir: Some("/usr/bin".into()), ..sh("pwd") };
        assert_eq!(out(&sandbox.exec(&command).await.unwrap()), "/usr/bin\n");
        let unread = Command { stdin: vec![b'x'; 300_000], ..sh("exec true") };
        assert_eq!(sandbox.exec(&unread).await.unwrap().status, Status::Exited(0));
        sandbox.close().await.unwrap();
    }
}

#[tokio::test]
async fn what_is_written_anybody_may_read() {
    for (_, sandbox) in each(&spec()).await {
        sandbox.write("/tmp/a/b/file", b"written").await.unwrap();
        assert_eq!(expect(&*sandbox, "stat -c %a a a/b a/b/file").await, "755\n755\n644\n");
        sandbox.close().await.unwrap();
    }
}

#[tokio::test]
async fn what_is_no_regular_file_is_not_read_or_written() {
    for (_, sandbox) in each(&spec()).await {
        expect(&*sandbox, "mkfifo pipe; ln -s /nowhere/x dangling").await;
        for odd in ["/tmp/pipe", "/dev/zero", "/tmp/dangling"] {
            assert!(matches!(sandbox.read(odd).await, Err(SandboxError::File { .. })), "{odd}");
        }
        let written = sandbox.write("/tmp/pipe", b"x").await;
        assert!(matches!(written, Err(SandboxError::File { .. })));
        sandbox.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_process_that_falls_silent_is_killed_with_all_it_started() {
    for (_, sandbox) in each(&spec()).await {
        let mark = marker();
        let script = format!("setsid sleep {mark} & while read -r line; do sleep {mark}; done");
        let silent = sandbox.spawn("it", &sh(&script)).await.unwrap();
        assert!(silent.ask("?", Duration::from_millis(300)).await.is_err());
        assert_eq!(marked(&mark), 0);
        sandbox.close().await.unwrap();
    }
}

#[tokio::test]
async fn arguments_are_kept_as_they_are() {
    for (_, sandbox) in each(&spec()).await {
        let words = ["printf", "%s|", "ä😀", "", "two words", "$x", "-n", "'\"\\"];
        let output = sandbox.exec(&Command::new(words)).await.unwrap();
        assert_eq!(out(&output), "ä😀||two words|$x|-n|'\"\\|");
        sandbox.close().await.unwrap();
    }
}

#[tokio::test]
async fn what_cannot_be_run_is_an_error_that_names_it() {
    for (_, sandbox) in each(&spec()).await {
        let why = sandbox.exec(&Command::new(["no-such-program"])).await.unwrap_err().to_string();
        assert!(why.starts_with("`no-such-program` could not be run in the sandbox: No such"));
        let command = Command { workdir: Some("/nowhere".into()), ..sh("true") };
        let why = sandbox.exec(&command).await.unwrap_err().to_string();
        assert!(why.contains("the folder /nowhere: No such file"), "{why}");
        sandbox.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_time_out_kills_all_a_command_started_and_keeps_what_it_printed() {
    for (_, sandbox) in each(&spec()).await {
        let mark = marker();
        let script = format!("echo begun; setsid sh -c 'sleep {mark} & sleep {mark}' & sleep 60");
        let command = Command { timeout: Some(Duration::from_millis(700)), ..sh(&script) };
        let start = Instant::now();
        let ((), output) = tokio::join!(
            async {
                let two_sleep = || marked(&mark) >= 2;
                assert!(within(Duration::from_secs(3), two_sleep).await, "it never began");
            },
            sandbox.exec(&command)
        );
        let output = output.unwrap();
        assert_eq!((output.status, out(&output)), (Status::TimedOut, "begun\n".into()));
        assert!(start.elapsed() < Duration::from_secs(10));
        assert_eq!(marked(&mark), 0);
        assert_eq!(expect(&*sandbox, "echo still there").await, "still there\n");
        sandbox.close().await.unwrap();
    }
}

#[tokio::test]
async fn nothing_outlives_the_command_that_started_it() {
    for (_, sandbox) in each(&spec()).await {
        let mark = marker();
        let start = Instant::now();
        expect(&*sandbox, &format!("setsid sleep {mark} & echo begun")).await;
        assert!(start.elapsed() < Duration::from_secs(20));
        assert_eq!(marked(&mark), 0);
        sandbox.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_command_finds_nothing_of_the_one_before_but_its_files() {
    for (_, sandbox) in each(&spec()).await {
        let look = "echo $$ $(umask) $(ulimit -n) $(ls -d /usr/bin /usr/lib/*-gnu); ls /proc | grep -c '^[0-9]'; pwd";
        let before = expect(&*sandbox, look).await;
        run(
            &*sandbox,
            "mount -t tmpfs none /usr/bin; mount --bind /tmp /usr/lib; mount -t tmpfs none /proc
             umask 077; ulimit -n 20; cd /usr; prlimit --pid 1 --nofile=5:5 --nproc=1:1
             setsid sleep 60 & kill -9 -1; kill -9 1",
        )
        .await;
        assert_eq!(expect(&*sandbox, look).await, before);
        assert_eq!(expect(&*sandbox, "ls /usr/bin | grep -cx ls").await, "1\n");
        sandbox.close().await.unwrap();
    }
}

/// This process's children that start programs.
fn starters() -> Vec<i32> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    let children = tasks.map(|task| std::fs::read_to_string(task.path().join("children")).unwrap());
    let children: Vec<String> = children.collect();
    let pids = children.iter().flat_map(|pids| pids.split_whitespace());
    let name = |pid: &&str| std::fs::read_to_string(format!("/proc/{pid}/comm"));
    let pids = pids.filter(|pid| name(pid).is_ok_and(|name| name == "init\n"));
    pids.map(|pid| pid.parse().unwrap()).collect()
}

#[tokio::test]
async fn what_starts_programs_holds_nothing_of_fixfly_and_is_replaced_if_it_is_killed() {
    let held = vec![1_u8; 64 << 20];
    let Some((_, sandbox)) = the("local", &spec()).await else { return };
    for _ in 0..3 {
        assert_eq!(expect(&*sandbox, "echo here").await, "here\n");
        let found = starters();
        assert_eq!(found.len(), 1, "{found:?}");
        let mib = |pid| {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
            let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
            Some(line.split_whitespace().next()?.parse::<u64>().unwrap() >> 10)
        };
        assert!(mib(found[0]).unwrap() < 32);
        kill(Pid::from_raw(found[0]), Signal::SIGKILL).unwrap();
        assert!(within(Duration::from_secs(5), || mib(found[0]).is_none()).await);
    }
    sandbox.close().await.unwrap();
    assert!(within(Duration::from_secs(5), || starters().is_empty()).await);
    assert_eq!(held[held.len() - 1], 1);
}

#[tokio::test]
async fn every_exit_code_and_signal_is_distinguished() {
    for (_, sandbox) in each(&spec()).await {
        for code in [0, 1, 2, 126, 127, 128, 137, 143, 255] {
            let output = run(&*sandbox, &format!("exit {code}")).await;
            assert_eq!(output.status, Status::Exited(code));
        }
        for signal in [1, 2, 3, 6, 9, 10, 13, 14, 15] {
            let output = run(&*sandbox, &format!("kill -{signal} $$; sleep 9")).await;
            assert_eq!(output.status, Status::Signalled(signal));
        }
        sandbox.close().await.unwrap();
    }
}

/// Megabytes that this process holds.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() >> 10
}

#[tokio::test]
async fn what_a_process_says_unasked_waits_outside_fixfly() {
    for (_, sandbox) in each(&spec()).await {
        let flood = "read -r x; echo first; yes unasked & yes complaint >&2 & wait";
        let process = sandbox.spawn("flood", &sh(flood)).await.unwrap();
        assert_eq!(process.ask("?", Duration::from_secs(20)).await.unwrap(), "first");
        let before = resident();
        tokio::time::sleep(Duration::from_secs(2)).await;
        let more = resident().saturating_sub(before);
        assert!(more < 64, "{more} MB");
        assert_eq!(expect(&*sandbox, "echo still there").await, "still there\n");
        assert_eq!(process.ask("?", Duration::from_secs(20)).await.unwrap(), "unasked");
        sandbox.close().await.unwrap();
    }
}
