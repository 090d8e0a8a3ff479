//! What runs between fixfly and a program: the starter, then the program's init, then the
//! program until its exec. All of them make only system calls, because any lock may have
//! been held when the starter was forked.
//!
//! Every program gets its own pid namespace. When the program ends, or when fixfly closes or
//! loses the link, its init exits and the kernel kills everything that is left in the
//! namespace. No `setsid` and no double fork escapes that.

use std::ffi::{CStr, c_char};
use std::io;
use std::ops::Range;
use std::os::fd::RawFd;

use nix::errno::Errno;
use nix::libc::{self, rlimit};
use nix::unistd::chdir;

use super::guard::Guard;
use super::kernel::{self, STREAMS};
use super::memory;
use super::slate::Slate;
use super::world::{World, exit, mount_proc};

/// What a starter or its programs do, in this order. Errors name it.
pub(super) const STEPS: [&str; 7] = [
    "joining the namespaces",
    "filtering system calls",
    "making a pid namespace",
    "mounting /proc",
    "joining the control group",
    "setting limits",
    "entering the folder",
];
const JOIN: usize = 0;
const FILTER: usize = 1;
const FORK: usize = 2;
const PROC: usize = 3;
const GROUP: usize = 4;
const LIMITS: usize = 5;
pub(super) const WORKDIR: usize = 6;
pub(super) const PROGRAM: usize = 7;

/// The messages of a starter: it takes requests; a program was started, if the request asks
/// for this message; a program, and everything that it started, has ended.
pub(super) const READY: u8 = b'r';
pub(super) const BEGUN: u8 = b'b';
pub(super) const ENDED: u8 = b'e';

/// The beginning of a request. Strings that end with zero follow: the folder, the arguments,
/// the variables.
#[derive(Clone, Copy)]
pub(super) struct Head {
    /// Bytes of the strings.
    pub(super) length: usize,
    pub(super) arguments: usize,
    pub(super) variables: usize,
    /// Whether fixfly waits for [`BEGUN`].
    pub(super) announced: bool,
}

const WORD: usize = size_of::<usize>();
pub(super) const HEAD: usize = 4 * WORD;

impl Head {
    pub(super) fn bytes(&self) -> [u8; HEAD] {
        let words = [self.length, self.arguments, self.variables, self.announced.into()];
        let mut bytes = [0; HEAD];
        for (place, word) in bytes.chunks_exact_mut(WORD).zip(words) {
            place.copy_from_slice(&word.to_ne_bytes());
        }
        bytes
    }

    fn of(bytes: &[u8; HEAD]) -> Head {
        let mut words = [0; 4];
        for (word, place) in words.iter_mut().zip(bytes.chunks_exact(WORD)) {
            *word = usize::from_ne_bytes(place.try_into().unwrap_or_default());
        }
        let [length, arguments, variables, announced] = words;
        Head { length, arguments, variables, announced: announced == 1 }
    }
}

pub(super) type Rlimits = [(libc::__rlimit_resource_t, rlimit); 5];

/// Everything that a freshly forked process needs to become a starter.
pub(super) struct Setup<'a> {
    pub(super) world: &'a World,
    pub(super) guard: &'a Guard,
    /// Files in which a process writes `0` to enter the control groups.
    pub(super) doors: [Option<RawFd>; 2],
    pub(super) rlimits: Rlimits,
    /// The address range of fixfly's arguments.
    pub(super) arguments: Range<usize>,
    pub(super) slate: &'a Slate,
    pub(super) link: RawFd,
}

/// What the starter keeps of that; it is on its stack.
struct Kept {
    doors: [Option<RawFd>; 2],
    rlimits: Rlimits,
    link: RawFd,
}

impl Setup<'_> {
    /// Starts programs until fixfly closes the link.
    pub(super) fn serve(self) -> ! {
        let slate = self.slate.inherited();
        let kept = Kept { doors: self.doors, rlimits: self.rlimits, link: self.link };
        if let Err(why) = self.enter() {
            slate.fail(errno(&why));
            exit(1);
        }
        answer(kept.link, READY);
        loop {
            kept.start_one(&slate);
            answer(kept.link, ENDED);
        }
    }

    /// Joins the sandbox, and loses what fixfly has.
    fn enter(&self) -> io::Result<()> {
        kernel::forget_parent();
        self.slate.begin(JOIN);
        kernel::blot(&self.arguments);
        // SAFETY: plain system call on a C string.
        let maps = unsafe { libc::open(c"/proc/self/maps".as_ptr(), libc::O_RDONLY) };
        self.world.join()?;
        kernel::control(libc::PR_SET_NO_NEW_PRIVS, 1)?;
        // The starter is a copy of fixfly, so programs inside must not read its memory and
        // environment. Exec makes a program readable again.
        kernel::control(libc::PR_SET_DUMPABLE, 0)?;
        self.slate.begin(FILTER);
        self.guard.put_on()?;
        // Otherwise a program's streams could be among its first three descriptors before
        // they are put there.
        for stream in 0..STREAMS as RawFd {
            // SAFETY: this process was just forked, so it owns its descriptors.
            checked(unsafe { libc::dup2(self.link, stream) })?;
        }
        let here = 0_usize;
        // SAFETY: gives the place of this thread's `errno`, which is beside its other data.
        let errno = unsafe { libc::__errno_location() };
        let kept = [(&raw const here).expose_provenance(), errno.expose_provenance()];
        // SAFETY: what is used from here on is on this stack or on the slate.
        unsafe { memory::forget(maps, &kept) };
        let mut kept = [0, 1, 2, -1, -1, -1];
        let descriptors = self.doors.iter().flatten().chain([&self.link]);
        kept.iter_mut().skip(STREAMS).zip(descriptors).for_each(|(place, fd)| *place = *fd);
        kept.sort_unstable();
        let first = kept.iter().take_while(|fd| **fd < 0).count();
        kernel::close_all_but(kept.get(first..).unwrap_or_default());
        Ok(())
    }
}

impl Kept {
    /// Receives a request, starts its program, and waits until everything in its namespace
    /// has ended.
    fn start_one(&self, slate: &Slate) {
        let mut head = [0; HEAD];
        let Some(streams) = kernel::receive(self.link, &mut head) else { exit(0) };
        let Some(request) = Request::receive(self.link, Head::of(&head)) else { exit(1) };
        slate.clear();
        slate.begin(FORK);
        // SAFETY: the child makes only system calls.
        match unsafe { kernel::fork_into(libc::CLONE_NEWPID | libc::CLONE_NEWNS) } {
            Ok(0) => self.become_init(slate, &request, streams),
            Ok(init) => {
                close(streams);
                wait(init);
            }
            Err(why) => {
                close(streams);
                slate.fail(why);
            }
        }
        request.end();
    }

    fn become_init(&self, slate: &Slate, request: &Request, streams: [RawFd; STREAMS]) -> ! {
        let begun = kernel::control(libc::PR_SET_PDEATHSIG, libc::SIGKILL).and_then(|()| {
            slate.begin(PROC);
            mount_proc(c"/proc")?;
            // SAFETY: the child makes only system calls.
            unsafe { kernel::fork_into(libc::CLONE_VFORK) }
        });
        match begun {
            Ok(0) => {
                let Err(why) = self.become_program(slate, request, streams);
                slate.fail(errno(&why));
                exit(127)
            }
            Ok(program) => {
                kernel::close_all_but(&[self.link]);
                if request.head.announced && slate.failure().is_none() {
                    answer(self.link, BEGUN);
                }
                tend(program, self.link, slate)
            }
            Err(why) => {
                slate.fail(why);
                exit(1)
            }
        }
    }

    fn become_program(
        &self,
        slate: &Slate,
        request: &Request,
        streams: [RawFd; STREAMS],
    ) -> io::Result<std::convert::Infallible> {
        for (number, stream) in (0..).zip(streams) {
            // SAFETY: replaces a copy of the link; the next program has its own.
            checked(unsafe { libc::dup2(stream, number) })?;
        }
        // SAFETY: plain system calls on numbers and memory of this stack.
        unsafe {
            libc::setsid();
            slate.begin(GROUP);
            for door in self.doors.iter().flatten() {
                checked(libc::write(*door, c"0".as_ptr().cast(), 1) as i32)?;
            }
            slate.begin(LIMITS);
            for (resource, limit) in &self.rlimits {
                checked(libc::setrlimit(*resource, limit))?;
            }
        }
        slate.begin(WORKDIR);
        chdir(request.workdir())?;
        slate.begin(PROGRAM);
        request.exec()
    }
}

/// A request's strings, and the lists of pointers to them that exec takes.
struct Request {
    head: Head,
    memory: *mut u8,
    size: usize,
}

impl Request {
    /// Receives the rest of a request; `None` if it ends before.
    fn receive(link: RawFd, head: Head) -> Option<Request> {
        // Both lists end with a null pointer.
        let pointers = (head.arguments + head.variables + 2) * size_of::<*const c_char>();
        let size = pointers + head.length;
        // SAFETY: a fresh mapping, of which the end takes what is received.
        unsafe {
            let (access, kind) =
                (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
            let memory = libc::mmap(std::ptr::null_mut(), size, access, kind, -1, 0);
            if memory == libc::MAP_FAILED {
                return None;
            }
            let request = Request { head, memory: memory.cast(), size };
            let text = request.memory.add(pointers);
            let received = libc::recv(link, text.cast(), head.length, libc::MSG_WAITALL);
            if received != head.length as isize {
                return None;
            }
            request.point(text);
            Some(request)
        }
    }

    /// Writes the lists of pointers. `text` has the strings.
    unsafe fn point(&self, text: *mut u8) {
        let mut lists = self.memory.cast::<*const c_char>();
        // SAFETY: fixfly sent as many strings as the head counts, each with its zero; the
        // rest of the memory is zero.
        unsafe {
            let mut at = text.cast::<c_char>();
            at = at.add(libc::strlen(at) + 1);
            for count in [self.head.arguments, self.head.variables] {
                for _ in 0..count {
                    lists.write(at);
                    lists = lists.add(1);
                    at = at.add(libc::strlen(at) + 1);
                }
                lists = lists.add(1);
            }
        }
    }

    fn workdir(&self) -> &CStr {
        // SAFETY: the first string is after the lists.
        unsafe { CStr::from_ptr(self.memory.add(self.size - self.head.length).cast()) }
    }

    /// Becomes the program.
    fn exec(&self) -> io::Result<std::convert::Infallible> {
        unsafe extern "C" {
            static mut environ: *const *const c_char;
        }
        let lists = self.memory.cast::<*const c_char>();
        // SAFETY: both lists end with null. `execvp` makes only system calls, and looks for
        // the program where the new environment says.
        unsafe {
            environ = lists.add(self.head.arguments + 1);
            libc::execvp(*lists, lists);
        }
        Err(io::Error::last_os_error())
    }

    fn end(self) {
        // SAFETY: this is the mapping of `receive`.
        unsafe { libc::munmap(self.memory.cast(), self.size) };
    }
}

/// Runs an init: reaps orphans until the program ends or the link breaks, then exits, and
/// the kernel kills everything that is left.
fn tend(program: libc::pid_t, link: RawFd, slate: &Slate) -> ! {
    // SAFETY: plain system calls on memory of this stack frame.
    unsafe {
        let mut child_ended: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut child_ended);
        libc::sigaddset(&raw mut child_ended, libc::SIGCHLD);
        libc::sigprocmask(libc::SIG_BLOCK, &raw const child_ended, std::ptr::null_mut());
        let news = libc::signalfd(-1, &raw const child_ended, 0);
        loop {
            reap(program, slate);
            // fixfly sends nothing while a program runs.
            let mut watched = [(link, libc::POLLRDHUP), (news, libc::POLLIN)]
                .map(|(fd, events)| libc::pollfd { fd, events, revents: 0 });
            // Not `poll`: libfaketime has its own, and what that uses was given back.
            let (nothing, size) = (std::ptr::null::<libc::c_void>(), 8_usize);
            libc::syscall(libc::SYS_ppoll, watched.as_mut_ptr(), 2_usize, nothing, nothing, size);
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

fn wait(child: libc::pid_t) {
    // SAFETY: a null pointer asks for no status.
    unsafe { libc::waitpid(child, std::ptr::null_mut(), 0) };
}

fn close(streams: [RawFd; STREAMS]) {
    for stream in streams {
        // SAFETY: the kernel gave this descriptor with the request.
        unsafe { libc::close(stream) };
    }
}

fn answer(link: RawFd, message: u8) {
    // SAFETY: the pointer is to this stack frame.
    unsafe { libc::send(link, (&raw const message).cast(), 1, libc::MSG_NOSIGNAL) };
}

fn checked(result: i32) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn errno(why: &io::Error) -> Errno {
    Errno::from_raw(why.raw_os_error().unwrap_or(libc::EIO))
}
