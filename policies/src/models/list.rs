//! The models by name, as a table.

use super::catalogue::Model;
use super::show::{bytes, count};

const HEADER: [&str; 9] = [
    "name",
    "architecture",
    "parameters",
    "quantisation",
    "size",
    "context",
    "licence",
    "sources",
    "fetched",
];

/// A table of models; a second line of each describes it.
pub fn list(models: &[Model]) -> String {
    let rows: Vec<Vec<String>> =
        std::iter::once(HEADER.map(String::from).to_vec()).chain(models.iter().map(row)).collect();
    let columns = 0..HEADER.len();
    let cells = |at: usize| rows.iter().filter_map(move |row| row.get(at));
    let widths: Vec<usize> =
        columns.map(|at| cells(at).map(|cell| cell.chars().count()).max().unwrap_or(0)).collect();
    let line = |row: &Vec<String>| {
        let padded = row.iter().zip(&widths).map(|(cell, &width)| format!("{cell:width$}"));
        padded.collect::<Vec<_>>().join("  ").trim_end().to_string() + "\n"
    };
    let (header, rest) = rows.split_at(1);
    let mut text: String = header.iter().map(line).collect();
    for (row, model) in rest.iter().zip(models) {
        text += &line(row);
        text += &format!("  {}; chat template {}\n", model.about, model.template);
    }
    text
}

fn row(model: &Model) -> Vec<String> {
    let sources = [("hub", model.hub.is_some()), ("pypi", !model.pypi.is_empty())];
    let sources = sources.iter().filter(|(_, is_there)| *is_there).map(|(name, _)| *name);
    vec![
        model.name.clone(),
        model.architecture.clone(),
        count(model.parameters),
        model.quantisation.clone(),
        bytes(model.size),
        model.context.to_string(),
        model.licence.clone(),
        sources.collect::<Vec<_>>().join(", "),
        if model.is_fetched() { "yes" } else { "no" }.into(),
    ]
}
