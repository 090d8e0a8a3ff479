//! Sandboxes: isolated places in which the commands of a repair run.
//!
//! Each file is one kind of sandbox; [`Pool`] reuses the sandboxes of any kind. A sandbox
//! shows the folders that its spec names, has no network, and leaves nothing behind. It
//! protects the machine from a candidate's mistakes and attacks, but shares its kernel: it
//! is not a virtual machine.
//!
//! ```no_run
//! # async fn example() -> Result<(), fixfly_runtime::SandboxError> {
//! use fixfly_runtime::{Command, SandboxSpec};
//! use fixfly_sandboxes::ALL;
//!
//! let host = (ALL[0].open)()?;
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

pub use lease::name_run;
pub use pool::Pool;

/// Opens a host of sandboxes.
pub type Open = fn() -> Result<Arc<dyn Host>, SandboxError>;

/// All kinds of sandboxes.
pub const ALL: &[Entry<Open>] = &[
    local::ENTRY,
    #[cfg(feature = "docker")]
    docker::ENTRY,
    #[cfg(feature = "wasm")]
    wasm::ENTRY,
];
