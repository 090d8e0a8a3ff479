//! Runs beside each other on the same tasks: who solved what, and the two episodes of a task.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use fixfly_runtime::{EpisodeSummary, thousands};
use form_urlencoded::Serializer;
use minijinja::{Value, context};
use serde::Serialize;

use crate::groups::mean_of;
use crate::metrics::{Estimate, McNemar};

use super::address::Address;
use super::engine::{Page, link, value};
use super::episode::EpisodePage;
use super::error::ViewError;
use super::filter::solved;
use super::recorded::Recorded;
use super::run::Pages;
use super::show;
use super::site::{Kept, Site, locked, read};
use super::strip::Strip;

/// Comparisons that were made, by the names and versions of their runs.
pub(crate) type Comparisons = HashMap<[String; 2], Arc<Pairs>>;

/// Comparisons that are kept.
const COMPARISONS: usize = 32;
/// Runs that a comparison has at most.
const RUNS: usize = 8;
const LETTERS: [&str; RUNS] = ["a", "b", "c", "d", "e", "f", "g", "h"];
/// The cells of the 2×2.
const CELLS: [&str; 4] = ["both", "first", "second", "neither"];

/// What a comparison's query asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Asked {
    runs: Vec<String>,
    cell: String,
    page: usize,
    /// Two episodes beside each other.
    task: Option<(String, String)>,
}

impl Asked {
    fn parse(query: &str) -> Asked {
        let mut asked = Asked { page: 1, ..Asked::default() };
        let mut lettered: BTreeMap<usize, String> = BTreeMap::new();
        let (mut task, mut sample) = (None, None);
        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            let letter = LETTERS.iter().position(|letter| *letter == key);
            match (&*key, letter) {
                (_, Some(at)) => {
                    lettered.insert(at, value.into_owned());
                }
                ("run", None) => asked.runs.push(value.into_owned()),
                ("cell", None) if CELLS.contains(&&*value) => asked.cell = value.into_owned(),
                ("page", None) => asked.page = value.parse().unwrap_or(1).max(1),
                ("task", None) => task = Some(value.into_owned()),
                ("sample", None) => sample = Some(value.into_owned()),
                _ => {}
            }
        }
        let mut runs: Vec<String> = lettered.into_values().collect();
        runs.append(&mut asked.runs);
        for run in runs {
            if !asked.runs.contains(&run) && asked.runs.len() < RUNS {
                asked.runs.push(run);
            }
        }
        asked.task = task.map(|task| (task, sample.unwrap_or_else(|| "0".into())));
        asked
    }
}

fn query(runs: &[&str], cell: &str, page: usize, task: Option<(&str, u32)>) -> String {
    let mut query = Serializer::new("?".to_string());
    query.extend_pairs(LETTERS.iter().zip(runs));
    if !cell.is_empty() {
        query.append_pair("cell", cell);
    }
    if page > 1 {
        query.append_pair("page", &page.to_string());
    }
    if let Some((task, sample)) = task {
        query.append_pair("task", task).append_pair("sample", &sample.to_string());
    }
    query.finish().replacen("?&", "?", 1)
}

/// The query of two episodes beside each other.
pub(crate) fn beside(runs: &[&str], task: &str, sample: u32) -> String {
    query(runs, "", 1, Some((task, sample)))
}

/// The query of a comparison of two runs.
pub(crate) fn of_two(first: &str, second: &str) -> String {
    query(&[first, second], "", 1, None)
}

/// Two runs on the same tasks.
pub(crate) struct Pairs {
    /// Task and sample, in the order of the first run, with their cell: an index of
    /// [`CELLS`].
    pairs: Vec<(String, u32, usize)>,
    mcnemar: McNemar,
    /// Second − first in points, over tasks.
    difference: Option<Estimate>,
}

impl Pairs {
    fn of(first: &Recorded, second: &Recorded) -> Pairs {
        let verdict = |one: &EpisodeSummary| match solved(one) {
            "yes" => Some(true),
            "no" => Some(false),
            _ => None,
        };
        let mut pairs = Vec::new();
        let mut tasks: BTreeMap<&str, (f64, f64)> = BTreeMap::new();
        for one in first.summaries() {
            let other = second.place(&one.task, one.sample).map(|at| &second.summaries()[at]);
            let both = verdict(one).zip(other.and_then(verdict));
            let Some((a, b)) = both else { continue };
            pairs.push((one.task.to_string(), one.sample, usize::from(!a) * 2 + usize::from(!b)));
            let (sum, count) = tasks.entry(&*one.task).or_default();
            *sum += 100.0 * (f64::from(b) - f64::from(a));
            *count += 1.0;
        }
        let differences: Vec<f64> = tasks.values().map(|(sum, count)| sum / count).collect();
        Pairs {
            mcnemar: McNemar::of(pairs.iter().map(|(_, _, cell)| (*cell < 2, cell % 2 == 0))),
            difference: mean_of(&differences),
            pairs,
        }
    }
}

/// The comparison of the first run with another one.
#[derive(Serialize)]
struct Contrast {
    other: String,
    counts: [usize; 4],
    links: Option<[Value; 4]>,
    pairs: String,
    p: String,
    difference: String,
    tasks: usize,
}

/// A task in the table.
#[derive(Serialize)]
struct Row {
    task: String,
    sample: u32,
    beside: Option<Value>,
    runs: Vec<Option<Cell>>,
}

/// An episode of a task.
#[derive(Serialize)]
struct Cell {
    link: Value,
    solved: &'static str,
    strip: Strip,
}

pub(crate) fn page(site: &Site, asked: &str, export: bool) -> Result<Page, ViewError> {
    let asked = Asked::parse(asked);
    if asked.runs.len() < 2 {
        return Err(ViewError::NotTwo);
    }
    let kept: Vec<Kept> = asked.runs.iter().map(|name| site.run(name)).collect::<Result<_, _>>()?;
    let runs: Vec<_> = kept.iter().map(read).collect();
    let runs: Vec<&Recorded> = runs.iter().map(|run| &**run).collect();
    let names: Vec<&str> = asked.runs.iter().map(String::as_str).collect();
    let crumbs = vec![("Home".into(), "/".into())];
    if let Some((task, sample)) = &asked.task {
        let main = two_episodes(site, &runs, (task, sample), &asked, export)?;
        let back = Address::Compare.path() + &query(&names, &asked.cell, 1, None);
        let crumbs = [crumbs, vec![("Comparison".into(), back)]].concat();
        return Ok(Page { title: format!("{task}, compared"), crumbs, main, ..Page::default() });
    }
    let all: Vec<Arc<Pairs>> = runs[1..].iter().map(|other| pairs(site, runs[0], other)).collect();
    let contrasts: Vec<Contrast> =
        all.iter().enumerate().map(|(at, pairs)| contrast(&names, at + 1, pairs, export)).collect();
    let (rows, pages) = rows(&runs, &names, &all[0], &asked, export);
    let main = site.engine.get_template("compare.html")?.render(context! {
        runs => value(runs.iter().map(|run| named(run)).collect::<Vec<_>>()),
        contrasts => value(&contrasts),
        cell => asked.cell.as_str(),
        all_link => link(&Address::Compare, &query(&names, "", 1, None)),
        rows => value(&rows),
        pages => value(&pages),
        export,
    })?;
    Ok(Page { title: "Comparison".into(), crumbs, main, ..Page::default() })
}

/// A run with its address and its share of solved episodes.
fn named(run: &Recorded) -> (&str, Value, String) {
    let address = Address::Run(run.name.clone());
    (&run.name, link(&address, ""), show::share(&run.facts.solved))
}

fn pairs(site: &Site, first: &Recorded, second: &Recorded) -> Arc<Pairs> {
    let key = [first, second].map(|run| format!("{} {}", run.name, run.version()));
    let mut made = locked(&site.comparisons);
    if let Some(pairs) = made.get(&key) {
        return pairs.clone();
    }
    if made.len() >= COMPARISONS {
        made.clear();
    }
    let pairs = Arc::new(Pairs::of(first, second));
    made.insert(key, pairs.clone());
    pairs
}

fn contrast(names: &[&str], at: usize, pairs: &Pairs, export: bool) -> Contrast {
    let McNemar { both, only_first, only_second, neither, p } = pairs.mcnemar;
    let mut others = names.to_vec();
    // The list of tasks is filtered by the first two runs.
    others.swap(1, at);
    Contrast {
        other: names[at].into(),
        counts: [both, only_first, only_second, neither],
        links: (!export)
            .then(|| CELLS.map(|cell| link(&Address::Compare, &query(&others, cell, 1, None)))),
        pairs: thousands(pairs.pairs.len() as u64),
        p: if p < 0.0001 { "< 0.0001".into() } else { format!("{p:.4}") },
        difference: pairs.difference.map_or(show::UNKNOWN.into(), |difference| {
            let Estimate { value, low, high, .. } = difference;
            format!("{value:+.1} points ({low:+.1} to {high:+.1})")
        }),
        tasks: pairs.difference.map_or(0, |difference| difference.of),
    }
}

fn rows(
    runs: &[&Recorded],
    names: &[&str],
    pairs: &Pairs,
    asked: &Asked,
    export: bool,
) -> (Vec<Row>, Pages) {
    let wanted = CELLS.iter().position(|cell| *cell == asked.cell);
    let selected: Vec<&(String, u32, usize)> = pairs
        .pairs
        .iter()
        .filter(|(_, _, cell)| wanted.is_none_or(|wanted| wanted == *cell))
        .collect();
    let (pages, range) = Pages::of(selected.len(), asked.page, |page| {
        link(&Address::Compare, &query(names, &asked.cell, page, None))
    });
    let cell = |run: &Recorded, task: &str, sample: u32| {
        let one = &run.summaries()[run.place(task, sample)?];
        let address = Address::episode(&run.name, task, sample);
        Some(Cell { link: link(&address, ""), solved: solved(one), strip: Strip::of(one) })
    };
    let row = |(task, sample, _): &&(String, u32, usize)| Row {
        task: task.clone(),
        sample: *sample,
        beside: (!export).then(|| {
            link(&Address::Compare, &query(names, &asked.cell, 1, Some((task.as_str(), *sample))))
        }),
        runs: runs.iter().map(|run| cell(run, task, *sample)).collect(),
    };
    (selected[range].iter().map(row).collect(), pages)
}

/// One episode of a task beside the other.
fn two_episodes(
    site: &Site,
    runs: &[&Recorded],
    (task, sample): (&str, &str),
    asked: &Asked,
    export: bool,
) -> Result<String, ViewError> {
    let names: Vec<&str> = runs.iter().map(|run| run.name.as_str()).collect();
    let mut sides = Vec::new();
    for (run, letter) in runs.iter().take(2).zip(LETTERS) {
        let place = sample.parse().ok().and_then(|sample| run.place(task, sample));
        let place = place.ok_or_else(|| ViewError::NoEpisode {
            run: run.name.clone(),
            task: task.into(),
            sample: sample.into(),
        })?;
        let episode = run.episode(place)?;
        let content = EpisodePage {
            run: &run.path,
            record: &run.record,
            episode: &episode,
            sources: &*site.sources,
            original: false,
        };
        let summary = &run.summaries()[place];
        sides.push(context! {
            run => run.name.as_str(),
            id => format!("side-{letter}"),
            link => link(&Address::episode(&run.name, task, summary.sample), ""),
            solved => solved(summary),
            strip => value(Strip::of(summary)),
            content => Value::from_safe_string(prefixed(&content.html(&site.engine)?, letter)),
        });
    }
    let neighbours = neighbours(&pairs(site, runs[0], runs[1]), &names, asked, (task, sample));
    Ok(site.engine.get_template("beside.html")?.render(context! {
        task,
        sample,
        sides => value(&sides),
        export,
        previous => neighbours.0,
        next => neighbours.1,
    })?)
}

/// The previous and the next task of the cell.
fn neighbours(
    pairs: &Pairs,
    names: &[&str],
    asked: &Asked,
    (task, sample): (&str, &str),
) -> (Option<Value>, Option<Value>) {
    let wanted = CELLS.iter().position(|cell| *cell == asked.cell);
    let listed: Vec<&(String, u32, usize)> = pairs
        .pairs
        .iter()
        .filter(|(_, _, cell)| wanted.is_none_or(|wanted| wanted == *cell))
        .collect();
    let at = listed.iter().position(|(one, at, _)| one == task && at.to_string() == sample);
    let to = |at: Option<usize>| {
        let (task, sample, _) = listed.get(at?)?;
        Some(link(&Address::Compare, &query(names, &asked.cell, 1, Some((task.as_str(), *sample)))))
    };
    (to(at.and_then(|at| at.checked_sub(1))), to(at.map(|at| at + 1)))
}

/// HTML with a prefix on all its ids, so that two contents have different ones, and with the
/// side's heading in the names of its parts.
fn prefixed(html: &str, prefix: &str) -> String {
    let own = &*format!("{prefix}-");
    let labelled = &*format!("side-{prefix} {prefix}-");
    let side = if prefix == LETTERS[0] { "First run: " } else { "Second run: " };
    let attributes = [
        (" id=\"", own),
        (" href=\"#", own),
        (" for=\"", own),
        (" aria-labelledby=\"", labelled),
        (" aria-describedby=\"", own),
        (" aria-controls=\"", own),
        (" aria-label=\"", side),
        (" name=\"", own),
    ];
    // Texts have no quotes: they are escaped.
    attributes.iter().fold(html.to_string(), |html, (attribute, before)| {
        html.replace(attribute, &format!("{attribute}{before}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_names_the_runs_in_order() {
        let asked = Asked::parse("b=two&a=one&cell=first&page=2");
        assert_eq!(asked.runs, ["one", "two"]);
        assert_eq!(
            query(&["one", "two"], &asked.cell, asked.page, None),
            "?a=one&b=two&cell=first&page=2"
        );
        let chosen = Asked::parse("run=x%2Fy&run=z&run=z&cell=nonsense");
        assert_eq!((&*chosen.runs, &*chosen.cell), (&["x/y".into(), "z".into()][..], ""));
        let beside = beside(&["x", "y"], "a.py::f", 2);
        assert_eq!(beside, "?a=x&b=y&task=a.py%3A%3Af&sample=2");
        assert_eq!(Asked::parse(&beside[1..]).task, Some(("a.py::f".into(), "2".into())));
    }

    #[test]
    fn ids_differ_between_the_sides() {
        #[track_caller]
        fn check(html: &str, expected: &str) {
            assert_eq!(prefixed(html, "b"), expected);
        }
        check(
            r##"<h2 id="x">&quot; id=&quot;</h2><a href="#x">y</a><a href="/run">z</a>"##,
            r##"<h2 id="b-x">&quot; id=&quot;</h2><a href="#b-x">y</a><a href="/run">z</a>"##,
        );
        check(
            r#"<section aria-labelledby="x"><nav aria-label="Turns">"#,
            r#"<section aria-labelledby="side-b b-x"><nav aria-label="Second run: Turns">"#,
        );
    }
}
