//! Every sandbox, held to what it promises and to what it must withstand.
#![allow(clippy::unwrap_used, clippy::print_stderr, reason = "a test fails by panicking")]

mod attacks;
mod common;
mod contract;
#[cfg(feature = "docker")]
mod engine;
#[cfg(feature = "docker")]
mod hosts;
mod leases;
mod programs;
mod red_team;
mod world;
