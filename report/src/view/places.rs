//! What is under the given paths: runs, datasets, trainings and sweeps.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use fixfly_runtime::{RunRecord, join_shards, read_run};
use serde::Serialize;

use super::address::Address;
use super::error::ViewError;

/// Folders below a given path that are searched.
const DEPTH: usize = 6;
/// Folders that are searched in all.
const FOLDERS: usize = 20_000;

/// The kind of what fixfly wrote to a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    Run,
    Dataset,
    Training,
    Sweep,
}

impl Kind {
    const MARKERS: [(Kind, &'static str); 4] = [
        (Kind::Run, "run.json"),
        (Kind::Dataset, "dataset.json"),
        (Kind::Training, "train.json"),
        (Kind::Sweep, "runs.toml"),
    ];

    /// Folders of the results of a sweep, and the ending of the files that mark them.
    const RESULTS: [&'static str; 6] =
        ["benchmarks", "models", "datasets", "students", "adapters", "runs"];
    const MADE: &'static str = "done";

    fn of(folder: &Path) -> Option<Kind> {
        let marker = |(_, name): &&(Kind, &str)| folder.join(name).is_file();
        let marked = Kind::MARKERS.iter().find(marker).map(|(kind, _)| *kind);
        marked.or_else(|| Kind::is_unfinished_sweep(folder).then_some(Kind::Sweep))
    }

    /// A sweep writes its file of runs last.
    fn is_unfinished_sweep(folder: &Path) -> bool {
        let made = |kind: &&'static str| {
            let files = fs::read_dir(folder.join(kind)).into_iter().flatten().flatten();
            files.map(|file| file.path()).any(|file| {
                file.extension().is_some_and(|ending| ending == Kind::MADE) && file.is_file()
            })
        };
        Kind::RESULTS.iter().any(made)
    }

    /// The page of a folder with this name.
    pub(crate) fn address(self, name: String) -> Address {
        match self {
            Kind::Run => Address::Run(name),
            Kind::Dataset => Address::Dataset(name),
            Kind::Training | Kind::Sweep => Address::Training(name),
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Kind::Run => "run",
            Kind::Dataset => "dataset",
            Kind::Training => "training",
            Kind::Sweep => "sweep",
        }
    }
}

/// A folder that can be shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) kind: Kind,
    /// The folder; of a divided run, that of its first shard.
    pub(crate) path: PathBuf,
    /// The shards of a divided run, with the names that they would have alone.
    pub(crate) shards: Vec<(String, PathBuf)>,
}

impl Place {
    /// All folders.
    pub(crate) fn paths(&self) -> Vec<PathBuf> {
        match &*self.shards {
            [] => vec![self.path.clone()],
            shards => shards.iter().map(|(_, path)| path.clone()).collect(),
        }
    }
}

/// All folders that can be shown, by name: their paths relative to the given ones.
pub(crate) type Places = BTreeMap<String, Place>;

/// Checks the given paths, in one sentence for the first that cannot be shown.
pub(crate) fn check(given: &[PathBuf]) -> Result<Vec<PathBuf>, ViewError> {
    let mut roots = Vec::new();
    for path in given {
        // The file of a sweep names its folder.
        let is_marker = Kind::MARKERS.iter().any(|(_, name)| path.ends_with(name));
        let folder = match path.parent() {
            Some(folder) if is_marker && path.is_file() => folder,
            _ => path,
        };
        if !folder.exists() {
            return Err(ViewError::Missing(path.clone()));
        }
        roots.push(folder.to_path_buf());
        if find(&roots[roots.len() - 1..]).is_empty() {
            return Err(ViewError::Foreign(path.clone()));
        }
    }
    Ok(roots)
}

/// Searches the folders.
pub(crate) fn find(roots: &[PathBuf]) -> Places {
    let mut search = Search { places: Places::new(), left: FOLDERS };
    for root in roots {
        let absolute = fs::canonicalize(root).unwrap_or_else(|_| root.clone());
        let name = absolute.file_name().unwrap_or(root.as_os_str()).to_string_lossy().into_owned();
        let prefix = if roots.len() > 1 { format!("{name}/") } else { String::new() };
        search.folder(root, &name, &prefix, DEPTH);
    }
    search.join();
    search.places
}

/// The record of a run that is a shard.
fn shard(run: &Path) -> Option<RunRecord> {
    // Most runs are not, and their wording need not be parsed.
    let text = fs::read_to_string(run.join("run.json")).ok()?;
    let record = text.contains("\"shard\"").then(|| read_run(run).ok()).flatten()?;
    record.shard().is_some().then_some(record)
}

/// The name of a divided run: what the names of its shards have in common before their numbers.
fn common(names: &[String]) -> String {
    let first = names.first().map_or("", String::as_str);
    let is_common = |end: &usize| {
        first.is_char_boundary(*end) && names.iter().all(|name| name.starts_with(&first[..*end]))
    };
    let end = (0..=first.len()).rev().find(is_common).unwrap_or_default();
    let ends = |one: char| one.is_ascii_digit() || "-_./ ".contains(one);
    match first[..end].trim_end_matches(ends) {
        "" => "shards".into(),
        name => name.into(),
    }
}

struct Search {
    places: Places,
    left: usize,
}

impl Search {
    /// Adds a folder under this name, and those below it under names with this prefix.
    fn folder(&mut self, folder: &Path, name: &str, prefix: &str, depth: usize) {
        if self.left == 0 {
            return;
        }
        self.left -= 1;
        let kind = Kind::of(folder);
        if let Some(kind) = kind {
            self.add(folder, name, kind);
        }
        // The results of a sweep are below it.
        if depth == 0 || kind.is_some_and(|kind| kind != Kind::Sweep) {
            return;
        }
        let Ok(entries) = fs::read_dir(folder) else { return };
        let mut below: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        below.sort();
        for path in below.into_iter().filter(|path| path.is_dir()) {
            let own = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if !own.starts_with('.') {
                let name = format!("{prefix}{own}");
                self.folder(&path, &name, &format!("{name}/"), depth - 1);
            }
        }
    }

    /// Makes one place of the shards of one run.
    fn join(&mut self) {
        let runs = self.places.iter().filter(|(_, place)| place.kind == Kind::Run);
        let shards =
            runs.filter_map(|(_, place)| Some(((), place.path.clone(), shard(&place.path)?)));
        let Ok(joined) = join_shards(shards.collect()) else { return };
        for ((), run) in joined.into_iter().filter(|(_, run)| run.paths.len() > 1) {
            let name_of = |path: &PathBuf| {
                let found = self.places.iter().find(|(_, place)| place.path == *path);
                found.map(|(name, _)| (name.clone(), path.clone()))
            };
            let shards: Vec<(String, PathBuf)> = run.paths.iter().filter_map(name_of).collect();
            self.places.retain(|_, place| !run.paths.contains(&place.path));
            let names: Vec<String> = shards.iter().map(|(name, _)| name.clone()).collect();
            let mut name = common(&names);
            while self.places.contains_key(&name) {
                name.push('+');
            }
            let Some((_, path)) = shards.first() else { continue };
            self.places.insert(name, Place { kind: Kind::Run, path: path.clone(), shards });
        }
    }

    fn add(&mut self, folder: &Path, name: &str, kind: Kind) {
        let same = |place: &Place| {
            place.path == folder
                || fs::canonicalize(&place.path).ok() == fs::canonicalize(folder).ok()
        };
        let mut name = name.to_string();
        // Two given paths can end alike.
        while let Some(other) = self.places.get(&name) {
            if same(other) {
                return;
            }
            name.push('+');
        }
        self.places.insert(name, Place { kind, path: folder.into(), shards: Vec::new() });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::fixture;

    fn tree(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            let file = folder.path().join(file);
            fs::create_dir_all(file.parent().unwrap()).unwrap();
            fs::write(file, "{}").unwrap();
        }
        folder
    }

    #[track_caller]
    fn check_names(folder: &Path, roots: &[&str], expected: &[&str]) {
        let roots: Vec<PathBuf> = roots.iter().map(|root| folder.join(root)).collect();
        let found = find(&roots);
        let found: Vec<String> =
            found.iter().map(|(name, place)| format!("{name} {}", place.kind.name())).collect();
        assert_eq!(found, expected, "{roots:?}");
    }

    #[test]
    fn folders_are_named_by_their_relative_paths() {
        let folder = tree(&[
            "runs/a/run.json",
            "runs/a/kept/run.json",
            "runs/deep/er/b/run.json",
            "runs/.hidden/run.json",
            "data/v4/dataset.json",
            "sweep/runs.toml",
            "begun/benchmarks/faults-1.done",
            "begun/runs/base-2/run.json",
            "sweep/store/t1/train.json",
            "sweep/store/r1/run.json",
            "other/a/run.json",
            "1/2/3/4/5/6/7/8/run.json",
        ]);
        let folder = folder.path();
        check_names(folder, &["runs"], &["a run", "deep/er/b run"]);
        check_names(folder, &["runs/a"], &["a run"]);
        check_names(folder, &["sweep"], &["store/r1 run", "store/t1 training", "sweep sweep"]);
        check_names(folder, &["begun"], &["begun sweep", "runs/base-2 run"]);
        check_names(folder, &["runs/a", "data"], &["a run", "data/v4 dataset"]);
        check_names(folder, &["runs/a", "other/a", "runs/a"], &["a run", "a+ run"]);
        check_names(folder, &["1"], &[]);
    }

    #[test]
    fn the_shards_of_a_run_are_one_place() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, shard: &str, seed: u64| {
            let mut record = RunRecord { seed, ..fixture::record() };
            record.config.insert("shard".into(), shard.into());
            fixture::write_run(&folder.path().join(name), &record, &[]);
        };
        write("runs/shard-1", "1/3", 7);
        write("runs/shard-3", "3/3", 7);
        write("runs/other-1", "1/3", 8);
        write("many/10", "10/12", 7);
        write("many/11", "11/12", 7);
        let runs = ["other-1 run", "shard run"];
        check_names(folder.path(), &["runs"], &runs);
        check_names(folder.path(), &["runs/shard-1", "runs/shard-3"], &["shard run"]);
        check_names(folder.path(), &["runs/shard-1"], &["shard-1 run"]);
        check_names(folder.path(), &["."], &["many run", "runs/other-1 run", "runs/shard run"]);
        check_names(folder.path(), &["many"], &["shards run"]);
        fixture::write_run(&folder.path().join("runs/shard"), &fixture::record(), &[]);
        check_names(folder.path(), &["runs"], &["other-1 run", "shard run", "shard+ run"]);
        let place = &find(&[folder.path().join("runs")])["shard+"];
        let names: Vec<&str> = place.shards.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!((names, place.paths().len()), (vec!["shard-1", "shard-3"], 2));
    }

    #[test]
    fn a_path_without_anything_to_show_is_refused() {
        let folder = tree(&["sweep/runs.toml", "empty/README"]);
        #[track_caller]
        fn refused(folder: &Path, name: &str, expected: &str) {
            let error = check(&[folder.join(name)]).unwrap_err();
            assert!(error.is_usage());
            let error = error.to_string().replace(&folder.display().to_string(), "FOLDER");
            assert_eq!(error, expected);
        }
        let folder = folder.path();
        refused(
            folder,
            "empty",
            "FOLDER/empty contains no run, dataset, sweep or training; name a folder that \
             fixfly wrote, or one above it",
        );
        refused(
            folder,
            "nothing",
            "there is no folder FOLDER/nothing; name a run, a dataset, a sweep or a folder of them",
        );
        let sweep = check(&[folder.join("sweep/runs.toml")]).unwrap();
        assert_eq!(sweep, [folder.join("sweep")]);
    }
}
