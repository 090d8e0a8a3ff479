//! System calls that are refused to every program of every sandbox.
//!
//! The list refuses calls that reach the machine and not just the sandbox. It allows what
//! any unprivileged process may do: the test server isolates each candidate by namespaces
//! and mounts, which a stricter list, like Docker's, would forbid.

use nix::libc;

/// Names of system calls, with their numbers on this machine.
macro_rules! calls {
    ($($name:literal $number:ident)*) => { &[$(($name, libc::$number)),*] };
}

/// Refused everywhere.
pub(crate) const REFUSED: &[(&str, i64)] = calls! {
    "acct" SYS_acct
    "add_key" SYS_add_key
    "adjtimex" SYS_adjtimex
    "bpf" SYS_bpf
    "clock_adjtime" SYS_clock_adjtime
    "clock_settime" SYS_clock_settime
    "delete_module" SYS_delete_module
    "fanotify_init" SYS_fanotify_init
    "finit_module" SYS_finit_module
    "fsconfig" SYS_fsconfig
    "fsmount" SYS_fsmount
    "fsopen" SYS_fsopen
    "fspick" SYS_fspick
    "init_module" SYS_init_module
    "io_uring_enter" SYS_io_uring_enter
    "io_uring_register" SYS_io_uring_register
    "io_uring_setup" SYS_io_uring_setup
    "kcmp" SYS_kcmp
    "kexec_file_load" SYS_kexec_file_load
    "kexec_load" SYS_kexec_load
    "keyctl" SYS_keyctl
    "lookup_dcookie" SYS_lookup_dcookie
    "mbind" SYS_mbind
    "migrate_pages" SYS_migrate_pages
    "move_mount" SYS_move_mount
    "move_pages" SYS_move_pages
    "name_to_handle_at" SYS_name_to_handle_at
    "nfsservctl" SYS_nfsservctl
    "open_by_handle_at" SYS_open_by_handle_at
    "open_tree" SYS_open_tree
    "perf_event_open" SYS_perf_event_open
    "pidfd_getfd" SYS_pidfd_getfd
    "pivot_root" SYS_pivot_root
    "process_madvise" SYS_process_madvise
    "process_vm_readv" SYS_process_vm_readv
    "process_vm_writev" SYS_process_vm_writev
    "ptrace" SYS_ptrace
    "quotactl" SYS_quotactl
    "quotactl_fd" SYS_quotactl_fd
    "reboot" SYS_reboot
    "request_key" SYS_request_key
    "set_mempolicy" SYS_set_mempolicy
    "settimeofday" SYS_settimeofday
    "swapoff" SYS_swapoff
    "swapon" SYS_swapon
    "syslog" SYS_syslog
    "userfaultfd" SYS_userfaultfd
    "vhangup" SYS_vhangup
};

/// Refused on the processors that have these calls.
#[cfg(target_arch = "x86_64")]
const REFUSED_HERE: &[(&str, i64)] = calls! {
    "ioperm" SYS_ioperm
    "iopl" SYS_iopl
    "modify_ldt" SYS_modify_ldt
    "sysfs" SYS_sysfs
    "uselib" SYS_uselib
    "ustat" SYS_ustat
};
#[cfg(not(target_arch = "x86_64"))]
const REFUSED_HERE: &[(&str, i64)] = &[];

/// Refused on machines that run 32-bit programs; only the names are needed.
#[cfg(feature = "docker")]
const REFUSED_IN_32_BITS: &[&str] = &["socketcall", "stime", "vm86", "vm86old"];

/// Kinds of socket that a program may have: Unix and netlink sockets, which are local, and
/// IPv4 and IPv6, which end at the loopback interface. Others reach beyond the network
/// namespace, such as those to a virtual machine's host, or into drivers.
const SOCKETS: [i32; 4] = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];
const KINDS_OF_SOCKETS: i32 = 64;

/// The kinds of socket that no program may have.
pub(crate) fn refused_sockets() -> impl Iterator<Item = u64> {
    (1..KINDS_OF_SOCKETS).filter(|kind| !SOCKETS.contains(kind)).map(|kind| kind as u64)
}

/// All refused system calls of this machine.
pub(crate) fn refused() -> impl Iterator<Item = (&'static str, i64)> {
    REFUSED.iter().chain(REFUSED_HERE).copied()
}

/// The names of all refused system calls.
#[cfg(feature = "docker")]
pub(crate) fn refused_names() -> impl Iterator<Item = &'static str> {
    refused().map(|(name, _)| name).chain(REFUSED_IN_32_BITS.iter().copied())
}
