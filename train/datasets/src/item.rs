//! Converts an episode to rows: which turns stay, and which answer ends the conversation.

use std::fmt;

use fixfly_runtime::{Episode, Message, Role, Task, Templates, Turn, code_block, render, sha256};
use serde::{Deserialize, Serialize};

use crate::language::Language;
use crate::recipe::{Failing, Kind, Loss, Recipe, Same, Scope, Teacher};
use crate::retention::{Retention, failing_turns, retention};

/// A row that is still to be made, by the positions of its parts: small, so that any number
/// fits in memory.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Item {
    /// The task and a hash of the trained text. It is the same on every machine.
    pub(crate) id: String,
    /// The run, and the episode's index in it.
    pub(crate) run: usize,
    pub(crate) at: usize,
    pub(crate) task: String,
    pub(crate) lesson: Lesson,
}

/// The part of an episode that becomes a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Lesson {
    pub(crate) kind: Kind,
    /// Turns that stay in the conversation, counted from 1.
    pub(crate) failing: Vec<usize>,
    pub(crate) answer: Answer,
}

/// The source of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// The turn that solved the task, counted from 1.
    Turn(usize),
    /// The original method.
    Original,
}

impl Answer {
    /// The turn, counted from 1, if a turn is the source.
    pub fn turn(self) -> Option<usize> {
        match self {
            Answer::Turn(turn) => Some(turn),
            Answer::Original => None,
        }
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Answer::Turn(turn) => write!(to, "turn {turn}"),
            Answer::Original => to.write_str("the original method"),
        }
    }
}

/// The lessons of an episode, or the reason why there are none, for a table.
pub(crate) fn lessons(
    episode: &Episode,
    recipe: &Recipe,
    teacher: &Teacher,
) -> Result<Vec<Lesson>, String> {
    if episode.infrastructure_failure() {
        return Err("ended by an infrastructure failure".into());
    }
    let original = teacher.take.contains(&Kind::Original).then(|| Lesson {
        kind: Kind::Original,
        failing: Vec::new(),
        answer: Answer::Original,
    });
    match tried(episode, recipe, teacher) {
        Ok(lessons) => Ok(original.into_iter().chain(lessons).collect()),
        Err(reason) => original.map(|original| vec![original]).ok_or(reason),
    }
}

/// The lessons of the episode's turns.
fn tried(episode: &Episode, recipe: &Recipe, teacher: &Teacher) -> Result<Vec<Lesson>, String> {
    let (kind, answer) = match retention(episode) {
        Retention::Repaired { fixed, .. } => (Kind::Repaired, Answer::Turn(fixed)),
        Retention::Unsolved { .. } => (Kind::Unsolved, Answer::Original),
        Retention::AtOnce => (Kind::AtOnce, Answer::Turn(1)),
        Retention::Nothing => return Err("no usable attempt".into()),
    };
    if !teacher.take.contains(&kind) {
        return Err(format!("{}: not taken from {}", kind.name(), teacher.name));
    }
    let failing = kept(failing_turns(episode), recipe.failing);
    let lesson = |answer| Lesson { kind, failing: failing.clone(), answer };
    Ok(match kind == Kind::Repaired && recipe.doubled {
        true => vec![lesson(answer), lesson(Answer::Original)],
        false => vec![lesson(answer)],
    })
}

fn kept(mut failing: Vec<usize>, which: Failing) -> Vec<usize> {
    match which {
        Failing::All => {}
        Failing::None => failing.clear(),
        Failing::First => failing.truncate(1),
        Failing::Last => drop(failing.drain(..failing.len().saturating_sub(1))),
    }
    failing
}

impl Lesson {
    /// The text of the answer: the teacher's own, or the original method in the usual form
    /// of an answer.
    pub(crate) fn answer(&self, episode: &Episode, original: &str) -> String {
        match self.answer {
            Answer::Turn(turn) => episode.turns[turn - 1].action.text.clone(),
            Answer::Original => format!("```python\n{}\n```", original.trim_end()),
        }
    }

    /// The key by which two rows are duplicates.
    pub(crate) fn key(
        &self,
        episode: &Episode,
        answer: &str,
        recipe: &Recipe,
        language: &dyn Language,
    ) -> Option<String> {
        let same = |text: &str| match recipe.duplicates.key {
            Same::Exact => text.to_string(),
            Same::Whitespace => words(code_block(text)),
            Same::SyntaxTree => {
                let code = code_block(text);
                language.tree_hash(code).unwrap_or_else(|| words(code))
            }
        };
        let failing = self.failing.iter().map(|turn| episode.turns[turn - 1].action.text.as_str());
        let parts: Vec<&str> = match recipe.duplicates.scope {
            Scope::Off => return None,
            Scope::Answer => vec![answer],
            Scope::Pair => failing.chain([answer]).collect(),
        };
        let parts = parts.into_iter().map(same);
        Some(parts.fold(episode.task.id.clone(), |key, part| key + "\0" + &part))
    }

    /// The task and a hash of the attempts and the answer.
    pub(crate) fn id(&self, episode: &Episode, answer: &str) -> String {
        let failing = self.failing.iter().map(|turn| &*episode.turns[turn - 1].action.text);
        let learned: Vec<&str> = failing.chain([answer]).collect();
        format!("{}#{}", episode.task.id, &sha256(learned.join("\0").as_bytes())[..10])
    }

    /// The attempts that stay. The feedback of each is computed as if there were no others.
    pub(crate) fn turns(&self, episode: &Episode) -> Vec<Turn> {
        let mut turns: Vec<Turn> = Vec::new();
        for at in &self.failing {
            let mut turn = episode.turns[at - 1].clone();
            let (statement, left) = (&episode.task.statement, turn.feedback.left.clone());
            turn.feedback = statement.feedback(&turns, &turn.action.call, &turn.observation, left);
            turns.push(turn);
        }
        turns
    }
}

fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The conversation to train on, and whether each message carries loss. Everything before
/// the answer equals the prompt at inference, byte for byte.
pub(crate) fn conversation(
    task: &Task,
    turns: &[Turn],
    answer: String,
    templates: &Templates,
    loss: Loss,
) -> Vec<(Message, bool)> {
    let mut learnable = turns.iter().map(|turn| match loss {
        Loss::All => true,
        Loss::Last => false,
        Loss::PerMessage => {
            let delta = &turn.feedback.delta;
            !delta.fixed.is_empty() && delta.broken.is_empty()
        }
    });
    let prompt = render(task, turns, templates).into_iter().map(|message| {
        let carries = message.role == Role::Assistant && learnable.next().unwrap_or(false);
        (message, carries)
    });
    let mut conversation: Vec<_> = prompt.collect();
    conversation.push((Message { role: Role::Assistant, content: answer }, true));
    conversation
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_recipe_says_which_failing_attempts_stay() {
        let all = || vec![1, 2, 4];
        assert_eq!(kept(all(), Failing::Last), [4]);
        assert_eq!(kept(all(), Failing::First), [1]);
        assert_eq!(kept(all(), Failing::All), [1, 2, 4]);
        assert_eq!(kept(all(), Failing::None), [0; 0]);
        assert_eq!(kept(Vec::new(), Failing::Last), [0; 0]);
    }
}
