# Makes a root file system with Python for sandboxes, as a tarball: $1, of the
# release $2 of Debian, with the packages $3.
set -eu
command -v debootstrap > /dev/null || {
    echo "debootstrap is missing: install it, or pass a tarball with --rootfs FILE" >&2
    exit 1
}
[ "$(id -u)" = 0 ] || {
    echo "debootstrap needs root: run this as root, or pass a tarball with --rootfs FILE" >&2
    exit 1
}
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
debootstrap --variant=minbase --include="python3${3:+,$3}" "$2" "$root" >&2
cd "$root"
rm -rf var/cache/apt/* var/lib/apt/lists/* usr/share/doc/* usr/share/man/* usr/share/locale/*
find root -mindepth 1 -delete
# The user nobody must be able to traverse the folders above a task's interpreter.
chmod 755 root
# As in the sandbox `local`: candidates run as uid 1000.
printf 'root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000:user:/tmp:/bin/sh\nnobody:x:65534:65534:nobody:/tmp:/bin/sh\n' > etc/passwd
printf 'root:x:0:\nuser:x:1000:\nnogroup:x:65534:\n' > etc/group
tar --numeric-owner --sort=name --mtime=@0 -cf "$1" .
