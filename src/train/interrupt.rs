//! Ctrl-C: the first requests a stop, the second exits at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use fixfly_runtime::Interrupts;

use crate::terminal::Terminal;

/// A flag that becomes true when the user requests a stop.
pub(crate) fn listen(terminal: &Terminal) -> anyhow::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    let (asked, terminal) = (stop.clone(), terminal.clone());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut interrupts = runtime.block_on(async { Interrupts::listen() })?;
    std::thread::spawn(move || {
        runtime.block_on(async {
            interrupts.next().await;
            asked.store(true, Ordering::Relaxed);
            terminal.status("stopping; press Ctrl-C again to stop at once");
            interrupts.next().await;
            std::process::exit(130);
        });
    });
    Ok(stop)
}
