//! The pages of the viewer.
#![allow(dead_code, reason = "the server that serves these pages is not here yet")]

mod dataset;
mod episode;
mod error;
#[cfg(test)]
mod markup;
mod paint;
mod sources;
mod training;

pub use error::ViewError;
pub use sources::{DatasetRow, DatasetRows, Prompt, RowOrigin, Segment, Sources};
