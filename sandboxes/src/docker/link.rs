//! The conversation with a container's agent: many runs over one stream.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bollard::container::{AttachContainerResults, LogOutput};
use fixfly_runtime::Status;
use futures::StreamExt;
use serde::Deserialize;
use serde_json::Value;
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;

/// The longest frame; what answers is not trusted with fixfly's memory.
const LONGEST: usize = 1 << 20;
const HEAD: usize = 9;

/// What a run says.
pub(super) enum Event {
    Out(Vec<u8>),
    Err(Vec<u8>),
    End(End),
}

/// How a run ended.
#[derive(Debug, Default, Deserialize)]
pub(super) struct End {
    /// As `wait` gives it; absent where it was killed.
    #[serde(default)]
    status: Option<i32>,
    /// Why it did not start.
    #[serde(default)]
    pub(super) error: Option<String>,
    #[serde(default)]
    pub(super) errno: Option<i32>,
    #[serde(default)]
    pub(super) elided: u64,
}

impl End {
    /// How the program ended, if by itself.
    pub(super) fn status(&self) -> Option<Status> {
        self.status.map(|raw| match raw & 0x7f {
            0 => Status::Exited((raw >> 8) & 0xff),
            signal => Status::Signalled(signal),
        })
    }
}

/// Who listens, by run; nobody can where the container is gone.
type Ears = Mutex<Option<HashMap<u32, mpsc::UnboundedSender<Event>>>>;

/// One end of the conversation.
pub(super) struct Link {
    say: mpsc::UnboundedSender<Vec<u8>>,
    ears: Arc<Ears>,
    next: AtomicU32,
    last_words: Arc<Mutex<String>>,
}

impl Link {
    /// A conversation over an attached container; ready once the agent is.
    pub(super) fn new(attached: AttachContainerResults) -> (Link, Run) {
        let (say, said) = mpsc::unbounded_channel();
        let (ears, last_words) = (Arc::new(Mutex::new(Some(HashMap::new()))), Arc::default());
        let link = Link { say, ears, next: AtomicU32::new(1), last_words };
        // The agent's greeting comes as run 0.
        let greeting = link.ear(0);
        tokio::spawn(speak(attached.input, said));
        let (ears, words) = (Arc::clone(&link.ears), Arc::clone(&link.last_words));
        tokio::spawn(async move {
            let mut output = attached.output;
            let mut heard = Vec::new();
            while let Some(Ok(piece)) = output.next().await {
                match piece {
                    LogOutput::StdErr { message } => {
                        let mut words = lock(&words);
                        words.clear();
                        words.push_str(String::from_utf8_lossy(&message).trim());
                    }
                    piece => {
                        heard.extend_from_slice(&piece.into_bytes());
                        if !deliver(&mut heard, &ears) {
                            break;
                        }
                    }
                }
            }
            lock(&ears).take();
        });
        (link, greeting)
    }

    fn ear(&self, number: u32) -> Run {
        let (tell, events) = mpsc::unbounded_channel();
        // Where the container is gone the run hears that at once.
        if let Some(ears) = &mut *lock(&self.ears) {
            ears.insert(number, tell);
        }
        let (say, ears) = (self.say.clone(), Arc::clone(&self.ears));
        Run { number, events, say, ears, windowed: false }
    }

    /// Starts a run.
    pub(super) fn start(&self, asked: &Value) -> Run {
        let mut run = self.ear(self.next.fetch_add(1, Ordering::Relaxed));
        run.windowed = asked["window"].is_u64();
        run.say(b'S', asked.to_string().as_bytes());
        run
    }

    /// Ends the agent, and with it the container.
    pub(super) fn end(&self) {
        let _ = self.say.send([&[0; 4][..], b"Q", &[0; 4]].concat());
    }

    /// What the agent complained of last.
    pub(super) fn last_words(&self) -> String {
        lock(&self.last_words).clone()
    }
}

/// A started program. Dropping it kills it and all it started.
pub(super) struct Run {
    number: u32,
    events: mpsc::UnboundedReceiver<Event>,
    say: mpsc::UnboundedSender<Vec<u8>>,
    ears: Arc<Ears>,
    /// Whether the agent waits for what was said to be heard.
    windowed: bool,
}

impl Run {
    fn say(&self, letter: u8, body: &[u8]) {
        let size = u32::try_from(body.len()).unwrap_or(u32::MAX);
        let head = [&self.number.to_be_bytes()[..], &[letter], &size.to_be_bytes()].concat();
        // Where nobody listens any more the run has ended, as its events say.
        let _ = self.say.send([&head, body].concat());
    }

    /// Gives it this to read.
    pub(super) fn feed(&self, input: &[u8]) {
        for piece in input.chunks(LONGEST) {
            self.say(b'I', piece);
        }
    }

    /// It has nothing more to read.
    pub(super) fn end_input(&self) {
        self.say(b'E', &[]);
    }

    /// Kills it and all it started; its end is still told.
    pub(super) fn kill(&self) {
        self.say(b'K', &[]);
    }

    /// What comes next; nothing where the container is gone.
    pub(super) async fn next(&mut self) -> Option<Event> {
        let event = self.events.recv().await;
        if let (true, Some(Event::Out(piece))) = (self.windowed, &event) {
            let heard = u32::try_from(piece.len()).unwrap_or(u32::MAX);
            self.say(b'A', &heard.to_be_bytes());
        }
        event
    }

    /// Waits for a sign of life; none where the container ended first.
    pub(super) async fn greeted(&mut self, patience: Duration) -> Result<(), &'static str> {
        match tokio::time::timeout(patience, self.next()).await {
            Ok(Some(_)) => Ok(()),
            Ok(None) => Err("gives no Python 3 that can start programs"),
            Err(_) => Err("did not start in time"),
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if let Some(ears) = &mut *lock(&self.ears) {
            ears.remove(&self.number);
        }
        self.kill();
    }
}

async fn speak(
    mut input: Pin<Box<dyn AsyncWrite + Send>>,
    mut said: mpsc::UnboundedReceiver<Vec<u8>>,
) {
    while let Some(frame) = said.recv().await {
        if input.write_all(&frame).await.is_err() || input.flush().await.is_err() {
            return;
        }
    }
    let _ = input.shutdown().await;
}

/// Hands whole frames to whom they are for; false where it is no frame.
fn deliver(heard: &mut Vec<u8>, ears: &Ears) -> bool {
    let mut at = 0;
    while let Some((head, rest)) = heard[at..].split_first_chunk::<HEAD>() {
        let number = u32::from_be_bytes([head[0], head[1], head[2], head[3]]);
        let size = u32::from_be_bytes([head[5], head[6], head[7], head[8]]) as usize;
        if size > LONGEST {
            return false;
        }
        let Some(body) = rest.get(..size) else { break };
        let event = match head[4] {
            b'R' => Event::Err(body.to_vec()),
            b'X' => Event::End(serde_json::from_slice(body).unwrap_or_default()),
            _ => Event::Out(body.to_vec()),
        };
        if let Some(ear) = lock(ears).as_ref().and_then(|ears| ears.get(&number)) {
            let _ = ear.send(event);
        }
        at += HEAD + size;
    }
    heard.drain(..at);
    true
}

fn lock<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}
