//! A site: the pages of all that is under the given paths.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::fs;
use std::path::{Component, Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, UNIX_EPOCH};

use jiff::Timestamp;
use minijinja::Environment;

use super::address::Address;
use super::compare::{self, Comparisons};
use super::dataset::{DatasetPage, DatasetQuery};
use super::engine::{self, Live, Page, Polling};
use super::episodes;
use super::error::ViewError;
use super::home;
use super::places::{self, Kind, Place, Places};
use super::recorded::Recorded;
use super::run;
use super::sources::{RowOrigin, Sources};
use super::sweep::SweepReport;
use super::training::TrainingPage;

/// How long ago a training that runs wrote something at most.
const LATELY: Duration = Duration::from_secs(600);
/// Folders below a training or a sweep in which it writes.
const DEPTH: usize = 3;

/// A run that is kept open.
pub(crate) type Kept = Arc<RwLock<Recorded>>;

/// The pages of all that is under the given paths.
pub struct Site {
    roots: Vec<PathBuf>,
    pub(crate) sources: Box<dyn Sources>,
    pub(crate) engine: Environment<'static>,
    /// The time from which ages are counted.
    pub(crate) now: fn() -> Timestamp,
    places: Mutex<Places>,
    runs: Mutex<HashMap<String, Kept>>,
    pub(crate) comparisons: Mutex<Comparisons>,
    /// Pages are made one after the other, so that none waits for a run that another holds.
    turn: Mutex<()>,
    /// Whether runs stay as they were read: an export shows one moment.
    frozen: AtomicBool,
}

impl Site {
    /// Looks for runs, datasets, trainings and sweeps under these paths.
    ///
    /// # Errors
    /// [`ViewError`] if there are none under one of them, or if this version cannot read a
    /// run that is given.
    pub fn open(paths: &[PathBuf], sources: Box<dyn Sources>) -> Result<Site, ViewError> {
        let roots = places::check(paths)?;
        let places = places::find(&roots);
        let site = Site {
            sources,
            engine: engine::engine()?,
            now: Timestamp::now,
            places: Mutex::new(places),
            runs: Mutex::default(),
            comparisons: Mutex::default(),
            turn: Mutex::default(),
            frozen: AtomicBool::new(false),
            roots,
        };
        for (name, place) in site.places_now() {
            let is_given = || place.paths().iter().any(|path| site.roots.contains(path));
            if place.kind == Kind::Run && is_given() {
                site.run(&name)?;
            }
        }
        Ok(site)
    }

    /// Leaves runs as they are read from now on.
    pub(crate) fn freeze(&self) {
        self.frozen.store(true, Ordering::Relaxed);
    }

    /// What is there now.
    pub(crate) fn places_now(&self) -> Places {
        let found = places::find(&self.roots);
        locked(&self.places).clone_from(&found);
        found
    }

    fn place(&self, kinds: &[Kind], name: &str) -> Result<Place, ViewError> {
        let of =
            |places: &Places| places.get(name).filter(|place| kinds.contains(&place.kind)).cloned();
        let known = of(&locked(&self.places));
        let known = known.or_else(|| self.shard(kinds, name));
        let found = known.or_else(|| of(&self.places_now()));
        let what = kinds.first().map_or("folder", |kind| kind.name());
        found.ok_or_else(|| ViewError::Unknown { what, name: name.into() })
    }

    /// The divided run that has a shard of this name.
    fn shard(&self, kinds: &[Kind], name: &str) -> Option<Place> {
        let places = locked(&self.places);
        let mut of_kind = places.values().filter(|place| kinds.contains(&place.kind));
        of_kind.find(|place| place.shards.iter().any(|(own, _)| own == name)).cloned()
    }

    /// A run, with what was written since the last time.
    pub(crate) fn run(&self, name: &str) -> Result<Kept, ViewError> {
        let kept = locked(&self.runs).get(name).cloned();
        let place = locked(&self.places).get(name).cloned();
        // A shard can come, and then the run is in more folders.
        let is_same = |kept: &Kept| place.is_none_or(|place| place.paths() == read(kept).paths);
        if let Some(kept) = kept.filter(is_same) {
            if self.frozen.load(Ordering::Relaxed) {
                return Ok(kept);
            }
            let refreshed = kept.write().unwrap_or_else(PoisonError::into_inner).refresh();
            match refreshed {
                Ok(()) => return Ok(kept),
                // The folder contains another run now, or none.
                Err(_) => locked(&self.runs).remove(name),
            };
        }
        let place = self.place(&[Kind::Run], name)?;
        let kept = Arc::new(RwLock::new(Recorded::open(name, &place.paths())?));
        locked(&self.runs).insert(name.into(), kept.clone());
        Ok(kept)
    }

    /// All runs by name, or why one cannot be read.
    pub(crate) fn runs(&self) -> BTreeMap<String, Result<Kept, ViewError>> {
        let places = self.places_now().into_iter();
        let runs = places.filter(|(_, place)| place.kind == Kind::Run);
        runs.map(|(name, _)| (name.clone(), self.run(&name))).collect()
    }

    /// The other runs, if a page holds this one.
    pub(crate) fn runs_except(&self, own: &str) -> BTreeMap<String, Result<Kept, ViewError>> {
        let places = locked(&self.places).clone().into_iter();
        let runs = places.filter(|(name, place)| place.kind == Kind::Run && name != own);
        runs.map(|(name, _)| (name.clone(), self.run(&name))).collect()
    }

    /// A page as HTML. An export's pages have no forms and no links to filtered lists.
    pub(crate) fn html(
        &self,
        address: &Address,
        query: &str,
        export: bool,
    ) -> Result<String, ViewError> {
        let _turn = locked(&self.turn);
        let page = match address {
            Address::Home => home::page(self, export)?,
            Address::Run(name) => run::page(self, &read(&self.run(name)?), query, export)?,
            Address::Episode { run, task, sample } => {
                episodes::page(self, &read(&self.run(run)?), (task, sample), query, export)?
            }
            Address::Compare => compare::page(self, query, export)?,
            Address::Dataset(name) => self.dataset(name, query, export)?,
            Address::Training(name) => self.training(name)?,
        };
        engine::framed(&self.engine, &page, address, export)
    }

    /// An error as a page.
    pub(crate) fn error_html(&self, error: &str) -> String {
        let main = self.engine.get_template("frame.html").and_then(|template| {
            template.render(minijinja::context! { heading => "Not here", sentence => error })
        });
        let page =
            Page { title: "Not here".into(), main: main.unwrap_or_default(), ..Page::default() };
        engine::framed(&self.engine, &page, &Address::Home, false).unwrap_or_default()
    }

    fn dataset(&self, name: &str, query: &str, export: bool) -> Result<Page, ViewError> {
        let place = self.place(&[Kind::Dataset], name)?;
        let rows = self.sources.dataset(&place.path).map_err(ViewError::Dataset)?;
        let (query, path) = (dataset_query(query), &*place.path);
        let link = |origin: &RowOrigin| Some(self.episode_of(origin)?.path());
        let page = DatasetPage { path, rows: &*rows, query, link: &link, export };
        self.frame("Dataset", name, page.html(&self.engine)?)
    }

    /// The page of the episode that a row was made of. A dataset names runs by the paths of
    /// its command, of which the end is the same here.
    pub(crate) fn episode_of(&self, origin: &RowOrigin) -> Option<Address> {
        let recorded = names(Path::new(&origin.run));
        let places = locked(&self.places).clone();
        let runs = places.iter().filter(|(_, place)| place.kind == Kind::Run);
        let common = runs.map(|(name, place)| {
            let common = |path: &PathBuf| {
                let own = fs::canonicalize(path).unwrap_or_else(|_| path.clone());
                let own = names(&own);
                let pairs = own.iter().rev().zip(recorded.iter().rev());
                pairs.take_while(|(one, other)| one == other).count()
            };
            (place.paths().iter().map(common).max().unwrap_or_default(), name)
        });
        let common: Vec<(usize, &String)> = common.collect();
        let most = common.iter().map(|(count, _)| *count).max().filter(|count| *count > 0)?;
        let mut best = common.iter().filter(|(count, _)| *count == most);
        let (_, run) = best.next().filter(|_| best.next().is_none())?;
        let address = Address::episode(run, &origin.task, origin.sample);
        self.exists(&address).then_some(address)
    }

    fn training(&self, name: &str) -> Result<Page, ViewError> {
        let place = self.place(&[Kind::Training, Kind::Sweep], name)?;
        let link = |folder: &Path| self.address_of(folder).map(|address| address.path());
        let mut html = TrainingPage { folder: &place.path, link: &link }.html(&self.engine)?;
        let sweep = place.kind == Kind::Sweep;
        if sweep {
            html += &SweepReport::of(&place.path, &link)?.html(&self.engine)?;
        }
        let page = self.frame(if sweep { "Sweep" } else { "Training" }, name, html)?;
        Ok(Page { live: Some(written(&place)), ..page })
    }

    /// The page of a folder that the site has.
    fn address_of(&self, folder: &Path) -> Option<Address> {
        let own = fs::canonicalize(folder).ok()?;
        let places = locked(&self.places).clone();
        let found = places.into_iter().find(|(_, place)| {
            let same = |path: &PathBuf| fs::canonicalize(path).is_ok_and(|other| other == own);
            place.paths().iter().any(same)
        });
        found.map(|(name, place)| place.kind.address(name))
    }

    /// The values of a training's plots.
    pub(crate) fn training_json(&self, name: &str) -> Result<String, ViewError> {
        let place = self.place(&[Kind::Training, Kind::Sweep], name)?;
        Ok(TrainingPage { folder: &place.path, link: &|_| None }.data_json()?.to_string())
    }

    fn frame(&self, what: &str, name: &str, html: String) -> Result<Page, ViewError> {
        let heading = format!("{what} {name}");
        let main = self.engine.get_template("frame.html")?.render(minijinja::context! {
            heading => heading.as_str(),
            content => minijinja::Value::from_safe_string(html),
        })?;
        let crumbs = vec![("Home".into(), "/".into())];
        Ok(Page { title: heading, crumbs, main, ..Page::default() })
    }

    /// Whether there is such a page, and it can be read.
    pub(crate) fn exists(&self, address: &Address) -> bool {
        match address {
            Address::Home | Address::Compare => true,
            Address::Run(name) => self.run(name).is_ok(),
            Address::Episode { run, task, sample } => self.run(run).is_ok_and(|run| {
                sample.parse().is_ok_and(|sample| read(&run).place(task, sample).is_some())
            }),
            Address::Dataset(name) => {
                let place = self.place(&[Kind::Dataset], name);
                place.is_ok_and(|place| self.sources.dataset(&place.path).is_ok())
            }
            Address::Training(name) => self.place(&[Kind::Training, Kind::Sweep], name).is_ok(),
        }
    }

    /// The version of what a page shows, and when it can change.
    pub(crate) fn live(&self, address: &Address) -> Result<Live, ViewError> {
        let _turn = locked(&self.turn);
        Ok(match address {
            Address::Home => home::live(self),
            Address::Run(name) | Address::Episode { run: name, .. } => {
                read(&self.run(name)?).live()
            }
            Address::Training(name) => written(&self.place(&[Kind::Training, Kind::Sweep], name)?),
            Address::Compare | Address::Dataset(_) => Live::default(),
        })
    }

    /// The given paths.
    pub(crate) fn roots(&self) -> &[PathBuf] {
        &self.roots
    }
}

pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn read(run: &Kept) -> RwLockReadGuard<'_, Recorded> {
    run.read().unwrap_or_else(PoisonError::into_inner)
}

/// What was written to the folder of a training or a sweep. Nothing is locked while one
/// runs: it runs if it wrote something lately.
fn written(place: &Place) -> Live {
    let (mut bytes, mut last) = (0, UNIX_EPOCH);
    let mut folders = vec![(place.path.clone(), 0)];
    while let Some((folder, depth)) = folders.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let Ok(about) = entry.metadata() else { continue };
            if about.is_dir() && depth < DEPTH {
                folders.push((entry.path(), depth + 1));
            } else if about.is_file() {
                bytes += about.len();
                last = last.max(about.modified().unwrap_or(UNIX_EPOCH));
            }
        }
    }
    let since = last.duration_since(UNIX_EPOCH).unwrap_or_default();
    let runs = last.elapsed().is_ok_and(|age| age < LATELY);
    let polling = match place.kind {
        // Its tables are made of all its runs.
        Kind::Sweep => Polling::Waiting,
        _ if runs => Polling::Running,
        _ => Polling::Waiting,
    };
    Live { version: format!("{bytes}-{}", since.as_millis()), polling }
}

/// The names of the folders of a path.
fn names(path: &Path) -> Vec<&OsStr> {
    let names = path.components().map(|part| match part {
        Component::Normal(name) => Some(name),
        _ => None,
    });
    let names: Vec<Option<&OsStr>> = names.collect();
    // What stands before `..` is unknown.
    let from = names.iter().rposition(Option::is_none).map_or(0, |at| at + 1);
    names[from..].iter().flatten().copied().collect()
}

/// The query of a dataset's page.
fn dataset_query(query: &str) -> DatasetQuery {
    let of = |wanted: &str| {
        let mut pairs = form_urlencoded::parse(query.as_bytes());
        let found = pairs.find(|(key, value)| key == wanted && !value.is_empty());
        found.map(|(_, value)| value.into_owned())
    };
    let page = of("page").and_then(|page| page.parse().ok()).unwrap_or(1);
    DatasetQuery { page, rule: of("rule"), text: of("text") }
}

/// A path as text.
pub(crate) fn shown(path: &Path) -> String {
    path.display().to_string()
}
