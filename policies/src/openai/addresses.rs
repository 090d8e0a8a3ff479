//! The addresses of a model's servers, and the keys of its answers in the journal.

use std::collections::HashSet;
use std::path::Path;

use fixfly_runtime::{RemoteModel, sha256};
use serde::Deserialize;
use serde_json::{Value, json};

use super::OpenAi;
use super::profile::{OPENAI, Profile};

/// The files that record the settings of a run or of traces, and where they are in them.
const RECORDS: [(&str, &str); 2] =
    [("run.json", "/config/model/teacher"), ("reason.json", "/model/teacher")];

/// Addresses in a profile: one, or a list.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(untagged, expecting = "expected an address or a list of addresses")]
pub(crate) enum Addresses {
    #[default]
    None,
    One(String),
    Several(Vec<String>),
}

impl Addresses {
    pub(crate) fn all(&self) -> &[String] {
        match self {
            Addresses::None => &[],
            Addresses::One(address) => std::slice::from_ref(address),
            Addresses::Several(addresses) => addresses,
        }
    }
}

/// Validates the addresses of servers.
///
/// # Errors
/// One sentence that names the first that is wrong.
pub(super) fn servers(addresses: &[String]) -> Result<Vec<String>, String> {
    let mut servers = Vec::new();
    for address in addresses {
        let address = server(address)?;
        if servers.contains(&address) {
            return Err(format!("the server {address} is named twice; name each once"));
        }
        servers.push(address);
    }
    Ok(servers)
}

fn server(text: &str) -> Result<String, String> {
    let broken = |why: &str| format!("`{text}` is not the address of a server: {why}");
    let url = reqwest::Url::parse(text).map_err(|why| broken(&why.to_string()))?;
    if !["http", "https"].contains(&url.scheme()) {
        return Err(broken("it must begin with http:// or https://"));
    }
    if url.password().is_some() || !url.username().is_empty() || url.query().is_some() {
        return Err("a server's address is recorded, so it must not contain a password or a query; put the key into an environment variable and pass its name with --api-key-env".into());
    }
    Ok(text.trim_end_matches('/').to_string())
}

impl OpenAi {
    /// The keys that an answer to this request may have in the journal. The address is a
    /// part of them, because runs with other servers can share a journal. A run keeps the
    /// first address that it was started with, so it finds its answers if its servers move.
    pub(super) fn keys(&self, body: &Value, sample: u32) -> Vec<String> {
        let known_as = self.known_as.get_or_init(|| {
            let mut all = recorded(&self.settings);
            all.extend(self.remote.base_urls.iter().cloned());
            let mut seen = HashSet::new();
            all.retain(|address| seen.insert(address.clone()));
            all
        });
        let rest = format!(",{body},{sample}]");
        known_as.iter().map(|address| sha256(format!("[{}{rest}", json!(address)))).collect()
    }
}

/// The addresses that the record of a run names, in its order; none if there is no record.
fn recorded(settings: &RemoteModel) -> Vec<String> {
    let found = RECORDS.iter().find_map(|(file, place)| read(&settings.run.join(file), place));
    let Some(remote) = found else { return Vec::new() };
    let text = |value: &Value| value.as_str().map(|text| text.trim_end_matches('/').to_owned());
    let mut all: Vec<String> = text(&remote["base_url"]).into_iter().collect();
    if all.is_empty() {
        let profile = remote["profile"].as_str().map(Profile::load);
        let profile = profile.and_then(Result::ok).unwrap_or_default();
        all = servers(profile.base_url.all()).unwrap_or_default();
    }
    if all.is_empty() {
        all.push(OPENAI.into());
    }
    all.extend(remote["other_base_urls"].as_array().into_iter().flatten().filter_map(text));
    all
}

fn read(file: &Path, place: &str) -> Option<Value> {
    let text = std::fs::read(file).ok()?;
    let record: Value = serde_json::from_slice(&text).ok()?;
    record.pointer(place).cloned()
}
