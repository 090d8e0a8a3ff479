//! Somebody between fixfly and an engine, who decides what becomes of each request.
// Each test file uses some of it.
#![allow(dead_code, clippy::unwrap_used)]

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use fixfly_sandboxes::docker::{Engine, Patience};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;

const REAL: &str = "/var/run/docker.sock";

/// What becomes of a request.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Fate {
    /// It is answered by the real engine, or by the script.
    Answered,
    /// It is answered by 500.
    Fails,
    /// It gets no answer.
    Hangs,
    /// Its connection is closed.
    IsReset,
    /// The engine does what is requested, and its answer is lost.
    LosesItsAnswer,
}

pub(crate) type Decide = Box<dyn Fn(&Request, usize) -> Fate + Send + Sync>;

#[derive(Clone)]
pub(crate) struct Request {
    /// `POST /v1.41/containers/create?name=x`.
    pub(crate) line: String,
    head: String,
    pub(crate) body: Vec<u8>,
}

impl Request {
    pub(crate) fn is(&self, what: &str) -> bool {
        self.line.contains(what)
    }

    async fn read(from: &mut UnixStream) -> Option<Request> {
        let mut bytes = Vec::new();
        let end = loop {
            if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            let mut piece = [0; 4096];
            match from.read(&mut piece).await {
                Ok(read @ 1..) => bytes.extend(&piece[..read]),
                _ => return None,
            }
        };
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let mut body = bytes.split_off(end);
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(": ")?;
            name.eq_ignore_ascii_case("content-length").then(|| value.parse().unwrap())
        });
        while body.len() < length.unwrap_or(0) {
            let mut piece = [0; 4096];
            let read = from.read(&mut piece).await.ok()?;
            body.extend(&piece[..read]);
        }
        Some(Request { line: head.lines().next()?.to_owned(), head, body })
    }
}

/// An engine's socket with somebody in between.
pub(crate) struct Between {
    folder: tempfile::TempDir,
    seen: Arc<Mutex<Vec<Request>>>,
    talks: Arc<Mutex<JoinSet<()>>>,
}

impl Between {
    /// `decide` gets each request, and the number of similar ones before it.
    pub(crate) fn new(real: bool, decide: Decide) -> Between {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("sock")).unwrap();
        let between = Between { folder, seen: Arc::default(), talks: Arc::default() };
        let (seen, talks) = (Arc::clone(&between.seen), Arc::clone(&between.talks));
        let decide = Arc::new(decide);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (seen, decide) = (Arc::clone(&seen), Arc::clone(&decide));
                talks.lock().unwrap().spawn(talk(client, seen, decide, real));
            }
        });
        between
    }

    /// As DOCKER_HOST has it.
    pub(crate) fn address(&self) -> String {
        let at: PathBuf = self.folder.path().join("sock");
        format!("unix://{}", at.display())
    }

    pub(crate) fn engine(&self, patience: Patience) -> Engine {
        Engine::at(&self.address(), patience)
    }

    pub(crate) fn asked(&self, what: &str) -> Vec<Request> {
        let seen = self.seen.lock().unwrap();
        seen.iter().filter(|request| request.is(what)).cloned().collect()
    }

    /// All conversations end, as when an engine is restarted.
    pub(crate) fn restart(&self) {
        self.talks.lock().unwrap().abort_all();
    }
}

async fn talk(
    mut client: UnixStream,
    seen: Arc<Mutex<Vec<Request>>>,
    decide: Arc<Decide>,
    real: bool,
) {
    let Some(request) = Request::read(&mut client).await else { return };
    let path = request.line.split(['?', ' ']).nth(1).unwrap_or_default().to_owned();
    let before = {
        let mut seen = seen.lock().unwrap();
        let before = seen.iter().filter(|earlier| earlier.is(&path)).count();
        seen.push(request.clone());
        before
    };
    match decide(&request, before) {
        Fate::Answered if real => forward(client, &request).await,
        Fate::Answered => answer(client, script(&request)).await,
        Fate::Fails => answer(client, (500, r#"{"message":"out of sorts"}"#)).await,
        Fate::Hangs => std::future::pending().await,
        Fate::IsReset => {}
        Fate::LosesItsAnswer => {
            let (near, mut far) = UnixStream::pair().unwrap();
            tokio::join!(forward(near, &request), async {
                let _ = far.read(&mut [0; 4096]).await;
                drop(far);
            });
            std::future::pending().await
        }
    }
}

/// One request, and all that follows where the connection becomes a stream.
async fn forward(mut client: UnixStream, request: &Request) {
    let mut engine = UnixStream::connect(REAL).await.unwrap();
    let streams = request.head.to_lowercase().contains("upgrade:");
    let head = match streams {
        true => request.head.clone(),
        false => request.head.replacen("\r\n", "\r\nConnection: close\r\n", 1),
    };
    engine.write_all(head.as_bytes()).await.unwrap();
    engine.write_all(&request.body).await.unwrap();
    let _ = tokio::io::copy_bidirectional(&mut client, &mut engine).await;
}

async fn answer(mut client: UnixStream, (status, body): (u16, &str)) {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status} x\r\nContent-Type: application/json\r\nConnection: close\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    );
    let _ = client.write_all(head.as_bytes()).await;
}

/// An engine that has an image and makes no container.
fn script(request: &Request) -> (u16, &'static str) {
    match &request.line {
        line if line.contains("/version") => (200, r#"{"ApiVersion":"1.41","Version":"20.10"}"#),
        line if line.contains("/info") => (200, r#"{"NCPU":2,"MemoryLimit":true}"#),
        line if line.contains("/volumes") => (200, r#"{"Volumes":[],"Warnings":[]}"#),
        line if line.contains("/containers/json") => (200, "[]"),
        line if line.contains("/images/json") => (
            200,
            r#"[{"Id":"sha256:1","ParentId":"","RepoTags":["fixfly/python:1"],"RepoDigests":[],
                "Created":1,"Size":1,"SharedSize":-1,"Labels":{},"Containers":-1}]"#,
        ),
        _ => (404, r#"{"message":"there is no such thing"}"#),
    }
}
