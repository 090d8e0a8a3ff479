"""Runs in a sandbox, isolated (`python3 -I -S -c`): lists what differs from the base commit,
or reads files. It follows no symbolic link, opens no pipe or device, and changes nothing.

    list ROOT MAX_NEW     stdin: `mode type hash size<TAB>path<NUL>`, the files of the base commit
                          stdout: records of five fields (kind, mode, size, hash, path), each
                          ended by NUL; the last is of kind `end`
    read ROOT             stdin: `size<TAB>path<NUL>`, the files to read
                          stdout: for each a line (the length, or `-` and a reason) and the bytes;
                          then the line `end`
"""
import collections
import errno
import hashlib
import os
import stat
import sys

PIECE = 1 << 16
FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
# Output of new files in all, so that no number of them is too much for the reader.
NEW_BYTES = 48 << 20


class Left(Exception):
    """A file that cannot be taken, with the kind of reason."""


def pieces(path, size):
    """The bytes of a regular file that must have this size."""
    try:
        fd = os.open(path, FLAGS)
    except OSError as error:
        raise Left("special" if error.errno == errno.ENXIO else "unreadable")
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise Left("special")
        left = size
        while True:
            try:
                piece = os.read(fd, PIECE)
            except OSError:
                raise Left("unreadable")
            left -= len(piece)
            if left < 0 or (not piece and left):
                raise Left("changing")
            if not piece:
                return
            yield piece
    finally:
        os.close(fd)


def target(path):
    try:
        return os.readlink(path)
    except OSError:
        raise Left("unreadable")


def digest(size, parts):
    hashed = hashlib.sha1(b"blob %d\0" % size)
    for part in parts:
        hashed.update(part)
    return hashed.hexdigest().encode()


class Listing:
    def __init__(self, root, rows, max_new):
        self.root, self.max_new = root, max_new
        self.base, self.folders, self.seen = {}, {b""}, set()
        for row in rows.split(b"\0"):
            if row:
                facts, path = row.split(b"\t", 1)
                mode, _, name, size = facts.split()
                self.base[path] = (mode, int(size), name)
                while b"/" in path:
                    path = path.rpartition(b"/")[0]
                    self.folders.add(path)
        self.new = self.new_bytes = self.count = 0

    def record(self, kind, path, mode=b"", size=0, name=b""):
        self.count += 1
        sys.stdout.buffer.write(b"\0".join((kind.encode(), mode, b"%d" % size, name, path, b"")))

    def run(self):
        # Folders of the base commit come first, so that no number of others hides them.
        known, others = collections.deque([b""]), collections.deque()
        while known or others:
            path = (known or others).popleft()
            try:
                names = sorted(os.listdir(self.place(path)))
            except OSError:
                self.folder_left("unreadable", path)
                continue
            full = False
            for name in names:
                if name == b".git":
                    continue
                entry = path + b"/" + name if path else name
                if full and entry not in self.base and entry not in self.folders:
                    continue
                try:
                    full |= self.entry(entry, known, others)
                except Left as left:
                    self.seen.add(entry)
                    self.record(str(left), entry)
            if full:
                self.record("many", path or b".")
        for path in self.base:
            if path not in self.seen:
                self.record("deleted", path)
        self.record("end", b"%d" % self.count)

    def place(self, path):
        return self.root + b"/" + path if path else self.root

    def folder_left(self, kind, path):
        """A folder that cannot be listed: what the base commit has in it is taken as unchanged."""
        self.record(kind, path or b".")
        start = path + b"/" if path else b""
        self.seen.update(name for name in self.base if name.startswith(start))

    def entry(self, path, known, others):
        """Records one entry; true if no further new one may be recorded."""
        try:
            of = os.lstat(self.place(path))
        except OSError:
            raise Left("unreadable")
        if stat.S_ISDIR(of.st_mode):
            if path in self.folders:
                known.append(path)
                return False
            if self.is_full(path):
                return True
            others.append(path)
            return False
        if stat.S_ISLNK(of.st_mode):
            mode, size = b"120000", len(target(self.place(path)))
        elif stat.S_ISREG(of.st_mode):
            mode, size = (b"100755" if of.st_mode & 0o100 else b"100644"), of.st_size
        else:
            raise Left("special")
        if path in self.base:
            self.known(path, mode, size)
        elif self.is_full(path):
            return True
        else:
            self.record("new", path, mode, size)
        return False

    def is_full(self, path):
        """Whether there are too many new entries; counts this one."""
        self.new += 1
        self.new_bytes += len(path) + 64
        return self.new > self.max_new or self.new_bytes > NEW_BYTES

    def known(self, path, mode, size):
        self.seen.add(path)
        base_mode, base_size, base_name = self.base[path]
        name = b""
        # Another size is another file: only what may be the same is read.
        if size == base_size:
            place = self.place(path)
            name = digest(size, [target(place)] if mode == b"120000" else pieces(place, size))
        if (mode, name) != (base_mode, base_name):
            self.record("changed", path, mode, size, name)


def read(root, rows):
    out = sys.stdout.buffer
    for row in rows.split(b"\0"):
        if not row:
            continue
        size, path = row.split(b"\t", 1)
        place = root + b"/" + path
        try:
            try:
                is_link = stat.S_ISLNK(os.lstat(place).st_mode)
            except OSError:
                raise Left("unreadable")
            data = target(place) if is_link else b"".join(pieces(place, int(size)))
            if len(data) != int(size):
                raise Left("changing")
            out.write(b"%d\n" % len(data))
            out.write(data)
        except Left as left:
            out.write(b"-" + str(left).encode() + b"\n")
    out.write(b"end\n")


def main():
    verb, root = sys.argv[1], os.fsencode(sys.argv[2])
    rows = sys.stdin.buffer.read()
    if verb == "list":
        Listing(root, rows, int(sys.argv[3])).run()
    else:
        read(root, rows)
    sys.stdout.buffer.flush()


main()
