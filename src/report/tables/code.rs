//! Table 5.5: methods beside those that their authors wrote.

use fixfly_benchmarks::metrics::{Compared, Estimate, Share, bootstrap, mean_interval};

use super::super::cells;
use super::super::groups::{Group, SEED, Set};
use super::super::truth::Judged;
use super::{Entry, Filled, header, methods};

pub(super) const ENTRY: Entry = Entry {
    name: "5.5",
    title: "last methods beside the original ones",
    needs: "runs with methods",
    fill,
};

fn fill(set: &Set<'_>) -> Filled {
    let groups = methods(set);
    let rows = groups.iter().filter(|g| g.attempts().any(|a| a.method.is_some())).map(|group| {
        let judged: Vec<&Judged> = group.attempts().filter_map(|a| a.judged.as_ref()).collect();
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
        "model",
        "CodeBLEU package, corpus",
        "mean",
        "CodeBLEU codexglue, corpus",
        "mean",
        "of",
        "EM text, % of episodes",
        "EM code, % of episodes",
        "EM code, % of solved",
    ];
    let mut notes = vec![
        "The last method of each episode; where none was offered it counts as no match, and is not \
         in CodeBLEU."
            .into(),
        "EM text: equal but for white space at line ends and blank lines around; EM code: docstring, \
         comments, blank lines and decorators set aside too."
            .into(),
        "In brackets: 95 % intervals, bootstrap over methods (corpus and mean), Wilson's (EM).".into(),
    ];
    notes.extend(set.no_truth.iter().map(|why| format!("Original methods are not there: {why}")));
    Filled { header: header(&columns), rows: rows.collect(), notes }
}

/// Over the corpus, and the mean of each.
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
        group.attempts().map(|attempt| attempt.judged.as_ref().is_some_and(is)),
    ))
}
