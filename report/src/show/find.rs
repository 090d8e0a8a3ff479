//! Finds an episode by its task, or tasks like it.

use fixfly_runtime::EpisodeSummary;

/// The index of a task's episode.
///
/// # Errors
/// That there is none, and which there are, in one sentence.
pub fn find_episode(
    run: &str,
    episodes: &[EpisodeSummary],
    task: &str,
    sample: u32,
) -> Result<usize, String> {
    let found = episodes.iter().position(|one| &*one.task == task && one.sample == sample);
    if let Some(at) = found {
        return Ok(at);
    }
    if episodes.iter().any(|one| &*one.task == task) {
        return Err(format!(
            "{run} has no sample {sample} of `{task}`; name another with --sample"
        ));
    }
    let mut tasks: Vec<&str> = episodes.iter().map(|one| &*one.task).collect();
    tasks.dedup();
    let similar = nearest(task, &tasks);
    let remedy = match similar.is_empty() {
        true => format!("fixfly show {run} lists the tasks"),
        false => format!("similar tasks: {}", similar.join(", ")),
    };
    Err(format!("{run} has no episode of `{task}`; {remedy}"))
}

/// Up to three of these tasks that are most like `wanted`: first those that contain it.
pub(super) fn nearest<'t>(wanted: &str, tasks: &[&'t str]) -> Vec<&'t str> {
    let lower = wanted.to_lowercase();
    let contain = tasks.iter().filter(|task| task.to_lowercase().contains(&lower)).copied();
    let close = similar::get_close_matches(wanted, tasks, 3, 0.6);
    let mut found: Vec<&str> = Vec::new();
    for task in contain.take(3).chain(close) {
        if !found.contains(&task) {
            found.push(task);
        }
    }
    found.truncate(3);
    found
}
