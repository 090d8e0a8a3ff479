//! One program in a sandbox, with all its children.
//!
//! Every program gets its own pid namespace. Its first process is a small init forked from
//! fixfly. When the program ends, or when fixfly closes or loses the lifeline, the init
//! exits and the kernel kills everything that is left in the namespace. No `setsid` and no
//! double fork escapes that.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};

use fixfly_runtime::{Command, Limits, SandboxError, SandboxSpec, Status};
use nix::fcntl::OFlag;
use nix::libc::{self, rlimit};
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{ForkResult, chdir, fork, pipe2};
use tokio::process::Child;

use super::guard::Guard;
use super::kernel;
use super::slate::Slate;
use super::world::{World, exit, mount_proc};

/// A started program.
pub(super) struct Run {
    /// The process outside the namespace that waits for the init.
    pub(super) child: Child,
    pub(super) lifeline: Lifeline,
    slate: Arc<Slate>,
}

/// One end of a pipe that a program's init watches. When the last copy is closed, or
/// somebody cuts it, the init and everything under it die.
#[derive(Clone)]
pub(super) struct Lifeline(Arc<Mutex<Option<OwnedFd>>>);

impl Lifeline {
    pub(super) fn cut(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        self.lifeline.cut();
    }
}

impl Run {
    /// Starts `command` in `world`, in the control group with these doors.
    pub(super) fn start(
        world: &Arc<World>,
        spec: &SandboxSpec,
        doors: Vec<Arc<File>>,
        guard: &Arc<Guard>,
        command: &Command,
    ) -> Result<Run, SandboxError> {
        let program = command.argv.first().map_or("", String::as_str);
        let failed = |why: String| SandboxError::Exec { command: program.to_owned(), why };
        let slate = Arc::new(Slate::new().map_err(|why| failed(why.to_string()))?);
        let (read_end, lifeline) =
            pipe2(OFlag::O_CLOEXEC).map_err(|why| failed(why.to_string()))?;
        let workdir = command.workdir.as_deref().unwrap_or(&spec.workdir);
        let workdir = CString::new(if workdir.is_empty() { "/" } else { workdir })
            .map_err(|why| failed(why.to_string()))?;
        let shown = workdir.to_string_lossy().into_owned();
        let entry = Entry {
            world: Arc::clone(world),
            doors,
            rlimits: rlimits(&spec.limits),
            guard: Arc::clone(guard),
            workdir,
            lifeline: read_end.as_raw_fd(),
            arguments: kernel::own_arguments(),
            slate: Arc::clone(&slate),
        };
        let mut child = tokio::process::Command::new(program);
        child.args(command.argv.iter().skip(1)).env_clear().envs(&spec.env).kill_on_drop(true);
        child.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // SAFETY: `enter` makes only system calls on data that `entry` owns.
        let child = unsafe { child.pre_exec(move || entry.enter()) }.spawn();
        match child {
            Ok(child) => {
                let lifeline = Lifeline(Arc::new(Mutex::new(Some(lifeline))));
                Ok(Run { child, lifeline, slate })
            }
            Err(why) => Err(failed(match slate.step() {
                PROGRAM => why.to_string(),
                WORKDIR => format!("the folder {shown}: {why}"),
                step => format!("{}: {why}", STEPS.get(step).unwrap_or(&"starting")),
            })),
        }
    }

    /// Waits for the end; `None` if the program did not end by itself.
    pub(super) async fn wait(&mut self) -> io::Result<Option<Status>> {
        self.child.wait().await?;
        Ok(self.slate.ended().map(status))
    }
}

fn status(raw: i32) -> Status {
    if libc::WIFSIGNALED(raw) {
        Status::Signalled(libc::WTERMSIG(raw))
    } else {
        Status::Exited(libc::WEXITSTATUS(raw))
    }
}

const STEPS: [&str; 7] = [
    "joining the namespaces",
    "making a pid namespace",
    "mounting /proc",
    "joining the control group",
    "setting limits",
    "entering the folder",
    "filtering system calls",
];
const WORKDIR: usize = 5;
const FILTER: usize = 6;
const PROGRAM: usize = 7;

/// Everything that a forked child needs to become a program in a sandbox.
struct Entry {
    world: Arc<World>,
    doors: Vec<Arc<File>>,
    rlimits: [(libc::__rlimit_resource_t, rlimit); 5],
    guard: Arc<Guard>,
    workdir: CString,
    lifeline: RawFd,
    arguments: Range<usize>,
    slate: Arc<Slate>,
}

impl Entry {
    /// Returns in a grandchild, inside the sandbox and ready to exec. The child stays
    /// outside and waits for the init, which is between them.
    fn enter(&self) -> io::Result<()> {
        kernel::forget_parent();
        self.slate.begin(0);
        kernel::blot(&self.arguments);
        self.world.join()?;
        kernel::control(libc::PR_SET_NO_NEW_PRIVS, 1)?;
        // The init is a copy of fixfly, so programs inside must not read its memory and
        // environment. Exec makes the program readable again.
        kernel::control(libc::PR_SET_DUMPABLE, 0)?;
        self.slate.begin(1);
        unshare(CloneFlags::CLONE_NEWPID | CloneFlags::CLONE_NEWNS)?;
        // SAFETY: both sides make only system calls.
        if let ForkResult::Parent { child } = unsafe { fork() }? {
            kernel::close_all_but(&[]);
            let _ = nix::sys::wait::waitpid(child, None);
            exit(0);
        }
        kernel::control(libc::PR_SET_PDEATHSIG, libc::SIGKILL)?;
        self.slate.begin(2);
        mount_proc(c"/proc")?;
        // SAFETY: both sides make only system calls.
        if let ForkResult::Parent { child } = unsafe { fork() }? {
            tend(child.as_raw(), self.lifeline, &self.slate);
        }
        self.settle()
    }

    fn settle(&self) -> io::Result<()> {
        // SAFETY: plain system calls on numbers and allocated memory.
        unsafe {
            libc::setsid();
            self.slate.begin(3);
            for door in &self.doors {
                checked(libc::write(door.as_raw_fd(), c"0".as_ptr().cast(), 1) as i32)?;
            }
            self.slate.begin(4);
            for (resource, limit) in &self.rlimits {
                checked(libc::setrlimit(*resource, limit))?;
            }
        }
        self.slate.begin(WORKDIR);
        chdir(self.workdir.as_c_str())?;
        self.slate.begin(FILTER);
        self.guard.put_on()?;
        self.slate.begin(PROGRAM);
        Ok(())
    }
}

fn checked(result: i32) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Runs an init: reaps orphans until the program ends or the lifeline breaks, then exits,
/// and the kernel kills everything that is left.
fn tend(program: libc::pid_t, lifeline: RawFd, slate: &Slate) -> ! {
    kernel::close_all_but(&[lifeline]);
    // SAFETY: plain system calls on memory of this stack frame.
    unsafe {
        let mut child_ended: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut child_ended);
        libc::sigaddset(&raw mut child_ended, libc::SIGCHLD);
        libc::sigprocmask(libc::SIG_BLOCK, &raw const child_ended, std::ptr::null_mut());
        let news = libc::signalfd(-1, &raw const child_ended, 0);
        loop {
            reap(program, slate);
            let mut watched =
                [lifeline, news].map(|fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 });
            libc::poll(watched.as_mut_ptr(), 2, -1);
            if watched[0].revents != 0 {
                exit(0);
            }
            if watched[1].revents != 0 {
                let mut signal: libc::signalfd_siginfo = std::mem::zeroed();
                libc::read(news, (&raw mut signal).cast(), size_of_val(&signal));
            }
        }
    }
}

fn reap(program: libc::pid_t, slate: &Slate) {
    loop {
        let mut status = 0;
        // SAFETY: the pointer is to this stack frame.
        match unsafe { libc::waitpid(-1, &raw mut status, libc::WNOHANG) } {
            pid if pid == program => {
                slate.end(status);
                exit(0);
            }
            pid if pid <= 0 => return,
            _ => {}
        }
    }
}

fn rlimits(limits: &Limits) -> [(libc::__rlimit_resource_t, rlimit); 5] {
    // Each program's init, and the process that waits for it, count as well.
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
