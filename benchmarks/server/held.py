"""What a group's process holds open once its tests are collected. A candidate
is a fork of it, and must not share an open file with the next one: each fork
gets files of its own under the same numbers, in the state of a fresh process."""

import fcntl
import os
import random
import stat
import tempfile

# Nothing that is written there can be read again.
NULLS = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")


class Shared(Exception):
    """Something is open, or runs, that a fork would share with its parent or lack."""


def opened():
    """descriptor -> what it is open on."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:
            continue  # the listing's own
    return found


class Held:
    def __init__(self, before, own):
        """`before`: what was open before the project's code ran. `own`: the descriptors of
        the test framework: what each copies, or None for a file to write to."""
        self.own, self.files, self.kept = own, {}, set(own)
        for fd, place in opened().items():
            if fd in before or fd in own:
                continue
            if place not in NULLS:
                self.files[fd] = place, reopened_with(fd, place)
            self.kept.add(fd)
        if len(os.listdir("/proc/self/task")) > 1:
            raise Shared("a thread runs once its tests are collected")
        if has_children():
            raise Shared("a process that it started runs once its tests are collected")
        self.chance = random.getstate()

    def renew(self):
        """In the child: files of its own, and chance as it was."""
        for fd, copied in self.own.items():
            if copied is None:
                replace(fd, os.open(tempfile.gettempdir(), os.O_TMPFILE | os.O_RDWR, 0o600))
            else:
                os.dup2(copied, fd, inheritable=False)
        for fd, (place, flags) in self.files.items():
            at = os.lseek(fd, 0, os.SEEK_CUR)
            replace(fd, os.open(place, flags))
            os.lseek(fd, at, os.SEEK_SET)
        # Python seeds both anew in a process that was forked.
        random.setstate(self.chance)
        tempfile._name_sequence._rng_pid = os.getpid()


def reopened_with(fd, place):
    """The flags to open a file again that is only read; others cannot be."""
    flags = fcntl.fcntl(fd, fcntl.F_GETFL)
    is_read = flags & os.O_ACCMODE == os.O_RDONLY
    try:
        if is_read and stat.S_ISREG(os.fstat(fd).st_mode) and os.path.samestat(os.stat(place), os.fstat(fd)):
            return flags & ~os.O_CREAT | os.O_CLOEXEC
    except FileNotFoundError:
        pass
    raise Shared(f"{place} is open once its tests are collected")


def has_children():
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def replace(fd, by):
    os.dup2(by, fd, inheritable=False)
    os.close(by)
