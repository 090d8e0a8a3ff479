//! Similarity of submitted methods to the reference methods (paper: table 5.5).

use crate::metrics::{Compared, Estimate, Share, bootstrap, mean_interval};

use super::super::cells;
use super::super::groups::{Group, RunSet, SEED};
use super::super::truth::Judged;
use super::{Entry, Filled, header, methods};

pub(super) const ENTRY: Entry = Entry {
    name: "code-scores",
    number: Some("5.5"),
    title: "CodeBLEU and exact match with the reference methods",
    needs: "runs of a method benchmark",
    fill,
};

fn fill(set: &RunSet<'_>) -> Filled {
    let groups = methods(set);
    let rows = groups.iter().filter(|g| g.attempts().any(|a| a.has_method)).map(|group| {
        let judged: Vec<&Judged> = group.attempts().filter_map(|a| a.judged.as_deref()).collect();
        let [package, codexglue] = [0, 1].map(|variant| codebleu(&judged, variant));
        let solved = group.attempts().filter(|attempt| attempt.solved_at.is_some());
        let [text, code] = match judged.is_empty() {
            true => [cells::NONE.to_string(), cells::NONE.to_string()],
            false => [exact(group, |j| j.same_text), exact(group, |j| j.same_code)],
        };
        vec![
            group.labels.shown(),
            package.0,
            package.1,
            codexglue.0,
            codexglue.1,
            format!("{} methods", judged.len()),
            text,
            code,
            cells::share(&Share::of(solved.map(|attempt| attempt.recorded_exact))),
        ]
    });
    let columns = [
        "Model",
        "CodeBLEU package, corpus",
        "CodeBLEU package, mean",
        "CodeBLEU codexglue, corpus",
        "CodeBLEU codexglue, mean",
        "n",
        "EM text, % of episodes",
        "EM code, % of episodes",
        "EM code, % of solved",
    ];
    let mut notes = vec![
        "Scores are of the last method of each episode. An episode without a method counts as no \
         match and is excluded from CodeBLEU."
            .into(),
        "EM: exact match. EM text ignores trailing white space and surrounding blank lines. EM code \
         also ignores the docstring, comments, blank lines and decorators."
            .into(),
        "Parentheses: 95 % intervals (CodeBLEU: bootstrap over methods, EM: Wilson).".into(),
    ];
    notes
        .extend(set.no_truth.iter().map(|why| format!("Cannot read the reference methods: {why}")));
    Filled { header: header(&columns), rows: rows.collect(), notes }
}

/// The corpus score, and the mean score of the methods.
fn codebleu(judged: &[&Judged], variant: usize) -> (String, String) {
    let compared: Vec<&Compared> = judged.iter().map(|judged| &judged.compared[variant]).collect();
    let corpus: Option<Estimate> = bootstrap(compared.len(), SEED, |drawn| {
        Some(Compared::sum(drawn.iter().map(|&at| compared[at]))?.score().score)
    });
    let each: Vec<f64> = compared.iter().map(|compared| compared.score().score).collect();
    (cells::score(&corpus), cells::score(&mean_interval(&each, SEED)))
}

fn exact(group: &Group<'_>, is: fn(&Judged) -> bool) -> String {
    cells::share(&Share::of(
        group.attempts().map(|attempt| attempt.judged.as_deref().is_some_and(is)),
    ))
}
