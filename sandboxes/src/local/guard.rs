//! What a program may ask of the kernel: a seccomp filter, and a Landlock
//! domain of its own, where the kernel has them.

use std::collections::BTreeMap;
use std::io;

use landlock::{ABI, Access, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetCreated, Scope};
use nix::libc;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};

use crate::syscalls;

/// See the [module](self).
pub(super) struct Guard {
    filter: Option<BpfProgram>,
    domain: Option<RulesetCreated>,
}

impl Guard {
    /// What this kernel gives.
    pub(super) fn new() -> Guard {
        let filter = filters().then(|| filter().ok()).flatten();
        Guard { filter, domain: domain() }
    }

    pub(super) fn has_filter(&self) -> bool {
        self.filter.is_some()
    }

    pub(super) fn has_domain(&self) -> bool {
        self.domain.is_some()
    }

    /// One phrase for `isolation`.
    pub(super) fn describe(&self) -> &'static str {
        match (self.has_filter(), self.has_domain()) {
            (true, true) => "seccomp, landlock (signals, sockets)",
            (true, false) => "seccomp",
            (false, true) => "landlock (signals, sockets), no seccomp",
            (false, false) => "no seccomp",
        }
    }

    /// Holds this freshly forked process and all it will start. Makes system
    /// calls alone.
    pub(super) fn put_on(&self) -> io::Result<()> {
        if let Some(domain) = &self.domain {
            let domain = domain.try_clone()?;
            domain.restrict_self().map_err(|_| io::Error::last_os_error())?;
        }
        if let Some(filter) = &self.filter {
            seccompiler::apply_filter(filter).map_err(|_| io::Error::last_os_error())?;
        }
        Ok(())
    }
}

/// Whether the kernel filters system calls: it then looks for the filter.
fn filters() -> bool {
    let nothing = std::ptr::null::<libc::sock_fprog>();
    // SAFETY: the kernel refuses to read from nowhere.
    let set =
        unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER as u64, nothing) };
    set == -1 && io::Error::last_os_error().raw_os_error() == Some(libc::EFAULT)
}

fn filter() -> Result<BpfProgram, seccompiler::BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        numbers().map(|number| (number, Vec::new())).collect();
    let sockets = syscalls::refused_sockets().map(|kind| {
        let equal = SeccompCmpOp::Eq;
        SeccompRule::new(vec![SeccompCondition::new(0, SeccompCmpArgLen::Dword, equal, kind)?])
    });
    let sockets = sockets.collect::<Result<Vec<_>, _>>()?;
    rules.insert(libc::SYS_socket, sockets);
    let refusal = SeccompAction::Errno(libc::EPERM as u32);
    let filter = SeccompFilter::new(
        rules,
        SeccompAction::Allow,
        refusal,
        std::env::consts::ARCH.try_into()?,
    )?;
    filter.try_into()
}

/// A program of 32-bit pointers has other numbers for the same calls, and for
/// some of them numbers of their own.
#[cfg(target_arch = "x86_64")]
fn numbers() -> impl Iterator<Item = i64> {
    const X32: i64 = 1 << 30;
    // ptrace, kexec_load, move_pages, process_vm_readv, process_vm_writev.
    const OWN: [i64; 5] = [521, 528, 533, 539, 540];
    let refused = syscalls::refused().flat_map(|(_, number)| [number, number | X32]);
    // Else every socket could be had by that number.
    refused.chain(OWN.map(|number| number | X32)).chain([libc::SYS_socket | X32])
}

#[cfg(not(target_arch = "x86_64"))]
fn numbers() -> impl Iterator<Item = i64> {
    syscalls::refused().map(|(_, number)| number)
}

/// A domain that no signal leaves, nor a connection to a socket without a
/// file. Rules for files would forbid mounts, with which the test server holds
/// candidates; it puts such rules on each candidate itself.
fn domain() -> Option<RulesetCreated> {
    let scopes = Scope::from_all(ABI::V6);
    let rules = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
    rules.scope(scopes).ok()?.create().ok()
}
