//! Verdicts through the real binary and the real test server: on Django, on any
//! Python project, on a failing engine, on hostile candidates.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test fails by panicking")]

#[cfg(feature = "docker")]
#[path = "../../sandboxes/tests/sandboxes/common/between.rs"]
mod between;
mod common;
mod django;
#[cfg(feature = "docker")]
mod engine;
mod fix;
mod hot;
mod joint;
mod outcomes;
#[cfg(feature = "docker")]
#[path = "../end_to_end/project.rs"]
mod project;
mod projects;
mod python;
mod red_team;
mod shared;
