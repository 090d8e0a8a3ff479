//! Finds out which items a sandbox supports by running them in it and in a sandbox that
//! supports all.

use std::path::Path;
use std::sync::Arc;

use fixfly_runtime::{
    Answer, Benchmark, BenchmarkError, Host, Observation, Outcome, Parallel, Split, Task,
    TestOutcome, first,
};

use crate::manifest::Item;
use crate::methods::{Methods, evaluate};
use crate::support::{ItemSupport, Support};

/// Runs items in both sandboxes.
pub struct Prober {
    /// The benchmark of the items.
    pub methods: Arc<Methods>,
    /// Opens the sandboxes to probe.
    pub probed: Arc<dyn Host>,
    /// Opens sandboxes that support every item.
    pub local: Arc<dyn Host>,
}

impl Prober {
    /// The tasks of a split, `limit` at most, and the item of each.
    ///
    /// # Errors
    /// [`BenchmarkError`] if the tasks cannot be read.
    pub async fn items(
        &self,
        split: Split,
        limit: Option<u32>,
    ) -> Result<Vec<(Task, Item)>, BenchmarkError> {
        let tasks = first(self.methods.tasks(split).await?, limit);
        let items = &self.methods.manifest().items;
        let with_item = |task: Task| {
            let item = items.iter().find(|item| item.id == task.id)?.clone();
            Some((task, item))
        };
        Ok(tasks.into_iter().filter_map(with_item).collect())
    }

    /// Probes items, `jobs` at a time, and saves all results to `file` after each.
    /// `probed` is called after each item; it gets the reason if the item could not be
    /// probed. Returns the number of those items.
    ///
    /// # Errors
    /// [`BenchmarkError`] if results cannot be saved, or if a probe panicked.
    pub async fn probe(
        self,
        items: Vec<(Task, Item)>,
        jobs: usize,
        (known, file): (&mut Support, &Path),
        mut probed: impl FnMut(Option<&str>),
    ) -> Result<usize, BenchmarkError> {
        let prober = Arc::new(self);
        let probes = items.into_iter().map(|(task, item)| {
            let prober = prober.clone();
            async move {
                prober.probe_item(&task, &item).await.map_err(|why| format!("{}: {why}", item.id))
            }
        });
        let mut probes = Parallel::new(jobs, probes);
        let mut broken = 0;
        while let Some(found) = probes.next().await {
            match found.map_err(BenchmarkError::bug("an item"))? {
                Ok(found) => {
                    probed(None);
                    known.insert(found);
                    known.write(file)?;
                }
                Err(why) => {
                    probed(Some(&why));
                    broken += 1;
                }
            }
        }
        Ok(broken)
    }

    async fn probe_item(&self, task: &Task, item: &Item) -> Result<ItemSupport, BenchmarkError> {
        let found = |why| ItemSupport { id: item.id.clone(), hash: item.hash.clone(), why };
        for answer in [Answer::Truth, Answer::Stub] {
            let code = self.methods.ground_truth().answer(task, answer)?;
            let probed = evaluate(&*self.probed, &*self.methods, task, &code).await?;
            if answer == Answer::Truth && probed.outcome != Outcome::Passed {
                return Ok(found(Some(format!("the original fails: {}", first_failure(&probed)))));
            }
            let local = evaluate(&*self.local, &*self.methods, task, &code).await?;
            if outcomes(&probed) != outcomes(&local) {
                return Ok(found(Some(match answer {
                    Answer::Truth => "the original's tests end otherwise than in local".into(),
                    Answer::Stub => "the stub's tests end otherwise than in local".into(),
                })));
            }
        }
        Ok(found(None))
    }
}

fn outcomes(observation: &Observation) -> Vec<(&str, TestOutcome)> {
    let results = observation.tests.iter().flat_map(|report| &report.results);
    results.map(|result| (result.id.as_str(), result.outcome)).collect()
}

/// The first failure, shortened so that equal failures can be counted.
fn first_failure(observation: &Observation) -> String {
    const MOST: usize = 60;
    let results = observation.tests.iter().flat_map(|report| &report.results);
    let failure = results.filter_map(|result| result.failure.as_ref()).next();
    let Some(failure) = failure else { return format!("{:?}", observation.outcome) };
    let message = failure.message.lines().next().unwrap_or_default();
    let message: String = message.chars().take(MOST).collect();
    match (failure.exception.as_str(), message.as_str()) {
        (exception @ "AssertionError", _) | (exception, "") => exception.to_owned(),
        (exception, message) => format!("{exception}: {message}"),
    }
}
