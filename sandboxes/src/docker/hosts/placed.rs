//! Sandboxes on one of several engines.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use fixfly_runtime::{Command, Output, Process, Sandbox, SandboxError, SandboxSpec};

use super::super::container::PROCESSORS;
use super::super::link::lock;
use super::super::placement::{Placement, Size};

/// What a container of `spec` may take.
pub(super) fn size(spec: &SandboxSpec) -> Size {
    let processors = PROCESSORS.unsigned_abs();
    Size { processors, memory_mb: spec.limits.memory_mb }
}

/// A sandbox's share of an engine, until it is dropped.
pub(super) struct Place {
    placement: Arc<Mutex<Placement>>,
    at: usize,
    size: Size,
}

impl Place {
    pub(super) fn take(
        placement: &Arc<Mutex<Placement>>,
        at: usize,
        spec: &SandboxSpec,
    ) -> Arc<Place> {
        let size = size(spec);
        lock(placement).add(at, size);
        Arc::new(Place { placement: Arc::clone(placement), at, size })
    }

    /// Notes that a call failed: the engine may be the reason.
    fn check<T>(&self, result: Result<T, SandboxError>) -> Result<T, SandboxError> {
        if matches!(
            result,
            Err(SandboxError::Open(_) | SandboxError::Exec { .. } | SandboxError::Process { .. })
        ) {
            lock(&self.placement).suspect(self.at);
        }
        result
    }

    fn is_down(&self) -> bool {
        lock(&self.placement).is_down(self.at)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.placement).remove(self.at, self.size);
    }
}

/// A sandbox on one of the engines.
pub(super) struct Placed {
    pub(super) sandbox: Box<dyn Sandbox>,
    pub(super) place: Arc<Place>,
}

#[async_trait]
impl Sandbox for Placed {
    async fn exec(&self, command: &Command) -> Result<Output, SandboxError> {
        self.place.check(self.sandbox.exec(command).await)
    }

    async fn spawn(&self, name: &str, command: &Command) -> Result<Arc<dyn Process>, SandboxError> {
        let process = self.place.check(self.sandbox.spawn(name, command).await)?;
        Ok(Arc::new(PlacedProcess { process, place: Arc::clone(&self.place) }))
    }

    async fn read(&self, path: &str) -> Result<Vec<u8>, SandboxError> {
        self.sandbox.read(path).await
    }

    async fn write(&self, path: &str, bytes: &[u8]) -> Result<(), SandboxError> {
        self.sandbox.write(path, bytes).await
    }

    fn is_lost(&self) -> bool {
        self.place.is_down() || self.sandbox.is_lost()
    }

    async fn close(self: Box<Self>) -> Result<(), SandboxError> {
        let Placed { sandbox, place } = *self;
        if place.is_down() {
            // The container ends with its connection, and a sweep removes what is left.
            return Ok(());
        }
        place.check(sandbox.close().await)
    }
}

struct PlacedProcess {
    process: Arc<dyn Process>,
    place: Arc<Place>,
}

#[async_trait]
impl Process for PlacedProcess {
    async fn ask(&self, line: &str, timeout: Duration) -> Result<String, SandboxError> {
        self.place.check(self.process.ask(line, timeout).await)
    }
}
