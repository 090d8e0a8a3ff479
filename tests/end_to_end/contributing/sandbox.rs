//! Sandboxes of `local` that log how long each command takes.

use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use fixfly_runtime::{
    Command, Entry, Host, Output, Process, Protection, Sandbox, SandboxError, SandboxSpec,
};
use fixfly_sandboxes::{Open, local};

pub(crate) const ENTRY: Entry<Open> = Entry {
    name: "timed",
    about: "`local`, with the time of each command in the log",
    open: |options| Ok(Arc::new(Timed { local: (local::ENTRY.open)(options)? })),
};

struct Timed {
    local: Arc<dyn Host>,
}

#[async_trait]
impl Host for Timed {
    async fn open(&self, spec: &SandboxSpec) -> Result<Box<dyn Sandbox>, SandboxError> {
        Ok(Box::new(TimedSandbox { local: self.local.open(spec).await? }))
    }

    fn isolation(&self) -> String {
        format!("timed: {}", self.local.isolation())
    }

    async fn protections(&self) -> Vec<Protection> {
        self.local.protections().await
    }
}

struct TimedSandbox {
    local: Box<dyn Sandbox>,
}

#[async_trait]
impl Sandbox for TimedSandbox {
    async fn exec(&self, command: &Command) -> Result<Output, SandboxError> {
        let clock = Instant::now();
        let output = self.local.exec(command).await;
        tracing::info!("{:?} took {:?}", command.argv.first(), clock.elapsed());
        output
    }

    async fn spawn(&self, name: &str, command: &Command) -> Result<Arc<dyn Process>, SandboxError> {
        self.local.spawn(name, command).await
    }

    async fn read(&self, path: &str) -> Result<Vec<u8>, SandboxError> {
        self.local.read(path).await
    }

    async fn write(&self, path: &str, bytes: &[u8]) -> Result<(), SandboxError> {
        self.local.write(path, bytes).await
    }

    async fn close(self: Box<Self>) -> Result<(), SandboxError> {
        self.local.close().await
    }
}
