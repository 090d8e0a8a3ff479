//! A program's input and output, in this process's memory.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;
use wasmtime_wasi::cli::{IsTerminal, StdinStream, StdoutStream};
use wasmtime_wasi::p2::{InputStream, OutputStream, Pollable, StreamError, StreamResult};

/// Maximum bytes that a program reads at a time.
const PIECE: usize = 64 << 10;
/// Maximum bytes that a program may write at a time. Python takes a shorter write to its
/// standard output for a whole one.
const WHOLE: usize = 64 << 20;

/// A program's input.
#[derive(Clone, Default)]
pub(super) struct Input(Arc<Inlet>);

#[derive(Default)]
struct Inlet {
    held: Mutex<Held>,
    news: Notify,
}

#[derive(Default)]
struct Held {
    bytes: VecDeque<u8>,
    closed: bool,
}

impl Input {
    /// An input with these bytes.
    pub(super) fn of(bytes: &[u8]) -> Input {
        let input = Input::default();
        input.feed(bytes);
        input.close();
        input
    }

    pub(super) fn feed(&self, bytes: &[u8]) {
        lock(&self.0.held).bytes.extend(bytes);
        self.0.news.notify_one();
    }

    pub(super) fn close(&self) {
        lock(&self.0.held).closed = true;
        self.0.news.notify_one();
    }
}

impl IsTerminal for Input {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdinStream for Input {
    fn p2_stream(&self) -> Box<dyn InputStream> {
        Box::new(self.clone())
    }

    fn async_stream(&self) -> Box<dyn AsyncRead + Send + Sync> {
        Box::new(tokio::io::empty())
    }
}

#[async_trait::async_trait]
impl InputStream for Input {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        let mut held = lock(&self.0.held);
        if held.bytes.is_empty() && held.closed {
            return Err(StreamError::Closed);
        }
        let size = size.min(PIECE).min(held.bytes.len());
        Ok(held.bytes.drain(..size).collect())
    }
}

#[async_trait::async_trait]
impl Pollable for Input {
    async fn ready(&mut self) {
        loop {
            let news = self.0.news.notified();
            {
                let held = lock(&self.0.held);
                if held.closed || !held.bytes.is_empty() {
                    return;
                }
            }
            news.await;
        }
    }
}

/// A program's output: the first bytes, the last bytes, or the bytes that have not been
/// taken yet.
#[derive(Clone)]
pub(super) struct Printed(Arc<Outlet>);

struct Outlet {
    keep: Keep,
    kept: Mutex<Kept>,
    news: Notify,
}

/// Which bytes are kept.
#[derive(Clone, Copy)]
pub(super) enum Keep {
    /// The first bytes; the rest is only counted.
    First(usize),
    /// The last bytes.
    Last(usize),
    /// Bytes that have not been taken yet. A program that writes more fails.
    Untaken(usize),
}

#[derive(Default)]
struct Kept {
    bytes: Vec<u8>,
    elided: u64,
}

impl Printed {
    pub(super) fn new(keep: Keep) -> Printed {
        Printed(Arc::new(Outlet { keep, kept: Mutex::default(), news: Notify::new() }))
    }

    /// Returns the bytes that were kept, and the number of those that were not.
    pub(super) fn take(&self) -> (Vec<u8>, u64) {
        let kept = std::mem::take(&mut *lock(&self.0.kept));
        (kept.bytes, kept.elided)
    }

    /// Takes the next line.
    pub(super) async fn line(&self) -> String {
        loop {
            let news = self.0.news.notified();
            {
                let mut kept = lock(&self.0.kept);
                if let Some(end) = kept.bytes.iter().position(|byte| *byte == b'\n') {
                    let rest = kept.bytes.split_off(end + 1);
                    let line = std::mem::replace(&mut kept.bytes, rest);
                    return String::from_utf8_lossy(&line[..end]).into_owned();
                }
            }
            news.await;
        }
    }
}

impl IsTerminal for Printed {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Printed {
    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }

    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(tokio::io::sink())
    }
}

impl OutputStream for Printed {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        let mut kept = lock(&self.0.kept);
        match self.0.keep {
            Keep::First(most) => {
                let room = most.saturating_sub(kept.bytes.len()).min(bytes.len());
                kept.bytes.extend_from_slice(&bytes[..room]);
                kept.elided += (bytes.len() - room) as u64;
            }
            Keep::Last(most) => {
                kept.bytes.extend_from_slice(&bytes);
                let extra = kept.bytes.len().saturating_sub(most);
                kept.bytes.drain(..extra);
            }
            Keep::Untaken(most) => {
                if kept.bytes.len() + bytes.len() > most {
                    return Err(StreamError::trap("it printed more than anybody asked for"));
                }
                kept.bytes.extend_from_slice(&bytes);
            }
        }
        drop(kept);
        self.0.news.notify_one();
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(WHOLE)
    }
}

#[async_trait::async_trait]
impl Pollable for Printed {
    async fn ready(&mut self) {}
}

pub(super) fn lock<T>(held: &Mutex<T>) -> MutexGuard<'_, T> {
    held.lock().unwrap_or_else(PoisonError::into_inner)
}
