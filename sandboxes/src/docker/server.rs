//! Long-lived programs that answer lines with lines.

use std::time::Duration;

use async_trait::async_trait;
use fixfly_runtime::{Process, SandboxError, Status};

use super::link::{End, Event, Run};

/// Bytes of stderr that are kept for error messages.
const TAIL: usize = 4096;
/// Maximum length of an answer, so that the program cannot fill fixfly's memory.
const LONGEST_LINE: usize = 64 << 20;

/// A program that answers lines with lines.
pub(super) struct Server {
    name: String,
    talk: tokio::sync::Mutex<Option<Talk>>,
}

struct Talk {
    run: Run,
    answer: Vec<u8>,
    tail: Vec<u8>,
}

enum Lost {
    Ended(Option<End>),
    Silent,
}

impl Server {
    pub(super) fn new(name: &str, run: Run) -> Server {
        let talk = Talk { run, answer: Vec::new(), tail: Vec::new() };
        Server { name: name.to_owned(), talk: tokio::sync::Mutex::new(Some(talk)) }
    }

    /// Whether it can take requests. A program that is busy with an answer can.
    pub(super) fn lives(&self) -> bool {
        self.talk.try_lock().map_or(true, |talk| talk.is_some())
    }

    /// Ends the program and all its children.
    pub(super) async fn end(&self) {
        self.talk.lock().await.take();
    }

    fn error(&self, why: String) -> SandboxError {
        SandboxError::Process { name: self.name.clone(), why }
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
        let mut talk =
            place.take().ok_or_else(|| self.error("ended: before this question".into()))?;
        talk.run.feed(format!("{line}\n").as_bytes());
        let lost = match tokio::time::timeout(timeout, talk.line()).await {
            Ok(Ok(answer)) => {
                *place = Some(talk);
                return Ok(answer);
            }
            Ok(Err(end)) => Lost::Ended(end),
            Err(_) => Lost::Silent,
        };
        talk.run.kill();
        let how = match (lost, talk.rest().await) {
            (Lost::Silent, _) => format!("did not answer within {timeout:?}"),
            (Lost::Ended(Some(end)), _) | (Lost::Ended(None), Some(end)) => ended(&end),
            (Lost::Ended(None), None) => "ended: its container is gone".to_owned(),
        };
        let words = match String::from_utf8_lossy(&talk.tail).trim() {
            "" => String::new(),
            words => format!("; its last words: {words}"),
        };
        Err(self.error(how + &words))
    }
}

fn ended(end: &End) -> String {
    match end.status() {
        Some(Status::Exited(code)) => format!("ended: exit code {code}"),
        Some(Status::Signalled(signal)) => format!("ended: signal {signal}"),
        _ => match &end.error {
            Some(why) => format!("ended: {why}"),
            None => "ended: it was killed".to_owned(),
        },
    }
}

impl Talk {
    /// The next line, or how the program ended.
    async fn line(&mut self) -> Result<String, Option<End>> {
        loop {
            if let Some(at) = self.answer.iter().position(|byte| *byte == b'\n') {
                let rest = self.answer.split_off(at + 1);
                let line = std::mem::replace(&mut self.answer, rest);
                return Ok(String::from_utf8_lossy(&line[..at]).into_owned());
            }
            match self.run.next().await {
                Some(Event::Out(piece)) if self.answer.len() < LONGEST_LINE => {
                    self.answer.extend(piece);
                }
                Some(Event::Err(piece)) => self.remember(&piece),
                Some(Event::End(end)) => return Err(Some(end)),
                Some(Event::Out(_)) | None => return Err(None),
            }
        }
    }

    /// Reads until the program has ended.
    async fn rest(&mut self) -> Option<End> {
        let gone = async {
            loop {
                match self.run.next().await? {
                    Event::Err(piece) => {
                        self.tail.extend(piece);
                        let extra = self.tail.len().saturating_sub(TAIL);
                        self.tail.drain(..extra);
                    }
                    Event::End(end) => return Some(end),
                    Event::Out(_) => {}
                }
            }
        };
        tokio::time::timeout(Duration::from_secs(5), gone).await.ok().flatten()
    }

    fn remember(&mut self, piece: &[u8]) {
        self.tail.extend_from_slice(piece);
        let extra = self.tail.len().saturating_sub(TAIL);
        self.tail.drain(..extra);
    }
}
