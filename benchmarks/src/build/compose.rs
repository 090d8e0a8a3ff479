//! Puts a manifest together from what was found of each method.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use fixfly_runtime::{BenchmarkError, DescribedBy, Split};

use super::census::Census;
use super::examine::{Examination, Facts, Found};
use super::joint::LEFT_OVER;
use super::repeat::Unreliable;
use super::{Plan, tree};
use crate::manifest::{Header, Item, Manifest, line, schema, short_hash, write_whole};
use crate::places::{Place, Places};
use crate::project::Project;
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
        joint: &[(Places, Examination)],
        left_out: BTreeMap<String, usize>,
    ) -> Result<Manifest, BenchmarkError> {
        let unreliable = self.unreliable(examined);
        let manifest = self.manifest((examined, joint), left_out, &unreliable);
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

    fn item(&self, places: &Places, facts: &Facts) -> Item {
        let each = || places.each().iter();
        let described_by = each().map(|place| self.project.describe(place).1).max();
        let copies = each().flat_map(|place| self.copies_of(place)).collect();
        Item {
            id: places.id(),
            split: self.splits[&places.each()[0].id()],
            spans: each().map(|p| [p.method.span.start, p.method.span.end]).collect(),
            hash: short_hash(places.text()),
            path: facts.path,
            tests: facts.tests.iter().collect(),
            wider: facts.wider.iter().collect(),
            seconds: facts.seconds,
            described_by: described_by.unwrap_or(DescribedBy::Nothing),
            lines: each().map(|place| place.method.body_lines).sum(),
            mutants: facts.mutants,
            copies,
        }
    }

    /// Where else the body of a method stands.
    fn copies_of(&self, place: &Place) -> Vec<String> {
        let end = place.method.span.end;
        let own = place.method.first_line..=place.text[..end].matches('\n').count() + 1;
        let body = &place.text[place.method.body.clone()];
        self.copies.as_ref().map(|copies| copies.find(body, &place.file, &own)).unwrap_or_default()
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
        (examined, joint): (&BTreeMap<String, Examination>, &[(Places, Examination)]),
        mut left_out: BTreeMap<String, usize>,
        unreliable: &BTreeMap<&str, &Unreliable>,
    ) -> Manifest {
        let mut items = Vec::new();
        let mut leave_out = |reason: &str, count: usize| {
            *left_out.entry(reason.to_string()).or_default() += count;
        };
        let joined: BTreeSet<String> =
            joint.iter().flat_map(|(places, _)| places.each()).map(Place::id).collect();
        for place in self.places {
            match examined.get(&place.id()).map(|examination| &examination.found) {
                Some(Found::Kept(facts)) if self.plan.span.is_none() => {
                    items.push(self.item(&place.clone().into(), facts));
                }
                Some(Found::Kept(_)) if joint.is_empty() || joined.contains(&place.id()) => {}
                Some(Found::Kept(_)) => leave_out(LEFT_OVER, 1),
                Some(Found::LeftOut { reason, .. }) => leave_out(reason, 1),
                None => {}
            }
        }
        for (places, examination) in joint {
            match &examination.found {
                Found::Kept(facts) => items.push(self.item(places, facts)),
                Found::LeftOut { reason, .. } => leave_out(reason, places.each().len()),
            }
        }
        self.arrange(&mut items);
        let mut tests_left_out = BTreeMap::<String, usize>::new();
        for test in unreliable.values() {
            *tests_left_out.entry(test.reason.clone()).or_default() += 1;
        }
        let is_new = |place: &&Place| !examined.contains_key(&place.id());
        let header = Header {
            schema: schema(self.plan.span),
            benchmark: self.plan.benchmark.clone(),
            source: self.plan.source.clone(),
            framework: self.project.framework.clone(),
            python: fs::read_to_string(self.project.folder.join("python")).unwrap_or_default(),
            left_out,
            unexamined: self.places.iter().filter(is_new).count(),
            tests_left_out,
            mask_copies: self.plan.mask_copies,
            span: self.plan.span,
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
