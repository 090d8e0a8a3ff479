//! Chooses the episodes that become rows. Reads each once and keeps only positions.

use std::collections::{BTreeMap, HashMap, HashSet};

use fixfly_runtime::{Episode, code_block, sha256};

use super::Build;
use super::ahead::ahead;
use crate::audit::Audit;
use crate::error::DatasetError;
use crate::item::{Answer, Item, Lesson, lessons};
use crate::recipe::{Leaked, Teacher};

/// Why an episode or row is not used, for a table.
pub(super) const OVER_ROWS: &str = "over the teacher's limit of rows";

/// The chosen rows, and counts of the rest.
#[derive(Default)]
pub(super) struct Choice {
    pub(super) items: Vec<Item>,
    /// Original methods, by task.
    pub(super) originals: HashMap<String, String>,
    pub(super) left_out: BTreeMap<String, usize>,
    pub(super) duplicates: usize,
    pub(super) dropped: BTreeMap<String, usize>,
    keys: HashSet<String>,
    ids: HashMap<String, usize>,
}

/// Chooses episodes by the recipe: by teacher, then by run, then by task and sample. The
/// order in which episodes ended does not matter.
pub(super) fn choose(build: &Build<'_>, audit: &mut Audit<'_>) -> Result<Choice, DatasetError> {
    let mut choice = Choice::default();
    for teacher in &build.recipe.teachers {
        let own = build.runs.iter().enumerate().filter(|(_, run)| run.teacher == teacher.name);
        let first = choice.items.len();
        for (number, _) in own {
            choice.take_run(build, number, teacher, audit)?;
        }
        if let Some(most) = teacher.rows {
            choice.limit(first, most, build.recipe.seed);
        }
    }
    Ok(choice)
}

impl Choice {
    fn take_run(
        &mut self,
        build: &Build<'_>,
        number: usize,
        teacher: &Teacher,
        audit: &mut Audit<'_>,
    ) -> Result<(), DatasetError> {
        let places = (0..build.runs[number].recording.len()).map(|at| ((number, at), at));
        let mut found: Vec<(String, u32, Found)> = Vec::new();
        ahead(&build.runs, &places.collect::<Vec<_>>(), |at, episode| {
            let key = (episode.task.id.clone(), episode.provenance.sample);
            match lessons(&episode, &build.recipe, teacher) {
                Err(reason) => *self.left_out.entry(reason).or_default() += 1,
                Ok(lessons) => {
                    for lesson in lessons {
                        let item = self.found(build, number, at, &episode, lesson)?;
                        found.push((key.0.clone(), key.1, item));
                    }
                }
            }
            Ok(())
        })?;
        found.sort_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
        for (_, _, found) in found {
            self.take(build, found, audit);
        }
        Ok(())
    }

    /// Keeps `most` of the items from `first` on, in their order. Which ones, is drawn by a
    /// hash, so that it does not depend on the order of tasks.
    fn limit(&mut self, first: usize, most: usize, seed: u64) {
        let taken = self.items.len() - first;
        if taken <= most {
            return;
        }
        let hash = |item: &Item| sha256(format!("{seed}\0limit\0{}", item.id));
        let mut hashes: Vec<String> = self.items[first..].iter().map(hash).collect();
        hashes.sort_unstable();
        let last = hashes[most..].first().cloned().unwrap_or_default();
        let mut rest = self.items.split_off(first);
        rest.retain(|item| hash(item) < last);
        *self.left_out.entry(OVER_ROWS.into()).or_default() += taken - rest.len();
        self.items.append(&mut rest);
    }

    fn found(
        &mut self,
        build: &Build<'_>,
        run: usize,
        at: usize,
        episode: &Episode,
        lesson: Lesson,
    ) -> Result<Found, DatasetError> {
        let task = &episode.task;
        if lesson.answer == Answer::Original && !self.originals.contains_key(&task.id) {
            let original = (build.known.original)(task).map_err(DatasetError::Benchmark)?;
            self.originals.insert(task.id.clone(), original);
        }
        let original = self.originals.get(&task.id).map_or("", String::as_str);
        let answer = lesson.answer(episode, original);
        let key = lesson.key(episode, &answer, &build.recipe, build.known.language);
        let id = lesson.id(episode, &answer);
        let item = Item { id, run, at, task: task.id.clone(), lesson };
        Ok(Found { item, key: key.map(|key| sha256(&key)), answer })
    }

    fn take(&mut self, build: &Build<'_>, found: Found, audit: &mut Audit<'_>) {
        let Found { mut item, key, answer } = found;
        if key.is_some_and(|key| !self.keys.insert(key)) {
            self.duplicates += 1;
            return;
        }
        let leak = audit.answer(&item.id, &item.task, &answer);
        let drops = match build.recipe.leaks.answers {
            Leaked::Drop => true,
            // A method begins with `def`, a change of one line with `-`.
            Leaked::DropMethods => {
                audit.is_held_out(&item.task) || !code_block(&answer).trim_start().starts_with('-')
            }
            Leaked::Keep => false,
        };
        if let (Some(how), true) = (leak, drops) {
            *self.dropped.entry(how).or_default() += 1;
            return;
        }
        let same = self.ids.entry(item.id.clone()).or_default();
        *same += 1;
        if *same > 1 {
            item.id = format!("{}-{same}", item.id);
        }
        self.items.push(item);
    }
}

/// A possible row, before duplicates are removed.
struct Found {
    item: Item,
    key: Option<String>,
    answer: String,
}
