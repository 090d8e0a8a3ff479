//! Similarity of students' reasoning and code to that of base models (paper:
//! table 5.4).

use std::collections::HashMap;

use crate::metrics::{
    Compared, Estimate, Variant, jaccard_characters, jaccard_words, mean_interval, rouge_l,
};

use super::super::cells;
use super::super::groups::{Group, RunSet, SEED};
use super::super::run_metrics::Attempt;
use super::{Entry, Filled, header, methods};

pub(super) const ENTRY: Entry = Entry {
    name: "similarity",
    number: Some("5.4"),
    title: "Similarity of reasoning and code to the base models",
    needs: "runs of at least two models that reason, one of them a base model (method=base)",
    fill,
};

/// Maximum number of base models to compare with, so that the table stays readable.
const REFERENCES: usize = 3;

fn fill(set: &RunSet<'_>) -> Filled {
    let groups: Vec<&Group<'_>> =
        methods(set).into_iter().filter(|group| has_reasoning(group)).collect();
    let bases: Vec<&&Group<'_>> = groups.iter().filter(|group| group.labels.is_base()).collect();
    let references = &bases[..bases.len().min(REFERENCES)];
    let mut columns = header(&["Model"]);
    for reference in references {
        let name = reference.labels.model_name();
        let figures = ["ROUGE-L", "Jaccard, words", "Jaccard, characters", "CodeBLEU", "n"];
        columns.extend(figures.map(|figure| format!("vs {name}: {figure}")));
    }
    let rows = groups.iter().map(|group| {
        let mut row = vec![group.labels.shown()];
        for reference in references {
            row.extend(compared(group, reference));
        }
        row
    });
    let rows: Vec<_> =
        if references.is_empty() || groups.len() < 2 { Vec::new() } else { rows.collect() };
    let mut notes = vec![
        "Scores compare the first repeats of two models on the same task. ROUGE-L and Jaccard \
         compare the reasoning of the first turn, where both models read the same prompt. CodeBLEU \
         (package variant, corpus score) compares the last methods; the base model is the reference."
            .into(),
        "ROUGE-L: F1 over lower-case words, not stemmed. Jaccard: 4-grams. Parentheses: 95 % \
         intervals, bootstrap over tasks.".into(),
    ];
    if bases.len() > REFERENCES {
        notes.push(format!(
            "Not shown: comparisons with {} more base models.",
            bases.len() - REFERENCES
        ));
    }
    Filled { header: columns, rows, notes }
}

fn has_reasoning(group: &Group<'_>) -> bool {
    group.attempts().any(|attempt| attempt.reasons)
}

fn compared(group: &Group<'_>, reference: &Group<'_>) -> [String; 5] {
    if std::ptr::eq(group, reference) {
        return std::array::from_fn(|_| cells::NONE.to_string());
    }
    let theirs: HashMap<&str, &Attempt> =
        reference.repeats[0].iter().map(|attempt| (&*attempt.task, *attempt)).collect();
    let pairs: Vec<(&Attempt, &Attempt)> =
        group.repeats[0].iter().filter_map(|a| Some((*theirs.get(&*a.task)?, *a))).collect();
    let traces: Vec<(&str, &str)> = pairs
        .iter()
        .filter_map(|(one, other)| {
            Some((one.first_reasoning.as_deref()?, other.first_reasoning.as_deref()?))
        })
        .collect();
    let mean = |figure: &dyn Fn(&str, &str) -> f64| -> Option<Estimate> {
        let values: Vec<f64> = traces.iter().map(|(one, other)| figure(one, other)).collect();
        mean_interval(&values, SEED)
    };
    let codes: Vec<Compared> = pairs
        .iter()
        .filter_map(|(one, other)| {
            let (reference, candidate) = (one.method.as_deref()?, other.method.as_deref()?);
            Some(Compared::of(Variant::Package, reference, candidate))
        })
        .collect();
    let codebleu = Compared::sum(&codes).map(|sum| sum.score().score);
    [
        cells::score(&mean(&|one, other| rouge_l(one, other).f1)),
        cells::score(&mean(&jaccard_words)),
        cells::score(&mean(&jaccard_characters)),
        codebleu.map_or(cells::NONE.into(), |score| format!("{score:.3}")),
        format!("{} traces, {} methods", traces.len(), codes.len()),
    ]
}
