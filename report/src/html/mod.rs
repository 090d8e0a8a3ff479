//! The report as a self-contained HTML page.

mod plots;
pub(crate) mod svg;

use fixfly_runtime::printable;
use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment};
use serde::Serialize;

use super::claims::ClaimTest;
use super::error::ReportError;
use super::groups::RunSet;
use super::run_tables::Table;

const PAGE: &str = include_str!("page.html");

/// A chart with its legend.
#[derive(Serialize)]
pub(crate) struct Chart {
    title: String,
    svg: String,
    legend: Vec<Key>,
    note: String,
}

/// Entry of a legend.
#[derive(Serialize)]
struct Key {
    /// CSS class of the shapes: `c0`.
    class: String,
    name: String,
}

/// Context of the template.
#[derive(Serialize)]
struct TemplateContext<'a> {
    made: &'a str,
    runs: &'a [String],
    claims: Vec<(&'a ClaimTest, &'static str)>,
    charts: Vec<Chart>,
    tables: Vec<&'a Table>,
    empty: Vec<&'a Table>,
}

/// Content of the page.
pub(crate) struct Page<'a> {
    pub(crate) made: String,
    pub(crate) runs: Vec<String>,
    pub(crate) claims: &'a [ClaimTest],
    pub(crate) tables: &'a [Table],
}

/// The plots of these runs.
#[cfg(feature = "view")]
pub(crate) fn charts(set: &RunSet<'_>) -> Vec<Chart> {
    plots::charts(set)
}

impl Page<'_> {
    pub(crate) fn html(&self, set: &RunSet<'_>) -> Result<String, ReportError> {
        let mut environment = Environment::new();
        environment.set_auto_escape_callback(|_| AutoEscape::Html);
        let page = environment.template_from_named_str("page.html", PAGE)?;
        let (with_rows, empty): (Vec<_>, Vec<_>) =
            self.tables.iter().partition(|table| !table.rows.is_empty());
        let page = page.render(Serde(TemplateContext {
            made: &self.made,
            runs: &self.runs,
            claims: self.claims.iter().map(|claim| (claim, claim.result.name())).collect(),
            charts: plots::charts(set),
            tables: with_rows,
            empty,
        }))?;
        // A browser reorders text by bidirectional controls, as a terminal does.
        Ok(printable(&page).into_owned())
    }
}

#[cfg(test)]
mod tests;
