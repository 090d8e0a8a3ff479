//! Sandboxes, which isolate the commands that run in them.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::admission::Admission;
use crate::task::SandboxSpec;

/// Opens sandboxes. Created once per run, because clients and engines are expensive.
#[async_trait]
pub trait Host: Send + Sync {
    /// Opens a new sandbox in the state that `spec` describes.
    ///
    /// # Errors
    /// [`SandboxError`] if the machine cannot provide one.
    async fn open(&self, spec: &SandboxSpec) -> Result<Box<dyn Sandbox>, SandboxError>;

    /// The isolation of its sandboxes, in one line for records: `local: user, mount, pid,
    /// net namespaces; cgroup`.
    fn isolation(&self) -> String;

    /// The protections of its sandboxes on this machine, found by experiment. Empty if
    /// there are none to test.
    async fn protections(&self) -> Vec<Protection> {
        Vec::new()
    }

    /// Whether it can open sandboxes of this image; pulls the image if necessary. Always
    /// false if its sandboxes do not use images.
    async fn offers(&self, _image: &str) -> bool {
        false
    }

    /// The host whose sandboxes are used for verdicts, if it is a different one: a fast
    /// sandbox without the project's own interpreter must not decide.
    fn judge(&self) -> Option<Arc<dyn Host>> {
        None
    }

    /// Whether its sandboxes use the processors and the memory of this machine. Engines
    /// elsewhere have their own.
    fn runs_here(&self) -> bool {
        true
    }

    /// What admits its sandboxes and their commands to this machine, if anything does.
    fn admission(&self) -> Option<Arc<Admission>> {
        None
    }
}

/// One mechanism that isolates what runs in a sandbox.
#[derive(Clone, Debug, PartialEq)]
pub struct Protection {
    /// What it protects: `memory of the whole sandbox`.
    pub name: &'static str,
    /// The mechanism that provides it on this machine, if any.
    pub by: Option<String>,
    /// Whether fixfly refuses by default to run without it. The others are a second line of
    /// defence.
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

/// The impact of a missing protection: mostly, what a candidate could do without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Impact {
    /// No sandbox can be opened.
    NoSandbox,
    /// Candidates of method tasks are refused, because one could reach the next.
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
            Impact::NoSandbox => "no sandbox can be opened",
            Impact::NoMethodCandidates => "candidates of method tasks are refused",
            Impact::TakesAllMemory => "the sandbox can use all memory",
            Impact::TakesAllMemoryTogether => {
                "only single processes have a memory limit; many together can use all memory"
            }
            Impact::FillsDisk => "the sandbox can fill the disk",
            Impact::ForkBomb => "a fork bomb can use up the machine's processes",
            Impact::SlowsOthers => "others on the machine get less CPU time",
            Impact::AttacksKernel => "the sandbox can attack more of the kernel",
            Impact::NamespacesOnly => "only namespaces isolate programs",
        }
    }
}

/// An isolated place that runs commands.
#[async_trait]
pub trait Sandbox: Send + Sync {
    /// Runs a command and waits for it. A non-zero exit code, a signal and a timeout are an
    /// [`Output`], not an error. A timeout kills all processes that the command started.
    ///
    /// # Errors
    /// [`SandboxError`] if the command cannot be run at all.
    async fn exec(&self, command: &Command) -> Result<Output, SandboxError>;

    /// Returns the long-lived process of this name; starts it if it is not running. It
    /// lives as long as the sandbox.
    ///
    /// # Errors
    /// [`SandboxError`] if it cannot be started.
    async fn spawn(&self, name: &str, command: &Command) -> Result<Arc<dyn Process>, SandboxError>;

    /// Reads a file, by absolute path inside.
    ///
    /// # Errors
    /// [`SandboxError::File`] if it cannot be read.
    async fn read(&self, path: &str) -> Result<Vec<u8>, SandboxError>;

    /// Writes a file, by absolute path inside. Creates its folders.
    ///
    /// # Errors
    /// [`SandboxError::File`] if it cannot be written.
    async fn write(&self, path: &str, bytes: &[u8]) -> Result<(), SandboxError>;

    /// Whether the sandbox is known to have ended, for example with its machine. It answers
    /// at once and asks nobody.
    fn is_lost(&self) -> bool {
        false
    }

    /// Kills everything that runs in the sandbox and removes it. Dropping the sandbox does
    /// the same but reports no errors.
    ///
    /// # Errors
    /// [`SandboxError`] if something remains.
    async fn close(self: Box<Self>) -> Result<(), SandboxError>;
}

/// A long-lived process that answers each line with a line.
#[async_trait]
pub trait Process: Send + Sync {
    /// Sends a line and waits for a line. Concurrent calls wait for each other. After an
    /// error the process is dead, and `spawn` starts another.
    ///
    /// # Errors
    /// [`SandboxError::Process`] if it ended or did not answer in time.
    async fn ask(&self, line: &str, timeout: Duration) -> Result<String, SandboxError>;
}

/// A command to run in a sandbox.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Command {
    /// Program and arguments; there is no shell.
    pub argv: Vec<String>,
    /// Standard input.
    pub stdin: Vec<u8>,
    /// Working folder; the sandbox's default if `None`.
    pub workdir: Option<String>,
    /// Wall-clock limit; one minute if `None`.
    pub timeout: Option<Duration>,
    /// Maximum bytes to keep of each output stream; one mebibyte if `None`.
    pub output_cap: Option<usize>,
}

impl Command {
    /// A command with this program and these arguments.
    pub fn new<S: Into<String>>(argv: impl IntoIterator<Item = S>) -> Self {
        Command { argv: argv.into_iter().map(Into::into).collect(), ..Command::default() }
    }
}

/// The result of a command.
#[derive(Clone, Debug, PartialEq)]
pub struct Output {
    /// How it ended.
    pub status: Status,
    /// Standard output, up to the limit.
    pub stdout: Vec<u8>,
    /// Standard error, up to the limit.
    pub stderr: Vec<u8>,
    /// Bytes of both streams beyond the limit.
    pub elided: u64,
}

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It exited with this code.
    Exited(i32),
    /// This signal killed it.
    Signalled(i32),
    /// It was killed after its time limit.
    TimedOut,
}

/// Why a sandbox failed. Always an infrastructure failure.
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
        /// The reason.
        why: String,
    },
    /// A long-lived process ended or stopped answering.
    #[error("the process `{name}` in the sandbox {why}")]
    Process {
        /// Its name.
        name: String,
        /// `ended: …` or `did not answer within …`.
        why: String,
    },
    /// No machine could provide this in this sandbox.
    #[error("the sandbox `{sandbox}` {what}")]
    Unsupported {
        /// The sandbox's name.
        sandbox: &'static str,
        /// `cannot …`.
        what: String,
    },
    /// A file could not be read or written.
    #[error("{path} in the sandbox: {why}")]
    File {
        /// Path inside.
        path: String,
        /// The reason.
        why: String,
    },
}
