//! Gain from training by model (paper: table 5.7).

use super::super::cells;
use super::super::groups::{RunSet, gain};
use super::super::labels::{Labels, Mode};
use super::{Entry, Filled, INTERVALS, header, methods};

pub(super) const ENTRY: Entry = Entry {
    name: "families",
    number: Some("5.7"),
    title: "Gain from training by model: solved by the last turn, %",
    needs: "runs of a base model and of its student in the same mode",
    fill,
};

fn fill(set: &RunSet<'_>) -> Filled {
    let groups = methods(set);
    let mut lines: Vec<Labels> = Vec::new();
    for group in groups.iter().filter(|group| !group.labels.is_base()) {
        let line = Labels { mode: None, ..group.labels.any_epoch() };
        let has_base = set.find(&group.labels.base(), group).is_some();
        if has_base && !lines.contains(&line) {
            lines.push(line);
        }
    }
    let rows = lines.iter().map(|line| {
        let mut row = vec![line.model_name().to_string(), line.training()];
        for mode in [Mode::Think, Mode::Nothink] {
            let labels = Labels { mode: Some(mode), ..line.clone() };
            let trained = groups.iter().find(|group| group.labels.any_epoch() == labels);
            let base = trained.and_then(|trained| set.find(&labels.base(), trained));
            let gain = trained.zip(base).and_then(|(trained, base)| gain(trained, base));
            row.push(cells::rate(&base.and_then(|group| group.rate(None))));
            row.push(cells::rate(&trained.and_then(|group| group.rate(None))));
            row.push(cells::gain(&gain));
        }
        row
    });
    let columns = [
        "Model",
        "Training",
        "Think: base",
        "Think: trained",
        "Think: gain",
        "No-think: base",
        "No-think: trained",
        "No-think: gain",
    ];
    let mut notes = vec![
        "Gains are computed over the tasks that both models attempted.".into(),
        INTERVALS.into(),
    ];
    notes.extend(set.how_chosen());
    Filled { header: header(&columns), rows: rows.collect(), notes }
}
