//! Counter-based random numbers: a number depends on its key, never on the state of a
//! generator. A recomputed layer therefore gets the same dropout, and a resumed training
//! draws the same numbers as one without interruption.

use candle_core::{DType, Device, Result, Tensor};
use rayon::prelude::*;

/// SplitMix64 (Steele et al. 2014).
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}

/// Combines several values into one key.
pub(crate) fn key(parts: &[u64]) -> u64 {
    parts.iter().fold(0, |key, part| mix(key ^ mix(*part)))
}

/// The random number at index `at`, at least 0 and below 1.
pub(crate) fn unit(key: u64, at: u64) -> f64 {
    (mix(key ^ mix(at)) >> 11) as f64 / (1_u64 << 53) as f64
}

/// Shuffles. The order depends only on the key.
pub(crate) fn shuffle<T>(things: &mut [T], key: u64) {
    for last in (1..things.len()).rev() {
        let other = (unit(key, last as u64) * (last + 1) as f64) as usize;
        things.swap(last, other);
    }
}

/// The dropout of an adapter's inputs in a micro-batch.
pub(crate) struct Dropout {
    /// The dropout probability.
    pub(crate) rate: f64,
    /// The key and the number of tokens of each row in the micro-batch.
    pub(crate) rows: Vec<(u64, usize)>,
}

impl Dropout {
    /// No dropout.
    pub(crate) fn none() -> Dropout {
        Dropout { rate: 0.0, rows: Vec::new() }
    }

    /// Sets elements of `x` to zero at random and scales the others up to compensate.
    pub(crate) fn apply(&self, x: &Tensor, site: u64) -> Result<Tensor> {
        if self.rate == 0.0 {
            return Ok(x.clone());
        }
        x * self.mask(x.dim(1)?, site, x.device())?.to_dtype(x.dtype())?
    }

    /// A mask of tokens × width with values 0 or 1 / (1 - rate). It depends only on the row
    /// and the position in it, not on the other rows of the micro-batch.
    fn mask(&self, width: usize, site: u64, device: &Device) -> Result<Tensor> {
        let tokens: usize = self.rows.iter().map(|row| row.1).sum();
        if !device.is_cpu() {
            let first = self.rows.first().map_or(0, |row| row.0);
            device.set_seed(key(&[first, site]))?;
            let chance = Tensor::rand(0_f32, 1_f32, (tokens, width), device)?;
            return chance.ge(self.rate)?.to_dtype(DType::F32)? / (1.0 - self.rate);
        }
        let mut mask = vec![0.0_f32; tokens * width];
        let starts = self.rows.iter().flat_map(|(row, length)| {
            (0..*length as u64).map(move |token| key(&[*row, site, token]))
        });
        let starts: Vec<u64> = starts.collect();
        mask.par_chunks_mut(width).zip(starts).with_min_len(16).for_each(|(mask, start)| {
            self.fill(mask, start);
        });
        Tensor::from_vec(mask, (tokens, width), device)
    }

    /// Takes four 16-bit numbers from each draw.
    fn fill(&self, mask: &mut [f32], start: u64) {
        let least = (self.rate * 65_536.0).round() as u64;
        let kept = (1.0 / (1.0 - self.rate)) as f32;
        for (at, four) in mask.chunks_mut(4).enumerate() {
            let drawn = mix(start.wrapping_add(at as u64));
            for (lane, one) in four.iter_mut().enumerate() {
                *one = if (drawn >> (16 * lane)) & 0xFFFF >= least { kept } else { 0.0 };
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dropout(rows: &[(u64, usize)]) -> Vec<Vec<f32>> {
        let dropout = Dropout { rate: 0.05, rows: rows.to_vec() };
        dropout.mask(40, 3, &Device::Cpu).unwrap().to_vec2().unwrap()
    }

    #[test]
    fn a_row_is_masked_the_same_in_any_company() {
        let together = dropout(&[(1, 30), (2, 50)]);
        assert_eq!(together[..30], dropout(&[(1, 30)]));
        assert_eq!(together[30..], dropout(&[(2, 50)]));
        assert_ne!(together[30..60], dropout(&[(1, 30)]));
    }

    #[test]
    fn a_share_is_left_out_and_the_mean_stays() {
        let mask: Vec<f32> = dropout(&[(9, 2000)]).concat();
        let out = mask.iter().filter(|one| **one == 0.0).count() as f64 / mask.len() as f64;
        assert!((out - 0.05).abs() < 0.002, "{out}");
        let mean = mask.iter().sum::<f32>() / mask.len() as f32;
        assert!((mean - 1.0).abs() < 0.003, "{mean}");
    }

    #[test]
    fn an_order_is_one_of_all_and_depends_on_the_key() {
        let order = |key| {
            let mut order: Vec<_> = (0..50).collect();
            shuffle(&mut order, key);
            order
        };
        assert_eq!(order(1), order(1));
        assert_ne!(order(1), order(2));
        let mut sorted = order(1);
        sorted.sort_unstable();
        assert_eq!(sorted, (0..50).collect::<Vec<_>>());
    }
}
