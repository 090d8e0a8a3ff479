//! Lengths of texts.

use serde::Serialize;

/// Texts with a length of at least `from` and below `to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Bin {
    /// The smallest length.
    pub(crate) from: u64,
    /// The first length above the bin.
    pub(crate) to: u64,
    /// The number of texts.
    pub(crate) count: usize,
}

/// Maximum number of bins in a histogram.
const BINS: u64 = 24;

/// Bins of equal, round width: 1, 2 or 5 times a power of ten.
pub(crate) fn histogram(lengths: &[u64]) -> Vec<Bin> {
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
}
