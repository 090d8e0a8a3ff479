//! How long texts are.

use serde::Serialize;

use super::spread::{mean, quantile};

/// Lengths of many texts in one unit.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Lengths {
    /// Texts measured: the denominator.
    pub count: usize,
    /// The mean.
    pub mean: Option<f64>,
    /// Half are at most this long.
    pub median: Option<f64>,
    /// The longest.
    pub max: Option<f64>,
    /// How many are how long.
    pub histogram: Vec<Bin>,
}

/// Texts of a length from `from` to below `to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Bin {
    /// The shortest.
    pub from: u64,
    /// What is too long.
    pub to: u64,
    /// How many.
    pub count: usize,
}

impl Lengths {
    /// Of these lengths.
    pub fn of(lengths: &[u64]) -> Self {
        let mut sorted: Vec<f64> = lengths.iter().map(|&length| length as f64).collect();
        sorted.sort_by(f64::total_cmp);
        Lengths {
            count: lengths.len(),
            mean: mean(&sorted),
            median: quantile(&sorted, 0.5),
            max: sorted.last().copied(),
            histogram: histogram(lengths),
        }
    }
}

/// Words: runs without white space.
pub fn words(text: &str) -> u64 {
    text.split_whitespace().count() as u64
}

/// Characters: Unicode scalar values, white space around the text aside.
pub fn characters(text: &str) -> u64 {
    text.trim().chars().count() as u64
}

/// Bins in a histogram at most.
const BINS: u64 = 24;

/// Bins of one width, a round number: 1, 2 or 5 times a power of ten.
pub fn histogram(lengths: &[u64]) -> Vec<Bin> {
    let Some(&max) = lengths.iter().max() else { return Vec::new() };
    let width = (0..)
        .flat_map(|power| [1, 2, 5].map(|digit| digit * 10u64.pow(power)))
        .find(|width| max / width < BINS)
        .unwrap_or(max);
    let mut bins: Vec<Bin> = (0..=max / width)
        .map(|at| Bin { from: at * width, to: (at + 1) * width, count: 0 })
        .collect();
    for length in lengths {
        bins[(length / width) as usize].count += 1;
    }
    bins
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_is_in_one_bin() {
        let lengths = [0, 99, 100, 2399, 2400, 5];
        let bins = histogram(&lengths);
        assert_eq!(bins[0], Bin { from: 0, to: 200, count: 4 });
        assert_eq!(bins.len(), 13);
        assert_eq!(bins.iter().map(|bin| bin.count).sum::<usize>(), lengths.len());
        assert_eq!(histogram(&[0]), [Bin { from: 0, to: 1, count: 1 }]);
        assert!(histogram(&[]).is_empty());
        assert_eq!(histogram(&[u64::MAX / 20]).iter().map(|bin| bin.count).sum::<usize>(), 1);
    }

    #[test]
    fn lengths_are_counted() {
        assert_eq!((words(" a  b\nc "), characters(" añ b\n")), (3, 4));
        let lengths = Lengths::of(&[1, 3, 8]);
        assert_eq!((lengths.count, lengths.mean, lengths.max), (3, Some(4.0), Some(8.0)));
        assert_eq!(lengths.median, Some(3.0));
        assert_eq!(Lengths::of(&[]), Lengths::default());
    }
}
