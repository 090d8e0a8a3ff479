use crate::metrics::{Compared, Variant, same_text};

use super::super::fixture::{attempt, run};
use super::super::groups::Checkpoint;
use super::super::labels::{Labels, Method, Mode};
use super::super::run_metrics::{Attempt, ReasoningLength, RunMetrics};
use super::super::run_tables;
use super::super::truth::Judged;
use super::*;

const TRUTH: &str = "def f(self, a):\n    b = a + 1\n    return b\n";
const OTHER: &str = "def f(self, a):\n    return a + 1\n";
const TASKS: usize = 20;

/// Attempts that solve `count` tasks at turns 1 to 3, half of them with an exact match.
fn solving(count: usize, words: u64) -> Vec<Attempt> {
    let one = |at: usize| {
        let method = if at < count / 2 { TRUTH } else { OTHER };
        let words = words + at as u64;
        let length =
            ReasoningLength { words, characters: 6 * words, tokens: (at > 0).then_some(2 * words) };
        let reasoning = format!(
            "The test says that {} items are missing, so the loop ends too early",
            words / 400
        );
        Attempt {
            reasoning_lengths: if words > 100 { vec![length] } else { Vec::new() },
            reasons: words > 100,
            first_reasoning: (words > 100).then_some(reasoning),
            judged: Some(Box::new(Judged {
                same_text: same_text(TRUTH, method),
                same_code: same_text(TRUTH, method),
                compared: Variant::ALL.map(|variant| Compared::of(variant, TRUTH, method)),
            })),
            has_method: true,
            method: Some(method.into()),
            recorded_exact: method == TRUTH,
            usd: Some(0.01),
            ..attempt(&format!("t{at:02}"), (at < count).then_some(1 + at % 3))
        }
    };
    (0..TASKS).map(one).collect()
}

fn base(model: &str, mode: Mode) -> Labels {
    let (model, mode) = (Some(model.to_string()), Some(mode));
    Labels { model, mode, method: Some(Method::Base), ..Labels::default() }
}

fn trained(method: Method, dataset: &str, rows: u64, mode: Mode) -> Labels {
    let (dataset, rows, method) = (Some(dataset.to_string()), Some(rows), Some(method));
    Labels { method, dataset, rows, ..base("Qwen3-8B", mode) }
}

fn runs() -> Vec<RunMetrics> {
    use Mode::{Nothink, Think};
    let lora = |epoch, mode| Labels {
        rank: Some(32),
        epoch: Some(epoch),
        ..trained(Method::Lora, "v4", 5300, mode)
    };
    let reasoning = |hybrid, mode| Labels {
        reasoning: Some("Qwen3-32B".into()),
        hybrid,
        epoch: None,
        ..lora(1, mode)
    };
    let on = |labels, solved, words| run(labels, "benchmark", solving(solved, words));
    let mut issues = on(lora(2, Think), 4, 0);
    issues.benchmark = ISSUES.into();
    let mut unknown = on(Labels { mode: None, ..base("retrieval", Think) }, 3, 0);
    unknown.attempts.iter_mut().for_each(|attempt| attempt.judged = None);
    unknown.no_truth = Some("there is no benchmark in /x".into());
    vec![
        on(base("Qwen3-8B", Think), 12, 1600),
        on(base("Qwen3-8B", Think), 14, 1700),
        on(base("Qwen3-8B", Nothink), 10, 0),
        on(base("Qwen3-32B", Think), 16, 1200),
        on(trained(Method::Lora, "v1", 1052, Think), 13, 1400),
        on(lora(1, Think), 14, 1200),
        on(lora(2, Think), 17, 1150),
        on(lora(2, Nothink), 15, 0),
        on(trained(Method::Full, "v4", 5300, Think), 16, 1100),
        on(reasoning(false, Think), 15, 900),
        on(reasoning(true, Think), 16, 820),
        on(reasoning(true, Nothink), 15, 0),
        issues,
        unknown,
    ]
}

#[test]
fn every_table_as_text() {
    let runs = runs();
    let set = RunSet::of(&runs, Checkpoint::Validation);
    for entry in ALL {
        let table = entry.table(&set);
        let text = format!(
            "{}\n\n{}\n\n{}",
            table.title,
            run_tables::markdown(&table),
            table.notes.join("\n")
        );
        insta::assert_snapshot!(format!("table_{}", entry.name), text);
        assert!(table.rows.iter().all(|row| row.len() == table.header.len()), "{}", entry.name);
    }
}

#[test]
fn an_empty_table_lists_the_runs_it_needs() {
    let set = RunSet::of(&[], Checkpoint::Validation);
    let notes: Vec<String> = ALL.iter().map(|entry| entry.table(&set).notes.join("\n")).collect();
    insta::assert_snapshot!(notes.join("\n"));
}
