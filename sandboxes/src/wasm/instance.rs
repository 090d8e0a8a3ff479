//! Runs one program in one instance.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};
use wasmtime::component::{Component, HasSelf, Linker, ResourceTable};
use wasmtime::{Config, Engine, ResourceLimiter, Store};
use wasmtime_wasi::{FsPerms, I32Exit, WasiCtx, WasiCtxView, WasiView};

use super::stdio::{Input, Printed};
use super::tree::{Tree, View};

wasmtime::component::bindgen!({
    path: "src/wasm/guest/world.wit",
    world: "python",
    imports: { default: async | trappable },
    exports: { default: async },
});

use fixfly::sandbox::host;
pub(super) use fixfly::sandbox::host::Ending;

/// How often a running program yields, and its limits are checked.
const TICK: Duration = Duration::from_millis(10);
/// How often the size of a program's files is checked.
const LOOK: Duration = Duration::from_millis(25);
/// Python's stack checks expect a stack about as large as a native one.
const STACK: usize = 4 << 20;

/// The engine; compiling and running must use the same settings.
pub(super) fn engine() -> Result<Engine, String> {
    let mut config = Config::new();
    config.epoch_interruption(true).max_wasm_stack(STACK).async_stack_size(STACK + (1 << 20));
    let engine = Engine::new(&config).map_err(|why| format!("{why:#}"))?;
    let weak = engine.weak();
    std::thread::spawn(move || {
        while let Some(engine) = weak.upgrade() {
            engine.increment_epoch();
            drop(engine);
            std::thread::sleep(TICK);
        }
    });
    Ok(engine)
}

/// Makes instances.
pub(super) struct Machine {
    engine: Engine,
    python: PythonPre<State>,
    /// The same component with a project's modules imported.
    ready: Option<PythonPre<State>>,
}

/// A program to run.
#[derive(Clone, Debug)]
pub(super) struct Program {
    pub(super) argv: Vec<String>,
    pub(super) env: Vec<(String, String)>,
    pub(super) folder: String,
    /// Its input.
    pub(super) input: String,
    pub(super) bounds: Bounds,
}

/// The limits of one program.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) wall: Duration,
    pub(super) cpu: Duration,
    /// Bytes.
    pub(super) memory: u64,
    /// Bytes in its own folders.
    pub(super) disk: u64,
    /// Bytes that it may report.
    pub(super) reported_bytes: u64,
}

/// The result of a program.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) ending: Ending,
    /// Its exit code, if it returned one.
    pub(super) code: i32,
    /// What stopped it, if something did.
    pub(super) why: String,
    pub(super) reported: Vec<String>,
    pub(super) cpu: Duration,
    pub(super) wall: Duration,
}

/// The streams of a program.
pub(super) struct Stdio {
    pub(super) stdin: Input,
    pub(super) stdout: Printed,
    pub(super) stderr: Printed,
}

/// The host's state of an instance.
struct State {
    wasi: WasiCtx,
    table: ResourceTable,
    memory: Memory,
    input: String,
    reported: Vec<String>,
    room: u64,
    /// What it needs to start others; the programs that it starts cannot start any.
    nest: Option<Nest>,
}

struct Nest {
    machine: Arc<Machine>,
    tree: Arc<Tree>,
    program: Program,
}

struct Memory {
    most: usize,
    denied: bool,
}

impl ResourceLimiter for Memory {
    fn memory_growing(
        &mut self,
        _: usize,
        desired: usize,
        _: Option<usize>,
    ) -> wasmtime::Result<bool> {
        self.denied |= desired > self.most;
        Ok(desired <= self.most)
    }

    fn table_growing(
        &mut self,
        _: usize,
        desired: usize,
        _: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(desired <= 1 << 20)
    }
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl host::Host for State {
    async fn run(
        &mut self,
        argv: Vec<String>,
        input: String,
        covers: Vec<host::Cover>,
        limits: host::Limits,
        ready: bool,
    ) -> wasmtime::Result<Result<host::Ran, String>> {
        let Some(nest) = &self.nest else {
            return Ok(Err("a program that another started starts none".to_owned()));
        };
        Ok(nest.run(argv, input, covers, limits, ready).await)
    }

    async fn tell(&mut self, text: String) -> wasmtime::Result<()> {
        match self.room.checked_sub(text.len() as u64) {
            Some(room) => self.room = room,
            None => wasmtime::bail!("it told more than it may"),
        }
        self.reported.push(text);
        Ok(())
    }

    async fn input(&mut self) -> wasmtime::Result<String> {
        // Only once: the input may contain what later parts of the program must not read.
        Ok(std::mem::take(&mut self.input))
    }
}

impl Nest {
    async fn run(
        &self,
        argv: Vec<String>,
        input: String,
        covers: Vec<host::Cover>,
        limits: host::Limits,
        ready: bool,
    ) -> Result<host::Ran, String> {
        let most = self.program.bounds;
        let bounds = Bounds {
            wall: Duration::from_millis(limits.wall_ms).min(most.wall),
            cpu: Duration::from_millis(limits.cpu_ms).min(most.cpu),
            memory: (limits.memory_mb << 20).min(most.memory),
            disk: (limits.disk_mb << 20).min(most.disk),
            reported_bytes: limits.told_bytes.min(most.reported_bytes),
        };
        let program = Program { argv, input, bounds, ..self.program.clone() };
        let covers = covers.into_iter().map(|cover| (cover.path, cover.content)).collect();
        let tree = Arc::clone(&self.tree);
        let covered = tree.covered(covers).await?;
        let silent = || Printed::new(super::stdio::Keep::Last(0));
        let stdio = Stdio { stdin: Input::of(b""), stdout: silent(), stderr: silent() };
        let ended = self.machine.run(program, &covered.view, stdio, None, ready).await;
        covered.undo().await?;
        let ended = ended?;
        Ok(host::Ran {
            told: ended.reported,
            ending: ended.ending,
            why: ended.why,
            cpu_ms: ended.cpu.as_millis() as u64,
            wall_ms: ended.wall.as_millis() as u64,
        })
    }
}

impl Machine {
    /// Makes what all instances share.
    pub(super) fn new(
        engine: &Engine,
        component: &Component,
        ready: Option<&Component>,
    ) -> Result<Machine, String> {
        let mut linker: Linker<State> = Linker::new(engine);
        let linked = wasmtime_wasi::p2::add_to_linker_async(&mut linker)
            .and_then(|()| host::add_to_linker::<_, HasSelf<_>>(&mut linker, |state| state));
        linked.map_err(|why| format!("{why:#}"))?;
        let before = |component| {
            let made = linker.instantiate_pre(component).and_then(PythonPre::new);
            made.map_err(|why| format!("{why:#}"))
        };
        let (python, ready) = (before(component)?, ready.map(before).transpose()?);
        Ok(Machine { engine: engine.clone(), python, ready })
    }

    /// Runs a program that may start others.
    pub(super) async fn run_first(
        self: &Arc<Self>,
        program: Program,
        tree: &Arc<Tree>,
        stdio: Stdio,
    ) -> Result<Ended, String> {
        let nest =
            Nest { machine: Arc::clone(self), tree: Arc::clone(tree), program: program.clone() };
        self.run(program, &tree.view(), stdio, Some(nest), self.ready.is_some()).await
    }

    async fn run(
        &self,
        program: Program,
        view: &View,
        stdio: Stdio,
        nest: Option<Nest>,
        ready: bool,
    ) -> Result<Ended, String> {
        let python = match (&self.ready, ready) {
            (Some(ready), true) => ready,
            (None, true) => return Err("nothing was made ready".to_owned()),
            (_, false) => &self.python,
        };
        let Program { argv, env, folder, input, bounds } = program;
        let state = State {
            wasi: wasi(view, stdio)?,
            table: ResourceTable::new(),
            memory: Memory { most: bounds.memory as usize, denied: false },
            input,
            reported: Vec::new(),
            room: bounds.reported_bytes,
            nest,
        };
        let mut store = Store::new(&self.engine, state);
        store.limiter(|state| &mut state.memory);
        store.epoch_deadline_async_yield_and_update(1);
        let (clock, mut cpu) = (Instant::now(), Duration::ZERO);
        let (ending, code, why) = {
            let work = async {
                let python = python.instantiate_async(&mut store).await?;
                python.call_main(&mut store, &argv, &env, &folder).await
            };
            let metered = Metered { work: Box::pin(work), cpu: &mut cpu, most: bounds.cpu };
            tokio::select! {
                ended = metered => ended,
                () = tokio::time::sleep(bounds.wall) => Cut::Time.into(),
                () = fill(view, bounds.disk) => Cut::Disk.into(),
            }
        };
        let denied = store.data().memory.denied;
        let ending = match ending {
            Ending::Crashed if denied => Ending::OutOfMemory,
            ending => ending,
        };
        let reported = std::mem::take(&mut store.data_mut().reported);
        Ok(Ended { ending, code, why, reported, cpu, wall: clock.elapsed() })
    }
}

fn wasi(view: &View, stdio: Stdio) -> Result<WasiCtx, String> {
    let mut wasi = WasiCtx::builder();
    wasi.allow_tcp(false).allow_udp(false).allow_ip_name_lookup(false);
    // Its files are few and local, and moving each call to another thread would cost more
    // than the call.
    wasi.allow_blocking_current_thread(true);
    wasi.stdin(stdio.stdin).stdout(stdio.stdout).stderr(stdio.stderr);
    for place in &view.places {
        let rights = if place.writable { FsPerms::ReadWrite } else { FsPerms::ReadOnly };
        wasi.preopened_dir(&place.host, &place.guest, rights)
            .map_err(|why| format!("{}: {why:#}", place.host.display()))?;
    }
    Ok(wasi.build())
}

/// Returns once its own folders contain more than `most` bytes.
async fn fill(view: &View, most: u64) {
    loop {
        tokio::time::sleep(LOOK).await;
        if view.written() > most {
            return;
        }
    }
}

/// Why a program is stopped from outside.
enum Cut {
    Time,
    Disk,
}

impl From<Cut> for (Ending, i32, String) {
    fn from(cut: Cut) -> Self {
        match cut {
            Cut::Time => (Ending::TimedOut, 0, "its time ran out".into()),
            Cut::Disk => (Ending::Exited, 1, "it wrote more than its disk holds".into()),
        }
    }
}

/// Runs a program, and measures the CPU time of its thread.
struct Metered<'a, F> {
    work: Pin<Box<F>>,
    cpu: &'a mut Duration,
    most: Duration,
}

impl<F: Future<Output = wasmtime::Result<i32>>> Future for Metered<'_, F> {
    type Output = (Ending, i32, String);

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let before = thread_cpu();
        let polled = self.work.as_mut().poll(context);
        *self.cpu += thread_cpu().saturating_sub(before);
        match polled {
            Poll::Ready(ended) => Poll::Ready(ending(ended)),
            Poll::Pending if *self.cpu > self.most => Poll::Ready(Cut::Time.into()),
            Poll::Pending => Poll::Pending,
        }
    }
}

fn thread_cpu() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).map_or(Duration::ZERO, Duration::from)
}

fn ending(ended: wasmtime::Result<i32>) -> (Ending, i32, String) {
    match ended {
        Ok(code) => (Ending::Done, code, String::new()),
        Err(trap) => match trap.downcast_ref::<I32Exit>() {
            Some(I32Exit(code)) => (Ending::Exited, *code, format!("it left with code {code}")),
            None => {
                let why = trap.root_cause().to_string();
                let flood = why.contains("more than");
                (if flood { Ending::Exited } else { Ending::Crashed }, 1, why)
            }
        },
    }
}
