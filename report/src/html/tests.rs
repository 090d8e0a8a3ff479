use super::super::claims;
use super::super::fixture::{attempt, run};
use super::super::groups::Checkpoint;
use super::super::labels::{Labels, Method, Mode};
use super::super::run_metrics::{Attempt, ReasoningLength, RunMetrics};
use super::super::tables;
use super::*;

/// A base model and a sweep over ranks and epochs.
fn sweep() -> Vec<RunMetrics> {
    let labels = |rank, epoch| Labels {
        model: Some("Qwen3-8B".into()),
        method: Some(if rank == 0 { Method::Base } else { Method::Lora }),
        mode: Some(Mode::Think),
        dataset: (rank > 0).then(|| "v4 <&>".to_string()),
        rank: (rank > 0).then_some(rank),
        epoch: (rank > 0).then_some(epoch),
        ..Labels::default()
    };
    let attempts = |solved: u64| -> Vec<Attempt> {
        let one = |at: u64| {
            let length =
                ReasoningLength { words: 40 * at, characters: 280 * at, tokens: Some(60 * at) };
            let solved_at = (at < solved).then_some(1 + at as usize % 4);
            Attempt { reasoning_lengths: vec![length], ..attempt(&format!("t{at}"), solved_at) }
        };
        (0..40).map(one).collect()
    };
    let mut runs = vec![run(labels(0, 0), "benchmark", attempts(20))];
    for (rank, more) in [(16, 2), (32, 4), (64, 3)] {
        for epoch in 1..=4 {
            let solved = 20 + more * u64::from(epoch);
            runs.push(run(labels(rank, epoch), "benchmark", attempts(solved)));
        }
    }
    runs
}

#[test]
fn the_page_is_self_contained_and_escaped() {
    let runs = sweep();
    let set = RunSet::of(&runs, Checkpoint::Last);
    let claims = claims::test_all(&set);
    let tables: Vec<Table> = tables::ALL.iter().map(|entry| entry.table(&set)).collect();
    let page = Page {
        made: "2026-01-01 by fixfly".into(),
        runs: vec!["runs/<script>".into()],
        claims: &claims,
        tables: &tables,
    };
    let html = page.html(&set).unwrap();
    for outside in ["http:", "https:", "<script", "@import", "url(", " src="] {
        assert!(!html.contains(outside), "{outside}");
    }
    assert!(!html.contains("v4 <&>") && html.contains("v4 &lt;&amp;&gt;"));
    assert!(!html.contains("NaN") && !html.contains("inf"));
    let titles: Vec<&str> =
        html.split("<h3>").skip(1).filter_map(|rest| rest.split("</h3>").next()).collect();
    insta::assert_snapshot!(titles.join("\n"));
    if let Some(file) = std::env::var_os("FIXFLY_TEST_PAGE") {
        std::fs::write(file, html).unwrap();
    }
}
