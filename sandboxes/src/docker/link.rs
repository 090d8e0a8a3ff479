//! The connection to a container's agent: many runs over one stream.

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

/// Maximum length of a frame, so that the agent cannot fill fixfly's memory.
const LONGEST: usize = 1 << 20;
const HEAD: usize = 9;

/// An event of a run.
pub(super) enum Event {
    Out(Vec<u8>),
    Err(Vec<u8>),
    End(End),
}

/// How a run ended.
#[derive(Debug, Default, Deserialize)]
pub(super) struct End {
    /// The status from `wait`; absent if the program was killed.
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
    /// How the program ended, unless it was killed.
    pub(super) fn status(&self) -> Option<Status> {
        self.status.map(|raw| match raw & 0x7f {
            0 => Status::Exited((raw >> 8) & 0xff),
            signal => Status::Signalled(signal),
        })
    }
}

/// The receivers of events, by run; `None` once the container has ended.
type Listeners = Mutex<Option<HashMap<u32, mpsc::UnboundedSender<Event>>>>;

/// Our end of the connection.
pub(super) struct Link {
    frames: mpsc::UnboundedSender<Vec<u8>>,
    listeners: Arc<Listeners>,
    next: AtomicU32,
    last_words: Arc<Mutex<String>>,
}

impl Link {
    /// Opens a connection over an attached container. The returned run gets an event when
    /// the agent is ready.
    pub(super) fn new(attached: AttachContainerResults) -> (Link, Run) {
        let (frames, queue) = mpsc::unbounded_channel();
        let (listeners, last_words) = (Arc::new(Mutex::new(Some(HashMap::new()))), Arc::default());
        let link = Link { frames, listeners, next: AtomicU32::new(1), last_words };
        // The agent's greeting has the run number 0.
        let greeting = link.listener(0);
        tokio::spawn(write_frames(attached.input, queue));
        let (listeners, words) = (Arc::clone(&link.listeners), Arc::clone(&link.last_words));
        tokio::spawn(async move {
            let mut output = attached.output;
            let mut received = Vec::new();
            while let Some(Ok(piece)) = output.next().await {
                match piece {
                    LogOutput::StdErr { message } => {
                        let mut words = lock(&words);
                        words.clear();
                        words.push_str(String::from_utf8_lossy(&message).trim());
                    }
                    piece => {
                        received.extend_from_slice(&piece.into_bytes());
                        if !deliver(&mut received, &listeners) {
                            break;
                        }
                    }
                }
            }
            lock(&listeners).take();
        });
        (link, greeting)
    }

    fn listener(&self, number: u32) -> Run {
        let (sender, events) = mpsc::unbounded_channel();
        // If the container has ended, the run gets no listener, and `next` returns `None`
        // at once.
        if let Some(listeners) = &mut *lock(&self.listeners) {
            listeners.insert(number, sender);
        }
        let (frames, listeners) = (self.frames.clone(), Arc::clone(&self.listeners));
        Run { number, events, frames, listeners, windowed: false }
    }

    /// Starts a run.
    pub(super) fn start(&self, asked: &Value) -> Run {
        let mut run = self.listener(self.next.fetch_add(1, Ordering::Relaxed));
        run.windowed = asked["window"].is_u64();
        run.send(b'S', asked.to_string().as_bytes());
        run
    }

    /// Ends the agent, and with it the container.
    pub(super) fn end(&self) {
        let _ = self.frames.send([&[0; 4][..], b"Q", &[0; 4]].concat());
    }

    /// Whether the agent, and with it the container, has ended.
    pub(super) fn has_ended(&self) -> bool {
        lock(&self.listeners).is_none()
    }

    /// The agent's last message on stderr.
    pub(super) fn last_words(&self) -> String {
        lock(&self.last_words).clone()
    }
}

/// A started program. Dropping it kills the program and all its children.
pub(super) struct Run {
    number: u32,
    events: mpsc::UnboundedReceiver<Event>,
    frames: mpsc::UnboundedSender<Vec<u8>>,
    listeners: Arc<Listeners>,
    /// Whether the agent waits for acknowledgements of output.
    windowed: bool,
}

impl Run {
    fn send(&self, letter: u8, body: &[u8]) {
        let size = u32::try_from(body.len()).unwrap_or(u32::MAX);
        let head = [&self.number.to_be_bytes()[..], &[letter], &size.to_be_bytes()].concat();
        // If the queue is closed, the run has ended, and its events show this.
        let _ = self.frames.send([&head, body].concat());
    }

    /// Sends input.
    pub(super) fn feed(&self, input: &[u8]) {
        for piece in input.chunks(LONGEST) {
            self.send(b'I', piece);
        }
    }

    /// Closes the input.
    pub(super) fn end_input(&self) {
        self.send(b'E', &[]);
    }

    /// Kills the program and all its children. The end event still arrives.
    pub(super) fn kill(&self) {
        self.send(b'K', &[]);
    }

    /// The next event; `None` once the container has ended.
    pub(super) async fn next(&mut self) -> Option<Event> {
        let event = self.events.recv().await;
        if let (true, Some(Event::Out(piece))) = (self.windowed, &event) {
            let received = u32::try_from(piece.len()).unwrap_or(u32::MAX);
            self.send(b'A', &received.to_be_bytes());
        }
        event
    }

    /// Waits for the first event.
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
        if let Some(listeners) = &mut *lock(&self.listeners) {
            listeners.remove(&self.number);
        }
        self.kill();
    }
}

async fn write_frames(
    mut input: Pin<Box<dyn AsyncWrite + Send>>,
    mut queue: mpsc::UnboundedReceiver<Vec<u8>>,
) {
    while let Some(frame) = queue.recv().await {
        if input.write_all(&frame).await.is_err() || input.flush().await.is_err() {
            return;
        }
    }
    let _ = input.shutdown().await;
}

/// Delivers complete frames to their listeners. Returns false if the data is not a frame.
fn deliver(received: &mut Vec<u8>, listeners: &Listeners) -> bool {
    let mut at = 0;
    while let Some((head, rest)) = received[at..].split_first_chunk::<HEAD>() {
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
        if let Some(listener) =
            lock(listeners).as_ref().and_then(|listeners| listeners.get(&number))
        {
            let _ = listener.send(event);
        }
        at += HEAD + size;
    }
    received.drain(..at);
    true
}

pub(super) fn lock<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}
