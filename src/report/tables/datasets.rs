//! Table 5.2: datasets by method of training and mode.

use super::super::cells;
use super::super::groups::{Group, Set, gain};
use super::super::labels::{Labels, Method, Mode};
use super::{Entry, Filled, INTERVALS, header, methods};

pub(super) const ENTRY: Entry = Entry {
    name: "5.2",
    title: "datasets and methods: solved by the last turn, %, and points more than the base model",
    needs: "runs of students trained without reasoning (method=lora or full, dataset=…)",
    fill,
};

/// The rank that stands in the table where there are several.
const RANK: u32 = 32;

fn fill(set: &Set<'_>) -> Filled {
    let students: Vec<&Group<'_>> = methods(set)
        .into_iter()
        .filter(|g| {
            !g.labels.is_base() && g.labels.dataset.is_some() && g.labels.reasoning.is_none()
        })
        .collect();
    let mut lines: Vec<(&str, Option<u64>, &str)> = students
        .iter()
        .map(|g| {
            (g.labels.model_name(), g.labels.rows, g.labels.dataset.as_deref().unwrap_or_default())
        })
        .collect();
    lines.sort_unstable();
    lines.dedup();
    let cell = |line: &(&str, Option<u64>, &str), method, mode| {
        let of_line = |labels: &Labels| {
            (labels.model_name(), labels.rows, labels.dataset.as_deref().unwrap_or_default())
                == *line
                && (labels.method, labels.mode) == (Some(method), Some(mode))
        };
        let mut there: Vec<_> = students.iter().filter(|group| of_line(&group.labels)).collect();
        there.sort_by_key(|group| group.labels.rank.map_or(0, |rank| rank.abs_diff(RANK)));
        there.first().map_or(cells::NONE.into(), |group| {
            let base = set.find(&group.labels.base(), group);
            let gain = base.and_then(|base| gain(group, base));
            format!("{}; {}", cells::rate(&group.rate(None)), cells::gain(&gain))
        })
    };
    let rows = lines.iter().map(|line| {
        let size = line.1.map_or(String::new(), |rows| format!(" ({rows})"));
        let mut row = vec![line.0.to_string(), format!("{}{size}", line.2)];
        for method in [Method::Lora, Method::Full] {
            row.extend([Mode::Think, Mode::Nothink].map(|mode| cell(line, method, mode)));
        }
        row
    });
    let columns =
        ["model", "dataset (rows)", "LoRA think", "LoRA no-think", "full think", "full no-think"];
    let mut notes = vec![
        format!(
            "LoRA of rank {RANK}, or the one nearest to it; gains are over the tasks that both tried."
        ),
        INTERVALS.into(),
    ];
    notes.extend(set.how_chosen());
    Filled { header: header(&columns), rows: rows.collect(), notes }
}
