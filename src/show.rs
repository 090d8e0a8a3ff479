//! `fixfly show`: recorded episodes in the terminal.

use std::path::PathBuf;

use clap::Args;
use fixfly_report::{Shown, find_episode, run_text};
use fixfly_runtime::Recording;

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
    let summaries = recording.summaries();
    let Some(task) = &flags.task else { return page(&run_text(summaries, color)) };
    let run = flags.run.display().to_string();
    let at = find_episode(&run, summaries, task, flags.sample).map_err(Usage)?;
    let episode = recording.episode(at)?;
    if let Some(turn) = flags.turn.filter(|turn| !(1..=episode.turns.len()).contains(turn)) {
        let turns = episode.turns.len();
        return Err(Usage(format!("there is no turn {turn}; the episode has {turns}")).into());
    }
    page(&Shown { episode: &episode, turn: flags.turn, color }.text())
}
