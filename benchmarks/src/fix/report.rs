//! The result of a fix, for people and for machines.

use std::path::{Path, PathBuf};

use fixfly_runtime::{End, Episode, Usage, printable, thousands};
use serde::Serialize;

use super::items::Fix;

/// The result of all attempts.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FixReport {
    /// Whether a place was fixed and the fix confirmed.
    pub solved: bool,
    /// The place that was fixed: `shop/cart.py::Cart.total`.
    pub place: Option<String>,
    /// The fix as a unified diff against the work tree.
    pub diff: Option<String>,
    /// The tests that failed: how many the fix makes pass.
    pub tests: Passing,
    /// The other tests that passed before: how many still pass. `None` without a fix.
    pub guards: Option<Passing>,
    /// Number of turns, in all places.
    pub turns: usize,
    /// Name of the policy.
    pub policy: String,
    /// Where the solved episode is recorded.
    pub episode: Option<EpisodePlace>,
    /// Number of tokens of prompts and completions, if a model was asked.
    pub tokens: Option<u64>,
    /// US dollars, if the price is known.
    pub usd: Option<f64>,
    /// The file that the fix was written to.
    pub applied: Option<PathBuf>,
    /// The places that were tried, and how each attempt ended.
    pub attempts: Vec<(String, String)>,
}

/// How many of some tests pass.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Passing {
    /// Tests that pass.
    pub passed: usize,
    /// All of them.
    pub total: usize,
    /// Their ids.
    pub ids: Vec<String>,
}

/// An episode of a run directory.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct EpisodePlace {
    /// The run directory.
    pub run: PathBuf,
    /// The task.
    pub task: String,
}

impl Fix {
    /// The result of these episodes, recorded in `run`.
    pub fn report(&self, run: &Path, policy: &str, episodes: &[Episode]) -> FixReport {
        let solved = self.solved(episodes);
        let item = solved.and_then(|episode| self.item(&episode.task).ok());
        let ids: Vec<String> = self.failing.iter().map(|result| result.id.clone()).collect();
        let usages = || episodes.iter().flat_map(|one| &one.turns).map(|turn| &turn.action.usage);
        let tokens = |usage: &Usage| usage.prompt_tokens + usage.completion_tokens;
        let tokens: u64 = usages().map(tokens).sum();
        let usd: Option<f64> = usages().map(|usage| usage.usd).sum();
        FixReport {
            solved: solved.is_some(),
            place: solved.map(|episode| episode.task.id.clone()),
            diff: solved.and_then(|episode| episode.patch.clone()),
            tests: Passing { passed: solved.map_or(0, |_| ids.len()), total: ids.len(), ids },
            guards: item.map(|item| Passing {
                passed: item.guards.len(),
                total: item.guards.len(),
                ids: item.guards.clone(),
            }),
            turns: episodes.iter().map(|episode| episode.turns.len()).sum(),
            policy: policy.to_string(),
            episode: solved.map(|episode| EpisodePlace {
                run: run.to_path_buf(),
                task: episode.task.id.clone(),
            }),
            tokens: (tokens > 0).then_some(tokens),
            usd: usd.filter(|_| tokens > 0),
            applied: None,
            attempts: episodes.iter().map(|one| (one.task.id.clone(), end(one))).collect(),
        }
    }

    /// The episode that fixed a place.
    pub fn solved<'a>(&self, episodes: &'a [Episode]) -> Option<&'a Episode> {
        episodes.iter().find(|episode| episode.solved() && self.item(&episode.task).is_ok())
    }
}

/// How an attempt ended.
fn end(episode: &Episode) -> String {
    match &episode.end {
        End::Failed { why, .. } => format!("{}: {why}", episode.end.name()),
        end => end.name().to_string(),
    }
}

impl FixReport {
    /// The result as text; its foreign parts are escaped.
    pub fn text(&self, color: bool) -> String {
        let mut text = match (&self.place, &self.diff) {
            (Some(place), Some(diff)) => {
                format!("{}\nFixed {}\n", colored(diff, color), printable(place))
            }
            _ => self.unsolved(),
        };
        let Passing { passed, total, .. } = self.tests;
        text += &format!("  failing tests that pass now: {passed} of {total}\n");
        if let Some(Passing { passed, total, .. }) = self.guards {
            text += &format!("  other tests that still pass: {passed} of {total}\n");
        }
        text += &format!("  turns: {} (policy {})\n", self.turns, printable(&self.policy));
        if let Some(tokens) = self.tokens {
            let usd = self.usd.map_or(String::new(), |usd| format!(", ${usd:.4}"));
            text += &format!("  tokens: {}{usd}\n", thousands(tokens));
        }
        match (&self.applied, self.solved) {
            (Some(file), _) => {
                text += &format!("Written to {}\n", printable(&file.display().to_string()))
            }
            (None, true) => {
                text += "Nothing was written; run it again with --apply to write the change\n"
            }
            (None, false) => {}
        }
        text
    }

    fn unsolved(&self) -> String {
        let mut text = "Not fixed. Places that were tried:\n".to_string();
        for (place, end) in &self.attempts {
            text += &format!("  {}: {}\n", printable(place), printable(end));
        }
        text
    }
}

/// A diff with the colours that git uses.
fn colored(diff: &str, color: bool) -> String {
    let line = |line: &str| {
        let shown = printable(line);
        let code = match line.get(..1) {
            Some("+") => "32",
            Some("-") => "31",
            Some("@") => "36",
            _ => "",
        };
        let code = if line.starts_with("+++ ") || line.starts_with("--- ") { "1" } else { code };
        match color && !code.is_empty() {
            true => format!("\u{1b}[{code}m{shown}\u{1b}[0m\n"),
            false => format!("{shown}\n"),
        }
    };
    diff.lines().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> FixReport {
        let passing = |passed, total| Passing { passed, total, ids: vec!["t".into(); total] };
        FixReport {
            solved: true,
            place: Some("cart.py::Cart.total".into()),
            diff: Some("--- a/cart.py\n+++ b/cart.py\n@@ -1 +1 @@\n-\u{1b}[2J1\n+2\n".into()),
            tests: passing(1, 1),
            guards: Some(passing(3, 3)),
            turns: 2,
            policy: "openai".into(),
            episode: None,
            tokens: Some(1234),
            usd: Some(0.01),
            applied: None,
            attempts: vec![("cart.py::Cart.total".into(), "solved".into())],
        }
    }

    #[test]
    fn a_fix_is_a_diff_and_what_it_was_checked_by() {
        insta::assert_snapshot!(report().text(false), @r"
        --- a/cart.py
        +++ b/cart.py
        @@ -1 +1 @@
        -\u001b[2J1
        +2

        Fixed cart.py::Cart.total
          failing tests that pass now: 1 of 1
          other tests that still pass: 3 of 3
          turns: 2 (policy openai)
          tokens: 1,234, $0.0100
        Nothing was written; run it again with --apply to write the change
        ");
        let colored = report().text(true);
        assert!(colored.starts_with("\u{1b}[1m--- a/cart.py\u{1b}[0m\n"), "{colored:?}");
        assert!(colored.contains("\u{1b}[31m-\\u001b[2J1\u{1b}[0m\n\u{1b}[32m+2\u{1b}[0m\n"));
        let applied = FixReport { applied: Some("/repo/cart.py".into()), ..report() };
        assert!(applied.text(false).ends_with("Written to /repo/cart.py\n"));
    }

    #[test]
    fn without_a_fix_the_places_that_were_tried_are_listed() {
        let (place, diff, guards) = (None, None, None);
        let tests = Passing { passed: 0, ..report().tests };
        let attempts = vec![("cart.py::Cart.total".into(), "turn limit".into())];
        let none = FixReport {
            solved: false,
            place,
            diff,
            guards,
            tests,
            attempts,
            tokens: None,
            usd: None,
            ..report()
        };
        insta::assert_snapshot!(none.text(false), @r"
        Not fixed. Places that were tried:
          cart.py::Cart.total: turn limit
          failing tests that pass now: 0 of 1
          turns: 2 (policy openai)
        ");
    }
}
