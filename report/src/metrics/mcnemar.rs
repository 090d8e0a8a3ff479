//! McNemar's test: whether one of two runs over the same items solves more than chance
//! explains.

use serde::Serialize;

/// Pairs of outcomes, and the probability of a difference at least as large by chance.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct McNemar {
    /// Both runs solved the item.
    pub(crate) both: usize,
    /// Only the first run solved it.
    pub(crate) only_first: usize,
    /// Only the second run solved it.
    pub(crate) only_second: usize,
    /// Neither run solved it.
    pub(crate) neither: usize,
    /// The two-sided exact p-value: a binomial test of the pairs that differ.
    pub(crate) p: f64,
}

impl McNemar {
    /// Counts pairs (first, second).
    pub(crate) fn of(pairs: impl IntoIterator<Item = (bool, bool)>) -> Self {
        let mut counts = [0; 4];
        for (first, second) in pairs {
            counts[usize::from(!first) * 2 + usize::from(!second)] += 1;
        }
        let [both, only_first, only_second, neither] = counts;
        McNemar { both, only_first, only_second, neither, p: exact(only_first, only_second) }
    }

    /// The number of pairs.
    pub(crate) fn pairs(&self) -> usize {
        self.both + self.only_first + self.only_second + self.neither
    }
}

/// Twice the probability of at most min(b, c) heads in `b + c` coin tosses.
fn exact(b: usize, c: usize) -> f64 {
    let (fewer, n) = (b.min(c), b + c);
    if b == c {
        return 1.0;
    }
    // ln C(n, k), factor by factor.
    let mut choose = 0.0;
    let half = 0.5f64.ln() * n as f64;
    let mut below = half.exp();
    for k in 1..=fewer {
        choose += ((n - k + 1) as f64 / k as f64).ln();
        below += (choose + half).exp();
    }
    (2.0 * below).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_counted() {
        let pairs = [(true, true), (true, false), (false, true), (true, false), (false, false)];
        let found = McNemar::of(pairs);
        assert_eq!((found.both, found.only_first), (1, 2));
        assert_eq!((found.only_second, found.neither, found.pairs()), (1, 1, 5));
        assert_eq!(found.p, 1.0);
    }

    #[test]
    fn it_is_scipys_binomial_test() {
        for (b, c, p) in super::super::goldens::goldens().mcnemar {
            assert!((exact(b, c) - p).abs() < 1e-9, "{b} {c}: {} is not {p}", exact(b, c));
        }
    }
}
