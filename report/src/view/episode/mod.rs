//! The page of an episode: the task, each turn, the verdict.

mod edits;
mod place;
mod results;
mod task;
mod turn;
mod verdict;

use std::path::Path;

use fixfly_runtime::{Episode, EpisodeSummary, Outcome, RunRecord, thousands};
use minijinja::Environment;
use minijinja::value::Serde;
use serde::Serialize;

use super::error::ViewError;
use super::paint;
use super::sources::Sources;
use task::TaskView;
use turn::TurnView;
use verdict::VerdictView;

use crate::recorded::{ending, why};

const TEMPLATE: &str = "episode.html";

/// The page of an episode.
pub(crate) struct EpisodePage<'a> {
    /// The run directory.
    pub(crate) run: &'a Path,
    /// The record of the run.
    pub(crate) record: &'a RunRecord,
    /// The episode.
    pub(crate) episode: &'a Episode,
    /// Originals and prompts.
    pub(crate) sources: &'a dyn Sources,
    /// Whether to compare with the original.
    pub(crate) original: bool,
}

/// A fact in one line: a name and a value, which is HTML.
#[derive(Serialize)]
struct Fact {
    name: &'static str,
    html: String,
}

impl Fact {
    fn new(name: &'static str, value: impl AsRef<str>) -> Fact {
        Fact { name, html: paint::text(value.as_ref()) }
    }
}

/// Context of the template.
#[derive(Serialize)]
struct Context {
    /// How it ended, and why.
    end: String,
    end_class: &'static str,
    why_html: String,
    facts: Vec<Fact>,
    task: TaskView,
    turns: Vec<TurnView>,
    verdict: VerdictView,
    /// Why the original is not shown, if it was asked for.
    no_original_html: String,
}

/// Adds the templates of this page.
pub(crate) fn add_templates(env: &mut Environment<'static>) -> Result<(), ViewError> {
    Ok(env.add_template(TEMPLATE, include_str!("episode.html"))?)
}

impl EpisodePage<'_> {
    /// The content of the page.
    pub(crate) fn html(&self, engine: &Environment<'static>) -> Result<String, ViewError> {
        let episode = self.episode;
        let summary = EpisodeSummary::of(episode);
        let asked = self.original && !episode.task.statement.methods().is_empty();
        let original =
            asked.then(|| self.sources.original(self.run, self.record, &episode.task)).transpose();
        let (original, no_original) = match original {
            Ok(original) => (original, String::new()),
            Err(why) => (None, format!("The original is not shown: {why}.")),
        };
        let context = Context {
            end: ending(&summary),
            end_class: ending_class(&summary),
            why_html: paint::text(&why(episode).unwrap_or_default()),
            facts: self.facts(&summary),
            task: TaskView::of(episode),
            turns: turn::turns(self, original.as_deref()),
            verdict: VerdictView::of(episode),
            no_original_html: paint::text(&no_original),
        };
        Ok(engine.get_template(TEMPLATE)?.render(Serde(context))?)
    }

    fn facts(&self, summary: &EpisodeSummary) -> Vec<Fact> {
        let (episode, provenance) = (self.episode, &self.episode.provenance);
        let mut facts = vec![
            Fact::new("policy", &episode.policy),
            Fact::new("turns", format!("{} of {}", summary.turns.len(), summary.turn_limit)),
        ];
        let models = episode.turns.iter().rev().filter_map(|turn| turn.action.generation.as_ref());
        facts.extend(models.take(1).map(|generation| Fact::new("model", &generation.model)));
        if summary.turns.iter().any(|turn| turn.usage.calls > 0 || turn.model.is_some()) {
            let cached: u64 = summary.turns.iter().map(|turn| turn.usage.cached_tokens).sum();
            let tokens =
                format!("{}, {} of them cached", thousands(summary.tokens()), thousands(cached));
            facts.push(Fact::new("tokens", tokens));
            let usd = summary.usd().map_or("unknown".into(), |usd| format!("${usd:.4}"));
            facts.push(Fact::new("money", usd));
        }
        facts.extend([
            Fact::new("seconds", format!("{:.1}", provenance.seconds)),
            Fact::new("started", &provenance.started),
            Fact::new("sample", provenance.sample.to_string()),
            Fact::new("seed", provenance.seed.to_string()),
            Fact::new("sandbox", &provenance.isolation),
            Fact::new("fixfly", &provenance.fixfly),
        ]);
        facts
    }
}

/// The class of an episode.
fn ending_class(summary: &EpisodeSummary) -> &'static str {
    match summary.solved() {
        true => "pass",
        false if summary.infrastructure_failure() || summary.unjudged() => "warn",
        false => "fail",
    }
}

/// The class of an outcome.
fn class(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Passed => "pass",
        Outcome::Done | Outcome::Submitted => "neutral",
        Outcome::Tampered | Outcome::Refused => "warn",
        Outcome::Failed
        | Outcome::Invalid
        | Outcome::TimedOut
        | Outcome::Crashed
        | Outcome::OutOfMemory
        | Outcome::Exited => "fail",
    }
}

/// The recorded word for a value, as people write it.
fn word(value: &impl Serialize) -> String {
    let value = serde_json::to_value(value).unwrap_or_default();
    value.as_str().unwrap_or_default().replace('_', " ")
}

#[cfg(test)]
mod tests;
