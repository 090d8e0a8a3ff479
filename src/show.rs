//! `fixfly show`: recorded episodes in the terminal.

use std::path::PathBuf;

use clap::Args;
use fixfly_report::{Shown, nearest, run_text};
use fixfly_runtime::{EpisodeSummary, Recording};

use crate::failure::Usage;
use crate::terminal::{is_output_colored, page};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  fixfly show runs/first
  fixfly show runs/first 'django/utils/html.py::MLStripper.get_data'
  fixfly show runs/first 'django/utils/html.py::MLStripper.get_data' --turn 2
  fixfly show runs/first | grep 'turn limit'")]
pub(crate) struct Flags {
    /// Run directory
    #[arg(value_name = "RUN")]
    run: PathBuf,

    /// Id of a task; without it, a table of all episodes
    #[arg(value_name = "TASK")]
    task: Option<String>,

    /// Sample of the task
    #[arg(long, value_name = "N", default_value_t = 0, requires = "task")]
    sample: u32,

    /// Show one turn with its whole texts
    #[arg(long, value_name = "N", requires = "task")]
    turn: Option<usize>,
}

pub(crate) fn show(flags: &Flags) -> anyhow::Result<()> {
    let (recording, color) = (Recording::open(&flags.run)?, is_output_colored());
    let summaries: Vec<EpisodeSummary> = (0..recording.len())
        .map(|at| Ok(EpisodeSummary::of(&recording.episode(at)?)))
        .collect::<anyhow::Result<_>>()?;
    let Some(task) = &flags.task else { return page(&run_text(&summaries, color)) };
    let found = |one: &EpisodeSummary| one.task == *task && one.sample == flags.sample;
    let Some(at) = summaries.iter().position(found) else {
        return Err(Usage(unknown(flags, task, &summaries)).into());
    };
    let episode = recording.episode(at)?;
    if let Some(turn) = flags.turn.filter(|turn| !(1..=episode.turns.len()).contains(turn)) {
        let turns = episode.turns.len();
        return Err(Usage(format!("there is no turn {turn}; the episode has {turns}")).into());
    }
    page(&Shown { episode: &episode, turn: flags.turn, color }.text())
}

/// Why there is no such episode, and which there are.
fn unknown(flags: &Flags, task: &str, summaries: &[EpisodeSummary]) -> String {
    let (run, sample) = (flags.run.display(), flags.sample);
    if summaries.iter().any(|one| one.task == task) {
        return format!("{run} has no sample {sample} of `{task}`; name another with --sample");
    }
    let mut tasks: Vec<&str> = summaries.iter().map(|one| one.task.as_str()).collect();
    tasks.dedup();
    let similar = nearest(task, &tasks);
    let remedy = match similar.is_empty() {
        true => format!("fixfly show {run} lists the tasks"),
        false => format!("similar tasks: {}", similar.join(", ")),
    };
    format!("{run} has no episode of `{task}`; {remedy}")
}
