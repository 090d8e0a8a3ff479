//! Faults during runs and trainings: nothing recorded is lost, nothing is recorded or paid
//! twice, nothing is left on the machine, and the same command later gives what an
//! undisturbed one gives.
//!
//! Each test injects faults of one kind and adds a row to the table of docs/scale.md.
//! `./check` injects a few of each. `./check --chaos` sets `FIXFLY_CHAOS`, the number of
//! kills, and prints the table. `FIXFLY_CHAOS_SEED` repeats the random choices.

#![allow(clippy::print_stderr, reason = "a failed test shows its seed")]

mod chance;
mod clock;
mod damage;
mod disk;
#[cfg(feature = "docker")]
mod engine;
mod kills;
mod leftovers;
mod notice;
mod outage;
mod stage;
mod table;
mod teacher;
mod two;
