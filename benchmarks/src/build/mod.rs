//! Builds a benchmark from a project: which methods its tests detect changes of, which
//! tests those are, and how candidates should run.
//!
//! Every step is cached in the benchmark directory, so a stopped build can be resumed.

mod census;
mod collect;
mod compose;
mod count;
mod cover;
mod environment;
mod examine;
mod fate;
mod fetch;
mod hold;
mod huge;
mod joint;
mod newer;
mod pip;
mod repeat;
mod rewrite;
mod since;
mod split;
mod summary;
mod tree;

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fixfly_runtime::{BenchmarkError, Host, Parallel, Sandbox, SandboxError, Split};
use globset::{Glob, GlobSet, GlobSetBuilder};
use tokio::task::JoinError;

use crate::manifest::{Item, Manifest, Source};
use crate::places::{Place, Places};
use crate::project::Project;
use crate::server::Server;
use census::Census;
use compose::Composer;
use examine::{Examination, Examiner, Found};
use joint::Joint;

pub use environment::{Environment, environment};
pub(crate) use environment::{output, python, run, stdout_of};
pub(crate) use examine::first_failure;
pub use fetch::{python_project, released};
pub use since::Since;
pub use summary::{Rate, left_out, summary};

/// The progress of a build.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// The step: `census`, then `examine`, then `join` for joint items.
    pub step: &'static str,
    /// Number of units that are done.
    pub done: usize,
    /// Total number of units.
    pub total: usize,
    /// The last unit.
    pub last: String,
}

/// What to build.
#[derive(Default)]
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
    /// Patterns of the files to take methods from; all of the project's if there are none.
    pub files: Vec<String>,
    /// Only methods that changed since then are examined; the others are `known`, or left
    /// out.
    pub since: Option<Since>,
    /// Whether prompts hide copies of a method's body in its own file.
    pub mask_copies: bool,
    /// The number of functions and methods of each item, if it is not one.
    pub span: Option<usize>,
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
    let files = chosen(&plan.files)?;
    let census = Arc::new(census::take(&project, &host, plan.jobs, files.is_some(), &show).await?);
    let (mut places, mut left_out) = eligible(&project, &census, files.as_ref());
    let wanted = plan.wanted.map(|wanted| (wanted as f64 * SPARE) as usize);
    let goal = wanted.unwrap_or_else(|| share(places.len()));
    let mut splits = split::split(&places, goal, &pinned(plan));
    splits.extend(plan.known.iter().map(|item| (item.id.clone(), item.split)));
    let known = known(plan, &mut places, &census, &mut left_out);
    let cache = cache(&project)?;
    let examiner =
        Arc::new(Examiner { project: project.clone(), census: census.clone(), cache, known });
    let composer = Composer::new(&project, plan, &places, &splits, &census);
    let total = places.iter().filter(|place| plan.splits.contains(&splits[&place.id()])).count();
    let mut examined = BTreeMap::new();
    let mut done = 0;
    for split in [Split::Benchmark, Split::Validation, Split::Train] {
        let todo: Vec<Place> =
            places.iter().filter(|place| splits[&place.id()] == split).cloned().collect();
        let new = match plan.splits.contains(&split) {
            true => {
                let show = |last: String, count: usize| {
                    show(Progress { step: "examine", done: done + count, total, last });
                };
                let todo = todo.into_iter().map(|place| Subject::One(place.into())).collect();
                examine_all(&examiner, &host, todo, plan.jobs, &show).await?
            }
            false => examiner.recall(todo),
        };
        done += if plan.splits.contains(&split) { new.len() } else { 0 };
        examined.extend(new);
        composer.save(&examined, &[], left_out.clone())?;
    }
    let joint = match plan.span {
        Some(span) => {
            let show = |last: String, done: usize, total: usize| {
                show(Progress { step: "join", done, total, last });
            };
            join(&examiner, &host, (&places, &examined, span), plan.jobs, &show).await?
        }
        None => Vec::new(),
    };
    left_out.extend(composer.surplus(&examined));
    let manifest = composer.save(&examined, &joint, left_out)?;
    if let Some(since) = &plan.since {
        since.end()?;
    }
    Ok(manifest)
}

/// Joins `span` of the examined functions and methods at a time, and examines them together.
async fn join(
    examiner: &Arc<Examiner>,
    host: &Arc<dyn Host>,
    (places, examined, span): (&[Place], &BTreeMap<String, Examination>, usize),
    jobs: usize,
    show: &(impl Fn(String, usize, usize) + Send + Sync),
) -> Result<Vec<(Places, Examination)>, BenchmarkError> {
    let kept = places.iter().filter_map(|place| match &examined.get(&place.id())?.found {
        Found::Kept(facts) => Some((place, facts)),
        Found::LeftOut { .. } => None,
    });
    let kept: Vec<_> = kept.collect();
    let groups = joint::groups(&kept, span);
    if groups.is_empty() {
        return Err(BenchmarkError::Broken(joint::too_few(&kept, span)));
    }
    let all: Vec<Places> = groups.iter().map(|joint| joint.places.clone()).collect();
    let total = groups.len();
    let show = |last: String, done: usize| show(last, done, total);
    let todo = groups.into_iter().map(Subject::Joint).collect();
    let mut found = examine_all(examiner, host, todo, jobs, &show).await?;
    Ok(all
        .into_iter()
        .filter_map(|places| Some((places.clone(), found.remove(&places.id())?)))
        .collect())
}

/// The files that the user chose; `None` for all.
fn chosen(patterns: &[String]) -> Result<Option<GlobSet>, BenchmarkError> {
    let invalid = |pattern: &str, error: globset::Error| {
        BenchmarkError::Broken(format!("--files {pattern} is no pattern: {}", error.kind()))
    };
    let mut set = GlobSetBuilder::new();
    for pattern in patterns {
        // A folder stands for all that it contains.
        for pattern in [pattern.clone(), format!("{}/**", pattern.trim_end_matches('/'))] {
            set.add(Glob::new(&pattern).map_err(|error| invalid(&pattern, error))?);
        }
    }
    let all = patterns.join(" ");
    let set = set.build().map_err(|error| invalid(&all, error))?;
    Ok((!patterns.is_empty()).then_some(set))
}

/// The items that are not examined again. With `plan.since`, they are those that did not
/// change; other methods that did not change are taken out of `places`.
fn known(
    plan: &Plan,
    places: &mut Vec<Place>,
    census: &Census,
    left_out: &mut BTreeMap<String, usize>,
) -> HashMap<String, Item> {
    let items = plan.known.iter().map(|item| (item.id.clone(), item.clone()));
    let mut known: HashMap<String, Item> = items.collect();
    let Some(since) = &plan.since else { return known };
    let before = places.len();
    places.retain(|place| {
        if since.is_changed(place, &census.test_files(place)) {
            known.remove(&place.id());
            return true;
        }
        known.contains_key(&place.id())
    });
    if places.len() < before {
        left_out.insert(format!("unchanged since {}", since.commit), before - places.len());
    }
    known
}

/// The split of each file that has items in an earlier manifest. It stays the same,
/// although another machine's census may differ by a test.
fn pinned(plan: &Plan) -> BTreeMap<String, Split> {
    plan.known.iter().map(|item| (item.place().0.to_string(), item.split)).collect()
}

/// Functions and methods that a passing test enters and that are worth writing.
fn eligible(
    project: &Project,
    census: &Census,
    files: Option<&GlobSet>,
) -> (Vec<Place>, BTreeMap<String, usize>) {
    let mut left_out = project.out_of_reach();
    let mut kept = Vec::new();
    for place in project.methods() {
        let method = &place.method;
        let reason = if files.is_some_and(|files| !files.is_match(&place.file)) {
            "its file is not among those of --files"
        } else if let Some(reason) = census.why_untested(&place) {
            reason
        } else if !method.unique && method.is_function() {
            "its name is defined more than once"
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

/// What is examined at once.
#[derive(Clone)]
enum Subject {
    One(Box<Place>),
    Joint(Joint),
}

impl Subject {
    fn id(&self) -> String {
        match self {
            Subject::One(place) => place.id(),
            Subject::Joint(joint) => joint.places.id(),
        }
    }

    /// The method whose tests decide where it is examined.
    fn first(&self) -> &Place {
        match self {
            Subject::One(place) => place,
            Subject::Joint(joint) => &joint.places.each()[0],
        }
    }
}

/// Examines methods in `jobs` sandboxes at the same time. If a sandbox breaks, its method
/// is tried twice more in a fresh one. After another error, what runs
/// still ends: its results are cached.
async fn examine_all(
    examiner: &Arc<Examiner>,
    host: &Arc<dyn Host>,
    mut todo: Vec<Subject>,
    jobs: usize,
    show: &(impl Fn(String, usize) + Send + Sync),
) -> Result<BTreeMap<String, Examination>, BenchmarkError> {
    // Methods of one test group are examined together, because its processes are set up
    // only once.
    todo.sort_by_cached_key(|one| (examiner.census.group_of(one.first()), one.id()));
    let bench = Arc::new(Bench {
        examiner: examiner.clone(),
        host: host.clone(),
        idle: Mutex::new(Vec::new()),
    });
    let todo = todo.into_iter().map(|subject| bench.clone().examine(subject, 0));
    let mut examinations = Parallel::new(jobs, todo);
    let (mut found, mut failed) = (BTreeMap::new(), None);
    while let Some(examined) = examinations.next().await {
        let broke =
            |e: JoinError| Err(BenchmarkError::Broken(format!("a build worker broke: {e}")));
        match examined.unwrap_or_else(broke) {
            Ok(Examined::Done(examination)) => {
                let last = format!("{}: {}", examination.id, examination.found.summary());
                found.insert(examination.id.clone(), *examination);
                show(last, found.len());
            }
            Ok(Examined::Broken(subject, tries)) => {
                examinations.add(bench.clone().examine(subject, tries));
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
    Broken(Subject, u32),
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
        subject: Subject,
        tries: u32,
    ) -> Result<Examined, BenchmarkError> {
        let idle = self.idle().pop();
        let sandbox = match idle {
            Some(sandbox) => sandbox,
            None => self.host.open(self.examiner.project.spec()).await?,
        };
        let examined = match &subject {
            Subject::One(place) => self.examiner.examine(place, &*sandbox).await,
            Subject::Joint(joint) => self.examiner.examine_joint(joint, &*sandbox).await,
        };
        match examined {
            Ok(examination) => {
                self.idle().push(sandbox);
                Ok(Examined::Done(Box::new(examination)))
            }
            Err(BenchmarkError::Sandbox(error)) if tries < 2 => {
                tracing::warn!(id = subject.id(), %error, "a sandbox broke; the method is tried again");
                Ok(Examined::Broken(subject, tries + 1))
            }
            Err(error @ BenchmarkError::Sandbox(SandboxError::Process { .. })) => {
                let why = format!("the tests cannot be set up: {error}");
                let key = match &subject {
                    Subject::One(place) => self.examiner.key(place),
                    Subject::Joint(joint) => joint.key(),
                };
                let found = examine::left_out("its tests cannot be set up", why);
                Ok(Examined::Done(Box::new(self.examiner.keep(subject.id(), key, found)?)))
            }
            Err(error) => Err(error),
        }
    }
}
