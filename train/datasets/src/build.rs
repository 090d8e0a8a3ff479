//! Builds a dataset. The first pass reads every episode and chooses the rows; the second
//! makes one row after the other, so that memory does not grow with their size.

mod ahead;
mod choose;
mod folder;
mod runs;

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use fixfly_runtime::{
    Episode, JoinedRecording, RunError, RunRecord, Task, Templates, Wording, sha256,
};

use crate::audit::Audit;
use crate::error::DatasetError;
use crate::item::{Answer, Item, conversation};
use crate::known::Known;
use crate::reader::Reader;
use crate::recipe::{Leaked, Recipe, TraceSource, Traced};
use crate::row::{Line, Origin, Part, Row, Verdict};
use crate::summary::{Lengths, SCHEMA, Summary, Tokenised};
use crate::tokens::Tokens;
use crate::traces::{Traces, reasoned};
use crate::write::Format;
use ahead::ahead;
use choose::{Choice, OVER_ROWS, choose};
use folder::Folder;

pub use runs::{benchmark_of, templates_in, templates_of};

/// Strings that a chat template treats as control tokens.
const CONTROL: [&str; 4] = ["<|im_start|>", "<|im_end|>", "<|endoftext|>", "</think>"];

/// Why a row is not used, for a table.
const OVER_TOTAL: &str = "over the limit of tokens of all rows";

/// A run whose episodes become rows.
pub struct Run {
    /// Its name in the command; with shards, that of the first and how many more there are.
    pub name: String,
    /// The recipe's name of its teacher.
    pub teacher: String,
    /// Its record.
    pub record: RunRecord,
    /// Its episodes.
    pub recording: JoinedRecording,
}

/// The inputs of a dataset.
pub struct Build<'a> {
    /// The recipe's name or file.
    pub recipe_name: String,
    /// The recipe's text.
    pub recipe_text: String,
    /// The recipe, with the changes of flags.
    pub recipe: Recipe,
    /// The runs. The recipe has a teacher of each run's name.
    pub runs: Vec<Run>,
    /// The wording of the prompts.
    pub templates: &'a Templates,
    /// Data that only the benchmark has.
    pub known: Known<'a>,
    /// Counts tokens.
    pub tokens: Tokens,
    /// The student's tokenizer and chat template; [`Format::Tokens`] needs it.
    pub student: Option<Reader>,
    /// Reasoning traces, if the recipe takes them from a file.
    pub traces: Traces,
    /// Whether held-out methods are removed from prompts.
    pub mask: bool,
    /// The formats to write.
    pub formats: Vec<Format>,
}

impl Build<'_> {
    /// Writes the dataset to `folder`, completely or not at all.
    ///
    /// # Errors
    /// [`DatasetError`], in one sentence.
    pub fn write(&self, folder: &Path) -> Result<Summary, DatasetError> {
        let mut audit =
            Audit::new(self.known.language, &self.known.held_out, self.recipe.leaks.alike);
        let choice = choose(self, &mut audit)?;
        let folder = Folder::new(folder, self)?;
        self.decompress_into(folder.draft())?;
        let mut summary = self.summary(&choice);
        let mut lengths = Vec::new();
        let mut total = Total { left: self.recipe.limits.total_tokens, tasks: HashSet::new() };
        let rows = self.order(&choice.items).into_iter().map(|(_, at, traced)| {
            let item = &choice.items[at];
            ((item.run, item.at), (item, traced))
        });
        let rows: Vec<_> = rows.collect();
        let folder = folder.filled(|add| {
            ahead(&self.runs, &rows, |(item, traced), episode| {
                if total.is_spent() {
                    *summary.left_out.entry(OVER_TOTAL.into()).or_default() += 1;
                    return Ok(());
                }
                match self.row(&choice, item, &episode, traced, &mut audit) {
                    Ok(row) if !total.takes(&row) => {
                        *summary.left_out.entry(OVER_TOTAL.into()).or_default() += 1;
                    }
                    Ok(row) => {
                        lengths.push(u32::try_from(row.tokens).unwrap_or(u32::MAX));
                        summary.count(&row);
                        add(row);
                    }
                    Err(reason) => *summary.dropped.entry(reason.into()).or_default() += 1,
                }
                Ok(())
            })
        })?;
        self.enough(&summary)?;
        if self.recipe.limits.total_tokens.is_some() {
            summary.tasks = total.tasks.len();
        }
        summary.lengths = Lengths::of(self.tokens.how(), lengths);
        summary.audit = audit.findings;
        summary.audit.dropped = self.recipe.leaks.answers != Leaked::Keep;
        summary.audit.masked = self.mask;
        folder.finish(summary)
    }

    /// Prepares compressed runs for rows in the order of a hash. If there is no room for a
    /// copy of their lines, reading them takes longer.
    fn decompress_into(&self, folder: &Path) -> Result<(), DatasetError> {
        for run in &self.runs {
            match run.recording.decompress_into(folder) {
                Ok(()) | Err(RunError::Io { .. }) => {}
                Err(why) => return Err(why.into()),
            }
        }
        Ok(())
    }

    /// All rows, ordered by a hash. This order needs no memory of earlier rows, and does
    /// not change when other rows are added or removed.
    fn order(&self, items: &[Item]) -> Vec<(String, usize, bool)> {
        let traced: &[bool] = match self.recipe.reasoning.rows {
            Traced::Without => &[false],
            Traced::With => &[true],
            Traced::Both => &[false, true],
        };
        let mut rows: Vec<_> = (items.iter().enumerate())
            .flat_map(|(at, item)| traced.iter().map(move |traced| (at, item, *traced)))
            .map(|(at, item, traced)| {
                let words = format!("{}\0{}\0{traced}", self.recipe.seed, item.id);
                (sha256(&words), at, traced)
            })
            .collect();
        rows.sort();
        rows
    }

    /// The file for the rows of a task. All rows of a task are in the same file.
    fn part(&self, task: &str) -> Part {
        let hash = sha256(format!("{}\0part\0{task}", self.recipe.seed).as_bytes());
        let place = u32::from_str_radix(&hash[..8], 16).unwrap_or_default();
        match f64::from(place) / 4_294_967_296.0 < self.recipe.validation {
            true => Part::Validation,
            false => Part::Train,
        }
    }

    fn row(
        &self,
        choice: &Choice,
        item: &Item,
        episode: &Episode,
        traced: bool,
        audit: &mut Audit<'_>,
    ) -> Result<Row, &'static str> {
        let run = &self.runs[item.run];
        let original = choice.originals.get(&item.task).map_or("", String::as_str);
        let mut answer = item.lesson.answer(episode, original);
        if answer.trim().is_empty() {
            return Err("the answer is empty");
        }
        if traced {
            answer = reasoned(self.trace(item, episode)?, &answer);
        }
        let (task, masked) = self.shown(&episode.task, audit);
        let turns = item.lesson.turns(episode);
        let said = conversation(&task, &turns, answer, self.templates, self.recipe.loss);
        let messages: Vec<Line> = (said.into_iter())
            .map(|(message, loss)| Line { role: message.role, content: message.content, loss })
            .collect();
        let own = |line: &Line| CONTROL[..3].iter().any(|word| line.content.contains(word));
        if messages.iter().any(own) {
            return Err("a message contains a special token of the chat template");
        }
        let sequences = match &self.student {
            None => Vec::new(),
            Some(student) => student.sequences(&messages)?,
        };
        let counted = sequences.iter().map(|sequence| sequence.tokens.len()).max();
        let tokens = counted.unwrap_or_else(|| self.tokens.of_row(&messages));
        if self.recipe.limits.tokens.is_some_and(|most| tokens > most) {
            return Err("longer than the token limit");
        }
        let id = if traced { format!("{}+think", item.id) } else { item.id.clone() };
        let origin = self.origin(run, episode, item, traced, masked, &messages);
        let part = self.part(&item.task);
        Ok(Row { id, part, kind: item.lesson.kind, tokens, messages, origin, sequences })
    }

    fn trace<'e>(&'e self, item: &Item, episode: &'e Episode) -> Result<&'e str, &'static str> {
        let trace = match (self.recipe.reasoning.from, item.lesson.answer) {
            (TraceSource::Traces, _) => {
                self.traces.of(&item.id).map(|trace| trace.reasoning.as_str())
            }
            (TraceSource::Teacher, Answer::Turn(turn)) => {
                episode.turns[turn - 1].action.reasoning.as_deref()
            }
            (TraceSource::Teacher, Answer::Original) => None,
        };
        let trace = trace.filter(|trace| !trace.trim().is_empty()).ok_or("without reasoning")?;
        if trace.contains("<think>") || trace.contains(CONTROL[3]) {
            return Err("the reasoning contains a reasoning tag");
        }
        match self.recipe.reasoning.max_trace_tokens {
            Some(most) if self.tokens.of(trace.trim()) > most => {
                Err("the reasoning is longer than the token limit")
            }
            _ => Ok(trace),
        }
    }

    /// The task as the student sees it, and the methods that were removed from its file.
    fn shown(&self, task: &Task, audit: &mut Audit<'_>) -> (Task, Vec<String>) {
        let mut task = task.clone();
        let shown = audit.context(&task);
        if shown.is_empty() || !self.mask {
            return (task, Vec::new());
        }
        let content = self.known.language.without(task.statement.content(), &shown);
        task.statement.set_content(content);
        (task, shown)
    }

    fn origin(
        &self,
        run: &Run,
        episode: &Episode,
        item: &Item,
        traced: bool,
        masked: Vec<String>,
        messages: &[Line],
    ) -> Origin {
        let spoke = match item.lesson.answer {
            Answer::Turn(turn) => Some(turn),
            Answer::Original => item.lesson.failing.last().copied(),
        };
        let generation = spoke.and_then(|turn| episode.turns[turn - 1].action.generation.as_ref());
        let prompt = &messages[..messages.len() - 1];
        let prompt = serde_json::to_string(prompt).unwrap_or_default();
        Origin {
            run: run.recording.directory(item.at).display().to_string(),
            teacher: run.teacher.clone(),
            policy: episode.policy.clone(),
            task: episode.task.id.clone(),
            sample: episode.provenance.sample,
            seed: episode.provenance.seed,
            failing_turns: item.lesson.failing.clone(),
            answer: item.lesson.answer,
            model: generation.map(|generation| generation.model.clone()),
            sampling: generation.map(|generation| generation.sampling.clone()),
            thinking: generation.map(|generation| generation.thinking),
            wording: self.templates.hash.clone(),
            prompt_sha256: sha256(&prompt),
            verdict: episode.verdict.as_ref().map(|verdict| Verdict {
                solved: verdict.solved,
                hidden_tests_pass: verdict.hidden_tests_pass,
                exact_match: verdict.exact_match,
            }),
            reasoning: traced.then(|| match self.recipe.reasoning.from {
                TraceSource::Traces => "traces".to_string(),
                TraceSource::Teacher => "teacher".to_string(),
            }),
            trace: match (traced, self.recipe.reasoning.from) {
                (true, TraceSource::Traces) => {
                    self.traces.of(&item.id).and_then(|trace| trace.origin.clone())
                }
                _ => None,
            },
            masked,
        }
    }

    /// Fails if more rows were dropped than the recipe allows, or all of them.
    fn enough(&self, summary: &Summary) -> Result<(), DatasetError> {
        let dropped: usize = summary.dropped.values().sum();
        let limited = limited(&summary.left_out);
        let all = summary.rows() + limited + dropped;
        let said = |counts: &BTreeMap<String, usize>| {
            let counts = counts.iter().map(|(reason, count)| format!("{count}: {reason}"));
            counts.collect::<Vec<_>>().join("; ")
        };
        if all == 0 {
            return Err(DatasetError::Dropped(format!(
                "the recipe {} selects no rows from these runs ({}); name other runs, or another teacher with TEACHER=RUN",
                self.recipe_name,
                said(&summary.left_out),
            )));
        }
        if let (Some(tokens), 0, 1..) = (self.recipe.limits.total_tokens, summary.rows(), limited) {
            return Err(DatasetError::Dropped(format!(
                "the first row has more than {tokens} tokens, the limit of all rows together; raise --max-total-tokens"
            )));
        }
        let most = self.recipe.limits.dropped;
        if dropped as f64 > most * all as f64 || summary.rows() == 0 {
            return Err(DatasetError::Dropped(format!(
                "{dropped} of {all} rows would be dropped ({}), more than {} %: fix the cause, or raise --max-dropped",
                said(&summary.dropped),
                100.0 * most,
            )));
        }
        Ok(())
    }

    fn summary(&self, choice: &Choice) -> Summary {
        let given: HashSet<&str> = self.runs.iter().map(|run| &*run.teacher).collect();
        let missing = self.recipe.teachers.iter().filter(|teacher| !given.contains(&*teacher.name));
        Summary {
            schema: SCHEMA,
            fixfly: env!("CARGO_PKG_VERSION").into(),
            recipe_name: self.recipe_name.clone(),
            recipe: self.recipe.clone(),
            recipe_sha256: sha256(&self.recipe_text),
            benchmark: self.known.about.clone(),
            sources: self.runs.iter().flat_map(Run::sources).collect(),
            missing: missing.map(|teacher| teacher.name.clone()).collect(),
            wording: Wording { hash: self.templates.hash.clone(), texts: self.templates.texts() },
            parts: BTreeMap::new(),
            kinds: BTreeMap::new(),
            teachers: BTreeMap::new(),
            answers: BTreeMap::new(),
            tasks: choice.items.iter().map(|item| &*item.task).collect::<HashSet<_>>().len(),
            reasoned: 0,
            messages: [0, 0],
            left_out: choice.left_out.clone(),
            duplicates: choice.duplicates,
            dropped: choice.dropped.clone(),
            lengths: Lengths::default(),
            audit: Default::default(),
            student: self.student.as_ref().map(|student| Tokenised {
                facts: student.facts.clone(),
                sequences: 0,
                tokens: 0,
                learned: 0,
            }),
            files: Vec::new(),
        }
    }
}

/// Rows that could be used, but are beyond a limit of the recipe. They count where the share of
/// dropped rows is found: those were dropped before a limit applied.
fn limited(left_out: &BTreeMap<String, usize>) -> usize {
    [OVER_ROWS, OVER_TOTAL].iter().filter_map(|reason| left_out.get(*reason)).sum()
}

/// What is left of the limit of tokens of all rows, and the tasks of the rows so far.
struct Total {
    left: Option<usize>,
    tasks: HashSet<String>,
}

impl Total {
    fn is_spent(&self) -> bool {
        self.left == Some(0)
    }

    /// Counts a row if it fits. Nothing fits after the first one that does not: otherwise
    /// the last rows would be short ones.
    fn takes(&mut self, row: &Row) -> bool {
        let left = self.left.map(|left| left.checked_sub(row.tokens));
        let fits = left != Some(None);
        self.left = left.map(Option::unwrap_or_default);
        if fits {
            self.tasks.insert(row.origin.task.clone());
        }
        fits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_beyond_a_limit_are_not_lost_rows() {
        let left_out =
            [("solved", 5), (OVER_ROWS, 20), (OVER_TOTAL, 3)].map(|(why, n)| (why.to_string(), n));
        assert_eq!(limited(&left_out.into()), 23);
        assert_eq!(limited(&BTreeMap::new()), 0);
    }
}
