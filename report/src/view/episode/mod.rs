// Replaced by branch pages.
//! The page of an episode.

use std::path::Path;

use fixfly_runtime::{Episode, RunRecord};
use minijinja::Environment;

use super::error::ViewError;
use super::sources::Sources;

/// The page of an episode.
#[allow(dead_code, reason = "replaced by branch pages")]
pub(crate) struct EpisodePage<'a> {
    pub(crate) run: &'a Path,
    pub(crate) record: &'a RunRecord,
    pub(crate) episode: &'a Episode,
    pub(crate) sources: &'a dyn Sources,
    pub(crate) original: bool,
}

const PAGE: &str = "<section id=\"turns\" aria-labelledby=\"turns-title\"><h2 id=\"turns-title\">Turns</h2>\
{% for turn in episode.turns %}<h3>Turn {{ loop.index }}: {{ turn.observation.outcome }}</h3>\
<pre tabindex=\"0\">{{ turn.action.text }}</pre><pre tabindex=\"0\">{{ turn.observation.text }}</pre>{% endfor %}</section>";

pub(crate) fn add_templates(environment: &mut Environment<'static>) -> Result<(), ViewError> {
    Ok(environment.add_template("episode.html", PAGE)?)
}

impl EpisodePage<'_> {
    pub(crate) fn html(&self, engine: &Environment<'static>) -> Result<String, ViewError> {
        let page = engine.get_template("episode.html")?;
        Ok(page.render(minijinja::context! { episode => super::engine::value(self.episode) })?)
    }
}
