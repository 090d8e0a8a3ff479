//! What a build prints: a line while it goes on, and a summary of its manifest.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use fixfly_runtime::{RunTally, Split};

use super::Progress;
use crate::manifest::{Manifest, RunPath};

/// The rate of a build's steps.
#[derive(Default)]
pub struct Rate {
    /// The step, when it was first seen, and how many units were done then.
    step: Option<(&'static str, Instant, usize)>,
}

impl Rate {
    /// `examine 12/160  1.5/s  ETA 1m 40s  a.py::A.f: kept, 2 tests, Cold`.
    pub fn line(&mut self, progress: &Progress) -> String {
        let begun = match self.step {
            Some((step, since, earlier)) if step == progress.step => (since, earlier),
            // What an earlier build did is no measure of this one's rate.
            _ => (Instant::now(), progress.done),
        };
        self.step = Some((progress.step, begun.0, begun.1));
        line(progress, begun.1, begun.0.elapsed())
    }
}

fn line(progress: &Progress, earlier: usize, elapsed: Duration) -> String {
    let Progress { step, done, total, last } = progress;
    let tally = RunTally { total: *total, done: *done, earlier, ..RunTally::default() };
    format!("{step} {}  {last}", tally.rate(elapsed))
}

/// A summary of a manifest in `folder`.
pub fn summary(folder: &Path, manifest: &Manifest) -> String {
    let mut text = format!("Benchmark directory: {}\n", folder.display());
    for split in Split::ALL {
        let items: Vec<_> = manifest.items.iter().filter(|item| item.split == split).collect();
        let tests: usize = items.iter().map(|item| item.tests.len()).sum();
        let hot = items.iter().filter(|item| item.path == RunPath::Hot).count();
        let mean = tests as f64 / items.len().max(1) as f64;
        let name = split.name();
        let count = items.len();
        let share = 100 * hot / count.max(1);
        text += &format!(
            "  {name:10} {count:5} items, {mean:.1} tests each, {hot} on the hot path ({share} %)\n"
        );
    }
    let header = &manifest.header;
    if let Some(span) = header.span {
        text +=
            &format!("  each item is {span} functions or methods of one file (--span {span})\n");
    }
    text += &format!("  not examined yet: {}\n", header.unexamined);
    if manifest.items.is_empty() && header.unexamined == 0 && header.left_out.is_empty() {
        text += "  the project has no functions and no methods\n";
    }
    text += &left_out(&header.left_out);
    text += &rows("test left out", &header.tests_left_out);
    if !header.tests_left_out.is_empty() {
        let file = folder.join("tests_left_out.jsonl");
        text += &format!("  the evidence for each test is in {}\n", file.display());
    }
    let copied = manifest.items.iter().filter(|item| !item.copies.is_empty()).count();
    if copied > 0 {
        let of = manifest.items.len();
        let masked = match header.mask_copies {
            true => "prompts hide those in the item's own file",
            false => "--mask-copies hides those in the item's own file from prompts",
        };
        text += &format!("  copied elsewhere in the project: {copied} of {of} items; {masked}\n");
    }
    text
}

/// Why functions and methods were left out, the most frequent reason first.
pub fn left_out(reasons: &BTreeMap<String, usize>) -> String {
    rows("left out", reasons)
}

fn rows(what: &str, reasons: &BTreeMap<String, usize>) -> String {
    let mut rows: Vec<_> = reasons.iter().collect();
    rows.sort_by_key(|(reason, count)| (std::cmp::Reverse(**count), (*reason).clone()));
    let row = |(reason, count)| format!("  {what}: {count:5}  {reason}\n");
    rows.into_iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &str = r#"{"schema":1,"benchmark":"python","source":{"package":"p","version":"1","sha256":"0"},"framework":"pytest","python":"3.11.7","left_out":{"no passing test enters it":3},"unexamined":0,"tests_left_out":{"depends on the order":2,"flaky":1}}
{"id":"a.py::A.f","split":"benchmark","span":[0,9],"hash":"0","path":"cold0","tests":{"test_a.py":["test_f"]},"seconds":0.1,"described_by":"docstring","lines":3,"mutants":[1,2],"copies":["docs/a.md:3"]}
"#;

    #[test]
    fn a_line_has_the_step_the_rate_and_the_last_unit() {
        let progress = |done| Progress { step: "examine", done, total: 160, last: "a.py".into() };
        let after = Duration::from_secs(60);
        assert_eq!(line(&progress(10), 10, after), "examine 10/160  a.py");
        assert_eq!(line(&progress(40), 10, after), "examine 40/160  0.5/s  ETA 4m 0s  a.py");
        assert_eq!(line(&progress(160), 10, after), "examine 160/160  a.py");
    }

    #[test]
    fn a_summary_counts_what_was_left_out_and_what_is_copied() {
        let manifest = Manifest::parse(MANIFEST, "m").unwrap();
        insta::assert_snapshot!(summary(Path::new("out"), &manifest), @r"
        Benchmark directory: out
          train          0 items, 0.0 tests each, 0 on the hot path (0 %)
          validation     0 items, 0.0 tests each, 0 on the hot path (0 %)
          benchmark      1 items, 1.0 tests each, 0 on the hot path (0 %)
          not examined yet: 0
          left out:     3  no passing test enters it
          test left out:     2  depends on the order
          test left out:     1  flaky
          the evidence for each test is in out/tests_left_out.jsonl
          copied elsewhere in the project: 1 of 1 items; --mask-copies hides those in the item's own file from prompts
        ");
    }

    #[test]
    fn a_manifest_keeps_what_it_does_not_have_out_of_its_text() {
        let manifest = Manifest::parse(MANIFEST, "m").unwrap();
        assert_eq!(manifest.text(), MANIFEST);
        let old = MANIFEST.replace(r#","tests_left_out":{"depends on the order":2,"flaky":1}"#, "");
        let old = old.replace(r#","copies":["docs/a.md:3"]"#, "");
        assert_eq!(Manifest::parse(&old, "m").unwrap().text(), old);
    }
}
