//! The generated text does not depend on how it is decoded.

use std::sync::Arc;

use fixfly_runtime::Settings;
use fixfly_runtime::{
    Action, Finish, Limit, Policy, PolicyError, Request, Sampling, Task, TaskKind, Templates, View,
};

use crate::stage::{Folder, QWEN3, act, ids, open, settings, task, turn};
use crate::tiny::{Kind, WINDOW, model};

fn tasks(count: usize, lines: usize) -> Vec<Task> {
    (0..count).map(|at| task(&format!("task-{at}"), lines + at)).collect()
}

async fn alone(policy: &dyn Policy, tasks: &[Task]) -> Vec<Action> {
    let mut actions = Vec::new();
    for (seed, task) in tasks.iter().enumerate() {
        actions.push(act(policy, task, &[], seed as u64).await.unwrap());
    }
    actions
}

async fn together(policy: &Arc<dyn Policy>, tasks: &[Task]) -> Vec<Action> {
    let asked = tasks.iter().cloned().enumerate().map(|(seed, task)| {
        let policy = policy.clone();
        tokio::spawn(async move { act(&*policy, &task, &[], seed as u64).await.unwrap() })
    });
    let mut actions = Vec::new();
    for asked in asked.collect::<Vec<_>>() {
        actions.push(asked.await.unwrap());
    }
    actions
}

fn words(actions: &[Action]) -> Vec<Vec<u32>> {
    actions.iter().map(ids).collect()
}

/// How far apart the log-probabilities of the same words are at most.
fn apart(some: &[Action], others: &[Action]) -> f32 {
    let logprobs = |actions: &[Action]| -> Vec<f32> {
        let tokens = actions.iter().flat_map(|action| &action.generation.as_ref().unwrap().tokens);
        tokens.map(|token| token.logprob).collect()
    };
    let pairs = logprobs(some).into_iter().zip(logprobs(others));
    pairs.map(|(one, other)| (one - other).abs()).fold(0.0, f32::max)
}

fn sampled(settings: Settings) -> Settings {
    let sampling = Sampling {
        temperature: Some(1.0),
        top_p: Some(0.95),
        top_k: Some(50),
        ..settings.sampling
    };
    Settings { sampling, ..settings }
}

#[tokio::test]
async fn together_or_alone_the_same_is_generated() {
    let folder = Folder::new();
    for kind in [Kind::Qwen3, Kind::Llama] {
        let settings = settings(&model(&folder, kind, Some(QWEN3)), 40);
        let mut unified = settings.clone();
        unified.local.unified_cache = true;
        for settings in [settings.clone(), sampled(settings), unified] {
            let tasks = tasks(6, 8);
            let alone = alone(&*open(&settings), &tasks).await;
            let together = together(&open(&settings).into(), &tasks).await;
            assert_eq!(words(&alone), words(&together));
            let apart = apart(&alone, &together);
            assert!(apart < 1e-3, "log-probabilities are {apart} apart");
            let alone = words(&alone);
            assert!(
                alone.iter().all(|generated| generated.len() == 40 || generated.last() == Some(&2))
            );
            assert_ne!(alone[0], alone[1], "each task has its own words");
        }
    }
}

#[tokio::test]
async fn a_seed_is_all_chance_there_is() {
    let folder = Folder::new();
    let settings = sampled(settings(&model(&folder, Kind::Qwen3, Some(QWEN3)), 20));
    let policy = open(&settings);
    let task = task("a", 5);
    let one = act(&*policy, &task, &[], 1).await.unwrap();
    assert_eq!(ids(&one), ids(&act(&*policy, &task, &[], 1).await.unwrap()));
    assert_ne!(ids(&one), ids(&act(&*policy, &task, &[], 2).await.unwrap()));
}

#[tokio::test]
async fn a_later_turn_reads_only_what_is_new() {
    let folder = Folder::new();
    let settings = settings(&model(&folder, Kind::Qwen3, Some(QWEN3)), 30);
    let (warm, task) = (open(&settings), task("a", 20));
    let first = act(&*warm, &task, &[], 1).await.unwrap();
    assert_eq!(first.usage.cached_tokens, 0);
    let turns = [turn(first.clone(), "One test fails.")];
    let later = act(&*warm, &task, &turns, 1).await.unwrap();
    let cold = act(&*open(&settings), &task, &turns, 1).await.unwrap();
    assert_eq!(ids(&later), ids(&cold), "what is known makes no difference");
    assert_eq!(later.usage.prompt_tokens, cold.usage.prompt_tokens);
    assert!(later.usage.cached_tokens >= first.usage.prompt_tokens, "{:?}", later.usage);
    assert_eq!(cold.usage.cached_tokens, 0);
}

#[tokio::test]
async fn episodes_share_what_they_have_in_common() {
    let folder = Folder::new();
    let mut settings = settings(&model(&folder, Kind::Qwen3, Some(QWEN3)), 5);
    for unified_cache in [false, true] {
        settings.local.unified_cache = unified_cache;
        let mut actions = together(&open(&settings).into(), &tasks(4, 20)).await;
        // Which episode is read first is not said.
        actions.sort_by_key(|action| action.usage.cached_tokens);
        let read = |action: &Action| action.usage.prompt_tokens - action.usage.cached_tokens;
        let (first, others) = actions.split_first().unwrap();
        assert_eq!(first.usage.cached_tokens, 0);
        for other in others {
            assert!(other.usage.cached_tokens > 20, "{:?}", other.usage);
            assert!(read(other) < read(first), "{:?}", other.usage);
        }
    }
}

#[tokio::test]
async fn what_is_forgotten_is_read_again() {
    let folder = Folder::new();
    let roomy = settings(&model(&folder, Kind::Qwen3, Some(QWEN3)), 60);
    let tasks = tasks(5, 10);
    let expected = alone(&*open(&roomy), &tasks).await;
    let longest = expected.iter().map(|action| action.usage.prompt_tokens).max().unwrap() + 60;
    let mut narrow = roomy.clone();
    narrow.local.context_length = Some(u32::try_from(longest).unwrap());
    // One window for all: the cells of one episode.
    narrow.local.episodes = 1;
    for unified_cache in [false, true] {
        narrow.local.unified_cache = unified_cache;
        let policy: Arc<dyn Policy> = open(&narrow).into();
        for _ in 0..2 {
            assert_eq!(words(&together(&policy, &tasks).await), words(&expected));
        }
    }
}

#[tokio::test]
async fn the_window_ends_an_answer_or_an_episode() {
    let folder = Folder::new();
    let mut settings = settings(&model(&folder, Kind::Qwen3, Some(QWEN3)), WINDOW);
    let task = task("a", 5);
    let free = act(&*open(&settings), &task, &[], 1).await.unwrap();
    let prompt = u32::try_from(free.usage.prompt_tokens).unwrap();
    for (window, generated) in [(prompt + 9, 9), (prompt + 1, 1)] {
        settings.local.context_length = Some(window);
        let action = act(&*open(&settings), &task, &[], 1).await.unwrap();
        assert_eq!(action.usage.completion_tokens, generated);
        assert_eq!(action.generation.unwrap().finish, Finish::Length);
    }
    settings.local.context_length = Some(prompt);
    let error = act(&*open(&settings), &task, &[], 1).await.unwrap_err();
    assert!(matches!(error, PolicyError::Spent(Limit::Context)), "{error}");
}

#[tokio::test]
async fn what_was_measured_is_recorded() {
    let folder = Folder::new();
    let mut settings = settings(&model(&folder, Kind::Qwen3, Some(QWEN3)), 30);
    settings.sampling.temperature = None;
    let action = act(&*open(&settings), &task("a", 5), &[], 1).await.unwrap();
    let generation = action.generation.unwrap();
    assert_eq!(generation.model, "qwen3.gguf");
    assert_eq!(generation.sampling.temperature, Some(0.6));
    assert!(generation.sampling.seed.is_some() && generation.first_token_ms.is_some());
    assert!(generation.tokens_per_second.is_some_and(|speed| speed > 0.0));
    assert_eq!(generation.tokens.len() as u64, action.usage.completion_tokens);
    assert!(generation.tokens.iter().all(|token| token.logprob <= 0.0));
    assert_eq!(action.usage.calls, 1);
}

#[tokio::test]
async fn words_without_a_task_are_those_of_a_turn() {
    let folder = Folder::new();
    let policy = open(&settings(&model(&folder, Kind::Qwen3, Some(QWEN3)), 12));
    let task = task("a", 5);
    let templates = Templates::load(TaskKind::Method, None).unwrap();
    let view =
        View { task: &task, tools: &[], turns: &[], templates: &templates, sample: 0, seed: 1 };
    let messages = view.messages();
    let request = Request { messages: &messages, name: "row", sample: 0, seed: 1 };
    let words = policy.complete(request).await.unwrap();
    let action = act(&*policy, &task, &[], 1).await.unwrap();
    assert_eq!((&words.text, &words.reasoning), (&action.text, &action.reasoning));
    let tokens = words.generation.tokens.iter().map(|token| token.id).collect::<Vec<_>>();
    assert_eq!(tokens, ids(&action));
    assert!(words.usage.prompt_tokens > 0 && words.usage.calls == 1);
}
