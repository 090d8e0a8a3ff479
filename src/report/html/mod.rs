//! The report as one HTML file that needs nothing else.

mod plots;
mod svg;

use anyhow::Context;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment};
use serde::Serialize;

use super::claims::Tested;
use super::groups::Set;
use super::sheets::Table;

const PAGE: &str = include_str!("page.html");

/// A chart: a drawing, and what its colours mean.
#[derive(Serialize)]
struct Chart {
    title: String,
    svg: String,
    legend: Vec<Key>,
    note: String,
}

/// What a colour means.
#[derive(Serialize)]
struct Key {
    /// The class of the drawing's shapes: `c0`.
    class: String,
    name: String,
}

/// What the template is given.
#[derive(Serialize)]
struct Shown<'a> {
    made: &'a str,
    runs: &'a [String],
    claims: Vec<(&'a Tested, &'static str)>,
    charts: Vec<Chart>,
    sheets: Vec<&'a Table>,
    empty: Vec<&'a Table>,
}

/// What the page shows.
pub(crate) struct Page<'a> {
    pub(crate) made: String,
    pub(crate) runs: Vec<String>,
    pub(crate) claims: &'a [Tested],
    pub(crate) sheets: &'a [Table],
}

impl Page<'_> {
    pub(crate) fn html(&self, set: &Set<'_>) -> anyhow::Result<String> {
        let mut environment = Environment::new();
        environment.set_auto_escape_callback(|_| AutoEscape::Html);
        let page = environment.template_from_named_str("page.html", PAGE)?;
        let (with_rows, empty): (Vec<_>, Vec<_>) =
            self.sheets.iter().partition(|sheet| !sheet.rows.is_empty());
        page.render(Serde(Shown {
            made: &self.made,
            runs: &self.runs,
            claims: self.claims.iter().map(|claim| (claim, claim.says.name())).collect(),
            charts: plots::charts(set),
            sheets: with_rows,
            empty,
        }))
        .context("cannot write the page")
    }
}

#[cfg(test)]
mod tests;
