//! Compares the hot path, and the cold path with a shared prefix, with the cold path alone,
//! the reference, on the items of a benchmark.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

use fixfly_runtime::{BenchmarkError, Host, Parallel, Sandbox, Split, TestOutcome};

use crate::manifest::{Item, RunPath};
use crate::methods::Methods;
use crate::observe::word;
use crate::places::Places;
use crate::server::{Answer, Limits, Request, Server};
use crate::source;

/// Number of mutants of each item: as many as a build makes.
const MUTANTS: usize = 5;

/// How often the cold path runs a candidate again whose verdicts differ.
const AGAIN: usize = 4;

/// Why a candidate that should be reviewed shares nothing.
const REVIEW: &str = "it should be reviewed";

/// Runs candidates on both paths.
pub struct BothPaths {
    /// The benchmark of the items.
    pub methods: Arc<Methods>,
    /// Opens the sandboxes.
    pub host: Arc<dyn Host>,
}

/// What is compared with the reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// The hot path.
    Hot,
    /// The cold path with a prefix that candidates share.
    Shared,
}

/// How the verdicts of two ways compare: the outcome and that of each test. Where they differ,
/// the first outcome that does, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdicts {
    /// They are equal.
    Equal,
    /// They differ, and the cold path has the same verdict each time.
    Differ(String),
    /// They differ, but so do those of the cold path from run to run.
    Flaky(String),
}

/// One candidate on both paths.
#[derive(Clone, Debug, PartialEq)]
pub struct Pair {
    /// The item.
    pub id: String,
    /// `original`, `stub`, `sabotaged` or `mutant`; of several methods, `one stub`, too.
    pub candidate: &'static str,
    /// What is compared.
    pub way: Way,
    /// How its verdicts compare.
    pub verdicts: Verdicts,
    /// Whether the reports are equal byte for byte, failures included.
    pub same_report: bool,
    /// Why the test server took the cold path alone for it, if it did.
    pub unsure: Option<String>,
    /// CPU seconds of the candidate's process that way.
    pub cpu: f64,
    /// CPU seconds on the cold path alone.
    pub cold: f64,
}

/// What a comparison found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Comparison {
    /// Number of items.
    pub items: usize,
    /// Number of items that take the hot path.
    pub hot: usize,
    /// Their candidates.
    pub pairs: Vec<Pair>,
    /// Items that could not be compared, and why.
    pub broken: BTreeMap<String, String>,
}

impl BothPaths {
    /// The items of a split, `limit` at most.
    pub fn items(&self, split: Split, limit: Option<u32>) -> Vec<Item> {
        let items = self.methods.manifest().items.iter().filter(|item| item.split == split);
        let most = limit.map_or(usize::MAX, |limit| limit as usize);
        items.take(most).cloned().collect()
    }

    /// Those of `items` that have another way than the cold path alone.
    pub fn comparable(&self, items: &[Item]) -> Vec<Item> {
        let shares = self.methods.project().shares();
        items.iter().filter(|item| shares || item.path == RunPath::Hot).cloned().collect()
    }

    /// Compares those of `items` that have another way than the cold path alone, `jobs` at a
    /// time. `compared` is called after each of them.
    ///
    /// # Errors
    /// [`BenchmarkError::Bug`] if a comparison panicked.
    pub async fn compare(
        self,
        items: Vec<Item>,
        jobs: usize,
        mut compared: impl FnMut(),
    ) -> Result<Comparison, BenchmarkError> {
        let mut found = Comparison { items: items.len(), ..Comparison::default() };
        found.hot = items.iter().filter(|item| item.path == RunPath::Hot).count();
        let items = self.comparable(&items);
        let both = Arc::new(self);
        let work = items.into_iter().map(|item| {
            let both = both.clone();
            async move { (both.pairs(&item).await, item.id) }
        });
        let mut work = Parallel::new(jobs, work);
        while let Some(done) = work.next().await {
            let (pairs, id) = done.map_err(BenchmarkError::bug("an item"))?;
            compared();
            match pairs {
                Ok(pairs) => found.pairs.extend(pairs),
                Err(why) => drop(found.broken.insert(id, why.to_string())),
            }
        }
        found.pairs.sort_by(|one, other| one.id.cmp(&other.id));
        Ok(found)
    }

    /// The original, the stubs, the sabotaged original and the mutants of one item, in one
    /// sandbox.
    async fn pairs(&self, item: &Item) -> Result<Vec<Pair>, BenchmarkError> {
        let project = self.methods.project();
        let places = project.places(item)?;
        let sandbox = self.host.open(project.spec()).await?;
        let pairs = self.pairs_in(item, &places, &*sandbox).await;
        sandbox.close().await?;
        pairs
    }

    async fn pairs_in(
        &self,
        item: &Item,
        places: &Places,
        sandbox: &dyn Sandbox,
    ) -> Result<Vec<Pair>, BenchmarkError> {
        let candidates = candidates(places);
        let project = self.methods.project();
        let config = project.server(false);
        let server = Server { sandbox, config: &config };
        let limits = Limits::for_tests(item.seconds);
        let mut pairs = Vec::new();
        for (candidate, sources) in candidates {
            let request = |path| places.request(&sources, path, item.tests.ids(), limits);
            let cold = server.run(&request(RunPath::Cold)).await?;
            let mut others = Vec::new();
            if item.path == RunPath::Hot {
                others.push((Way::Hot, server.run(&request(RunPath::Hot)).await?));
            }
            if project.shares() {
                let shared = server.run(&request(RunPath::Cold).sharing(&sources[0])).await?;
                others.push((Way::Shared, shared));
            }
            let differs = others.iter().any(|(_, other)| !other.agrees(&cold));
            let flaky = differs && self.is_flaky(&server, &request(RunPath::Cold), &cold).await?;
            let others = others.into_iter();
            pairs.extend(
                others.map(|(way, other)| pair(&item.id, candidate, way, other, &cold, flaky)),
            );
        }
        Ok(pairs)
    }

    /// Whether the cold path has another verdict when it runs a candidate again: its code
    /// or its tests draw by chance, for example.
    async fn is_flaky(
        &self,
        server: &Server<'_>,
        request: &Request,
        cold: &Answer,
    ) -> Result<bool, BenchmarkError> {
        for _ in 0..AGAIN {
            if !server.run(request).await?.agrees(cold) {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// What is compared of an item: each with the sources of its methods.
fn candidates(places: &Places) -> Vec<(&'static str, Vec<String>)> {
    let truths = places.truths();
    let mut candidates = vec![("original", truths.clone()), ("stub", places.stubs())];
    let count = places.each().len();
    if count > 1 {
        candidates.extend((0..count).map(|at| ("one stub", places.one_stubbed(at))));
    }
    let sabotaged = truths.iter().map(|truth| source::sabotaged(truth));
    candidates.extend(sabotaged.collect::<Result<_, _>>().map(|all| ("sabotaged", all)));
    for (at, place) in places.each().iter().enumerate() {
        for mutant in source::mutants(&place.text, &place.method, 0, MUTANTS) {
            let mut sources = truths.clone();
            sources[at] = mutant.source;
            candidates.push(("mutant", sources));
        }
    }
    candidates
}

fn pair(
    id: &str,
    candidate: &'static str,
    way: Way,
    other: Answer,
    cold: &Answer,
    flaky: bool,
) -> Pair {
    let alone = way == Way::Shared && !other.shared;
    Pair {
        id: id.to_string(),
        candidate,
        way,
        verdicts: match difference(way, &other, cold) {
            None => Verdicts::Equal,
            Some(difference) if flaky => Verdicts::Flaky(difference),
            Some(difference) => Verdicts::Differ(difference),
        },
        same_report: other.results == cold.results,
        unsure: other.unsure.or_else(|| alone.then(|| REVIEW.to_string())),
        cpu: other.cpu,
        cold: cold.cpu,
    }
}

/// The first test that has another outcome, or the outcome of the candidate.
fn difference(way: Way, other: &Answer, cold: &Answer) -> Option<String> {
    if other.agrees(cold) {
        return None;
    }
    let way = way.name();
    let outcomes: BTreeMap<_, _> = other.outcomes().into_iter().collect();
    let of_tests = cold.outcomes().into_iter().find_map(|(test, cold)| {
        let other = outcomes.get(test).copied().unwrap_or(TestOutcome::NotRun);
        (other != cold).then(|| format!("{test}: cold {}, {way} {}", word(cold), word(other)))
    });
    let whole = || format!("cold {}, {way} {}", cold.outcome.name(), other.outcome.name());
    Some(of_tests.unwrap_or_else(whole))
}

impl Pair {
    fn differs(&self) -> bool {
        matches!(self.verdicts, Verdicts::Differ(_))
    }

    /// What is unlike about it, as a line, and its place among such lines; `None` if nothing is.
    fn line(&self) -> Option<(u8, String)> {
        let (rank, what, difference) = match &self.verdicts {
            Verdicts::Differ(difference) => (0, "differs", format!(": {difference}")),
            Verdicts::Flaky(difference) => {
                (1, "flaky on the cold path, too", format!(": {difference}"))
            }
            Verdicts::Equal if !self.same_report => (2, "reads differently", String::new()),
            Verdicts::Equal => return None,
        };
        let (id, candidate) = (&self.id, self.candidate);
        Some((rank, format!("  {what}: {id}, the {candidate}{difference}\n")))
    }
}

impl Comparison {
    /// The tables, and a line for each candidate that differs.
    pub fn text(&self) -> String {
        let share = 100.0 * self.hot as f64 / self.items.max(1) as f64;
        let mut text = format!(
            "  items            {}\n  on the hot path  {} ({share:.0} %)\n",
            self.items, self.hot
        );
        self.table(Way::Hot, &mut text);
        if self.pairs.iter().any(|pair| pair.way == Way::Shared) {
            text.push_str("  the cold path with a shared prefix, against the cold path alone\n");
            self.table(Way::Shared, &mut text);
        }
        for (id, why) in &self.broken {
            let _ = writeln!(text, "  not compared: {id}: {why}");
        }
        text
    }

    fn table(&self, way: Way, text: &mut String) {
        let pairs: Vec<&Pair> = self.pairs.iter().filter(|pair| pair.way == way).collect();
        let (name, total) = (way.name(), pairs.len());
        let count = |is: fn(&Pair) -> bool| pairs.iter().filter(|pair| is(pair)).count();
        let taken: Vec<&&Pair> = pairs.iter().filter(|pair| pair.unsure.is_none()).collect();
        // The sum of nothing is -0.0.
        let sum =
            |seconds: fn(&Pair) -> f64| taken.iter().map(|pair| seconds(pair)).sum::<f64>() + 0.0;
        let (cpu, cold) = (sum(|pair| pair.cpu), sum(|pair| pair.cold));
        let mut ratios: Vec<f64> =
            taken.iter().map(|pair| pair.cold / pair.cpu.max(1e-4)).collect();
        ratios.sort_by(f64::total_cmp);
        let median = ratios.get(ratios.len() / 2).copied().unwrap_or_default();
        let _ = writeln!(
            text,
            "  equal verdicts   {} / {total}\n  equal reports    {} / {total}\n  \
             CPU seconds      {name} {cpu:.2}, cold {cold:.2}, median ratio {median:.1}x",
            count(|pair| pair.verdicts == Verdicts::Equal),
            count(|pair| pair.same_report),
        );
        let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
        for why in pairs.iter().filter_map(|pair| pair.unsure.as_deref()) {
            *reasons.entry(why).or_default() += 1;
        }
        for (why, count) in reasons {
            let _ = writeln!(text, "  took the cold path: {count:4}  {why}");
        }
        let mut lines: Vec<_> = pairs.iter().filter_map(|pair| pair.line()).collect();
        lines.sort_by_key(|(rank, _)| *rank);
        lines.into_iter().for_each(|(_, line)| text.push_str(&line));
    }

    /// Items with a candidate whose verdict on the hot path differs.
    pub fn differ_hot(&self) -> BTreeSet<&str> {
        let hot = |pair: &&Pair| pair.way == Way::Hot && pair.differs();
        self.pairs.iter().filter(hot).map(|pair| pair.id.as_str()).collect()
    }

    /// Items with a candidate whose verdicts differ, and those that could not be compared.
    pub fn failed(&self) -> BTreeSet<&str> {
        let differing = self.pairs.iter().filter(|pair| pair.differs());
        let broken = self.broken.keys().map(String::as_str);
        differing.map(|pair| pair.id.as_str()).chain(broken).collect()
    }
}

impl Way {
    fn name(self) -> &'static str {
        match self {
            Way::Hot => "hot",
            Way::Shared => "shared",
        }
    }
}

#[cfg(test)]
mod tests {
    use Verdicts::{Differ, Equal, Flaky};

    use super::*;

    fn pair(
        id: &str,
        candidate: &'static str,
        way: Way,
        verdicts: Verdicts,
        unsure: Option<&str>,
    ) -> Pair {
        let (id, unsure) = (id.to_string(), unsure.map(str::to_string));
        let same_report = verdicts == Verdicts::Equal;
        Pair { id, candidate, way, verdicts, same_report, unsure, cpu: 0.02, cold: 0.4 }
    }

    fn how() -> String {
        "t: cold failed, hot passed".to_string()
    }

    #[test]
    fn the_tables_name_what_differs_and_what_went_cold() {
        let why = Some("another signature or kind");
        let mut found = Comparison {
            items: 4,
            hot: 3,
            pairs: vec![
                pair("a.py::f", "original", Way::Hot, Equal, None),
                pair("a.py::f", "stub", Way::Hot, Equal, why),
                pair("a.py::g", "stub", Way::Hot, Differ(how()), None),
                pair("a.py::k", "mutant", Way::Hot, Flaky(how()), None),
            ],
            broken: BTreeMap::from([("a.py::h".to_string(), "the sandbox ended".to_string())]),
        };
        let hot = "  items            4
  on the hot path  3 (75 %)
  equal verdicts   2 / 4
  equal reports    2 / 4
  CPU seconds      hot 0.06, cold 1.20, median ratio 20.0x
  took the cold path:    1  another signature or kind
  differs: a.py::g, the stub: t: cold failed, hot passed
  flaky on the cold path, too: a.py::k, the mutant: t: cold failed, hot passed
";
        let broken = "  not compared: a.py::h: the sandbox ended\n";
        assert_eq!(found.text(), format!("{hot}{broken}"));
        assert_eq!(found.failed(), BTreeSet::from(["a.py::g", "a.py::h"]));
        assert_eq!(found.differ_hot(), BTreeSet::from(["a.py::g"]));

        let unlike = pair("a.py::i", "mutant", Way::Shared, Equal, None);
        found.pairs.push(Pair { same_report: false, ..unlike });
        found.pairs.push(pair("a.py::j", "stub", Way::Shared, Differ(how()), None));
        let shared = "  the cold path with a shared prefix, against the cold path alone
  equal verdicts   1 / 2
  equal reports    0 / 2
  CPU seconds      shared 0.04, cold 0.80, median ratio 20.0x
  differs: a.py::j, the stub: t: cold failed, hot passed
  reads differently: a.py::i, the mutant
";
        assert_eq!(found.text(), format!("{hot}{shared}{broken}"));
        assert_eq!(found.failed(), BTreeSet::from(["a.py::g", "a.py::h", "a.py::j"]));
    }

    #[test]
    fn nothing_compared_is_no_failure() {
        let found = Comparison { items: 2, ..Comparison::default() };
        assert!(found.failed().is_empty());
        let text = found.text();
        assert!(text.contains("equal verdicts   0 / 0") && !text.contains('-'), "{text}");
    }
}
