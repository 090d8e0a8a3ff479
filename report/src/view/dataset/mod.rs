// Replaced by branch pages.
//! The page of a dataset.

use std::path::Path;

use minijinja::Environment;

use super::error::ViewError;
use super::sources::DatasetRows;

/// Which rows to show.
#[allow(dead_code, reason = "replaced by branch pages")]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct DatasetQuery {
    pub(crate) page: usize,
    pub(crate) rule: Option<String>,
    pub(crate) text: Option<String>,
}

/// The page of a dataset.
#[allow(dead_code, reason = "replaced by branch pages")]
pub(crate) struct DatasetPage<'a> {
    pub(crate) path: &'a Path,
    pub(crate) rows: &'a dyn DatasetRows,
    pub(crate) query: DatasetQuery,
}

pub(crate) fn add_templates(_: &mut Environment<'static>) -> Result<(), ViewError> {
    Ok(())
}

impl DatasetPage<'_> {
    pub(crate) fn html(&self, _: &Environment<'static>) -> Result<String, ViewError> {
        Ok(String::new())
    }
}
