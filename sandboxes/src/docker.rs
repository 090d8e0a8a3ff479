//! `docker`: containers of a Docker engine, on this machine or another.
//!
//! One container is one sandbox. Its first program, the agent, starts the others, each in
//! namespaces of its own. A timeout therefore kills all processes of a program, and a
//! command costs a fork instead of a `docker exec`. The agent exits when its input ends,
//! and the container exits with the agent. If an engine keeps it nevertheless, the next
//! host's sweep removes it.

mod container;
mod debian;
mod engine;
mod hosts;
mod image;
mod link;
mod placement;
mod protections;
mod seccomp;
mod server;
mod sweep;
mod trees;

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bollard::Docker;
use bollard::errors::Error;
use bollard::models::SystemInfo;
use bollard::query_parameters::{AttachContainerOptionsBuilder, CreateContainerOptionsBuilder};
use fixfly_runtime::{
    Command, Entry, Host, MountMode, Output, Process, Protection, Sandbox, SandboxError,
    SandboxSpec, Status,
};
use serde_json::{Value, json};
use tokio::sync::OnceCell;

use container::{Shown, Source};
use hosts::Hosts;
use link::{End, Event, Link, Run};
use server::Server;
use trees::Trees;

use crate::{HostOptions, Open};

pub use debian::{Debian, DebianError, PACKAGES, SUITE, distinct, missing};
pub use engine::Patience;
pub use image::{build, import};
pub use sweep::sweep_hosts;

/// The `docker` plug-in.
pub const ENTRY: Entry<Open> = Entry {
    name: "docker",
    about: "containers of a Docker engine (DOCKER_HOST), of an image made by `fixfly sandbox image build`",
    open,
};

fn open(options: &HostOptions) -> Result<Arc<dyn Host>, SandboxError> {
    hosts::check(&options.docker_hosts).map_err(SandboxError::Open)?;
    Ok(match options.docker_hosts.as_slice() {
        [] => Arc::new(Engine::default().for_run(&options.run)),
        engines => Arc::new(Hosts::new(engines, &options.run)),
    })
}

/// What is wrong, without the sentence around it.
fn plain(why: SandboxError) -> String {
    match why {
        SandboxError::Open(why) => why,
        why => why.to_string(),
    }
}

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);
const DEFAULT_CAP: usize = 1 << 20;
/// Time limit for what must happen at once through an engine.
const AT_ONCE: Duration = Duration::from_secs(15);
/// Bytes that a long-lived program may write before somebody reads them.
const WINDOW: u64 = 1 << 20;
const ENOENT: i32 = 2;

/// Opens containers.
#[derive(Default)]
pub struct Engine {
    /// The run that the containers are labelled with.
    run: String,
    /// `None` for the engine of `DOCKER_HOST`.
    address: Option<String>,
    patience: Patience,
    ready: OnceCell<Ready>,
}

struct Ready {
    run: String,
    docker: Docker,
    info: SystemInfo,
    patience: Patience,
    /// Copies of folders, for an engine that does not see this machine's.
    trees: Option<Trees>,
}

impl Engine {
    /// An engine by its address (`unix:///…`, `tcp://…`, `ssh://…`).
    pub fn at(address: &str, patience: Patience) -> Engine {
        Engine { address: Some(address.to_owned()), patience, ..Engine::default() }
    }

    /// Labels the containers with that run.
    pub fn for_run(self, run: &str) -> Engine {
        Engine { run: run.to_owned(), ..self }
    }

    async fn ready(&self) -> Result<&Ready, SandboxError> {
        self.ready
            .get_or_try_init(|| async {
                let address = self.address.as_deref();
                let docker = engine::connect(address, self.patience).await?;
                sweep::sweep_with(&docker, self.patience).await?;
                let info = self
                    .patience
                    .ask(|| docker.info())
                    .await
                    .map_err(|why| SandboxError::Open(why.to_string()))?;
                let run = self.run.clone();
                let trees = engine::is_elsewhere(address, &info).then(|| Trees::new(&run));
                Ok(Ready { run, docker, info, patience: self.patience, trees })
            })
            .await
    }
}

impl Ready {
    async fn image(&self, spec: &SandboxSpec) -> Result<String, SandboxError> {
        image::choose(&self.docker, self.patience, spec).await
    }

    /// The read-only mounts, with the source that the engine can use.
    async fn shown(&self, spec: &SandboxSpec, image: &str) -> Result<Vec<Shown>, SandboxError> {
        let mut shown = Vec::new();
        for mount in spec.mounts.iter().filter(|mount| mount.mode == MountMode::ReadOnly) {
            let from = match &self.trees {
                None => Source::Folder(mount.from.clone()),
                Some(trees) => Source::Volume(
                    trees.volume(&self.docker, self.patience, image, &mount.from).await?,
                ),
            };
            shown.push(Shown { from, to: mount.to.clone() });
        }
        Ok(shown)
    }
}

#[async_trait]
impl Host for Engine {
    async fn open(&self, spec: &SandboxSpec) -> Result<Box<dyn Sandbox>, SandboxError> {
        let ready = self.ready().await?;
        check(spec)?;
        let private: Vec<u64> = spec
            .mounts
            .iter()
            .filter(|mount| mount.mode == MountMode::Private)
            .map(|mount| crate::local::size(&mount.from).map_err(|why| unusable(&mount.from, &why)))
            .collect::<Result<_, _>>()?;
        let container = start(ready, spec, &private).await?;
        for mount in spec.mounts.iter().filter(|mount| mount.mode == MountMode::Private) {
            container.fill(&mount.from, &mount.to).await?;
        }
        Ok(Box::new(container))
    }

    fn isolation(&self) -> String {
        "docker: container without network and capabilities, seccomp, cgroup (memory, pids, cpu); \
         each program in user+mount+pid namespaces; rlimits"
            .to_owned()
    }

    async fn protections(&self) -> Vec<Protection> {
        protections::protections(self, &SandboxSpec::default()).await
    }

    async fn offers(&self, image: &str) -> bool {
        let Ok(Ready { docker, patience, .. }) = self.ready().await else { return false };
        let pulled = image::pulled(docker, *patience, image).await;
        pulled.inspect_err(|why| tracing::info!("{why}")).is_ok()
    }
}

fn unusable(folder: &Path, why: &std::io::Error) -> SandboxError {
    SandboxError::Open(format!("{}: {why}", folder.display()))
}

fn check(spec: &SandboxSpec) -> Result<(), SandboxError> {
    for mount in &spec.mounts {
        if !crate::local::is_place(&mount.to) {
            let why = format!("`{}` is no absolute path for a mount", mount.to);
            return Err(SandboxError::Open(why));
        }
        mount.from.metadata().map_err(|why| unusable(&mount.from, &why))?;
    }
    Ok(())
}

async fn start(
    ready: &Ready,
    spec: &SandboxSpec,
    private: &[u64],
) -> Result<Container, SandboxError> {
    let Ready { docker, info, patience, .. } = ready;
    let failed = |why: Error| SandboxError::Open(why.to_string());
    let name = crate::lease::fresh();
    let image = ready.image(spec).await?;
    let shown = ready.shown(spec, &image).await?;
    let processors = info.ncpu.unwrap_or(1);
    let labels = container::labels(&ready.run, &name);
    let body = container::body(spec, &image, labels, processors, private, &shown);
    let named = CreateContainerOptionsBuilder::default().name(&name).build();
    let gone = Removal { docker: docker.clone(), patience: *patience, name: name.clone() };
    let created = patience.ask(|| docker.create_container(Some(named.clone()), body.clone())).await;
    match created {
        // An earlier try succeeded, although its answer was lost.
        Ok(_) | Err(Error::DockerResponseServerError { status_code: 409, .. }) => {}
        Err(why) => return Err(failed(why)),
    }
    let streams = AttachContainerOptionsBuilder::default();
    let streams = streams.stream(true).stdin(true).stdout(true).stderr(true).build();
    let attached = patience
        .ask(|| docker.attach_container(&name, Some(streams.clone())))
        .await
        .map_err(failed)?;
    let (link, mut greeting) = Link::new(attached);
    match patience.ask(|| docker.start_container(&name, None)).await {
        Ok(()) | Err(Error::DockerResponseServerError { status_code: 304, .. }) => {}
        Err(why) => return Err(failed(why)),
    }
    if let Err(how) = greeting.greeted(AT_ONCE * 6).await {
        let why = format!("a container of {image} {how}: {}", link.last_words());
        return Err(SandboxError::Open(why));
    }
    Ok(Container { servers: tokio::sync::Mutex::default(), link, spec: spec.clone(), gone })
}

/// Removes a container when dropped, as far as possible.
struct Removal {
    docker: Docker,
    patience: Patience,
    name: String,
}

impl Drop for Removal {
    fn drop(&mut self) {
        let (docker, patience) = (self.docker.clone(), self.patience);
        let name = std::mem::take(&mut self.name);
        if let (Ok(runtime), false) = (tokio::runtime::Handle::try_current(), name.is_empty()) {
            runtime.spawn(async move { engine::remove(&docker, patience, &name).await });
        }
    }
}

struct Container {
    servers: tokio::sync::Mutex<HashMap<String, Arc<Server>>>,
    link: Link,
    spec: SandboxSpec,
    gone: Removal,
}

impl Container {
    /// Starts a program. With `cap`, its output is kept up to that many bytes. Without, it
    /// is long-lived: it waits while too much of its output is unread.
    fn start(&self, command: &Command, cap: Option<usize>) -> Run {
        let workdir = command.workdir.as_deref().unwrap_or(&self.spec.workdir);
        self.ask(json!({
            "kind": "program",
            "argv": command.argv,
            "env": self.spec.env,
            "workdir": if workdir.is_empty() { "/" } else { workdir },
            "cap": cap,
            "window": cap.is_none().then_some(WINDOW),
        }))
    }

    fn ask(&self, mut asked: Value) -> Run {
        let limits = &self.spec.limits;
        asked["limits"] = json!({
            "NPROC": limits.processes + 16,
            "FSIZE": limits.file_mb << 20,
            "NOFILE": limits.open_files,
            "CPU": limits.cpu_seconds,
            "CORE": 0,
        });
        self.link.start(&asked)
    }

    async fn file(&self, kind: &str, path: &str, bytes: &[u8]) -> Result<Vec<u8>, SandboxError> {
        let failed = |why: String| SandboxError::File { path: path.to_owned(), why };
        let mut run = self.ask(json!({ "kind": kind, "path": path, "cap": null }));
        run.feed(bytes);
        run.end_input();
        let ended = tokio::time::timeout(DEFAULT_TIMEOUT, gather(&mut run)).await;
        match ended.map_err(|_| failed("it took too long".into()))? {
            (_, Some(End { errno: Some(ENOENT), .. })) => {
                Err(failed("there is no such file".into()))
            }
            (_, Some(End { error: Some(why), .. })) => Err(failed(why)),
            (output, Some(end)) if end.status() == Some(Status::Exited(0)) => Ok(output.stdout),
            (_, Some(_)) => Err(failed("it is beyond the sandbox's limits".into())),
            (_, None) => Err(failed("the container is gone".into())),
        }
    }

    /// Copies a folder of the host into a private mount.
    async fn fill(&self, from: &Path, to: &str) -> Result<(), SandboxError> {
        let failed =
            |why: String| SandboxError::Open(format!("copying {} to {to}: {why}", from.display()));
        let mut tar = tar::Builder::new(Vec::new());
        tar.follow_symlinks(false);
        let packed = tar.append_dir_all(".", from).and_then(|()| tar.into_inner());
        let stdin = packed.map_err(|why| failed(why.to_string()))?;
        let unpack = ["tar", "-x", "--no-same-owner", "-p", "-f", "-", "-C", to];
        let command = Command { stdin, workdir: Some("/".into()), ..Command::new(unpack) };
        let output = self.exec(&command).await?;
        match output.status {
            Status::Exited(0) => Ok(()),
            _ => Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned())),
        }
    }
}

/// The output of a run, and how it ends.
async fn gather(run: &mut Run) -> (Output, Option<End>) {
    let status = Status::TimedOut;
    let mut output = Output { status, stdout: Vec::new(), stderr: Vec::new(), elided: 0 };
    let end = gather_into(run, &mut output).await;
    (output, end)
}

async fn gather_into(run: &mut Run, output: &mut Output) -> Option<End> {
    loop {
        match run.next().await? {
            Event::Out(piece) => output.stdout.extend(piece),
            Event::Err(piece) => output.stderr.extend(piece),
            Event::End(end) => return Some(end),
        }
    }
}

#[async_trait]
impl Sandbox for Container {
    async fn exec(&self, command: &Command) -> Result<Output, SandboxError> {
        let program = command.argv.first().cloned().unwrap_or_default();
        let failed = |why: &str| SandboxError::Exec { command: program.clone(), why: why.into() };
        if command.argv.is_empty() {
            return Err(failed("there is no program"));
        }
        let mut run = self.start(command, Some(command.output_cap.unwrap_or(DEFAULT_CAP)));
        run.feed(&command.stdin);
        run.end_input();
        let status = Status::Signalled(nix::libc::SIGKILL);
        let mut output = Output { status, stdout: Vec::new(), stderr: Vec::new(), elided: 0 };
        let timeout = command.timeout.unwrap_or(DEFAULT_TIMEOUT);
        let in_time = tokio::time::timeout(timeout, gather_into(&mut run, &mut output)).await;
        let timed_out = in_time.is_err();
        let end = match in_time {
            Ok(end) => end,
            Err(_) => {
                run.kill();
                let killed = gather_into(&mut run, &mut output);
                tokio::time::timeout(AT_ONCE, killed)
                    .await
                    .map_err(|_| failed("it did not end when killed"))?
            }
        };
        let end = end.ok_or_else(|| failed("the container is gone"))?;
        if let Some(why) = &end.error {
            return Err(failed(why));
        }
        output.elided = end.elided;
        output.status = match timed_out {
            true => Status::TimedOut,
            false => end.status().unwrap_or(status),
        };
        Ok(output)
    }

    async fn spawn(&self, name: &str, command: &Command) -> Result<Arc<dyn Process>, SandboxError> {
        let mut servers = self.servers.lock().await;
        if let Some(server) = servers.get(name).filter(|server| server.lives()) {
            return Ok(Arc::clone(server) as Arc<dyn Process>);
        }
        let server = Arc::new(Server::new(name, self.start(command, None)));
        servers.insert(name.to_owned(), Arc::clone(&server));
        Ok(server)
    }

    async fn read(&self, path: &str) -> Result<Vec<u8>, SandboxError> {
        self.file("read", path, &[]).await
    }

    async fn write(&self, path: &str, bytes: &[u8]) -> Result<(), SandboxError> {
        self.file("write", path, bytes).await.map(drop)
    }

    fn is_lost(&self) -> bool {
        self.link.has_ended()
    }

    async fn close(mut self: Box<Self>) -> Result<(), SandboxError> {
        for server in std::mem::take(self.servers.get_mut()).values() {
            server.end().await;
        }
        let name = std::mem::take(&mut self.gone.name);
        let removed = engine::remove(&self.gone.docker, self.gone.patience, &name).await;
        removed.map_err(|why| SandboxError::Open(format!("the container {name} remains: {why}")))
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        self.link.end();
    }
}
