//! The threads that a verb's work runs on.

use anyhow::Context;
use tokio::runtime::{Builder, Runtime};

/// A thread for each CPU.
pub(crate) fn threads() -> anyhow::Result<Runtime> {
    Builder::new_multi_thread().enable_all().build().context("cannot start threads")
}

/// Runs `work` on all CPUs.
pub(crate) fn on_threads<T, E: Into<anyhow::Error>>(
    work: impl Future<Output = Result<T, E>>,
) -> anyhow::Result<T> {
    threads()?.block_on(work).map_err(Into::into)
}
