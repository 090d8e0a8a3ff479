//! The page of a run: its facts, what was solved by which turn, errors, and its episodes.

use fixfly_runtime::{EpisodeSummary, thousands};
use minijinja::{Value, context};
use serde::Serialize;

use crate::html::svg::{self, Axes, Line};
use crate::metrics::SolvedAt;

use super::address::Address;
use super::engine::{Page, link, value};
use super::error::ViewError;
use super::facts::{ErrorCount, Facts};
use super::filter::{Filter, ROWS, SOLVED, Sort, solved};
use super::home::progress;
use super::recorded::Recorded;
use super::show;
use super::site::{Site, shown};
use super::strip::Strip;

/// An episode in the table.
#[derive(Serialize)]
pub(crate) struct Row {
    pub(crate) task: String,
    pub(crate) sample: u32,
    pub(crate) link: Value,
    pub(crate) strip: Strip,
    pub(crate) solved: &'static str,
    pub(crate) end: &'static str,
    turns: usize,
    tokens: String,
    seconds: String,
    money: String,
    to_review: bool,
    tampering: bool,
}

impl Row {
    pub(crate) fn of(run: &str, one: &EpisodeSummary, query: &str) -> Row {
        let usd = one.usd().filter(|_| !one.turns.is_empty());
        Row {
            task: one.task.to_string(),
            sample: one.sample,
            link: link(&Address::episode(run, &one.task, one.sample), query),
            strip: Strip::of(one),
            solved: solved(one),
            end: one.end.name(),
            turns: one.turns.len(),
            tokens: show::tokens(Some(one.tokens()).filter(|tokens| *tokens > 0)),
            seconds: show::seconds(one.seconds),
            money: show::money(usd),
            to_review: one.verdict.is_some_and(|verdict| verdict.to_review),
            tampering: one.verdict.is_some_and(|verdict| verdict.tampering),
        }
    }
}

/// A column that sorts.
#[derive(Serialize)]
struct Column {
    name: &'static str,
    link: Value,
    /// For `aria-sort`.
    sorted: Option<&'static str>,
    number: bool,
}

/// A list of choices of the filter form.
#[derive(Serialize)]
struct Choice {
    key: &'static str,
    label: &'static str,
    options: Vec<(String, bool)>,
}

/// Pages of a list.
#[derive(Serialize)]
pub(crate) struct Pages {
    pub(crate) number: usize,
    pub(crate) of: usize,
    previous: Option<Value>,
    next: Option<Value>,
    first: String,
    last: String,
    total: String,
}

impl Pages {
    /// The pages of a list, and the indices of the rows of this one.
    pub(crate) fn of(
        total: usize,
        page: usize,
        link: impl Fn(usize) -> Value,
    ) -> (Pages, std::ops::Range<usize>) {
        let of = total.div_ceil(ROWS).max(1);
        let number = page.clamp(1, of);
        let rows = (number - 1) * ROWS..(number * ROWS).min(total);
        let pages = Pages {
            number,
            of,
            previous: (number > 1).then(|| link(number - 1)),
            next: (number < of).then(|| link(number + 1)),
            first: thousands(rows.start as u64 + 1),
            last: thousands(rows.end as u64),
            total: thousands(total as u64),
        };
        (pages, rows)
    }
}

pub(crate) fn page(
    site: &Site,
    run: &Recorded,
    query: &str,
    export: bool,
) -> Result<Page, ViewError> {
    let filter = Filter::parse(query);
    let (all, facts) = (run.summaries(), &*run.facts);
    let address = Address::Run(run.name.clone());
    let selected = filter.select(all);
    let (pages, rows) = Pages::of(selected.len(), filter.page, |page| {
        link(&address, &filter.at_page(page).query())
    });
    let of_list = filter.without_page().query();
    let rows: Vec<Row> =
        selected[rows].iter().map(|at| Row::of(&run.name, &all[*at], &of_list)).collect();
    let main = site.engine.get_template("run.html")?.render(context! {
        name => run.name.as_str(),
        state => run.state.name(),
        facts => value(fact_list(site, run, export)),
        turns => value(turn_rows(facts)),
        curve => curve(&facts.by_turn).map(Value::from_safe_string),
        errors => value(errors(&address, facts, export)),
        choices => value(choices(&filter, facts)),
        text => filter.text.as_str(),
        sort => (filter.sort != Sort::Recorded || filter.descending).then(|| sort_value(&filter)),
        active => !filter.active().is_empty(),
        columns => value(columns(&address, &filter, export)),
        rows => value(&rows),
        pages => value(&pages),
        here => link(&address, ""),
        export,
    })?;
    Ok(Page {
        title: run.name.clone(),
        crumbs: vec![("Home".into(), "/".into())],
        main,
        live: Some(run.live()),
    })
}

fn sort_value(filter: &Filter) -> String {
    format!("{}{}", if filter.descending { "-" } else { "" }, filter.sort.name())
}

/// Names and values of the list of facts. Those that are unknown are left out.
fn fact_list(site: &Site, run: &Recorded, export: bool) -> Vec<(&'static str, String)> {
    let (facts, record) = (&run.facts, &run.record);
    let count = |count: usize| (count > 0).then(|| thousands(count as u64));
    let date = show::date(&record.started);
    let started = match export {
        true => date,
        false => format!("{date}, {}", show::age(&record.started, (site.now)())),
    };
    let tokens = facts.tokens().map(|_| {
        format!(
            "{} input ({} cached), {} output",
            thousands(facts.prompt_tokens),
            thousands(facts.cached_tokens),
            thousands(facts.completion_tokens)
        )
    });
    let priced = (facts.priced_turns > 0).then(|| {
        let known = match facts.priced_turns == facts.turns {
            true => String::new(),
            false => {
                let [priced, all] = [facts.priced_turns, facts.turns].map(|n| thousands(n as u64));
                format!(" for the {priced} of {all} turns with a known price")
            }
        };
        format!("{}{known}", show::money(Some(facts.usd)))
    });
    let median = facts.median_seconds.map(|median| {
        let total = show::seconds(facts.total_seconds);
        format!("{} per episode (median), {total} in all", show::seconds(median))
    });
    let solved = format!("{} of {}", facts.solved.count, facts.solved.of);
    let solved = facts.solved.percent.map(|_| format!("{solved}: {}", show::share(&facts.solved)));
    let some = |text: &str| Some(text.to_string()).filter(|text| !text.is_empty());
    let all = [
        ("Solved", solved),
        ("Episodes", Some(progress(run))),
        ("Tasks", Some(thousands(facts.tasks as u64))),
        ("Benchmark", some(&format!("{} ({})", facts.benchmark, facts.split))),
        ("Policy", some(&facts.policy)),
        ("Model", facts.model.clone()),
        ("Turns", Some(thousands(facts.turns as u64))),
        ("Tokens", tokens),
        ("Money", priced),
        ("Time", median),
        (
            "Infrastructure failures",
            count(facts.failures).map(|n| format!("{n}, counted nowhere else")),
        ),
        ("Without a verdict", count(facts.unjudged)),
        ("To review", count(facts.to_review)),
        ("Tampering", count(facts.tampering)),
        ("Started", Some(started)),
        ("fixfly", some(&record.fixfly)),
        ("Seed", Some(record.seed.to_string())),
        ("Isolation", some(&record.isolation)),
        ("Machine", some(&machines(record))),
        ("Shards", run.shards().map(|shards| shards.to_string())),
        ("Folder", Some(folders(run))),
    ];
    all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

/// Its folder, or that of its first shard and how many more there are.
fn folders(run: &Recorded) -> String {
    match run.paths.len() {
        0 | 1 => shown(&run.path),
        count => format!("{} and {} more", shown(&run.path), count - 1),
    }
}

/// The machine of the run, or those of its shards.
fn machines(record: &fixfly_runtime::RunRecord) -> String {
    let mut all: Vec<String> = record.merged.iter().map(|run| machine(&run.machine)).collect();
    all.sort();
    all.dedup();
    match all.is_empty() {
        true => machine(&record.machine),
        false => all.join("; "),
    }
}

fn machine(machine: &fixfly_runtime::Machine) -> String {
    let gib = (machine.memory_mb > 0).then(|| format!("{} GiB", machine.memory_mb.div_ceil(1024)));
    let cpus = (machine.cpus > 0).then(|| format!("{} CPUs", machine.cpus));
    let os = Some(machine.os.clone()).filter(|os| !os.is_empty());
    [os, cpus, gib].into_iter().flatten().collect::<Vec<_>>().join(", ")
}

/// Turn, new, solved by this turn, of, percent with interval.
fn turn_rows(facts: &Facts) -> Vec<[String; 5]> {
    let row = |turn: &SolvedAt| {
        [
            turn.turn.to_string(),
            turn.solved_at.count.to_string(),
            turn.solved_by.count.to_string(),
            turn.solved_by.of.to_string(),
            show::share(&turn.solved_by),
        ]
    };
    facts.by_turn.iter().map(row).collect()
}

/// The curve of solved by turn; `None` if no episode has a verdict.
fn curve(turns: &[SolvedAt]) -> Option<String> {
    let points = turns.iter().filter_map(|at| Some((at.turn as f64, at.solved_by.percent?)));
    let points: Vec<(f64, f64)> = points.collect();
    let every = turns.len().div_ceil(10).max(1);
    let ticks = turns.iter().step_by(every).map(|at| (at.turn as f64, at.turn.to_string()));
    let axes = Axes {
        x_label: "turn",
        y_label: "% solved by turn",
        x_ticks: ticks.collect(),
        y: (0.0, 100.0),
        level: None,
    };
    (!points.is_empty())
        .then(|| svg::plot(&axes, &[], &[Line { name: "solved by turn".into(), points }]))
}

/// An error with the links to its episodes.
#[derive(Serialize)]
struct ErrorRow<'a> {
    error: &'a str,
    turns: usize,
    episodes: usize,
    unsolved: usize,
    link: Option<Value>,
    unsolved_link: Option<Value>,
}

fn errors<'a>(address: &Address, facts: &'a Facts, export: bool) -> Vec<ErrorRow<'a>> {
    let row = |count: &'a ErrorCount| {
        let of_error = Filter::of_error(&count.error);
        let unsolved = Filter { solved: SOLVED[1].into(), ..of_error.clone() };
        ErrorRow {
            error: &count.error,
            turns: count.turns,
            episodes: count.episodes,
            unsolved: count.unsolved,
            link: (!export).then(|| link(address, &of_error.query())),
            unsolved_link: (!export).then(|| link(address, &unsolved.query())),
        }
    };
    facts.errors.iter().map(row).collect()
}

fn choices(filter: &Filter, facts: &Facts) -> Vec<Choice> {
    let choices = &facts.choices;
    let strings = |names: &std::collections::BTreeSet<&'static str>| {
        names.iter().map(|name| (*name).to_string()).collect::<Vec<_>>()
    };
    let owned =
        |names: &std::collections::BTreeSet<String>| names.iter().cloned().collect::<Vec<_>>();
    let lists = [
        ("solved", "Solved", SOLVED.map(String::from).to_vec(), &filter.solved),
        ("end", "End", strings(&choices.ends), &filter.end),
        ("error", "Error", owned(&choices.errors), &filter.error),
        ("outcome", "Outcome", strings(&choices.outcomes), &filter.outcome),
        ("file", "File or app", owned(&choices.folders), &filter.file),
        ("idea", "Idea", owned(&choices.ideas), &filter.idea),
        ("policy", "Policy", owned(&choices.policies), &filter.policy),
    ];
    let choice = |(key, label, mut names, chosen): (_, _, Vec<String>, &String)| {
        // A link can choose what the list does not have.
        if !chosen.is_empty() && !names.contains(chosen) {
            names.push(chosen.clone());
        }
        let values = names.into_iter().map(|name| (name == *chosen, name));
        Choice { key, label, options: values.map(|(is, name)| (name, is)).collect() }
    };
    // One value is no choice, unless it is chosen.
    let offers = |choice: &Choice| {
        choice.options.len() > 1 || choice.options.iter().any(|(_, chosen)| *chosen)
    };
    lists.into_iter().map(choice).filter(offers).collect()
}

fn columns(address: &Address, filter: &Filter, export: bool) -> Vec<Column> {
    let column = |(name, sort): (&'static str, Sort)| Column {
        name,
        link: match export {
            true => Value::UNDEFINED,
            false => link(address, &filter.sorted_by(sort).query()),
        },
        sorted: (filter.sort == sort).then_some(if filter.descending {
            "descending"
        } else {
            "ascending"
        }),
        number: sort != Sort::Task,
    };
    let all = [
        ("Task", Sort::Task),
        ("Turns", Sort::Turns),
        ("Tokens", Sort::Tokens),
        ("Seconds", Sort::Seconds),
        ("Money", Sort::Money),
    ];
    all.map(column).into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_has_a_hundred_rows() {
        #[track_caller]
        fn check(total: usize, page: usize, expected: (usize, usize, std::ops::Range<usize>)) {
            let (pages, rows) = Pages::of(total, page, Value::from);
            assert_eq!((pages.number, pages.of, rows), expected);
            assert_eq!(pages.previous.is_some(), expected.0 > 1);
            assert_eq!(pages.next.is_some(), expected.0 < expected.1);
        }
        check(0, 1, (1, 1, 0..0));
        check(100, 1, (1, 1, 0..100));
        check(101, 2, (2, 2, 100..101));
        check(100_000, 1000, (1000, 1000, 99_900..100_000));
        check(250, 9, (3, 3, 200..250));
    }
}
