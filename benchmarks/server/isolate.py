"""Holds one candidate: its own pid, mount, ipc and user namespaces, its own
/tmp and /dev/shm, its own file over the one in the tree, limits, no capability,
and a Landlock domain where the kernel has it.

Where the kernel refuses nested namespaces `Isolation.full` is false, and the
server refuses to run candidates.
"""

import ctypes
import os
import resource
import stat
import struct

NEWNS, NEWIPC, NEWUSER, NEWPID = 0x20000, 0x08000000, 0x10000000, 0x20000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_REMOUNT = 1, 2, 4, 32
MS_BIND, MS_REC, MS_PRIVATE = 4096, 16384, 1 << 18
PR_SET_PDEATHSIG, PR_CAPBSET_DROP, PR_SET_NO_NEW_PRIVS = 1, 24, 38
USER = 1000

libc = ctypes.CDLL(None, use_errno=True)
libc.mount.argtypes = [ctypes.c_char_p, ctypes.c_char_p, ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p]


def checked(result, *names):
    """Raises the error of a call that failed, with the files that it was about."""
    if result != 0:
        code = ctypes.get_errno()
        first, second = (*names, None, None)[:2]
        raise OSError(code, os.strerror(code), first, None, second)


def mount(source, target, kind, flags, data=None):
    checked(libc.mount(source.encode(), target.encode(), kind.encode() if kind else None, flags,
                       data.encode() if data else None), source, target)


class Isolation:
    """What this machine lets a server do for each candidate."""

    def __init__(self):
        self.pid_namespace = os.open("/proc/self/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
        self.full = self.probe()

    def probe(self):
        pid = self.fork(assume=True)
        if pid is None:
            return False
        if pid == 0:
            try:
                self.enter({}, "16m")
                os._exit(0)
            except OSError:
                os._exit(1)
        return os.waitpid(pid, 0)[1] == 0

    def fork(self, assume=False):
        """Like os.fork, the child being the first process of a new pid
        namespace, so that whatever it starts dies with it."""
        if not (assume or self.full):
            return os.fork()
        if libc.unshare(NEWPID) != 0:
            return None
        try:
            pid = os.fork()
        finally:
            if "pid" not in locals() or pid != 0:
                checked(libc.setns(self.pid_namespace, NEWPID))
        return pid

    def enter(self, files, disk):
        """In the child: a private world with `files` (path -> bytes) in place."""
        user, group = os.getuid(), os.getgid()
        kept = list(snapshot("/tmp"))
        # A pid namespace's /proc can only be mounted by the user namespace that owns it.
        checked(libc.unshare(NEWNS))
        mount("none", "/", None, MS_REC | MS_PRIVATE)
        mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV)
        checked(libc.unshare(NEWUSER | NEWNS | NEWIPC))
        write("/proc/self/setgroups", "deny")
        write("/proc/self/uid_map", f"{USER} {user} 1")
        write("/proc/self/gid_map", f"{USER} {group} 1")
        # Their owner to the kernel is the candidate's user, so it could write
        # the network's settings, which the next candidate shares.
        mount("/proc/sys", "/proc/sys", None, MS_BIND)
        mount("none", "/proc/sys", None, MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV)
        # One space for both, so that the limit holds for all that is written.
        mount("tmpfs", "/dev/shm", "tmpfs", MS_NOSUID | MS_NODEV, f"size={disk},nr_inodes=65536,mode=755")
        for folder in ("/tmp", "/dev/shm"):
            part = "/dev/shm/" + os.path.basename(folder)
            os.mkdir(part)
            os.chmod(part, 0o1777)
            mount(part, folder, None, MS_BIND)
        for number, (path, content) in enumerate(files.items()):
            cover(path, content, f"/tmp/.cover{number}")
        restore(kept)


def own_tmp(disk):
    """A /tmp of this process and its children: what a group leaves there is no other's."""
    kept = list(snapshot("/tmp"))
    checked(libc.unshare(NEWNS))
    mount("none", "/", None, MS_REC | MS_PRIVATE)
    mount("tmpfs", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV, f"size={disk},nr_inodes=65536,mode=1777")
    restore(kept)


def write(path, text):
    with open(path, "w") as file:
        file.write(text)


def cover(path, content, by):
    """Puts `content` where `path` is, for this mount namespace only."""
    with open(by, "wb") as file:
        file.write(content)
    os.chmod(by, 0o444)
    mount(by, path, None, MS_BIND)
    # Flags of the covered mount are locked in a user namespace and must be repeated.
    mount("none", path, None, MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV)
    os.unlink(by)


def snapshot(root):
    """What the imports so far left in /tmp: few and small things."""
    for folder, folders, files in os.walk(root):
        for name in folders + files:
            path = os.path.join(folder, name)
            info = os.lstat(path)
            if stat.S_ISLNK(info.st_mode):
                yield path, "link", os.readlink(path)
            elif stat.S_ISDIR(info.st_mode):
                yield path, "folder", info.st_mode & 0o7777
            elif stat.S_ISREG(info.st_mode):
                with open(path, "rb") as file:
                    yield path, "file", (info.st_mode & 0o7777, file.read())


def restore(kept):
    for path, kind, what in kept:
        if kind == "link":
            os.symlink(what, path)
        elif kind == "folder":
            os.mkdir(path)
            os.chmod(path, what)
        else:
            with open(path, "wb") as file:
                file.write(what[1])
            os.chmod(path, what[0])


# Every right of Landlock's that changes a file, by the version that brought it.
WRITE_FILE, REMOVE_DIR, REMOVE_FILE, MAKE, REFER, TRUNCATE = 1 << 1, 1 << 4, 1 << 5, 0b1111111 << 6, 1 << 13, 1 << 14
CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
SCOPES = 0b11


def confine():
    """Lets nothing be written but in /tmp and /dev/shm, nothing be mounted, and
    no signal leave, by Landlock where the kernel has it: a second line behind
    the mounts. Needs no_new_privs."""
    version = libc.syscall(CREATE_RULESET, None, ctypes.c_size_t(0), 1)
    if version < 1:
        return
    writes = WRITE_FILE | REMOVE_DIR | REMOVE_FILE | MAKE
    writes |= (REFER if version >= 2 else 0) | (TRUNCATE if version >= 3 else 0)
    rules = (ctypes.c_uint64 * 3)(writes, 0, SCOPES if version >= 6 else 0)
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    ruleset = libc.syscall(CREATE_RULESET, rules, ctypes.c_size_t(size), 0)
    if ruleset < 0:
        return
    files = writes & (WRITE_FILE | TRUNCATE)
    allowed = {"/tmp": writes, "/dev/shm": writes}
    allowed.update({f"/dev/{name}": files for name in ("null", "zero", "full", "random", "urandom", "tty")})
    for path, rights in allowed.items():
        fd = os.open(path, os.O_PATH | os.O_CLOEXEC)
        rule = struct.pack("=Qi", rights, fd)
        checked(libc.syscall(ADD_RULE, ruleset, 1, rule, 0))
        os.close(fd)
    checked(libc.syscall(RESTRICT_SELF, ruleset, 0))
    os.close(ruleset)


def limit(memory_mb, cpu, processes, file_mb):
    """Limits of one candidate, and nothing it could raise them with."""
    def set_limit(which, value, grace=0):
        most = resource.getrlimit(which)[1]
        cut = (lambda wanted: wanted) if most == resource.RLIM_INFINITY else (lambda wanted: min(wanted, most))
        resource.setrlimit(which, (cut(value), cut(value + grace)))

    set_limit(resource.RLIMIT_AS, memory_mb << 20)
    # The soft limit's signal says what ended the candidate. At the hard one the kernel
    # sends what it sends when memory runs out, and on a busy host it counts more
    # seconds than wait4 reports, so the two could not be told apart.
    set_limit(resource.RLIMIT_CPU, cpu, grace=2)
    set_limit(resource.RLIMIT_NPROC, processes)
    set_limit(resource.RLIMIT_FSIZE, file_mb << 20)
    set_limit(resource.RLIMIT_CORE, 0)
    try:
        write("/proc/self/oom_score_adj", "1000")
    except OSError:
        pass
    checked(libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
    for capability in range(64):
        libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    checked(libc.capset(header, (ctypes.c_uint32 * 6)()))
    confine()


def die_with_parent():
    libc.prctl(PR_SET_PDEATHSIG, 9, 0, 0, 0)
