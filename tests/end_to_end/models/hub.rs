//! A Hugging Face hub on this machine: one server with its paths, which redirects to
//! another one that has the files.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use futures::{StreamExt, stream};

/// The path of the file, as the hub's clients ask for it.
pub(super) const PATH: &str = "/acme/tiny-GGUF/resolve/0123abc/tiny.gguf";

/// What a server was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) path: String,
    pub(super) token: Option<String>,
    pub(super) range: Option<String>,
    pub(super) if_range: Option<String>,
}

/// How the servers answer.
#[derive(Clone, Debug, Default)]
pub(super) struct Script {
    pub(super) file: Vec<u8>,
    pub(super) etag: &'static str,
    /// The hash that the hub states before it redirects.
    pub(super) linked: Option<String>,
    /// The hub's status instead of a redirect.
    pub(super) status: Option<u16>,
    /// So many bytes of each answer are sent before its connection breaks.
    pub(super) breaks: VecDeque<usize>,
    /// The redirect goes in a circle.
    pub(super) is_circle: bool,
}

#[derive(Default)]
struct Shared {
    script: Script,
    hub: Vec<Asked>,
    files: Vec<Asked>,
    files_url: String,
}

/// Both servers; they run until this is dropped.
pub(super) struct Hub {
    pub(super) url: String,
    shared: Arc<Mutex<Shared>>,
    _runtime: tokio::runtime::Runtime,
}

impl Hub {
    pub(super) fn new(script: Script) -> Hub {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let shared = Arc::new(Mutex::new(Shared { script, ..Shared::default() }));
        let serve = |routes: Router<Arc<Mutex<Shared>>>| {
            let routes = routes.with_state(shared.clone());
            let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
            let url = format!("http://{}", listener.local_addr().unwrap());
            runtime.spawn(async move { axum::serve(listener, routes).await });
            url
        };
        let files_url = serve(Router::new().fallback(file));
        let url = serve(Router::new().fallback(redirect));
        shared.lock().unwrap().files_url = files_url;
        Hub { url, shared, _runtime: runtime }
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut Script)) {
        change(&mut self.shared.lock().unwrap().script);
    }

    /// What the hub was asked, and what the server of files was.
    pub(super) fn asked(&self) -> (Vec<Asked>, Vec<Asked>) {
        let shared = self.shared.lock().unwrap();
        (shared.hub.clone(), shared.files.clone())
    }
}

fn asked(uri: &Uri, headers: &HeaderMap) -> Asked {
    let header = |name: &str| headers.get(name).map(|value| value.to_str().unwrap().to_string());
    Asked {
        path: uri.to_string(),
        token: header("authorization"),
        range: header("range"),
        if_range: header("if-range"),
    }
}

async fn redirect(
    State(shared): State<Arc<Mutex<Shared>>>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let mut shared = shared.lock().unwrap();
    shared.hub.push(asked(&uri, &headers));
    let script = &shared.script;
    let status = script.status.or((uri.path() != PATH).then_some(404));
    if let Some(status) = status {
        return Response::builder().status(status).body(Body::empty()).unwrap();
    }
    let target = match script.is_circle {
        true => PATH.to_string(),
        false => format!("{}/blobs/tiny?signed=1", shared.files_url),
    };
    let mut response = Response::builder().status(302).header("location", target);
    if let Some(linked) = &script.linked {
        response = response
            .header("x-linked-etag", format!("\"{linked}\""))
            .header("x-linked-size", script.file.len());
    }
    response.body(Body::from("Found. Redirecting")).unwrap()
}

async fn file(State(shared): State<Arc<Mutex<Shared>>>, uri: Uri, headers: HeaderMap) -> Response {
    let mut shared = shared.lock().unwrap();
    let asked = asked(&uri, &headers);
    shared.files.push(asked.clone());
    let breaks = shared.script.breaks.pop_front();
    let Script { file, etag, .. } = &shared.script;
    let start = asked.range.as_deref().map(|range| {
        range.strip_prefix("bytes=").unwrap().strip_suffix('-').unwrap().parse::<usize>().unwrap()
    });
    let start = start.filter(|_| asked.if_range.as_deref() == Some(*etag));
    let rest = Bytes::copy_from_slice(&file[start.unwrap_or(0)..]);
    let mut response = Response::builder()
        .status(if start.is_some() { 206 } else { 200 })
        .header("etag", *etag)
        .header("content-length", rest.len());
    if let Some(start) = start {
        let range = format!("bytes {start}-{}/{}", file.len() - 1, file.len());
        response = response.header("content-range", range);
    }
    let body = match breaks {
        None => Body::from(rest),
        Some(sent) => {
            let parts = [Ok(rest.slice(..sent)), Err(std::io::Error::other("broken"))];
            Body::from_stream(stream::iter(parts).then(|part| async {
                if part.is_err() {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                part
            }))
        }
    };
    response.body(body).unwrap()
}
