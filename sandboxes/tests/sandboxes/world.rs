//! What every sandbox shows of the world, and what it hides.

use crate::common::*;
use fixfly_runtime::{Command, MountMode, Status};

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
async fn a_read_only_mount_cannot_be_made_writable() {
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
            let opened =
                (entry.open)(&fixfly_sandboxes::HostOptions::default()).unwrap().open(&spec).await;
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
