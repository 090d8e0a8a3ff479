//! `local`: Linux namespaces on this machine, without a daemon, opened by root or an
//! ordinary user.
//!
//! A sandbox is a set of namespaces over a root of read-only host folders and size-limited
//! tmpfs. Its programs are root of an unprivileged user namespace with one identity: the
//! opener's own, or nobody's if root opens it. Nothing in it is ever root for the kernel.

mod cgroup;
mod files;
mod guard;
mod inside;
mod kernel;
mod memory;
mod output;
mod process;
mod protections;
mod recipe;
mod run;
mod slate;
mod starter;
mod world;

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use fixfly_runtime::{
    Command, Entry, Host, MountMode, Output, Process, Protection, Sandbox, SandboxError,
    SandboxSpec,
};

use cgroup::{Group, Hierarchy};
#[cfg(feature = "docker")]
pub(crate) use files::size;
use guard::Guard;
use process::Server;
use recipe::Opener;
use run::{Run, Unstarted};
use starter::Starter;
use world::World;

use crate::{HostOptions, Open};

/// The `local` plug-in.
pub const ENTRY: Entry<Open> = Entry {
    name: "local",
    about: "Linux namespaces on this machine; no daemon, no root needed",
    open: |options| Ok(Arc::new(Local::new(options))),
};

/// Opens sandboxes on this machine.
pub struct Local {
    run: String,
    groups: Arc<Hierarchy>,
    guard: Arc<Guard>,
}

impl Local {
    /// Finds out what this machine provides.
    pub fn new(options: &HostOptions) -> Local {
        let groups = Hierarchy::find();
        groups.sweep();
        Local { run: options.run.clone(), groups: Arc::new(groups), guard: Arc::new(Guard::new()) }
    }
}

impl Default for Local {
    fn default() -> Self {
        Local::new(&HostOptions::default())
    }
}

#[async_trait]
impl Host for Local {
    async fn open(&self, spec: &SandboxSpec) -> Result<Box<dyn Sandbox>, SandboxError> {
        let (spec, run, groups) = (spec.clone(), self.run.clone(), Arc::clone(&self.groups));
        let guard = Arc::clone(&self.guard);
        let opened = blocking(move || open(spec, &run, &groups, guard)).await;
        Ok(Box::new(opened.map_err(SandboxError::Open)??))
    }

    fn isolation(&self) -> String {
        format!(
            "local: user+mount+pid+net+ipc+uts namespaces, {}, rlimits, {}",
            self.groups.describe(),
            self.guard.describe()
        )
    }

    async fn protections(&self) -> Vec<Protection> {
        protections::protections(self).await
    }
}

/// Removes the control groups of dead runs. Returns their number.
pub fn sweep() -> usize {
    Hierarchy::find().sweep()
}

fn open(
    spec: SandboxSpec,
    run: &str,
    groups: &Hierarchy,
    guard: Arc<Guard>,
) -> Result<LocalSandbox, SandboxError> {
    let failed = |why: String| SandboxError::Open(why);
    if let Some(odd) = spec.mounts.iter().find(|mount| !is_place(&mount.to)) {
        return Err(failed(format!("`{}` is no absolute path for a mount", odd.to)));
    }
    let opener = Opener::this_process();
    let private: Vec<_> =
        spec.mounts.iter().filter(|mount| mount.mode == MountMode::Private).collect();
    let sizes: Vec<u64> = private
        .iter()
        .map(|mount| {
            files::size(&mount.from)
                .map_err(|why| failed(format!("{}: {why}", mount.from.display())))
        })
        .collect::<Result<_, _>>()?;
    let steps = recipe::steps(&spec, opener, &sizes).map_err(|why| failed(why.to_string()))?;
    let world = World::make(&steps, opener).map_err(failed)?;
    for mount in private {
        files::copy(&world, &mount.from, &mount.to).map_err(|why| {
            failed(format!("copying {} to {}: {why}", mount.from.display(), mount.to))
        })?;
    }
    let group =
        groups.group(run, &spec.limits).map_err(|why| failed(format!("making a cgroup: {why}")))?;
    let servers = tokio::sync::Mutex::default();
    let starters = Mutex::default();
    Ok(LocalSandbox { world: Arc::new(world), spec, servers, starters, group, guard })
}

pub(crate) fn is_place(path: &str) -> bool {
    let mut parts = path.split('/');
    parts.next() == Some("") && path.len() > 1 && parts.all(|part| !["", ".", ".."].contains(&part))
}

struct LocalSandbox {
    servers: tokio::sync::Mutex<HashMap<String, Arc<Server>>>,
    /// Those that start no program now.
    starters: Mutex<Vec<Starter>>,
    world: Arc<World>,
    spec: SandboxSpec,
    group: Group,
    guard: Arc<Guard>,
}

impl LocalSandbox {
    /// Starts a command. With `announced`, waits until its program runs.
    async fn start(&self, command: &Command, announced: bool) -> Result<Run, SandboxError> {
        loop {
            let idle = self.starters().pop();
            let is_new = idle.is_none();
            let starter = match idle {
                Some(starter) => starter,
                None => self.starter().await.map_err(|why| failed(command, why))?,
            };
            match Run::start(starter, &self.spec, command, announced).await {
                Ok(run) => return Ok(run),
                // The machine ran out of memory, say.
                Err(Unstarted::Lost) if !is_new => {}
                Err(Unstarted::Lost) => return Err(failed(command, "its starter ended".into())),
                Err(Unstarted::Failed(why)) => return Err(failed(command, why)),
            }
        }
    }

    async fn starter(&self) -> Result<Starter, String> {
        let (world, guard) = (Arc::clone(&self.world), Arc::clone(&self.guard));
        let (doors, limits) = (self.group.doors(), self.spec.limits.clone());
        blocking(move || Starter::fork(&world, &limits, &doors, &guard)).await?
    }

    fn starters(&self) -> MutexGuard<'_, Vec<Starter>> {
        self.starters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn failed(command: &Command, why: String) -> SandboxError {
    SandboxError::Exec { command: command.argv.first().cloned().unwrap_or_default(), why }
}

#[async_trait]
impl Sandbox for LocalSandbox {
    async fn exec(&self, command: &Command) -> Result<Output, SandboxError> {
        let run = self.start(command, false).await?;
        let ended = run.finish(command).await;
        let (output, starter) = ended.map_err(|why| failed(command, why.to_string()))?;
        self.starters().extend(starter);
        Ok(output)
    }

    async fn spawn(&self, name: &str, command: &Command) -> Result<Arc<dyn Process>, SandboxError> {
        let mut servers = self.servers.lock().await;
        if let Some(server) = servers.get(name).filter(|server| server.lives()) {
            return Ok(Arc::clone(server) as Arc<dyn Process>);
        }
        let server = Arc::new(Server::new(name, self.start(command, true).await?)?);
        servers.insert(name.to_owned(), Arc::clone(&server));
        Ok(server)
    }

    async fn read(&self, path: &str) -> Result<Vec<u8>, SandboxError> {
        let (world, at) = (Arc::clone(&self.world), path.to_owned());
        let read = blocking(move || files::read(&world, &at)).await;
        read.and_then(|read| read.map_err(|why| plain(&why)))
            .map_err(|why| SandboxError::File { path: path.to_owned(), why })
    }

    async fn write(&self, path: &str, bytes: &[u8]) -> Result<(), SandboxError> {
        let (world, at, bytes) = (Arc::clone(&self.world), path.to_owned(), bytes.to_vec());
        let written = blocking(move || files::write(&world, &at, &bytes)).await;
        written
            .and_then(|written| written.map_err(|why| plain(&why)))
            .map_err(|why| SandboxError::File { path: path.to_owned(), why })
    }

    async fn close(mut self: Box<Self>) -> Result<(), SandboxError> {
        let servers = std::mem::take(self.servers.get_mut());
        let mut ended = Ok(());
        for server in servers.values() {
            ended = ended.and(server.end().await);
        }
        let mut group = std::mem::take(&mut self.group);
        let starters = std::mem::take(&mut *self.starters());
        let removed = blocking(move || {
            starters.into_iter().for_each(Starter::end);
            group.remove()
        });
        let removed = removed.await;
        ended?;
        match removed {
            Ok(Ok(())) => Ok(()),
            Ok(Err(why)) => Err(SandboxError::Open(format!("its cgroup remains: {why}"))),
            Err(why) => Err(SandboxError::Open(why)),
        }
    }
}

impl Drop for LocalSandbox {
    fn drop(&mut self) {
        // Somebody may still hold a server after its sandbox; its processes must not
        // survive.
        for server in self.servers.get_mut().values() {
            server.kill();
        }
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.map_err(|why| why.to_string())
}

fn plain(why: &io::Error) -> String {
    match why.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        io::ErrorKind::IsADirectory => "it is a folder".to_owned(),
        _ => why.to_string(),
    }
}
