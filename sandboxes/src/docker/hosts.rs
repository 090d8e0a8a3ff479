//! Several Docker engines as one host: each sandbox goes to the engine with the most free
//! capacity, and an engine that is down gets none until it answers again.

mod placed;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bollard::Docker;
use fixfly_runtime::{Host, Impact, Protection, Sandbox, SandboxError, SandboxSpec};
use tokio::sync::OnceCell;

use super::engine::{self, Patience};
use super::link::lock;
use super::placement::{Placement, Size};
use super::{Engine, Ready, image, plain, protections};
use placed::{Place, Placed, size};

/// How long an engine may take to show that it is there.
const SIGN_OF_LIFE: Duration = Duration::from_secs(5);
/// The same for the first answer, which includes the removal of what dead runs left.
const FIRST_ANSWER: Duration = Duration::from_secs(60);

/// Less than with one engine, because another can take the sandbox.
const PATIENCE: Patience =
    Patience { call: Duration::from_secs(30), tries: 2, pause: Duration::from_millis(500) };

/// Opens containers on several engines.
pub(super) struct Hosts(Arc<Inner>);

struct Inner {
    engines: Vec<Member>,
    placement: Arc<Mutex<Placement>>,
    started: Instant,
    /// Done when each engine was asked once.
    asked: OnceCell<()>,
    /// The image for each request, so that all engines use the same.
    images: tokio::sync::Mutex<HashMap<Request, String>>,
    /// The protections that the run was started with.
    required: OnceLock<Vec<Protection>>,
}

/// What decides about an image: its name, and packages.
type Request = (Option<String>, Vec<String>);

struct Member {
    address: String,
    engine: Engine,
    /// The images that it is known to have.
    images: Mutex<HashMap<String, Arc<OnceCell<()>>>>,
    /// Whether it has the protections that the run requires.
    is_accepted: AtomicBool,
}

impl Member {
    /// The engine, if it answers in time.
    async fn ask(&self) -> Result<&Ready, String> {
        let is_new = self.engine.ready.get().is_none();
        let limit = if is_new { FIRST_ANSWER } else { SIGN_OF_LIFE };
        let answer = async {
            let ready = self.engine.ready().await.map_err(plain)?;
            if !is_new {
                ready.docker.ping().await.map_err(|why| why.to_string())?;
            }
            Ok(ready)
        };
        let late = |_| format!("no answer in {} s", limit.as_secs());
        tokio::time::timeout(limit, answer).await.map_err(late)?
    }

    /// Looks for the image anew the next time.
    fn forget(&self, image: &str) {
        lock(&self.images).remove(image);
    }
}

/// Validates the addresses of engines.
///
/// # Errors
/// One sentence about the first that is wrong.
pub(super) fn check(addresses: &[String]) -> Result<(), String> {
    const SCHEMES: [&str; 5] = ["unix://", "tcp://", "http://", "https://", "ssh://"];
    for (at, address) in addresses.iter().enumerate() {
        if !SCHEMES.iter().any(|scheme| address.starts_with(scheme)) {
            return Err(format!(
                "`{address}` is not the address of a Docker engine: it must begin with unix://, tcp://, https:// or ssh://"
            ));
        }
        if addresses[..at].contains(address) {
            return Err(format!("the Docker engine {address} is named twice; name each once"));
        }
    }
    Ok(())
}

impl Hosts {
    /// The engines at these addresses, for a run.
    pub(super) fn new(addresses: &[String], run: &str) -> Hosts {
        // Another engine is sooner found than one that is down comes back.
        let patience = if addresses.len() > 1 { PATIENCE } else { Patience::default() };
        let member = |address: &String| Member {
            address: address.clone(),
            engine: Engine::at(address, patience).for_run(run),
            images: Mutex::default(),
            is_accepted: AtomicBool::new(false),
        };
        let engines: Vec<Member> = addresses.iter().map(member).collect();
        Hosts(Arc::new(Inner {
            placement: Arc::new(Mutex::new(Placement::new(engines.len()))),
            engines,
            started: Instant::now(),
            asked: OnceCell::new(),
            images: tokio::sync::Mutex::default(),
            required: OnceLock::new(),
        }))
    }
}

impl Inner {
    /// Asks all engines once, then those that are due: after a failure, or down for long
    /// enough.
    async fn refresh(self: &Arc<Self>) {
        let all = async || self.ask((0..self.engines.len()).collect()).await;
        self.asked.get_or_init(all).await;
        let due = self.placement().take_due(self.started.elapsed());
        self.ask(due).await;
    }

    async fn ask(self: &Arc<Self>, engines: Vec<usize>) {
        let tasks = engines.into_iter().map(|at| {
            let hosts = Arc::clone(self);
            tokio::spawn(async move { hosts.ask_one(at).await })
        });
        for task in tasks.collect::<Vec<_>>() {
            if let Err(fault) = task.await {
                tracing::warn!("asking a Docker engine: {fault}");
            }
        }
    }

    async fn ask_one(&self, at: usize) {
        let member = &self.engines[at];
        let address = &member.address;
        let mut asked = member.ask().await;
        if asked.is_ok()
            && let Err(why) = self.late_comer(at).await
        {
            asked = Err(why);
        }
        match asked {
            Ok(ready) => {
                let (processors, memory) = (ready.info.ncpu, ready.info.mem_total);
                let capacity = Size {
                    processors: processors.unwrap_or(1).unsigned_abs(),
                    memory_mb: memory.unwrap_or_default().unsigned_abs() >> 20,
                };
                if self.placement().answered(at, capacity) {
                    tracing::info!("the Docker engine at {address} is up again");
                }
                tracing::debug!("the Docker engine at {address} has {capacity:?}");
            }
            Err(why) => self.down(at, &why),
        }
    }

    /// Refuses an engine that was down when the run started, and lacks what the others
    /// protect from.
    async fn late_comer(&self, at: usize) -> Result<(), String> {
        let Some(required) = self.required.get() else { return Ok(()) };
        if self.engines[at].is_accepted.load(Ordering::Relaxed) {
            return Ok(());
        }
        let own = self.examine(at).await?;
        let mut both = required.iter().zip(&own);
        match both.find(|(required, own)| required.by.is_some() && own.by.is_none()) {
            Some((_, own)) => Err(format!("it lacks a protection: {}: {}", own.name, own.remedy)),
            None => {
                self.engines[at].is_accepted.store(true, Ordering::Relaxed);
                Ok(())
            }
        }
    }

    /// The protections of an engine.
    async fn examine(&self, at: usize) -> Result<Vec<Protection>, String> {
        let member = &self.engines[at];
        let spec = SandboxSpec::default();
        let image = self.image(&spec).await.map_err(plain)?;
        self.ensure(at, &image).await.map_err(plain)?;
        let spec = SandboxSpec { image: Some(image), ..spec };
        let own = protections::protections(&member.engine, &spec).await;
        if let Some(missing) =
            own.iter().find(|one| one.impact == Impact::NoSandbox && one.is_missing())
        {
            return Err(missing.remedy.clone());
        }
        Ok(own)
    }

    fn down(&self, at: usize, why: &str) {
        if self.placement().failed(at, why, self.started.elapsed()) {
            let address = &self.engines[at].address;
            tracing::warn!("the Docker engine at {address} is down: {why}");
        }
    }

    /// The engines that answered before and are not down.
    fn up(&self) -> Vec<(&str, Docker)> {
        let placement = self.placement();
        let up = self.engines.iter().enumerate().filter(|(at, _)| !placement.is_down(*at));
        up.filter_map(|(_, member)| {
            Some((member.address.as_str(), member.engine.ready.get()?.docker.clone()))
        })
        .collect()
    }

    /// The engines that an image may come from: those of the run, then this machine's.
    async fn sources(&self) -> Vec<(&str, Docker)> {
        let mut sources = self.up();
        let hasty = Patience { tries: 1, call: SIGN_OF_LIFE, ..Patience::default() };
        if let Ok(own) = engine::connect(None, hasty).await {
            sources.push(("this machine", own));
        }
        sources
    }

    /// The image of `spec`'s containers, the same on all engines.
    async fn image(&self, spec: &SandboxSpec) -> Result<String, SandboxError> {
        if let Some(name) = image::named(spec) {
            return Ok(name);
        }
        let mut images = self.images.lock().await;
        let request = (spec.image.clone(), spec.packages.clone());
        if let Some(name) = images.get(&request) {
            return Ok(name.clone());
        }
        let mut lack = "no Docker engine answers".to_owned();
        for (_, docker) in self.sources().await {
            match image::made(&docker, Patience::default(), spec).await {
                Ok(Ok(name)) => {
                    images.insert(request, name.clone());
                    return Ok(name);
                }
                Ok(Err(why)) => lack = why,
                Err(why) => lack = plain(why),
            }
        }
        Err(SandboxError::Open(format!(
            "{lack}: {}; it is copied to the engines that lack it",
            image::remedy(spec)
        )))
    }

    /// Makes sure that an engine has an image: copied from another one, else pulled.
    async fn ensure(&self, at: usize, name: &str) -> Result<(), SandboxError> {
        let member = &self.engines[at];
        let cell = Arc::clone(lock(&member.images).entry(name.to_owned()).or_default());
        let made = cell.get_or_try_init(|| async {
            let ready = member.engine.ready().await.map_err(plain)?;
            let Ready { docker, patience, .. } = ready;
            if image::exists(docker, *patience, name).await? {
                return Ok(());
            }
            let has =
                async |other: &Docker| image::exists(other, *patience, name).await.unwrap_or(false);
            for (address, other) in self.sources().await {
                if address != member.address && has(&other).await {
                    tracing::info!("copying the image {name} from {address} to {}", member.address);
                    return image::copy(&other, docker, name).await;
                }
            }
            image::pulled(docker, *patience, name).await
        });
        made.await.copied().map_err(|why: String| {
            SandboxError::Open(format!("the image {name} on {}: {why}", member.address))
        })
    }

    /// Opens a sandbox on one engine.
    async fn open_on(
        self: &Arc<Self>,
        at: usize,
        spec: &SandboxSpec,
        image: &str,
    ) -> Result<Placed, SandboxError> {
        let member = &self.engines[at];
        let place = Place::take(&self.placement, at, spec);
        self.ensure(at, image).await?;
        let spec = SandboxSpec { image: Some(image.to_owned()), ..spec.clone() };
        let opened = member.engine.open(&spec).await;
        let sandbox = opened.inspect_err(|_| member.forget(image))?;
        Ok(Placed { sandbox, place })
    }

    /// One error for those of several engines.
    fn failure(&self, errors: Vec<(usize, String)>) -> SandboxError {
        if let [(_, first), others @ ..] = errors.as_slice()
            && others.iter().all(|(_, other)| other == first)
        {
            return SandboxError::Open(first.clone());
        }
        let named = errors.iter().map(|(at, why)| format!("{}: {why}", self.engines[*at].address));
        SandboxError::Open(named.collect::<Vec<_>>().join("; "))
    }

    /// What is missing if no engine answers.
    fn none(&self) -> Protection {
        let placement = self.placement();
        let errors = self.engines.iter().enumerate();
        let errors =
            errors.map(|(at, member)| format!("{}: {}", member.address, placement.last_error(at)));
        Protection {
            name: "an engine and an image",
            by: None,
            needed: true,
            remedy: errors.collect::<Vec<_>>().join("; "),
            impact: Impact::NoSandbox,
        }
    }

    fn placement(&self) -> MutexGuard<'_, Placement> {
        lock(&self.placement)
    }
}

#[async_trait]
impl Host for Hosts {
    fn runs_here(&self) -> bool {
        false
    }

    async fn open(&self, spec: &SandboxSpec) -> Result<Box<dyn Sandbox>, SandboxError> {
        let Hosts(hosts) = self;
        hosts.refresh().await;
        let image = hosts.image(spec).await?;
        let mut errors: Vec<(usize, String)> = Vec::new();
        loop {
            let order = hosts.placement().order(size(spec));
            let is_new = |at: &usize| errors.iter().all(|(tried, _)| tried != at);
            let Some(at) = order.into_iter().find(is_new) else { break };
            match hosts.open_on(at, spec, &image).await {
                Ok(placed) => return Ok(Box::new(placed)),
                // No engine could open it.
                Err(why @ SandboxError::Unsupported { .. }) => return Err(why),
                Err(why) => {
                    tracing::info!("{}: {why}", hosts.engines[at].address);
                    errors.push((at, plain(why)));
                    hosts.ask(vec![at]).await;
                }
            }
        }
        Err(hosts.failure(errors))
    }

    fn isolation(&self) -> String {
        self.0.engines.first().map(|member| member.engine.isolation()).unwrap_or_default()
    }

    /// What every engine that answers provides.
    async fn protections(&self) -> Vec<Protection> {
        let Hosts(hosts) = self;
        hosts.refresh().await;
        let mut common: Vec<Protection> = Vec::new();
        for (at, member) in hosts.engines.iter().enumerate() {
            if hosts.placement().is_down(at) {
                continue;
            }
            let own = match hosts.examine(at).await {
                Ok(own) => own,
                Err(why) => {
                    hosts.down(at, &why);
                    continue;
                }
            };
            member.is_accepted.store(true, Ordering::Relaxed);
            if common.is_empty() {
                common = own;
                continue;
            }
            for (protection, mut own) in common.iter_mut().zip(own) {
                if protection.by.is_some() && own.by.is_none() {
                    own.remedy = format!("on {}: {}", member.address, own.remedy);
                    *protection = own;
                }
            }
        }
        if common.is_empty() {
            return vec![hosts.none()];
        }
        let _ = hosts.required.set(common.clone());
        common
    }

    async fn offers(&self, image: &str) -> bool {
        let Hosts(hosts) = self;
        hosts.refresh().await;
        for at in 0..hosts.engines.len() {
            let is_down = hosts.placement().is_down(at);
            if !is_down && hosts.ensure(at, image).await.is_ok() {
                return true;
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_addresses(addresses: &[&str], expected: Result<(), &str>) {
        let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        let checked = check(&addresses);
        match expected {
            Ok(()) => assert_eq!(checked, Ok(())),
            Err(part) => {
                assert!(checked.as_ref().is_err_and(|why| why.contains(part)), "{checked:?}")
            }
        }
    }

    #[test]
    fn addresses_of_engines_are_checked_before_one_is_asked() {
        let all = ["unix:///run/a", "tcp://b:2376", "https://c:2376", "ssh://me@d"];
        check_addresses(&all, Ok(()));
        check_addresses(&["node-1"], Err("`node-1` is not the address of a Docker engine"));
        check_addresses(&["tcp://b:2376", "tcp://b:2376"], Err("tcp://b:2376 is named twice"));
    }

    #[test]
    fn the_error_of_several_engines_names_each_unless_all_fail_alike() {
        let hosts = Hosts::new(&["tcp://a:1".into(), "tcp://b:2".into()], "").0;
        let failed = |errors: [(usize, &str); 2]| {
            let errors = errors.map(|(at, why)| (at, why.to_owned()));
            hosts.failure(errors.into()).to_string()
        };
        let expected = "the sandbox could not be opened: tcp://b:2: gone; tcp://a:1: full";
        assert_eq!(failed([(1, "gone"), (0, "full")]), expected);
        let same = "the sandbox could not be opened: there is no image";
        assert_eq!(failed([(1, "there is no image"), (0, "there is no image")]), same);
    }
}
