//! Which episodes of a run a page lists, in which order. A filter is the query of an
//! address, so that every list has a link.

use std::cmp::Ordering;

use fixfly_runtime::{EpisodeSummary, TurnSummary};
use form_urlencoded::Serializer;

/// Rows of a page.
pub(crate) const ROWS: usize = 100;

/// A filter of episodes with an order and a page. Empty texts filter nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Filter {
    pub(crate) end: String,
    pub(crate) error: String,
    pub(crate) outcome: String,
    pub(crate) file: String,
    pub(crate) idea: String,
    pub(crate) policy: String,
    pub(crate) solved: String,
    /// Words that the task's id contains.
    pub(crate) text: String,
    pub(crate) sort: Sort,
    pub(crate) descending: bool,
    /// From 1.
    pub(crate) page: usize,
}

/// The order of episodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Sort {
    /// As they were recorded.
    #[default]
    Recorded,
    Task,
    Turns,
    Tokens,
    Seconds,
    Money,
}

impl Sort {
    pub(crate) const ALL: [Sort; 6] =
        [Sort::Recorded, Sort::Task, Sort::Turns, Sort::Tokens, Sort::Seconds, Sort::Money];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Sort::Recorded => "recorded",
            Sort::Task => "task",
            Sort::Turns => "turns",
            Sort::Tokens => "tokens",
            Sort::Seconds => "seconds",
            Sort::Money => "money",
        }
    }
}

/// Solved, unsolved, and neither because there is no verdict.
pub(crate) const SOLVED: [&str; 3] = ["yes", "no", "unknown"];

impl Filter {
    /// Parses a query. Other keys are left out.
    pub(crate) fn parse(query: &str) -> Filter {
        let mut filter = Filter { page: 1, ..Filter::default() };
        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            if let Some(text) = filter.text_of(&key) {
                *text = value.into_owned();
                continue;
            }
            match &*key {
                "sort" => {
                    let name = value.trim_start_matches('-');
                    let sort = Sort::ALL.into_iter().find(|sort| sort.name() == name);
                    filter.sort = sort.unwrap_or_default();
                    filter.descending = value.starts_with('-') && sort.is_some();
                }
                "page" => filter.page = value.parse().unwrap_or(1).max(1),
                _ => {}
            }
        }
        filter
    }

    fn text_of(&mut self, key: &str) -> Option<&mut String> {
        Some(match key {
            "end" => &mut self.end,
            "error" => &mut self.error,
            "outcome" => &mut self.outcome,
            "file" => &mut self.file,
            "idea" => &mut self.idea,
            "policy" => &mut self.policy,
            "solved" => &mut self.solved,
            "text" => &mut self.text,
            _ => return None,
        })
    }

    fn texts(&self) -> [(&'static str, &str); 8] {
        [
            ("end", &self.end),
            ("error", &self.error),
            ("outcome", &self.outcome),
            ("file", &self.file),
            ("idea", &self.idea),
            ("policy", &self.policy),
            ("solved", &self.solved),
            ("text", &self.text),
        ]
    }

    /// What the filter selects, by key.
    pub(crate) fn active(&self) -> Vec<(&'static str, &str)> {
        self.texts().into_iter().filter(|(_, text)| !text.is_empty()).collect()
    }

    /// The query of this list, with `?`; empty for the first page of all episodes.
    pub(crate) fn query(&self) -> String {
        let mut query = Serializer::new(String::new());
        query.extend_pairs(self.active());
        if self.sort != Sort::Recorded || self.descending {
            let sign = if self.descending { "-" } else { "" };
            query.append_pair("sort", &format!("{sign}{}", self.sort.name()));
        }
        if self.page > 1 {
            query.append_pair("page", &self.page.to_string());
        }
        let query = query.finish();
        if query.is_empty() { query } else { format!("?{query}") }
    }

    /// The list of which an episode's page shows the previous and the next one: all pages.
    pub(crate) fn without_page(&self) -> Filter {
        Filter { page: 1, ..self.clone() }
    }

    pub(crate) fn at_page(&self, page: usize) -> Filter {
        Filter { page, ..self.clone() }
    }

    /// The first page in another order. A second time, the order is reversed.
    pub(crate) fn sorted_by(&self, sort: Sort) -> Filter {
        // The most expensive are looked for first.
        let first = sort != Sort::Task && sort != Sort::Recorded;
        let descending = if self.sort == sort { !self.descending } else { first };
        Filter { sort, descending, page: 1, ..self.clone() }
    }

    /// The first page of all episodes with this error.
    pub(crate) fn of_error(error: &str) -> Filter {
        Filter { error: error.into(), page: 1, ..Filter::default() }
    }

    /// The indices of the selected episodes, in order.
    pub(crate) fn select(&self, all: &[EpisodeSummary]) -> Vec<usize> {
        let words: Vec<String> = self.text.split_whitespace().map(str::to_lowercase).collect();
        let mut selected: Vec<usize> =
            (0..all.len()).filter(|at| self.matches(&all[*at], &words)).collect();
        let ordered = |one: Ordering| if self.descending { one.reverse() } else { one };
        match self.sort {
            Sort::Recorded if self.descending => selected.reverse(),
            Sort::Recorded => {}
            Sort::Task => selected.sort_by(|one, other| {
                let key = |at: &usize| (&*all[*at].task, all[*at].sample);
                ordered(key(one).cmp(&key(other)))
            }),
            sort => {
                let keyed = selected.into_iter().map(|at| (value(sort, &all[at]), at));
                let mut keyed: Vec<(Option<f64>, usize)> = keyed.collect();
                keyed.sort_by(|(one, _), (other, _)| match (one, other) {
                    (Some(one), Some(other)) => ordered(one.total_cmp(other)),
                    // The unknown stands last in both orders.
                    (one, other) => other.is_some().cmp(&one.is_some()),
                });
                selected = keyed.into_iter().map(|(_, at)| at).collect();
            }
        }
        selected
    }

    fn matches(&self, one: &EpisodeSummary, words: &[String]) -> bool {
        let any = |wanted: &str, of: &dyn Fn(&TurnSummary) -> bool| {
            wanted.is_empty() || one.turns.iter().any(of)
        };
        let is = |wanted: &str, found: &str| wanted.is_empty() || wanted == found;
        is(&self.end, one.end.name())
            && is(&self.policy, &one.policy)
            && is(&self.solved, solved(one))
            && (self.file.is_empty()
                || one.file.as_deref().is_some_and(|file| file.starts_with(&self.file)))
            && any(&self.error, &|turn| turn.error() == Some(self.error.as_str()))
            && any(&self.outcome, &|turn| turn.outcome.name() == self.outcome)
            && any(&self.idea, &|turn| turn.idea.as_deref() == Some(self.idea.as_str()))
            && (words.is_empty() || {
                let task = one.task.to_lowercase();
                words.iter().all(|word| task.contains(word))
            })
    }
}

/// Whether an episode is solved: one of [`SOLVED`].
pub(crate) fn solved(one: &EpisodeSummary) -> &'static str {
    if one.solved() {
        SOLVED[0]
    } else if one.unjudged() || one.infrastructure_failure() {
        SOLVED[2]
    } else {
        SOLVED[1]
    }
}

fn value(sort: Sort, one: &EpisodeSummary) -> Option<f64> {
    match sort {
        Sort::Recorded | Sort::Task => None,
        Sort::Turns => Some(one.turns.len() as f64),
        Sort::Tokens => Some(one.tokens()).filter(|tokens| *tokens > 0).map(|tokens| tokens as f64),
        Sort::Seconds => Some(one.seconds),
        Sort::Money => one.usd().filter(|_| !one.turns.is_empty()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::view::fixture::episodes;

    #[track_caller]
    fn check(query: &str, expected: &[&str]) {
        let all: Vec<EpisodeSummary> = episodes().iter().map(EpisodeSummary::of).collect();
        let selected = Filter::parse(query).select(&all);
        let tasks: Vec<&str> = selected.iter().map(|at| &*all[*at].task).collect();
        assert_eq!(tasks, expected, "{query}");
    }

    #[test]
    fn a_filter_selects_episodes() {
        check("", &["app/b.py::B.g", "app/a.py::A.f", "lib/c.py::C.h"]);
        check("solved=yes", &["app/b.py::B.g", "app/a.py::A.f"]);
        check("solved=no", &["lib/c.py::C.h"]);
        check("end=turn+limit", &["lib/c.py::C.h"]);
        check("error=TypeError", &["app/a.py::A.f", "lib/c.py::C.h"]);
        check("error=Type", &[]);
        check("outcome=passed", &["app/b.py::B.g", "app/a.py::A.f"]);
        check("file=app%2F", &["app/b.py::B.g", "app/a.py::A.f"]);
        check("file=app%2Fa.py", &["app/a.py::A.f"]);
        check("idea=sibling", &["app/a.py::A.f", "lib/c.py::C.h"]);
        check("policy=other", &[]);
        check("text=A.F+app", &["app/a.py::A.f"]);
        check("error=TypeError&solved=yes&nothing=1", &["app/a.py::A.f"]);
    }

    #[test]
    fn a_filter_sorts_episodes_and_the_unknown_stands_last() {
        check("sort=task", &["app/a.py::A.f", "app/b.py::B.g", "lib/c.py::C.h"]);
        check("sort=-task", &["lib/c.py::C.h", "app/b.py::B.g", "app/a.py::A.f"]);
        check("sort=turns", &["app/b.py::B.g", "app/a.py::A.f", "lib/c.py::C.h"]);
        check("sort=-turns", &["lib/c.py::C.h", "app/a.py::A.f", "app/b.py::B.g"]);
        check("sort=money", &["app/a.py::A.f", "lib/c.py::C.h", "app/b.py::B.g"]);
        check("sort=-money", &["lib/c.py::C.h", "app/a.py::A.f", "app/b.py::B.g"]);
        check("sort=-recorded", &["lib/c.py::C.h", "app/a.py::A.f", "app/b.py::B.g"]);
        check("sort=-beauty", &["app/b.py::B.g", "app/a.py::A.f", "lib/c.py::C.h"]);
    }

    #[test]
    fn a_query_is_written_as_it_is_read() {
        for query in [
            "",
            "?page=3",
            "?error=Type%3CError%3E&solved=no&sort=-tokens&page=2",
            "?file=app%2F&text=a+b&sort=task",
        ] {
            assert_eq!(Filter::parse(query.trim_start_matches('?')).query(), query);
        }
        assert_eq!(Filter::parse("page=0").page, 1);
        let by_turns = Filter::parse("page=4").sorted_by(Sort::Turns);
        assert_eq!(by_turns.query(), "?sort=-turns");
        assert_eq!(by_turns.sorted_by(Sort::Turns).query(), "?sort=turns");
    }
}
