//! Confidence intervals by resampling.

use serde::Serialize;

use super::spread::quantile;

/// A value and its 95 % interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Estimate {
    /// The value over all items.
    pub(crate) value: f64,
    /// 2.5 % of the resamples are below.
    pub(crate) low: f64,
    /// 2.5 % of the resamples are above.
    pub(crate) high: f64,
    /// Number of resampled items.
    pub(crate) of: usize,
}

/// Resamples per interval.
const RESAMPLES: usize = 2000;

/// The percentile interval of a figure over `items` items, resampled with replacement
/// (Efron, 1979). The figure gets the drawn indices; resamples for which it is undefined
/// are skipped. For paired data, the figure uses the same indices on both sides. The same
/// seed gives the same interval.
pub(crate) fn bootstrap(
    items: usize,
    seed: u64,
    figure: impl Fn(&[usize]) -> Option<f64>,
) -> Option<Estimate> {
    let all: Vec<usize> = (0..items).collect();
    let value = figure(&all).filter(|_| items > 0)?;
    let mut random = SplitMix(seed);
    let mut drawn = vec![0; items];
    let mut values: Vec<f64> = (0..RESAMPLES)
        .filter_map(|_| {
            drawn.fill_with(|| random.below(items));
            figure(&drawn)
        })
        .collect();
    values.sort_by(f64::total_cmp);
    Some(Estimate {
        value,
        low: quantile(&values, 0.025)?,
        high: quantile(&values, 0.975)?,
        of: items,
    })
}

/// The percentile interval of a mean.
pub(crate) fn mean_interval(values: &[f64], seed: u64) -> Option<Estimate> {
    bootstrap(values.len(), seed, |drawn| {
        Some(drawn.iter().map(|&at| values[at]).sum::<f64>() / drawn.len() as f64)
    })
}

/// Steele et al., 2014. Small, and the same numbers on every machine.
struct SplitMix(u64);

impl SplitMix {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, uniform except for a bias of bound / 2⁶⁴.
    fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.next()) * bound as u128) >> 64) as usize
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_published_numbers() {
        // The reference implementation's first outputs for seed 1234567.
        let mut random = SplitMix(1_234_567);
        let expected =
            [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423];
        assert_eq!([random.next(), random.next(), random.next()], expected);
    }

    #[test]
    fn an_interval_of_a_mean_is_near_the_normal_one() {
        let values: Vec<f64> = (0..400).map(|n| f64::from(n % 4 == 0)).collect();
        let found = mean_interval(&values, 0).unwrap();
        // 0.25 ± 1.96 · sqrt(0.25 · 0.75 / 400)
        assert_eq!((found.value, found.of), (0.25, 400));
        assert!(
            (found.low - 0.2076).abs() < 0.01 && (found.high - 0.2924).abs() < 0.01,
            "{found:?}"
        );
        assert_eq!(mean_interval(&values, 0), Some(found));
        assert_ne!(mean_interval(&values, 1), Some(found));
    }

    #[test]
    fn nothing_has_no_interval() {
        assert_eq!(mean_interval(&[], 0), None);
        assert_eq!(bootstrap(3, 0, |_| None), None);
    }
}
