//! The table of faults.

use std::fs;
use std::path::Path;

/// What a kind of fault did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Damage {
    /// Episodes that were recorded and are not there any more, or that never came.
    pub(super) lost: usize,
    /// Episodes that were recorded more than once.
    pub(super) duplicated: usize,
    /// Calls that were paid for although the journal had their answer.
    pub(super) repaid: usize,
    /// Containers, volumes, processes, mounts and control groups that were left.
    pub(super) left: usize,
}

/// Adds a row, as `FIXFLY_CHAOS_TABLE` asks: a folder with one file per row. `place` orders
/// the rows.
#[track_caller]
pub(super) fn row(place: u32, fault: &str, count: usize, damage: Damage) {
    let Damage { lost, duplicated, repaid, left } = damage;
    keep(place, &format!("| {fault} | {count} | {lost} | {duplicated} | {repaid} | {left} |\n"));
    assert_eq!(damage, Damage::default(), "{fault}");
}

/// The row of a fault that cannot be injected here.
pub(super) fn not_run(place: u32, fault: &str, why: &str) {
    eprintln!("skipped: {fault}: {why}");
    keep(place, &format!("| {fault} | not run: {why} | | | | |\n"));
}

fn keep(place: u32, row: &str) {
    if let Ok(folder) = std::env::var("FIXFLY_CHAOS_TABLE") {
        fs::write(Path::new(&folder).join(format!("{place:02}")), row).unwrap();
    }
}

/// The number of kills that the long form asks for; none in the short form.
pub(super) fn long() -> Option<usize> {
    Some(std::env::var("FIXFLY_CHAOS").ok()?.parse().unwrap())
}

/// How often to inject a fault that is not a kill.
pub(super) fn times(short: usize) -> usize {
    long().map_or(short, |kills| (kills / 20).max(short))
}
