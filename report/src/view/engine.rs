//! The templates, and the frame of every page.

use fixfly_runtime::printable;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, Value, context};
use serde::Serialize;

use super::address::Address;
use super::error::ViewError;

const TEMPLATES: [(&str, &str); 9] = [
    ("page.html", include_str!("templates/page.html")),
    ("parts.html", include_str!("templates/parts.html")),
    ("home.html", include_str!("templates/home.html")),
    ("run.html", include_str!("templates/run.html")),
    ("compare.html", include_str!("templates/compare.html")),
    ("episode_frame.html", include_str!("templates/episode_frame.html")),
    ("beside.html", include_str!("templates/beside.html")),
    ("sweep.html", include_str!("templates/sweep.html")),
    ("frame.html", include_str!("templates/frame.html")),
];

/// The style sheet.
pub(crate) const STYLE: &str =
    concat!(include_str!("assets/style.css"), include_str!("assets/episode.css"));
/// The script.
pub(crate) const SCRIPT: &str = include_str!("assets/view.js");

/// The templates of all pages.
pub(crate) fn engine() -> Result<Environment<'static>, ViewError> {
    let mut engine = Environment::new();
    engine.set_auto_escape_callback(|_| AutoEscape::Html);
    for (name, text) in TEMPLATES {
        engine.add_template(name, text)?;
    }
    super::episode::add_templates(&mut engine)?;
    super::dataset::add_templates(&mut engine)?;
    super::training::add_templates(&mut engine)?;
    Ok(engine)
}

/// The content of a page.
#[derive(Debug, Default)]
pub(crate) struct Page {
    /// Title of the browser's tab.
    pub(crate) title: String,
    /// The way to this page: names with addresses.
    pub(crate) crumbs: Vec<(String, String)>,
    /// HTML between the landmarks.
    pub(crate) main: String,
    /// What it shows, if it can change.
    pub(crate) live: Option<Live>,
}

/// The version of what a page shows, and when a browser asks for the next one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Live {
    pub(crate) version: String,
    pub(crate) polling: Polling,
}

/// How often a page can change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Polling {
    /// A process writes what it shows.
    Running,
    /// No process writes it, but one may start.
    Waiting,
    /// It stays as it is.
    #[default]
    Ended,
}

impl Polling {
    /// Seconds until a browser asks again.
    pub(crate) fn seconds(self) -> Option<u32> {
        match self {
            Polling::Running => Some(2),
            Polling::Waiting => Some(10),
            Polling::Ended => None,
        }
    }
}

/// Frames the content.
pub(crate) fn framed(
    engine: &Environment<'static>,
    page: &Page,
    address: &Address,
    export: bool,
) -> Result<String, ViewError> {
    let path = address.path();
    let live = page.live.as_ref().filter(|live| !export && live.polling != Polling::Ended);
    let html = engine.get_template("page.html")?.render(context! {
        title => value(&page.title),
        crumbs => value(&page.crumbs),
        main => Value::from_safe_string(page.main.clone()),
        version => live.map(|live| live.version.as_str()),
        live => live.map(|_| format!("/live{path}")),
        seconds => live.and_then(|live| live.polling.seconds()),
        export,
    })?;
    // A browser reorders text by bidirectional controls, as a terminal does.
    Ok(printable(&html).into_owned())
}

/// A value of a template.
pub(crate) fn value(value: impl Serialize) -> Value {
    Value::from(Serde(value))
}

/// A text that needs no escapes: an address.
pub(crate) fn link(address: &Address, query: &str) -> Value {
    // A query has no other characters that HTML escapes.
    Value::from_safe_string(address.path() + &query.replace('&', "&amp;"))
}
