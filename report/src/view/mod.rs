//! Runs, episodes, datasets and trainings in a browser.
//!
//! A [`Site`] finds what is under the given paths and makes its pages. A [`Server`] answers
//! requests of browsers on this machine with them, and [`export_pages`] writes them to a folder.
//! Both read only. What belongs to other crates comes from [`Sources`].
//!
//! Everything that a page loads is in the program: one style sheet and one script, which
//! pages do not need to be read. An address is a deep link: a filter is its query.

mod address;
mod compare;
mod dataset;
mod engine;
mod episode;
mod episodes;
mod error;
mod export;
mod facts;
mod filter;
#[cfg(test)]
mod fixture;
mod guard;
mod home;
#[cfg(test)]
mod markup;
mod paint;
mod places;
mod recorded;
mod run;
mod server;
mod show;
mod site;
mod sources;
mod state;
mod strip;
mod sweep;
mod training;

pub use error::ViewError;
pub use export::export_pages;
pub use server::Server;
pub use site::Site;
pub use sources::{DatasetRow, DatasetRows, Prompt, RowOrigin, Segment, Sources};

#[cfg(test)]
mod tests;
