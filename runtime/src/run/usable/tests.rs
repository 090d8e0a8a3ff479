use super::*;
use crate::generation::{Finish, Generation, Sampling, Thinking};
use crate::unusable::unusable;
use crate::{
    Boundary, Budget, Call, DescribedBy, Feedback, Method, Observation, Provenance, SandboxSpec,
    Statement, Task, TestDelta, Timings, Turn, Usage, Verdict,
};

/// A turn: text, reasoning, finish, and whether a call could be read from it.
type Said<'a> = (&'a str, &'a str, Finish, bool);

fn turn((text, reasoning, finish, called): Said<'_>) -> Turn {
    let budget = Budget { turns: 1, tokens: None, seconds: None, usd: None };
    let call = match called {
        true => Call::Tool { name: "submit_method".into(), args: serde_json::json!({}) },
        false => Call::Malformed("why".into()),
    };
    let generation = Generation {
        model: "m".into(),
        sampling: Sampling::default(),
        thinking: Thinking::default(),
        finish,
        finish_reason: None,
        first_token_ms: None,
        tokens_per_second: None,
        tokens: Vec::new(),
        native_calls: Vec::new(),
        repaired: Vec::new(),
        resampled: 0,
        speculation: None,
    };
    Turn {
        action: Action {
            text: text.into(),
            reasoning: (!reasoning.is_empty()).then(|| reasoning.into()),
            call,
            usage: Usage::default(),
            generation: Some(generation),
        },
        observation: Observation::refused("why"),
        feedback: Feedback { delta: TestDelta::default(), left: budget, message: String::new() },
        timings: Timings::default(),
    }
}

fn episode(turns: &[Said<'_>], end: End) -> Episode {
    let method = Method {
        file: "a.py".into(),
        class_name: "A".into(),
        name: "f".into(),
        declaration: "def f(self):".into(),
        decorators: Vec::new(),
        description: String::new(),
        described_by: DescribedBy::Nothing,
        content: String::new(),
        faulty: None,
        options: crate::FaultOptions::default(),
    };
    let task = Task {
        id: "a".into(),
        benchmark: "b".into(),
        statement: Statement::Method(method),
        sandbox: SandboxSpec::default(),
        tools: Vec::new(),
        budget: Budget { turns: 5, tokens: None, seconds: None, usd: None },
    };
    Episode {
        schema: 1,
        task,
        policy: "openai".into(),
        provenance: Provenance::default(),
        turns: turns.iter().map(|said| turn(*said)).collect(),
        end,
        patch: None,
        left_out: Vec::new(),
        verdict: None,
    }
}

fn reason(episode: &Episode) -> Option<UnusableReason> {
    super::reason(&EpisodeSummary::of(episode))
}

/// The rule of a run that continues after these episodes.
fn after(finished: &[Episode]) -> FirstEpisodes {
    let summaries: Vec<_> = finished.iter().map(EpisodeSummary::of).collect();
    FirstEpisodes::of(&summaries, |at| Ok::<_, Infallible>(&finished[at])).unwrap()
}

fn turns() -> End {
    End::BudgetSpent { limit: Limit::Turns }
}

const THOUGHT: Said<'_> = ("", "Here.\n```python\n\u{1b}", Finish::Stop, false);
const EMPTY: Said<'_> = (" \n", "", Finish::Stop, false);
const CUT: Said<'_> = ("def f", "", Finish::Length, false);
const WRONG: Said<'_> = ("def f(): wrong", "", Finish::Stop, true);

#[test]
fn an_episode_is_usable_if_one_answer_is() {
    let check = |turns: &[Said<'_>], expected: Option<UnusableReason>| {
        assert_eq!(reason(&episode(turns, super::tests::turns())), expected, "{turns:?}");
    };
    check(&[THOUGHT], Some(UnusableReason::OnlyReasoning));
    check(&[EMPTY, THOUGHT], Some(UnusableReason::Empty));
    check(&[CUT, CUT], Some(UnusableReason::CutOff));
    check(&[("Flagged.", "", Finish::Filtered, false)], Some(UnusableReason::Filtered));
    check(&[WRONG], None);
    check(&[EMPTY, EMPTY, WRONG], None);
    check(&[("I do not know.", "", Finish::Stop, false)], None);
    check(&[("I can't.", "", Finish::Refused, false)], None);
    check(&[("", "", Finish::ToolCall, false)], None);
    check(&[("```\na\n```\nand so", "", Finish::Length, true)], None);
    check(&[], None);
    let ended = |end: End| reason(&episode(&[], end));
    let context = End::BudgetSpent { limit: Limit::Context };
    assert_eq!(ended(context), Some(UnusableReason::PromptTooLong));
    let failed = |kind| End::Failed { at: Boundary::Policy, kind, why: "x".into() };
    assert_eq!(ended(failed(FailureKind::Model)), Some(UnusableReason::ModelFailed));
    let mut solved = episode(&[CUT], End::Solved);
    solved.verdict = Some(Verdict { solved: true, ..Verdict::default() });
    assert_eq!(reason(&solved), None);
    let mut unasked = episode(&[EMPTY], turns());
    unasked.turns[0].action.generation = None;
    assert_eq!(reason(&unasked), None, "no model was asked");
}

/// Episodes of one turn; how many give a reason to stop at once, and at the end.
#[track_caller]
fn check(all: &[Said<'_>], now: Option<usize>, at_end: Option<usize>) {
    let mut first = FirstEpisodes::default();
    all.iter().for_each(|said| first.count(&episode(&[*said], turns())));
    let count = |unusable: Option<Unusable>| unusable.map(|unusable| unusable.episodes);
    assert_eq!((count(first.unusable()), count(first.unusable_at_end())), (now, at_end));
}

#[test]
fn eight_episodes_without_an_answer_stop_a_run() {
    check(&[THOUGHT; 8], Some(8), Some(8));
    check(&[CUT; 7], None, Some(7));
    check(&[CUT; 3], None, Some(3));
    check(&[CUT; 2], None, None);
    check(&[EMPTY, EMPTY, EMPTY, EMPTY, CUT, EMPTY, EMPTY, EMPTY], None, None);
    check(&[CUT, CUT, CUT, CUT, CUT, CUT, CUT, WRONG], None, None);
    check(&[WRONG, CUT, CUT, CUT, CUT, CUT, CUT, CUT, CUT], None, None);
    let mut first = FirstEpisodes::default();
    let kind = FailureKind::Infrastructure;
    let failed = End::Failed { at: Boundary::Policy, kind, why: "no disk".into() };
    (0..8).for_each(|_| first.count(&episode(&[CUT], failed.clone())));
    assert_eq!(first.unusable(), None, "what the environment ended says nothing");
}

#[test]
fn a_resumed_run_is_judged_by_new_episodes() {
    let all = |said, count| vec![episode(&[said], turns()); count];
    let mut first = after(&all(CUT, 8));
    assert!(first.unusable().is_none() && first.unusable_at_end().is_some(), "nothing is new");
    first.count(&episode(&[WRONG], turns()));
    assert_eq!(first.unusable_at_end(), None);
    let mut first = after(&all(CUT, 5));
    all(CUT, 3).iter().for_each(|episode| first.count(episode));
    assert!(first.unusable().is_some(), "five and three are eight");
    let mut first = after(&all(WRONG, 1));
    all(CUT, 9).iter().for_each(|episode| first.count(episode));
    assert_eq!(first.unusable(), None);
}

#[test]
fn the_answer_is_shown_in_safe_and_short_form() {
    let mut first = FirstEpisodes::default();
    (0..8).for_each(|_| first.count(&episode(&[THOUGHT], turns())));
    let text = first.unusable().unwrap().to_string();
    assert_eq!(
        text,
        "none of 8 episodes holds a usable answer: all text is reasoning, and there is no answer \
         (for example: \"Here.\\n```python\\n\\u{1b}\"); try --think yes or --think no, or start the \
         server with the reasoning parser of this model, or without one"
    );
    let long = "a".repeat(1_000);
    let said = (&*long, "", Finish::Length, false);
    let shown = example(&turn(said).action);
    assert_eq!(shown.chars().count(), SHOWN + 1);
}

#[test]
fn a_native_call_that_cannot_be_read_is_an_answer() {
    let mut malformed = turn(("", "", Finish::Stop, false));
    assert_eq!(unusable(&malformed.action), Some(UnusableReason::Empty));
    let call = crate::NativeCall { name: "bash".into(), ..crate::NativeCall::default() };
    malformed.action.generation.as_mut().unwrap().native_calls = vec![call];
    assert_eq!(unusable(&malformed.action), None);
}
