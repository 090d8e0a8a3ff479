//! Long-lived programs that answer lines with lines.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use fixfly_runtime::{Process, SandboxError, Status};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::pipe::{Receiver, Sender};

use super::run::Run;
use super::starter::Lifeline;

/// Bytes of stderr that are kept for error messages.
const TAIL: usize = 4096;
/// Maximum length of an answer, so that the program cannot fill fixfly's memory.
const LONGEST_LINE: u64 = 64 << 20;

/// A program that answers lines with lines.
pub(super) struct Server {
    name: String,
    talk: tokio::sync::Mutex<Option<Talk>>,
    lifeline: Lifeline,
    tail: Arc<Mutex<Vec<u8>>>,
}

/// The connection to a program. Dropping it ends the program.
struct Talk {
    run: Run,
    stdin: Sender,
    stdout: BufReader<Receiver>,
}

impl Server {
    pub(super) fn new(name: &str, mut run: Run) -> Result<Server, SandboxError> {
        let pipes = (run.stdin.take(), run.stdout.take(), run.stderr.take());
        let (Some(stdin), Some(stdout), Some(stderr)) = pipes else {
            return Err(SandboxError::Process { name: name.into(), why: "has no pipes".into() });
        };
        let tail = Arc::default();
        tokio::spawn(keep_tail(stderr, Arc::clone(&tail)));
        let lifeline = run.lifeline();
        let talk = Talk { run, stdin, stdout: BufReader::new(stdout) };
        let talk = tokio::sync::Mutex::new(Some(talk));
        Ok(Server { name: name.to_owned(), talk, lifeline, tail })
    }

    /// Whether it can take requests. A program that is busy with an answer can.
    pub(super) fn lives(&self) -> bool {
        match self.talk.try_lock() {
            Ok(talk) => talk.as_ref().is_some_and(|talk| talk.run.lives()),
            Err(_) => true,
        }
    }

    /// Kills the program and all its children, without waiting.
    pub(super) fn kill(&self) {
        self.lifeline.cut();
    }

    /// Ends the program and all its children.
    pub(super) async fn end(&self) -> Result<(), SandboxError> {
        match self.talk.lock().await.take() {
            Some(talk) => talk.end().await.map(drop).map_err(|why| self.error(why)),
            None => Ok(()),
        }
    }

    fn error(&self, why: String) -> SandboxError {
        SandboxError::Process { name: self.name.clone(), why }
    }

    fn last_words(&self) -> String {
        let tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        match String::from_utf8_lossy(&tail).trim() {
            "" => String::new(),
            words => format!("; its last words: {words}"),
        }
    }

    async fn lost(&self, talk: Talk, how: &str) -> SandboxError {
        let status = talk.end().await;
        // The last of stderr may not have arrived yet.
        tokio::time::sleep(Duration::from_millis(20)).await;
        let how = match (how, status) {
            ("", Ok(Some(Status::Exited(code)))) => format!("ended: exit code {code}"),
            ("", Ok(Some(Status::Signalled(signal)))) => format!("ended: signal {signal}"),
            ("", _) => "ended: closed its output".to_owned(),
            (how, _) => how.to_owned(),
        };
        self.error(how + &self.last_words())
    }
}

#[async_trait]
impl Process for Server {
    async fn ask(&self, line: &str, timeout: Duration) -> Result<String, SandboxError> {
        if line.contains('\n') {
            return Err(self.error("was asked more than one line".into()));
        }
        let mut place = self.talk.lock().await;
        // Take the connection out: if the caller stops waiting, the program ends. Otherwise
        // its answer would be taken for the answer to the next request.
        let mut talk = place.take().ok_or_else(|| {
            self.error(format!("ended: before this question{}", self.last_words()))
        })?;
        match tokio::time::timeout(timeout, talk.ask(line)).await {
            Ok(Some(answer)) => {
                *place = Some(talk);
                Ok(answer)
            }
            Ok(None) => Err(self.lost(talk, "").await),
            Err(_) => Err(self.lost(talk, &format!("did not answer within {timeout:?}")).await),
        }
    }
}

impl Talk {
    async fn ask(&mut self, line: &str) -> Option<String> {
        self.stdin.write_all(format!("{line}\n").as_bytes()).await.ok()?;
        self.stdin.flush().await.ok()?;
        let mut answer = Vec::new();
        (&mut self.stdout).take(LONGEST_LINE).read_until(b'\n', &mut answer).await.ok()?;
        match answer.pop() {
            Some(b'\n') => Some(String::from_utf8_lossy(&answer).into_owned()),
            _ => None,
        }
    }

    /// Closes its input, waits a moment for it to end, and kills it.
    async fn end(self) -> Result<Option<Status>, String> {
        drop(self.stdin);
        if let Ok(ended) = tokio::time::timeout(Duration::from_millis(50), self.run.wait()).await {
            return ended.map_err(|why| why.to_string());
        }
        self.run.lifeline().cut();
        match tokio::time::timeout(Duration::from_secs(5), self.run.wait()).await {
            Ok(ended) => ended.map_err(|why| why.to_string()),
            Err(_) => Err("did not end when killed".to_owned()),
        }
    }
}

async fn keep_tail(mut stderr: Receiver, tail: Arc<Mutex<Vec<u8>>>) {
    let mut piece = [0; TAIL];
    while let Ok(read @ 1..) = stderr.read(&mut piece).await {
        let mut tail = tail.lock().unwrap_or_else(PoisonError::into_inner);
        tail.extend_from_slice(&piece[..read]);
        let extra = tail.len().saturating_sub(TAIL);
        tail.drain(..extra);
    }
}
