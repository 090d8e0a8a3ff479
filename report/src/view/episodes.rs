//! The page of an episode: its way here, its neighbours in the list, the same task in other
//! runs, and the content.

use fixfly_runtime::EpisodeSummary;
use minijinja::{Value, context};
use serde::Serialize;

use super::address::Address;
use super::engine::{Page, link, value};
use super::episode::EpisodePage;
use super::error::ViewError;
use super::filter::{Filter, solved};
use super::recorded::Recorded;
use super::site::{Site, read};
use super::strip::Strip;

/// The same task in another run.
#[derive(Serialize)]
struct Elsewhere {
    run: String,
    link: Value,
    beside: Value,
    solved: &'static str,
    strip: Strip,
}

/// Runs that a page lists at most.
const OTHERS: usize = 50;

pub(crate) fn page(
    site: &Site,
    run: &Recorded,
    (task, sample): (&str, &str),
    query: &str,
    export: bool,
) -> Result<Page, ViewError> {
    let place = sample.parse().ok().and_then(|sample| run.place(task, sample));
    let place = place.ok_or_else(|| ViewError::NoEpisode {
        run: run.name.clone(),
        task: task.into(),
        sample: sample.into(),
    })?;
    let filter = Filter::parse(query).without_page();
    let original = !export && has(query, "original");
    let episode = run.episode(place)?;
    let content = EpisodePage {
        run: &run.path,
        record: &run.record,
        episode: &episode,
        sources: &*site.sources,
        original,
    };
    let content = content.html(&site.engine)?;
    let summary = &run.summaries()[place];
    let own = Address::episode(&run.name, task, summary.sample);
    let listed = Neighbours::of(run, &filter, place);
    let list = Address::Run(run.name.clone());
    let main = site.engine.get_template("episode_frame.html")?.render(context! {
        content => Value::from_safe_string(content),
        run => run.name.as_str(),
        list => link(&list, &filter.query()),
        listed => value(&listed),
        filtered => !filter.active().is_empty(),
        task,
        sample => summary.sample,
        solved => solved(summary),
        strip => value(Strip::of(summary)),
        original,
        switch => (!export).then(|| link(&own, &switched(&filter, original))),
        elsewhere => value(elsewhere(site, run, summary)),
        export,
    })?;
    Ok(Page {
        title: format!("{task} · {}", run.name),
        crumbs: vec![("Home".into(), "/".into()), (run.name.clone(), list.path())],
        main,
        live: Some(run.live()),
    })
}

fn has(query: &str, key: &str) -> bool {
    form_urlencoded::parse(query.as_bytes()).any(|(found, _)| found == key)
}

/// The query with `original` if it is without, and the other way round.
fn switched(filter: &Filter, original: bool) -> String {
    match (filter.query(), original) {
        (query, true) => query,
        (query, false) if query.is_empty() => "?original=1".into(),
        (query, false) => format!("{query}&original=1"),
    }
}

/// The place of an episode in a list.
#[derive(Serialize)]
struct Neighbours {
    /// From 1.
    number: usize,
    of: usize,
    previous: Option<Value>,
    next: Option<Value>,
}

impl Neighbours {
    fn of(run: &Recorded, filter: &Filter, place: usize) -> Option<Neighbours> {
        let list = filter.select(run.summaries());
        let at = list.iter().position(|other| *other == place)?;
        let neighbour = |at: Option<usize>| {
            let one = &run.summaries()[*list.get(at?)?];
            Some(link(&Address::episode(&run.name, &one.task, one.sample), &filter.query()))
        };
        Some(Neighbours {
            number: at + 1,
            of: list.len(),
            previous: neighbour(at.checked_sub(1)),
            next: neighbour(at.checked_add(1)),
        })
    }
}

/// The same task and sample in other runs of the benchmark.
fn elsewhere(site: &Site, own: &Recorded, summary: &EpisodeSummary) -> Vec<Elsewhere> {
    let mut found = Vec::new();
    // The page holds its own run.
    for (name, run) in site.runs_except(&own.name) {
        let Ok(run) = run else { continue };
        let run = read(&run);
        let same = run.record.config.get("benchmark") == own.record.config.get("benchmark");
        let Some(place) = run.place(&summary.task, summary.sample).filter(|_| same) else {
            continue;
        };
        let other = &run.summaries()[place];
        let address = Address::episode(&name, &summary.task, summary.sample);
        found.push(Elsewhere {
            link: link(&address, ""),
            beside: link(
                &Address::Compare,
                &super::compare::beside(&[&own.name, &name], &summary.task, summary.sample),
            ),
            solved: solved(other),
            strip: Strip::of(other),
            run: name,
        });
        if found.len() == OTHERS {
            break;
        }
    }
    found
}
