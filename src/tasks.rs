//! Which tasks of a benchmark a sandbox supports.

use std::collections::BTreeMap;

use fixfly_runtime::{Split, unsupported_reasons};

use crate::terminal::Terminal;

/// Prints how many tasks the sandbox does not support, and why.
pub(crate) fn show_unsupported(
    (sandbox, split): (&str, Split),
    supported: usize,
    unsupported: &BTreeMap<String, usize>,
    terminal: &Terminal,
) {
    if unsupported.is_empty() {
        return;
    }
    let total = supported + unsupported.values().sum::<usize>();
    let name = split.name();
    terminal
        .status(&format!("{sandbox} supports {supported} of {total} tasks ({name}); unsupported:"));
    terminal.status(unsupported_reasons(unsupported.clone()).trim_end());
}
