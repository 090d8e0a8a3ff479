//! What every sandbox promises.
#![allow(clippy::unwrap_used)]

mod common;

use std::time::{Duration, Instant};

use common::*;
use fixfly_runtime::{Command, MountMode, SandboxError, Status};

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
async fn there_is_no_network_but_a_loopback_of_its_own() {
    if !python() {
        return;
    }
    let host = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = host.local_addr().unwrap().port();
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
    let script = format!(
        "import socket
for place in [('1.1.1.1', 53), ('127.0.0.1', {port})]:
    try:
        socket.create_connection(place, 2)
        print('connected', place)
    except OSError as error:
        print(type(error).__name__)
own = socket.create_server(('127.0.0.1', 0))
socket.create_connection(own.getsockname(), 2)
socket.create_connection(('localhost', own.getsockname()[1]), 2)
print('own loopback')"
    );
    for (_, sandbox) in each(&spec()).await {
        let output = sandbox.exec(&Command::new(["python3", "-c", &script])).await.unwrap();
        assert_eq!(
            out(&output),
            "OSError\nConnectionRefusedError\nown loopback\n",
            "{}",
            err(&output)
        );
        sandbox.close().await.unwrap();
    }
}

#[tokio::test]
async fn a_read_only_mount_can_be_read_and_not_written() {
    let folder = open_folder();
    std::fs::write(folder.path().join("file"), "host").unwrap();
    let mut spec = spec();
    spec.mounts = vec![mount(folder.path(), "/a/b", MountMode::ReadOnly)];
    for (_, sandbox) in each(&spec).await {
        assert_eq!(expect(&*sandbox, "cat /a/b/file").await, "host");
        for attempt in [
            "echo x > /a/b/file",
            "touch /a/b/new",
            "rm /a/b/file",
            "mount -o remount,rw /a/b && touch /a/b/new",
            "mount -o remount,bind,rw /a/b && touch /a/b/new",
            "umount /a/b",
            "touch /usr/x",
            "touch /x",
            "echo x > /etc/passwd",
        ] {
            assert_ne!(run(&*sandbox, attempt).await.status, Status::Exited(0), "{attempt}");
        }
        assert!(sandbox.write("/a/b/file", b"x").await.is_err());
        sandbox.close().await.unwrap();
    }
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    assert_eq!(std::fs::read_to_string(folder.path().join("file")).unwrap(), "host");
}

#[tokio::test]
async fn writes_to_a_private_mount_stay_in_the_sandbox_and_vanish() {
    let folder = open_folder();
    std::fs::create_dir(folder.path().join("d")).unwrap();
    std::fs::write(folder.path().join("d/file"), "host").unwrap();
    std::os::unix::fs::symlink("d/file", folder.path().join("link")).unwrap();
    let mut spec = spec();
    spec.mounts = vec![mount(folder.path(), "/src", MountMode::Private)];
    for _ in 0..2 {
        for (_, sandbox) in each(&spec).await {
            assert_eq!(expect(&*sandbox, "cat /src/link").await, "host");
            expect(&*sandbox, "cd /src && echo in > d/file && touch new && rm link").await;
            sandbox.write("/src/d/file", b"again").await.unwrap();
            assert_eq!(expect(&*sandbox, "cat /src/d/file; ls /src").await, "againd\nnew\n");
            sandbox.close().await.unwrap();
        }
    }
    assert_eq!(std::fs::read_to_string(folder.path().join("d/file")).unwrap(), "host");
    assert!(!folder.path().join("new").exists());
}

#[tokio::test]
async fn a_mount_that_cannot_be_is_an_error_that_names_it() {
    for (from, to) in [("/no/such/folder", "/a"), ("/usr", "relative"), ("/usr", "/a/../b")] {
        let mut spec = spec();
        spec.mounts = vec![mount(from.as_ref(), to, MountMode::ReadOnly)];
        for entry in fixfly_sandboxes::ALL {
            let opened = (entry.open)().unwrap().open(&spec).await;
            let why = opened.err().unwrap();
            let says = |word| why.to_string().contains(word);
            assert!(beyond(&why) || says(from) || says(to), "{why}");
        }
    }
}

#[tokio::test]
async fn the_host_is_invisible() {
    let secret = open_folder();
    for (_, sandbox) in each(&spec()).await {
        let path = secret.path().to_str().unwrap();
        assert_ne!(run(&*sandbox, &format!("test -e {path}")).await.status, Status::Exited(0));
        assert_eq!(expect(&*sandbox, "ls -A /root /home | grep -v : | wc -w").await, "0\n");
        let processes = expect(&*sandbox, "ls /proc | grep -c '^[0-9]'").await;
        assert!(processes.trim().parse::<u32>().unwrap() < 8, "{processes}");
        let own = std::process::id();
        assert!(!expect(&*sandbox, "cat /proc/[0-9]*/cmdline").await.contains("contract"));
        for attempt in [
            "cat /proc/1/environ".to_owned(),
            "cat /proc/1/maps".to_owned(),
            "ls /proc/1/root/".to_owned(),
            "ls -l /proc/1/fd/".to_owned(),
            format!("kill -0 {own}"),
            "echo x > /proc/sys/kernel/core_pattern".to_owned(),
            "echo 1 > /proc/sys/vm/drop_caches".to_owned(),
        ] {
            assert_ne!(run(&*sandbox, &attempt).await.status, Status::Exited(0), "{attempt}");
        }
        sandbox.close().await.unwrap();
    }
}

#[tokio::test]
async fn the_environment_is_the_specs() {
    let mut spec = spec();
    spec.env.insert("ONLY".into(), "this one".into());
    for (_, sandbox) in each(&spec).await {
        let env = out(&sandbox.exec(&Command::new(["env"])).await.unwrap());
        let mut env: Vec<_> = env.lines().collect();
        env.sort_unstable();
        assert_eq!(env, ["LANG=C.UTF-8", "ONLY=this one", "PATH=/usr/bin:/bin"]);
        sandbox.close().await.unwrap();
    }
}

#[tokio::test]
async fn sandboxes_do_not_see_each_other() {
    let (first, second) = (each(&spec()).await, each(&spec()).await);
    for ((_, first), (_, second)) in first.into_iter().zip(second) {
        first.write("/tmp/mine", b"x").await.unwrap();
        assert!(second.read("/tmp/mine").await.is_err());
        first.close().await.unwrap();
        assert_eq!(expect(&*second, "echo still there").await, "still there\n");
        second.close().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_sandboxes_and_commands_run_at_once() {
    let work = (0..12).map(|number| async move {
        let question = number.to_string();
        for (_, sandbox) in each(&spec()).await {
            let process = sandbox.spawn("cat", &Command::new(["cat"])).await.unwrap();
            let scripts = [1, 2, 3, 4].map(|_| sh("cat > /dev/null; echo $$ > /dev/null; echo ok"));
            let (a, b, c, d, answer) = tokio::join!(
                sandbox.exec(&scripts[0]),
                sandbox.exec(&scripts[1]),
                sandbox.exec(&scripts[2]),
                sandbox.exec(&scripts[3]),
                process.ask(&question, Duration::from_secs(60)),
            );
            for output in [a, b, c, d] {
                assert_eq!(out(&output.unwrap()), "ok\n");
            }
            assert_eq!(answer.unwrap(), question);
            sandbox.close().await.unwrap();
        }
    });
    for done in work.map(tokio::spawn).collect::<Vec<_>>() {
        done.await.unwrap();
    }
}

/// What the benchmarks' test server does to hold each candidate.
const NEST: &str = r#"
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
NEWNS, NEWUSER, NEWPID, BIND, RDONLY = 0x20000, 0x10000000, 0x20000000, 4096, 1
def must(result, what):
    if result != 0:
        print(what, os.strerror(ctypes.get_errno()), flush=True)
        os._exit(9)
def mount(source, target, kind, flags, data=None):
    must(libc.mount(source, target, kind, flags, data), f'mount {target}')
open('/tmp/mine', 'w').write('candidate')
must(libc.unshare(NEWPID), 'unshare pid')
child = os.fork()
if child == 0:
    assert os.getpid() == 1
    uid, gid = os.getuid(), os.getgid()
    # Before the user namespace: a pid namespace's /proc is its owner's to mount.
    must(libc.unshare(NEWNS), 'unshare mount')
    mount(b'proc', b'/proc', b'proc', 0)
    must(libc.unshare(NEWUSER | NEWNS), 'unshare user, mount')
    open('/proc/self/setgroups', 'w').write('deny')
    open('/proc/self/uid_map', 'w').write(f'0 {uid} 1')
    open('/proc/self/gid_map', 'w').write(f'0 {gid} 1')
    mount(b'/tmp/mine', b'/repo/file', None, BIND)
    mount(b'tmpfs', b'/tmp', b'tmpfs', 0, b'size=1m')
    assert open('/repo/file').read() == 'candidate'
    assert os.listdir('/tmp') == []
    assert [name for name in os.listdir('/proc') if name.isdigit()] == ['1']
    for name in range(41):
        libc.prctl(24, name, 0, 0, 0)
    class Header(ctypes.Structure):
        _fields_ = [('version', ctypes.c_uint32), ('pid', ctypes.c_int)]
    must(libc.syscall(126, ctypes.byref(Header(0x20080522, 0)), (ctypes.c_uint32 * 6)()), 'capset')
    assert libc.mount(b'tmpfs', b'/tmp', b'tmpfs', 0, None) == -1
    os._exit(0)
_, status = os.waitpid(child, 0)
assert open('/repo/file').read() == 'host'
print(os.waitstatus_to_exitcode(status))
"#;

#[tokio::test]
async fn a_program_inside_can_hold_others_in_namespaces_of_theirs() {
    if !python() {
        return;
    }
    let folder = open_folder();
    std::fs::write(folder.path().join("file"), "host").unwrap();
    let mut spec = spec();
    spec.mounts = vec![mount(folder.path(), "/repo", MountMode::ReadOnly)];
    for (_, sandbox) in each(&spec).await {
        let output = sandbox.exec(&Command::new(["python3", "-c", NEST])).await.unwrap();
        assert_eq!(out(&output), "0\n", "{}", err(&output));
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
