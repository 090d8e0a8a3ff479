//! Answers that a grammar holds to changes, and answers that are not repeated.

use std::collections::BTreeSet;

use fixfly_runtime::{Action, Finish, Policy, Sampling, Settings, Task, Turn};

use crate::stage::{Folder, QWEN3, act, fault, faulty_task, ids, open, settings, task, turn};
use crate::tiny::{Kind, model};

const FAULTY: &str = "def area(self):\n    if not self.side ^ 2:\n        return [1]\n    x = \"é\\n\"\n    return self.side\n    x -= 1\n    x -= 1\n";

fn with(settings: &Settings, change: impl FnOnce(&mut Settings)) -> Settings {
    let mut settings = settings.clone();
    change(&mut settings);
    settings
}

/// The actions of an episode in which nothing passes.
async fn episode(policy: &dyn Policy, task: &Task, count: usize, seed: u64) -> Vec<Action> {
    let mut turns: Vec<Turn> = Vec::new();
    for _ in 0..count {
        let action = act(policy, task, &turns, seed).await.unwrap();
        turns.push(turn(action, "One test fails."));
    }
    turns.into_iter().map(|turn| turn.action).collect()
}

#[tokio::test]
async fn an_answer_by_grammar_changes_a_line_that_is_there() {
    let folder = Folder::new();
    let settings = with(&settings(&model(&folder, Kind::Qwen3, Some(QWEN3)), 400), |settings| {
        settings.local.answer_grammar = true;
        settings.thinking.mode = fixfly_runtime::ThinkingMode::NoThink;
        settings.sampling.temperature = Some(1.0);
    });
    let policy = open(&settings);
    let lines: Vec<&str> = FAULTY.lines().map(str::trim).collect();
    let mut removed = BTreeSet::new();
    for seed in 0..6 {
        let action = act(&*policy, &faulty_task("a", FAULTY), &[], seed).await.unwrap();
        let begins = action.text.strip_prefix("```python\n- ");
        let begins = begins.unwrap_or_else(|| panic!("{:?}", action.text));
        let Some((is, should)) = begins.split_once("\n+ ") else {
            assert_eq!(action.generation.unwrap().finish, Finish::Length);
            continue;
        };
        assert_eq!(lines.iter().filter(|line| **line == is).count(), 1, "{is:?}");
        if let Some((should, _)) = should.split_once("\n```") {
            assert!(!should.trim().is_empty() && should.trim() != is, "{should:?}");
            assert!(!should.contains('\n'), "{should:?}");
        }
        removed.insert(is.to_string());
    }
    assert!(removed.len() > 1, "{removed:?}");
}

#[tokio::test]
async fn a_grammar_of_answers_and_one_of_calls_are_refused_together() {
    let folder = Folder::new();
    let settings = with(&settings(&model(&folder, Kind::Qwen3, Some(QWEN3)), 5), |settings| {
        settings.local.answer_grammar = true;
        settings.calls = fixfly_runtime::CallForm::Native;
    });
    assert_eq!(
        fault(&settings),
        "--answer-grammar holds the answer to a block of code: remove --tool-calls native"
    );
}

#[tokio::test]
async fn no_answer_is_given_twice() {
    let folder = Folder::new();
    // A few tokens, so that a sampled answer repeats an earlier one.
    let plain = settings(&model(&folder, Kind::Qwen3, Some(QWEN3)), 1);
    let sampled = |settings: &Settings| {
        with(settings, |settings| {
            settings.sampling =
                Sampling { temperature: Some(0.5), top_k: Some(5), ..settings.sampling.clone() };
        })
    };
    let distinct =
        |settings: &Settings| with(settings, |settings| settings.local.distinct_answers = true);
    let repeats = |actions: &[Action]| {
        actions.len() - actions.iter().map(Action::answer).collect::<BTreeSet<_>>().len()
    };
    let resampled = |actions: &[Action]| -> u32 {
        actions.iter().map(|action| action.generation.as_ref().unwrap().resampled).sum()
    };
    let mut repeated = 0;
    for settings in [sampled(&plain), plain] {
        let (without, with) = (open(&settings), open(&distinct(&settings)));
        for seed in 0..4 {
            let task = task("a", 3);
            let before = episode(&*without, &task, 4, seed).await;
            let after = episode(&*with, &task, 4, seed).await;
            assert_eq!(repeats(&after), 0, "{after:?}");
            assert_eq!(ids(&before[0]), ids(&after[0]), "the first answer is the same");
            repeated += repeats(&before);
            if repeats(&before) > 0 {
                assert!(resampled(&after) > 0);
            }
            for action in &after {
                let tries = action.generation.as_ref().unwrap().resampled + 1;
                assert_eq!(
                    (action.usage.calls, action.usage.completion_tokens),
                    (tries, tries.into())
                );
            }
        }
    }
    assert!(repeated > 0, "the test needs answers that repeat");
}

#[tokio::test]
async fn each_turn_has_its_temperature() {
    let folder = Folder::new();
    let settings = with(&settings(&model(&folder, Kind::Qwen3, Some(QWEN3)), 3), |settings| {
        settings.sampling.temperature = Some(0.0);
        settings.later_temperatures = vec![0.8, 1.0];
    });
    let actions = episode(&*open(&settings), &task("a", 3), 4, 1).await;
    let temperature = |action: &Action| {
        action.generation.as_ref().and_then(|generation| generation.sampling.temperature)
    };
    let found: Vec<_> = actions.iter().map(temperature).collect();
    assert_eq!(found, [Some(0.0), Some(0.8), Some(1.0), Some(1.0)]);
}
