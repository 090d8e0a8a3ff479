use super::super::fixture::{attempt, run};
use super::super::groups::Checkpoint;
use super::super::run_metrics::{Attempt, ReasoningLength, RunMetrics};
use super::*;

const TASKS: usize = 400;

/// Attempts that solve `count` tasks at the first turn, with `words` of reasoning.
fn solving(count: usize, words: u64) -> Vec<Attempt> {
    let length = ReasoningLength { words, characters: 7 * words, tokens: None };
    let attempt = |at: usize| Attempt {
        reasoning_lengths: if words > 0 { vec![length] } else { Vec::new() },
        ..attempt(&format!("t{at}"), (at < count).then_some(1))
    };
    (0..TASKS).map(attempt).collect()
}

fn labels(model: &str, mode: Mode) -> Labels {
    Labels {
        model: Some(model.into()),
        method: Some(Method::Base),
        mode: Some(mode),
        ..Labels::default()
    }
}

fn student(method: Method, rows: u64, mode: Mode) -> Labels {
    let dataset = Some(format!("d{rows}"));
    Labels { method: Some(method), dataset, rows: Some(rows), ..labels("Qwen3-8B", mode) }
}

/// Runs in which all findings hold, with differences that 400 tasks can resolve.
fn as_in_the_paper() -> Vec<RunMetrics> {
    use Method::{Full, Lora};
    use Mode::{Nothink, Think};
    let lora = student(Lora, 5300, Think);
    let reasoning = Labels { reasoning: Some("Qwen3-32B".into()), ..lora.clone() };
    let large = Labels { model: Some("Qwen3-32B".into()), ..lora.clone() };
    let high = Labels { rank: Some(256), ..lora.clone() };
    let moderate = Labels { rank: Some(32), ..lora.clone() };
    let mut issues = run(student(Lora, 5300, Think), "benchmark", solving(100, 0));
    issues.benchmark = "swebench".into();
    let mut forgot = run(student(Full, 5300, Think), "benchmark", solving(40, 0));
    forgot.benchmark = "swebench".into();
    vec![
        run(labels("Qwen3-8B", Think), "benchmark", solving(240, 1600)),
        run(labels("Qwen3-8B", Nothink), "benchmark", solving(180, 0)),
        run(labels("Qwen3-32B", Think), "benchmark", solving(300, 1200)),
        run(student(Lora, 1000, Think), "benchmark", solving(260, 1200)),
        run(lora, "benchmark", solving(320, 1150)),
        run(student(Lora, 5300, Nothink), "benchmark", solving(310, 0)),
        run(student(Full, 5300, Think), "benchmark", solving(290, 1100)),
        run(reasoning, "benchmark", solving(290, 800)),
        run(large, "benchmark", solving(320, 900)),
        run(high, "benchmark", solving(300, 900)),
        run(moderate, "benchmark", solving(330, 900)),
        issues,
        forgot,
    ]
}

fn results(runs: &[RunMetrics]) -> Vec<(&'static str, ClaimResult)> {
    let tested = test_all(&RunSet::of(runs, Checkpoint::Last));
    tested.into_iter().map(|claim| (claim.claim, claim.result)).collect()
}

#[test]
fn claims_with_their_numbers() {
    let runs = as_in_the_paper();
    let tested = test_all(&RunSet::of(&runs, Checkpoint::Last));
    insta::assert_json_snapshot!(tested);
}

#[test]
fn no_claim_is_decided_without_runs() {
    assert!(results(&[]).iter().all(|(_, result)| *result == ClaimResult::NotEnoughData));
}

#[test]
fn claims_fail_if_the_opposite_is_true() {
    let mut runs = as_in_the_paper();
    for run in &mut runs {
        for attempt in &mut run.attempts {
            attempt.solved_at = match attempt.solved_at {
                Some(_) => None,
                None => Some(3),
            };
            attempt.errors = vec!["KeyError".into()];
            attempt.unresolved = attempt.solved_at.is_none().then(|| "KeyError".into());
        }
        for length in run.attempts.iter_mut().flat_map(|attempt| &mut attempt.reasoning_lengths) {
            length.words = 3000 - length.words;
        }
    }
    // Undecided: neither side has an exact match, and there are no repeats.
    let undecided = |claim: &str| claim.contains("(EM)") || claim.contains("Repeats");
    for (claim, result) in results(&runs) {
        let expected =
            if undecided(claim) { ClaimResult::NotEnoughData } else { ClaimResult::Fails };
        assert_eq!(result, expected, "{claim}");
    }
}
