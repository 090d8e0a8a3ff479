//! Shared memory through which a forked child reports to its parent, because it may neither
//! allocate nor print.

use std::io;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering::SeqCst};

use nix::errno::Errno;
use nix::libc;

/// A page of memory that a process shares with its forked children.
pub(super) struct Slate(NonNull<Marks>);

#[derive(Default)]
struct Marks {
    step: AtomicUsize,
    errno: AtomicI32,
    status: AtomicI32,
    ended: AtomicBool,
}

// SAFETY: the page lives until `drop` and holds only atomics.
unsafe impl Send for Slate {}
// SAFETY: as above.
unsafe impl Sync for Slate {}

impl Slate {
    pub(super) fn new() -> io::Result<Slate> {
        // SAFETY: a fresh anonymous mapping; zero bytes are valid `Marks`.
        let page = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                size_of::<Marks>(),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        if page == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        NonNull::new(page.cast()).map(Slate).ok_or_else(io::Error::last_os_error)
    }

    fn marks(&self) -> &Marks {
        // SAFETY: the page is mapped as long as `self` lives.
        unsafe { self.0.as_ref() }
    }

    /// The same page, for a forked process that never ends its parent's values.
    pub(super) fn inherited(&self) -> ManuallyDrop<Slate> {
        ManuallyDrop::new(Slate(self.0))
    }

    /// Forgets what the last program reported.
    pub(super) fn clear(&self) {
        self.marks().errno.store(0, SeqCst);
        self.marks().ended.store(false, SeqCst);
    }

    /// The child starts this step.
    pub(super) fn begin(&self, step: usize) {
        self.marks().step.store(step, SeqCst);
    }

    /// The last step that was started.
    pub(super) fn step(&self) -> usize {
        self.marks().step.load(SeqCst)
    }

    /// The last step that was started failed.
    pub(super) fn fail(&self, errno: Errno) {
        self.marks().errno.store(errno as i32, SeqCst);
    }

    pub(super) fn failure(&self) -> Option<Errno> {
        match self.marks().errno.load(SeqCst) {
            0 => None,
            errno => Some(Errno::from_raw(errno)),
        }
    }

    /// The program ended with this wait status.
    pub(super) fn end(&self, status: i32) {
        self.marks().status.store(status, SeqCst);
        self.marks().ended.store(true, SeqCst);
    }

    /// The program's wait status, if it ended by itself.
    pub(super) fn ended(&self) -> Option<i32> {
        self.marks().ended.load(SeqCst).then(|| self.marks().status.load(SeqCst))
    }
}

impl Drop for Slate {
    fn drop(&mut self) {
        // SAFETY: `new` mapped the page with this size, and it is not used again.
        unsafe { libc::munmap(self.0.as_ptr().cast(), size_of::<Marks>()) };
    }
}
