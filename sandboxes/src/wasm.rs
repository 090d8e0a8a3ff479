//! `wasm`: Python in WebAssembly, in this process. System calls, processes and networks do
//! not exist for the program, so nothing needs to be forbidden.
//!
//! A command is `python3` with a file or `-c`. It runs in an instance of its own, which is
//! made in milliseconds from prepared memory. Nothing else can run. A program may start
//! others in fresh instances, with different contents for single files: the test server
//! does this for each candidate.

mod component;
mod instance;
mod process;
mod stdio;
mod tree;

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use fixfly_runtime::{
    Command, Entry, Host, Impact, Mount, Output, Process, Protection, Sandbox, SandboxError,
    SandboxSpec, Status,
};
use nix::fcntl::OFlag;

use instance::{Bounds, Ending, Machine, Program, Stdio};
use process::Server;
use stdio::{Input, Keep, Printed, lock};
use tree::Tree;

use crate::local::Local;
use crate::{HostOptions, Open};

pub use component::{Ready, Step, build, build_ready};

/// The `wasm` plug-in.
pub const ENTRY: Entry<Open> = Entry {
    name: "wasm",
    about: "Python in WebAssembly, with no processes, threads or sockets; runs the items that \
            need none, and confirms what passes in `local`",
    open: |options| Ok(Arc::new(Wasm::new(options))),
};

/// Default timeout of a command.
const MINUTE: Duration = Duration::from_secs(60);
/// Default number of bytes kept of a command's output.
const OUTPUT: usize = 1 << 20;
/// Bytes of stderr that are kept for error messages.
const TAIL: usize = 4096;
/// Maximum length of an answer, so that the program cannot fill fixfly's memory.
const LONGEST_LINE: usize = 64 << 20;

/// Opens sandboxes in this process.
pub struct Wasm {
    /// Machines, by the mounts of their sandboxes.
    machines: Mutex<Vec<(Vec<Mount>, Arc<Machine>)>>,
    judge: Arc<dyn Host>,
}

impl Wasm {
    /// Removes what dead sandboxes left behind. The component is loaded with the first
    /// sandbox.
    pub fn new(options: &HostOptions) -> Wasm {
        sweep();
        Wasm { machines: Mutex::default(), judge: Arc::new(Local::new(options)) }
    }

    fn machine(&self, mounts: &[Mount]) -> Result<Arc<Machine>, SandboxError> {
        let mut machines = lock(&self.machines);
        if let Some((_, machine)) = machines.iter().find(|(of, _)| of == mounts) {
            return Ok(Arc::clone(machine));
        }
        let machine = Arc::new(component::load(mounts).map_err(SandboxError::Open)?);
        machines.push((mounts.to_vec(), Arc::clone(&machine)));
        Ok(machine)
    }
}

impl Default for Wasm {
    fn default() -> Self {
        Wasm::new(&HostOptions::default())
    }
}

/// Removes the files of sandboxes whose fixfly has ended. Returns their number.
pub fn sweep() -> usize {
    tree::sweep(&component::folder().join("live"))
}

#[async_trait]
impl Host for Wasm {
    async fn open(&self, spec: &SandboxSpec) -> Result<Box<dyn Sandbox>, SandboxError> {
        let (spec, home) = (spec.clone(), component::folder().join("live"));
        let machine = self.machine(&spec.mounts)?;
        let opened = blocking(move || Tree::make(&spec, &home).map(|tree| (spec, tree))).await;
        let (spec, tree) = opened.and_then(|made| made).map_err(SandboxError::Open)?;
        Ok(Box::new(WasmSandbox {
            machine,
            tree: Arc::new(tree),
            spec,
            servers: Default::default(),
        }))
    }

    fn isolation(&self) -> String {
        format!(
            "wasm: wasmtime, epochs, memory limits; passes confirmed in {}",
            self.judge.isolation()
        )
    }

    async fn protections(&self) -> Vec<Protection> {
        let here = component::is_here();
        let component = Protection {
            name: "Python in WebAssembly",
            by: here.then(|| "a component made here".to_owned()),
            needed: true,
            remedy: "fixfly sandbox wasm build".to_owned(),
            impact: Impact::NoSandbox,
        };
        [vec![component], self.judge.protections().await].concat()
    }

    fn judge(&self) -> Option<Arc<dyn Host>> {
        Some(Arc::clone(&self.judge))
    }
}

struct WasmSandbox {
    servers: tokio::sync::Mutex<HashMap<String, Arc<Server>>>,
    machine: Arc<Machine>,
    tree: Arc<Tree>,
    spec: SandboxSpec,
}

impl WasmSandbox {
    fn program(&self, command: &Command) -> Result<Program, SandboxError> {
        let program = command.argv.first().map(String::as_str).unwrap_or_default();
        let name = program.rsplit('/').next().unwrap_or_default();
        let python = name.strip_prefix("python").is_some_and(|version| {
            version.chars().all(|letter| letter.is_ascii_digit() || letter == '.')
        });
        if !python {
            return Err(SandboxError::Unsupported {
                sandbox: "wasm",
                what: format!("cannot run `{program}`: it runs only Python"),
            });
        }
        let limits = &self.spec.limits;
        let timeout = command.timeout.unwrap_or(MINUTE);
        Ok(Program {
            argv: command.argv.clone(),
            env: self.spec.env.clone().into_iter().collect(),
            folder: command.workdir.clone().unwrap_or_else(|| self.spec.workdir.clone()),
            input: String::new(),
            bounds: Bounds {
                wall: timeout,
                cpu: Duration::MAX,
                memory: limits.memory_mb << 20,
                disk: limits.disk_mb << 20,
                reported_bytes: LONGEST_LINE as u64,
            },
        })
    }
}

#[async_trait]
impl Sandbox for WasmSandbox {
    async fn exec(&self, command: &Command) -> Result<Output, SandboxError> {
        let cap = Keep::First(command.output_cap.unwrap_or(OUTPUT));
        let (stdout, stderr) = (Printed::new(cap), Printed::new(cap));
        let stdio = Stdio {
            stdin: Input::of(&command.stdin),
            stdout: stdout.clone(),
            stderr: stderr.clone(),
        };
        let program = self.program(command)?;
        let ended = self.machine.run_first(program, &self.tree, stdio).await;
        let ended = ended.map_err(|why| SandboxError::Exec {
            command: command.argv.first().cloned().unwrap_or_default(),
            why,
        })?;
        let ((stdout, more), (mut stderr, even_more)) = (stdout.take(), stderr.take());
        if !ended.why.is_empty() {
            stderr.extend(format!("{}\n", ended.why).bytes());
        }
        Ok(Output { status: status(&ended), stdout, stderr, elided: more + even_more })
    }

    async fn spawn(&self, name: &str, command: &Command) -> Result<Arc<dyn Process>, SandboxError> {
        let mut servers = self.servers.lock().await;
        if let Some(server) = servers.get(name).filter(|server| server.lives()) {
            return Ok(Arc::clone(server) as Arc<dyn Process>);
        }
        let mut program = self.program(command)?;
        program.bounds.wall = command.timeout.unwrap_or(Duration::from_secs(u64::MAX / 4));
        let server = Server::start(name, &self.machine, program, &self.tree);
        let server = Arc::new(server);
        servers.insert(name.to_owned(), Arc::clone(&server));
        Ok(server)
    }

    async fn read(&self, path: &str) -> Result<Vec<u8>, SandboxError> {
        let (tree, at) = (Arc::clone(&self.tree), path.to_owned());
        let read = blocking(move || {
            let mut bytes = Vec::new();
            tree.open(&at, OFlag::O_RDONLY)?.read_to_end(&mut bytes)?;
            Ok(bytes)
        });
        file(path, read.await)
    }

    async fn write(&self, path: &str, bytes: &[u8]) -> Result<(), SandboxError> {
        let (tree, at, bytes) = (Arc::clone(&self.tree), path.to_owned(), bytes.to_vec());
        let written = blocking(move || {
            let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_TRUNC;
            tree.open(&at, flags)?.write_all(&bytes)
        });
        file(path, written.await)
    }

    async fn close(mut self: Box<Self>) -> Result<(), SandboxError> {
        for server in self.servers.get_mut().values() {
            server.end().await;
        }
        Ok(())
    }
}

impl Drop for WasmSandbox {
    fn drop(&mut self) {
        // Somebody may still hold a server after its sandbox; its program must not survive.
        for server in self.servers.get_mut().values() {
            server.kill();
        }
    }
}

fn status(ended: &instance::Ended) -> Status {
    match ended.ending {
        Ending::Done | Ending::Exited => Status::Exited(ended.code),
        Ending::TimedOut => Status::TimedOut,
        Ending::OutOfMemory => Status::Signalled(9),
        Ending::Crashed => Status::Signalled(11),
    }
}

fn file<T>(path: &str, done: Result<io::Result<T>, String>) -> Result<T, SandboxError> {
    let plain = |why: io::Error| match why.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        io::ErrorKind::IsADirectory => "it is a folder".to_owned(),
        _ => why.to_string(),
    };
    done.and_then(|done| done.map_err(plain))
        .map_err(|why| SandboxError::File { path: path.to_owned(), why })
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.map_err(|why| why.to_string())
}
