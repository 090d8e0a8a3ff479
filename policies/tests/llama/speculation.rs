//! Speculation changes how long an answer takes, and not what it is.

use std::sync::Arc;

use fixfly_runtime::{Action, Generation, Policy, Sampling, Settings, ThinkingMode, Turn};

use crate::stage::{Folder, QWEN3, act, faulty_task, ids, open, settings, task, turn};
use crate::tiny::{Kind, model};

/// Greedy tokens whose log-probabilities differ by less than this may swap ranks, because
/// llama.cpp sums in another order for another size of a batch.
const BOUND: f32 = 1e-3;

/// A method that repeats itself, as code does.
const FAULTY: &str = "def area(self):\n    if not self.side ^ 2:\n        return [self.side]\n    width = self.side\n    return self.side * width\n";

fn with(settings: &Settings, speculation: u32) -> Settings {
    let mut settings = settings.clone();
    settings.local.speculation = Some(speculation);
    settings
}

fn sampled(settings: &Settings, temperature: f64) -> Settings {
    let sampling =
        Sampling { temperature: Some(temperature), top_k: Some(20), ..settings.sampling.clone() };
    Settings { sampling, ..settings.clone() }
}

/// The actions of episodes that are decoded together, of two turns each.
async fn episodes(settings: &Settings, count: u64, faulty: bool) -> Vec<Action> {
    let policy: Arc<dyn Policy> = open(settings).into();
    let episode = |seed: u64| {
        let policy = policy.clone();
        let name = format!("task-{seed}");
        let task = if faulty { faulty_task(&name, FAULTY) } else { task(&name, 4) };
        tokio::spawn(async move {
            let mut turns: Vec<Turn> = Vec::new();
            for _ in 0..2 {
                let action = act(&*policy, &task, &turns, seed).await.unwrap();
                turns.push(turn(action, "One test fails."));
            }
            turns.into_iter().map(|turn| turn.action).collect::<Vec<_>>()
        })
    };
    let mut actions = Vec::new();
    for episode in (0..count).map(episode).collect::<Vec<_>>() {
        actions.extend(episode.await.unwrap());
    }
    actions
}

fn generation(action: &Action) -> &Generation {
    action.generation.as_ref().unwrap()
}

/// Tokens drafted and accepted in all actions.
fn drafted(actions: &[Action]) -> (u64, u64) {
    let counts = actions.iter().filter_map(|action| generation(action).speculation);
    counts.fold((0, 0), |sum, one| (sum.0 + one.drafted_tokens, sum.1 + one.accepted_tokens))
}

/// Compares the answers to the same prompts. Returns how many of them differ where two
/// tokens were equally likely up to the bound; what follows such a place is not compared.
fn close_places(some: &[Action], others: &[Action]) -> usize {
    assert_eq!(some.len(), others.len());
    let mut close = 0;
    for (one, other) in some.iter().zip(others) {
        let (one, other) = (&generation(one).tokens, &generation(other).tokens);
        match one.iter().zip(other).find(|(one, other)| one.id != other.id) {
            Some((one, other)) => {
                let apart = (one.logprob - other.logprob).abs();
                assert!(apart < BOUND, "tokens {} and {} are {apart} apart", one.id, other.id);
                close += 1;
            }
            None => assert_eq!(one.len(), other.len()),
        }
    }
    close
}

#[tokio::test]
async fn greedy_answers_are_the_same_with_speculation() {
    let folder = Folder::new();
    let mut accepted = 0;
    for kind in [Kind::Qwen3, Kind::Llama] {
        let mut settings = settings(&model(&folder, kind, Some(QWEN3)), 150);
        for (count, unified_cache) in [(1, false), (4, false), (4, true)] {
            settings.local.unified_cache = unified_cache;
            let plain = episodes(&with(&settings, 0), count, false).await;
            let drafting = episodes(&with(&settings, 8), count, false).await;
            assert_eq!(drafted(&plain), (0, 0));
            // A second turn has another prompt once the first one differs.
            let firsts = |actions: &[Action]| -> Vec<Action> {
                actions.iter().step_by(2).cloned().collect()
            };
            let close = close_places(&firsts(&plain), &firsts(&drafting));
            assert!(close <= 1, "{close} answers differ in close places");
            if close == 0 {
                close_places(&plain, &drafting);
            }
            accepted += drafted(&drafting).1;
        }
    }
    // Random models repeat little; long drafts are tested in `schedule`.
    assert!(accepted > 0, "the test needs drafts that are accepted");
}

#[tokio::test]
async fn sampled_answers_are_the_same_with_speculation() {
    let folder = Folder::new();
    let settings = settings(&model(&folder, Kind::Qwen3, Some(QWEN3)), 60);
    let mut grammar = sampled(&settings, 0.7);
    grammar.local.answer_grammar = true;
    grammar.local.distinct_answers = true;
    grammar.thinking.mode = ThinkingMode::NoThink;
    let mut accepted = 0;
    for (settings, faulty) in [(sampled(&settings, 0.2), false), (grammar, true)] {
        let plain = episodes(&with(&settings, 0), 3, faulty).await;
        let drafting = episodes(&with(&settings, 8), 3, faulty).await;
        let all = |actions: &[Action]| actions.iter().map(ids).collect::<Vec<_>>();
        assert_eq!(all(&plain), all(&drafting));
        let (drafted, right) = drafted(&drafting);
        assert!(drafted > 0 && right <= drafted);
        accepted += right;
    }
    assert!(accepted > 0, "the test needs drafts that are accepted");
}
