//! Where a repair's commands run: places that hold what runs in them.
//!
//! Each file is one way to open them; [`Pool`] keeps the sandboxes of any way
//! for use again. A sandbox shows the folders its spec names, has no network,
//! and leaves nothing behind. It guards the machine from a candidate's
//! mistakes and malice, but shares its kernel: it is no virtual machine.
//!
//! ```no_run
//! # async fn example() -> Result<(), fixfly_runtime::SandboxError> {
//! use fixfly_runtime::{Command, SandboxSpec};
//! use fixfly_sandboxes::{ALL, HostOptions};
//!
//! let host = (ALL[0].open)(&HostOptions::default())?;
//! let sandbox = host.open(&SandboxSpec::default()).await?;
//! let output = sandbox.exec(&Command::new(["echo", "hello"])).await?;
//! assert_eq!(output.stdout, b"hello\n");
//! sandbox.close().await
//! # }
//! ```

#[cfg(feature = "docker")]
pub mod docker;
mod lease;
pub mod local;
mod pool;
mod syscalls;
#[cfg(feature = "wasm")]
pub mod wasm;

use std::sync::Arc;

use fixfly_runtime::{Entry, Host, SandboxError};

pub use pool::Pool;

/// What a host is opened for.
#[derive(Clone, Debug, Default)]
pub struct HostOptions {
    /// Folder of the run, empty if there is none: part of the name or the labels of all that
    /// could outlive fixfly.
    pub run: String,
}

/// Makes a host of sandboxes.
pub type Open = fn(&HostOptions) -> Result<Arc<dyn Host>, SandboxError>;

/// Every way to open sandboxes.
pub const ALL: &[Entry<Open>] = &[
    local::ENTRY,
    #[cfg(feature = "docker")]
    docker::ENTRY,
    #[cfg(feature = "wasm")]
    wasm::ENTRY,
];
