//! The engine as the policy sees it: a child process that answers calls, and is
//! started again if it ended.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::protocol::{FromEngine, GenerateRequest, Generated, Load, Refusal, ToEngine};

/// The command that makes the executable an engine.
const COMMAND: &str = "llama-engine";
/// The number of the signal for an illegal instruction.
const SIGILL: i32 = 4;

/// An engine, running or not.
pub(super) struct Engine {
    executable: PathBuf,
    load: Load,
    running: Arc<Mutex<Option<Running>>>,
    calls: AtomicU64,
    waiting: Arc<AtomicUsize>,
}

/// Why a call has no answer.
#[derive(Debug, PartialEq)]
pub(super) enum CallError {
    Refused(Refusal),
    /// The engine ended or could not be started, with the reason.
    Ended(String),
}

type Response = Result<Generated, CallError>;

struct Running {
    child: Arc<Mutex<Child>>,
    input: ChildStdin,
    calls: Arc<Mutex<Calls>>,
}

/// The calls in flight, or the reason why the engine ended.
type Calls = Result<HashMap<u64, oneshot::Sender<Response>>, String>;

impl Engine {
    /// Starts an engine for a model.
    ///
    /// # Errors
    /// One sentence that states why it cannot be started.
    pub(super) fn start(executable: PathBuf, load: Load) -> Result<Self, String> {
        let waiting = Arc::default();
        let running = Running::start(&executable, &load, &waiting)?;
        let running = Arc::new(Mutex::new(Some(running)));
        Ok(Engine { executable, load, running, calls: AtomicU64::new(0), waiting })
    }

    /// How many calls wait for cells of the key-value cache.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Sends a request and waits for the answer. If the returned future is dropped,
    /// the engine cancels the call.
    pub(super) async fn generate(&self, request: GenerateRequest) -> Response {
        let id = self.calls.fetch_add(1, Ordering::Relaxed);
        let (running, executable, load) =
            (self.running.clone(), self.executable.clone(), self.load.clone());
        let waiting = self.waiting.clone();
        // Loading a model takes long and must not block this thread.
        let asked = tokio::task::spawn_blocking(move || {
            let mut running = lock(&running);
            if !running.as_ref().is_some_and(Running::is_alive) {
                *running = None;
                *running = Some(Running::start(&executable, &load, &waiting)?);
            }
            let Some(running) = running.as_mut() else { unreachable!("it was just started") };
            running.ask(GenerateRequest { id, ..request })
        });
        let ended_error = |why: &str| CallError::Ended(why.to_string());
        let receiver = asked.await.map_err(|fault| ended_error(&fault.to_string()))?;
        let _guard = CancelOnDrop { engine: self, id };
        let response = receiver.map_err(|why| ended_error(&why))?.await;
        response.unwrap_or_else(|_| Err(ended_error("the engine ended")))
    }
}

/// Cancels the call when its caller stops waiting.
struct CancelOnDrop<'a> {
    engine: &'a Engine,
    id: u64,
}

impl Drop for CancelOnDrop<'_> {
    fn drop(&mut self) {
        if let Some(running) = lock(&self.engine.running).as_mut() {
            running.cancel(self.id);
        }
    }
}

impl Running {
    fn start(
        executable: &PathBuf,
        load: &Load,
        waiting: &Arc<AtomicUsize>,
    ) -> Result<Self, String> {
        let cannot = |error: &dyn std::fmt::Display| {
            format!("the engine `{}` cannot be started: {error}", executable.display())
        };
        let mut command = Command::new(executable);
        // Ctrl-C must not reach the engine: the answers in flight are still needed.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = command
            .arg(COMMAND)
            .env("GGML_NO_BACKTRACE", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| cannot(&error))?;
        let pipes = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(mut input), Some(messages), Some(words)) = pipes else {
            return Err(cannot(&"it has no pipes"));
        };
        let words = last_words(words);
        let mut messages = BufReader::new(messages);
        send(&mut input, &ToEngine::Load(load.clone())).map_err(|error| cannot(&error))?;
        match next(&mut messages) {
            Some(FromEngine::Ready) => {}
            Some(FromEngine::Failed(why)) => {
                let _ = child.wait();
                return Err(why);
            }
            _ => {
                let words = words.join().unwrap_or_default();
                let status = child.try_wait().ok().flatten();
                let _ = child.kill();
                let _ = child.wait();
                return Err(ended(&words, status));
            }
        }
        let calls = Arc::new(Mutex::new(Ok(HashMap::new())));
        let child = Arc::new(Mutex::new(child));
        let (in_flight, ending, waiting) = (calls.clone(), child.clone(), waiting.clone());
        std::thread::spawn(move || receive(messages, (&in_flight, &waiting), words, &ending));
        Ok(Running { child, input, calls })
    }

    fn is_alive(&self) -> bool {
        lock(&self.calls).is_ok()
    }

    fn ask(&mut self, request: GenerateRequest) -> Result<oneshot::Receiver<Response>, String> {
        let (sender, receiver) = oneshot::channel();
        match &mut *lock(&self.calls) {
            Ok(calls) => calls.insert(request.id, sender),
            Err(how) => return Err(how.clone()),
        };
        // If the engine has just ended, `receive` fails all calls in flight.
        let _ = send(&mut self.input, &ToEngine::Generate(request));
        Ok(receiver)
    }

    fn cancel(&mut self, id: u64) {
        let waited = lock(&self.calls).as_mut().is_ok_and(|calls| calls.remove(&id).is_some());
        if waited {
            let _ = send(&mut self.input, &ToEngine::Cancel(id));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut child = lock(&self.child);
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// Passes answers to their callers until the engine ends; then fails the remaining
/// calls.
fn receive(
    mut messages: BufReader<ChildStdout>,
    (calls, waiting): (&Mutex<Calls>, &AtomicUsize),
    words: std::thread::JoinHandle<String>,
    child: &Mutex<Child>,
) {
    let mut why = None;
    loop {
        let (id, response) = match next(&mut messages) {
            Some(FromEngine::Generated(id, generated)) => (id, Ok(generated)),
            Some(FromEngine::Refused(id, refusal)) => (id, Err(CallError::Refused(refusal))),
            Some(FromEngine::Waiting(count)) => {
                waiting.store(count, Ordering::Relaxed);
                continue;
            }
            Some(FromEngine::Failed(reason)) => {
                why = Some(reason);
                break;
            }
            Some(FromEngine::Ready) | None => break,
        };
        let caller = lock(calls).as_mut().ok().and_then(|calls| calls.remove(&id));
        if let Some(caller) = caller {
            let _ = caller.send(response);
        }
    }
    waiting.store(0, Ordering::Relaxed);
    drop(messages);
    let how = why.unwrap_or_else(|| {
        // Its output has ended, so the process ends.
        let words = words.join().unwrap_or_default();
        ended(&words, lock(child).wait().ok())
    });
    let callers = std::mem::replace(&mut *lock(calls), Err(how.clone()));
    for (_, caller) in callers.into_iter().flatten() {
        let _ = caller.send(Err(CallError::Ended(how.clone())));
    }
}

fn send(input: &mut ChildStdin, ask: &ToEngine) -> std::io::Result<()> {
    let mut line = serde_json::to_string(ask)?;
    line.push('\n');
    input.write_all(line.as_bytes())?;
    input.flush()
}

fn next(messages: &mut BufReader<ChildStdout>) -> Option<FromEngine> {
    // Other lines are the output of a library.
    messages.lines().map_while(Result::ok).find_map(|line| serde_json::from_str(&line).ok())
}

/// The most useful line of the engine's stderr: a failed assertion or a panic,
/// otherwise the first line.
fn last_words(mut stderr: impl Read + Send + 'static) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut last = String::new();
        let mut lines = BufReader::new(&mut stderr).lines();
        while let Some(Ok(line)) = lines.next() {
            let telling = line.contains("ASSERT") || line.contains("panicked");
            if telling || last.is_empty() {
                last = line;
            }
        }
        last
    })
}

/// Why the engine ended, as far as its last words and its status tell.
fn ended(last_words: &str, status: Option<ExitStatus>) -> String {
    let how = match (last_words.trim(), status.and_then(|status| status.signal())) {
        ("", None) => return "the engine of the model ended".to_string(),
        ("", Some(SIGILL)) => "it used an instruction that this processor does not have; build \
                               fixfly for this processor (RUSTFLAGS=\"-C target-cpu=NAME\", \
                               without `native` where a virtual machine hides instructions)"
            .to_string(),
        ("", Some(signal)) => format!("signal {signal} killed it"),
        (words, _) => words.to_string(),
    };
    format!("the engine of the model ended: {how}")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_an_engine_has_a_reason() {
        #[track_caller]
        fn check(words: &str, status: Option<i32>, expected: &str) {
            assert_eq!(ended(words, status.map(ExitStatus::from_raw)), expected);
        }
        check("", None, "the engine of the model ended");
        check("", Some(0), "the engine of the model ended");
        check("", Some(9), "the engine of the model ended: signal 9 killed it");
        check(" out of memory\n", Some(6), "the engine of the model ended: out of memory");
        let illegal = ended("", Some(ExitStatus::from_raw(4)));
        assert!(illegal.contains("an instruction that this processor does not have"), "{illegal}");
    }
}
