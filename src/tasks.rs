//! Which tasks of a benchmark a sandbox supports.

use std::collections::BTreeMap;

use fixfly_runtime::Split;

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
    terminal.status(reasons(unsupported.clone()).trim_end());
}

/// Reasons with their counts, the most frequent first.
pub(crate) fn reasons(unsupported: BTreeMap<String, usize>) -> String {
    const MOST: usize = 12;
    let mut rows: Vec<(String, usize)> = unsupported.into_iter().collect();
    rows.sort_by(|(one, few), (other, many)| many.cmp(few).then(one.cmp(other)));
    let rest: usize = rows.iter().skip(MOST).map(|(_, count)| count).sum();
    rows.truncate(MOST);
    rows.extend((rest > 0).then(|| ("other reasons".to_owned(), rest)));
    rows.iter().map(|(why, count)| format!("  {count:5}  {why}\n")).collect()
}
