//! Mean, standard deviation and quantiles.

use serde::Serialize;

/// Mean and sample standard deviation.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Spread {
    /// The mean.
    pub(crate) mean: f64,
    /// The standard deviation, with n − 1 in the denominator.
    pub(crate) sigma: f64,
    /// The number of values.
    pub(crate) of: usize,
}

/// The mean; `None` without values.
pub(crate) fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// `None` if there are fewer than two values.
pub(crate) fn spread(values: &[f64]) -> Option<Spread> {
    let mean = mean(values)?;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    let of = values.len();
    (of > 1).then(|| Spread { mean, sigma: (squares / (of - 1) as f64).sqrt(), of })
}

/// The smallest value that is not exceeded by at least this share of the values.
pub(crate) fn quantile(sorted: &[f64], part: f64) -> Option<f64> {
    let rank = (part * sorted.len() as f64).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spreads_and_quantiles() {
        assert_eq!(spread(&[2.0, 4.0]), Some(Spread { mean: 3.0, sigma: 2f64.sqrt(), of: 2 }));
        assert_eq!(spread(&[2.0]), None);
        assert_eq!((mean(&[2.0, 4.0]), mean(&[])), (Some(3.0), None));
        let values = [1.0, 2.0, 3.0, 4.0];
        assert_eq!(quantile(&values, 0.5), Some(2.0));
        assert_eq!(quantile(&values, 0.95), Some(4.0));
        assert_eq!(quantile(&values[..1], 0.5), Some(1.0));
        assert_eq!(quantile(&[], 0.5), None);
    }
}
