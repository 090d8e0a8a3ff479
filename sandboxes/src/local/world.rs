//! A sandbox at rest: the namespaces and the root that contain its files, kept alive by
//! descriptors alone. No process runs in it until a command does, and then a starter
//! (`starter.rs`). When the descriptors close, even because fixfly was killed, the kernel
//! frees it.

use std::ffi::CStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, open};
use nix::libc;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::stat::{FchmodatFlags, Mode, fchmodat};
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{self, AccessFlags, ForkResult, Gid, Pid, Uid, UnlinkatFlags, fork};

use super::kernel;
use super::recipe::{Identity, NOBODY, Opener, SPACE, Step};
use super::slate::Slate;

/// The namespaces of a sandbox, in the order in which they are joined.
const NAMESPACES: [(&str, CloneFlags); 5] = [
    ("user", CloneFlags::CLONE_NEWUSER),
    ("mnt", CloneFlags::CLONE_NEWNS),
    ("net", CloneFlags::CLONE_NEWNET),
    ("ipc", CloneFlags::CLONE_NEWIPC),
    ("uts", CloneFlags::CLONE_NEWUTS),
];

/// See the [module](self).
pub(super) struct World {
    namespaces: Vec<(OwnedFd, CloneFlags)>,
    root: OwnedFd,
    opener: Opener,
}

impl World {
    /// Makes a world by these steps. An error names the step that failed.
    pub(super) fn make(steps: &[Step], opener: Opener) -> Result<World, String> {
        let slate = Slate::new().map_err(|why| why.to_string())?;
        let (mut here, there) = UnixStream::pair().map_err(|why| why.to_string())?;
        let mut held = vec![-1; steps.len()];
        // SAFETY: until it exits, the child makes only system calls on memory that was
        // allocated here.
        let maker = match unsafe { fork() }.map_err(|why| why.to_string())? {
            ForkResult::Parent { child } => child,
            ForkResult::Child => become_maker(steps, &mut held, &slate, there.as_raw_fd()),
        };
        drop(there);
        let world = match here.read_exact(&mut [0]) {
            Ok(()) => World::of(maker, opener).map_err(|why| why.to_string()),
            Err(_) => Err(blame(steps, &slate)),
        };
        drop(here);
        let _ = waitpid(maker, None);
        world
    }

    fn of(maker: Pid, opener: Opener) -> nix::Result<World> {
        let look = |name: &str, flags| {
            open(format!("/proc/{maker}/{name}").as_str(), flags | OFlag::O_CLOEXEC, Mode::empty())
        };
        let namespaces = NAMESPACES
            .iter()
            .map(|(name, kind)| Ok((look(&format!("ns/{name}"), OFlag::O_RDONLY)?, *kind)))
            .collect::<nix::Result<_>>()?;
        let root = look("root", OFlag::O_PATH | OFlag::O_DIRECTORY)?;
        Ok(World { namespaces, root, opener })
    }

    /// Its root folder.
    pub(super) fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }

    /// Who opened it.
    pub(super) fn opener(&self) -> Opener {
        self.opener
    }

    /// Moves this freshly forked process into the sandbox, as the root of its user
    /// namespace.
    pub(super) fn join(&self) -> nix::Result<()> {
        if self.opener == Opener::Root {
            unistd::setgroups(&[])?;
        }
        for (namespace, kind) in &self.namespaces {
            setns(namespace, *kind)?;
        }
        let (uid, gid) = (Uid::from_raw(0), Gid::from_raw(0));
        unistd::setresgid(gid, gid, gid)?;
        unistd::setresuid(uid, uid, uid)
    }
}

fn blame(steps: &[Step], slate: &Slate) -> String {
    let errno = slate.failure().unwrap_or(Errno::UnknownErrno);
    match steps.get(slate.step()) {
        Some(step) => format!("{step}: {}{}", errno.desc(), step.remedy(errno)),
        None => errno.desc().to_owned(),
    }
}

fn become_maker(steps: &[Step], held: &mut [RawFd], slate: &Slate, parent: RawFd) -> ! {
    kernel::close_all_but(&[parent]);
    kernel::forget_parent();
    for (number, step) in steps.iter().enumerate() {
        slate.begin(number);
        if let Err(errno) = take(step, held) {
            slate.fail(errno);
            exit(1);
        }
    }
    // SAFETY: this is the only descriptor left open. The second call waits until the parent
    // has opened the namespaces or has ended.
    unsafe {
        libc::write(parent, [1_u8].as_ptr().cast(), 1);
        libc::read(parent, [0_u8; 1].as_mut_ptr().cast(), 1);
    }
    exit(0)
}

fn take(step: &Step, held: &mut [RawFd]) -> nix::Result<()> {
    match step {
        Step::UnshareMounts { user } => unshare_mounts(user.as_ref()),
        Step::Hold { slot, from, forbidden } => {
            held[*slot] = kernel::clone_mounts(from)?;
            kernel::restrict(held[*slot], *forbidden, true)
        }
        Step::Ground => {
            let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
            mount(Some(c"tmpfs"), c"/tmp", Some(c"tmpfs"), flags, Some(c"mode=755,size=4m"))?;
            unistd::chdir(c"/tmp")
        }
        Step::Folder(at) => match unistd::mkdir(at.as_c_str(), Mode::from_bits_truncate(0o755)) {
            Err(Errno::EEXIST) => Ok(()),
            made => made,
        },
        Step::Text(at, text) => write_file(at, text, OFlag::O_CREAT),
        Step::Link(at, to) => unistd::symlinkat(to.as_c_str(), AT_FDCWD, at.as_c_str()),
        Step::Show { slot, at } => kernel::attach(held[*slot], at),
        Step::Space { options } => {
            let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
            mount(Some(c"tmpfs"), SPACE, Some(c"tmpfs"), flags, Some(options.as_c_str()))
        }
        Step::Scratch { folder, at, mode, owned } => {
            show_scratch(folder, at, Mode::from_bits_truncate(*mode), *owned)
        }
        Step::Hide => {
            umount2(SPACE, MntFlags::MNT_DETACH)?;
            unistd::unlinkat(AT_FDCWD, SPACE, UnlinkatFlags::RemoveDir)
        }
        Step::Seal => seal(),
        Step::Yield => yield_to_nobody(),
        Step::Check(at) => unistd::access(at.as_c_str(), AccessFlags::R_OK),
        Step::Separate(identity) => separate(identity),
        Step::Settle => {
            kernel::raise_loopback()?;
            unistd::sethostname("sandbox")
        }
        Step::Turn => turn(),
    }
}

fn unshare_mounts(user: Option<&Identity>) -> nix::Result<()> {
    match user {
        None => unshare(CloneFlags::CLONE_NEWNS)?,
        Some(identity) => {
            unshare(CloneFlags::CLONE_NEWUSER | CloneFlags::CLONE_NEWNS)?;
            write_maps(identity)?;
        }
    }
    mount(None::<&str>, c"/", None::<&str>, MsFlags::MS_REC | MsFlags::MS_PRIVATE, None::<&str>)
}

fn show_scratch(folder: &CStr, at: &CStr, mode: Mode, owned: bool) -> nix::Result<()> {
    unistd::mkdir(folder, mode)?;
    // Set the full mode, not only what the file mode mask left.
    fchmodat(AT_FDCWD, folder, mode, FchmodatFlags::FollowSymlink)?;
    if owned {
        unistd::chown(folder, Some(Uid::from_raw(NOBODY)), Some(Gid::from_raw(NOBODY)))?;
    }
    mount(Some(folder), at, None::<&CStr>, MsFlags::MS_BIND, None::<&CStr>)
}

fn seal() -> nix::Result<()> {
    let root = open(c".", OFlag::O_PATH | OFlag::O_CLOEXEC, Mode::empty())?;
    kernel::restrict(root.as_raw_fd(), kernel::forbid::WRITES, false)
}

fn yield_to_nobody() -> nix::Result<()> {
    let (uid, gid) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
    unistd::setgroups(&[])?;
    unistd::setresgid(gid, gid, gid)?;
    unistd::setresuid(uid, uid, uid)?;
    // Otherwise the maps in /proc would belong to root.
    kernel::control(libc::PR_SET_DUMPABLE, 1)
}

/// Enters a user namespace below the one that mounted everything. From here, read-only
/// mounts can be neither made writable nor uncovered.
fn separate(identity: &Identity) -> nix::Result<()> {
    let others = CloneFlags::CLONE_NEWPID;
    unshare(NAMESPACES.iter().fold(others, |all, (_, kind)| all | *kind))?;
    write_maps(identity)
}

fn write_maps(identity: &Identity) -> nix::Result<()> {
    write_file(c"/proc/self/setgroups", b"deny", OFlag::empty())?;
    write_file(c"/proc/self/uid_map", identity.uid_map.as_bytes(), OFlag::empty())?;
    write_file(c"/proc/self/gid_map", identity.gid_map.as_bytes(), OFlag::empty())
}

/// Mounts `/proc` and switches to the new root. Only a process in a pid namespace can mount
/// its `/proc`. That namespace ends at once, but its mount stays: the kernel requires a
/// visible `/proc` before it allows other ones.
fn turn() -> nix::Result<()> {
    // SAFETY: the child makes only system calls and exits.
    match unsafe { fork() }? {
        ForkResult::Parent { child } => match waitpid(child, None)? {
            WaitStatus::Exited(_, 0) => Ok(()),
            WaitStatus::Exited(_, errno) => Err(Errno::from_raw(errno)),
            _ => Err(Errno::ECHILD),
        },
        ForkResult::Child => match pivot() {
            Ok(()) => exit(0),
            Err(errno) => exit(errno as i32),
        },
    }
}

fn pivot() -> nix::Result<()> {
    // A new mount, because the kernel does not pivot to a locked one.
    mount(Some(c"."), c"/tmp", None::<&str>, MsFlags::MS_BIND | MsFlags::MS_REC, None::<&str>)?;
    unistd::chdir(c"/tmp")?;
    mount_proc(c"proc")?;
    unistd::pivot_root(c".", c".")?;
    umount2(c".", MntFlags::MNT_DETACH)
}

/// Mounts the `/proc` of this process's pid namespace.
pub(super) fn mount_proc(at: &CStr) -> nix::Result<()> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some(c"proc"), at, Some(c"proc"), flags, None::<&str>)
}

fn write_file(at: &CStr, bytes: &[u8], flags: OFlag) -> nix::Result<()> {
    let flags = flags | OFlag::O_WRONLY | OFlag::O_CLOEXEC;
    let mut file = File::from(open(at, flags, Mode::from_bits_truncate(0o644))?);
    file.write_all(bytes).map_err(|why| errno(&why))
}

fn errno(why: &io::Error) -> Errno {
    Errno::from_raw(why.raw_os_error().unwrap_or(libc::EIO))
}

/// Ends a forked child without running its parent's destructors and exit handlers.
pub(super) fn exit(code: i32) -> ! {
    // SAFETY: ends this process.
    unsafe { libc::_exit(code) }
}
