//! The server: HTTP around the pages of a site. It reads, and changes nothing.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::map_response;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use tokio::net::TcpListener;

use super::address::Address;
use super::engine::{Live, Polling, SCRIPT, STYLE};
use super::error::ViewError;
use super::guard::{Admission, Guard, REFUSED, protect, token};
use super::site::Site;

/// A server that listens, and whose address is known.
pub struct Server {
    listener: TcpListener,
    guard: Guard,
    site: Arc<Site>,
}

/// What every request needs.
#[derive(Clone)]
struct Context {
    site: Arc<Site>,
    guard: Arc<Guard>,
}

impl Server {
    /// Listens on a port of this machine, or on a host that is given. Port 0 is any free one.
    ///
    /// # Errors
    /// [`ViewError`] if the port is in use, or the host is not one of this machine's.
    pub async fn bind(site: Site, host: Option<&str>, port: u16) -> Result<Server, ViewError> {
        let address = (host.unwrap_or("127.0.0.1"), port);
        let listener = TcpListener::bind(address).await.map_err(|source| match source.kind() {
            ErrorKind::AddrInUse => ViewError::PortInUse(port),
            _ => ViewError::Listen { address: format!("{}:{port}", address.0), why: source },
        })?;
        let own = listener.local_addr().map_err(ViewError::Serve)?;
        let guard = Guard { token: token()?, host: host.map(String::from), port: own.port() };
        Ok(Server { listener, guard, site: Arc::new(site) })
    }

    /// The address to open, with the token.
    pub fn url(&self) -> String {
        let name = match (&self.guard.host, self.listener.local_addr()) {
            (Some(host), Ok(SocketAddr::V6(_))) if host.contains(':') => format!("[{host}]"),
            (Some(host), _) => host.clone(),
            (None, _) => "127.0.0.1".into(),
        };
        let name = if name == "0.0.0.0" || name == "[::]" { "127.0.0.1".into() } else { name };
        format!("http://{name}:{}/?token={}", self.guard.port, self.guard.token)
    }

    /// Answers until the process ends.
    ///
    /// # Errors
    /// [`ViewError::Serve`] if the operating system closes the listener.
    pub async fn run(self) -> Result<(), ViewError> {
        // The indexes of large runs are read while the browser opens.
        let site = self.site.clone();
        tokio::task::spawn_blocking(move || site.html(&Address::Home, "", false).is_ok());
        let routes = routes(self.site, self.guard);
        axum::serve(self.listener, routes).await.map_err(ViewError::Serve)
    }
}

/// Only GET and HEAD: nothing is writable.
pub(crate) fn routes(site: Arc<Site>, guard: Guard) -> Router {
    let context = Context { site, guard: Arc::new(guard) };
    let protected = |mut response: Response| async move {
        protect(response.headers_mut());
        response
    };
    Router::new().fallback_service(get(answer).with_state(context)).layer(map_response(protected))
}

async fn answer(State(context): State<Context>, request: Request) -> Response {
    let (path, query) = (request.uri().path(), request.uri().query().unwrap_or_default());
    match context.guard.admit(request.headers(), query) {
        Ok(Admission::Page) => {}
        Ok(Admission::Redirect { query, cookie }) => return redirect(path, &query, &cookie),
        Err(refusal) => return (REFUSED, refusal.sentence()).into_response(),
    }
    if let Some(asset) = asset(path) {
        return asset;
    }
    let (path, query) = (path.to_string(), query.to_string());
    // Pages read files.
    let made = tokio::task::spawn_blocking(move || respond(&context.site, &path, &query)).await;
    made.unwrap_or_else(|error| {
        (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response()
    })
}

fn redirect(path: &str, query: &str, cookie: &str) -> Response {
    // A path that starts with two slashes would name another host.
    let to = format!("/{}{query}", path.trim_start_matches(['/', '\\']));
    let mut response = Redirect::to(&to).into_response();
    if let Ok(cookie) = HeaderValue::from_str(cookie) {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}

fn asset(path: &str) -> Option<Response> {
    let (text, kind) = match path {
        "/assets/style.css" => (STYLE, "text/css; charset=utf-8"),
        "/assets/view.js" => (SCRIPT, "text/javascript; charset=utf-8"),
        _ => return None,
    };
    Some(typed(kind, text.into()))
}

fn typed(kind: &'static str, text: String) -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static(kind))], text).into_response()
}

fn respond(site: &Site, path: &str, query: &str) -> Response {
    match content(site, path, query) {
        Ok(response) => response,
        Err(error) => {
            let status = match error.is_not_found() {
                true => StatusCode::NOT_FOUND,
                false if matches!(error, ViewError::NotTwo) => StatusCode::BAD_REQUEST,
                false => StatusCode::INTERNAL_SERVER_ERROR,
            };
            let page = site.error_html(&sentence(&error));
            (status, typed("text/html; charset=utf-8", page)).into_response()
        }
    }
}

/// The error and its causes in one sentence.
fn sentence(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text += &format!(": {more}");
        }
        cause = error.source();
    }
    text
}

fn content(site: &Site, path: &str, query: &str) -> Result<Response, ViewError> {
    let page = |path: &str| Address::parse(path).ok_or_else(|| ViewError::NoPage(path.into()));
    if let Some(path) = path.strip_prefix("/live") {
        let Live { version, polling } = site.live(&page(path)?)?;
        let (running, seconds) = (polling == Polling::Running, polling.seconds());
        let json =
            serde_json::json!({ "version": version, "running": running, "seconds": seconds });
        return Ok(typed("application/json", json.to_string()));
    }
    if let Some(path) = path.strip_suffix("/data.json")
        && let Address::Training(name) = page(path)?
    {
        return Ok(typed("application/json", site.training_json(&name)?));
    }
    let html = site.html(&page(path)?, query, false)?;
    Ok(typed("text/html; charset=utf-8", html))
}

#[cfg(test)]
mod tests;
