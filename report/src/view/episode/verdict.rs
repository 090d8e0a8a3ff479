//! The verdict, with what confirms it.

use fixfly_runtime::{Episode, TestDelta, Verdict};
use serde::Serialize;

use super::paint;
use super::results::{OwnFrames, ResultsView};

#[derive(Default, Serialize)]
pub(super) struct VerdictView {
    /// What the benchmark decided, in one sentence.
    sentence: String,
    class: &'static str,
    checks: Vec<Check>,
    hidden_failed_html: Vec<String>,
    review_html: Vec<String>,
    left_out_html: Vec<String>,
    results: Option<ResultsView>,
    patch_html: Option<String>,
    graded_html: Option<String>,
}

/// One confirmation.
#[derive(Serialize)]
struct Check {
    name: &'static str,
    value_html: String,
    class: &'static str,
}

fn check(name: &'static str, value: impl AsRef<str>, class: &'static str) -> Check {
    Check { name, value_html: paint::text(value.as_ref()), class }
}

impl VerdictView {
    pub(super) fn of(episode: &Episode) -> VerdictView {
        let view = match &episode.verdict {
            Some(verdict) => judged(episode, verdict),
            None if episode.unjudged() => VerdictView {
                sentence: "No benchmark has judged the change: the episode is neither solved \
                           nor unsolved."
                    .into(),
                class: "warn",
                ..VerdictView::default()
            },
            None if episode.infrastructure_failure() => VerdictView {
                sentence: "There is no verdict: the environment ended the episode.".into(),
                class: "warn",
                ..VerdictView::default()
            },
            None => VerdictView {
                sentence: "There is no verdict: no candidate passed, so there was nothing to \
                           judge."
                    .into(),
                class: "fail",
                ..VerdictView::default()
            },
        };
        let left_out = episode.left_out.iter().map(|out| paint::text(&out.to_string()));
        VerdictView {
            left_out_html: left_out.collect(),
            patch_html: episode.patch.as_deref().map(paint::patch),
            ..view
        }
    }
}

fn judged(episode: &Episode, verdict: &Verdict) -> VerdictView {
    let (passed, total) = (verdict.tests.count_passed(), verdict.tests.results.len());
    let issue = episode.task.statement.issue().is_some();
    let mut checks = vec![match (verdict.solved, issue) {
        (true, true) => check("graded tests", format!("{passed} of {total} passed"), "pass"),
        (true, false) => check(
            "again, in a process equivalent to a fresh one",
            format!("{passed} of {total} tests passed"),
            "pass",
        ),
        (false, _) => check("tests", format!("{passed} of {total} passed"), "fail"),
    }];
    checks.push(match &verdict.tampering {
        Some(how) => check("tampering", format!("detected: {how}"), "fail"),
        None => check("tampering", "none detected", "pass"),
    });
    checks.push(hidden(verdict));
    checks.push(match verdict.exact_match {
        true => check("exact match", "equals the reference, word for word", "neutral"),
        false => check("exact match", "no", "neutral"),
    });
    checks.push(match verdict.review.is_empty() {
        true => check("review", "nothing to review", "neutral"),
        false => {
            check("review", "a person should read the code before they trust the pass", "warn")
        }
    });
    VerdictView {
        sentence: match verdict.solved {
            true => "Solved: the benchmark confirmed the change.".into(),
            false => "Not solved: the benchmark did not confirm the change.".into(),
        },
        class: if verdict.solved { "pass" } else { "fail" },
        checks,
        hidden_failed_html: verdict.wider_failed.iter().map(|name| paint::long(name)).collect(),
        review_html: verdict.review.iter().map(|flag| paint::text(flag)).collect(),
        results: (issue || !verdict.solved).then(|| {
            ResultsView::of(&verdict.tests, &TestDelta::default(), &OwnFrames::of(episode))
        }),
        graded_html: verdict.graded.as_deref().map(paint::patch),
        ..VerdictView::default()
    }
}

fn hidden(verdict: &Verdict) -> Check {
    let name = "hidden tests";
    let count = verdict.wider.map(|tally| format!("{} of {} passed", tally.passed, tally.total));
    match (verdict.hidden_tests_pass, count) {
        (Some(true), count) => check(name, count.unwrap_or("passed".into()), "pass"),
        (Some(false), count) => check(name, count.unwrap_or("failed".into()), "fail"),
        (None, Some(count)) => check(name, count, "neutral"),
        (None, None) => check(name, "not run", "neutral"),
    }
}
