// Replaced by branch pages.
//! The page of a training or a sweep.

use std::path::Path;

use minijinja::Environment;
use serde_json::Value;

use super::error::ViewError;

/// The page of a training or a sweep.
#[allow(dead_code, reason = "replaced by branch pages")]
pub(crate) struct TrainingPage<'a> {
    pub(crate) folder: &'a Path,
}

pub(crate) fn add_templates(_: &mut Environment<'static>) -> Result<(), ViewError> {
    Ok(())
}

impl TrainingPage<'_> {
    pub(crate) fn html(&self, _: &Environment<'static>) -> Result<String, ViewError> {
        Ok(String::new())
    }

    pub(crate) fn data_json(&self) -> Result<Value, ViewError> {
        Ok(Value::Null)
    }
}
