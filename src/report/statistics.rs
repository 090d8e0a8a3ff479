//! Counts, and how far to trust them.

use serde::Serialize;

/// Some of some, with the 95 % Wilson interval of the proportion. There is no
/// proportion of nothing.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Share {
    /// How many.
    pub(crate) count: usize,
    /// Of how many.
    pub(crate) of: usize,
    pub(crate) percent: Option<f64>,
    pub(crate) low: Option<f64>,
    pub(crate) high: Option<f64>,
}

impl Share {
    pub(crate) fn new(count: usize, of: usize) -> Self {
        let interval = (of > 0).then(|| wilson(count as f64, of as f64));
        Share {
            count,
            of,
            percent: (of > 0).then(|| 100.0 * count as f64 / of as f64),
            low: interval.map(|(low, _)| 100.0 * low),
            high: interval.map(|(_, high)| 100.0 * high),
        }
    }
}

/// 97.5 % quantile of the normal distribution.
const Z: f64 = 1.959_963_984_540_054;

fn wilson(count: f64, of: f64) -> (f64, f64) {
    let p = count / of;
    let shrink = 1.0 + Z * Z / of;
    let centre = (p + Z * Z / (2.0 * of)) / shrink;
    let reach = Z / shrink * (p * (1.0 - p) / of + Z * Z / (4.0 * of * of)).sqrt();
    ((centre - reach).max(0.0), (centre + reach).min(1.0))
}

/// The chance that one of `k` of `n` samples is among the `correct` ones:
/// 1 − C(n−c, k) / C(n, k), after Chen et al., 2021.
pub(crate) fn pass_at(k: usize, n: usize, correct: usize) -> f64 {
    if n - correct < k {
        return 1.0;
    }
    1.0 - (n - correct + 1..=n).map(|i| 1.0 - k as f64 / i as f64).product::<f64>()
}

/// Mean, and standard deviation as of a sample of a larger population.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Spread {
    pub(crate) mean: f64,
    pub(crate) sigma: f64,
}

/// None where there are fewer than two values: one has no spread.
pub(crate) fn spread(values: &[f64]) -> Option<Spread> {
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (values.len() > 1).then(|| Spread { mean, sigma: (squares / (n - 1.0)).sqrt() })
}

/// The smallest value that at least this part of the values does not exceed.
pub(crate) fn quantile(sorted: &[f64], part: f64) -> Option<f64> {
    let rank = (part * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_share(count: usize, of: usize, expected: &str) {
        let Share { percent: Some(percent), low: Some(low), high: Some(high), .. } =
            Share::new(count, of)
        else {
            panic!("there is a share")
        };
        assert_eq!(format!("{percent:.1} {low:.1} {high:.1}"), expected);
    }

    #[test]
    fn intervals_are_wilsons() {
        // R: prop.test(x, n, correct = FALSE)$conf.int
        check_share(304, 397, "76.6 72.2 80.5");
        check_share(0, 10, "0.0 0.0 27.8");
        check_share(10, 10, "100.0 72.2 100.0");
        check_share(1, 2, "50.0 9.5 90.5");
        assert_eq!(Share::new(0, 0).percent, None);
    }

    #[test]
    fn pass_at_k_is_the_chance_over_all_choices() {
        assert_eq!(pass_at(4, 5, 2), 1.0);
        assert_eq!(pass_at(5, 5, 0), 0.0);
        assert_eq!(pass_at(1, 1, 1), 1.0);
        for n in 1..8 {
            for correct in 0..=n {
                for k in 1..=n {
                    let chosen = |mask: &u32| mask.count_ones() as usize == k;
                    let choices: Vec<u32> = (0..1 << n).filter(chosen).collect();
                    let good = choices.iter().filter(|m| *m & ((1 << correct) - 1) != 0).count();
                    let exact = good as f64 / choices.len() as f64;
                    assert!((pass_at(k, n, correct) - exact).abs() < 1e-12, "{k} {n} {correct}");
                }
            }
        }
    }

    #[test]
    fn spreads_and_quantiles() {
        assert_eq!(spread(&[2.0, 4.0]).map(|s| (s.mean, s.sigma)), Some((3.0, 2f64.sqrt())));
        assert_eq!(spread(&[2.0]), None);
        let values = [1.0, 2.0, 3.0, 4.0];
        assert_eq!(quantile(&values, 0.5), Some(2.0));
        assert_eq!(quantile(&values, 0.95), Some(4.0));
        assert_eq!(quantile(&values[..1], 0.5), Some(1.0));
        assert_eq!(quantile(&[], 0.5), None);
    }
}
