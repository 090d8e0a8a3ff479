//! Which tasks of a benchmark a verb works on.

use std::collections::BTreeMap;

use fixfly_runtime::{Benchmark, Split, Task};

use crate::failure::Usage;
use crate::terminal::Terminal;

/// The first `limit` tasks, sorted by id: a sandbox keeps the fixtures of one
/// file's tests for a while.
pub(crate) fn first(mut tasks: Vec<Task>, limit: Option<u32>) -> Vec<Task> {
    tasks.truncate(limit.map_or(usize::MAX, |limit| limit as usize));
    tasks.sort_by(|one, other| one.id.cmp(&other.id));
    tasks
}

/// The tasks that the sandbox supports. Reports how many it does not.
pub(crate) fn supported_tasks(
    (sandbox, split): (&str, Split),
    benchmark: &dyn Benchmark,
    tasks: Vec<Task>,
    terminal: &Terminal,
) -> anyhow::Result<Vec<Task>> {
    let (total, mut unsupported) = (tasks.len(), BTreeMap::<String, usize>::new());
    let supported: Vec<Task> = tasks
        .into_iter()
        .filter(|task| match benchmark.unsupported(task, sandbox) {
            Some(why) => {
                *unsupported.entry(why).or_default() += 1;
                false
            }
            None => true,
        })
        .collect();
    if !unsupported.is_empty() {
        let (count, name) = (supported.len(), split.name());
        terminal
            .status(&format!("{sandbox} supports {count} of {total} tasks ({name}); unsupported:"));
        terminal.status(reasons(unsupported).trim_end());
    }
    match supported.is_empty() && total > 0 {
        true => Err(Usage(format!("the sandbox `{sandbox}` supports none of the tasks")).into()),
        false => Ok(supported),
    }
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
