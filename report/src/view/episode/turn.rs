//! A turn: action, observation, feedback.

use fixfly_runtime::{Action, Call, Finish, Outcome, Turn, Usage, thousands};
use serde::Serialize;
use serde_json::Value;

use super::edits::{EditsView, edits};
use super::results::{OwnFrames, ResultsView};
use super::{EpisodePage, Fact, class, paint, word};
use crate::recorded::{candidate, given, previous};

/// The most turns of which the page has every prompt: each prompt repeats those before it.
const MAX_PROMPTS: usize = 8;

#[derive(Serialize)]
pub(super) struct TurnView {
    number: usize,
    outcome: &'static str,
    class: &'static str,
    /// What the action asks for.
    call_html: String,
    arguments: Vec<Argument>,
    malformed_html: String,
    answer_html: String,
    reasoning_html: String,
    reasoning_words: usize,
    candidate: Option<CandidateView>,
    results: Option<ResultsView>,
    observation_html: String,
    observation_open: bool,
    /// The change so far, if the turn recorded it.
    patch_html: Option<String>,
    /// The edits so far, if the turn edits a file and recorded no change.
    edits: Option<EditsView>,
    left_out_html: Vec<String>,
    feedback_html: String,
    prompt: Option<PromptView>,
    facts: Vec<Fact>,
}

/// An argument of a tool, or a difference that its arguments describe.
#[derive(Serialize)]
struct Argument {
    name_html: String,
    html: String,
    block: bool,
}

#[derive(Serialize)]
struct CandidateView {
    diffs: Vec<Diff>,
    whole_html: String,
}

#[derive(Serialize)]
struct Diff {
    title: String,
    /// `None` if there is no difference.
    html: Option<String>,
    open: bool,
}

#[derive(Serialize)]
struct PromptView {
    html: String,
    note_html: String,
}

/// All turns of an episode.
pub(super) fn turns(page: &EpisodePage<'_>, original: Option<&str>) -> Vec<TurnView> {
    let own = OwnFrames::of(page.episode);
    (0..page.episode.turns.len()).map(|at| view(page, at, original, &own)).collect()
}

fn view(page: &EpisodePage<'_>, at: usize, original: Option<&str>, own: &OwnFrames) -> TurnView {
    let turn = &page.episode.turns[at];
    let (action, observation) = (&turn.action, &turn.observation);
    let tests = observation.tests.as_ref();
    let results = tests.map(|tests| ResultsView::of(tests, &turn.feedback.delta, own));
    let malformed = match &action.call {
        Call::Malformed(why) => why.as_str(),
        Call::Tool { .. } | Call::Submit => "",
    };
    let reasoning = action.reasoning.as_deref().unwrap_or_default();
    let left_out = observation.left_out.iter().map(|out| paint::text(&out.to_string()));
    TurnView {
        number: at + 1,
        outcome: observation.outcome.name(),
        class: class(observation.outcome),
        call_html: match &action.call {
            Call::Tool { name, .. } => paint::long(name),
            Call::Submit => "submit".into(),
            Call::Malformed(_) => "malformed call".into(),
        },
        arguments: arguments(&action.call),
        malformed_html: paint::long(malformed),
        answer_html: paint::long(&action.text),
        reasoning_html: paint::long(reasoning),
        reasoning_words: reasoning.split_whitespace().count(),
        candidate: candidate_view(page, at, original),
        observation_open: results.is_none() && observation.outcome != Outcome::Submitted,
        results,
        observation_html: paint::long(&observation.text),
        edits: edits(page, at),
        patch_html: observation.patch.as_deref().map(paint::patch),
        left_out_html: left_out.collect(),
        feedback_html: paint::long(&turn.feedback.message),
        prompt: prompt(page, at),
        facts: facts(turn),
    }
}

/// The arguments of a call, without code that is shown as a difference.
fn arguments(call: &Call) -> Vec<Argument> {
    let Call::Tool { args, .. } = call else { return Vec::new() };
    let Value::Object(fields) = args else {
        return vec![argument("arguments", &args.to_string())];
    };
    let string = |key: &str| fields.get(key).and_then(Value::as_str);
    let replaced = string("old_str").map(|old| (old, string("new_str").unwrap_or_default()));
    let mut all: Vec<Argument> = fields
        .iter()
        .filter(|(key, _)| *key != "code")
        .filter(|(key, _)| replaced.is_none() || !matches!(key.as_str(), "old_str" | "new_str"))
        .map(|(key, value)| match value {
            Value::String(text) => argument(key, text),
            value => argument(key, &value.to_string()),
        })
        .collect();
    let difference = replaced.and_then(|(old, new)| paint::difference(old, new));
    all.extend(difference.map(|html| Argument { name_html: "change".into(), html, block: true }));
    all
}

fn argument(name: &str, text: &str) -> Argument {
    let block = text.contains('\n');
    let html = paint::long(text);
    let html = if block { format!(r#"<pre tabindex="0" class="code">{html}</pre>"#) } else { html };
    Argument { name_html: paint::long(name), html, block }
}

fn candidate_view(
    page: &EpisodePage<'_>,
    at: usize,
    original: Option<&str>,
) -> Option<CandidateView> {
    let (given_title, given) = given(&page.episode.task.statement)?;
    let code = candidate(&page.episode.turns[at])?;
    let previous = previous(page.episode, at);
    let diff = |title: String, old: &str, open: bool| Diff {
        title,
        html: paint::difference(old.trim_end(), code.trim_end()),
        open,
    };
    let mut diffs = Vec::new();
    if let Some((earlier, previous)) = previous {
        diffs.push(diff(format!("Change since turn {}", earlier + 1), previous, true));
    }
    diffs.push(diff(given_title.into(), &given, previous.is_none()));
    diffs.extend(original.map(|original| diff("Against the original".into(), original, false)));
    Some(CandidateView { diffs, whole_html: paint::python(code, 0..0) })
}

fn prompt(page: &EpisodePage<'_>, at: usize) -> Option<PromptView> {
    let turns = page.episode.turns.len();
    if turns > MAX_PROMPTS && at > 0 && at + 1 < turns {
        return None;
    }
    let (html, note) = match page.sources.prompt(page.run, page.record, page.episode, at) {
        Err(why) => (String::new(), format!("The prompt cannot be shown: {why}.")),
        Ok(prompt) => {
            let count = prompt.tokens.map(|tokens| format!("{} tokens", thousands(tokens as u64)));
            let missing = prompt.missing.map(|missing| format!("not the exact text: {missing}"));
            let parts: Vec<String> = count.into_iter().chain(missing).collect();
            (paint::long(&prompt.text), parts.join("; "))
        }
    };
    Some(PromptView { html, note_html: paint::text(&note) })
}

fn facts(turn: &Turn) -> Vec<Fact> {
    let (action, timings) = (&turn.action, &turn.timings);
    let mut facts = Vec::new();
    if action.generation.is_some() || action.usage.calls > 0 {
        facts.extend(usage(&action.usage));
    }
    facts.extend(generation(action));
    let seconds = |ms: u64| format!("{:.1} s", ms as f64 / 1000.0);
    facts.push(Fact::new("decision", seconds(timings.act_ms)));
    facts.push(Fact::new("call", seconds(timings.call_ms)));
    facts
}

fn usage(usage: &Usage) -> Vec<Fact> {
    let count = |tokens: u64| thousands(tokens);
    let part = |tokens: u64, of: &str| match tokens {
        0 => String::new(),
        tokens => format!(" ({} {of})", count(tokens)),
    };
    let estimated = if usage.estimated { ", estimated" } else { "" };
    let prompt = count(usage.prompt_tokens) + &part(usage.cached_tokens, "cached") + estimated;
    let completion = count(usage.completion_tokens) + &part(usage.reasoning_tokens, "reasoning");
    let mut facts = vec![
        Fact::new("prompt tokens", prompt),
        Fact::new("completion tokens", completion + estimated),
    ];
    if usage.calls > 1 {
        facts.push(Fact::new("requests", usage.calls.to_string()));
    }
    facts.push(Fact::new("money", usage.usd.map_or("unknown".into(), |usd| format!("${usd:.4}"))));
    facts
}

fn generation(action: &Action) -> Vec<Fact> {
    let Some(generation) = &action.generation else { return Vec::new() };
    let mut facts = Vec::new();
    if generation.finish != Finish::Stop && generation.finish != Finish::ToolCall {
        facts.push(Fact::new("stopped by", word(&generation.finish)));
    }
    if let Some(speed) = generation.tokens_per_second {
        facts.push(Fact::new("speed", format!("{speed:.1} tokens/s")));
    }
    if let Some(temperature) = generation.sampling.temperature {
        facts.push(Fact::new("temperature", temperature.to_string()));
    }
    if !generation.repaired.is_empty() {
        let repairs: Vec<String> = generation.repaired.iter().map(word).collect();
        facts.push(Fact::new("call repaired", repairs.join(", ")));
    }
    if generation.resampled > 0 {
        facts.push(Fact::new("resampled", generation.resampled.to_string()));
    }
    facts
}
