//! Divides methods into train, validation and benchmark so that nothing leaks.
//!
//! Methods of one file stay together, and so do files that share a
//! near-duplicate: a training prompt shows a whole file, and its twin's body
//! would be the answer. Among the divisions that remain, one is chosen in which
//! each part looks like the whole by app, size and kind.

use std::collections::{BTreeMap, BTreeSet};

use fixfly_runtime::Split;

use crate::manifest::short_hash;
use crate::project::Place;
use crate::source;

/// Methods whose token shingles agree this much are near-duplicates.
const ALIKE: f64 = 0.8;

/// The split of each method, by id, with about `goal` methods in the benchmark
/// and as many in validation.
pub(crate) fn split(places: &[Place], goal: usize) -> BTreeMap<String, Split> {
    let whole = Strata::of(places.iter());
    let mut groups = groups(places);
    let mut splits = BTreeMap::new();
    for split in [Split::Benchmark, Split::Validation] {
        let mut part = Strata::default();
        while part.total < goal {
            let best = groups.iter().enumerate().min_by(|(_, a), (_, b)| {
                let far = |group: &Group| part.with(&group.strata).distance(&whole, goal);
                far(a).total_cmp(&far(b)).then_with(|| a.name.cmp(&b.name))
            });
            let Some((at, _)) = best else { break };
            let group = groups.swap_remove(at);
            part = part.with(&group.strata);
            splits.extend(group.ids.into_iter().map(|id| (id, split)));
        }
    }
    let rest = groups.into_iter().flat_map(|group| group.ids);
    splits.extend(rest.map(|id| (id, Split::Train)));
    splits
}

/// Methods that must stay together.
struct Group {
    /// Decides between groups that are otherwise equal: a fixed shuffle.
    name: String,
    ids: Vec<String>,
    strata: Strata,
}

fn groups(places: &[Place]) -> Vec<Group> {
    let files: Vec<&str> =
        places.iter().map(|p| p.file.as_str()).collect::<BTreeSet<_>>().into_iter().collect();
    let position = |file: &str| files.binary_search(&file).unwrap_or_default();
    let mut leader: Vec<usize> = (0..files.len()).collect();
    let shingles: Vec<Vec<u64>> =
        places.iter().map(|place| source::shingles(&place.truth())).collect();
    for (a, b) in source::near_duplicates(&shingles, ALIKE) {
        let (a, b) = (position(&places[a].file), position(&places[b].file));
        let (a, b) = (find(&leader, a), find(&leader, b));
        leader[a.max(b)] = a.min(b);
    }
    let mut groups = BTreeMap::<usize, Vec<&Place>>::new();
    for place in places {
        groups.entry(find(&leader, position(&place.file))).or_default().push(place);
    }
    groups
        .into_iter()
        .map(|(first, members)| Group {
            name: short_hash(files[first].as_bytes()),
            ids: members.iter().map(|place| place.id()).collect(),
            strata: Strata::of(members.iter().copied()),
        })
        .collect()
}

fn find(leader: &[usize], mut at: usize) -> usize {
    while leader[at] != at {
        at = leader[at];
    }
    at
}

/// How many methods of each app, size and kind.
#[derive(Clone, Default)]
struct Strata {
    total: usize,
    counts: BTreeMap<String, usize>,
}

impl Strata {
    fn of<'a>(places: impl Iterator<Item = &'a Place>) -> Self {
        let mut strata = Strata::default();
        for place in places {
            strata.total += 1;
            let folders: Vec<&str> = place.file.split('/').collect();
            let depth = if folders.get(1) == Some(&"contrib") { 3 } else { 2 };
            let app = folders[..depth.min(folders.len() - 1)].join("/");
            let size = match place.method.body_lines {
                0..=3 => "2-3",
                4..=6 => "4-6",
                7..=12 => "7-12",
                _ => "13+",
            };
            for name in [app, format!("size {size}"), format!("kind {:?}", place.method.kind)] {
                *strata.counts.entry(name).or_default() += 1;
            }
        }
        strata
    }

    fn with(&self, other: &Strata) -> Strata {
        let mut sum = self.clone();
        sum.total += other.total;
        for (name, count) in &other.counts {
            *sum.counts.entry(name.clone()).or_default() += count;
        }
        sum
    }

    /// How unlike the whole this part is, and how far beyond its goal.
    fn distance(&self, whole: &Strata, goal: usize) -> f64 {
        let share = |strata: &Strata, name: &str| {
            *strata.counts.get(name).unwrap_or(&0) as f64 / strata.total.max(1) as f64
        };
        let unlike: f64 =
            whole.counts.keys().map(|name| (share(self, name) - share(whole, name)).abs()).sum();
        unlike + self.total.saturating_sub(goal) as f64 / goal.max(1) as f64 * 4.0
    }
}
