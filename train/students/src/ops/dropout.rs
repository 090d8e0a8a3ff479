//! Dropout of an adapter's inputs. On a CPU, neither the mask nor what it leaves of the inputs
//! is ever a whole tensor: both are made again wherever a product needs them, a part that stays
//! in a thread's cache at a time.

use candle_core::{CpuStorage, DType, Device, InplaceOp3, Layout, Result, Tensor};
use gemm::Parallelism;
use rayon::prelude::*;

use crate::chance::{key, mix};
use crate::in_place::{
    Shape, View, add, add_product, elements, elements_mut, is_f32_on_cpu, multiply, wide,
    with_elements,
};

/// Elements that are masked together.
const BLOCK: usize = 32;
/// Elements of dropped inputs that a thread makes at once: 256 kB.
const TILE: usize = 1 << 16;
/// Columns of a gradient that a thread computes together: whole blocks.
const STRIP: usize = 3 * BLOCK;
/// Tokens whose inputs a strip drops at once.
const TOKENS: usize = 512;

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

    /// Calls `run` for each element of a token's `made` and `x`, with its factor.
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

    fn drop(self, start: u64, made: &mut [f32], x: &[f32]) {
        wide(|| self.each(start, made, x, |made, x, factor| *made = x * factor));
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
        is_f32_on_cpu(x) && x.elem_count() > 0 && x.rank() == 2 && x.dims()[0] == tokens
    }

    /// `drop(x) Aᵀ`, tokens × rank, where `drop` sets elements to zero at random and scales the
    /// others up to compensate.
    pub(crate) fn product(&self, x: &Tensor, a: &Tensor, site: u64) -> Result<Tensor> {
        if self.rate == 0.0 || !self.is_fast(x) || !is_f32_on_cpu(a) {
            return self.apply(x, site)?.matmul(&a.t()?);
        }
        let ((tokens, width), rank) = (x.dims2()?, a.dim(0)?);
        let (starts, rule, rows) = (self.starts(site), self.rule(), rows(width));
        let made = with_elements([x, &a.t()?], |[x, a]| {
            let mut made = vec![0.0_f32; tokens * rank];
            let parts = made.par_chunks_mut(rows * rank).zip(x.par_chunks(rows * width));
            let parts = parts.zip(starts.par_chunks(rows));
            parts.try_for_each_init(Vec::new, |dropped, ((made, x), starts)| {
                dropped.resize(x.len(), 0.0);
                let each = dropped.chunks_mut(width).zip(x.chunks(width)).zip(starts);
                each.for_each(|((dropped, x), start)| rule.drop(*start, dropped, x));
                let dropped = View::rows(dropped, starts.len(), width, width);
                let to = (made, Shape::rows(starts.len(), rank, rank));
                let a = View::rows(a, width, rank, rank);
                multiply(to, false, 1.0, dropped, a, Parallelism::None)
            })?;
            Ok(made)
        })?;
        Tensor::from_vec(made, (tokens, rank), x.device())
    }

    /// `dthinᵀ drop(x)`, rank × width: the gradient of A.
    pub(crate) fn gradient(&self, dthin: &Tensor, x: &Tensor, site: u64) -> Result<Tensor> {
        if self.rate == 0.0 || !self.is_fast(x) || !is_f32_on_cpu(dthin) {
            return dthin.t()?.matmul(&self.apply(x, site)?);
        }
        let ((_, width), rank) = (x.dims2()?, dthin.dim(1)?);
        let (starts, rule) = (self.starts(site), self.rule());
        let strips = (0..width.div_ceil(STRIP)).into_par_iter();
        let made = with_elements([dthin, x], |[dthin, x]| {
            let strips = strips.map(|strip| {
                let from = strip * STRIP;
                let columns = STRIP.min(width - from);
                let mut made = vec![0.0_f32; rank * columns];
                let mut dropped = vec![0.0_f32; TOKENS.min(starts.len()) * columns];
                for (at, starts) in starts.chunks(TOKENS).enumerate() {
                    let (first, count) = (at * TOKENS, starts.len());
                    let tokens = dropped.chunks_mut(columns).zip(starts).enumerate();
                    tokens.for_each(|(token, (dropped, start))| {
                        let x = &x[(first + token) * width + from..][..columns];
                        rule.drop(start.wrapping_add(from as u64 / 4), dropped, x);
                    });
                    let dthin = View::rows(&dthin[first * rank..], count, rank, rank);
                    let dropped = View::rows(&dropped, count, columns, columns);
                    let to = (&mut made[..], Shape::rows(rank, columns, columns));
                    multiply(to, true, 1.0, dthin.t(), dropped, Parallelism::None)?;
                }
                Ok(made)
            });
            let strips: Vec<Vec<f32>> = strips.collect::<Result<_>>()?;
            let rows = (0..rank).flat_map(|row| {
                strips.iter().flat_map(move |strip| strip.chunks(strip.len() / rank).nth(row))
            });
            Ok(rows.flatten().copied().collect::<Vec<f32>>())
        })?;
        Tensor::from_vec(made, (rank, width), x.device())
    }

    /// `sum + mask · (dthin A)`, in the memory of `sum`: the gradient of the inputs.
    pub(crate) fn add_back(
        &self,
        sum: Tensor,
        dthin: &Tensor,
        a: &Tensor,
        site: u64,
    ) -> Result<Tensor> {
        if self.rate == 0.0 {
            return add_product(sum, 1.0, dthin, a);
        }
        let is_fast = self.is_fast(&sum) && sum.is_contiguous();
        if !is_fast || !is_f32_on_cpu(dthin) || !is_f32_on_cpu(a) {
            return add(sum, &self.apply(&dthin.matmul(a)?, site)?);
        }
        let op = AddBack { starts: self.starts(site), rule: self.rule() };
        sum.inplace_op3(&dthin.contiguous()?, &a.contiguous()?, &op)?;
        Ok(sum)
    }

    /// What dropout leaves of `x`, tokens × width.
    fn apply(&self, x: &Tensor, site: u64) -> Result<Tensor> {
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
        let (mut mask, ones, rule) = (vec![0.0; tokens * width], vec![1.0; width], self.rule());
        let each = mask.par_chunks_mut(width).zip(self.starts(site)).with_min_len(16);
        each.for_each(|(mask, start)| rule.drop(start, mask, &ones));
        Tensor::from_vec(mask, (tokens, width), device)
    }
}

/// Rows of inputs that a thread drops at once.
fn rows(width: usize) -> usize {
    (TILE / width / 16 * 16).max(16)
}

/// See [`Dropout::add_back`].
struct AddBack {
    starts: Vec<u64>,
    rule: Rule,
}

impl InplaceOp3 for AddBack {
    fn name(&self) -> &'static str {
        "add-back"
    }

    fn cpu_fwd(
        &self,
        sum: &mut CpuStorage,
        sum_layout: &Layout,
        dthin: &CpuStorage,
        dthin_layout: &Layout,
        a: &CpuStorage,
        a_layout: &Layout,
    ) -> Result<()> {
        let (rank, width) = a_layout.shape().dims2()?;
        let (dthin, a) = (elements(dthin, dthin_layout)?, elements(a, a_layout)?);
        let rows = rows(width);
        let parts = elements_mut(sum, sum_layout)?.par_chunks_mut(rows * width);
        let parts = parts.zip(dthin.par_chunks(rows * rank)).zip(self.starts.par_chunks(rows));
        parts.try_for_each_init(Vec::new, |product, ((sum, dthin), starts)| {
            product.resize(starts.len() * width, 0.0);
            let shape = Shape::rows(starts.len(), width, width);
            let dthin = View::rows(dthin, starts.len(), rank, rank);
            let a = View::rows(a, rank, width, width);
            multiply((&mut product[..], shape), false, 1.0, dthin, a, Parallelism::None)?;
            let each = sum.chunks_mut(width).zip(product.chunks(width)).zip(starts);
            each.for_each(|((sum, product), start)| {
                let add = |sum: &mut f32, product: f32, factor: f32| *sum += product * factor;
                wide(|| self.rule.each(*start, sum, product, add));
            });
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{check_close, random};
    use super::*;

    fn mask(rows: &[(u64, usize)]) -> Vec<Vec<f32>> {
        let dropout = Dropout { rate: 0.05, rows: rows.to_vec() };
        dropout.mask(40, 3, &Device::Cpu).unwrap().to_vec2().unwrap()
    }

    #[test]
    fn a_row_is_masked_the_same_in_any_company() {
        let together = mask(&[(1, 30), (2, 50)]);
        assert_eq!(together[..30], mask(&[(1, 30)]));
        assert_eq!(together[30..], mask(&[(2, 50)]));
        assert_ne!(together[30..60], mask(&[(1, 30)]));
    }

    #[test]
    fn a_share_is_left_out_and_the_mean_stays() {
        let mask: Vec<f32> = mask(&[(9, 2000)]).concat();
        let out = mask.iter().filter(|one| **one == 0.0).count() as f64 / mask.len() as f64;
        assert!((out - 0.05).abs() < 0.002, "{out}");
        let mean = mask.iter().sum::<f32>() / mask.len() as f32;
        assert!((mean - 1.0).abs() < 0.003, "{mean}");
    }

    /// The factor of an element, one at a time.
    fn factor(dropout: &Dropout, row: u64, token: u64, at: u64) -> f32 {
        let drawn = mix(key(&[row, 5, token]).wrapping_add(at / 4)) >> (16 * (at % 4));
        match (drawn & 0xFFFF) as f64 >= (dropout.rate * 65_536.0).round() {
            true => (1.0 / (1.0 - dropout.rate)) as f32,
            false => 0.0,
        }
    }

    #[test]
    fn many_draws_at_once_are_those_of_one_at_a_time() {
        for width in [1, 31, 32, 100] {
            for rate in [0.05, 0.5, 0.99999] {
                let dropout = Dropout { rate, rows: vec![(7, 3), (8, 9)] };
                let x = random(&[12, width], 1);
                let tokens = (0..3).map(|token| (7, token)).chain((0..9).map(|token| (8, token)));
                let x_rows = x.to_vec2::<f32>().unwrap();
                let expected: Vec<Vec<u32>> = (tokens.zip(&x_rows))
                    .map(|((row, token), x)| {
                        let each = (0..).zip(x);
                        each.map(|(at, x)| (x * factor(&dropout, row, token, at)).to_bits())
                            .collect()
                    })
                    .collect();
                let made = dropout.apply(&x, 5).unwrap().to_vec2::<f32>().unwrap();
                let bits = |row: Vec<f32>| row.into_iter().map(f32::to_bits).collect();
                let made: Vec<Vec<u32>> = made.into_iter().map(bits).collect();
                assert_eq!(made, expected, "{width} {rate}");
            }
        }
    }

    #[test]
    fn products_of_parts_are_those_of_whole_tensors() {
        for (width, rank, rows) in [
            (1, 1, &[(1, 5)][..]),
            (31, 4, &[(1, 3), (2, 4)]),
            (200, 8, &[(7, 40), (8, 600)]),
            (5000, 3, &[(3, 20)]),
        ] {
            let tokens = rows.iter().map(|row| row.1).sum::<usize>();
            for rate in [0.0, 0.05, 0.5] {
                let dropout = Dropout { rate, rows: rows.to_vec() };
                let (x, a) = (random(&[tokens, width], 1), random(&[rank, width], 2));
                let (dthin, sum) = (random(&[tokens, rank], 3), random(&[tokens, width], 4));
                let dropped = dropout.apply(&x, 5).unwrap();
                let product = dropout.product(&x, &a, 5).unwrap();
                check_close(&product, &dropped.matmul(&a.t().unwrap()).unwrap(), 3e-6);
                let gradient = dropout.gradient(&dthin, &x, 5).unwrap();
                check_close(&gradient, &dthin.t().unwrap().matmul(&dropped).unwrap(), 3e-6);
                let back = dropout.apply(&dthin.matmul(&a).unwrap(), 5).unwrap();
                let expected = (&sum + back).unwrap();
                let added = dropout.add_back(sum.copy().unwrap(), &dthin, &a, 5).unwrap();
                check_close(&added, &expected, 3e-6);
            }
        }
    }
}
