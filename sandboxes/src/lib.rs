//! Where a repair's commands run: places that hold what runs in them.
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

pub mod local;

use std::sync::Arc;

use fixfly_runtime::{Entry, Host, SandboxError};

/// Every way to open sandboxes.
pub const ALL: &[Entry<fn() -> Result<Arc<dyn Host>, SandboxError>>] = &[local::ENTRY];
