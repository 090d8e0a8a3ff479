//! Claims about code and errors.

use crate::metrics::{Estimate, Share};

use super::super::groups::difference;
use super::super::tables::counted_errors;
use super::{Claim, Evidence, Labels, on_methods, pairs};

pub(super) const CLOSEST: Claim = Claim {
    text: "Students trained without reasoning match the reference exactly (EM) more often than \
           students trained with reasoning",
    section: "5.3.1",
    needs: "students trained with and without reasoning on one dataset, in one mode",
    test: |set| {
        let pairs = pairs(
            &on_methods(set),
            |labels| labels.reasoning.is_some() && !labels.hybrid,
            |labels| Labels { reasoning: None, short: false, ..labels.clone() },
        );
        let evidence = pairs.iter().filter_map(|(with, without)| {
            let exact = |attempt: &super::super::run_metrics::Attempt| {
                100.0 * f64::from(attempt.recorded_exact)
            };
            let what = format!("{} vs. {}", without.labels.shown(), with.labels.shown());
            Some(Evidence::new(what, difference(without, with, exact)?, "points"))
        });
        evidence.collect()
    },
};

pub(super) const ASSERTIONS: Claim = Claim {
    text: "Most unsolved tasks end with an AssertionError",
    section: "5.4",
    needs: "runs with unsolved tasks",
    test: |set| {
        let evidence = on_methods(set).into_iter().filter_map(|group| {
            let counted = counted_errors(group);
            let of: usize = counted.iter().map(|(_, _, last)| last).sum();
            let named = counted.iter().find(|(error, ..)| *error == "AssertionError");
            let share = Share::new(named.map_or(0, |(_, _, last)| *last), of);
            let above = |percent: Option<f64>| Some(percent? - 50.0);
            let figure = Estimate {
                value: above(share.percent)?,
                low: above(share.low)?,
                high: above(share.high)?,
                of,
            };
            let what = format!("{}: share of unsolved, above 50 %", group.labels.shown());
            Some(Evidence::new(what, figure, "points"))
        });
        evidence.collect()
    },
};
