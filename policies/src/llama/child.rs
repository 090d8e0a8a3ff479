//! The engine as its policy sees it: a child process that answers calls, and
//! is started again where it ended.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::protocol::{Answer, Ask, Load, Refusal, Said, Say};

/// What the engine's executable is told to do.
const COMMAND: &str = "llama-engine";

/// An engine, running or not.
pub(super) struct Engine {
    executable: PathBuf,
    load: Load,
    running: Arc<Mutex<Option<Running>>>,
    calls: AtomicU64,
}

/// Why a call was not answered.
#[derive(Debug, PartialEq)]
pub(super) enum Unanswered {
    Refused(Refusal),
    /// The engine ended, or could not be started; says how.
    Gone(String),
}

type Heard = Result<Said, Unanswered>;

struct Running {
    child: Child,
    asks: ChildStdin,
    calls: Arc<Mutex<Calls>>,
}

/// Calls in flight; none once the engine ended, and how it did.
type Calls = Result<HashMap<u64, oneshot::Sender<Heard>>, String>;

impl Engine {
    /// An engine of a model, started.
    ///
    /// # Errors
    /// Why it cannot be, in one sentence.
    pub(super) fn start(executable: PathBuf, load: Load) -> Result<Self, String> {
        let running = Running::start(&executable, &load)?;
        let running = Arc::new(Mutex::new(Some(running)));
        Ok(Engine { executable, load, running, calls: AtomicU64::new(0) })
    }

    /// Asks, and waits for the answer; where nobody waits any more, the engine
    /// is told.
    pub(super) async fn say(&self, say: Say) -> Heard {
        let id = self.calls.fetch_add(1, Ordering::Relaxed);
        let (running, executable, load) =
            (self.running.clone(), self.executable.clone(), self.load.clone());
        // Loading a model takes its time, and others use this thread meanwhile.
        let asked = tokio::task::spawn_blocking(move || {
            let mut running = lock(&running);
            if !running.as_ref().is_some_and(Running::answers) {
                *running = None;
                *running = Some(Running::start(&executable, &load)?);
            }
            let Some(running) = running.as_mut() else { unreachable!("it was just started") };
            running.ask(Say { id, ..say })
        });
        let gone = |why: &str| Unanswered::Gone(why.to_string());
        let heard = asked.await.map_err(|fault| gone(&fault.to_string()))?;
        let _waits = Waits { engine: self, id };
        let heard = heard.map_err(|why| gone(&why))?.await;
        heard.unwrap_or_else(|_| Err(gone("the engine ended")))
    }
}

/// Somebody who waits for an answer.
struct Waits<'a> {
    engine: &'a Engine,
    id: u64,
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        if let Some(running) = lock(&self.engine.running).as_mut() {
            running.leave(self.id);
        }
    }
}

impl Running {
    fn start(executable: &PathBuf, load: &Load) -> Result<Self, String> {
        let cannot = |error: &dyn std::fmt::Display| {
            format!("the engine `{}` cannot be started: {error}", executable.display())
        };
        let mut command = Command::new(executable);
        // Ctrl-C is for whoever runs the policy: the answers under way are still wanted.
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
        let (Some(mut asks), Some(answers), Some(words)) = pipes else {
            return Err(cannot(&"it has no pipes"));
        };
        let words = last_words(words);
        let mut answers = BufReader::new(answers);
        tell(&mut asks, &Ask::Load(load.clone())).map_err(|error| cannot(&error))?;
        match next(&mut answers) {
            Some(Answer::Ready) => {}
            Some(Answer::Failed(why)) => {
                let _ = child.wait();
                return Err(why);
            }
            _ => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(ended(&words.join().unwrap_or_default()));
            }
        }
        let calls = Arc::new(Mutex::new(Ok(HashMap::new())));
        let heard = calls.clone();
        std::thread::spawn(move || hear(answers, &heard, words));
        Ok(Running { child, asks, calls })
    }

    fn answers(&self) -> bool {
        lock(&self.calls).is_ok()
    }

    fn ask(&mut self, say: Say) -> Result<oneshot::Receiver<Heard>, String> {
        let (answer, heard) = oneshot::channel();
        match &mut *lock(&self.calls) {
            Ok(calls) => calls.insert(say.id, answer),
            Err(how) => return Err(how.clone()),
        };
        // Where it ended meanwhile, whoever hears it tells the calls in flight.
        let _ = tell(&mut self.asks, &Ask::Say(say));
        Ok(heard)
    }

    fn leave(&mut self, id: u64) {
        let waited = lock(&self.calls).as_mut().is_ok_and(|calls| calls.remove(&id).is_some());
        if waited {
            let _ = tell(&mut self.asks, &Ask::Permit(id));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Hands answers to those who wait, until the engine ends; then tells them so.
fn hear(
    mut answers: BufReader<ChildStdout>,
    calls: &Mutex<Calls>,
    words: std::thread::JoinHandle<String>,
) {
    let mut why = None;
    loop {
        let (id, heard) = match next(&mut answers) {
            Some(Answer::Said(id, said)) => (id, Ok(said)),
            Some(Answer::Not(id, refusal)) => (id, Err(Unanswered::Refused(refusal))),
            Some(Answer::Failed(reason)) => {
                why = Some(reason);
                break;
            }
            Some(Answer::Ready) | None => break,
        };
        let waiting = lock(calls).as_mut().ok().and_then(|calls| calls.remove(&id));
        waiting.map(|waiting| waiting.send(heard));
    }
    drop(answers);
    let how = why.unwrap_or_else(|| ended(&words.join().unwrap_or_default()));
    let waiting = std::mem::replace(&mut *lock(calls), Err(how.clone()));
    for (_, waiting) in waiting.into_iter().flatten() {
        let _ = waiting.send(Err(Unanswered::Gone(how.clone())));
    }
}

fn tell(asks: &mut ChildStdin, ask: &Ask) -> std::io::Result<()> {
    let mut line = serde_json::to_string(ask)?;
    line.push('\n');
    asks.write_all(line.as_bytes())?;
    asks.flush()
}

fn next(answers: &mut BufReader<ChildStdout>) -> Option<Answer> {
    // Whatever else a library prints is not an answer.
    answers.lines().map_while(Result::ok).find_map(|line| serde_json::from_str(&line).ok())
}

/// What the engine said of itself before it ended: the line that names a broken
/// contract, else the first.
fn last_words(mut said: impl Read + Send + 'static) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut last = String::new();
        let mut lines = BufReader::new(&mut said).lines();
        while let Some(Ok(line)) = lines.next() {
            let telling = line.contains("ASSERT") || line.contains("panicked");
            if telling || last.is_empty() {
                last = line;
            }
        }
        last
    })
}

fn ended(last_words: &str) -> String {
    match last_words.trim() {
        "" => "the engine of the model ended".to_string(),
        words => format!("the engine of the model ended: {words}"),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
