//! A site: the pages of all that is under the given paths.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard};
use std::time::{Duration, UNIX_EPOCH};

use jiff::Timestamp;
use minijinja::Environment;

use super::address::Address;
use super::compare::{self, Comparisons};
use super::dataset::{DatasetPage, DatasetQuery};
use super::engine::{self, Page};
use super::episodes;
use super::error::ViewError;
use super::home;
use super::places::{self, Kind, Place, Places};
use super::recorded::Recorded;
use super::run;
use super::sources::Sources;
use super::training::TrainingPage;

/// How long ago a training that runs wrote something at most.
const LATELY: Duration = Duration::from_secs(600);

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
            roots,
        };
        for (name, place) in site.places_now() {
            if place.kind == Kind::Run && site.roots.contains(&place.path) {
                site.run(&name)?;
            }
        }
        Ok(site)
    }

    /// What is there now.
    pub(crate) fn places_now(&self) -> Places {
        let found = places::find(&self.roots);
        locked(&self.places).clone_from(&found);
        found
    }

    fn place(&self, kinds: &[Kind], name: &str) -> Result<Place, ViewError> {
        let of = |places: &Places| {
            let is_right = |place: &&Place| kinds.contains(&place.kind);
            // Datasets name runs by their last part.
            let alike = || {
                let mut alike = places.iter().filter(|(other, place)| {
                    is_right(place) && other.rsplit('/').next() == Some(name)
                });
                alike.next().filter(|_| alike.next().is_none()).map(|(_, place)| place)
            };
            places.get(name).filter(is_right).or_else(alike).cloned()
        };
        let known = of(&locked(&self.places));
        let found = known.or_else(|| of(&self.places_now()));
        let what = kinds.first().map_or("folder", |kind| kind.name());
        found.ok_or_else(|| ViewError::Unknown { what, name: name.into() })
    }

    /// A run, with what was written since the last time.
    pub(crate) fn run(&self, name: &str) -> Result<Kept, ViewError> {
        let kept = locked(&self.runs).get(name).cloned();
        if let Some(kept) = kept {
            let refreshed = kept.write().unwrap_or_else(PoisonError::into_inner).refresh();
            match refreshed {
                Ok(()) => return Ok(kept),
                // The folder contains another run now, or none.
                Err(_) => locked(&self.runs).remove(name),
            };
        }
        let place = self.place(&[Kind::Run], name)?;
        let kept = Arc::new(RwLock::new(Recorded::open(name, &place.path)?));
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
            Address::Dataset(name) => self.dataset(name, query)?,
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

    fn dataset(&self, name: &str, query: &str) -> Result<Page, ViewError> {
        let place = self.place(&[Kind::Dataset], name)?;
        let rows = self.sources.dataset(&place.path).map_err(ViewError::Dataset)?;
        let query = dataset_query(query);
        let html = DatasetPage { path: &place.path, rows: &*rows, query }.html(&self.engine)?;
        self.frame("Dataset", name, html)
    }

    fn training(&self, name: &str) -> Result<Page, ViewError> {
        let place = self.place(&[Kind::Training, Kind::Sweep], name)?;
        let html = TrainingPage { folder: &place.path }.html(&self.engine)?;
        let what = if place.kind == Kind::Sweep { "Sweep" } else { "Training" };
        let page = self.frame(what, name, html)?;
        let (version, live) = self.training_version(name)?;
        Ok(Page { version: Some(version), live, ..page })
    }

    /// Nothing is locked while a training runs: it runs if it wrote something lately.
    fn training_version(&self, name: &str) -> Result<(String, bool), ViewError> {
        let place = self.place(&[Kind::Training, Kind::Sweep], name)?;
        let files = fs::read_dir(&place.path).into_iter().flatten().flatten();
        let written = files.filter_map(|file| file.metadata().ok()?.modified().ok()).max();
        let age = written.and_then(|written| written.elapsed().ok());
        let since = written.and_then(|written| written.duration_since(UNIX_EPOCH).ok());
        let version = since.map_or(String::new(), |since| since.as_millis().to_string());
        Ok((version, age.is_some_and(|age| age < LATELY)))
    }

    /// The values of a training's plots.
    pub(crate) fn training_json(&self, name: &str) -> Result<String, ViewError> {
        let place = self.place(&[Kind::Training, Kind::Sweep], name)?;
        Ok(TrainingPage { folder: &place.path }.data_json()?.to_string())
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

    /// The version of what a page shows, and whether it changes now.
    pub(crate) fn version(&self, address: &Address) -> Result<(String, bool), ViewError> {
        let _turn = locked(&self.turn);
        match address {
            Address::Home => Ok(home::version(self)),
            Address::Run(name) | Address::Episode { run: name, .. } => {
                let kept = self.run(name)?;
                let run = read(&kept);
                Ok((run.version(), run.state == super::state::State::Running))
            }
            Address::Training(name) => self.training_version(name),
            Address::Compare | Address::Dataset(_) => Ok((String::new(), false)),
        }
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
