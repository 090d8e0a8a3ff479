//! Compares the hot path with the cold path, the reference, on the items of a benchmark.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

use fixfly_runtime::{BenchmarkError, Host, Parallel, Sandbox, Split};

use crate::manifest::{Item, RunPath};
use crate::methods::Methods;
use crate::project::Place;
use crate::server::{Answer, Limits, Server};
use crate::source;

/// Number of mutants of each item: as many as a build makes.
const MUTANTS: usize = 5;

/// Runs candidates on both paths.
pub struct BothPaths {
    /// The benchmark of the items.
    pub methods: Arc<Methods>,
    /// Opens the sandboxes.
    pub host: Arc<dyn Host>,
}

/// One candidate on both paths.
#[derive(Clone, Debug, PartialEq)]
pub struct Pair {
    /// The item.
    pub id: String,
    /// `original`, `stub` or `mutant`.
    pub candidate: &'static str,
    /// Whether the outcome and that of each test are equal.
    pub equal: bool,
    /// Whether the reports are equal byte for byte, failures included.
    pub same_report: bool,
    /// Why the test server took the cold path for it, if it did.
    pub unsure: Option<String>,
    /// CPU seconds of the candidate's process on the hot path.
    pub hot: f64,
    /// CPU seconds on the cold path.
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

    /// Compares those of `items` that take the hot path, `jobs` at a time. `compared` is
    /// called after each of them.
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
        let hot = items.into_iter().filter(|item| item.path == RunPath::Hot);
        let hot: Vec<Item> = hot.collect();
        found.hot = hot.len();
        let both = Arc::new(self);
        let work = hot.into_iter().map(|item| {
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

    /// The original, the stub and the mutants of one item, in one sandbox.
    async fn pairs(&self, item: &Item) -> Result<Vec<Pair>, BenchmarkError> {
        let project = self.methods.project();
        let place = project.place(item)?;
        let sandbox = self.host.open(project.spec()).await?;
        let pairs = self.pairs_in(item, &place, &*sandbox).await;
        sandbox.close().await?;
        pairs
    }

    async fn pairs_in(
        &self,
        item: &Item,
        place: &Place,
        sandbox: &dyn Sandbox,
    ) -> Result<Vec<Pair>, BenchmarkError> {
        let mut candidates =
            vec![("original", place.truth()), ("stub", source::stub(&place.text, &place.method))];
        let mutants = source::mutants(&place.text, &place.method, 0, MUTANTS);
        candidates.extend(mutants.into_iter().map(|mutant| ("mutant", mutant.source)));
        let config = self.methods.project().server(false);
        let server = Server { sandbox, config: &config };
        let limits = Limits::for_tests(item.seconds);
        let mut pairs = Vec::new();
        for (candidate, code) in candidates {
            let request = |path| place.request(&code, path, item.tests.ids(), limits);
            let hot = server.run(&request(RunPath::Hot)).await?;
            let cold = server.run(&request(RunPath::Cold)).await?;
            pairs.push(pair(&item.id, candidate, hot, &cold));
        }
        Ok(pairs)
    }
}

fn pair(id: &str, candidate: &'static str, hot: Answer, cold: &Answer) -> Pair {
    Pair {
        id: id.to_string(),
        candidate,
        equal: hot.outcome == cold.outcome && hot.outcomes() == cold.outcomes(),
        same_report: hot.results == cold.results,
        unsure: hot.unsure,
        hot: hot.cpu,
        cold: cold.cpu,
    }
}

impl Comparison {
    /// The table, and a line for each candidate that differs.
    pub fn text(&self) -> String {
        let total = self.pairs.len();
        let count = |is: fn(&Pair) -> bool| self.pairs.iter().filter(|pair| is(pair)).count();
        let share = 100.0 * self.hot as f64 / self.items.max(1) as f64;
        let swapped = || self.pairs.iter().filter(|pair| pair.unsure.is_none());
        // The sum of nothing is -0.0.
        let sum = |seconds: fn(&Pair) -> f64| swapped().map(seconds).sum::<f64>() + 0.0;
        let (hot, cold) = (sum(|pair| pair.hot), sum(|pair| pair.cold));
        let mut ratios: Vec<f64> = swapped().map(|pair| pair.cold / pair.hot.max(1e-4)).collect();
        ratios.sort_by(f64::total_cmp);
        let median = ratios.get(ratios.len() / 2).copied().unwrap_or_default();
        let mut text = format!(
            "  items            {}\n  on the hot path  {} ({share:.0} %)\n  \
               equal verdicts   {} / {total}\n  equal reports    {} / {total}\n  \
               CPU seconds      hot {hot:.2}, cold {cold:.2}, median ratio {median:.1}x\n",
            self.items,
            self.hot,
            count(|pair| pair.equal),
            count(|pair| pair.same_report),
        );
        let mut reasons: BTreeMap<&str, usize> = BTreeMap::new();
        for why in self.pairs.iter().filter_map(|pair| pair.unsure.as_deref()) {
            *reasons.entry(why).or_default() += 1;
        }
        for (why, count) in reasons {
            let _ = writeln!(text, "  took the cold path: {count:4}  {why}");
        }
        for pair in self.pairs.iter().filter(|pair| !pair.equal) {
            let _ = writeln!(text, "  differs: {}, the {}", pair.id, pair.candidate);
        }
        for (id, why) in &self.broken {
            let _ = writeln!(text, "  not compared: {id}: {why}");
        }
        text
    }

    /// Items with a candidate whose verdicts differ, and those that could not be compared.
    pub fn failed(&self) -> BTreeSet<&str> {
        let differing = self.pairs.iter().filter(|pair| !pair.equal);
        let broken = self.broken.keys().map(String::as_str);
        differing.map(|pair| pair.id.as_str()).chain(broken).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(id: &str, candidate: &'static str, equal: bool, unsure: Option<&str>) -> Pair {
        let (id, unsure) = (id.to_string(), unsure.map(str::to_string));
        Pair { id, candidate, equal, same_report: equal, unsure, hot: 0.02, cold: 0.4 }
    }

    #[test]
    fn the_table_names_what_differs_and_what_went_cold() {
        let why = Some("another signature or kind");
        let found = Comparison {
            items: 4,
            hot: 3,
            pairs: vec![
                pair("a.py::f", "original", true, None),
                pair("a.py::f", "stub", true, why),
                pair("a.py::g", "stub", false, None),
            ],
            broken: BTreeMap::from([("a.py::h".to_string(), "the sandbox ended".to_string())]),
        };
        let expected = "  items            4
  on the hot path  3 (75 %)
  equal verdicts   2 / 3
  equal reports    2 / 3
  CPU seconds      hot 0.04, cold 0.80, median ratio 20.0x
  took the cold path:    1  another signature or kind
  differs: a.py::g, the stub
  not compared: a.py::h: the sandbox ended
";
        assert_eq!(found.text(), expected);
        assert_eq!(found.failed(), BTreeSet::from(["a.py::g", "a.py::h"]));
    }

    #[test]
    fn nothing_compared_is_no_failure() {
        let found = Comparison { items: 2, ..Comparison::default() };
        assert!(found.failed().is_empty());
        let text = found.text();
        assert!(text.contains("equal verdicts   0 / 0") && !text.contains('-'), "{text}");
    }
}
