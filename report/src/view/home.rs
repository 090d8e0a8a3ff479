//! The home page: what there is, newest first.

use minijinja::{Value, context};
use serde::Serialize;

use super::address::Address;
use super::compare;
use super::engine::{Live, Page, Polling, link, value};
use super::error::ViewError;
use super::places::Kind;
use super::recorded::Recorded;
use super::show;
use super::site::{Site, read, shown};
use super::state::{State, expected};

/// A run in the table.
#[derive(Serialize)]
struct Row {
    name: String,
    link: Value,
    benchmark: String,
    policy: String,
    model: Option<String>,
    state: &'static str,
    progress: String,
    solved: String,
    turns: String,
    tokens: String,
    money: String,
    started: String,
    date: String,
    age: String,
}

impl Row {
    fn of(run: &Recorded, site: &Site) -> Row {
        let facts = &run.facts;
        Row {
            name: run.name.clone(),
            link: link(&Address::Run(run.name.clone()), ""),
            benchmark: format!("{} ({})", facts.benchmark, facts.split),
            policy: facts.policy.clone(),
            model: facts.model.clone(),
            state: run.state.name(),
            progress: progress(run),
            solved: show::share(&facts.solved),
            turns: fixfly_runtime::thousands(facts.turns as u64),
            tokens: show::tokens(facts.tokens()),
            money: show::money((facts.priced_turns > 0).then_some(facts.usd)),
            started: run.record.started.clone(),
            date: show::date(&run.record.started),
            age: show::age(&run.record.started, (site.now)()),
        }
    }
}

/// `3 of 397`, or `3` if it is not recorded how many there will be.
pub(crate) fn progress(run: &Recorded) -> String {
    let finished = fixfly_runtime::thousands(run.facts.finished as u64);
    match expected(&run.record) {
        Some(expected) => format!("{finished} of {}", fixfly_runtime::thousands(expected as u64)),
        None => finished,
    }
}

/// A dataset, a sweep or a training.
#[derive(Serialize)]
struct Other {
    what: &'static str,
    name: String,
    link: Value,
}

pub(crate) fn page(site: &Site, export: bool) -> Result<Page, ViewError> {
    let (mut rows, mut unreadable) = (Vec::new(), Vec::new());
    for (name, run) in site.runs() {
        match run {
            Ok(run) => rows.push(Row::of(&read(&run), site)),
            Err(error) => unreadable.push((name, error.to_string())),
        }
    }
    rows.sort_by(|one, other| other.started.cmp(&one.started));
    let others = site.places_now().into_iter().filter(|(_, place)| place.kind != Kind::Run);
    let other = |(name, place): (String, super::places::Place)| {
        let address = link(&place.kind.address(name.clone()), "");
        Other { what: place.kind.name(), name, link: address }
    };
    let others: Vec<Other> = others.map(other).collect();
    let roots: Vec<String> = site.roots().iter().map(|root| shown(root)).collect();
    let main = site.engine.get_template("home.html")?.render(context! {
        rows => value(&rows),
        unreadable => value(&unreadable),
        others => value(&others),
        roots => value(&roots),
        comparisons => value(if export { comparisons(&rows) } else { Vec::new() }),
        export,
    })?;
    let live = Some(live(site));
    Ok(Page { title: "Runs".into(), main, live, ..Page::default() })
}

/// Comparisons that an export has at most; a server makes any.
const COMPARISONS: usize = 45;

/// All pairs of runs of one benchmark, with their addresses.
fn comparisons(rows: &[Row]) -> Vec<(String, String, Value)> {
    let pairs = rows.iter().enumerate().flat_map(|(at, one)| {
        let others = rows[at + 1..].iter().filter(move |other| other.benchmark == one.benchmark);
        others.map(move |other| {
            let query = compare::of_two(&one.name, &other.name);
            (one.name.clone(), other.name.clone(), link(&Address::Compare, &query))
        })
    });
    pairs.take(COMPARISONS).collect()
}

/// The version of the whole list. A run can start at any time.
pub(crate) fn live(site: &Site) -> Live {
    let (mut parts, mut polling) = (Vec::new(), Polling::Waiting);
    for (name, run) in site.runs() {
        let Ok(run) = run else {
            parts.push(format!("{name}?"));
            continue;
        };
        let run = read(&run);
        parts.push(format!("{name}={}", run.version()));
        if run.state == State::Running {
            polling = Polling::Running;
        }
    }
    let others = site.places_now().into_iter().filter(|(_, place)| place.kind != Kind::Run);
    parts.extend(others.map(|(name, place)| format!("{} {name}", place.kind.name())));
    Live { version: fixfly_runtime::sha256(parts.join("\n").as_bytes()), polling }
}
