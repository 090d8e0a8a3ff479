//! What every sandbox promises: of Python programs, as some run nothing else;
//! and what holds in those.

use std::time::{Duration, Instant};

use crate::common::*;
use fixfly_runtime::{Command, MountMode, Output, Sandbox, SandboxError, Status};

fn python3(code: &str) -> Command {
    Command::new(["python3", "-c", code])
}

async fn python_run(sandbox: &dyn Sandbox, code: &str) -> Output {
    sandbox.exec(&python3(code)).await.unwrap()
}

#[track_caller]
fn check_output(output: &Output, expected: &str) {
    assert_eq!(out(output), expected, "{:?} {}", output.status, err(output));
}

const SECONDS: Duration = Duration::from_secs(20);
/// By then Python runs, on a busy machine too.
const BEGUN: Duration = Duration::from_secs(6);

#[tokio::test]
async fn what_a_sandbox_cannot_have_is_an_error_of_its_own() {
    for (_, sandbox) in each_of_python_alone(&spec()).await {
        let refused = sandbox.exec(&sh("true")).await.unwrap_err();
        assert!(matches!(refused, SandboxError::Unsupported { .. }), "{refused}");
        assert_eq!(refused.to_string(), "the sandbox `wasm` cannot run `sh`: it runs only Python");
        let spawned = sandbox.spawn("it", &sh("true")).await.err().unwrap();
        assert!(matches!(spawned, SandboxError::Unsupported { .. }), "{spawned}");
        for (attempt, error) in [
            ("import subprocess; subprocess.run(['ls'])", "OSError"),
            ("import os; os.fork()", "AttributeError"),
            ("import os; os.system('ls')", "AttributeError"),
            ("import os; os.execv('/bin/sh', ['sh'])", "AttributeError"),
            ("import os; os.kill(1, 9)", "AttributeError"),
            ("import threading; threading.Thread(target=print).start()", "RuntimeError"),
            ("import socket; socket.create_connection(('127.0.0.1', 22))", "error"),
            ("import socket; socket.getaddrinfo('pypi.org', 443)", "error"),
            ("import socket; socket.socket()", "Error"),
            ("import ctypes; ctypes.string_at(0)", "ModuleNotFoundError"),
        ] {
            let output = python_run(&*sandbox, attempt).await;
            assert_eq!(output.status, Status::Exited(1), "{attempt}");
            let last = err(&output).trim().lines().last().unwrap_or_default().to_owned();
            assert!(last.contains(error), "{attempt}: {last}");
        }
        sandbox.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_program_tells_how_it_ended_and_what_it_printed() {
    for (_, sandbox) in each_with_python(&spec()).await {
        let code = "import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)";
        let output = python_run(&*sandbox, code).await;
        assert_eq!(output.status, Status::Exited(3));
        assert_eq!((out(&output), err(&output)), ("out\n".into(), "err\n".into()));
        let output = python_run(&*sandbox, "1 / 0").await;
        assert_eq!(output.status, Status::Exited(1));
        assert!(err(&output).trim_end().ends_with("ZeroDivisionError: division by zero"));
        let output = python_run(&*sandbox, "print('a', flush=True); import os; os._exit(1)").await;
        assert_eq!((output.status, out(&output)), (Status::Exited(1), "a\n".into()));
        sandbox.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_program_reads_its_input_and_starts_in_its_folder() {
    for (_, sandbox) in each_with_python(&spec()).await {
        let stdin = vec![b'x'; 300_000];
        let code = "import os, sys; print(len(sys.stdin.buffer.read())); print(os.getcwd())";
        let command = Command { stdin, ..python3(code) };
        check_output(&sandbox.exec(&command).await.unwrap(), "300000\n/tmp\n");
        sandbox.close().await.unwrap();
    }
}

#[tokio::test]
async fn bytes_and_names_are_any() {
    for (_, sandbox) in each_with_python(&spec()).await {
        let bytes: Vec<u8> = (0..=255).cycle().take(70_000).collect();
        for path in ["/tmp/\u{fc}n\u{ef}/日本/\u{1f980} x", "/tmp/-n", "/tmp/a\nb", "/tmp/'\"$x\\"]
        {
            sandbox.write(path, &bytes).await.unwrap();
            assert!(sandbox.read(path).await.unwrap() == bytes, "{path}");
            let code = "import sys; data = open(sys.stdin.read(), 'rb').read(); print(len(data))
sys.stdout.flush(); sys.stdout.buffer.write(data[:256])";
            let command = Command { stdin: path.into(), ..python3(code) };
            let output = sandbox.exec(&command).await.unwrap();
            assert_eq!(output.stdout, [b"70000\n", &bytes[..256]].concat(), "{}", err(&output));
        }
        sandbox.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_time_out_ends_whatever_it_does_and_keeps_what_it_printed() {
    for (host, sandbox) in each_with_python(&spec()).await {
        for work in [
            "while True: pass",
            "import time; time.sleep(60)",
            "import re; re.match('(a+)+$', 'a' * 40 + 'b')",
            "sum(range(10 ** 15))",
        ] {
            let code = format!("print('begun', flush=True)\n{work}");
            let timeout = Some(BEGUN);
            let start = Instant::now();
            let output = sandbox.exec(&Command { timeout, ..python3(&code) }).await.unwrap();
            assert_eq!(output.status, Status::TimedOut, "{work} in {}", host.isolation());
            assert_eq!(out(&output), "begun\n");
            assert!(start.elapsed() < SECONDS, "{work}");
        }
        check_output(&python_run(&*sandbox, "print('still there')").await, "still there\n");
        sandbox.close().await.unwrap();
    }
}

#[tokio::test]
async fn output_beyond_the_cap_is_counted_and_not_kept() {
    for (_, sandbox) in each_with_python(&spec()).await {
        let code = "import sys; sys.stdout.write('x' * 3000000); sys.stderr.write('y' * 2000000)";
        let command = Command { output_cap: Some(1000), ..python3(code) };
        let output = sandbox.exec(&command).await.unwrap();
        assert_eq!((output.stdout.len(), output.stderr.len()), (1000, 1000));
        assert_eq!((output.status, output.elided), (Status::Exited(0), 4_998_000));
        let endless = "while True: print('x' * 1000)";
        let timeout = Some(BEGUN);
        let output = sandbox.exec(&Command { timeout, ..python3(endless) }).await.unwrap();
        assert_eq!((output.status, output.stdout.len()), (Status::TimedOut, 1 << 20));
        sandbox.close().await.unwrap();
    }
}

#[tokio::test]
async fn memory_beyond_the_limit_is_not_had() {
    let mut spec = spec();
    spec.limits.memory_mb = 256;
    for (host, sandbox) in each_with_python(&spec).await {
        if host.isolation().contains("no memory limit") {
            eprintln!("skipped: {}", host.isolation());
            continue;
        }
        let start = Instant::now();
        for glutton in [
            "held = [bytearray(b'x' * (1 << 20)) for _ in range(10 << 10)]; print('ate')",
            "held = bytearray(10 << 30); print(len(held)); held[:] = b'x' * len(held); print('ate')",
        ] {
            let output = python_run(&*sandbox, glutton).await;
            assert!(!out(&output).contains("ate"));
            assert_ne!(output.status, Status::Exited(0));
        }
        assert!(start.elapsed() < Duration::from_secs(60));
        check_output(&python_run(&*sandbox, "print('still there')").await, "still there\n");
        sandbox.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_full_disk_is_the_sandboxes_own() {
    let mut spec = spec();
    spec.limits.disk_mb = 16;
    for (_, sandbox) in each_with_python(&spec).await {
        let hog = "
for number in range(1000):
    with open(f'/tmp/f{number}', 'wb') as file:
        file.write(b'x' * (1 << 20))
print('wrote a gigabyte')";
        let output = python_run(&*sandbox, hog).await;
        assert_ne!(output.status, Status::Exited(0));
        assert_eq!(out(&output), "");
        sandbox.close().await.unwrap();
    }
}

#[tokio::test]
async fn recursion_without_end_is_the_programs_own_failure() {
    for (_, sandbox) in each_with_python(&spec()).await {
        let output = python_run(&*sandbox, "def f(): f()\nf()").await;
        assert_eq!(output.status, Status::Exited(1));
        assert!(err(&output).contains("RecursionError"), "{}", err(&output));
        let deep = "x = []\nfor _ in range(1000000): x = [x]\nrepr(x)";
        assert_ne!(python_run(&*sandbox, deep).await.status, Status::Exited(0));
        check_output(&python_run(&*sandbox, "print('still there')").await, "still there\n");
        sandbox.close().await.unwrap();
    }
}

#[tokio::test]
async fn files_are_one_for_programs_and_callers() {
    for (_, sandbox) in each_with_python(&spec()).await {
        sandbox.write("/tmp/a/b/file", b"written").await.unwrap();
        let code = "print(open('/tmp/a/b/file').read()); open('/tmp/a/b/file', 'a').write('more')";
        check_output(&python_run(&*sandbox, code).await, "written\n");
        assert_eq!(sandbox.read("/tmp/a/b/file").await.unwrap(), b"writtenmore");
        sandbox.write("/tmp/a/b/file", b"short").await.unwrap();
        assert_eq!(sandbox.read("/tmp/a/b/file").await.unwrap(), b"short");
        let missing = sandbox.read("/tmp/none").await.unwrap_err();
        assert_eq!(missing.to_string(), "/tmp/none in the sandbox: there is no such file");
        let folder = sandbox.read("/tmp/a").await.unwrap_err();
        assert_eq!(folder.to_string(), "/tmp/a in the sandbox: it is a folder");
        for closed in ["/usr/x", "/etc/passwd", "/tmp/a", "relative"] {
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
    for (_, sandbox) in each_with_python(&spec()).await {
        let up = "../".repeat(20);
        let code = format!(
            "import os
def attempt(work):
    try:
        print(work())
    except (OSError, ValueError):
        pass
attempt(lambda: os.symlink('{file}', '/tmp/a'))
attempt(lambda: os.symlink('{up}{file}', '/tmp/b'))
attempt(lambda: os.symlink('/proc/1/root', '/tmp/c'))
for path in ('{file}', '/tmp/{up}{file}', '/tmp/a', '/tmp/b', '/tmp/c{file}', '/proc/self/root{file}'):
    attempt(lambda: open(path).read())
    attempt(lambda: open(path, 'w').write('overwritten') and None)
    attempt(lambda: os.listdir(os.path.dirname(path)) and None)
    descriptor = None
    try:
        descriptor = os.open('/tmp', os.O_RDONLY)
    except OSError:
        continue
    attempt(lambda: os.read(os.open('{up}' + path, os.O_RDONLY, dir_fd=descriptor), 99))
    attempt(lambda: os.rename(path, '/tmp/taken') and None)
    attempt(lambda: os.link(path, '/tmp/linked') and None)"
        );
        let output = python_run(&*sandbox, &code).await;
        assert!(!out(&output).contains("secret"), "{}", out(&output));
        for path in ["/tmp/a", "/tmp/b", &format!("/tmp/{up}{file}"), &format!("/tmp/c{file}")] {
            assert!(!sandbox.read(path).await.is_ok_and(|read| read == b"secret"), "{path}");
            let _ = sandbox.write(path, b"overwritten").await;
        }
        assert_eq!(std::fs::read_to_string(file).unwrap(), "secret");
        sandbox.close().await.unwrap();
    }
}

#[tokio::test]
async fn mounts_are_read_only_or_private() {
    let folder = open_folder();
    std::fs::create_dir(folder.path().join("d")).unwrap();
    std::fs::write(folder.path().join("d/file"), "host").unwrap();
    let mut spec = spec();
    spec.mounts = vec![
        mount(folder.path(), "/a/b", MountMode::ReadOnly),
        mount(folder.path(), "/src", MountMode::Private),
    ];
    let code = "import os
for work in (lambda: open('/a/b/d/file', 'w'), lambda: open('/a/b/new', 'w'), lambda: os.unlink('/a/b/d/file'),
             lambda: os.mkdir('/a/b/x'), lambda: os.rename('/a/b/d', '/a/b/e'), lambda: os.utime('/a/b/d/file'),
             lambda: os.symlink('x', '/a/b/l'), lambda: os.link('/a/b/d/file', '/src/l'),
             lambda: os.truncate('/a/b/d/file', 0), lambda: open('/x', 'w')):
    try:
        print('did', work())
    except OSError:
        pass
print(open('/a/b/d/file').read(), open('/src/d/file').read())
open('/src/d/file', 'w').write('in'); os.mkdir('/src/new')";
    for (_, sandbox) in each_with_python(&spec).await {
        check_output(&python_run(&*sandbox, code).await, "host host\n");
        assert_eq!(sandbox.read("/src/d/file").await.unwrap(), b"in");
        assert!(sandbox.write("/a/b/d/file", b"x").await.is_err());
        sandbox.close().await.unwrap();
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    assert_eq!(std::fs::read_to_string(folder.path().join("d/file")).unwrap(), "host");
}

#[tokio::test]
async fn the_environment_is_the_specs() {
    let mut spec = spec();
    spec.env.insert("ONLY".into(), "this one".into());
    for (_, sandbox) in each_with_python(&spec).await {
        let code = "import os; print(sorted(set(os.environ) - {'LC_CTYPE'}), os.environ['ONLY'])";
        check_output(&python_run(&*sandbox, code).await, "['LANG', 'ONLY', 'PATH'] this one\n");
        sandbox.close().await.unwrap();
    }
}

const ECHO: &str = "import sys
for number, line in enumerate(sys.stdin, 1):
    print(number, line.strip(), flush=True)";

#[tokio::test]
async fn a_process_answers_line_by_line_and_is_one_by_name() {
    for (_, sandbox) in each_with_python(&spec()).await {
        let process = sandbox.spawn("echo", &python3(ECHO)).await.unwrap();
        assert_eq!(process.ask("one", SECONDS).await.unwrap(), "1 one");
        let same = sandbox.spawn("echo", &python3(ECHO)).await.unwrap();
        let (two, three) = tokio::join!(same.ask("x", SECONDS), process.ask("x", SECONDS));
        let mut answers = [two.unwrap(), three.unwrap()];
        answers.sort();
        assert_eq!(answers, ["2 x", "3 x"]);
        let other = sandbox.spawn("other", &python3(ECHO)).await.unwrap();
        assert_eq!(other.ask("a", SECONDS).await.unwrap(), "1 a");
        assert!(process.ask("two\nlines", SECONDS).await.is_err());
        sandbox.close().await.unwrap();
        assert!(process.ask("after", SECONDS).await.is_err());
    }
}

#[tokio::test]
async fn a_process_that_falls_silent_is_ended_and_spawned_anew() {
    for (_, sandbox) in each_with_python(&spec()).await {
        let silent = "import sys, time
print('oh no', file=sys.stderr, flush=True)
for line in sys.stdin: time.sleep(60)";
        let process = sandbox.spawn("it", &python3(silent)).await.unwrap();
        let why = process.ask("?", Duration::from_secs(2)).await.unwrap_err().to_string();
        assert!(why.contains("`it` in the sandbox did not answer within 2s"), "{why}");
        assert!(why.ends_with("its last words: oh no"), "{why}");
        let why = process.ask("?", SECONDS).await.unwrap_err().to_string();
        assert!(why.contains("ended"), "{why}");
        let anew = sandbox.spawn("it", &python3(ECHO)).await.unwrap();
        assert_eq!(anew.ask("hello", SECONDS).await.unwrap(), "1 hello");
        let dying = "import sys; input(); print('why', file=sys.stderr); sys.exit(7)";
        let dying = sandbox.spawn("dying", &python3(dying)).await.unwrap();
        let why = dying.ask("?", SECONDS).await.unwrap_err().to_string();
        assert!(why.ends_with("ended: exit code 7; its last words: why"), "{why}");
        sandbox.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_question_given_up_is_never_answered_to_the_next() {
    for (_, sandbox) in each_with_python(&spec()).await {
        let slow = "import sys, time
for line in sys.stdin: time.sleep(1); print(line.strip(), flush=True)";
        let process = sandbox.spawn("it", &python3(slow)).await.unwrap();
        let asked = process.ask("first", SECONDS);
        assert!(tokio::time::timeout(Duration::from_millis(300), asked).await.is_err());
        assert!(process.ask("second", SECONDS).await.is_err());
        sandbox.close().await.unwrap();
    }
}

#[tokio::test]
async fn sandboxes_and_programs_do_not_see_each_other() {
    let (first, second) = (each_with_python(&spec()).await, each_with_python(&spec()).await);
    for ((_, first), (_, second)) in first.into_iter().zip(second) {
        python_run(&*first, "import builtins; builtins.mine = 1; open('/tmp/mine', 'w')").await;
        check_output(&python_run(&*first, "print('mine' in dir(__builtins__))").await, "False\n");
        first.read("/tmp/mine").await.unwrap();
        assert!(second.read("/tmp/mine").await.is_err());
        first.close().await.unwrap();
        check_output(&python_run(&*second, "print('still there')").await, "still there\n");
        second.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_sandboxes_and_programs_run_at_once() {
    let work = (0..8).map(|number| async move {
        for (_, sandbox) in each_with_python(&spec()).await {
            let process = sandbox.spawn("echo", &python3(ECHO)).await.unwrap();
            let (question, ok) = (number.to_string(), python3("print('ok')"));
            let (a, b, answer) = tokio::join!(
                sandbox.exec(&ok),
                sandbox.exec(&ok),
                process.ask(&question, SECONDS * 3),
            );
            for output in [a, b] {
                assert_eq!(out(&output.unwrap()), "ok\n");
            }
            assert_eq!(answer.unwrap(), format!("1 {number}"));
            sandbox.close().await.unwrap();
        }
    });
    for done in work.map(tokio::spawn).collect::<Vec<_>>() {
        done.await.unwrap();
    }
}
