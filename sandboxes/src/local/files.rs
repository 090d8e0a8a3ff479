//! Reads and writes a sandbox's files from outside, with the identity of the programs
//! inside.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{PermissionsExt, lchown, symlink};
use std::path::Path;

use nix::errno::Errno;
use nix::libc;
use nix::sys::stat::{Mode, mkdirat};

use super::kernel::open_in;
use super::recipe::{NOBODY, Opener};
use super::world::World;

/// Reads the file at `path`.
pub(super) fn read(world: &World, path: &str) -> io::Result<Vec<u8>> {
    let _guise = Guise::of(world.opener());
    // Check the type before opening: opening a device or a pipe may have effects.
    let place = open_in(world.root(), path, libc::O_PATH, 0)?;
    regular(&File::from(place.try_clone()?))?;
    let mut bytes = Vec::new();
    File::open(format!("/proc/self/fd/{}", place.as_raw_fd()))?.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Writes the file at `path` and makes its folders.
pub(super) fn write(world: &World, path: &str, bytes: &[u8]) -> io::Result<()> {
    let _guise = Guise::of(world.opener());
    let flags = libc::O_WRONLY | libc::O_NONBLOCK | libc::O_NOCTTY;
    let mut file = match open_in(world.root(), path, flags, 0) {
        Err(Errno::ENOENT) => create(world.root(), path, flags)?,
        opened => File::from(opened?),
    };
    regular(&file)?;
    file.set_len(0)?;
    file.write_all(bytes)
}

fn create(root: BorrowedFd, path: &str, flags: i32) -> io::Result<File> {
    let folder = path.trim_end_matches('/').rsplit_once('/').map_or("", |(folder, _)| folder);
    make_folders(root, folder)?;
    let file = File::from(open_in(root, path, flags | libc::O_CREAT, 0o644)?);
    file.set_permissions(PermissionsExt::from_mode(0o644))?;
    Ok(file)
}

fn make_folders(root: BorrowedFd, folder: &str) -> io::Result<()> {
    let ends = folder.match_indices('/').map(|(end, _)| end).chain([folder.len()]);
    let mut parent: Option<OwnedFd> = None;
    for at in ends.map(|end| &folder[..end]).filter(|at| !at.is_empty()) {
        let flags = libc::O_RDONLY | libc::O_DIRECTORY;
        let opened = open_in(root, at, libc::O_PATH | libc::O_DIRECTORY, 0);
        if opened.is_err_and(|why| why == Errno::ENOENT) {
            let name = at.rsplit_once('/').map_or(at, |(_, name)| name);
            let within = parent.as_ref().map_or(root, AsFd::as_fd);
            mkdirat(within, name, Mode::from_bits_truncate(0o755))?;
            let made = File::from(open_in(root, at, flags, 0)?);
            made.set_permissions(PermissionsExt::from_mode(0o755))?;
        }
        parent = Some(open_in(root, at, libc::O_PATH | libc::O_DIRECTORY, 0)?);
    }
    Ok(())
}

fn regular(file: &File) -> io::Result<()> {
    match file.metadata()? {
        of if of.is_file() => Ok(()),
        of if of.is_dir() => Err(io::Error::from(io::ErrorKind::IsADirectory)),
        _ => Err(io::Error::other("not a regular file")),
    }
}

/// Gives this thread the identity of the programs inside while it lives.
struct Guise {
    was: Option<(u32, u32)>,
}

impl Guise {
    fn of(opener: Opener) -> Guise {
        // SAFETY: these calls affect only the calling thread.
        let was = (opener == Opener::Root).then(|| unsafe {
            let gid = libc::setfsgid(NOBODY) as u32;
            (libc::setfsuid(NOBODY) as u32, gid)
        });
        Guise { was }
    }
}

impl Drop for Guise {
    fn drop(&mut self) {
        if let Some((uid, gid)) = self.was {
            // SAFETY: as above.
            unsafe {
                libc::setfsuid(uid);
                libc::setfsgid(gid);
            }
        }
    }
}

/// Bytes that the files below `folder` take, in whole pages, plus one page for each file.
pub(crate) fn size(folder: &Path) -> io::Result<u64> {
    let mut total = 0;
    for entry in folder.read_dir()? {
        let (entry, page) = (entry?, 4096_u64);
        let of = entry.metadata()?;
        total += page + of.len().next_multiple_of(page);
        if of.is_dir() {
            total += size(&entry.path())?;
        }
    }
    Ok(total)
}

/// Copies the contents of `from` into the folder `to` of a world in which nothing runs yet,
/// and gives them to the user of its programs.
pub(super) fn copy(world: &World, from: &Path, to: &str) -> io::Result<()> {
    let root = format!("/proc/self/fd/{}", world.root().as_raw_fd());
    let owner = (world.opener() == Opener::Root).then_some(NOBODY);
    copy_below(from, &Path::new(&root).join(to.trim_start_matches('/')), owner)
}

fn copy_below(from: &Path, to: &Path, owner: Option<u32>) -> io::Result<()> {
    for entry in from.read_dir()? {
        let entry = entry?;
        let (source, target, kind) = (entry.path(), to.join(entry.file_name()), entry.file_type()?);
        if kind.is_symlink() {
            symlink(std::fs::read_link(&source)?, &target)?;
        } else if kind.is_dir() {
            if let Err(why) = std::fs::create_dir(&target)
                && why.kind() != io::ErrorKind::AlreadyExists
            {
                return Err(why);
            }
            std::fs::set_permissions(&target, entry.metadata()?.permissions())?;
            copy_below(&source, &target, owner)?;
        } else if kind.is_file() {
            std::fs::copy(&source, &target)?;
        } else {
            continue;
        }
        if owner.is_some() {
            lchown(&target, owner, owner)?;
        }
    }
    Ok(())
}
