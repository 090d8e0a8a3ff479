//! Restricts what a program may ask of the kernel: by a seccomp filter and a Landlock
//! domain, if the kernel has them.

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
    /// Finds out what this kernel supports.
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

    /// A phrase for `isolation`.
    pub(super) fn describe(&self) -> &'static str {
        match (self.has_filter(), self.has_domain()) {
            (true, true) => "seccomp, landlock (signals, sockets)",
            (true, false) => "seccomp",
            (false, true) => "landlock (signals, sockets), no seccomp",
            (false, false) => "no seccomp",
        }
    }

    /// Restricts this freshly forked process and all its children. Makes only system calls.
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

/// Whether the kernel supports seccomp filters: it then tries to read the filter.
fn filters() -> bool {
    let nothing = std::ptr::null::<libc::sock_fprog>();
    // SAFETY: the kernel refuses to read from a null pointer.
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

/// The numbers of system calls for x32 programs (32-bit pointers): other numbers for the
/// same calls, and own numbers for some.
#[cfg(target_arch = "x86_64")]
fn numbers() -> impl Iterator<Item = i64> {
    const X32: i64 = 1 << 30;
    // ptrace, kexec_load, move_pages, process_vm_readv, process_vm_writev.
    const OWN: [i64; 5] = [521, 528, 533, 539, 540];
    let refused = syscalls::refused().flat_map(|(_, number)| [number, number | X32]);
    // Otherwise the x32 number would allow every kind of socket.
    refused.chain(OWN.map(|number| number | X32)).chain([libc::SYS_socket | X32])
}

#[cfg(not(target_arch = "x86_64"))]
fn numbers() -> impl Iterator<Item = i64> {
    syscalls::refused().map(|(_, number)| number)
}

/// A domain that no signal and no connection to an abstract socket can leave. Rules for
/// files would forbid mounts, which the test server needs to isolate candidates; it applies
/// such rules to each candidate itself.
fn domain() -> Option<RulesetCreated> {
    let scopes = Scope::from_all(ABI::V6);
    let rules = Ruleset::default().set_compatibility(CompatLevel::HardRequirement);
    rules.scope(scopes).ok()?.create().ok()
}
