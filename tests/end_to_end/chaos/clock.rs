//! A wall clock that jumps by months, forwards and backwards, while a run goes on.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::Duration;

use super::chance::Chance;
use super::stage::{Kind, Stage};
use super::table::{not_run, row, times};
use super::teacher::{Till, teacher};
use crate::server::{Reply, Teacher};

const JUMPS: [&str; 4] = ["+0", "-400d", "+400d", "-40d"];

/// Debian's libfaketime, which changes the clock of one process.
fn library() -> Option<PathBuf> {
    let folders = fs::read_dir("/usr/lib").ok()?.flatten();
    let files = folders.map(|folder| folder.path().join("faketime/libfaketimeMT.so.1"));
    files.into_iter().find(|file| file.exists())
}

/// A teacher that refuses each sixth request for a second, which it states as a date.
fn busy(till: &Arc<Till>) -> Reply {
    let (asked, teacher) = (AtomicUsize::new(0), teacher(till));
    Reply::By(Teacher(Arc::new(move |_| {
        if asked.fetch_add(1, Ordering::SeqCst) % 6 != 5 {
            return teacher.clone();
        }
        let until = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(1);
        let printer = jiff::fmt::rfc2822::DateTimePrinter::new();
        let date: &str = printer.timestamp_to_rfc9110_string(&until).unwrap().leak();
        Reply::Status(429, Some(("retry-after", date)), "slow down")
    })))
}

#[test]
fn a_clock_that_jumps_changes_no_episode() {
    let fault = "the wall clock jumps by up to 400 days";
    let Some(library) = library() else {
        return not_run(14, fault, "Debian's package libfaketime is missing");
    };
    let mut chance = Chance::new();
    let mut stage = Stage::new(Kind::Paid, []).whatever_it_costs();
    let undisturbed = stage.undisturbed();
    let clock = stage.path("clock");
    let jump = |to: &str| {
        // Whole at any time.
        fs::write(clock.with_extension("new"), to).unwrap();
        fs::rename(clock.with_extension("new"), &clock).unwrap();
    };
    jump("+0");
    for (name, value) in [
        ("LD_PRELOAD", library.to_str().unwrap()),
        ("FAKETIME_TIMESTAMP_FILE", clock.to_str().unwrap()),
        ("FAKETIME_NO_CACHE", "1"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ("NO_FAKE_STAT", "1"),
    ] {
        stage.variables.push((name.into(), value.into()));
    }
    let busy = busy(&stage.till);
    stage.answer_first(vec![busy; 1000]);
    let (mut jumps, least, mut number) = (0, times(3), 0);
    while jumps < least {
        let run = format!("run-{number}");
        let mut child = stage.start(&run);
        while child.try_wait().unwrap().is_none() {
            jump(JUMPS[chance.below(JUMPS.len() as u64) as usize]);
            jumps += 1;
            sleep(Duration::from_millis(30 + chance.below(200)));
        }
        stage.count_lost(&run);
        assert!(child.wait().unwrap().success(), "{}", stage.printed(&run));
        stage.compare(&run, &undisturbed);
        let years = stage.years(&run);
        assert!(years.len() > 1, "the clock did not jump: {years:?}");
        number += 1;
    }
    row(14, fault, jumps, stage.sweep());
}
