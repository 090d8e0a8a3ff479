//! Dropout of an adapter's inputs. On a CPU the mask is never a tensor: it is drawn again
//! wherever it is needed, in the pass that applies it.

use candle_core::{DType, Device, Result, Tensor};

use super::cpu;
use crate::chance::{key, mix};
use crate::in_place::{add, is_f32_on_cpu, wide, zip};

/// Elements that a CPU masks together.
const BLOCK: usize = 32;

/// The dropout of an adapter's inputs in a micro-batch.
pub(crate) struct Dropout {
    /// The dropout probability.
    pub(crate) rate: f64,
    /// The key and the number of tokens of each row in the micro-batch.
    pub(crate) rows: Vec<(u64, usize)>,
}

/// What a random number makes of an element.
#[derive(Clone, Copy)]
struct Rule {
    /// Numbers of 16 bits that are less set it to zero.
    least: u32,
    /// The factor of the others.
    kept: f32,
}

impl Rule {
    /// The factors of 32 elements from four 16-bit numbers of each draw.
    #[inline(always)]
    fn factors(self, start: u64, block: usize) -> [f32; BLOCK] {
        let mut drawn = [0_u64; BLOCK / 4];
        for (at, drawn) in drawn.iter_mut().enumerate() {
            *drawn = mix(start.wrapping_add((block * (BLOCK / 4) + at) as u64));
        }
        let mut lanes = [0_u16; BLOCK];
        for (four, drawn) in lanes.as_chunks_mut::<4>().0.iter_mut().zip(drawn) {
            *four =
                [drawn as u16, (drawn >> 16) as u16, (drawn >> 32) as u16, (drawn >> 48) as u16];
        }
        let mut factors = [0.0; BLOCK];
        for (factor, lane) in factors.iter_mut().zip(lanes) {
            *factor = if u32::from(lane) >= self.least { self.kept } else { 0.0 };
        }
        factors
    }

    /// Calls `run` for each element of `made` and of `x`, with its factor.
    #[inline(always)]
    fn each(self, start: u64, made: &mut [f32], x: &[f32], run: impl Fn(&mut f32, f32, f32)) {
        let (blocks, rest) = made.as_chunks_mut::<BLOCK>();
        let (x_blocks, x_rest) = x.as_chunks::<BLOCK>();
        for (at, (made, x)) in blocks.iter_mut().zip(x_blocks).enumerate() {
            let factors = self.factors(start, at);
            for ((made, x), factor) in made.iter_mut().zip(x).zip(&factors) {
                run(made, *x, *factor);
            }
        }
        if !rest.is_empty() {
            let factors = self.factors(start, x_blocks.len());
            for ((made, x), factor) in rest.iter_mut().zip(x_rest).zip(&factors) {
                run(made, *x, *factor);
            }
        }
    }
}

impl Dropout {
    /// No dropout.
    pub(crate) fn none() -> Dropout {
        Dropout { rate: 0.0, rows: Vec::new() }
    }

    fn rule(&self) -> Rule {
        let least = (self.rate * 65_536.0).round() as u32;
        Rule { least, kept: (1.0 / (1.0 - self.rate)) as f32 }
    }

    /// The keys of all tokens.
    fn starts(&self, site: u64) -> Vec<u64> {
        let rows = self.rows.iter();
        rows.flat_map(|(row, length)| {
            (0..*length as u64).map(move |token| key(&[*row, site, token]))
        })
        .collect()
    }

    /// Whether the kernels can process `x`, which has a row of elements for each token.
    fn is_fast(&self, x: &Tensor) -> bool {
        let tokens: usize = self.rows.iter().map(|row| row.1).sum();
        is_f32_on_cpu(x) && x.elem_count() > 0 && x.dims().first() == Some(&tokens)
    }

    /// Sets elements of `x`, tokens × width, to zero at random and scales the others up to
    /// compensate.
    pub(crate) fn apply(&self, x: &Tensor, site: u64) -> Result<Tensor> {
        if self.rate == 0.0 {
            return Ok(x.clone());
        }
        if !self.is_fast(x) {
            return x * self.mask(x.dim(1)?, site, x.device())?.to_dtype(x.dtype())?;
        }
        let (width, starts, rule) = (x.dim(1)?, self.starts(site), self.rule());
        let run = |first: usize, [x]: [&[f32]; 1], made: &mut [f32]| {
            let rows = made.chunks_mut(width).zip(x.chunks(width));
            for ((made, x), start) in rows.zip(&starts[first / width..]) {
                wide(|| rule.each(*start, made, x, |made, x, factor| *made = x * factor));
            }
        };
        cpu::mapped([x], run, cpu::whole_rows(width))
    }

    /// `sum` plus what [`apply`](Dropout::apply) makes of `x`, in the memory of `sum`.
    pub(crate) fn add(&self, sum: Tensor, x: &Tensor, site: u64) -> Result<Tensor> {
        let is_fast = self.is_fast(x) && is_f32_on_cpu(&sum) && sum.is_contiguous();
        if self.rate == 0.0 || !is_fast || sum.shape() != x.shape() {
            return add(sum, &self.apply(x, site)?);
        }
        let (width, starts, rule) = (x.dim(1)?, self.starts(site), self.rule());
        zip(&sum, x, cpu::whole_rows(width), |first, sum, x| {
            let rows = sum.chunks_mut(width).zip(x.chunks(width));
            for ((sum, x), start) in rows.zip(&starts[first / width..]) {
                wide(|| rule.each(*start, sum, x, |sum, x, factor| *sum += x * factor));
            }
        })?;
        Ok(sum)
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
        let (mut mask, rule) = (Vec::with_capacity(tokens * width), self.rule());
        for start in self.starts(site) {
            mask.extend((0..width).map(|at| {
                let drawn = mix(start.wrapping_add(at as u64 / 4)) >> (16 * (at % 4));
                if (drawn & 0xFFFF) as u32 >= rule.least { rule.kept } else { 0.0 }
            }));
        }
        Tensor::from_vec(mask, (tokens, width), device)
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::random;
    use super::*;

    fn dropout(rows: &[(u64, usize)]) -> Dropout {
        Dropout { rate: 0.05, rows: rows.to_vec() }
    }

    fn masked(rows: &[(u64, usize)]) -> Vec<Vec<f32>> {
        let tokens = rows.iter().map(|row| row.1).sum::<usize>();
        let ones = Tensor::ones((tokens, 40), DType::F32, &Device::Cpu).unwrap();
        dropout(rows).apply(&ones, 3).unwrap().to_vec2().unwrap()
    }

    #[test]
    fn a_row_is_masked_the_same_in_any_company() {
        let together = masked(&[(1, 30), (2, 50)]);
        assert_eq!(together[..30], masked(&[(1, 30)]));
        assert_eq!(together[30..], masked(&[(2, 50)]));
        assert_ne!(together[30..60], masked(&[(1, 30)]));
    }

    #[test]
    fn a_share_is_left_out_and_the_mean_stays() {
        let mask: Vec<f32> = masked(&[(9, 2000)]).concat();
        let out = mask.iter().filter(|one| **one == 0.0).count() as f64 / mask.len() as f64;
        assert!((out - 0.05).abs() < 0.002, "{out}");
        let mean = mask.iter().sum::<f32>() / mask.len() as f32;
        assert!((mean - 1.0).abs() < 0.003, "{mean}");
    }

    #[test]
    fn one_pass_gives_the_same_bits_as_a_mask() {
        let bits = |tensor: &Tensor| -> Vec<u32> {
            let elements: Vec<f32> = tensor.flatten_all().unwrap().to_vec1().unwrap();
            elements.into_iter().map(f32::to_bits).collect()
        };
        for (width, rows) in
            [(1, &[(1, 5)][..]), (31, &[(1, 3), (2, 4)]), (64, &[(7, 9)]), (100, &[(3, 300)])]
        {
            let tokens = rows.iter().map(|row| row.1).sum::<usize>();
            for rate in [0.05, 0.5, 0.99999] {
                let dropout = Dropout { rate, rows: rows.to_vec() };
                let (x, sum) = (random(&[tokens, width], 1), random(&[tokens, width], 2));
                let mask = dropout.mask(width, 5, x.device()).unwrap();
                let expected = (&x * mask).unwrap();
                assert_eq!(bits(&dropout.apply(&x, 5).unwrap()), bits(&expected), "{width} {rate}");
                let added = dropout.add(sum.copy().unwrap(), &x, 5).unwrap();
                assert_eq!(bits(&added), bits(&(&sum + expected).unwrap()), "{width} {rate}");
            }
        }
    }
}
