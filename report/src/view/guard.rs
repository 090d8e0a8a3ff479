//! Who may read: those who know the token, through an address that names this machine.

use std::fs::File;
use std::io::Read;
use std::net::IpAddr;

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use fixfly_runtime::{hex, sha256};

use super::error::ViewError;

/// Everything comes from this address, and nothing is embedded elsewhere.
pub(crate) const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; \
    img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'self'; \
    frame-ancestors 'none'";

/// A random token: 32 bytes of the operating system.
pub(crate) fn token() -> Result<String, ViewError> {
    let mut bytes = [0; 32];
    let read = File::open("/dev/urandom").and_then(|mut random| random.read_exact(&mut bytes));
    read.map_err(ViewError::Random)?;
    Ok(hex(bytes))
}

/// The rule of who may read.
#[derive(Clone, Debug)]
pub(crate) struct Guard {
    pub(crate) token: String,
    /// The host that the user named, if any.
    pub(crate) host: Option<String>,
    pub(crate) port: u16,
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    Host,
    Token,
}

impl Refusal {
    pub(crate) fn sentence(self) -> &'static str {
        match self {
            Refusal::Host => {
                "this address does not name this machine; open the address that fixfly view printed, or start it with --host and this name"
            }
            Refusal::Token => {
                "this address lacks the token of this fixfly view; open the address that it printed"
            }
        }
    }
}

/// What a request without a refusal gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Admission {
    /// The page.
    Page,
    /// The same address without the token, which a cookie keeps.
    Redirect { query: String, cookie: String },
}

impl Guard {
    /// The name of the cookie. Cookies of one host are shared by all its ports.
    fn cookie(&self) -> String {
        format!("fixfly_view_{}", self.port)
    }

    pub(crate) fn admit(&self, headers: &HeaderMap, query: &str) -> Result<Admission, Refusal> {
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        if !host.is_some_and(|host| self.is_own(host)) {
            return Err(Refusal::Host);
        }
        let pairs = || form_urlencoded::parse(query.as_bytes());
        if let Some((_, given)) = pairs().find(|(key, _)| key == "token") {
            if !self.is_token(&given) {
                return Err(Refusal::Token);
            }
            let mut rest = form_urlencoded::Serializer::new(String::new());
            rest.extend_pairs(pairs().filter(|(key, _)| key != "token"));
            let rest = rest.finish();
            return Ok(Admission::Redirect {
                query: if rest.is_empty() { rest } else { format!("?{rest}") },
                cookie: format!(
                    "{}={}; Path=/; HttpOnly; SameSite=Strict",
                    self.cookie(),
                    self.token
                ),
            });
        }
        let cookies = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
        let mut cookies =
            cookies.flat_map(|line| line.split(';')).filter_map(|one| one.trim().split_once('='));
        let known = cookies.any(|(name, value)| name == self.cookie() && self.is_token(value));
        if known { Ok(Admission::Page) } else { Err(Refusal::Token) }
    }

    /// Compares hashes, so that the time tells nothing about the token.
    fn is_token(&self, given: &str) -> bool {
        sha256(given.as_bytes()) == sha256(self.token.as_bytes())
    }

    /// Whether a `Host` names this machine. A page elsewhere whose name was rebound to this
    /// machine sends its own name.
    fn is_own(&self, host: &str) -> bool {
        let (name, port) = match host.rsplit_once(':') {
            Some((name, port)) if !port.ends_with(']') => (name, port.parse().ok()),
            _ => (host, Some(80)),
        };
        if port != Some(self.port) {
            return false;
        }
        let name = name.trim_start_matches('[').trim_end_matches(']');
        let address: Option<IpAddr> = name.parse().ok();
        if name.eq_ignore_ascii_case("localhost") || address.is_some_and(|ip| ip.is_loopback()) {
            return true;
        }
        let Some(own) = &self.host else { return false };
        let all = own.parse::<IpAddr>().is_ok_and(|ip| ip.is_unspecified());
        // No name is rebound to an address that is written as one.
        name.eq_ignore_ascii_case(own) || (all && address.is_some())
    }
}

/// Adds the headers that every answer has.
pub(crate) fn protect(headers: &mut HeaderMap) {
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "same-origin"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

/// The status of a refusal.
pub(crate) const REFUSED: StatusCode = StatusCode::FORBIDDEN;

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(own: Option<&str>, host: &str, expected: bool) {
        let guard = Guard { token: String::new(), host: own.map(String::from), port: 7337 };
        assert_eq!(guard.is_own(host), expected, "{own:?} {host}");
    }

    #[test]
    fn only_names_of_this_machine_are_answered() {
        for host in ["127.0.0.1:7337", "localhost:7337", "LOCALHOST:7337", "[::1]:7337"] {
            check(None, host, true);
        }
        for host in ["evil.example:7337", "127.0.0.1", "127.0.0.1:80", "10.0.0.1:7337", "[::1]", ""]
        {
            check(None, host, false);
        }
        check(Some("lab.example"), "lab.example:7337", true);
        check(Some("lab.example"), "evil.example:7337", false);
        check(Some("0.0.0.0"), "10.0.0.1:7337", true);
        check(Some("0.0.0.0"), "evil.example:7337", false);
        check(Some("10.0.0.1"), "10.0.0.2:7337", false);
    }

    #[test]
    fn tokens_are_long_and_differ() {
        let (one, other) = (token().unwrap(), token().unwrap());
        assert!(one.len() == 64 && one != other);
    }
}
