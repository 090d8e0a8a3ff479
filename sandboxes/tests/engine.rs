//! An engine that hangs, resets, restarts and answers 500: a proxy before the
//! real one, where there is one, and a scripted one everywhere.
#![cfg(feature = "docker")]
#![allow(clippy::unwrap_used, clippy::print_stderr)]

mod common;

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use common::*;
use fixfly_runtime::{Host, SandboxError};
use fixfly_sandboxes::docker::{Engine, Patience};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::task::JoinSet;

const REAL: &str = "/var/run/docker.sock";

/// What becomes of a request.
#[derive(Clone, Copy, PartialEq)]
enum Fate {
    /// It is answered by the real engine, or by the script.
    Answered,
    /// It is answered by 500.
    Fails,
    /// It gets no answer.
    Hangs,
    /// Its connection is closed.
    IsReset,
    /// It does what it asks for, and its answer is lost.
    LosesItsAnswer,
}

type Decide = Box<dyn Fn(&Request, usize) -> Fate + Send + Sync>;

#[derive(Clone)]
struct Request {
    /// `POST /v1.41/containers/create?name=x`.
    line: String,
    head: String,
    body: Vec<u8>,
}

impl Request {
    fn is(&self, what: &str) -> bool {
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
struct Between {
    folder: tempfile::TempDir,
    seen: Arc<Mutex<Vec<Request>>>,
    talks: Arc<Mutex<JoinSet<()>>>,
}

impl Between {
    /// `decide` is told of each request, and how many like it there were.
    fn new(real: bool, decide: Decide) -> Between {
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

    fn engine(&self, patience: Patience) -> Engine {
        let at: PathBuf = self.folder.path().join("sock");
        Engine::at(&format!("unix://{}", at.display()), patience)
    }

    fn asked(&self, what: &str) -> Vec<Request> {
        let seen = self.seen.lock().unwrap();
        seen.iter().filter(|request| request.is(what)).cloned().collect()
    }

    /// All conversations end, as when an engine is restarted.
    fn restart(&self) {
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

fn hasty() -> Patience {
    Patience { call: Duration::from_secs(2), tries: 3, pause: Duration::from_millis(10) }
}

/// What opening says of an engine that treats making containers so.
async fn refused(fate: Fate, patience: Patience) -> (String, Vec<Request>) {
    let decide = move |request: &Request, _| match request.is("/containers/create") {
        true => fate,
        false => Fate::Answered,
    };
    let between = Between::new(false, Box::new(decide));
    let start = Instant::now();
    let opened = between.engine(patience).open(&spec()).await;
    assert!(start.elapsed() < Duration::from_secs(40), "its patience is bounded");
    let why = opened.err().unwrap();
    assert!(matches!(why, SandboxError::Open(_)), "{why}");
    (why.to_string(), between.asked("/containers/create"))
}

#[tokio::test]
async fn an_engine_that_fails_is_asked_again_and_then_a_failure_of_the_sandbox() {
    for (fate, says, tries) in [
        (Fate::Fails, "out of sorts", 3),
        (Fate::Hangs, "Timeout error", 3),
        (Fate::IsReset, "", 3),
        // The script's 404 is a reason: nothing is asked twice.
        (Fate::Answered, "there is no such thing", 1),
    ] {
        let (why, asked) = refused(fate, hasty()).await;
        assert!(
            why.starts_with("the sandbox could not be opened: ") && why.contains(says),
            "{why}"
        );
        assert_eq!(asked.len(), tries, "{why}");
    }
}

#[tokio::test]
async fn a_container_is_asked_for_with_all_that_holds_it() {
    let (_, asked) = refused(Fate::Answered, hasty()).await;
    let body: serde_json::Value = serde_json::from_slice(&asked[0].body).unwrap();
    let host = &body["HostConfig"];
    for (part, expected) in [
        (&host["NetworkMode"], serde_json::json!("none")),
        (&host["CapDrop"], serde_json::json!(["ALL"])),
        (&host["ReadonlyRootfs"], serde_json::json!(true)),
        (&host["Init"], serde_json::json!(true)),
        (&host["Memory"], serde_json::json!(4096_u64 << 20)),
        (&host["MemorySwap"], serde_json::json!(4096_u64 << 20)),
        (&host["PidsLimit"], serde_json::json!(256 + 24)),
        (&host["NanoCpus"], serde_json::json!(2_000_000_000_u64)),
        (&body["Image"], serde_json::json!("fixfly/python:1")),
        (&body["OpenStdin"], serde_json::json!(true)),
    ] {
        assert_eq!(part, &expected, "{body}");
    }
    let user = body["User"].as_str().unwrap();
    assert!(!user.is_empty() && !user.starts_with("0:"), "{user}");
    let options = host["SecurityOpt"].to_string();
    assert!(options.contains("no-new-privileges:true") && options.contains("perf_event_open"));
    for label in ["owner", "lease", "run", "machine"] {
        assert!(body["Labels"][format!("dev.fixfly.{label}")].is_string(), "{label}");
    }
}

#[tokio::test]
async fn an_engine_that_is_not_there_says_how_to_name_one() {
    let engine = Engine::at("unix:///nonexistent/sock", hasty());
    let why = engine.open(&spec()).await.err().unwrap().to_string();
    assert!(why.contains("no Docker engine answers") && why.contains("DOCKER_HOST"), "{why}");
}

/// Whether a real engine with an image is here.
async fn is_real() -> bool {
    let opened = Engine::default().open(&spec()).await;
    match opened {
        Ok(sandbox) => sandbox.close().await.is_ok(),
        Err(why) if beyond(&why) => {
            eprintln!("skipped: {why}");
            false
        }
        Err(why) => panic!("{why}"),
    }
}

#[tokio::test]
async fn what_passes_is_waited_out() {
    if !is_real().await {
        return;
    }
    for (what, fate) in [
        ("/version", Fate::Fails),
        ("/info", Fate::IsReset),
        ("/containers/create", Fate::Fails),
        ("/containers/create", Fate::LosesItsAnswer),
        ("/start", Fate::Hangs),
        ("/start", Fate::LosesItsAnswer),
        ("/attach", Fate::IsReset),
    ] {
        // The first of its kind only.
        let decide = move |request: &Request, before| match request.is(what) && before == 0 {
            true => fate,
            false => Fate::Answered,
        };
        let between = Between::new(true, Box::new(decide));
        let patience = Patience { call: Duration::from_secs(5), ..hasty() };
        let sandbox = between.engine(patience).open(&spec()).await;
        let sandbox = sandbox.unwrap_or_else(|why| panic!("{what}: {why}"));
        assert_eq!(expect(&*sandbox, "echo here").await, "here\n", "{what}");
        assert!(between.asked(what).len() > 1, "{what} was asked again");
        sandbox.close().await.unwrap();
    }
}

#[tokio::test]
async fn an_engine_that_restarts_under_a_command_is_a_failure_of_the_sandbox() {
    if !is_real().await {
        return;
    }
    let between = Between::new(true, Box::new(|_, _| Fate::Answered));
    let sandbox = between.engine(Patience::default()).open(&spec()).await.unwrap();
    let mark = marker();
    let sleep = sh(&format!("sleep {mark}"));
    let (why, ()) = tokio::join!(sandbox.exec(&sleep), async {
        assert!(within(Duration::from_secs(20), || marked(&mark) > 0).await, "it never began");
        between.restart();
    });
    assert!(matches!(why, Err(SandboxError::Exec { .. })), "{why:?}");
    assert!(within(Duration::from_secs(10), || marked(&mark) == 0).await, "it ends with its input");
    let start = Instant::now();
    let after = sandbox.exec(&sh("true")).await;
    assert!(matches!(after, Err(SandboxError::Exec { .. })), "{after:?}");
    assert!(start.elapsed() < Duration::from_secs(10), "it is known at once");
    sandbox.close().await.unwrap();
}
