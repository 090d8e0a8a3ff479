//! System calls that `nix` does not wrap. None of them allocates, so all may be made
//! between fork and exec.

use std::ffi::CStr;
use std::io;
use std::ops::Range;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::libc::{self, c_long, c_uint};
use nix::{NixPath, Result};

/// What a mount may forbid.
pub(super) mod forbid {
    use nix::libc;

    pub(in super::super) const WRITES: u64 = libc::MOUNT_ATTR_RDONLY;
    pub(in super::super) const SETUID: u64 = libc::MOUNT_ATTR_NOSUID;
    pub(in super::super) const DEVICES: u64 = libc::MOUNT_ATTR_NODEV;
    pub(in super::super) const PROGRAMS: u64 = libc::MOUNT_ATTR_NOEXEC;
}

/// Makes a detached copy of the mounts at `path` and below.
pub(super) fn clone_mounts(path: &CStr) -> Result<RawFd> {
    let flags = libc::OPEN_TREE_CLONE | libc::O_CLOEXEC as c_uint | libc::AT_RECURSIVE as c_uint;
    // SAFETY: `path` is a C string; the kernel keeps no pointer.
    checked(unsafe { libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, path.as_ptr(), flags) })
}

/// Sets restrictions on a mount, and with `below` on all mounts below it.
pub(super) fn restrict(mount: RawFd, forbidden: u64, below: bool) -> Result<()> {
    // SAFETY: zero is a valid `mount_attr`.
    let mut attr: libc::mount_attr = unsafe { std::mem::zeroed() };
    attr.attr_set = forbidden;
    let flags = libc::AT_EMPTY_PATH | if below { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the pointers are valid during the call, and the sizes are theirs.
    checked(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount,
            c"".as_ptr(),
            flags,
            &raw const attr,
            size_of::<libc::mount_attr>(),
        )
    })
    .map(drop)
}

/// Attaches a detached mount at a path.
pub(super) fn attach(mount: RawFd, at: &CStr) -> Result<()> {
    // SAFETY: both paths are C strings; the kernel keeps no pointer.
    checked(unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            mount,
            c"".as_ptr(),
            libc::AT_FDCWD,
            at.as_ptr(),
            libc::MOVE_MOUNT_F_EMPTY_PATH,
        )
    })
    .map(drop)
}

/// Closes every descriptor except `kept`, which must be in ascending order.
pub(super) fn close_all_but(kept: &[RawFd]) {
    let mut from: c_uint = 0;
    for fd in kept.iter().map(|&fd| fd as c_uint) {
        if fd > from {
            close_range(from, fd - 1);
        }
        from = fd + 1;
    }
    close_range(from, c_uint::MAX);
}

fn close_range(first: c_uint, last: c_uint) {
    // SAFETY: this process was just forked, so the caller owns its descriptors.
    unsafe { libc::syscall(libc::SYS_close_range, first, last, 0 as c_uint) };
}

/// Number of descriptors that a message carries: a program's three streams.
pub(super) const STREAMS: usize = 3;
const CONTROL: usize = 64;

/// The space of a message's descriptors. It has to be aligned.
#[repr(C, align(8))]
struct Control([u8; CONTROL]);

/// Sends bytes through a socket, with descriptors if there are any. Returns how many bytes
/// were sent.
pub(super) fn send(
    socket: RawFd,
    bytes: &[u8],
    streams: Option<[RawFd; STREAMS]>,
) -> io::Result<usize> {
    let mut control = Control([0; CONTROL]);
    let mut piece =
        libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    // SAFETY: zero is a valid `msghdr`; every pointer lives through its call, and the space
    // for the descriptors is larger than they are.
    let sent = unsafe {
        let mut message: libc::msghdr = std::mem::zeroed();
        message.msg_iov = &raw mut piece;
        message.msg_iovlen = 1;
        if let Some(streams) = streams {
            let size = size_of_val(&streams) as c_uint;
            message.msg_control = (&raw mut control).cast();
            message.msg_controllen = libc::CMSG_SPACE(size) as _;
            let head = libc::CMSG_FIRSTHDR(&raw const message);
            (*head).cmsg_level = libc::SOL_SOCKET;
            (*head).cmsg_type = libc::SCM_RIGHTS;
            (*head).cmsg_len = libc::CMSG_LEN(size) as _;
            libc::CMSG_DATA(head).cast::<[RawFd; STREAMS]>().write_unaligned(streams);
        }
        libc::sendmsg(socket, &raw const message, libc::MSG_NOSIGNAL)
    };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// Receives the beginning of a message, which fills `bytes`, and its descriptors. `None` if
/// the other end is closed or sends something else.
pub(super) fn receive(socket: RawFd, bytes: &mut [u8]) -> Option<[RawFd; STREAMS]> {
    let mut control = Control([0; CONTROL]);
    let mut piece = libc::iovec { iov_base: bytes.as_mut_ptr().cast(), iov_len: bytes.len() };
    let flags = libc::MSG_WAITALL | libc::MSG_CMSG_CLOEXEC;
    // SAFETY: zero is a valid `msghdr`; every pointer lives through its call.
    unsafe {
        let mut message: libc::msghdr = std::mem::zeroed();
        message.msg_iov = &raw mut piece;
        message.msg_iovlen = 1;
        message.msg_control = (&raw mut control).cast();
        message.msg_controllen = CONTROL as _;
        if libc::recvmsg(socket, &raw mut message, flags) != bytes.len() as isize {
            return None;
        }
        let head = libc::CMSG_FIRSTHDR(&raw const message);
        let expected = libc::CMSG_LEN(size_of::<[RawFd; STREAMS]>() as c_uint);
        if head.is_null() || (*head).cmsg_len as usize != expected as usize {
            return None;
        }
        Some(libc::CMSG_DATA(head).cast::<[RawFd; STREAMS]>().read_unaligned())
    }
}

/// Forks; the child gets the namespaces of `flags`. With `CLONE_VFORK` this returns in the
/// parent when the child has started a program or ended.
///
/// # Safety
/// The child may make only system calls.
pub(super) unsafe fn fork_into(flags: i32) -> Result<RawFd> {
    let flags = (flags | libc::SIGCHLD) as libc::c_ulong;
    // SAFETY: without a stack and shared memory this is a fork.
    checked(unsafe { libc::syscall(libc::SYS_clone, flags, 0_usize, 0_usize, 0_usize, 0_usize) })
}

/// Opens `path` as a process with the root `root` would: no symbolic link and no `..` leads
/// out.
pub(super) fn open_in(root: BorrowedFd, path: &str, flags: i32, mode: u32) -> Result<OwnedFd> {
    // SAFETY: zero is a valid `open_how`.
    let mut how: libc::open_how = unsafe { std::mem::zeroed() };
    how.flags = (flags | libc::O_CLOEXEC) as u64;
    how.mode = u64::from(mode);
    how.resolve = libc::RESOLVE_IN_ROOT | libc::RESOLVE_NO_MAGICLINKS;
    let fd = path.with_nix_path(|path| {
        // SAFETY: the pointers are valid during the call, and the sizes are theirs.
        checked(unsafe {
            libc::syscall(
                libc::SYS_openat2,
                root.as_raw_fd(),
                path.as_ptr(),
                &raw const how,
                size_of::<libc::open_how>(),
            )
        })
    })??;
    // SAFETY: the descriptor was just opened, and nothing else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Brings the loopback interface of this network namespace up.
pub(super) fn raise_loopback() -> Result<()> {
    // SAFETY: zero is a valid `ifreq`, and every pointer lives through its call.
    unsafe {
        let socket = libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0);
        Errno::result(socket)?;
        let mut request: libc::ifreq = std::mem::zeroed();
        request.ifr_name[0] = b'l' as libc::c_char;
        request.ifr_name[1] = b'o' as libc::c_char;
        request.ifr_ifru.ifru_flags = libc::IFF_UP as libc::c_short;
        let raised =
            Errno::result(libc::ioctl(socket, libc::SIOCSIFFLAGS as _, &raw const request));
        libc::close(socket);
        raised.map(drop)
    }
}

/// Turns a freshly forked process into an ordinary one: default signal handlers, no blocked
/// signal, a readable file mode mask, no inherited terminal or keys.
pub(super) fn forget_parent() {
    // SAFETY: plain system calls on this process alone.
    unsafe {
        for signal in 1..=libc::SIGRTMAX() {
            libc::signal(signal, libc::SIG_DFL);
        }
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut());
        libc::umask(0o022);
        libc::setsid();
        let join_session: c_long = 1;
        libc::syscall(libc::SYS_keyctl, join_session, std::ptr::null::<u8>());
    }
}

/// The address range of this process's arguments.
pub(super) fn own_arguments() -> Range<usize> {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The second field is the program's name, which may contain spaces.
    let fields = stat.rsplit_once(") ").map_or("", |(_, fields)| fields);
    let mut places = fields.split(' ').skip(45).map(|field| field.parse().unwrap_or(0));
    places.next().unwrap_or(0)..places.next().unwrap_or(0)
}

/// Overwrites this freshly forked process's arguments: they are fixfly's, and programs
/// inside may list them.
pub(super) fn blot(arguments: &Range<usize>) {
    let length = arguments.end.saturating_sub(arguments.start);
    // SAFETY: the kernel put the arguments on the writable stack, and the forked process
    // does not read them.
    unsafe {
        std::ptr::with_exposed_provenance_mut::<u8>(arguments.start).write_bytes(0, length);
        libc::prctl(libc::PR_SET_NAME, c"init".as_ptr());
    }
}

/// A `prctl` with one argument.
pub(super) fn control(option: i32, value: i32) -> Result<()> {
    // SAFETY: the options used here take a number.
    Errno::result(unsafe { libc::prctl(option, value as libc::c_ulong, 0, 0, 0) }).map(drop)
}

fn checked(result: c_long) -> Result<RawFd> {
    Errno::result(result).map(|fd| fd as RawFd)
}
