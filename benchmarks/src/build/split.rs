//! Divides methods into train, validation and benchmark so that nothing leaks.
//!
//! Methods of one file stay together, and so do files that share a near-duplicate: a
//! training prompt shows a whole file, and the body of the duplicate would be the answer.
//! Among the remaining divisions, one is chosen in which each part is distributed like the
//! whole by app, size and kind.

use std::collections::{BTreeMap, BTreeSet};

use fixfly_runtime::Split;

use crate::manifest::short_hash;
use crate::places::Place;
use crate::source;

/// Methods with at least this similarity of token shingles are near-duplicates.
const ALIKE: f64 = 0.8;

/// A larger group goes to training: one file must not dominate a benchmark.
const LARGEST: usize = 20;

/// The split of each method, by id, with about `goal` methods in the benchmark and as many
/// in validation. A group that contains a file with a known split gets that split; if there
/// are several, the one that is measured most.
pub(crate) fn split(
    places: &[Place],
    goal: usize,
    known: &BTreeMap<String, Split>,
) -> BTreeMap<String, Split> {
    let whole = Strata::of(places.iter());
    let (pinned, mut groups): (Vec<Group>, Vec<Group>) =
        groups(places).into_iter().partition(|group| group.known(known).is_some());
    let mut splits = BTreeMap::new();
    let mut parts = BTreeMap::<Split, Strata>::new();
    for group in pinned {
        let split = group.known(known).unwrap_or(Split::Train);
        parts.entry(split).or_default().add(&group.strata);
        splits.extend(group.ids.into_iter().map(|id| (id, split)));
    }
    let largest = LARGEST.min(goal.div_ceil(4));
    for split in [Split::Benchmark, Split::Validation] {
        if split == Split::Benchmark && parts.contains_key(&split) {
            continue;
        }
        let mut part = parts.remove(&split).unwrap_or_default();
        while part.total < goal {
            let small = groups.iter().enumerate().filter(|(_, g)| g.strata.total <= largest);
            let best = small.max_by(|(_, a), (_, b)| {
                let worth = |group: &Group| part.gain(&group.strata, &whole, goal);
                worth(a).total_cmp(&worth(b)).then_with(|| a.name.cmp(&b.name))
            });
            // A project with few files has no small groups, but some of it must be in the
            // benchmark.
            let spare = split == Split::Benchmark || groups.len() > 1;
            let first = groups.iter().enumerate().filter(|_| part.total == 0 && spare);
            let smallest = || first.min_by_key(|(_, g)| (g.strata.total, &g.name));
            let Some((at, _)) = best.or_else(smallest) else { break };
            let group = groups.swap_remove(at);
            part.add(&group.strata);
            splits.extend(group.ids.into_iter().map(|id| (id, split)));
        }
    }
    let rest = groups.into_iter().flat_map(|group| group.ids);
    splits.extend(rest.map(|id| (id, Split::Train)));
    splits
}

/// Methods that must stay together.
struct Group {
    /// A hash that decides between otherwise equal groups: a fixed shuffle.
    name: String,
    ids: Vec<String>,
    strata: Strata,
}

impl Group {
    fn known(&self, known: &BTreeMap<String, Split>) -> Option<Split> {
        let file = |id: &String| id.split("::").next().unwrap_or_default().to_string();
        self.ids.iter().filter_map(|id| known.get(&file(id)).copied()).max()
    }
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

/// Number of methods of each app, size and kind.
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
            let kind = match place.method.is_function() {
                true => "kind Function".to_string(),
                false => format!("kind {:?}", place.method.kind),
            };
            for name in [app, format!("size {size}"), kind] {
                *strata.counts.entry(name).or_default() += 1;
            }
        }
        strata
    }

    fn add(&mut self, other: &Strata) {
        self.total += other.total;
        for (name, count) in &other.counts {
            *self.counts.entry(name.clone()).or_default() += count;
        }
    }

    /// How much closer, per method, a group brings this part to the proportions of the
    /// whole at `goal` methods: at most 1, if every stratum still has room.
    fn gain(&self, group: &Strata, whole: &Strata, goal: usize) -> f64 {
        let scale = goal as f64 / whole.total.max(1) as f64;
        let gain: f64 = group
            .counts
            .iter()
            .map(|(name, more)| {
                let here = *self.counts.get(name).unwrap_or(&0) as f64;
                let target = *whole.counts.get(name).unwrap_or(&0) as f64 * scale;
                (here - target).abs() - (here + *more as f64 - target).abs()
            })
            .sum();
        gain / group.counts.values().sum::<usize>().max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file whose methods are similar to no others.
    fn file(name: &str) -> Vec<Place> {
        let method = |at: usize| {
            let lines =
                (0..4).map(|line| format!("        self.{name}_{at}_{line} = 1{at}{line}\n"));
            format!("    def {name}_{at}(self):\n{}", lines.collect::<String>())
        };
        let text = format!("class C:\n{}", (0..3).map(method).collect::<String>());
        let methods = source::methods(&text).unwrap();
        let place =
            |method| Place { file: format!("{name}.py"), text: text.as_str().into(), method };
        methods.into_iter().map(place).collect()
    }

    #[test]
    fn files_stay_together_and_known_ones_stay_where_they_are() {
        let names = ["ant", "bee", "cow", "dog", "elk"];
        let places: Vec<Place> = names.into_iter().flat_map(file).collect();
        let of = |splits: &BTreeMap<String, Split>, name: &str| {
            let all: BTreeSet<Split> =
                (0..3).map(|at| splits[&format!("{name}.py::C.{name}_{at}")]).collect();
            assert_eq!(all.len(), 1, "{name} is divided");
            all.into_iter().next()
        };
        let free = split(&places, 3, &BTreeMap::new());
        for name in names {
            let first = of(&free, name);
            for pinned in Split::ALL {
                let known = BTreeMap::from([(format!("{name}.py"), pinned)]);
                assert_eq!(
                    of(&split(&places, 3, &known), name),
                    Some(pinned),
                    "{name}, was {first:?}"
                );
            }
        }
        let known = BTreeMap::from([("elk.py".to_string(), Split::Benchmark)]);
        let kept = split(&places, 3, &known);
        let benchmark = kept.values().filter(|split| **split == Split::Benchmark).count();
        assert_eq!(benchmark, 3, "a benchmark that is there does not grow");
    }
}
