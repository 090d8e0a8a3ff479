//! A process that starts a sandbox's programs, one after the other (`inside.rs`). Forking
//! fixfly and entering a sandbox cost more than most commands, so that happens once, and
//! each program is forked from there.

use std::collections::BTreeMap;
use std::ffi::NulError;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, RawFd};
use std::os::unix::net;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fixfly_runtime::{Command, Limits, SandboxSpec, Status};
use nix::libc::{self, rlimit};
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::{ForkResult, Pid, fork};
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::runtime::Handle;
use tokio::task::spawn_blocking;

use super::guard::Guard;
use super::inside::{BEGUN, ENDED, HEAD, Head, PROGRAM, Rlimits, STEPS, Setup, WORKDIR};
use super::kernel::{self, STREAMS};
use super::slate::Slate;
use super::world::World;

/// See the [module](self). Dropping it ends its process and what that runs.
pub(super) struct Starter {
    process: Pid,
    link: Arc<UnixStream>,
    slate: Slate,
}

/// The connection to a starter.
#[derive(Clone)]
pub(super) struct Lifeline(Arc<UnixStream>);

impl Lifeline {
    /// Ends the program that runs, with everything that it started.
    pub(super) fn cut(&self) {
        // SAFETY: plain system call on an open descriptor.
        unsafe { libc::shutdown(self.0.as_raw_fd(), libc::SHUT_WR) };
    }
}

/// A program to start.
pub(super) struct Request {
    bytes: Vec<u8>,
    workdir: String,
}

impl Request {
    /// `announced`: the starter reports that the program was started.
    pub(super) fn new(
        command: &Command,
        spec: &SandboxSpec,
        announced: bool,
    ) -> Result<Request, NulError> {
        let workdir = command.workdir.as_deref().unwrap_or(&spec.workdir);
        let workdir = if workdir.is_empty() { "/" } else { workdir };
        let arguments = command.argv.iter().map(String::as_str);
        let none = command.argv.is_empty().then_some("");
        let variables = variables(&spec.env);
        let strings = [workdir].into_iter().chain(arguments).chain(none);
        let mut bytes = vec![0; HEAD];
        for string in strings.chain(variables.iter().map(String::as_str)) {
            bytes.extend_from_slice(std::ffi::CString::new(string)?.as_bytes_with_nul());
        }
        let length = bytes.len() - HEAD;
        let (arguments, variables) = (command.argv.len().max(1), variables.len());
        let head = Head { length, arguments, variables, announced };
        bytes.splice(..HEAD, head.bytes());
        Ok(Request { bytes, workdir: workdir.to_owned() })
    }
}

fn variables(env: &BTreeMap<String, String>) -> Vec<String> {
    env.iter().map(|(name, value)| format!("{name}={value}")).collect()
}

impl Starter {
    /// Forks one for a world, with the doors of its control groups.
    pub(super) fn fork(
        world: &World,
        limits: &Limits,
        doors: &[Arc<File>],
        guard: &Guard,
    ) -> Result<Starter, String> {
        reap_ended();
        let slate = Slate::new().map_err(|why| why.to_string())?;
        let (mut here, there) = net::UnixStream::pair().map_err(|why| why.to_string())?;
        let mut doors = doors.iter().map(|door| door.as_raw_fd());
        let setup = Setup {
            world,
            guard,
            doors: [doors.next(), doors.next()],
            rlimits: rlimits(limits),
            arguments: kernel::own_arguments(),
            slate: &slate,
            link: there.as_raw_fd(),
        };
        // SAFETY: the child makes only system calls on memory that was allocated here.
        let process = match unsafe { fork() }.map_err(|why| why.to_string())? {
            ForkResult::Parent { child } => child,
            ForkResult::Child => setup.serve(),
        };
        drop(there);
        if here.read_exact(&mut [0]).is_err() {
            let _ = waitpid(process, None);
            return Err(failure(&slate, "/").unwrap_or_else(|| "its starter ended".to_owned()));
        }
        let link = here.set_nonblocking(true).and_then(|()| UnixStream::from_std(here));
        match link {
            Ok(link) => Ok(Starter { process, link: Arc::new(link), slate }),
            Err(why) => {
                let _ = waitpid(process, None);
                Err(why.to_string())
            }
        }
    }

    pub(super) fn lifeline(&self) -> Lifeline {
        Lifeline(Arc::clone(&self.link))
    }

    /// Starts a program with these streams.
    pub(super) async fn start(
        &self,
        request: &Request,
        streams: [RawFd; STREAMS],
    ) -> io::Result<()> {
        let mut sent = 0;
        while let rest @ [_, ..] = &request.bytes[sent..] {
            let streams = (sent == 0).then_some(streams);
            let send = || kernel::send(self.link.as_raw_fd(), rest, streams);
            sent += self.link.async_io(Interest::WRITABLE, send).await?;
        }
        Ok(())
    }

    /// Waits until the program was started, or could not be.
    pub(super) async fn begun(&self, request: &Request) -> Result<(), String> {
        match message(&self.link).await {
            Ok(Some(BEGUN)) => Ok(()),
            Err(why) => Err(why.to_string()),
            Ok(_) => Err(failure(&self.slate, &request.workdir)
                .unwrap_or_else(|| "it ended before its program was started".to_owned())),
        }
    }

    /// Waits until the program and everything that it started have ended; `None` if it did
    /// not end by itself.
    pub(super) async fn ended(&self) -> io::Result<Option<Status>> {
        loop {
            match message(&self.link).await? {
                Some(ENDED) => break,
                Some(_) => {}
                None => {
                    return Err(io::Error::other("the process that starts programs was killed"));
                }
            }
        }
        Ok(self.slate.ended().map(status))
    }

    /// Why the program was not started, if it was not.
    pub(super) fn failure(&self, request: &Request) -> Option<String> {
        failure(&self.slate, &request.workdir)
    }

    /// Whether nothing was received: a program runs.
    pub(super) fn is_silent(&self) -> bool {
        let (link, mut message) = (self.link.as_raw_fd(), 0_u8);
        // SAFETY: the pointer is to one byte of this stack frame.
        let read = unsafe {
            let flags = libc::MSG_PEEK | libc::MSG_DONTWAIT;
            libc::recv(link, (&raw mut message).cast(), 1, flags)
        };
        read < 0 && io::Error::last_os_error().kind() == io::ErrorKind::WouldBlock
    }

    /// Ends the process, and waits for that.
    pub(super) fn end(self) {
        self.lifeline().cut();
        let _ = waitpid(self.process, None);
    }
}

/// The next message; `None` if the starter has ended.
async fn message(link: &UnixStream) -> io::Result<Option<u8>> {
    let mut message = [0];
    loop {
        link.readable().await?;
        match link.try_read(&mut message) {
            Ok(0) => return Ok(None),
            Ok(_) => return Ok(Some(message[0])),
            Err(why) if why.kind() == io::ErrorKind::WouldBlock => {}
            // Its end had bytes that it did not read.
            Err(why) if why.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
            Err(why) => return Err(why),
        }
    }
}

/// Starters that were ended; nobody waited for their ends.
static ENDING: Mutex<Vec<Pid>> = Mutex::new(Vec::new());

impl Drop for Starter {
    fn drop(&mut self) {
        self.lifeline().cut();
        ending().push(self.process);
        reap_ended();
        let is_left = ending().contains(&self.process);
        if let (true, Ok(runtime)) = (is_left, Handle::try_current()) {
            let (process, link) = (self.process, Arc::clone(&self.link));
            runtime.spawn(async move {
                while let Ok(Some(_)) = message(&link).await {}
                spawn_blocking(move || reap(process)).await
            });
        }
    }
}

fn ending() -> MutexGuard<'static, Vec<Pid>> {
    ENDING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits for a process that is about to end, unless another call did. Nobody else can be given
/// its number before that.
fn reap(process: Pid) {
    let mut ending = ending();
    if let Some(at) = ending.iter().position(|other| *other == process) {
        let _ = waitpid(process, None);
        ending.swap_remove(at);
    }
}

/// Waits for those that have ended.
fn reap_ended() {
    let mut ending = ending();
    let runs = |process: &Pid| {
        use nix::sys::wait::WaitStatus::StillAlive;
        matches!(waitpid(*process, Some(WaitPidFlag::WNOHANG)), Ok(StillAlive))
    };
    ending.retain(runs);
}

/// Why a program was not started.
fn failure(slate: &Slate, workdir: &str) -> Option<String> {
    let why = io::Error::from(slate.failure()?);
    Some(match slate.step() {
        PROGRAM => why.to_string(),
        WORKDIR => format!("the folder {workdir}: {why}"),
        step => format!("{}: {why}", STEPS.get(step).unwrap_or(&"starting")),
    })
}

fn status(raw: i32) -> Status {
    if libc::WIFSIGNALED(raw) {
        Status::Signalled(libc::WTERMSIG(raw))
    } else {
        Status::Exited(libc::WEXITSTATUS(raw))
    }
}

fn rlimits(limits: &Limits) -> Rlimits {
    // Each program's init, and its starter, count as well.
    const INITS: u64 = 16;
    [
        (libc::RLIMIT_NPROC, limits.processes + INITS),
        (libc::RLIMIT_FSIZE, limits.file_mb << 20),
        (libc::RLIMIT_NOFILE, limits.open_files),
        (libc::RLIMIT_CPU, limits.cpu_seconds),
        (libc::RLIMIT_CORE, 0),
    ]
    .map(|(resource, most)| {
        let mut now = rlimit { rlim_cur: most, rlim_max: most };
        // SAFETY: the pointer is to this stack frame.
        unsafe { libc::getrlimit(resource, &raw mut now) };
        let most = most.min(now.rlim_max);
        (resource, rlimit { rlim_cur: most, rlim_max: most })
    })
}
