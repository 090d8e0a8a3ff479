//! Instances with everything that grading needs, and a cache of earlier grades.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fixfly_runtime::{
    BenchmarkError, GradingRules, Host, InstanceSpec, Lifetime, Limits, Mount, MountMode, Sandbox,
    SandboxSpec, hex, home, sha256, write_whole,
};
use sha2::{Digest, Sha256};

use super::batch::Job;
use super::environment::{Environment, Pythons, environment};
use super::evaluate::{Evaluation, Plan, ROOT};
use super::instance::{Instance, offered_images};
use super::patch::{Cleaned, cleaned, files};
use super::spec::{Spec, Specs};
use super::tree::{Mirrors, tree};
use super::verdict::Graded;

/// Version of the cache; changes whenever the same patch may be evaluated differently.
const CACHE: &str = "2";

/// How instances are graded.
#[derive(Clone, Debug)]
pub struct Grading {
    /// The mirrors of the repositories.
    pub mirrors: Mirrors,
    /// Folder of additional specifications.
    pub specs: Option<PathBuf>,
    /// Interpreters, by version.
    pub pythons: Pythons,
    /// The official rules to use.
    pub rules: GradingRules,
    /// Time limit of one run of the tests.
    pub timeout: Duration,
    /// The image that contains the environment, by instance; for other instances the
    /// environment is made here.
    pub images: BTreeMap<String, String>,
}

impl Grading {
    /// As a specification asks, with no images.
    pub fn of(spec: &InstanceSpec) -> Grading {
        let folder = spec.repos.clone().unwrap_or_else(|| home().join("swebench/repos"));
        Grading {
            mirrors: Mirrors { folder },
            specs: spec.specs.clone(),
            pythons: spec.pythons.clone(),
            rules: spec.rules,
            timeout: Duration::from_secs(spec.test_timeout),
            images: BTreeMap::new(),
        }
    }
}

/// Instances that are ready to work on and to be graded.
pub struct Grader {
    instances: Vec<Instance>,
    ready: HashMap<String, Ready>,
    grading: Grading,
}

struct Ready {
    spec: Spec,
    tree: PathBuf,
    world: World,
}

/// Where an instance's environment comes from.
enum World {
    /// Made here, and mounted in a sandbox.
    Made(Environment),
    /// An image's own.
    Image(String),
}

impl Ready {
    fn python(&self) -> &str {
        match &self.world {
            World::Made(environment) => &environment.python,
            World::Image(_) => &self.spec.python,
        }
    }
}

impl World {
    /// Whether it has the interpreter that the specification names.
    fn matches(&self) -> bool {
        match self {
            World::Made(environment) => environment.matches,
            World::Image(_) => true,
        }
    }

    /// A name that distinguishes it from others.
    fn name(&self) -> &str {
        match self {
            World::Made(environment) => &environment.hash,
            World::Image(image) => image,
        }
    }
}

/// Paths of programs, the environment's own first.
const PATHS: [&str; 2] = ["/env/bin", "/opt/miniconda3/envs/testbed/bin"];

impl Grader {
    /// Makes the tree and the environment of each instance that has none yet. `say` gets
    /// messages about steps that take long.
    ///
    /// # Errors
    /// One sentence that names the instance and what is missing.
    pub fn open(
        instances: Vec<Instance>,
        grading: Grading,
        say: &dyn Fn(&str),
    ) -> Result<Grader, BenchmarkError> {
        let specs = Specs::load(grading.specs.as_deref())?;
        let home = home();
        let mut ready = HashMap::new();
        for (at, instance) in instances.iter().enumerate() {
            let spec = specs.of(instance)?.clone();
            say(&format!("{} of {}: {}", at + 1, instances.len(), instance.id));
            let tree = tree(&home, &grading.mirrors, instance)?;
            let Grading { mirrors, pythons, images, .. } = &grading;
            let world = match images.get(&instance.id) {
                Some(image) => World::Image(image.clone()),
                None => World::Made(environment(&home, mirrors, &spec, instance, pythons)?),
            };
            ready.insert(instance.id.clone(), Ready { spec, tree, world });
        }
        Ok(Grader { instances, ready, grading })
    }

    /// Makes everything that `spec` says for `instances`, in sandboxes of `host`. `say`
    /// gets messages about steps that take long.
    ///
    /// # Errors
    /// As for [`Grader::open`].
    pub async fn prepare(
        instances: Vec<Instance>,
        spec: &InstanceSpec,
        host: &dyn Host,
        say: &dyn Fn(&str),
    ) -> Result<Grader, BenchmarkError> {
        let images = offered_images(&instances, host).await;
        Grader::open(instances, Grading { images, ..Grading::of(spec) }, say)
    }

    /// The instances, in the file's order.
    pub fn instances(&self) -> &[Instance] {
        &self.instances
    }

    /// The rules by which they are graded.
    pub fn rules(&self) -> GradingRules {
        self.grading.rules
    }

    /// Time limit of one run of the tests.
    pub(super) fn timeout(&self) -> Duration {
        self.grading.timeout
    }

    /// An instance by its id.
    pub fn instance(&self, id: &str) -> Result<&Instance, BenchmarkError> {
        self.instances
            .iter()
            .find(|instance| instance.id == id)
            .ok_or_else(|| BenchmarkError::Broken(format!("there is no instance {id}")))
    }

    fn ready(&self, instance: &Instance) -> Result<&Ready, BenchmarkError> {
        let ready = self.ready.get(&instance.id);
        ready.ok_or_else(|| BenchmarkError::Broken(format!("{} was not made ready", instance.id)))
    }

    /// The tree of an instance's base commit on this machine.
    pub(super) fn tree(&self, instance: &Instance) -> Result<&Path, BenchmarkError> {
        Ok(&self.ready(instance)?.tree)
    }

    /// The specification of an instance's version.
    pub fn spec(&self, instance: &Instance) -> Result<&Spec, BenchmarkError> {
        Ok(&self.ready(instance)?.spec)
    }

    /// The full version of the interpreter that its tests run with.
    pub fn python(&self, instance: &Instance) -> Result<&str, BenchmarkError> {
        Ok(self.ready(instance)?.python())
    }

    /// The sandbox for working on and grading an instance: no network, the tree as a
    /// private copy, the environment read-only.
    pub fn sandbox(&self, instance: &Instance) -> Result<SandboxSpec, BenchmarkError> {
        let Ready { tree, world, .. } = self.ready(instance)?;
        let mount = |from: &Path, to: &str, mode| Mount {
            from: from.to_path_buf(),
            to: to.to_string(),
            mode,
        };
        let mut mounts = vec![mount(tree, ROOT, MountMode::Private)];
        let (own, image, packages) = match world {
            World::Made(environment) => {
                mounts.push(mount(&environment.venv, "/env", MountMode::ReadOnly));
                mounts.extend(environment.mounts.iter().cloned());
                (PATHS[0], None, vec!["git".to_string(), "patch".to_string()])
            }
            World::Image(image) => (PATHS[1], Some(image.clone()), Vec::new()),
        };
        let path = format!("{own}:/usr/local/bin:/usr/bin:/bin");
        let env = [
            ("HOME", "/tmp"),
            ("LANG", "C.UTF-8"),
            ("GIT_CONFIG_COUNT", "1"),
            ("GIT_CONFIG_KEY_0", "safe.directory"),
            ("GIT_CONFIG_VALUE_0", "*"),
            ("PATH", path.as_str()),
            ("PYTHONDONTWRITEBYTECODE", "1"),
            ("PYTHONHASHSEED", "0"),
            ("PYTHONPATH", ROOT),
            ("TERM", "dumb"),
            ("TZ", "UTC"),
        ];
        Ok(SandboxSpec {
            mounts,
            env: env.map(|(name, value)| (name.to_string(), value.to_string())).into(),
            workdir: ROOT.to_string(),
            limits: Limits { processes: 512, disk_mb: 1024, file_mb: 256, ..Limits::default() },
            lifetime: Lifetime::Episode,
            image,
            packages,
        })
    }

    /// A patch without what is not part of a fix.
    pub fn cleaned(&self, instance: &Instance, patch: &str) -> Result<Cleaned, BenchmarkError> {
        Ok(cleaned(patch, &self.tests(instance)?))
    }

    /// Whether a path is that of an instance's test.
    fn tests(&self, instance: &Instance) -> Result<impl Fn(&str) -> bool + Sync, BenchmarkError> {
        let spec = self.spec(instance)?;
        let of_patch = files(instance.test_patch.as_bytes());
        let paths = of_patch.iter().flat_map(|file| file.paths());
        let own: BTreeSet<String> =
            paths.map(|path| String::from_utf8_lossy(path).into_owned()).collect();
        Ok(move |path: &str| spec.is_test(path) || own.contains(path))
    }

    /// Grades a patch in an unused sandbox. Of a patch that is `cleaned`, no change of a test
    /// is left, even if the programs that apply it find one.
    pub async fn grade(
        &self,
        instance: &Instance,
        (patch, cleaned): (&str, bool),
        fresh: &dyn Sandbox,
    ) -> Result<Graded, BenchmarkError> {
        let Ready { spec, .. } = self.ready(instance)?;
        let Grading { rules, timeout, .. } = self.grading;
        let is_test = self.tests(instance)?;
        let kept: Option<&(dyn Fn(&str) -> bool + Sync)> = cleaned.then_some(&is_test);
        let seen = Plan { instance, spec, rules, timeout, kept }.evaluate(patch, fresh).await?;
        self.judged(instance, seen)
    }

    fn judged(&self, instance: &Instance, seen: Evaluation) -> Result<Graded, BenchmarkError> {
        let Ready { spec, world, .. } = self.ready(instance)?;
        Ok(Graded::of(instance, spec, self.grading.rules, world.matches(), seen))
    }

    /// Grades a patch in a sandbox of its own. Unless it is forced, the cached result of the
    /// same patch is used.
    ///
    /// # Errors
    /// [`BenchmarkError`] if the environment failed: no grade, and nothing is cached.
    pub async fn graded(&self, job: &Job, host: &dyn Host) -> Result<Graded, BenchmarkError> {
        let Job { instance, patch, cleaned, force } = job;
        let kept = home().join("swebench/grades").join(self.key(job)?);
        if !force
            && let Some(seen) =
                fs::read(&kept).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok())
        {
            return self.judged(instance, seen);
        }
        let fresh = host.open(&self.sandbox(instance)?).await?;
        let graded = self.grade(instance, (patch.as_str(), *cleaned), &*fresh).await;
        fresh.close().await?;
        let graded = graded?;
        // A result that cannot be cached is only computed again.
        if let Some(seen) = &graded.evaluation
            && !seen.timed_out
            && let Err(error) = keep(&kept, seen)
        {
            tracing::warn!("{}: the grade was not kept: {error}", kept.display());
        }
        Ok(graded)
    }

    /// The cache key: everything that the result of a patch depends on, never the name of a
    /// run.
    fn key(&self, Job { instance, patch, cleaned, .. }: &Job) -> Result<String, BenchmarkError> {
        let Ready { spec, world, .. } = self.ready(instance)?;
        let Instance { id, base_commit, test_patch, .. } = instance;
        let how = format!(
            "{:?}",
            (CACHE, cleaned, self.grading.rules, self.grading.timeout, spec, world.name())
        );
        let parts = [how.as_str(), id, base_commit, test_patch, patch];
        Ok(sha256(parts.join("\0")) + ".json")
    }

    /// What grades are based on, for the record.
    pub fn facts(&self) -> BTreeMap<String, String> {
        let mut hasher = Sha256::new();
        for instance in &self.instances {
            for part in [&instance.id, &instance.base_commit, &instance.test_patch] {
                hasher.update(part.as_bytes());
                hasher.update([0]);
            }
        }
        let hash = hex(hasher.finalize())[..16].to_string();
        let pythons: std::collections::BTreeSet<&str> =
            self.ready.values().map(Ready::python).collect();
        BTreeMap::from([
            ("instances_sha256".to_string(), hash),
            ("pythons".to_string(), pythons.into_iter().collect::<Vec<_>>().join(", ")),
            ("rules".to_string(), format!("{:?}", self.grading.rules)),
        ])
    }
}

fn keep(file: &Path, seen: &Evaluation) -> std::io::Result<()> {
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)?;
    }
    write_whole(file, serde_json::to_vec(seen)?)
}
