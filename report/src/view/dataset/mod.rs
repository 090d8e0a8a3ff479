//! The page of a dataset: facts, lengths, leak audit, and rows with their loss mask.

use std::fmt::Write as _;
use std::path::Path;

use fixfly_runtime::thousands;
use minijinja::Environment;
use minijinja::value::Serde;
use serde::Serialize;

use super::error::ViewError;
use super::paint;
use super::sources::{DatasetRow, DatasetRows, RowOrigin, Segment};
use crate::html::svg::{self, Axes};

const TEMPLATE: &str = "dataset.html";
/// Rows of a page.
const ROWS: usize = 50;

/// Which rows to show.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct DatasetQuery {
    /// The page, counted from 1.
    pub(crate) page: usize,
    /// Only rows of this rule of the recipe.
    pub(crate) rule: Option<String>,
    /// Only rows that contain this text, in any case.
    pub(crate) text: Option<String>,
}

/// The page of a dataset.
pub(crate) struct DatasetPage<'a> {
    /// Its folder.
    pub(crate) path: &'a Path,
    /// Its rows.
    pub(crate) rows: &'a dyn DatasetRows,
    /// Which rows to show.
    pub(crate) query: DatasetQuery,
    /// The address of the episode that a row was made of, if the site has it.
    pub(crate) link: &'a dyn Fn(&RowOrigin) -> Option<String>,
    /// Whether it is a file, which cannot filter.
    pub(crate) export: bool,
}

/// Context of the template.
#[derive(Serialize)]
struct Context {
    path_html: String,
    facts: Vec<(String, String)>,
    lengths_svg: String,
    audit: Vec<String>,
    export: bool,
    rules: Vec<Rule>,
    text: String,
    found: usize,
    total: usize,
    first: usize,
    rows: Vec<RowView>,
    /// Addresses of other pages; empty if there is none.
    previous: String,
    next: String,
    /// The fault of a row that cannot be read.
    fault_html: String,
}

#[derive(Serialize)]
struct Rule {
    name: String,
    count: usize,
    chosen: bool,
}

#[derive(Serialize)]
struct RowView {
    number: usize,
    id_html: String,
    part: String,
    rule_html: String,
    tokens: Option<String>,
    origin_html: String,
    /// The address of its episode; empty if the site has none.
    href: String,
    turns: Vec<TurnLink>,
    answer_html: String,
    segments: Vec<SegmentView>,
    /// What the student reads, and what of it carries loss.
    sequences: Vec<Vec<SegmentView>>,
    /// Why only whole messages are marked.
    whole_html: String,
}

#[derive(Serialize)]
struct TurnLink {
    turn: usize,
    href: String,
}

#[derive(Serialize)]
struct SegmentView {
    role_html: String,
    html: String,
    loss: bool,
}

/// Adds the templates of this page.
pub(crate) fn add_templates(env: &mut Environment<'static>) -> Result<(), ViewError> {
    Ok(env.add_template(TEMPLATE, include_str!("dataset.html"))?)
}

impl DatasetPage<'_> {
    /// The content of the page.
    pub(crate) fn html(&self, engine: &Environment<'static>) -> Result<String, ViewError> {
        let (found, mut fault) = self.found();
        let pages = found.len().div_ceil(ROWS).max(1);
        let page = self.query.page.clamp(1, pages);
        let first = (page - 1) * ROWS;
        let mut rows = Vec::new();
        for at in found.iter().skip(first).take(ROWS) {
            match self.rows.row(*at) {
                Ok(row) => rows.push(row_view(*at, &row, (self.link)(&row.origin))),
                Err(why) => fault = fault.or(Some(why)),
            }
        }
        let href = |page: usize| self.query.href(page);
        let context = Context {
            path_html: paint::text(&self.path.display().to_string()),
            facts: html_pairs(self.rows.facts()),
            lengths_svg: lengths(&self.rows.lengths()),
            audit: self.rows.audit().iter().map(|line| paint::text(line)).collect(),
            export: self.export,
            rules: self.rules(),
            text: self.query.text.clone().unwrap_or_default(),
            found: found.len(),
            total: self.rows.len(),
            first: first + 1,
            rows,
            previous: if page > 1 { href(page - 1) } else { String::new() },
            next: if page < pages { href(page + 1) } else { String::new() },
            fault_html: fault.map(|why| paint::text(&why)).unwrap_or_default(),
        };
        Ok(engine.get_template(TEMPLATE)?.render(Serde(context))?)
    }

    fn rules(&self) -> Vec<Rule> {
        let chosen = |name: &str| self.query.rule.as_deref() == Some(name);
        let rules = self.rows.rules().into_iter();
        rules.map(|(name, count)| Rule { chosen: chosen(&name), name, count }).collect()
    }

    /// The rows of the query, and the first fault of a row that cannot be read.
    fn found(&self) -> (Vec<usize>, Option<String>) {
        let all = 0..self.rows.len();
        let filter = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let (rule, text) = (filter(&self.query.rule), filter(&self.query.text));
        let text = text.map(|text| text.to_lowercase());
        let mut fault = None;
        let of_rule = |at: &usize| rule.is_none() || self.rows.rule(*at) == rule;
        let all = all.filter(of_rule);
        let Some(text) = text else { return (all.collect(), fault) };
        let mut found = Vec::new();
        for at in all {
            match self.rows.row(at) {
                Ok(row) => found.extend(contains(&row, &text).then_some(at)),
                Err(why) => fault = fault.or(Some(why)),
            }
        }
        (found, fault)
    }
}

impl DatasetQuery {
    fn href(&self, page: usize) -> String {
        let mut href = format!("?page={page}");
        for (key, value) in [("rule", &self.rule), ("text", &self.text)] {
            if let Some(value) = value.as_deref().filter(|value| !value.is_empty()) {
                let _ = write!(href, "&{key}={}", encoded(value));
            }
        }
        href
    }
}

fn contains(row: &DatasetRow, text: &str) -> bool {
    let texts = row.segments.iter().map(|segment| segment.text.as_str());
    [row.id.as_str()].into_iter().chain(texts).any(|whole| whole.to_lowercase().contains(text))
}

fn html_pairs(pairs: Vec<(String, String)>) -> Vec<(String, String)> {
    pairs.into_iter().map(|(name, value)| (name, paint::text(&value))).collect()
}

fn row_view(at: usize, row: &DatasetRow, episode: Option<String>) -> RowView {
    let origin = &row.origin;
    let href = |turn: usize| episode.as_ref().map(|path| format!("{path}#turn-{turn}"));
    let turns = origin.turns.iter().copied().chain(origin.answer_turn);
    let sample = match origin.sample {
        0 => String::new(),
        sample => format!(", sample {sample}"),
    };
    RowView {
        number: at + 1,
        id_html: paint::text(&row.id),
        part: row.part.clone(),
        rule_html: paint::text(&row.rule),
        tokens: row.tokens.map(|tokens| thousands(tokens as u64)),
        origin_html: paint::text(&format!("{} of {}{sample}", origin.task, origin.run)),
        turns: turns.map(|turn| TurnLink { turn, href: href(turn).unwrap_or_default() }).collect(),
        href: episode.unwrap_or_default(),
        answer_html: paint::text(&origin.answer),
        segments: row.segments.iter().map(segment_view).collect(),
        sequences: row
            .sequences
            .iter()
            .map(|sequence| sequence.iter().map(segment_view).collect())
            .collect(),
        whole_html: paint::text(&row.whole),
    }
}

fn segment_view(segment: &Segment) -> SegmentView {
    SegmentView {
        role_html: paint::text(&segment.role),
        html: paint::long(&segment.text),
        loss: segment.loss,
    }
}

/// Text as one part of an address.
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte));
            }
            byte => {
                let _ = write!(encoded, "%{byte:02X}");
            }
        }
    }
    encoded
}

/// A histogram of rows by tokens. The limits double.
fn lengths(lengths: &[(usize, usize)]) -> String {
    if lengths.is_empty() {
        return String::new();
    }
    let places = || lengths.iter().enumerate().map(|(at, one)| (at as f64, one));
    let bars: Vec<_> = places().map(|(at, (_, count))| (at, *count as f64)).collect();
    let most = lengths.iter().map(|(_, count)| *count).max().unwrap_or(0);
    let axes = Axes {
        x_label: "tokens, at most",
        y_label: "rows",
        x_ticks: places().map(|(at, (limit, _))| (at, thousands(*limit as u64))).collect(),
        y: (0.0, (most as f64).max(5.0)),
        level: None,
    };
    svg::plot(&axes, &bars, &[])
}

#[cfg(test)]
mod tests;
