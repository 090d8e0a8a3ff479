//! What every sandbox promises.
#![allow(clippy::unwrap_used)]

mod common;

use std::time::{Duration, Instant};

use common::*;
use fixfly_runtime::{Command, SandboxError, Status};

#[tokio::test]
async fn a_command_tells_how_it_ended_and_what_it_printed() {
    for (_, sandbox) in each(&spec()).await {
        let output = run(&*sandbox, "echo out; echo err >&2; exit 3").await;
        assert_eq!(output.status, Status::Exited(3));
        assert_eq!((out(&output), err(&output)), ("out\n".into(), "err\n".into()));
        assert_eq!(output.elided, 0);
        let output = run(&*sandbox, "kill -SEGV $$").await;
        assert_eq!(output.status, Status::Signalled(11));
        sandbox.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_command_reads_its_input_and_starts_in_its_folder() {
    for (_, sandbox) in each(&spec()).await {
        let stdin = vec![b'x'; 300_000];
        let command = Command { stdin, ..sh("wc -c; pwd") };
        assert_eq!(out(&sandbox.exec(&command).await.unwrap()), "300000\n/tmp\n");
        let command = Command { workdir: Some("/usr/bin".into()), ..sh("pwd") };
        assert_eq!(out(&sandbox.exec(&command).await.unwrap()), "/usr/bin\n");
        let unread = Command { stdin: vec![b'x'; 300_000], ..sh("exec true") };
        assert_eq!(sandbox.exec(&unread).await.unwrap().status, Status::Exited(0));
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
async fn output_beyond_the_cap_is_counted_and_not_kept() {
    for (_, sandbox) in each(&spec()).await {
        let script = "head -c 3000000 /dev/zero; head -c 2000000 /dev/zero >&2";
        let command = Command { output_cap: Some(1000), ..sh(script) };
        let output = sandbox.exec(&command).await.unwrap();
        assert_eq!((output.stdout.len(), output.stderr.len()), (1000, 1000));
        assert_eq!((output.status, output.elided), (Status::Exited(0), 4_998_000));
        let output = sandbox.exec(&sh("head -c 2000000 /dev/zero")).await.unwrap();
        assert_eq!((output.stdout.len() as u64, output.elided), (1 << 20, 2_000_000 - (1 << 20)));
        sandbox.close().await.unwrap();
    }
}

#[tokio::test]
async fn files_are_one_for_commands_and_callers() {
    for (_, sandbox) in each(&spec()).await {
        sandbox.write("/tmp/a/b/file", b"written").await.unwrap();
        assert_eq!(expect(&*sandbox, "cat a/b/file; echo more >> a/b/file").await, "written");
        assert_eq!(sandbox.read("/tmp/a/b/file").await.unwrap(), b"writtenmore\n");
        sandbox.write("/tmp/a/b/file", b"short").await.unwrap();
        assert_eq!(sandbox.read("/tmp/a/b/file").await.unwrap(), b"short");
        assert_eq!(expect(&*sandbox, "stat -c %a a a/b a/b/file").await, "755\n755\n644\n");
        sandbox.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_file_that_cannot_be_used_is_an_error_that_names_it() {
    for (_, sandbox) in each(&spec()).await {
        expect(&*sandbox, "mkdir d; mkfifo pipe; ln -s /nowhere/x dangling").await;
        let missing = sandbox.read("/tmp/none").await.unwrap_err();
        assert_eq!(missing.to_string(), "/tmp/none in the sandbox: there is no such file");
        let folder = sandbox.read("/tmp/d").await.unwrap_err();
        assert_eq!(folder.to_string(), "/tmp/d in the sandbox: it is a folder");
        for odd in ["/tmp/pipe", "/dev/zero", "/tmp/dangling"] {
            assert!(matches!(sandbox.read(odd).await, Err(SandboxError::File { .. })), "{odd}");
        }
        for closed in ["/usr/x", "/etc/passwd", "/tmp/pipe", "/tmp/d"] {
            let written = sandbox.write(closed, b"x").await;
            assert!(matches!(written, Err(SandboxError::File { .. })), "{closed}");
        }
        sandbox.close().await.unwrap();
    }
}

#[tokio::test]
async fn links_made_inside_lead_nowhere_outside() {
    let secret = open_folder();
    let file = secret.path().join("secret");
    std::fs::write(&file, "secret").unwrap();
    let file = file.to_str().unwrap();
    for (_, sandbox) in each(&spec()).await {
        let up = "../".repeat(20);
        expect(&*sandbox, &format!("ln -s {file} a; ln -s {up}{file} b; ln -s /proc/1/root c"))
            .await;
        for path in ["/tmp/a", "/tmp/b", &format!("/tmp/{up}{file}"), &format!("/tmp/c{file}")] {
            assert!(sandbox.read(path).await.is_err(), "{path}");
            let _ = sandbox.write(path, b"overwritten").await;
        }
        assert_eq!(std::fs::read_to_string(file).unwrap(), "secret");
        sandbox.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_process_answers_line_by_line_and_is_one_by_name() {
    let echo = sh("n=0; while read -r line; do n=$((n+1)); echo \"$n $line\"; done");
    for (_, sandbox) in each(&spec()).await {
        let process = sandbox.spawn("echo", &echo).await.unwrap();
        let second = Duration::from_secs(10);
        assert_eq!(process.ask("one", second).await.unwrap(), "1 one");
        let same = sandbox.spawn("echo", &echo).await.unwrap();
        let (two, three) = tokio::join!(same.ask("x", second), process.ask("x", second));
        let mut answers = [two.unwrap(), three.unwrap()];
        answers.sort();
        assert_eq!(answers, ["2 x", "3 x"]);
        let other = sandbox.spawn("other", &echo).await.unwrap();
        assert_eq!(other.ask("a", second).await.unwrap(), "1 a");
        assert!(process.ask("two\nlines", second).await.is_err());
        sandbox.close().await.unwrap();
        assert!(process.ask("after", second).await.is_err());
    }
}

#[tokio::test]
async fn a_process_that_falls_silent_is_killed_and_spawned_anew() {
    for (_, sandbox) in each(&spec()).await {
        let mark = marker();
        let script = format!("echo oh no >&2; while read -r line; do sleep {mark}; done");
        let silent = sandbox.spawn("it", &sh(&script)).await.unwrap();
        let why = silent.ask("?", Duration::from_millis(300)).await.unwrap_err().to_string();
        assert!(why.contains("`it` in the sandbox did not answer within 300ms"), "{why}");
        assert!(why.ends_with("its last words: oh no"), "{why}");
        assert_eq!(marked(&mark), 0);
        let why = silent.ask("?", Duration::from_secs(1)).await.unwrap_err().to_string();
        assert!(why.contains("ended"), "{why}");
        let anew = sandbox.spawn("it", &sh("read -r line; echo $line")).await.unwrap();
        assert_eq!(anew.ask("hello", Duration::from_secs(10)).await.unwrap(), "hello");
        sandbox.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_process_that_ends_says_how() {
    for (_, sandbox) in each(&spec()).await {
        let dying = sandbox.spawn("it", &sh("read -r x; echo why >&2; exit 7")).await.unwrap();
        let why = dying.ask("?", Duration::from_secs(10)).await.unwrap_err().to_string();
        assert!(why.ends_with("ended: exit code 7; its last words: why"), "{why}");
        sandbox.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_question_given_up_is_never_answered_to_the_next() {
    for (_, sandbox) in each(&spec()).await {
        let slow = sh("while read -r line; do sleep 0.5; echo $line; done");
        let process = sandbox.spawn("it", &slow).await.unwrap();
        let asked = process.ask("first", Duration::from_secs(10));
        assert!(tokio::time::timeout(Duration::from_millis(100), asked).await.is_err());
        assert!(process.ask("second", Duration::from_secs(10)).await.is_err());
        sandbox.close().await.unwrap();
    }
}

#[tokio::test]
async fn bytes_and_names_are_kept_as_they_are() {
    let bytes: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    for (_, sandbox) in each(&spec()).await {
        for path in ["/tmp/ä ö/日本/😀.bin", "/tmp/-n", "/tmp/a\nb", "/tmp/'\"$x\\"] {
            sandbox.write(path, &bytes).await.unwrap();
            assert!(sandbox.read(path).await.unwrap() == bytes, "{path}");
            let command = Command::new(["cat", path]);
            assert!(sandbox.exec(&command).await.unwrap().stdout == bytes, "{path}");
        }
        let command = Command { stdin: bytes.clone(), ..Command::new(["cat"]) };
        assert!(sandbox.exec(&command).await.unwrap().stdout == bytes);
        let words = ["printf", "%s|", "ä😀", "", "two words", "$x"];
        let output = sandbox.exec(&Command::new(words)).await.unwrap();
        assert_eq!(out(&output), "ä😀||two words|$x|");
        sandbox.close().await.unwrap();
    }
}

#[tokio::test]
async fn every_exit_code_and_signal_is_told_apart() {
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
