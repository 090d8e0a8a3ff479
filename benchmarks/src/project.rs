//! A benchmark directory: the project's source, its Python environment and the manifest.
//! Reads and edits the project's text.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use fixfly_runtime::{
    BenchmarkError, DescribedBy, JointMethods, Lifetime, Limits, Method, Mount, MountMode,
    SandboxSpec, Statement, Task,
};

use crate::manifest::{Item, Manifest, short_hash};
use crate::places::{Place, Places};
use crate::scope::{count_methods, is_by_name, is_project_file, methods_of};
use crate::server::{self, Config, ENVIRONMENT, SERVER, SOURCE};
use crate::source::{self, MethodDef, SyntaxError};

/// A complete benchmark directory.
pub struct Project {
    /// The directory.
    pub folder: PathBuf,
    /// `django`, `unittest` or `pytest`.
    pub framework: String,
    /// Python files, by path relative to the project.
    texts: BTreeMap<String, Arc<str>>,
    /// Number of functions and methods in files whose text is not UTF-8: a candidate's file
    /// could not be written as its encoding declaration says.
    not_utf8: usize,
    preload: Vec<String>,
    spec: SandboxSpec,
    describer: OnceLock<source::Describer>,
}

/// What a project's tests import for every candidate.
pub struct ImportedFirst {
    /// Folders of packages, and their paths in the sandbox.
    pub packages: Vec<(PathBuf, String)>,
    /// The module that imports them: its folder, that folder's path in the sandbox, and the
    /// module's name.
    pub script: (PathBuf, String, String),
}

impl Project {
    /// Opens the benchmark directory at `folder`.
    ///
    /// # Errors
    /// One sentence that names what is missing and the command that makes it.
    pub fn open(folder: &Path, framework: &str) -> Result<Self, BenchmarkError> {
        let missing = |what: &str| {
            let remedy = "run `fixfly bench build` first";
            BenchmarkError::Broken(format!("{} has no {what}: {remedy}", folder.display()))
        };
        let source = folder.join("source");
        let python = folder.join("venv/bin/python");
        if !source.is_dir() {
            return Err(missing("source"));
        }
        let base = python.canonicalize().map_err(|_| missing("Python environment (venv)"))?;
        let server = server::unpack(folder).map_err(|e| {
            BenchmarkError::Broken(format!("{} cannot be written to: {e}", folder.display()))
        })?;
        let preload = match fs::read_to_string(folder.join("preload.json")) {
            Ok(text) => {
                serde_json::from_str(&text).map_err(|_| missing("readable preload.json"))?
            }
            Err(_) => Vec::new(),
        };
        let absolute = folder.canonicalize().map_err(|_| missing("folder"))?;
        let (texts, not_utf8) = read_texts(&source, framework)?;
        Ok(Project {
            framework: framework.to_string(),
            texts,
            not_utf8,
            preload,
            spec: spec(&absolute, &server, &base, framework),
            describer: OnceLock::new(),
            folder: absolute,
        })
    }

    /// The configuration of a test server for this project.
    pub(crate) fn server(&self, probe: bool) -> Config {
        Config {
            root: SOURCE,
            framework: self.framework.clone(),
            preload: self.preload.clone(),
            probe,
            paths: Vec::new(),
            python: vec![format!("{ENVIRONMENT}/bin/python")],
        }
    }

    /// The sandbox of the project's tests.
    pub fn spec(&self) -> &SandboxSpec {
        &self.spec
    }

    /// What can be imported before any candidate, if importing it is known to have no side
    /// effects.
    pub fn imported_first(&self) -> Option<ImportedFirst> {
        if self.framework != "django" {
            return None;
        }
        let mut packages = vec![(self.folder.join("source/django"), format!("{SOURCE}/django"))];
        for entry in fs::read_dir(self.folder.join("venv/lib")).ok()?.flatten() {
            let site = entry.path().join("site-packages");
            for name in ["asgiref", "sqlparse"] {
                let inside = format!(
                    "{ENVIRONMENT}/lib/{}/site-packages/{name}",
                    entry.file_name().to_string_lossy()
                );
                packages.extend(site.join(name).is_dir().then(|| (site.join(name), inside)));
            }
        }
        let server = self.spec.mounts.iter().find(|mount| mount.to == SERVER)?;
        let script = (server.from.clone(), SERVER.to_owned(), "ready_django".to_owned());
        Some(ImportedFirst { packages, script })
    }

    /// The files to take methods from.
    pub(crate) fn files(&self) -> impl Iterator<Item = &str> {
        self.texts.keys().map(String::as_str)
    }

    /// All functions and methods of the project, file by file. Files that do not parse are
    /// reported and left out.
    pub(crate) fn methods(&self) -> Vec<Place> {
        places(&self.texts, &self.framework, |file, error| {
            tracing::warn!(file, %error, "a file does not parse");
        })
    }

    /// Whether the build looks for unreliable tests, and leaves out such a test instead of its
    /// methods. Django's items were examined without.
    pub(crate) fn drops_unreliable_tests(&self) -> bool {
        self.framework != "django"
    }

    /// Number of functions and methods that cannot be items because of where they are
    /// defined, by the reason.
    pub(crate) fn out_of_reach(&self) -> BTreeMap<String, usize> {
        let framework = self.framework.as_str();
        let broken = self.texts.values().filter(|text| source::methods(text).is_err());
        let texts = self.texts.values().filter(|_| !is_by_name(framework));
        let counts = [
            ("its file is not UTF-8", self.not_utf8),
            ("its file does not parse", broken.map(|text| count_methods(text, framework)).sum()),
            ("it is defined inside a function", texts.map(|text| source::nested(text)).sum()),
        ];
        let counts = counts.into_iter().filter(|(_, count)| *count > 0);
        counts.map(|(reason, count)| (reason.to_string(), count)).collect()
    }

    /// Whether candidates may share the prefix of the cold path.
    pub(crate) fn shares(&self) -> bool {
        self.framework == "django"
    }

    /// The functions and methods of an item, checked against their recorded hash.
    pub(crate) fn places(&self, item: &Item) -> Result<Places, BenchmarkError> {
        let (file, _) = item.place();
        let broken = |why: &str| {
            let remedy = "the source is not the manifest's; build the benchmark again";
            BenchmarkError::Broken(format!("{}: {why}: {remedy}", item.id))
        };
        let text = self.texts.get(file).ok_or_else(|| broken("there is no such file"))?;
        let methods = methods_of(text, &self.framework);
        let methods = methods.map_err(|_| broken("the file does not parse"))?;
        let place = |(path, span): (&str, &[usize; 2])| {
            let is_it = |method: &&MethodDef| method.path() == path && method.span.start == span[0];
            let method = methods.iter().find(is_it)?.clone();
            Some(Place { file: file.to_string(), text: text.clone(), method })
        };
        let places = item.paths().zip(&item.spans).map(place).collect::<Option<Vec<_>>>();
        let places = places.and_then(Places::new);
        let places = places.ok_or_else(|| broken("there is no such method"))?;
        if short_hash(places.text()) != item.hash {
            return Err(broken("the method is another one"));
        }
        Ok(places)
    }

    /// The description of a method.
    pub(crate) fn describe(&self, place: &Place) -> (String, DescribedBy) {
        let describer = self.describer.get_or_init(|| {
            let texts = self.texts.iter().map(|(file, text)| (file.clone(), text.to_string()));
            let docs = self.folder.join("source/docs");
            let reference = source::Reference::read(&docs).unwrap_or_else(|error| {
                tracing::info!(%error, "the project has no reference documentation to read");
                source::Reference::default()
            });
            source::Describer::new(&texts.collect(), reference)
        });
        describer.describe(&place.file, &place.method)
    }

    /// The task of writing a method, as a policy sees it.
    pub(crate) fn task(&self, benchmark: &str, id: &str, place: &Place) -> Task {
        method_task(benchmark, id, self.statement(place), &self.spec)
    }

    /// The task of writing several methods of one file, as a policy sees it.
    pub(crate) fn joint_task(&self, benchmark: &str, id: &str, places: &Places) -> Task {
        let methods = places.each().iter().map(|place| {
            let content = String::new();
            Method { content, ..self.statement(place) }
        });
        let joint = JointMethods { methods: methods.collect(), content: places.removed() };
        task(benchmark, id, Statement::Methods(joint), "submit_methods", &self.spec)
    }

    pub(crate) fn statement(&self, place: &Place) -> Method {
        place.statement(self.describe(place))
    }
}

/// The task of writing a function or method, as a policy sees it.
pub(crate) fn method_task(
    benchmark: &str,
    id: &str,
    method: Method,
    sandbox: &SandboxSpec,
) -> Task {
    task(benchmark, id, Statement::Method(method), "submit_method", sandbox)
}

fn task(
    benchmark: &str,
    id: &str,
    statement: Statement,
    tool: &str,
    sandbox: &SandboxSpec,
) -> Task {
    Task {
        id: id.to_string(),
        benchmark: benchmark.to_string(),
        budget: statement.budget(),
        statement,
        sandbox: sandbox.clone(),
        tools: vec![tool.to_string()],
    }
}

/// All functions and methods of these files that may be items. `broken` is called for each
/// file that does not parse.
pub(crate) fn places(
    texts: &BTreeMap<String, Arc<str>>,
    framework: &str,
    broken: impl Fn(&str, SyntaxError),
) -> Vec<Place> {
    let mut places = Vec::new();
    for (file, text) in texts {
        match methods_of(text, framework) {
            Ok(methods) => places.extend(methods.into_iter().map(|method| Place {
                file: file.clone(),
                text: text.clone(),
                method,
            })),
            Err(error) => broken(file, error),
        }
    }
    places
}

/// The text of each Python file of the project, and the number of functions and methods in
/// those that are not UTF-8.
pub(crate) fn read_texts(root: &Path, framework: &str) -> Result<Texts, BenchmarkError> {
    let (mut texts, mut not_utf8) = (BTreeMap::new(), 0);
    let mut folders = vec![root.to_path_buf()];
    while let Some(folder) = folders.pop() {
        let unreadable = |e: std::io::Error| {
            BenchmarkError::Broken(format!("{} cannot be read: {e}", folder.display()))
        };
        for entry in fs::read_dir(&folder).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            let relative = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
            if path.is_dir() && !path.is_symlink() {
                folders.push(path);
            } else if is_project_file(&relative, framework)
                && let Ok(bytes) = fs::read(&path)
            {
                match String::from_utf8(bytes) {
                    Ok(text) => drop(texts.insert(relative, text.into())),
                    // In Latin-1 each byte is the character of its number.
                    Err(error) => {
                        let text: String =
                            error.as_bytes().iter().map(|b| char::from(*b)).collect();
                        not_utf8 += count_methods(&text, framework);
                    }
                }
            }
        }
    }
    Ok((texts, not_utf8))
}

pub(crate) type Texts = (BTreeMap<String, Arc<str>>, usize);

/// The sandbox specification: the project, its environment and the server, read-only;
/// nothing else.
fn spec(folder: &Path, server: &Path, base_python: &Path, framework: &str) -> SandboxSpec {
    // Django's own tests call `xgettext`.
    let packages: &[&str] =
        if framework == "django" { &["gettext", "tzdata"] } else { &["tzdata"] };
    let read_only = |from: &Path, to: &str| Mount {
        from: from.to_path_buf(),
        to: to.to_string(),
        mode: MountMode::ReadOnly,
    };
    let mut mounts = vec![
        read_only(&folder.join("source"), SOURCE),
        read_only(&folder.join("venv"), ENVIRONMENT),
        read_only(&server.canonicalize().unwrap_or(server.to_path_buf()), SERVER),
    ];
    mounts.extend(base_mount(base_python));
    let env = [
        ("HOME", "/tmp"),
        ("LANG", "C.UTF-8"),
        ("OPENBLAS_NUM_THREADS", "1"),
        ("PATH", "/env/bin:/usr/local/bin:/usr/bin:/bin"),
        ("PYTHONDONTWRITEBYTECODE", "1"),
        ("PYTHONHASHSEED", "0"),
        ("TZ", "UTC"),
    ];
    SandboxSpec {
        mounts,
        env: env.map(|(name, value)| (name.to_string(), value.to_string())).into(),
        workdir: SOURCE.to_string(),
        limits: Limits::default(),
        lifetime: Lifetime::Turn,
        image: None,
        packages: packages.iter().map(ToString::to_string).collect(),
    }
}

/// The mount of an interpreter, unless a sandbox shows it anyway.
pub(crate) fn base_mount(python: &Path) -> Option<Mount> {
    let prefix = python.parent().and_then(Path::parent).unwrap_or(Path::new("/usr"));
    let is_apart = !prefix.starts_with("/usr") || prefix.starts_with("/usr/local");
    is_apart.then(|| Mount {
        from: prefix.to_path_buf(),
        to: prefix.to_string_lossy().into_owned(),
        mode: MountMode::ReadOnly,
    })
}

/// Reads the manifest of a benchmark directory.
pub(crate) fn manifest_of(folder: &Path) -> Result<Manifest, BenchmarkError> {
    Manifest::read(&folder.join("manifest.jsonl"))
}
