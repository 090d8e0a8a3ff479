//! Joint items: which functions and methods of a file are joined, and whether the tests of all
//! notice the absence of each.

use std::collections::{BTreeMap, BTreeSet};

use fixfly_runtime::{BenchmarkError, Outcome, Sandbox};

use super::examine::{Bench, Examination, Examiner, Facts, Found, first_failure, left_out};
use super::hold::{Choice, Held, Holding};
use crate::manifest::{RunPath, short_hash};
use crate::places::{Place, Places};
use crate::server::Limits;

/// What is left over when the others of a file are joined.
pub(super) const LEFT_OVER: &str = "too few others of its file are left to be joined with";

/// Functions and methods of one file to join, with the facts of each.
#[derive(Clone)]
pub(super) struct Joint {
    pub(super) places: Places,
    facts: Vec<Facts>,
}

/// Joins `span` of these at a time, which are in the order of their files. Each is in one group
/// at most. A group begins with the first that is left in a file; the next is the nearest one of
/// another name, if possible one that a test of the group notices, too.
pub(super) fn groups(kept: &[(&Place, &Facts)], span: usize) -> Vec<Joint> {
    let mut files = BTreeMap::<&str, Vec<(&Place, &Facts)>>::new();
    for one in kept {
        files.entry(&one.0.file).or_default().push(*one);
    }
    let mut found = Vec::new();
    for mut free in files.into_values() {
        while free.len() >= span {
            let group = group(&mut free, span);
            if group.len() < span {
                continue;
            }
            let (places, facts): (Vec<_>, Vec<_>) =
                group.into_iter().map(|(place, facts)| (place.clone(), facts.clone())).unzip();
            found.extend(Places::new(places).map(|places| Joint { places, facts }));
        }
    }
    found
}

/// Takes a group out of `free`, which begins with the first of those.
fn group<'a>(free: &mut Vec<(&'a Place, &'a Facts)>, span: usize) -> Vec<(&'a Place, &'a Facts)> {
    let mut group = vec![free.remove(0)];
    while group.len() < span {
        let is_new = |(place, _): &(&Place, &Facts)| {
            group.iter().all(|(other, _)| other.method.name != place.method.name)
        };
        let noticed: BTreeSet<&String> = group.iter().flat_map(|(_, facts)| tests(facts)).collect();
        let shares =
            |(_, facts): &(&Place, &Facts)| tests(facts).any(|test| noticed.contains(test));
        let near = free.iter().position(|one| is_new(one) && shares(one));
        let Some(at) = near.or_else(|| free.iter().position(is_new)) else { break };
        group.push(free.remove(at));
    }
    group.sort_by_key(|(place, _)| place.method.span.start);
    group
}

/// All tests that notice the absence.
fn tests(facts: &Facts) -> impl Iterator<Item = &String> {
    facts.tests.iter().chain(&facts.wider)
}

/// Why nothing can be joined, in a sentence.
pub(super) fn too_few(kept: &[(&Place, &Facts)], span: usize) -> String {
    let mut files = BTreeMap::<&str, BTreeSet<&str>>::new();
    for (place, _) in kept {
        files.entry(&place.file).or_default().insert(&place.method.name);
    }
    let counts = files.iter().map(|(file, names)| (names.len(), std::cmp::Reverse(file)));
    let most = match counts.max() {
        Some((count, std::cmp::Reverse(file))) => format!("the most is {count}, in {file}"),
        None => "there are no items".to_string(),
    };
    format!(
        "--span {span}: no file of the project has {span} items of different names; {most}: \
         build with a smaller --span, or without"
    )
}

impl Joint {
    fn union(&self, of: impl Fn(&Facts) -> &[String]) -> Vec<String> {
        let mut seen = BTreeSet::new();
        let all = self.facts.iter().flat_map(|facts| of(facts).iter());
        all.filter(|test| seen.insert(*test)).cloned().collect()
    }

    /// The item tests of each, and the hidden tests of each that are not among them.
    fn tests(&self) -> (Vec<String>, Vec<String>) {
        let tests = self.union(|facts| &facts.tests);
        let mut wider = self.union(|facts| &facts.wider);
        wider.retain(|test| !tests.contains(test));
        (tests, wider)
    }

    /// A hash of the methods' text and the tests: changed ones are examined again.
    pub(super) fn key(&self) -> String {
        let (tests, wider) = self.tests();
        short_hash(format!("{}\n{}\n{}", self.places.text(), tests.join("\n"), wider.join("\n")))
    }
}

impl Examiner {
    /// Returns the saved result of joined methods, or examines them and saves the result.
    pub(super) async fn examine_joint(
        &self,
        joint: &Joint,
        sandbox: &dyn Sandbox,
    ) -> Result<Examination, BenchmarkError> {
        let (id, key) = (joint.places.id(), joint.key());
        if let Some(known) = self.cached(&id, &key) {
            return Ok(known);
        }
        let config = self.project.server(false);
        let bench = Bench { places: &joint.places, sandbox, config };
        let found = self.look_joint(&bench, joint).await?;
        self.keep(id, key, found)
    }

    /// The original passes, the stub of all fails, and so does the stub of each alone.
    async fn look_joint(&self, bench: &Bench<'_>, joint: &Joint) -> Result<Found, BenchmarkError> {
        let (tests, wider) = joint.tests();
        let limits = Limits::for_tests(self.census.seconds(&tests));
        let is_hot = joint.facts.iter().all(|facts| facts.path == RunPath::Hot);
        let path = if is_hot { RunPath::Hot } else { RunPath::Cold };
        let (truths, stubs) = (joint.places.truths(), joint.places.stubs());
        let first = joint.places.one_stubbed(0);
        let stubbed = bench.run(&stubs, path, &tests, limits).await?;
        let trio = [&*truths, &*stubs, &*first];
        let choice = Choice { bench, trio, tests: &tests, limits, path, stubbed: &stubbed };
        let held = match self.hold(&choice).await? {
            Held::Yes(held) => held,
            Held::No(Found::LeftOut { reason, evidence, .. }) => {
                return Ok(left_out(&format!("joined with others: {reason}"), evidence));
            }
            Held::No(found) => return Ok(found),
            Held::Unreliable(tests) => {
                let evidence = tests.first().map(|test| format!("{}: {}", test.id, test.evidence));
                let reason = "joined with others: a test is not reliable";
                return Ok(left_out(reason, evidence.unwrap_or_default()));
            }
        };
        let Holding { mut path, seconds, mut cold_because } = held;
        for at in 0..joint.facts.len() {
            let sources = joint.places.one_stubbed(at);
            let cold = bench.run(&sources, RunPath::Cold, &tests, limits).await?;
            if cold.outcome == Outcome::Passed {
                let reason = "joined with others: no test notices the absence of one of them";
                return Ok(left_out(reason, joint.places.each()[at].id()));
            }
            if path == RunPath::Hot {
                let hot = bench.run(&sources, RunPath::Hot, &tests, limits).await?;
                if hot.unsure.is_none() && !hot.agrees(&cold) {
                    path = RunPath::Cold;
                    let evidence = first_failure(&hot);
                    cold_because = Some(format!("one stub fares otherwise: {evidence}"));
                }
            }
        }
        Ok(Found::Kept(Facts {
            path,
            tests,
            wider,
            seconds: (seconds * 100.0).round() / 100.0,
            mutants: joint.facts.iter().fold([0, 0], |[killed, made], facts| {
                [killed + facts.mutants[0], made + facts.mutants[1]]
            }),
            cold_because,
            dropped: Vec::new(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::methods;

    const TEXT: &str = "\
def f(): pass


class A:
    def g(self): pass

    def h(self): pass

    @property
    def x(self): pass

    @x.setter
    def x(self, value): pass
";

    /// The groups of these, each with the tests that notice it.
    #[track_caller]
    fn check(span: usize, noticed: &[(&str, &str)], expected: &[&str]) {
        let text: std::sync::Arc<str> = TEXT.into();
        let methods = methods(TEXT).unwrap();
        let place = |path: &str| {
            let method = methods.iter().find(|method| method.path() == path).unwrap().clone();
            Place { file: "a.py".into(), text: text.clone(), method }
        };
        let facts = |tests: &str| Facts {
            path: RunPath::Cold,
            tests: tests.split_whitespace().map(String::from).collect(),
            wider: Vec::new(),
            seconds: 0.0,
            mutants: [1, 1],
            cold_because: None,
            dropped: Vec::new(),
        };
        let all: Vec<(Place, Facts)> =
            noticed.iter().map(|(path, tests)| (place(path), facts(tests))).collect();
        let kept: Vec<(&Place, &Facts)> = all.iter().map(|(place, facts)| (place, facts)).collect();
        let found: Vec<String> =
            groups(&kept, span).iter().map(|joint| joint.places.id()).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn the_nearest_are_joined_if_possible_by_a_common_test() {
        let all = [("f", "1"), ("A.g", "2"), ("A.h", "1 2"), ("A.x", "2"), ("A.x.setter", "3")];
        check(2, &all, &["a.py::f+A.h", "a.py::A.g+A.x"]);
        check(3, &all, &["a.py::f+A.g+A.h"]);
        check(4, &all, &["a.py::f+A.g+A.h+A.x"]);
        // Names differ within a group, so that an answer tells them apart.
        check(2, &all[3..], &[]);
        check(2, &[all[3], all[4], all[0]], &["a.py::f+A.x"]);
        check(5, &all, &[]);
        check(2, &all[..1], &[]);
    }

    #[test]
    fn why_nothing_can_be_joined_names_the_most() {
        assert_eq!(
            too_few(&[], 2),
            "--span 2: no file of the project has 2 items of different names; there are no \
             items: build with a smaller --span, or without"
        );
    }
}
