//! Feeds a program its input and reads its output until it ends.

use std::io;
use std::time::Duration;

use fixfly_runtime::{Command, Output, Status};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};

use super::run::Run;
use super::starter::Starter;

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(60);
const DEFAULT_CAP: usize = 1 << 20;
/// Bytes that are read at once. Few commands print more.
const PIECE: usize = 16 << 10;
/// Time limit for what must happen at once: the death of a killed program, the end of a
/// dead program's output.
const AT_ONCE: Duration = Duration::from_secs(5);

impl Run {
    /// Waits until the program ends or its time is up. Returns the starter if it can start
    /// another program.
    pub(super) async fn finish(
        mut self,
        command: &Command,
    ) -> io::Result<(Output, Option<Starter>)> {
        let cap = command.output_cap.unwrap_or(DEFAULT_CAP);
        let (mut stdout, mut stderr) = (Kept::up_to(cap), Kept::up_to(cap));
        let pipes = (self.stdin.take(), self.stdout.take(), self.stderr.take());
        let feed = async {
            if let Some(mut stdin) = pipes.0 {
                // A program need not read its input.
                let _ = stdin.write_all(&command.stdin).await;
            }
        };
        let drained = async { tokio::join!(stdout.drain(pipes.1), stderr.drain(pipes.2), feed) };
        let ended = self.end(command.timeout.unwrap_or(DEFAULT_TIMEOUT));
        let (status, is_usable) = beside(ended, drained).await?;
        let elided = stdout.elided + stderr.elided;
        let output = Output { status, stdout: stdout.bytes, stderr: stderr.bytes, elided };
        Ok((output, is_usable.then(|| self.into_starter())))
    }

    /// How the program ended, and whether it did so by itself.
    async fn end(&self, timeout: Duration) -> io::Result<(Status, bool)> {
        match tokio::time::timeout(timeout, self.wait()).await {
            Ok(ended) => match ended? {
                Some(status) => Ok((status, true)),
                None => Ok((Status::Signalled(nix::libc::SIGKILL), false)),
            },
            Err(_) => {
                self.lifeline().cut();
                match tokio::time::timeout(AT_ONCE, self.wait()).await {
                    Ok(ended) => ended.map(|_| (Status::TimedOut, false)),
                    Err(_) => Err(io::Error::other("it did not end when killed")),
                }
            }
        }
    }
}

/// Runs both futures. Once the first is done, the second gets only a moment, because
/// another program may have inherited the pipe.
async fn beside<T>(first: impl Future<Output = T>, second: impl Future) -> T {
    let (mut first, mut second) = (std::pin::pin!(first), std::pin::pin!(second));
    let done = tokio::select! {
        done = &mut first => done,
        _ = &mut second => return first.await,
    };
    let _ = tokio::time::timeout(AT_ONCE, second).await;
    done
}

/// The first bytes of a stream, and the number of bytes after them.
struct Kept {
    bytes: Vec<u8>,
    cap: usize,
    elided: u64,
}

impl Kept {
    fn up_to(cap: usize) -> Kept {
        Kept { bytes: Vec::new(), cap, elided: 0 }
    }

    async fn drain(&mut self, stream: Option<impl AsyncRead + Unpin>) {
        let Some(mut stream) = stream else { return };
        let mut piece = vec![0; PIECE];
        while let Ok(read @ 1..) = stream.read(&mut piece).await {
            let room = read.min(self.cap - self.bytes.len());
            self.bytes.extend_from_slice(&piece[..room]);
            self.elided += (read - room) as u64;
        }
    }
}
