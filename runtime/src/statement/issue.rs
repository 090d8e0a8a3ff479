//! Issue tasks: an agent works in a work tree for many turns, and the prompt shows a part
//! of its history.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use minijinja::{Value, context};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Asks, Kind};
use crate::feedback::{Earlier, changes};
use crate::templates::Prompts;
use crate::test_report::TestDelta;
use crate::turn::{Call, Observation, Turn};

pub(super) const KIND: Kind = Kind {
    schema: 2,
    turns: 100,
    // The first, and three answers to an error message.
    malformed: Some(4),
    earlier_prompts: &["6d3900a3031ff482585ac96b2368e7ae2afcf6266e45722adeb885fa6bebb2bb"],
    prompts: Prompts {
        texts: [
            ("system", include_str!("../../prompts/issue/system.jinja")),
            ("first", include_str!("../../prompts/issue/first.jinja")),
            ("later", include_str!("../../prompts/issue/later.jinja")),
        ],
        sample: |some| {
            let issue = Issue {
                repo: some.into(),
                version: some.into(),
                text: some.into(),
                root: some.into(),
                manual: some.into(),
                history: History::All,
            };
            issue.context()
        },
    },
};

/// Maximum number of tests named in one message; there may be thousands.
const NAMED: usize = 10;
/// After this many equal results in a row, the policy is in a loop.
const LOOP: usize = 3;
/// An issue to resolve, as the policy sees it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Issue {
    /// `OWNER/NAME`.
    pub repo: String,
    /// The project's version.
    pub version: String,
    /// The issue's text.
    pub text: String,
    /// Absolute path of the work tree inside the sandbox.
    pub root: String,
    /// Instructions for calling tools; with native tool calls only how to submit with a lone
    /// shell, else empty.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub manual: String,
    /// Which earlier observations the prompt shows.
    #[serde(default)]
    pub history: History,
}

/// Bytes per token, roughly; there is no tokenizer here.
const BYTES: u64 = 4;

/// Which earlier observations the prompt shows in full. It always shows all actions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum History {
    /// All observations.
    #[default]
    All,
    /// The last so many observations.
    Last(u32),
    /// The last observations that fit in this many tokens, and always the very last one.
    Tokens(u64),
}

impl fmt::Display for History {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            History::All => f.write_str("all"),
            History::Last(count) => write!(f, "last:{count}"),
            History::Tokens(tokens) => write!(f, "tokens:{tokens}"),
        }
    }
}

impl FromStr for History {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "it must be all, last:N or tokens:N".to_string();
        match text.split_once(':') {
            None if text == "all" => Ok(History::All),
            Some(("last", count)) => count.parse().map(History::Last).map_err(|_| wrong()),
            Some(("tokens", count)) => count.parse().map(History::Tokens).map_err(|_| wrong()),
            _ => Err(wrong()),
        }
    }
}

impl History {
    /// For each turn, whether its observation is shown in full.
    fn whole(self, turns: &[&Turn]) -> Vec<bool> {
        let mut left = match self {
            History::All => return vec![true; turns.len()],
            History::Last(count) => {
                let first = turns.len().saturating_sub(count as usize);
                return (0..turns.len()).map(|at| at >= first).collect();
            }
            History::Tokens(tokens) => tokens.saturating_mul(BYTES),
        };
        let mut whole = vec![false; turns.len()];
        for (at, turn) in turns.iter().enumerate().rev() {
            let bytes = turn.observation.text.len() as u64;
            if at + 1 < turns.len() && bytes > left {
                break;
            }
            whole[at] = true;
            left = left.saturating_sub(bytes);
        }
        whole
    }
}

impl Asks for Issue {
    fn context(&self) -> Value {
        let Issue { repo, version, text, root, manual, .. } = self;
        context! { repo, version, text, root, manual }
    }

    fn message(
        &self,
        delta: &TestDelta,
        (turns, earlier): (&[Turn], &Earlier),
        call: &Call,
        observation: &Observation,
    ) -> String {
        let mut sentences = Vec::new();
        if observation.tests.is_some() && earlier.ran_tests() {
            let changes = changes(delta, NAMED);
            let changes = if changes.is_empty() { "nothing changed" } else { changes.as_str() };
            sentences.push(format!("Since the tests last ran: {changes}."));
        }
        let times = earlier.in_a_row_with(turns, call, observation);
        if times >= LOOP {
            sentences.push(format!(
                "The same call has now given the same result {times} times in a row: do something else."
            ));
        }
        sentences.join(" ")
    }

    fn shown<'t>(&self, turns: &'t [Turn]) -> Vec<&'t Turn> {
        shown(turns)
    }

    fn observations<'t>(&self, shown: &[&'t Turn]) -> Vec<Cow<'t, str>> {
        let whole = self.history.whole(shown);
        let observations = shown.iter().map(|turn| turn.observation.text.as_str());
        observations
            .zip(whole)
            .map(|(text, whole)| if whole { text.into() } else { elided(text).into() })
            .collect()
    }
}

/// The turns that the prompt shows. Malformed answers are left out after the policy's next
/// valid one.
fn shown(turns: &[Turn]) -> Vec<&Turn> {
    let is_malformed = |turn: &Turn| matches!(turn.action.call, Call::Malformed(_));
    let tail = turns.iter().rposition(|turn| !is_malformed(turn)).map_or(0, |at| at + 1);
    let kept = |(at, turn): &(usize, &Turn)| *at >= tail || !is_malformed(turn);
    turns.iter().enumerate().filter(kept).map(|(_, turn)| turn).collect()
}

/// The placeholder for an observation that is left out.
fn elided(observation: &str) -> String {
    let lines = observation.lines().count();
    let plural = if lines == 1 { "" } else { "s" };
    format!("(an earlier observation of {lines} line{plural}, left out)")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::budget::Budget;
    use crate::turn::{Action, Feedback, Timings, Usage};

    #[test]
    fn histories_are_read_and_shown() {
        for text in ["all", "last:5", "tokens:30000"] {
            assert_eq!(
                text.parse::<History>().map(|history| history.to_string()).as_deref(),
                Ok(text)
            );
        }
        for text in ["last", "last:x", "none"] {
            assert!(text.parse::<History>().is_err(), "{text}");
        }
    }

    fn turn(call: Call, said: &str) -> Turn {
        let left = Budget { turns: 1, tokens: None, seconds: None, usd: None };
        Turn {
            action: Action {
                text: String::new(),
                reasoning: None,
                call,
                usage: Usage::default(),
                generation: None,
            },
            observation: Observation::refused(said),
            feedback: Feedback { delta: TestDelta::default(), left, message: String::new() },
            timings: Timings::default(),
        }
    }

    #[test]
    fn the_last_observations_are_shown_whole() {
        let turns = ["aaaaaaaa", "bbbb", "cccccccccccc", "dd"].map(|said| turn(Call::Submit, said));
        let turns: Vec<&Turn> = turns.iter().collect();
        let check = |history: History, expected: [bool; 4]| {
            assert_eq!(history.whole(&turns), expected, "{history:?}");
        };
        check(History::All, [true; 4]);
        check(History::Last(2), [false, false, true, true]);
        check(History::Last(9), [true; 4]);
        check(History::Tokens(4), [false, false, true, true]);
        check(History::Tokens(5), [false, true, true, true]);
        check(History::Tokens(0), [false, false, false, true]);
        assert_eq!(elided("a\nb\n"), "(an earlier observation of 2 lines, left out)");
    }

    #[test]
    fn malformed_words_are_shown_until_better_ones_come() {
        let bad = || turn(Call::Malformed("no".into()), "no");
        let good = || turn(Call::Submit, "yes");
        let count = |turns: &[Turn]| shown(turns).len();
        assert_eq!(count(&[bad(), bad()]), 2);
        assert_eq!(count(&[good(), bad(), good()]), 2);
        assert_eq!(count(&[good(), bad(), good(), bad()]), 3);
    }
}
