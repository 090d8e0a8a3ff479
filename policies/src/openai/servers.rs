//! The servers of a model: their clients and limits, and which of them gets a request.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fixfly_runtime::Resource;
use serde_json::Value;
use tokio::sync::OnceCell;
use tokio::time::Instant;

use super::balancer::{Balancer, Outcome, Place, Retry};
use super::client::{CallError, Client};
use super::hints::readable;
use super::profile::{Limits, Resolved};
use super::rate_limiter::{Permit, RateLimiter};
use super::response::Reply;
use super::server_error::line;
use super::window::entries;

/// One server of the model.
pub(super) struct Server {
    pub(super) address: String,
    pub(super) client: Client,
    pub(super) limiter: RateLimiter,
    /// Whether it has ever answered.
    answered: AtomicBool,
}

impl Server {
    pub(super) fn has_answered(&self) -> bool {
        self.answered.load(Ordering::Relaxed)
    }

    pub(super) fn set_answered(&self) {
        self.answered.store(true, Ordering::Relaxed);
    }
}

/// All servers of the model.
pub(super) struct Servers {
    all: Vec<Server>,
    /// The limits per minute, if there are several servers: they hold for all together.
    together: Option<RateLimiter>,
    state: Mutex<State>,
    started: Instant,
    model: String,
    /// The longest wait that a server may ask for.
    longest_wait: Duration,
    /// What is wrong with the servers, once they were asked for their models.
    checked: OnceCell<Option<String>>,
    /// Whether a server listed the model then. Some servers ignore the name.
    listed: AtomicBool,
}

struct State {
    balancer: Balancer,
    /// Whether a task probes the servers that are down.
    probing: bool,
}

/// A request's permission to be sent to a server. If it is dropped, nobody waited for the
/// answer.
pub(super) struct Turn<'a> {
    servers: &'a Arc<Servers>,
    place: Option<Place>,
    server: &'a Server,
    permits: Vec<Permit<'a>>,
}

impl Servers {
    pub(super) fn open(
        remote: &Resolved,
        key: &str,
        longest_wait: Duration,
        shards: u32,
    ) -> Result<Arc<Servers>, String> {
        let limits = remote.profile.limits;
        let (own, together) = match remote.base_urls.len() {
            1 => (limits, None),
            _ => {
                let own = Limits { concurrency: limits.concurrency, ..Limits::default() };
                (own, Some(RateLimiter::per_minute(limits, shards)))
            }
        };
        let server = |address: &String| {
            Ok(Server {
                address: address.clone(),
                client: Client::open(remote, address, key)?,
                limiter: RateLimiter::new(own, shards),
                answered: AtomicBool::new(false),
            })
        };
        let all = remote.base_urls.iter().map(server).collect::<Result<Vec<_>, String>>()?;
        let balancer = Balancer::new(all.len(), remote.profile.seconds.backoff);
        Ok(Arc::new(Servers {
            all,
            together,
            state: Mutex::new(State { balancer, probing: false }),
            started: Instant::now(),
            model: remote.model.clone(),
            longest_wait,
            checked: OnceCell::new(),
            listed: AtomicBool::new(false),
        }))
    }

    pub(super) fn all(&self) -> &[Server] {
        &self.all
    }

    pub(super) fn are_several(&self) -> bool {
        self.all.len() > 1
    }

    /// Waits until the episode's next request, of this many tokens, may be sent.
    pub(super) async fn turn(self: &Arc<Self>, episode: u64, tokens: u64) -> Turn<'_> {
        loop {
            let capacity = |at: usize| self.all[at].limiter.concurrency();
            let place = self.state().balancer.place(episode, capacity);
            let server = &self.all[place.server];
            let mut turn = Turn { servers: self, place: Some(place), server, permits: Vec::new() };
            turn.permits.push(server.limiter.acquire(tokens).await);
            // The server may have gone down while the request waited.
            if !self.state().balancer.is_current(place) {
                continue;
            }
            if let Some(together) = &self.together {
                turn.permits.push(together.acquire(tokens).await);
            }
            return turn;
        }
    }

    /// Asks each of several servers for its models, once. Returns one sentence if a server
    /// lacks the model.
    pub(super) async fn check(self: &Arc<Self>) -> Option<String> {
        let check = async || {
            let tasks: Vec<_> = (0..self.all.len())
                .map(|at| {
                    let servers = Arc::clone(self);
                    tokio::spawn(async move { servers.all[at].client.models().await })
                })
                .collect();
            let mut lists = Vec::new();
            for (at, task) in tasks.into_iter().enumerate() {
                let list = match task.await {
                    Ok(Ok(list)) => list,
                    Ok(Err(error)) => {
                        self.mark_down(at, &error);
                        None
                    }
                    Err(fault) => return Some(fault.to_string()),
                };
                let names = list.as_ref().map(names);
                if names.as_ref().is_some_and(|names| has(names, &self.model)) {
                    self.listed.store(true, Ordering::Relaxed);
                }
                lists.push((self.all[at].address.as_str(), names));
            }
            lacking(&lists, &self.model)
        };
        match self.are_several() {
            true => self.checked.get_or_init(check).await.clone(),
            false => None,
        }
    }

    fn mark_down(self: &Arc<Self>, server: usize, why: &CallError) {
        let why = why.to_string();
        let now = self.started.elapsed();
        self.state().balancer.mark_down(server, &why, now);
        self.report(server, &why);
        self.probe_later();
    }

    fn report(&self, server: usize, why: &str) {
        let address = &self.all[server].address;
        tracing::warn!("{address} is down: {}", line(why, 200));
    }

    /// Records what became of a request.
    fn ended(self: &Arc<Self>, place: Place, asked: Option<&Result<Reply, CallError>>) -> Retry {
        let (outcome, why) = match asked {
            None => (Outcome::Dropped, String::new()),
            Some(Ok(_)) => (Outcome::Answered, String::new()),
            Some(Err(error)) => (error.outcome(self.longest_wait), error.to_string()),
        };
        let (was_up, is_up, retry) = {
            let mut state = self.state();
            let was_up = state.balancer.is_up(place.server);
            let retry = state.balancer.ended(place, outcome, &why, self.started.elapsed());
            (was_up, state.balancer.is_up(place.server), retry)
        };
        match (was_up, is_up) {
            (true, false) => self.report(place.server, &why),
            (false, true) => tracing::info!("{} is up again", self.all[place.server].address),
            _ => {}
        }
        if !is_up && asked.is_some() {
            self.probe_later();
        }
        retry
    }

    /// Probes the servers that are down, each when its wait is over, until none is.
    fn probe_later(self: &Arc<Self>) {
        // A program that ends probes nothing.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        if std::mem::replace(&mut self.state().probing, true) {
            return;
        }
        let servers = Arc::downgrade(self);
        runtime.spawn(async move {
            loop {
                let wait = {
                    let Some(servers) = servers.upgrade() else { return };
                    let mut state = servers.state();
                    let Some(at) = state.balancer.next_probe() else {
                        state.probing = false;
                        return;
                    };
                    at.saturating_sub(servers.started.elapsed())
                };
                tokio::time::sleep(wait).await;
                let Some(servers) = servers.upgrade() else { return };
                let due = servers.state().balancer.due(servers.started.elapsed());
                for server in due {
                    let fault = servers.probe(server).await;
                    servers.state().balancer.probed(server, fault, servers.started.elapsed());
                }
            }
        });
    }

    /// Whether a server that is down answers and still has the model: the fault, if not.
    async fn probe(&self, at: usize) -> Option<String> {
        let Server { address, client, .. } = &self.all[at];
        tracing::debug!("probing {address}");
        match client.models().await {
            Err(error) => Some(error.to_string()),
            Ok(None) => None,
            Ok(Some(list)) => {
                let found = names(&list);
                let lacks = !found.is_empty() && !has(&found, &self.model);
                (lacks && self.listed.load(Ordering::Relaxed))
                    .then(|| lack(address, &self.model, &found))
            }
        }
    }

    /// How many requests wait for the limits of the servers and of all together.
    pub(super) fn waiting(&self) -> impl Iterator<Item = (Resource, usize)> {
        let limiters = self.all.iter().map(|server| &server.limiter).chain(&self.together);
        limiters.flat_map(RateLimiter::waiting)
    }

    /// Which servers are down and why, for the progress display; `None` if all are up.
    pub(super) fn shown(&self) -> Option<String> {
        let state = self.state();
        let now = self.started.elapsed();
        let down = (0..self.all.len()).filter(|at| !state.balancer.is_up(*at));
        let down: Vec<String> = down
            .map(|at| {
                let until = state.balancer.down_until(at);
                let next = match until {
                    Some(until) => {
                        format!("tried again in {}", readable(until.saturating_sub(now)))
                    }
                    None => "the next request tries it".to_owned(),
                };
                let why = line(state.balancer.last_error(at), 80);
                format!("{} is down: {why}; {next}", self.all[at].address)
            })
            .collect();
        let up = self.all.len() - down.len();
        (!down.is_empty())
            .then(|| format!("{up} of {} servers up ({})", self.all.len(), down.join(", ")))
    }

    /// The last error of each of several servers; `None` if one is up.
    pub(super) fn errors(&self) -> Option<String> {
        let state = self.state();
        if !self.are_several() || (0..self.all.len()).any(|at| state.balancer.is_up(at)) {
            return None;
        }
        let error = |(at, server): (usize, &Server)| {
            format!("{}: {}", server.address, line(state.balancer.last_error(at), 200))
        };
        let errors: Vec<String> = self.all.iter().enumerate().map(error).collect();
        Some(errors.join("; "))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<'a> Turn<'a> {
    pub(super) fn server(&self) -> &'a Server {
        self.server
    }

    /// Ends the turn with the result of the request. Returns how it may be repeated.
    pub(super) fn end(mut self, asked: &Result<Reply, CallError>) -> Retry {
        match self.place.take() {
            Some(place) => self.servers.ended(place, Some(asked)),
            None => Retry::Later,
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.permits.clear();
        if let Some(place) = self.place.take() {
            self.servers.ended(place, None);
        }
    }
}

/// The names of the models in a list.
fn names(list: &Value) -> Vec<String> {
    let named = |entry: &Value| {
        let keys = ["id", "name", "model"];
        keys.iter().find_map(|key| entry[*key].as_str()).map(str::to_owned)
    };
    entries(list).iter().filter_map(named).collect()
}

/// Whether a model is among these; Ollama adds a tag to a name without one.
fn has(names: &[String], model: &str) -> bool {
    let tagged = format!("{model}:latest");
    names.iter().any(|name| name == model || *name == tagged)
}

/// The sentence for a server that lacks the model, if others list it. A server that lists
/// nothing may have it. Warns if all servers ignore the name and their lists differ.
fn lacking(lists: &[(&str, Option<Vec<String>>)], model: &str) -> Option<String> {
    let lists = || {
        let lists = lists.iter().filter_map(|(address, list)| Some((*address, list.as_ref()?)));
        lists.filter(|(_, names)| !names.is_empty())
    };
    if lists().any(|(_, names)| has(names, model)) {
        let (address, names) = lists().find(|(_, names)| !has(names, model))?;
        return Some(lack(address, model, names));
    }
    let mut others = lists();
    let (first, names) = others.next()?;
    if let Some((other, _)) = others.find(|(_, other)| *other != names) {
        tracing::warn!(
            "{first} and {other} list different models, and neither lists `{model}`: make sure that they serve the same one"
        );
    }
    None
}

fn lack(address: &str, model: &str, names: &[String]) -> String {
    let shown: Vec<&str> = names.iter().take(5).map(String::as_str).collect();
    let more = if names.len() > shown.len() { ", …" } else { "" };
    format!(
        "{address} does not serve the model `{model}`: it lists {}{more}; serve the model there under this name, or leave out this --base-url",
        shown.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(lists: &[Option<Value>], expected: Option<&str>) {
        let addresses = ["http://a/v1", "http://b/v1", "http://c/v1"];
        let lists: Vec<_> = addresses
            .into_iter()
            .zip(lists)
            .map(|(address, list)| (address, list.as_ref().map(names)))
            .collect();
        assert_eq!(lacking(&lists, "m").as_deref(), expected);
    }

    #[test]
    fn each_server_has_to_serve_the_model() {
        let list = |ids: &[&str]| {
            let data: Vec<Value> = ids.iter().map(|id| json!({ "id": id })).collect();
            Some(json!({ "object": "list", "data": data }))
        };
        let ollama = Some(json!({ "models": [{ "name": "m:latest", "model": "m:latest" }] }));
        check(&[list(&["m"]), list(&["m", "n"]), ollama.clone()], None);
        check(&[list(&["m"]), None, list(&[])], None);
        // Servers that ignore the name list other ones.
        check(&[list(&["a.gguf"]), list(&["b.gguf"])], None);
        check(&[None, None], None);
        let expected = "http://b/v1 does not serve the model `m`: it lists n, o; serve the model there under this name, or leave out this --base-url";
        check(&[list(&["m"]), list(&["n", "o"])], Some(expected));
        check(&[ollama, list(&["n", "o"]), None], Some(expected));
    }
}
