//! Sandboxes: isolated places in which the commands of a repair run.
//!
//! Each file is one kind of sandbox; [`Pool`] reuses the sandboxes of any kind. A sandbox
//! shows the folders that its spec names, has no network, and leaves nothing behind. It
//! protects the machine from a candidate's mistakes and attacks, but shares its kernel: it
//! is not a virtual machine.
//!
//! ```
//! # async fn example() -> Result<(), fixfly_runtime::SandboxError> {
//! use fixfly_runtime::{Command, SandboxSpec};
//! use fixfly_sandboxes::{ALL, HostOptions};
//!
//! let host = (ALL[0].open)(&HostOptions::default())?;
//! let spec = SandboxSpec { workdir: "/".into(), ..SandboxSpec::default() };
//! let sandbox = host.open(&spec).await?;
//! let output = sandbox.exec(&Command::new(["echo", "hello"])).await?;
//! assert_eq!(output.stdout, b"hello\n");
//! sandbox.close().await
//! # }
//! # let result = tokio::runtime::Runtime::new().unwrap().block_on(example());
//! # // A machine without user namespaces opens no sandbox.
//! # assert!(matches!(result, Ok(()) | Err(fixfly_runtime::SandboxError::Open(_))), "{result:?}");
//! ```

#[cfg(feature = "docker")]
pub mod docker;
mod doctor;
mod lease;
pub mod local;
mod pool;
mod syscalls;
#[cfg(feature = "wasm")]
pub mod wasm;

use std::sync::Arc;

use fixfly_runtime::{Entry, Host, SandboxError, find};

pub use doctor::doctor;
pub use pool::Pool;

/// What a host is opened for.
#[derive(Clone, Debug, Default)]
pub struct HostOptions {
    /// Folder of the run, empty if there is none: part of the name or the labels of all that
    /// could outlive fixfly.
    pub run: String,
    /// The Docker engines of `docker`; that of `DOCKER_HOST` if empty.
    pub docker_hosts: Vec<String>,
}

impl HostOptions {
    /// Whether a kind of sandbox takes these options.
    ///
    /// # Errors
    /// The reason why not, in one sentence.
    pub fn check(&self, name: &str) -> Result<(), String> {
        match name == "docker" || self.docker_hosts.is_empty() {
            true => Ok(()),
            false => Err(format!("--docker-host needs --sandbox docker, not {name}")),
        }
    }
}

/// The help text of `--docker-host`.
pub const DOCKER_HOST_HELP: &str = "Docker engine for `--sandbox docker`: unix://, tcp:// \
    (with TLS if DOCKER_CERT_PATH is set) or ssh://; may be repeated, then each sandbox goes \
    to the engine with the most free capacity [default: DOCKER_HOST]";

/// Opens a host of sandboxes.
pub type Open = fn(&HostOptions) -> Result<Arc<dyn Host>, SandboxError>;

/// Opens the host of that name for a run.
///
/// # Errors
/// [`SandboxError`] if there is none of that name, or it cannot be opened.
pub fn open(name: &str, run: &str) -> Result<Arc<dyn Host>, SandboxError> {
    open_with(name, &HostOptions { run: run.into(), ..HostOptions::default() })
}

/// Opens the host of that name with options.
///
/// # Errors
/// [`SandboxError`] if there is none of that name, it cannot be opened, or the options are
/// for another one.
pub fn open_with(name: &str, options: &HostOptions) -> Result<Arc<dyn Host>, SandboxError> {
    let entry = find("sandbox", ALL, name).map_err(SandboxError::Open)?;
    options.check(name).map_err(SandboxError::Open)?;
    (entry.open)(options)
}

/// All kinds of sandboxes.
pub const ALL: &[Entry<Open>] = &[
    local::ENTRY,
    #[cfg(feature = "docker")]
    docker::ENTRY,
    #[cfg(feature = "wasm")]
    wasm::ENTRY,
];
