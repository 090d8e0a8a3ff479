// Replaced by branch pages.
//! What the viewer shows besides runs.

use std::path::Path;

use fixfly_report::{DatasetRows, Prompt, Sources};
use fixfly_runtime::{Episode, RunRecord, Task};

#[derive(Default)]
pub(crate) struct Installed {}

impl Sources for Installed {
    fn original(&self, _: &Path, _: &RunRecord, _: &Task) -> Result<String, String> {
        Err("not here yet".into())
    }

    fn prompt(&self, _: &Path, _: &RunRecord, _: &Episode, _: usize) -> Result<Prompt, String> {
        Err("not here yet".into())
    }

    fn dataset(&self, _: &Path) -> Result<Box<dyn DatasetRows>, String> {
        Err("not here yet".into())
    }
}
