//! Which server gets a request, and which servers are down.
//!
//! All requests of an episode go to one server, whose prefix cache then contains the
//! conversation. A new episode goes to the server with the fewest requests in flight,
//! relative to how many it takes in parallel. A server that fails is left out: a circuit
//! breaker. After a wait, a probe and then one request try it again. Nothing here reads a
//! clock: callers pass the time.

use std::collections::HashMap;
use std::time::Duration;

use super::rate_limiter::backoff;

/// Broken connections in a row after which a server is down.
const MAX_BROKEN: u32 = 2;
/// Failures that a server reports itself, in a row, after which it is down. They may be
/// about a single request, so there are more of them.
const MAX_FAILED: u32 = 6;
/// Maximum number of episodes whose server is remembered.
const MAX_EPISODES: usize = 65_536;

/// What became of a request, as far as it concerns its server.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Outcome {
    /// The server answered, possibly with a refusal.
    Answered,
    /// No connection could be made.
    Unreachable,
    /// The connection broke or timed out, or a gateway reached no server.
    Broken,
    /// The server reported a failure of its own.
    Failed,
    /// The server takes no requests for this time.
    Resting(Duration),
    /// Unknown, because nobody waited for the answer.
    Dropped,
}

/// When and where a request that failed may be repeated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Retry {
    /// By the rules for a single server: after a wait, and a limited number of times.
    Later,
    /// At once, at the same server.
    Again,
    /// At once, at another server.
    Elsewhere,
}

/// The server of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Its index.
    pub(super) server: usize,
    /// How often the server was down before.
    epoch: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum State {
    #[default]
    Up,
    /// It gets no requests, and is probed at this time.
    Down { until: Duration, times: u32 },
    /// It answered a probe: the next request tests it.
    Trial { taken: bool, times: u32 },
}

#[derive(Debug, Default)]
struct Server {
    state: State,
    in_flight: usize,
    /// Episodes that it was given.
    episodes: u64,
    /// The number of the last request that it was given.
    last: u64,
    /// Failures since its last answer.
    broken: u32,
    failed: u32,
    /// Requests of an earlier epoch no longer concern its state.
    epoch: u32,
    last_error: Option<String>,
}

/// The servers of one model, without their connections.
#[derive(Debug)]
pub(super) struct Balancer {
    servers: Vec<Server>,
    homes: Homes,
    /// Seconds before the first probe of a server that is down; later ones take longer.
    pause: f64,
}

impl Balancer {
    pub(super) fn new(servers: usize, pause: f64) -> Balancer {
        let servers = (0..servers).map(|_| Server::default()).collect();
        Balancer { servers, homes: Homes::default(), pause }
    }

    /// The server for an episode's next request: its own while that is up. `capacity` is
    /// the number of requests that a server takes in parallel.
    pub(super) fn place(&mut self, episode: u64, capacity: impl Fn(usize) -> f64) -> Place {
        let home = self.homes.get(episode);
        let own = home.filter(|home| self.servers[*home].is_open());
        let server = own.unwrap_or_else(|| self.best(capacity));
        self.homes.set(episode, server);
        let chosen = &mut self.servers[server];
        chosen.last = self.homes.now;
        chosen.episodes += u64::from(home != Some(server));
        chosen.in_flight += 1;
        if let State::Trial { taken, .. } = &mut chosen.state {
            *taken = true;
        }
        Place { server, epoch: chosen.epoch }
    }

    /// The server with the lowest load; of equal ones the one with the fewest episodes,
    /// then the first. If none is up, each in turn.
    fn best(&self, capacity: impl Fn(usize) -> f64) -> usize {
        let load = |at: usize| self.servers[at].in_flight as f64 / capacity(at).max(1.0);
        let episodes = |at: usize| self.servers[at].episodes;
        let all = 0..self.servers.len();
        let open = all.clone().filter(|at| self.servers[*at].is_open());
        let best = open.min_by(|one, other| {
            let loads = load(*one).total_cmp(&load(*other));
            loads.then(episodes(*one).cmp(&episodes(*other)))
        });
        let next = || all.min_by_key(|at| self.servers[*at].last).unwrap_or_default();
        best.unwrap_or_else(next)
    }

    /// Whether a request may still be sent to its server: the server has not gone down
    /// since, or there is no other.
    pub(super) fn is_current(&self, place: Place) -> bool {
        self.servers[place.server].epoch == place.epoch || !self.has_other(place.server)
    }

    /// Records what became of a request.
    pub(super) fn ended(
        &mut self,
        place: Place,
        outcome: Outcome,
        why: &str,
        now: Duration,
    ) -> Retry {
        let server = &mut self.servers[place.server];
        server.in_flight = server.in_flight.saturating_sub(1);
        if !matches!(outcome, Outcome::Answered | Outcome::Dropped) {
            server.last_error = Some(why.to_owned());
        }
        // A single server is never left out, because nothing could replace it.
        if self.servers.len() == 1 {
            return Retry::Later;
        }
        if self.servers[place.server].epoch == place.epoch {
            self.judge(place.server, outcome, now);
        }
        let is_up = self.servers[place.server].state == State::Up;
        match outcome {
            _ if !self.has_other(place.server) => Retry::Later,
            Outcome::Answered | Outcome::Dropped => Retry::Later,
            _ if !is_up => Retry::Elsewhere,
            Outcome::Unreachable | Outcome::Broken => Retry::Again,
            Outcome::Failed | Outcome::Resting(_) => Retry::Later,
        }
    }

    fn judge(&mut self, at: usize, outcome: Outcome, now: Duration) {
        let server = &mut self.servers[at];
        let is_up = server.state == State::Up;
        match outcome {
            Outcome::Answered => {
                (server.broken, server.failed, server.state) = (0, 0, State::Up);
            }
            Outcome::Dropped => {
                if let State::Trial { taken, .. } = &mut server.state {
                    *taken = false;
                }
            }
            Outcome::Resting(wait) => self.close(at, now + wait, 0),
            Outcome::Unreachable => self.close_after(at, now),
            Outcome::Broken => {
                server.broken += 1;
                if !is_up || server.broken >= MAX_BROKEN {
                    self.close_after(at, now);
                }
            }
            Outcome::Failed => {
                server.failed += 1;
                if !is_up || server.failed >= MAX_FAILED {
                    self.close_after(at, now);
                }
            }
        }
    }

    /// Takes a server out that no request was sent to.
    pub(super) fn mark_down(&mut self, server: usize, why: &str, now: Duration) {
        self.servers[server].last_error = Some(why.to_owned());
        self.close_after(server, now);
    }

    /// Takes a server out, for longer if it was just tried.
    fn close_after(&mut self, at: usize, now: Duration) {
        let times = match self.servers[at].state {
            State::Trial { times, .. } => times + 1,
            State::Up | State::Down { .. } => 0,
        };
        self.close(at, now + backoff(self.pause, times, at as u64), times);
    }

    fn close(&mut self, at: usize, until: Duration, times: u32) {
        let server = &mut self.servers[at];
        // It is down already if it was asked because no other was up: its probe decides.
        if !matches!(server.state, State::Down { .. }) {
            server.state = State::Down { until, times };
            (server.broken, server.failed) = (0, 0);
            server.epoch += 1;
        }
    }

    /// When the next server has to be probed; `None` if none is down.
    pub(super) fn next_probe(&self) -> Option<Duration> {
        (0..self.servers.len()).filter_map(|at| self.down_until(at)).min()
    }

    /// The servers that have to be probed now.
    pub(super) fn due(&self, now: Duration) -> Vec<usize> {
        let until = |at: &usize| self.down_until(*at);
        (0..self.servers.len()).filter(|at| until(at).is_some_and(|until| until <= now)).collect()
    }

    /// Records the result of a probe: the fault that it found, if any.
    pub(super) fn probed(&mut self, server: usize, fault: Option<String>, now: Duration) {
        let (pause, server_at) = (self.pause, server as u64);
        let server = &mut self.servers[server];
        let State::Down { times, .. } = server.state else { return };
        server.state = match fault {
            None => State::Trial { taken: false, times },
            Some(why) => {
                server.last_error = Some(why);
                let times = times + 1;
                State::Down { until: now + backoff(pause, times, server_at), times }
            }
        };
    }

    pub(super) fn is_up(&self, server: usize) -> bool {
        self.servers[server].state == State::Up
    }

    /// The last error of a server; empty if it never failed.
    pub(super) fn last_error(&self, server: usize) -> &str {
        self.servers[server].last_error.as_deref().unwrap_or_default()
    }

    /// When a server that is down is probed.
    pub(super) fn down_until(&self, server: usize) -> Option<Duration> {
        match self.servers[server].state {
            State::Down { until, .. } => Some(until),
            State::Up | State::Trial { .. } => None,
        }
    }

    fn has_other(&self, server: usize) -> bool {
        (0..self.servers.len()).any(|at| at != server && self.servers[at].is_open())
    }
}

impl Server {
    /// Whether it takes a request.
    fn is_open(&self) -> bool {
        matches!(self.state, State::Up | State::Trial { taken: false, .. })
    }
}

/// The server of each episode, as many as are remembered.
#[derive(Debug, Default)]
struct Homes {
    all: HashMap<u64, Home>,
    /// The number of requests that were placed.
    now: u64,
}

#[derive(Debug)]
struct Home {
    server: usize,
    used: u64,
}

impl Homes {
    fn get(&self, episode: u64) -> Option<usize> {
        self.all.get(&episode).map(|home| home.server)
    }

    fn set(&mut self, episode: u64, server: usize) {
        self.now += 1;
        self.all.insert(episode, Home { server, used: self.now });
        if self.all.len() > MAX_EPISODES {
            // A policy is not told when an episode ends, so the oldest entries are removed.
            let oldest = self.now - MAX_EPISODES as u64 / 2;
            self.all.retain(|_, home| home.used > oldest);
        }
    }
}

#[cfg(test)]
mod tests;
