//! The seccomp profile of containers, in Docker's format.

use serde_json::{Value, json};

use crate::syscalls;

/// Docker's own profile cannot be used: it refuses namespaces and mounts, which the test
/// server needs to isolate candidates.
pub(super) fn profile() -> Value {
    let refused = |names: Vec<&str>, args: Value| json!({ "names": names, "action": "SCMP_ACT_ERRNO", "args": args });
    let calls = refused(syscalls::refused_names().collect(), json!([]));
    let sockets = syscalls::refused_sockets().map(|kind| {
        let equal = json!([{ "index": 0, "value": kind, "op": "SCMP_CMP_EQ" }]);
        refused(vec!["socket"], equal)
    });
    json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "architectures": [
            "SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32",
            "SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM",
        ],
        "syscalls": std::iter::once(calls).chain(sockets).collect::<Vec<_>>(),
    })
}
