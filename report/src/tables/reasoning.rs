//! Students trained with reasoning, without, or on both (paper: table 5.3).

use super::super::cells;
use super::super::groups::{Group, RunSet};
use super::super::labels::{Labels, Method, Mode};
use super::{Entry, Filled, INTERVALS, header, methods};

pub(super) const ENTRY: Entry = Entry {
    name: "reasoning",
    number: Some("5.3"),
    title: "Students trained on reasoning: solved by the last turn, %",
    needs: "runs of students trained on reasoning (reasoning=TEACHER)",
    fill,
};

fn fill(set: &RunSet<'_>) -> Filled {
    let students: Vec<&Group<'_>> =
        methods(set).into_iter().filter(|group| !group.labels.is_base()).collect();
    if students.iter().all(|group| group.labels.reasoning.is_none()) {
        return Filled::default();
    }
    // The order of the paper: without reasoning (only the best), with reasoning, hybrid.
    let best = students
        .iter()
        .filter(|group| group.labels.reasoning.is_none())
        .max_by(|a, b| percent(a).total_cmp(&percent(b)))
        .map(|group| without_mode(&group.labels));
    let mut lines: Vec<Labels> = Vec::new();
    lines.extend(best);
    for hybrid in [false, true] {
        for group in
            students.iter().filter(|g| g.labels.reasoning.is_some() && g.labels.hybrid == hybrid)
        {
            let line = without_mode(&group.labels);
            if !lines.contains(&line) {
                lines.push(line);
            }
        }
    }
    let rows = lines.iter().map(|line| {
        let cell = |mode| {
            let labels = Labels { mode: Some(mode), ..line.clone() };
            let there = students.iter().find(|group| group.labels.any_epoch() == labels);
            cells::rate(&there.and_then(|group| group.rate(None)))
        };
        let kind = match (&line.reasoning, line.hybrid) {
            (None, _) => "no reasoning (best)",
            (Some(_), false) => "reasoning",
            (Some(_), true) => "hybrid",
        };
        let rank = match (line.method, line.rank) {
            (Some(Method::Full), _) => "full".into(),
            (_, Some(rank)) => rank.to_string(),
            _ => cells::NONE.into(),
        };
        let training = Labels { rank: None, ..line.clone() }.training();
        let name = format!("{} {training}", line.model_name());
        vec![kind.into(), name, rank, cell(Mode::Think), cell(Mode::Nothink)]
    });
    let columns = ["Data", "Training", "Rank", "Think", "No-think"];
    let mut notes = vec![INTERVALS.to_string()];
    notes.extend(set.how_chosen());
    Filled { header: header(&columns), rows: rows.collect(), notes }
}

fn percent(group: &Group<'_>) -> f64 {
    group.rate(None).map_or(-1.0, |rate| rate.percent)
}

fn without_mode(labels: &Labels) -> Labels {
    Labels { mode: None, ..labels.any_epoch() }
}
