//! Datasets by training method and mode (paper: table 5.2).

use super::super::cells;
use super::super::groups::{Group, RunSet, gain};
use super::super::labels::{Labels, Method, Mode};
use super::{Entry, Filled, INTERVALS, header, methods};

pub(super) const ENTRY: Entry = Entry {
    name: "datasets",
    number: Some("5.2"),
    title: "Datasets and training methods: solved by the last turn, %, and gain over the base model in points",
    needs: "runs of students trained without reasoning (method=lora or method=full, dataset=…)",
    fill,
};

/// The rank to show if there are several.
const RANK: u32 = 32;

fn fill(set: &RunSet<'_>) -> Filled {
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
    let columns = [
        "Model",
        "Dataset (rows)",
        "LoRA, think",
        "LoRA, no-think",
        "Full, think",
        "Full, no-think",
    ];
    let mut notes = vec![
        format!(
            "LoRA: rank {RANK}, or the nearest rank. Gains are computed over the tasks that both models attempted."
        ),
        INTERVALS.into(),
    ];
    notes.extend(set.how_chosen());
    Filled { header: header(&columns), rows: rows.collect(), notes }
}
