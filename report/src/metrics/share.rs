//! Proportions with confidence intervals.

use fixfly_runtime::wilson;
use serde::Serialize;

/// A count out of a total, with the 95 % Wilson interval of the proportion. The proportion
/// of an empty total is `None`.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Share {
    /// The count.
    pub(crate) count: usize,
    /// The total.
    pub(crate) of: usize,
    /// The proportion, 0 to 100.
    pub(crate) percent: Option<f64>,
    /// Lower end of the interval, 0 to 100.
    pub(crate) low: Option<f64>,
    /// Upper end of the interval, 0 to 100.
    pub(crate) high: Option<f64>,
}

impl Share {
    /// `count` of `of`.
    pub(crate) fn new(count: usize, of: usize) -> Self {
        let interval = wilson(count, of);
        Share {
            count,
            of,
            percent: (of > 0).then(|| 100.0 * count as f64 / of as f64),
            low: interval.map(|(low, _)| 100.0 * low),
            high: interval.map(|(_, high)| 100.0 * high),
        }
    }

    /// Counts the values that are true.
    pub(crate) fn of(all: impl IntoIterator<Item = bool>) -> Self {
        let (count, of) = all.into_iter().fold((0, 0), |(n, of), is| (n + usize::from(is), of + 1));
        Share::new(count, of)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use super::*;

    #[track_caller]
    fn check(count: usize, of: usize, expected: &str) {
        let share = Share::new(count, of);
        let (percent, low, high) =
            (share.percent.unwrap(), share.low.unwrap(), share.high.unwrap());
        assert_eq!(format!("{percent:.1} {low:.1} {high:.1}"), expected);
    }

    #[test]
    fn intervals_are_wilsons() {
        // R: prop.test(x, n, correct = FALSE)$conf.int
        check(304, 397, "76.6 72.2 80.5");
        check(0, 10, "0.0 0.0 27.8");
        check(10, 10, "100.0 72.2 100.0");
        check(1, 2, "50.0 9.5 90.5");
        assert_eq!(Share::new(0, 0).percent, None);
        assert_eq!(Share::of([true, false, true]), Share::new(2, 3));
    }
}
