//! Runs a method's tests to find out what they detect, and how to run them.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::path::PathBuf;
use std::slice;
use std::sync::Arc;

use fixfly_runtime::{BenchmarkError, Sandbox, TestOutcome, TestResult, write_whole};
use serde::{Deserialize, Serialize};

use super::census::{Census, UNRELIABLE, UNSTEADY};
use super::cover::cover;
use super::hold::{Choice, Held};
use super::repeat::Unreliable;
use super::unwritable;
use crate::manifest::{Item, RunPath, short_hash};
use crate::places::{Place, Places};
use crate::project::Project;
use crate::server::{Answer, Config, Limits, Request, Server};
use crate::source::{self, Mutant};

/// Number of mutants of each method.
const MUTANTS: usize = 5;
/// Number of killing tests that run on the mutants.
const JUDGES: usize = 10;

/// The result for one method.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Examination {
    pub(crate) id: String,
    /// A hash of the method's text and the tests: a changed method is examined again.
    pub(crate) key: String,
    pub(crate) found: Found,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Found {
    Kept(Facts),
    LeftOut {
        reason: String,
        #[serde(default, skip_serializing_if = "String::is_empty")]
        evidence: String,
        /// The tests that were found to be unreliable.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        dropped: Vec<Unreliable>,
    },
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Facts {
    pub(crate) path: RunPath,
    pub(crate) tests: Vec<String>,
    pub(crate) wider: Vec<String>,
    pub(crate) seconds: f64,
    pub(crate) mutants: [usize; 2],
    /// Why the item takes the cold path, if it does.
    pub(crate) cold_because: Option<String>,
    /// The tests that were found to be unreliable.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) dropped: Vec<Unreliable>,
}

impl Found {
    pub(crate) fn summary(&self) -> String {
        match self {
            Found::Kept(facts) => format!("kept, {} tests, {:?}", facts.tests.len(), facts.path),
            Found::LeftOut { reason, .. } => format!("left out: {reason}"),
        }
    }
}

/// A method is no item.
pub(super) fn left_out(reason: &str, evidence: String) -> Found {
    Found::LeftOut { reason: reason.to_string(), evidence, dropped: Vec::new() }
}

pub(crate) struct Examiner {
    pub(crate) project: Arc<Project>,
    pub(crate) census: Arc<Census>,
    pub(crate) cache: PathBuf,
    /// Items of an earlier manifest, by id.
    pub(crate) known: HashMap<String, Item>,
}

/// One method, or several joined ones, under examination.
pub(super) struct Bench<'a> {
    pub(super) places: &'a Places,
    pub(super) sandbox: &'a dyn Sandbox,
    pub(super) config: Config,
}

impl Bench<'_> {
    pub(super) async fn run(
        &self,
        sources: &[String],
        path: RunPath,
        tests: &[String],
        limits: Limits,
    ) -> Result<Answer, BenchmarkError> {
        let server = Server { sandbox: self.sandbox, config: &self.config };
        server.run(&self.places.request(sources, path, tests.to_vec(), limits)).await
    }

    /// Runs the original in a fresh process, its tests in the reverse order.
    pub(super) async fn reversed(
        &self,
        original: &[String],
        tests: &[String],
        limits: Limits,
    ) -> Result<Answer, BenchmarkError> {
        let server = Server { sandbox: self.sandbox, config: &self.config };
        let request = self.places.request(original, RunPath::Cold, tests.to_vec(), limits);
        server.run(&Request { reversed: true, ..request }).await
    }
}

fn passed(answer: &Answer) -> BTreeSet<&str> {
    answer.passed().collect()
}

impl Examiner {
    /// Returns the saved result of a method, or examines it and saves the result.
    pub(crate) async fn examine(
        &self,
        place: &Place,
        sandbox: &dyn Sandbox,
    ) -> Result<Examination, BenchmarkError> {
        let tests = self.census.tests_of(place);
        if let Some(known) = self.known(place, &tests) {
            return Ok(known);
        }
        let places = Places::from(place.clone());
        let bench = Bench { places: &places, sandbox, config: self.project.server(false) };
        let found = self.look(&bench, place, tests.clone()).await?;
        self.keep(place.id(), key(place, &tests), found)
    }

    /// The results of those `places` that have been examined before.
    pub(crate) fn recall(
        &self,
        places: Vec<Place>,
    ) -> std::collections::BTreeMap<String, Examination> {
        places
            .iter()
            .filter_map(|place| self.known(place, &self.census.tests_of(place)))
            .map(|known| (known.id.clone(), known))
            .collect()
    }

    /// The key of a method's result.
    pub(super) fn key(&self, place: &Place) -> String {
        key(place, &self.census.tests_of(place))
    }

    fn file(&self, id: &str) -> PathBuf {
        self.cache.join(format!("{}.json", short_hash(id)))
    }

    fn known(&self, place: &Place, tests: &[String]) -> Option<Examination> {
        self.recorded(place, tests).or_else(|| self.cached(&place.id(), &key(place, tests)))
    }

    /// The result of an earlier manifest for the very same method.
    fn recorded(&self, place: &Place, tests: &[String]) -> Option<Examination> {
        let item = self.known.get(&place.id())?;
        let text = &place.text.as_bytes()[place.method.span.clone()];
        let facts = Facts {
            path: item.path,
            tests: item.tests.ids(),
            wider: item.wider.ids(),
            seconds: item.seconds,
            mutants: item.mutants,
            cold_because: None,
            dropped: Vec::new(),
        };
        let found = Found::Kept(facts);
        let same = item.hash == short_hash(text);
        same.then(|| Examination { id: place.id(), key: key(place, tests), found })
    }

    pub(super) fn cached(&self, id: &str, key: &str) -> Option<Examination> {
        let text = fs::read_to_string(self.file(id)).ok()?;
        let known: Examination = serde_json::from_str(&text).ok()?;
        (known.id == id && known.key == key).then_some(known)
    }

    /// Saves what was found.
    pub(super) fn keep(
        &self,
        id: String,
        key: String,
        found: Found,
    ) -> Result<Examination, BenchmarkError> {
        let path = self.file(&id);
        let examination = Examination { id, key, found };
        let text = serde_json::to_string(&examination).map_err(std::io::Error::from);
        text.and_then(|text| write_whole(&path, text)).map_err(|e| unwritable(&path, &e))?;
        Ok(examination)
    }

    async fn look(
        &self,
        bench: &Bench<'_>,
        place: &Place,
        tests: Vec<String>,
    ) -> Result<Found, BenchmarkError> {
        let limits = Limits::for_tests(self.census.seconds(&tests));
        let (truth, stub) = ([place.truth()], [place.stub()]);
        let mut path = match self.census.clean(place, &tests) {
            true => RunPath::Hot,
            false => RunPath::Cold,
        };
        let original = bench.run(&truth, path, &tests, limits).await?;
        let cold_because = original.unsure.clone();
        path = original.path;
        let good = passed(&original);
        let good: Vec<String> = tests.into_iter().filter(|t| good.contains(t.as_str())).collect();
        if good.is_empty() && original.results.iter().all(is_unknown) {
            return Ok(left_out(UNSTEADY, first_failure(&original)));
        }
        if good.is_empty() {
            return Ok(left_out("its tests do not pass on their own", first_failure(&original)));
        }
        let stubbed = bench.run(&stub, path, &good, limits).await?;
        let alive = passed(&stubbed);
        let killing: Vec<String> =
            good.into_iter().filter(|test| !alive.contains(test.as_str())).collect();
        if killing.is_empty() {
            return Ok(left_out("no test notices its absence", String::new()));
        }
        let judges = &killing[..killing.len().min(JUDGES)];
        let (mutants, kills) = self.kill(bench, place, (path, judges), limits).await?;
        if kills.iter().all(BTreeSet::is_empty) {
            let reason = "its tests notice its absence but no change of a value";
            return Ok(left_out(reason, String::new()));
        }
        let mut dropped: Vec<Unreliable> = Vec::new();
        loop {
            let unreliable = |id: &String| dropped.iter().any(|test| test.id == *id);
            let honest = |kill: &BTreeSet<usize>| -> BTreeSet<usize> {
                kill.iter().copied().filter(|at| !unreliable(&judges[*at])).collect()
            };
            let mut targets: Vec<BTreeSet<usize>> = kills.iter().map(honest).collect();
            let Some(sample) = targets.iter().position(|kill| !kill.is_empty()) else {
                let evidence = dropped.first().map(|test| test.evidence.clone());
                let (reason, evidence) = (UNRELIABLE.to_string(), evidence.unwrap_or_default());
                return Ok(Found::LeftOut { reason, evidence, dropped });
            };
            targets.retain(|kill| !kill.is_empty());
            let killed = targets.len();
            targets.push(honest(&(0..judges.len()).collect()));
            let chosen = cover(judges, &targets, |test| self.census.group(test));
            let tests: Vec<String> = chosen.iter().map(|at| judges[*at].clone()).collect();
            let wider = killing.iter().filter(|test| !tests.contains(test) && !unreliable(test));
            let wider = wider.cloned().collect();
            let mutant = [mutants[sample].source.clone()];
            let trio = [&truth[..], &stub[..], &mutant[..]];
            let choice = Choice { bench, trio, tests: &tests, limits, path, stubbed: &stubbed };
            let held = match self.hold(&choice).await? {
                Held::Yes(held) => held,
                Held::No(found) => return Ok(found),
                Held::Unreliable(found) => {
                    dropped.extend(found);
                    continue;
                }
            };
            return Ok(Found::Kept(Facts {
                path: held.path,
                tests,
                wider,
                seconds: (held.seconds * 100.0).round() / 100.0,
                mutants: [killed, mutants.len()],
                cold_because: held.cold_because.or(cold_because),
                dropped,
            }));
        }
    }

    /// Which of the `judges` fail on each mutant.
    async fn kill(
        &self,
        bench: &Bench<'_>,
        place: &Place,
        (path, judges): (RunPath, &[String]),
        limits: Limits,
    ) -> Result<(Vec<Mutant>, Vec<BTreeSet<usize>>), BenchmarkError> {
        let Place { text, method, .. } = place;
        let mutants = source::mutants(text, method, 0, MUTANTS);
        let mut kills = Vec::new();
        for mutant in &mutants {
            let answer = bench.run(slice::from_ref(&mutant.source), path, judges, limits).await?;
            let alive = passed(&answer);
            let dead = judges.iter().enumerate().filter(|(_, test)| !alive.contains(test.as_str()));
            kills.push(dead.map(|(at, _)| at).collect());
        }
        Ok((mutants, kills))
    }

    /// How the hot path differs from the reference, if it does.
    pub(super) async fn disagreement(
        &self,
        bench: &Bench<'_>,
        trio: &[&[String]; 3],
        tests: &[String],
        limits: Limits,
        cold: &[Answer],
    ) -> Result<Option<String>, BenchmarkError> {
        let names = ["original", "stub", "mutant"];
        for ((candidate, cold), name) in trio.iter().zip(cold).zip(names) {
            let hot = bench.run(candidate, RunPath::Hot, tests, limits).await?;
            match hot.unsure {
                Some(why) if name == "original" => return Ok(Some(why)),
                // Only this candidate takes the cold path.
                Some(_) => continue,
                None => {}
            }
            if !hot.agrees(cold) {
                return Ok(Some(format!("the {name} fares otherwise on the hot path")));
            }
        }
        Ok(None)
    }
}

/// Whether a complete run did not report the test: there is none of its id.
fn is_unknown(result: &TestResult) -> bool {
    result.outcome == TestOutcome::Misreported && result.failure.is_none()
}

/// The first test that did not pass, with its traceback.
pub(crate) fn first_failure(answer: &Answer) -> String {
    answer.bad().next().map_or_else(String::new, |result| {
        let text = result.failure.as_ref().map_or("", |failure| failure.traceback.as_str());
        crate::observe::clip(&format!("{:?} {}: {text}", result.outcome, result.id), 2_000)
    })
}

fn key(place: &Place, tests: &[String]) -> String {
    let text = &place.text[place.method.span.clone()];
    short_hash(format!("{text}\n{}", tests.join("\n")).as_bytes())
}
