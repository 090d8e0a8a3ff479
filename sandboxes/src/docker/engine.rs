//! Calls to a Docker engine that may hang, restart or fail.

use std::time::Duration;

use bollard::Docker;
use bollard::errors::Error;
use bollard::models::SystemInfo;
use bollard::query_parameters::RemoveContainerOptionsBuilder;
use fixfly_runtime::SandboxError;

/// Timeouts and retries of calls to an engine.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// Time limit of one call.
    pub call: Duration,
    /// How often a call is made if it fails for a transient reason.
    pub tries: u32,
    /// The wait before the second try; later waits are longer.
    pub pause: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Patience { call: Duration::from_secs(60), tries: 3, pause: Duration::from_millis(500) }
    }
}

impl Patience {
    /// Calls the engine until it answers or all tries have failed. An error with a reason
    /// is not retried.
    pub(super) async fn ask<T, F>(self, mut call: impl FnMut() -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let mut tries = 1;
        loop {
            let answer = tokio::time::timeout(self.call, call()).await;
            let why = match answer.unwrap_or(Err(Error::RequestTimeoutError)) {
                Err(why) if tries < self.tries && may_pass(&why) => why,
                settled => return settled,
            };
            tracing::debug!("the Docker engine failed, try {tries} of {}: {why}", self.tries);
            tokio::time::sleep(self.pause * tries).await;
            tries += 1;
        }
    }
}

fn may_pass(why: &Error) -> bool {
    match why {
        Error::DockerResponseServerError { status_code, message } => {
            // An engine also answers 500 for a mount that is impossible.
            *status_code >= 500 && !message.contains("mount")
        }
        _ => true,
    }
}

/// Connects to the engine of this address, otherwise to that of `DOCKER_HOST` (unix, tcp,
/// tcp with TLS, ssh), otherwise to the usual socket.
pub(super) async fn connect(
    address: Option<&str>,
    patience: Patience,
) -> Result<Docker, SandboxError> {
    let at = address.map(|address| format!(" at {address}")).unwrap_or_default();
    let absent = |why: Error| {
        SandboxError::Open(format!(
            "no Docker engine answers{at} ({why}): start one, or name one by DOCKER_HOST, for TLS \
             with DOCKER_TLS_VERIFY=1 and DOCKER_CERT_PATH"
        ))
    };
    let docker = match address {
        Some(address) => Docker::connect_with_host(&with_tls(address, has_certificates())),
        None => Docker::connect_with_defaults(),
    };
    let docker = docker.map_err(absent)?.with_timeout(patience.call);
    let asked = || docker.clone().negotiate_version();
    let once = Patience { call: patience.call.min(Duration::from_secs(10)), ..patience };
    once.ask(asked).await.map_err(absent)
}

fn has_certificates() -> bool {
    std::env::var_os("DOCKER_CERT_PATH").is_some()
}

/// An address, with TLS if there are certificates for it: engines on other machines ask for
/// both sides' certificates.
fn with_tls(address: &str, has_certificates: bool) -> String {
    match address.strip_prefix("tcp://") {
        Some(place) if has_certificates => format!("https://{place}"),
        _ => address.to_owned(),
    }
}

/// Whether the engine sees other files at a path than this machine.
pub(super) fn is_elsewhere(address: Option<&str>, info: &SystemInfo) -> bool {
    let named = std::env::var("DOCKER_HOST").unwrap_or_default();
    let local = address.unwrap_or(&named);
    if std::env::var_os("FIXFLY_DOCKER_COPY").is_some() {
        return true;
    }
    let here = |file: &str| std::fs::read_to_string(file).unwrap_or_default().trim().to_owned();
    let same = info.name.as_deref() == Some(&here("/proc/sys/kernel/hostname"))
        && info.kernel_version.as_deref() == Some(&here("/proc/sys/kernel/osrelease"));
    !(local.is_empty() || local.starts_with("unix://") || same)
}

/// Removes a container, whatever state it is in.
pub(super) async fn remove(docker: &Docker, patience: Patience, name: &str) -> Result<(), Error> {
    let force = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
    for _ in 0..100 {
        let removed = patience.ask(|| docker.remove_container(name, Some(force.clone()))).await;
        match removed {
            Ok(()) | Err(Error::DockerResponseServerError { status_code: 404, .. }) => {
                return Ok(());
            }
            // The engine is already removing it: containers that end are removed
            // automatically.
            Err(Error::DockerResponseServerError { status_code: 409, .. }) => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            Err(why) => return Err(why),
        }
    }
    Err(Error::RequestTimeoutError)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_over_tcp_is_asked_with_tls_where_there_are_certificates() {
        let check = |address: &str, has_certificates, expected: &str| {
            assert_eq!(with_tls(address, has_certificates), expected);
        };
        check("tcp://node:2376", true, "https://node:2376");
        check("tcp://node:2375", false, "tcp://node:2375");
        check("unix:///run/docker.sock", true, "unix:///run/docker.sock");
        check("ssh://me@node", true, "ssh://me@node");
    }
}
