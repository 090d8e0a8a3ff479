//! One program in a sandbox, with all its children.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use fixfly_runtime::{Command, SandboxSpec, Status};
use tokio::net::unix::pipe::{Receiver, Sender};

use super::starter::{Lifeline, Request, Starter};

/// A started program. Dropping it ends the program.
pub(super) struct Run {
    pub(super) stdin: Option<Sender>,
    pub(super) stdout: Option<Receiver>,
    pub(super) stderr: Option<Receiver>,
    starter: Starter,
    request: Request,
}

/// A program that was not started.
pub(super) enum Unstarted {
    /// The starter has ended; another one may do it.
    Lost,
    /// It cannot be started.
    Failed(String),
}

impl From<io::Error> for Unstarted {
    fn from(why: io::Error) -> Self {
        Unstarted::Failed(why.to_string())
    }
}

impl Run {
    /// Starts `command`. With `announced`, waits until it was started.
    pub(super) async fn start(
        starter: Starter,
        spec: &SandboxSpec,
        command: &Command,
        announced: bool,
    ) -> Result<Run, Unstarted> {
        let request = Request::new(command, spec, announced)
            .map_err(|why| Unstarted::Failed(why.to_string()))?;
        let (stdin, stdout, stderr) = (io::pipe()?, io::pipe()?, io::pipe()?);
        let streams = [stdin.0.as_raw_fd(), stdout.1.as_raw_fd(), stderr.1.as_raw_fd()];
        starter.start(&request, streams).await.map_err(|_| Unstarted::Lost)?;
        let run = Run {
            stdin: Some(Sender::from_owned_fd(OwnedFd::from(stdin.1))?),
            stdout: Some(Receiver::from_owned_fd(OwnedFd::from(stdout.0))?),
            stderr: Some(Receiver::from_owned_fd(OwnedFd::from(stderr.0))?),
            starter,
            request,
        };
        if announced {
            run.starter.begun(&run.request).await.map_err(Unstarted::Failed)?;
        }
        Ok(run)
    }

    /// Waits until everything has ended; `None` if the program did not end by itself.
    pub(super) async fn wait(&self) -> io::Result<Option<Status>> {
        let ended = self.starter.ended().await?;
        match self.starter.failure(&self.request) {
            Some(why) => Err(io::Error::other(why)),
            None => Ok(ended),
        }
    }

    pub(super) fn lifeline(&self) -> Lifeline {
        self.starter.lifeline()
    }

    /// Whether the program runs.
    pub(super) fn lives(&self) -> bool {
        self.starter.is_silent()
    }

    /// The starter, after the program has ended by itself.
    pub(super) fn into_starter(self) -> Starter {
        self.starter
    }
}
