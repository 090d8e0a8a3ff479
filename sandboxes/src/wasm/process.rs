//! Long-lived programs that answer lines with lines.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use fixfly_runtime::{Process, SandboxError, Status};
use tokio::task::JoinHandle;

use super::instance::{Ended, Machine, Program, Stdio};
use super::stdio::{Input, Keep, Printed};
use super::tree::Tree;
use super::{LONGEST_LINE, TAIL, status};

/// A program that answers lines with lines.
pub(super) struct Server {
    name: String,
    talk: tokio::sync::Mutex<Option<Talk>>,
    kill: tokio::task::AbortHandle,
}

/// The connection to a program. Dropping it ends the program.
struct Talk {
    stdin: Input,
    stdout: Printed,
    stderr: Printed,
    running: Running,
}

struct Running(JoinHandle<Result<Ended, String>>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Server {
    pub(super) fn start(
        name: &str,
        machine: &Arc<Machine>,
        program: Program,
        tree: &Arc<Tree>,
    ) -> Server {
        let (stdin, stderr) = (Input::default(), Printed::new(Keep::Last(TAIL)));
        let stdout = Printed::new(Keep::Untaken(LONGEST_LINE));
        let stdio = Stdio { stdin: stdin.clone(), stdout: stdout.clone(), stderr: stderr.clone() };
        let (machine, tree) = (Arc::clone(machine), Arc::clone(tree));
        let running = tokio::spawn(async move { machine.run_first(program, &tree, stdio).await });
        let kill = running.abort_handle();
        let talk = Talk { stdin, stdout, stderr, running: Running(running) };
        Server { name: name.to_owned(), talk: tokio::sync::Mutex::new(Some(talk)), kill }
    }

    /// Whether it can take requests. A program that is busy with an answer can.
    pub(super) fn lives(&self) -> bool {
        self.talk
            .try_lock()
            .map_or(true, |talk| talk.as_ref().is_some_and(|talk| !talk.running.0.is_finished()))
    }

    /// Kills the program, without waiting.
    pub(super) fn kill(&self) {
        self.kill.abort();
    }

    /// Ends the program.
    pub(super) async fn end(&self) {
        if let Some(mut talk) = self.talk.lock().await.take() {
            talk.running.0.abort();
            let _ = (&mut talk.running.0).await;
        }
    }

    fn error(&self, why: String) -> SandboxError {
        SandboxError::Process { name: self.name.clone(), why }
    }

    async fn lost(&self, mut talk: Talk, silent: Option<Duration>) -> SandboxError {
        if silent.is_some() {
            talk.running.0.abort();
        }
        let ended = (&mut talk.running.0).await;
        let (tail, _) = talk.stderr.take();
        let how = match (silent, ended) {
            (Some(timeout), _) => format!("did not answer within {timeout:?}"),
            (None, Ok(Ok(ended))) => match status(&ended) {
                Status::Exited(code) => format!("ended: exit code {code}"),
                _ => format!("ended: {}", ended.why),
            },
            (None, Ok(Err(why))) => format!("ended: {why}"),
            (None, Err(_)) => "ended: it was killed".to_owned(),
        };
        let words = match String::from_utf8_lossy(&tail).trim() {
            "" => String::new(),
            words => format!("; its last words: {words}"),
        };
        self.error(how + &words)
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
        let talk = place.take().ok_or_else(|| self.error("ended: before this question".into()))?;
        talk.stdin.feed(format!("{line}\n").as_bytes());
        let answer = tokio::select! {
            biased;
            answer = talk.stdout.line() => Some(answer),
            _ = over(&talk.running.0) => None,
            () = tokio::time::sleep(timeout) => return Err(self.lost(talk, Some(timeout)).await),
        };
        match answer {
            Some(answer) => {
                *place = Some(talk);
                Ok(answer)
            }
            None => Err(self.lost(talk, None).await),
        }
    }
}

/// Waits until the program has ended, and keeps its result for later.
async fn over(running: &JoinHandle<Result<Ended, String>>) {
    while !running.is_finished() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
