//! Builds a benchmark from a project: which methods its tests detect changes of, which
//! tests those are, and how candidates should run.
//!
//! Every step is cached in the benchmark directory, so a stopped build can be resumed.

mod census;
mod collect;
mod cover;
mod environment;
mod examine;
mod fetch;
mod split;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fixfly_runtime::{BenchmarkError, Host, Parallel, Sandbox, SandboxError, Split};
use tokio::task::JoinError;

use crate::manifest::{Header, Item, Manifest, SCHEMA, Source, short_hash, write_whole};
use crate::project::{Place, Project};
use crate::server::Server;
use census::Census;
use examine::{Examination, Examiner, Found};

pub use environment::{Environment, environment};
pub(crate) use environment::{output, python, run, stdout_of};
pub(crate) use examine::first_failure;
pub use fetch::{python_project, released};

/// The progress of a build.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// The step: `census`, `benchmark`, `validation`, `train`.
    pub step: &'static str,
    /// Number of units that are done.
    pub done: usize,
    /// Total number of units.
    pub total: usize,
    /// The last unit.
    pub last: String,
}

/// What to build.
pub struct Plan {
    /// Name of the benchmark.
    pub benchmark: String,
    /// Where the source comes from.
    pub source: Source,
    /// Number of benchmark items; `None` for a share of the methods.
    pub wanted: Option<usize>,
    /// Number of sandboxes to work in at the same time.
    pub jobs: usize,
    /// Splits to examine; the others remain unexamined.
    pub splits: Vec<Split>,
    /// Items that are already known; they are not examined again.
    pub known: Vec<Item>,
}

/// Factor for the number of candidates for items, because some are left out when they are
/// examined.
const SPARE: f64 = 1.1;
/// The share of methods for the benchmark, and for validation.
const SHARE: f64 = 397.0 / 4104.0;

/// How many of `methods` the benchmark gets. A small project gets enough for meaningful
/// results, although little is left to learn from.
fn share(methods: usize) -> usize {
    ((methods as f64 * SHARE) as usize).max((methods / 3).min(30))
}

/// Finds out once which modules the project's tests import from elsewhere, so that test
/// servers import them before they fork.
///
/// # Errors
/// [`BenchmarkError`] if the project's tests cannot run.
pub async fn warm(project: Arc<Project>, host: Arc<dyn Host>) -> Result<(), BenchmarkError> {
    let path = project.folder.join("preload.json");
    if path.exists() {
        return Ok(());
    }
    let sandbox = host.open(project.spec()).await?;
    let config = project.server(false);
    let server = Server { sandbox: &*sandbox, config: &config };
    let request = serde_json::json!({"op": "preload"});
    let answer: serde_json::Value = server.ask(&request, Duration::from_secs(300)).await?;
    fs::write(&path, answer["modules"].to_string()).map_err(|e| unwritable(&path, &e))?;
    Ok(sandbox.close().await?)
}

/// Finds the items of a project and writes `manifest.jsonl` as it proceeds.
///
/// # Errors
/// [`BenchmarkError`] if the project's tests cannot run.
pub async fn build(
    project: Arc<Project>,
    host: Arc<dyn Host>,
    plan: &Plan,
    show: impl Fn(Progress) + Send + Sync,
) -> Result<Manifest, BenchmarkError> {
    let census = Arc::new(census::take(&project, &host, plan.jobs, &show).await?);
    let (places, mut left_out) = eligible(&project, &census);
    let wanted = plan.wanted.map(|wanted| (wanted as f64 * SPARE) as usize);
    let goal = wanted.unwrap_or_else(|| share(places.len()));
    let mut splits = split::split(&places, goal, &pinned(plan));
    splits.extend(plan.known.iter().map(|item| (item.id.clone(), item.split)));
    let known = plan.known.iter().map(|item| (item.id.clone(), item.clone())).collect();
    let examiner =
        Arc::new(Examiner { project: project.clone(), census, cache: cache(&project)?, known });
    let mut examined = BTreeMap::new();
    for split in [Split::Benchmark, Split::Validation, Split::Train] {
        let todo: Vec<Place> =
            places.iter().filter(|place| splits[&place.id()] == split).cloned().collect();
        let new = match plan.splits.contains(&split) {
            true => examine_all(&examiner, &host, todo, plan.jobs, split, &show).await?,
            false => examiner.recall(todo),
        };
        examined.extend(new);
        let manifest = compose(&project, plan, &places, &splits, &examined, left_out.clone());
        save(&project.folder, &manifest)?;
    }
    left_out.extend(surplus(plan, &splits, &examined));
    let manifest = compose(&project, plan, &places, &splits, &examined, left_out);
    save(&project.folder, &manifest)?;
    Ok(manifest)
}

/// The split of each file that has items in an earlier manifest. It stays the same,
/// although another machine's census may differ by a test.
fn pinned(plan: &Plan) -> BTreeMap<String, Split> {
    plan.known.iter().map(|item| (item.place().0.to_string(), item.split)).collect()
}

/// Methods that a passing test enters and that are worth writing.
fn eligible(project: &Project, census: &Census) -> (Vec<Place>, BTreeMap<String, usize>) {
    let mut left_out = project.unreadable();
    let mut kept = Vec::new();
    for place in project.methods() {
        let method = &place.method;
        let reason = if let Some(reason) = census.why_untested(&place) {
            reason
        } else if !method.unique {
            "its name is defined more than once in its class"
        } else if method.trivial || method.body_lines < 2 {
            "its body has fewer than two lines"
        } else {
            kept.push(place);
            continue;
        };
        *left_out.entry(reason.to_string()).or_default() += 1;
    }
    (kept, left_out)
}

fn cache(project: &Project) -> Result<std::path::PathBuf, BenchmarkError> {
    let folder = project.folder.join("build/methods");
    fs::create_dir_all(&folder).map_err(|e| unwritable(&folder, &e))?;
    Ok(folder)
}

fn unwritable(path: &Path, error: &std::io::Error) -> BenchmarkError {
    BenchmarkError::Broken(format!("{} cannot be written: {error}", path.display()))
}

/// Examines methods in `jobs` sandboxes at the same time. If a sandbox breaks, its method
/// is tried twice more in a fresh one. After another error, what runs
/// still ends: its results are cached.
async fn examine_all(
    examiner: &Arc<Examiner>,
    host: &Arc<dyn Host>,
    mut todo: Vec<Place>,
    jobs: usize,
    split: Split,
    show: &(impl Fn(Progress) + Send + Sync),
) -> Result<BTreeMap<String, Examination>, BenchmarkError> {
    let total = todo.len();
    // Methods of one test group are examined together, because its processes are set up
    // only once.
    todo.sort_by_cached_key(|place| (examiner.census.group_of(place), place.id()));
    let bench = Arc::new(Bench {
        examiner: examiner.clone(),
        host: host.clone(),
        idle: Mutex::new(Vec::new()),
    });
    let todo = todo.into_iter().map(|place| bench.clone().examine(place, 0));
    let mut examinations = Parallel::new(jobs, todo);
    let (mut found, mut failed) = (BTreeMap::new(), None);
    while let Some(examined) = examinations.next().await {
        let broke =
            |e: JoinError| Err(BenchmarkError::Broken(format!("a build worker broke: {e}")));
        match examined.unwrap_or_else(broke) {
            Ok(Examined::Done(examination)) => {
                let last = format!("{}: {}", examination.id, examination.found.summary());
                found.insert(examination.id.clone(), *examination);
                show(Progress { step: split.name(), done: found.len(), total, last });
            }
            Ok(Examined::Broken(place, tries)) => {
                examinations.add(bench.clone().examine(*place, tries));
            }
            Err(error) => {
                examinations.stop();
                failed.get_or_insert(error);
            }
        }
    }
    let idle = std::mem::take(&mut *bench.idle());
    for sandbox in idle {
        sandbox.close().await?;
    }
    match failed {
        Some(error) => Err(error),
        None => Ok(found),
    }
}

/// What examining a method came to.
enum Examined {
    Done(Box<Examination>),
    /// The sandbox broke; how often so far.
    Broken(Box<Place>, u32),
}

/// Where methods are examined.
struct Bench {
    examiner: Arc<Examiner>,
    host: Arc<dyn Host>,
    /// Sandboxes that are open and unused.
    idle: Mutex<Vec<Box<dyn Sandbox>>>,
}

impl Bench {
    fn idle(&self) -> MutexGuard<'_, Vec<Box<dyn Sandbox>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn examine(
        self: Arc<Self>,
        place: Place,
        tries: u32,
    ) -> Result<Examined, BenchmarkError> {
        let idle = self.idle().pop();
        let sandbox = match idle {
            Some(sandbox) => sandbox,
            None => self.host.open(self.examiner.project.spec()).await?,
        };
        match self.examiner.examine(&place, &*sandbox).await {
            Ok(examination) => {
                self.idle().push(sandbox);
                Ok(Examined::Done(Box::new(examination)))
            }
            Err(BenchmarkError::Sandbox(error)) if tries < 2 => {
                tracing::warn!(id = place.id(), %error, "a sandbox broke; the method is tried again");
                Ok(Examined::Broken(Box::new(place), tries + 1))
            }
            Err(error @ BenchmarkError::Sandbox(SandboxError::Process { .. })) => {
                let why = format!("the tests cannot be set up: {error}");
                Ok(Examined::Done(Box::new(self.examiner.set_aside(&place, why)?)))
            }
            Err(error) => Err(error),
        }
    }
}

/// How many benchmark items there are beyond the number wanted.
fn surplus(
    plan: &Plan,
    splits: &BTreeMap<String, Split>,
    examined: &BTreeMap<String, Examination>,
) -> Option<(String, usize)> {
    let kept = examined
        .values()
        .filter(|e| splits[&e.id] == Split::Benchmark && matches!(e.found, Found::Kept(_)))
        .count();
    let over = kept.saturating_sub(plan.wanted?);
    (over > 0).then(|| ("in a file of the benchmark, beyond the number wanted".to_string(), over))
}

fn compose(
    project: &Project,
    plan: &Plan,
    places: &[Place],
    splits: &BTreeMap<String, Split>,
    examined: &BTreeMap<String, Examination>,
    mut left_out: BTreeMap<String, usize>,
) -> Manifest {
    let mut items = Vec::new();
    for place in places {
        match examined.get(&place.id()).map(|examination| &examination.found) {
            Some(Found::Kept(facts)) => {
                let (_, described_by) = project.describe(place);
                let span = &place.method.span;
                items.push(Item {
                    id: place.id(),
                    split: splits[&place.id()],
                    span: [span.start, span.end],
                    hash: short_hash(&place.text.as_bytes()[span.clone()]),
                    path: facts.path,
                    tests: facts.tests.iter().collect(),
                    wider: facts.wider.iter().collect(),
                    seconds: facts.seconds,
                    described_by,
                    lines: place.method.body_lines,
                    mutants: facts.mutants,
                });
            }
            Some(Found::LeftOut { reason, .. }) => {
                *left_out.entry(reason.clone()).or_default() += 1;
            }
            None => {}
        }
    }
    // A fixed shuffle, so that the first N items of a split are a fair sample of it. Items
    // of an earlier manifest come first, so that no new item replaces one.
    let known: BTreeSet<&str> = plan.known.iter().map(|item| item.id.as_str()).collect();
    items.sort_by_key(|item| {
        let new = !known.contains(item.id.as_str());
        (std::cmp::Reverse(item.split), new, short_hash(item.id.as_bytes()))
    });
    if let Some(wanted) = plan.wanted {
        let mut seen = 0;
        items.retain(|item| {
            seen += usize::from(item.split == Split::Benchmark);
            item.split != Split::Benchmark || seen <= wanted
        });
    }
    let header = Header {
        schema: SCHEMA,
        benchmark: plan.benchmark.clone(),
        source: plan.source.clone(),
        framework: project.framework.clone(),
        python: fs::read_to_string(project.folder.join("python")).unwrap_or_default(),
        left_out,
        unexamined: places.iter().filter(|place| !examined.contains_key(&place.id())).count(),
    };
    Manifest { header, items }
}

fn save(folder: &Path, manifest: &Manifest) -> Result<(), BenchmarkError> {
    write_whole(&folder.join("manifest.jsonl"), &manifest.text())
}
