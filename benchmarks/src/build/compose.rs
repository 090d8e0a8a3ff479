//! Puts a manifest together from what was found of each method.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use fixfly_runtime::{BenchmarkError, Split};

use super::census::Census;
use super::examine::{Examination, Facts, Found};
use super::repeat::Unreliable;
use super::{Plan, tree};
use crate::manifest::{Header, Item, Manifest, SCHEMA, line, short_hash, write_whole};
use crate::project::{Place, Project};
use crate::source::Copies;

/// The kinds of files that may hold a copy of a method.
const TEXTS: [&str; 5] = ["py", "pyi", "md", "rst", "txt"];

/// Composes the manifest of a build, as far as it is.
pub(super) struct Composer<'a> {
    project: &'a Project,
    plan: &'a Plan,
    places: &'a [Place],
    splits: &'a BTreeMap<String, Split>,
    census: &'a Census,
    /// Where code stands in the project; not read for Django.
    copies: Option<Copies>,
}

impl<'a> Composer<'a> {
    pub(super) fn new(
        project: &'a Project,
        plan: &'a Plan,
        places: &'a [Place],
        splits: &'a BTreeMap<String, Split>,
        census: &'a Census,
    ) -> Self {
        // The manifest of Django that fixfly ships has neither copies nor unreliable tests.
        let texts = || tree::texts(&project.folder.join("source"), &TEXTS);
        let copies = (project.framework != "django").then(|| Copies::of(&texts()));
        Composer { project, plan, places, splits, census, copies }
    }

    /// Writes the manifest of what is examined so far, and the tests that were left out.
    pub(super) fn save(
        &self,
        examined: &BTreeMap<String, Examination>,
        left_out: BTreeMap<String, usize>,
    ) -> Result<Manifest, BenchmarkError> {
        let unreliable = self.unreliable(examined);
        let manifest = self.manifest(examined, left_out, &unreliable);
        let folder = &self.project.folder;
        if self.copies.is_some() {
            let text: String = unreliable.values().map(line).collect();
            write_whole(&folder.join("tests_left_out.jsonl"), &text)?;
        }
        save(folder, &manifest)?;
        Ok(manifest)
    }

    /// The tests that were left out, by id: in the census, or when a method was examined.
    fn unreliable<'b>(
        &'b self,
        examined: &'b BTreeMap<String, Examination>,
    ) -> BTreeMap<&'b str, &'b Unreliable> {
        if self.copies.is_none() {
            return BTreeMap::new();
        }
        let dropped = examined.values().flat_map(|examination| match &examination.found {
            Found::Kept(facts) => facts.dropped.as_slice(),
            Found::LeftOut { dropped, .. } => dropped.as_slice(),
        });
        let all = dropped.chain(self.census.left_out().values());
        all.map(|test| (test.id.as_str(), test)).collect()
    }

    fn item(&self, place: &Place, facts: &Facts) -> Item {
        let (_, described_by) = self.project.describe(place);
        let span = &place.method.span;
        let own = place.method.first_line..=place.text[..span.end].matches('\n').count() + 1;
        let body = &place.text[place.method.body.clone()];
        let copies = self.copies.as_ref().map(|copies| copies.find(body, &place.file, &own));
        Item {
            id: place.id(),
            split: self.splits[&place.id()],
            span: [span.start, span.end],
            hash: short_hash(&place.text.as_bytes()[span.clone()]),
            path: facts.path,
            tests: facts.tests.iter().collect(),
            wider: facts.wider.iter().collect(),
            seconds: facts.seconds,
            described_by,
            lines: place.method.body_lines,
            mutants: facts.mutants,
            copies: copies.unwrap_or_default(),
        }
    }

    /// How many benchmark items there are beyond the number wanted.
    pub(super) fn surplus(
        &self,
        examined: &BTreeMap<String, Examination>,
    ) -> Option<(String, usize)> {
        let kept = examined
            .values()
            .filter(|e| self.splits[&e.id] == Split::Benchmark && matches!(e.found, Found::Kept(_)))
            .count();
        let over = kept.saturating_sub(self.plan.wanted?);
        let reason = "in a file of the benchmark, beyond the number wanted";
        (over > 0).then(|| (reason.to_string(), over))
    }

    fn manifest(
        &self,
        examined: &BTreeMap<String, Examination>,
        mut left_out: BTreeMap<String, usize>,
        unreliable: &BTreeMap<&str, &Unreliable>,
    ) -> Manifest {
        let mut items = Vec::new();
        for place in self.places {
            match examined.get(&place.id()).map(|examination| &examination.found) {
                Some(Found::Kept(facts)) => items.push(self.item(place, facts)),
                Some(Found::LeftOut { reason, .. }) => {
                    *left_out.entry(reason.clone()).or_default() += 1;
                }
                None => {}
            }
        }
        self.arrange(&mut items);
        let mut tests_left_out = BTreeMap::<String, usize>::new();
        for test in unreliable.values() {
            *tests_left_out.entry(test.reason.clone()).or_default() += 1;
        }
        let is_new = |place: &&Place| !examined.contains_key(&place.id());
        let header = Header {
            schema: SCHEMA,
            benchmark: self.plan.benchmark.clone(),
            source: self.plan.source.clone(),
            framework: self.project.framework.clone(),
            python: fs::read_to_string(self.project.folder.join("python")).unwrap_or_default(),
            left_out,
            unexamined: self.places.iter().filter(is_new).count(),
            tests_left_out,
            mask_copies: self.plan.mask_copies,
        };
        Manifest { header, items }
    }

    /// A fixed shuffle, so that the first N items of a split are a fair sample of it. Items
    /// of an earlier manifest come first, so that no new item replaces one.
    fn arrange(&self, items: &mut Vec<Item>) {
        let known: BTreeSet<&str> = self.plan.known.iter().map(|item| item.id.as_str()).collect();
        items.sort_by_key(|item| {
            let new = !known.contains(item.id.as_str());
            (std::cmp::Reverse(item.split), new, short_hash(item.id.as_bytes()))
        });
        if let Some(wanted) = self.plan.wanted {
            let mut seen = 0;
            items.retain(|item| {
                seen += usize::from(item.split == Split::Benchmark);
                item.split != Split::Benchmark || seen <= wanted
            });
        }
    }
}

fn save(folder: &Path, manifest: &Manifest) -> Result<(), BenchmarkError> {
    write_whole(&folder.join("manifest.jsonl"), &manifest.text())
}
