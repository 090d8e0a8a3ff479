//! How a sandbox's world is made: a list of steps that a forked child can take without
//! allocating.

use std::ffi::{CString, NulError, OsStr};
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use fixfly_runtime::{Mount, MountMode, SandboxSpec};
use nix::errno::Errno;

use super::kernel::forbid;

/// The kernel's user and group that limit everything inside if root opens the sandbox.
pub(super) const NOBODY: u32 = 65534;

/// The path of the space for all writable folders, until it is hidden.
pub(super) const SPACE: &str = ".space";

/// One step. The variants are in the order in which the steps are taken.
#[derive(Debug, PartialEq)]
pub(super) enum Step {
    /// Leave the host's mounts and, as an ordinary user, its user namespace.
    UnshareMounts { user: Option<Identity> },
    /// Open a host folder or file before the new root hides it.
    Hold { slot: usize, from: CString, forbidden: u64 },
    /// Mount the empty new root and enter it.
    Ground,
    /// Make a folder.
    Folder(CString),
    /// Make a file.
    Text(CString, Vec<u8>),
    /// Make a symbolic link at the first path to the second.
    Link(CString, CString),
    /// Mount what was opened.
    Show { slot: usize, at: CString },
    /// Mount the space that all writable folders share, with these options.
    Space { options: CString },
    /// Mount a folder of that space with this mode; `owned` gives it to nobody.
    Scratch { folder: CString, at: CString, mode: u32, owned: bool },
    /// Hide the space, except for its mounted folders.
    Hide,
    /// Make the new root read-only.
    Seal,
    /// If root: become nobody.
    Yield,
    /// Check that a mount can be read.
    Check(CString),
    /// Enter the inner namespaces.
    Separate(Identity),
    /// Bring the loopback interface up and set the host name.
    Settle,
    /// Switch to the new root and to a `/proc` of its own processes.
    Turn,
}

/// A user and group of the kernel, as maps to 0 of a user namespace.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Identity {
    pub(super) uid_map: String,
    pub(super) gid_map: String,
}

impl Identity {
    fn of(uid: u32, gid: u32) -> Identity {
        Identity { uid_map: format!("0 {uid} 1"), gid_map: format!("0 {gid} 1") }
    }
}

/// Who opens the sandbox.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Opener {
    /// Root, who can mount what nobody may search.
    Root,
    /// An ordinary user.
    User { uid: u32, gid: u32 },
}

impl Opener {
    pub(super) fn this_process() -> Opener {
        let map = std::fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
        match nix::unistd::geteuid().as_raw() {
            0 if maps_nobody(&map) => Opener::Root,
            uid => Opener::User { uid, gid: nix::unistd::getegid().as_raw() },
        }
    }
}

/// Whether the root of the namespace with this `uid_map` can become nobody. The root of a
/// user namespace often has no other identity.
fn maps_nobody(uid_map: &str) -> bool {
    uid_map.lines().any(|line| {
        let mut fields = line.split_whitespace().map(|field| field.parse::<u64>().unwrap_or(0));
        let (from, count) = (fields.next().unwrap_or(0), fields.nth(1).unwrap_or(0));
        (from..from + count).contains(&u64::from(NOBODY))
    })
}

/// The steps that make `spec`'s world. `private` has the sizes of its private mounts in
/// bytes, in their order.
pub(super) fn steps(
    spec: &SandboxSpec,
    opener: Opener,
    private: &[u64],
) -> Result<Vec<Step>, NulError> {
    let mut recipe = Recipe { opener, disk: spec.limits.disk_mb << 20, ..Recipe::default() };
    recipe.system()?;
    recipe.devices()?;
    recipe.space(private)?;
    recipe.scratch("tmp", 0o1777)?;
    recipe.scratch("dev/shm", 0o1777)?;
    for mount in &spec.mounts {
        match mount.mode {
            MountMode::ReadOnly => recipe.show(mount)?,
            MountMode::Private => recipe.scratch(inner(&mount.to), 0o755)?,
        }
    }
    recipe.contents.push(Step::Hide);
    recipe.folder(inner(&spec.workdir))?;
    recipe.finish()
}

#[derive(Default)]
struct Recipe {
    opener: Opener,
    disk: u64,
    scratches: usize,
    held: Vec<Step>,
    contents: Vec<Step>,
    checks: Vec<Step>,
}

impl Default for Opener {
    fn default() -> Self {
        Opener::User { uid: NOBODY, gid: NOBODY }
    }
}

impl Recipe {
    /// Mounts the host's programs and libraries, and writes an `/etc` that names nobody.
    fn system(&mut self) -> Result<(), NulError> {
        let is_system =
            |name: &str| ["bin", "sbin", "usr", "nix"].contains(&name) || name.starts_with("lib");
        let folders = std::fs::read_dir("/").into_iter().flatten().flatten();
        for name in folders.filter_map(|entry| entry.file_name().into_string().ok()) {
            let from = Path::new("/").join(&name);
            if !is_system(&name) {
                continue;
            } else if let Ok(to) = std::fs::read_link(&from) {
                self.contents.push(Step::Link(c(&name)?, c(to.as_os_str())?));
            } else {
                self.bind(&from, &name, forbid::WRITES | forbid::SETUID | forbid::DEVICES)?;
            }
        }
        for folder in ["proc", "root", "home", "run", "var/tmp", "etc"] {
            self.folder(folder)?;
        }
        self.text("etc/passwd", PASSWD)?;
        self.text("etc/group", GROUP)?;
        self.text("etc/hosts", "127.0.0.1 localhost sandbox\n::1 localhost\n")?;
        self.text("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files\n")?;
        self.text("etc/resolv.conf", "")?;
        for kept in ["etc/localtime", "etc/ld.so.cache"] {
            if let Ok(bytes) = std::fs::read(Path::new("/").join(kept)) {
                self.contents.push(Step::Text(c(kept)?, bytes));
            }
        }
        // Debian's /usr/bin has links through this folder.
        if Path::new("/etc/alternatives").is_dir() {
            self.bind(Path::new("/etc/alternatives"), "etc/alternatives", forbid::WRITES)?;
        }
        Ok(())
    }

    fn devices(&mut self) -> Result<(), NulError> {
        self.folder("dev/shm")?;
        for name in ["null", "zero", "full", "random", "urandom", "tty"] {
            let from = Path::new("/dev").join(name);
            self.bind(&from, &format!("dev/{name}"), forbid::SETUID | forbid::PROGRAMS)?;
        }
        for (at, to) in [
            ("dev/fd", "/proc/self/fd"),
            ("dev/stdin", "/proc/self/fd/0"),
            ("dev/stdout", "/proc/self/fd/1"),
            ("dev/stderr", "/proc/self/fd/2"),
        ] {
            self.contents.push(Step::Link(c(at)?, c(to)?));
        }
        Ok(())
    }

    fn show(&mut self, mount: &Mount) -> Result<(), NulError> {
        let forbidden = forbid::WRITES | forbid::SETUID | forbid::DEVICES;
        self.bind(&mount.from, inner(&mount.to), forbidden)?;
        self.checks.push(Step::Check(c(inner(&mount.to))?));
        Ok(())
    }

    /// The disk limit covers everything that a sandbox writes; the space has room for
    /// copied mounts in addition.
    fn space(&mut self, private: &[u64]) -> Result<(), NulError> {
        let bytes = self.disk + private.iter().sum::<u64>();
        // Limits what many empty files cost the kernel.
        let files = (bytes >> 12) + 1024;
        self.folder(SPACE)?;
        let options = c(format!("mode=755,size={bytes},nr_inodes={files}"))?;
        self.contents.push(Step::Space { options });
        Ok(())
    }

    fn scratch(&mut self, at: &str, mode: u32) -> Result<(), NulError> {
        self.folder(at)?;
        let folder = c(format!("{SPACE}/{}", self.scratches))?;
        self.scratches += 1;
        let owned = self.opener == Opener::Root && mode & 0o1000 == 0;
        self.contents.push(Step::Scratch { folder, at: c(at)?, mode, owned });
        Ok(())
    }

    fn bind(&mut self, from: &Path, at: &str, forbidden: u64) -> Result<(), NulError> {
        if from.is_dir() {
            self.folder(at)?;
        } else {
            self.folder(at.rsplit_once('/').map_or("", |(folder, _)| folder))?;
            self.text(at, "")?;
        }
        let slot = self.held.len();
        self.held.push(Step::Hold { slot, from: c(from.as_os_str())?, forbidden });
        self.contents.push(Step::Show { slot, at: c(at)? });
        Ok(())
    }

    fn folder(&mut self, at: &str) -> Result<(), NulError> {
        let ends = at.match_indices('/').map(|(end, _)| end).chain([at.len()]);
        for folder in ends.map(|end| &at[..end]).filter(|folder| !folder.is_empty()) {
            let step = Step::Folder(c(folder)?);
            if !self.contents.contains(&step) {
                self.contents.push(step);
            }
        }
        Ok(())
    }

    fn text(&mut self, at: &str, text: &str) -> Result<(), NulError> {
        self.contents.push(Step::Text(c(at)?, text.as_bytes().to_vec()));
        Ok(())
    }

    fn finish(self) -> Result<Vec<Step>, NulError> {
        let (user, inner) = match self.opener {
            Opener::Root => (None, Identity::of(NOBODY, NOBODY)),
            Opener::User { uid, gid } => (Some(Identity::of(uid, gid)), Identity::of(0, 0)),
        };
        let mut steps = vec![Step::UnshareMounts { user }];
        steps.extend(self.held);
        steps.push(Step::Ground);
        steps.extend(self.contents);
        steps.push(Step::Seal);
        if self.opener == Opener::Root {
            steps.push(Step::Yield);
        }
        steps.extend(self.checks);
        steps.extend([Step::Separate(inner), Step::Settle, Step::Turn]);
        Ok(steps)
    }
}

/// The unprivileged user has a name and the uid of a machine's first user: programs ask for
/// it, and some of Django's tests wait for ever without one.
const PASSWD: &str = "root:x:0:0:root:/root:/bin/sh\n\
                      user:x:1000:1000:user:/tmp:/bin/sh\n\
                      nobody:x:65534:65534:nobody:/tmp:/bin/sh\n";
const GROUP: &str = "root:x:0:\nuser:x:1000:\nnogroup:x:65534:\n";

fn inner(path: &str) -> &str {
    path.trim_matches('/')
}

fn c(path: impl AsRef<OsStr>) -> Result<CString, NulError> {
    CString::new(path.as_ref().as_bytes())
}

impl fmt::Display for Step {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Step::UnshareMounts { user: None } => out.write_str("leaving the host's mounts"),
            Step::UnshareMounts { user: Some(_) } => {
                out.write_str("making a user and a mount namespace")
            }
            Step::Hold { from, .. } => write!(out, "opening {}", from.to_string_lossy()),
            Step::Ground => out.write_str("mounting an empty root over /tmp"),
            Step::Folder(at) => write!(out, "making the folder /{}", at.to_string_lossy()),
            Step::Text(at, _) => write!(out, "making the file /{}", at.to_string_lossy()),
            Step::Link(at, _) => write!(out, "making the link /{}", at.to_string_lossy()),
            Step::Show { at, .. } => write!(out, "mounting /{}", at.to_string_lossy()),
            Step::Space { .. } => out.write_str("mounting a tmpfs for what is written"),
            Step::Scratch { at, .. } => {
                write!(out, "mounting a writable folder at /{}", at.to_string_lossy())
            }
            Step::Hide => out.write_str("hiding the tmpfs for what is written"),
            Step::Seal => out.write_str("making the root read-only"),
            Step::Yield => out.write_str("becoming nobody"),
            Step::Check(at) => write!(out, "reading /{}", at.to_string_lossy()),
            Step::Separate(_) => {
                out.write_str("making user, mount, pid, net, ipc and uts namespaces")
            }
            Step::Settle => out.write_str("raising the loopback interface"),
            Step::Turn => out.write_str("mounting /proc and turning to the new root"),
        }
    }
}

impl Step {
    /// What a person can do if this step failed with this error.
    pub(super) fn remedy(&self, errno: Errno) -> &'static str {
        match (self, errno) {
            (Step::UnshareMounts { user: None } | Step::Yield, Errno::EPERM) => {
                "; root lacks CAP_SYS_ADMIN, CAP_SETUID or CAP_SETGID here: run the container \
                 with --privileged, or fixfly as an ordinary user"
            }
            (Step::UnshareMounts { .. } | Step::Separate(_), _) => {
                "; this kernel or container does not allow user namespaces: set \
                 user.max_user_namespaces above 0, kernel.unprivileged_userns_clone to 1 and \
                 kernel.apparmor_restrict_unprivileged_userns to 0 where they exist, or run \
                 the container with --privileged"
            }
            (Step::Check(_), Errno::EACCES) => {
                "; a sandbox opened by root reads as nobody: chmod -R o+rX the folder"
            }
            (Step::Turn, Errno::EPERM) => {
                "; parts of /proc are masked here: run the container with --privileged or \
                 --security-opt systempaths=unconfined"
            }
            (Step::Hold { .. }, Errno::ENOSYS) => "; Linux 5.12 or newer is needed",
            _ => "",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(opener: Opener) -> Vec<Step> {
        let mount = |mode, to: &str| Mount { from: "/usr".into(), to: to.into(), mode };
        let spec = SandboxSpec {
            mounts: vec![mount(MountMode::ReadOnly, "/a/b"), mount(MountMode::Private, "/c")],
            workdir: "/work".into(),
            ..SandboxSpec::default()
        };
        steps(&spec, opener, &[1 << 20]).unwrap()
    }

    fn position(steps: &[Step], is: impl Fn(&Step) -> bool) -> usize {
        steps.iter().position(is).unwrap()
    }

    #[test]
    fn root_yields_after_the_binds_and_before_the_user_namespace() {
        let steps = made(Opener::Root);
        let shown = steps.iter().rposition(|step| matches!(step, Step::Show { .. })).unwrap();
        let yielded = position(&steps, |step| *step == Step::Yield);
        let apart = position(&steps, |step| matches!(step, Step::Separate(_)));
        assert!(shown < yielded && yielded < apart);
        assert_eq!(steps[apart], Step::Separate(Identity::of(NOBODY, NOBODY)));
    }

    #[test]
    fn a_user_is_the_outer_namespaces_root_and_never_yields() {
        let steps = made(Opener::User { uid: 7, gid: 8 });
        assert_eq!(steps[0], Step::UnshareMounts { user: Some(Identity::of(7, 8)) });
        assert!(!steps.contains(&Step::Yield));
        assert!(steps.contains(&Step::Separate(Identity::of(0, 0))));
    }

    #[test]
    fn every_source_is_held_before_the_new_root_hides_it() {
        let steps = made(Opener::Root);
        let held = steps.iter().rposition(|step| matches!(step, Step::Hold { .. })).unwrap();
        assert!(held < position(&steps, |step| *step == Step::Ground));
    }

    #[test]
    fn all_that_is_written_shares_the_disk_limit_and_room_for_what_is_copied() {
        let steps = made(Opener::User { uid: 7, gid: 8 });
        let options = c"mode=755,size=269484032,nr_inodes=66816".to_owned();
        assert!(steps.contains(&Step::Space { options }));
    }

    #[test]
    fn root_of_a_small_user_namespace_cannot_become_nobody() {
        assert!(maps_nobody("         0          0 4294967295\n"));
        assert!(maps_nobody("0 1000 1\n1 100000 65536\n"));
        assert!(!maps_nobody("0 1000 1\n"));
        assert!(!maps_nobody(""));
    }

    #[test]
    fn a_path_makes_all_its_folders_once() {
        let steps = made(Opener::Root);
        for folder in [c"a", c"a/b", c"etc", c"work"] {
            let count = steps.iter().filter(|step| **step == Step::Folder(folder.into())).count();
            assert_eq!(count, 1, "{folder:?}");
        }
    }
}
