//! The files of a sandbox: host folders that are shown read-only, folders of its own, and,
//! for single programs, different contents for single files.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use fixfly_runtime::{MountMode, SandboxSpec};
use nix::fcntl::{Flock, FlockArg, OFlag, OpenHow, ResolveFlag, openat2};
use nix::sys::stat::Mode;
use tempfile::TempDir;

/// The path of a sandbox's temporary files.
const TEMPORARY: &str = "/tmp";
/// What Python reads from the system: its time zones.
const SYSTEM: [&str; 1] = ["/usr/share/zoneinfo"];
const LOCK: &str = "lock";

/// A sandbox's files. Dropping this removes them.
pub(super) struct Tree {
    places: Vec<Place>,
    folder: TempDir,
    /// Copies of mounts in which single files are replaced, by mount; one program at a time
    /// uses them.
    shadows: Arc<tokio::sync::Mutex<Vec<Option<PathBuf>>>>,
    _alive: Flock<fs::File>,
}

/// A folder, as programs see it.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) guest: String,
    pub(super) host: PathBuf,
    pub(super) writable: bool,
}

/// The folders that one program sees.
pub(super) struct View {
    pub(super) places: Vec<Place>,
}

impl View {
    /// Bytes on disk of everything that is writable, as a file system counts them.
    pub(super) fn written(&self) -> u64 {
        self.places.iter().filter(|place| place.writable).map(|place| size(&place.host)).sum()
    }
}

fn size(folder: &Path) -> u64 {
    const ENTRY: u64 = 512;
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let sizes = entries.filter_map(|entry| {
        let about = entry.metadata().ok()?;
        let inside = if about.is_dir() { size(&entry.path()) } else { 0 };
        Some(ENTRY + about.blocks() * 512 + inside)
    });
    sizes.sum()
}

impl Tree {
    /// Makes the folders of a sandbox below `home`.
    pub(super) fn make(spec: &SandboxSpec, home: &Path) -> Result<Tree, String> {
        let unwritable = |why: io::Error| format!("{}: {why}", home.display());
        fs::create_dir_all(home).map_err(unwritable)?;
        let folder = tempfile::Builder::new().prefix("").tempdir_in(home).map_err(unwritable)?;
        // Lock it before it gets its name, so that no sweep finds it unlocked.
        let unnamed = folder.path().join("unnamed");
        let file = fs::File::create(&unnamed).map_err(unwritable)?;
        let alive = Flock::lock(file, FlockArg::LockExclusiveNonblock)
            .map_err(|(_, why)| unwritable(why.into()))?;
        fs::rename(unnamed, folder.path().join(LOCK)).map_err(unwritable)?;
        let mut places = Vec::new();
        for (number, mount) in spec.mounts.iter().enumerate() {
            let from = &mount.from;
            if !crate::local::is_place(&mount.to) {
                return Err(format!("`{}` is no absolute path for a mount", mount.to));
            }
            if !from.is_dir() {
                return Err(format!("{}: there is no such folder", from.display()));
            }
            let writable = mount.mode == MountMode::Private;
            let mut host = from.clone();
            if writable {
                host = folder.path().join(format!("private{number}"));
                replicate(from, &host, Replica::Copy)
                    .map_err(|why| format!("copying {} to {}: {why}", from.display(), mount.to))?;
            }
            places.push(Place { guest: mount.to.clone(), host, writable });
        }
        for system in SYSTEM {
            if Path::new(system).is_dir() {
                places.push(Place { guest: system.into(), host: system.into(), writable: false });
            }
        }
        let temporary = folder.path().join("tmp");
        fs::create_dir(&temporary).map_err(unwritable)?;
        places.push(Place { guest: TEMPORARY.into(), host: temporary, writable: true });
        let shadows = Arc::new(tokio::sync::Mutex::new(vec![None; places.len()]));
        Ok(Tree { places, folder, shadows, _alive: alive })
    }

    /// The view of a first program.
    pub(super) fn view(&self) -> View {
        View { places: self.places.clone() }
    }

    /// The view of a program that another one started: some files of read-only folders have
    /// other contents or are missing, and `/tmp` is its own.
    pub(super) async fn covered(
        &self,
        covers: Vec<(String, Option<Vec<u8>>)>,
    ) -> Result<Covered, String> {
        let mut shadows = Arc::clone(&self.shadows).lock_owned().await;
        let (mut places, folder) = (self.places.clone(), self.folder.path().to_path_buf());
        let covered = tokio::task::spawn_blocking(move || {
            let mut replaced = Vec::new();
            for (path, content) in covers {
                let at = place_of(&places, &path)
                    .ok_or_else(|| format!("{path} is in no folder that can be covered"))?;
                if shadows[at].is_none() {
                    let shadow = folder.join(format!("shadow{at}"));
                    replicate(&places[at].host, &shadow, Replica::Link)?;
                    shadows[at] = Some(shadow);
                }
                let Some(shadow) = &shadows[at] else { continue };
                let relative = path[places[at].guest.len()..].trim_start_matches('/');
                let inside = shadow.join(relative);
                replaced.push((inside.clone(), places[at].host.join(relative)));
                remove(&inside)?;
                if let Some(content) = content {
                    fs::write(&inside, content)?;
                }
            }
            for (place, shadow) in places.iter_mut().zip(shadows.iter()) {
                if let Some(shadow) = shadow {
                    place.host = shadow.clone();
                }
            }
            let temporary = tempfile::Builder::new().prefix("tmp").tempdir_in(&folder)?;
            for place in &mut places {
                if place.guest == TEMPORARY {
                    place.host = temporary.path().to_path_buf();
                }
            }
            let view = View { places };
            Ok::<_, Cannot>(Covered { view, replaced, _temporary: temporary, _shadows: shadows })
        });
        let covered = covered.await.map_err(|why| why.to_string())?;
        covered.map_err(|Cannot(why)| why)
    }

    /// Opens a file of the sandbox for a caller outside. Nothing inside, not even a link,
    /// leads out of the folders that programs see.
    pub(super) fn open(&self, path: &str, flags: OFlag) -> io::Result<fs::File> {
        let at = place_of_all(&self.places, path).ok_or(io::ErrorKind::NotFound)?;
        let place = &self.places[at];
        if flags.contains(OFlag::O_CREAT) && !place.writable {
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        let relative = path[place.guest.len()..].trim_start_matches('/');
        let root: OwnedFd = fs::File::open(&place.host)?.into();
        if flags.contains(OFlag::O_CREAT) {
            folders(&root, relative)?;
        }
        let relative = if relative.is_empty() { "." } else { relative };
        let flags = flags | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
        let how = OpenHow::new()
            .flags(flags)
            .mode(if flags.contains(OFlag::O_CREAT) {
                Mode::from_bits_truncate(0o644)
            } else {
                Mode::empty()
            })
            .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        let file: fs::File = openat2(&root, relative, how)?.into();
        let about = file.metadata()?;
        match about.is_file() {
            true => Ok(file),
            false if about.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
            false => Err(io::Error::other("it is no file")),
        }
    }
}

/// Makes the parent folders of `relative` below `root`.
fn folders(root: &OwnedFd, relative: &str) -> io::Result<()> {
    let above = Path::new(relative).parent().unwrap_or(Path::new(""));
    let mut so_far = PathBuf::new();
    for part in above.components() {
        let parent = if so_far.as_os_str().is_empty() { Path::new(".") } else { &so_far };
        let how = OpenHow::new()
            .flags(OFlag::O_DIRECTORY | OFlag::O_CLOEXEC)
            .resolve(ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS);
        let parent = openat2(root, parent, how)?;
        match nix::sys::stat::mkdirat(
            &parent,
            Path::new(part.as_os_str()),
            Mode::from_bits_truncate(0o755),
        ) {
            Ok(()) | Err(nix::errno::Errno::EEXIST) => so_far.push(part),
            Err(why) => return Err(why.into()),
        }
    }
    Ok(())
}

/// The view of one program while some files are covered.
pub(super) struct Covered {
    pub(super) view: View,
    /// Files in the copies, and the files they were copied from.
    replaced: Vec<(PathBuf, PathBuf)>,
    _temporary: TempDir,
    _shadows: tokio::sync::OwnedMutexGuard<Vec<Option<PathBuf>>>,
}

impl Covered {
    /// Restores the files and removes what the program wrote.
    pub(super) async fn undo(self) -> Result<(), String> {
        let undone = tokio::task::spawn_blocking(move || drop(self));
        undone.await.map_err(|why| why.to_string())
    }
}

impl Drop for Covered {
    fn drop(&mut self) {
        for (inside, original) in &self.replaced {
            let back = remove(inside).and_then(|()| match original.exists() {
                true => link(original, inside),
                false => Ok(()),
            });
            if let Err(why) = back {
                tracing::warn!("{} was not put back: {why}", inside.display());
            }
        }
    }
}

/// Why files could not be covered.
struct Cannot(String);

impl From<String> for Cannot {
    fn from(why: String) -> Self {
        Cannot(why)
    }
}

impl From<io::Error> for Cannot {
    fn from(why: io::Error) -> Self {
        Cannot(format!("a file could not be replaced: {why}"))
    }
}

/// The read-only folder that contains `path`, which is normalised and names a file in it.
fn place_of(places: &[Place], path: &str) -> Option<usize> {
    place_of_all(places, path).filter(|at| !places[*at].writable && crate::local::is_place(path))
}

/// The innermost folder that contains `path`.
fn place_of_all(places: &[Place], path: &str) -> Option<usize> {
    let holds = |place: &Place| {
        path.strip_prefix(&place.guest).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    let holding = places.iter().enumerate().filter(|(_, place)| holds(place));
    holding.max_by_key(|(_, place)| place.guest.len()).map(|(at, _)| at)
}

#[derive(Clone, Copy, PartialEq)]
enum Replica {
    Copy,
    /// A hard link, if the file system supports it; only for what is shown read-only.
    Link,
}

fn replicate(from: &Path, to: &Path, how: Replica) -> io::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (path, kind) = (to.join(entry.file_name()), entry.file_type()?);
        if kind.is_dir() {
            replicate(&entry.path(), &path, how)?;
        } else if kind.is_symlink() {
            std::os::unix::fs::symlink(fs::read_link(entry.path())?, path)?;
        } else if kind.is_file() {
            match how {
                Replica::Copy => fs::copy(entry.path(), path).map(drop)?,
                Replica::Link => link(&entry.path(), &path)?,
            }
        }
    }
    Ok(())
}

fn link(from: &Path, to: &Path) -> io::Result<()> {
    fs::hard_link(from, to).or_else(|_| fs::copy(from, to).map(drop))
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(why) if why.kind() != io::ErrorKind::NotFound => Err(why),
        _ => Ok(()),
    }
}

/// Removes the files of sandboxes whose fixfly has ended. Returns their number.
pub(super) fn sweep(home: &Path) -> usize {
    let folders = fs::read_dir(home).into_iter().flatten().flatten();
    let dead = folders.filter(|entry| {
        let lock = fs::File::open(entry.path().join(LOCK));
        lock.is_ok_and(|lock| Flock::lock(lock, FlockArg::LockExclusiveNonblock).is_ok())
    });
    dead.filter(|entry| fs::remove_dir_all(entry.path()).is_ok()).count()
}
