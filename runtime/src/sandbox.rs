//! Where tools act: a place that holds what runs in it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::task::SandboxSpec;

/// Opens sandboxes. Opened once a run, where clients and engines are costly.
#[async_trait]
pub trait Host: Send + Sync {
    /// A sandbox in the state `spec` describes, used by nobody else.
    ///
    /// # Errors
    /// [`SandboxError`] where the machine cannot give one.
    async fn open(&self, spec: &SandboxSpec) -> Result<Box<dyn Sandbox>, SandboxError>;

    /// What its sandboxes hold back, in one line for records:
    /// `local: user, mount, pid, net namespaces; cgroup`.
    fn isolation(&self) -> String;

    /// The protections of its sandboxes on this machine, found by trying them
    /// out. Empty if there is nothing to try.
    async fn protections(&self) -> Vec<Protection> {
        Vec::new()
    }

    /// Whether it can open sandboxes of an image of that name, which it fetches
    /// where it has to; never where its sandboxes are of no image.
    async fn offers(&self, _image: &str) -> bool {
        false
    }

    /// The host whose sandboxes verdicts are reached in, where it is another:
    /// a place that is quick but not the project's own is not the last word.
    fn judge(&self) -> Option<Arc<dyn Host>> {
        None
    }
}

/// One mechanism that isolates what runs in a sandbox.
#[derive(Clone, Debug, PartialEq)]
pub struct Protection {
    /// What it protects: `memory of the whole sandbox`.
    pub name: &'static str,
    /// What provides it on this machine, if anything does.
    pub by: Option<String>,
    /// Whether a sandbox without it is too weak to run in by default. The others
    /// are a second line of defence.
    pub needed: bool,
    /// How to get it.
    pub remedy: String,
    /// What happens without it.
    pub impact: Impact,
}

impl Protection {
    /// Whether it is needed and nothing provides it.
    pub fn is_missing(&self) -> bool {
        self.needed && self.by.is_none()
    }
}

/// What a missing protection leads to: mostly, what a candidate could do without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Impact {
    /// No sandbox can be opened.
    NoSandbox,
    /// Methods' candidates are refused, because one could reach the next.
    NoMethodCandidates,
    /// The processes in the sandbox can take all memory.
    TakesAllMemory,
    /// Each process has a memory limit, but many together can take all memory.
    TakesAllMemoryTogether,
    /// The processes in the sandbox can fill the disk.
    FillsDisk,
    /// A fork bomb exhausts the machine's processes.
    ForkBomb,
    /// Others on the machine get less processor time.
    SlowsOthers,
    /// More system calls reach the kernel.
    AttacksKernel,
    /// Only namespaces separate programs from each other.
    NamespacesOnly,
}

impl Impact {
    /// The impact in words, for tables and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Impact::NoSandbox => "there is no sandbox",
            Impact::NoMethodCandidates => "methods' candidates are not run",
            Impact::TakesAllMemory => "all memory can be taken",
            Impact::TakesAllMemoryTogether => {
                "a limit for each process alone: many together can take all memory"
            }
            Impact::FillsDisk => "the disk can be filled",
            Impact::ForkBomb => "a fork bomb reaches the machine",
            Impact::SlowsOthers => "others on the machine wait",
            Impact::AttacksKernel => "more of the kernel can be attacked from inside",
            Impact::NamespacesOnly => "namespaces alone hold them",
        }
    }
}

/// A place that runs commands and holds them.
#[async_trait]
pub trait Sandbox: Send + Sync {
    /// Runs a command to its end. A non-zero exit, a signal and a time-out are
    /// an [`Output`], not an error; on a time-out all it started is killed.
    ///
    /// # Errors
    /// [`SandboxError`] where the command could not be run at all.
    async fn exec(&self, command: &Command) -> Result<Output, SandboxError>;

    /// The long-lived process of that name, started now if it is not running.
    /// It lives as long as the sandbox.
    ///
    /// # Errors
    /// [`SandboxError`] where it could not be started.
    async fn spawn(&self, name: &str, command: &Command) -> Result<Arc<dyn Process>, SandboxError>;

    /// A file's bytes, by absolute path inside.
    ///
    /// # Errors
    /// [`SandboxError::File`] where it cannot be read.
    async fn read(&self, path: &str) -> Result<Vec<u8>, SandboxError>;

    /// Writes a file, by absolute path inside, making its folders.
    ///
    /// # Errors
    /// [`SandboxError::File`] where it cannot be written.
    async fn write(&self, path: &str, bytes: &[u8]) -> Result<(), SandboxError>;

    /// Ends everything that runs in it and removes it. Dropping does the same,
    /// without saying whether it worked.
    ///
    /// # Errors
    /// [`SandboxError`] where something is left behind.
    async fn close(self: Box<Self>) -> Result<(), SandboxError>;
}

/// A long-lived process that is asked in lines and answers in lines.
#[async_trait]
pub trait Process: Send + Sync {
    /// Sends one line and waits for one line. Calls wait for each other.
    /// After an error the process is gone, and `spawn` starts another.
    ///
    /// # Errors
    /// [`SandboxError::Process`] where it ended or did not answer in time.
    async fn ask(&self, line: &str, timeout: Duration) -> Result<String, SandboxError>;
}

/// A command to run inside.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Command {
    /// Program and arguments; no shell.
    pub argv: Vec<String>,
    /// What it reads.
    pub stdin: Vec<u8>,
    /// Folder, if not the sandbox's own.
    pub workdir: Option<String>,
    /// Wall-clock limit; a minute where none is given.
    pub timeout: Option<Duration>,
    /// Most bytes kept of each output stream; a mebibyte where none is given.
    pub output_cap: Option<usize>,
}

impl Command {
    /// A command of these words.
    pub fn new<S: Into<String>>(argv: impl IntoIterator<Item = S>) -> Self {
        Command { argv: argv.into_iter().map(Into::into).collect(), ..Command::default() }
    }
}

/// What a command did.
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    /// How it ended.
    pub status: Status,
    /// What it printed, at most the cap.
    pub stdout: Vec<u8>,
    /// What it printed to standard error, at most the cap.
    pub stderr: Vec<u8>,
    /// Bytes of both streams beyond the cap.
    pub elided: u64,
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// By itself, with this code.
    Exited(i32),
    /// By this signal.
    Signalled(i32),
    /// Killed when its time ran out.
    TimedOut,
}

/// Why a sandbox could not do its work. Always the world's failure.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// It could not be opened.
    #[error("the sandbox could not be opened: {0}")]
    Open(String),
    /// A command could not be run.
    #[error("`{command}` could not be run in the sandbox: {why}")]
    Exec {
        /// The program.
        command: String,
        /// Why.
        why: String,
    },
    /// A long-lived process ended or fell silent.
    #[error("the process `{name}` in the sandbox {why}")]
    Process {
        /// Its name.
        name: String,
        /// `ended: …` or `did not answer within …`.
        why: String,
    },
    /// What was asked for cannot be there, whatever the machine.
    #[error("{what}: the sandbox `{sandbox}` has nothing of the kind")]
    Unsupported {
        /// The sandbox's name.
        sandbox: &'static str,
        /// What was asked for.
        what: String,
    },
    /// A file could not be read or written.
    #[error("{path} in the sandbox: {why}")]
    File {
        /// Path inside.
        path: String,
        /// Why.
        why: String,
    },
}
