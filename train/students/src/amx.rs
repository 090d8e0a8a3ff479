//! Products of f32 matrices in the tile registers of x86-64 processors (AMX): factors are
//! rounded to bf16, sums are f32. PyTorch calls this a float32 matmul precision of `medium`.
//!
//! The crate `gemm` has no such product. Instructions: Intel's *Architecture Instruction Set
//! Extensions Programming Reference*, chapter 3.

use std::mem::MaybeUninit;

use candle_core::{CpuStorage, CustomOp2, InplaceOp3, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

use crate::in_place::{View, elements_mut, wide};

/// Rows and columns of a block of the product: two tiles each way.
const BLOCK: usize = 32;
/// Terms of a sum that one instruction adds.
const STEP: usize = 32;
/// bf16 values of a block's factor in one step.
const FACTOR: usize = BLOCK * STEP;
/// Pairs of them.
const PAIRS: usize = FACTOR / 2;
/// Blocks down and across that a thread computes at once, so that their factors stay in its
/// cache.
const GROUP: (usize, usize) = (4, 16);

/// Whether this processor and its kernel offer tiles of bf16.
pub(crate) fn is_available() -> bool {
    tiles::are_available()
}

/// `a b`, added to `sum` in its memory if there is one. All are f32 on the CPU, and
/// [`is_available`] is true.
pub(crate) fn product(sum: Option<Tensor>, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let a = &a.contiguous()?;
    let Some(sum) = sum else { return a.apply_op2_no_bwd(b, &Product) };
    let sum = sum.contiguous()?;
    sum.inplace_op3(a, b, &AddProduct)?;
    Ok(sum)
}

struct Product;

impl CustomOp2 for Product {
    fn name(&self) -> &'static str {
        "product-of-tiles"
    }

    fn cpu_fwd(
        &self,
        a: &CpuStorage,
        a_layout: &Layout,
        b: &CpuStorage,
        b_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let factors = (View::new(a, a_layout)?, View::new(b, b_layout)?);
        let sizes = (factors.0.shape.rows, factors.1.shape.columns);
        let mut product = Vec::with_capacity(sizes.0 * sizes.1);
        let place = &mut product.spare_capacity_mut()[..sizes.0 * sizes.1];
        multiply(place, write, factors, tiles::block, tiles::Config::new)?;
        // SAFETY: `multiply` has written all of them.
        unsafe { product.set_len(sizes.0 * sizes.1) };
        Ok((CpuStorage::F32(product), sizes.into()))
    }
}

struct AddProduct;

impl InplaceOp3 for AddProduct {
    fn name(&self) -> &'static str {
        "add-product-of-tiles"
    }

    fn cpu_fwd(
        &self,
        sum: &mut CpuStorage,
        sum_layout: &Layout,
        a: &CpuStorage,
        a_layout: &Layout,
        b: &CpuStorage,
        b_layout: &Layout,
    ) -> Result<()> {
        let factors = (View::new(a, a_layout)?, View::new(b, b_layout)?);
        let sum = elements_mut(sum, sum_layout)?;
        multiply(sum, add, factors, tiles::block, tiles::Config::new)
    }
}

type Factors<'a> = (View<'a>, View<'a>);

/// Computes a block from so many steps of its factors, row by row.
type Block = fn(&[u16], &[u32], &mut [f32; BLOCK * BLOCK]);

/// Writes a row of a block where the product has it.
type Write<T> = fn(&mut [T], &[f32]);

fn write(place: &mut [MaybeUninit<f32>], made: &[f32]) {
    place.write_copy_of_slice(made);
}

fn add(place: &mut [f32], made: &[f32]) {
    place.iter_mut().zip(made).for_each(|(place, made)| *place += made);
}

/// Writes `a b` to `product`. `config` is held by a thread while it calls `block`.
fn multiply<T: Send, C>(
    product: &mut [T],
    write: Write<T>,
    (a, b): Factors<'_>,
    block: Block,
    config: impl Fn() -> C + Sync,
) -> Result<()> {
    let (rows, columns) = (a.shape.rows, b.shape.columns);
    if rows == 0 || a.shape.columns == 0 || columns == 0 {
        bail!("{:?} times {:?} is a product of nothing", a.shape, b.shape);
    }
    if product.len() != rows * columns || a.shape.columns != b.shape.rows {
        bail!("{:?} times {:?} has not {} elements", a.shape, b.shape, product.len());
    }
    let steps = a.shape.columns.div_ceil(STEP);
    let (a, b) = (packed_rows(a, steps)?, packed_columns(b, steps)?);
    let target = Target { first: product.as_mut_ptr(), columns };
    let across = columns.div_ceil(BLOCK * GROUP.1);
    let groups = rows.div_ceil(BLOCK * GROUP.0) * across;
    (0..groups).into_par_iter().for_each(|group| {
        let _config = config();
        let (down, right) = (group / across * GROUP.0, group % across * GROUP.1);
        let mut product = Aligned([0.0; BLOCK * BLOCK]);
        for (right, b) in b.chunks(steps * PAIRS).enumerate().skip(right).take(GROUP.1) {
            for (down, a) in a.chunks(steps * FACTOR).enumerate().skip(down).take(GROUP.0) {
                block(a, b, &mut product.0);
                let (from, left) = (down * BLOCK, right * BLOCK);
                let width = BLOCK.min(columns - left);
                for (row, made) in (from..rows).zip(product.0.chunks(BLOCK)) {
                    // SAFETY: no two groups have a block in common, and the rectangle of a
                    // block is inside the product.
                    write(unsafe { target.part(row, left, width) }, &made[..width]);
                }
            }
        }
    });
    Ok(())
}

/// A product that several threads write, each other parts of it.
struct Target<T> {
    first: *mut T,
    columns: usize,
}

// SAFETY: threads write parts that do not overlap.
unsafe impl<T: Send> Sync for Target<T> {}

impl<T> Target<T> {
    /// # Safety
    /// These elements exist, and nothing else refers to them.
    #[expect(clippy::mut_from_ref, reason = "the parts do not overlap")]
    unsafe fn part(&self, row: usize, left: usize, width: usize) -> &mut [T] {
        // SAFETY: the caller's.
        unsafe { std::slice::from_raw_parts_mut(self.first.add(row * self.columns + left), width) }
    }
}

#[repr(align(64))]
struct Aligned<T>(T);

/// Rounded to the nearest bf16, to the even one of two.
#[inline(always)]
fn bf16(value: f32) -> u16 {
    let bits = value.to_bits();
    let rounded = (bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16) as u16;
    if value.is_nan() { 0x7fc0 } else { rounded }
}

/// The left factor: for each block of rows and each step, rows of 32 terms.
fn packed_rows(a: View<'_>, steps: usize) -> Result<Vec<u16>> {
    let (rows, terms) = (a.shape.rows, a.shape.columns);
    if a.shape.strides.1 != 1 || a.elements.len() < (rows - 1) * a.shape.strides.0 + terms {
        bail!("the kernel needs rows without gaps, not {:?}", a.shape);
    }
    let mut packed = vec![0; rows.div_ceil(BLOCK) * steps * FACTOR];
    packed.par_chunks_mut(steps * FACTOR).enumerate().for_each(|(at, packed)| {
        wide(|| {
            for (row, at) in (at * BLOCK..rows).zip(0..BLOCK) {
                let row = &a.elements[row * a.shape.strides.0..][..terms];
                for (terms, packed) in row.chunks(STEP).zip(packed.chunks_mut(FACTOR)) {
                    for (packed, term) in packed[at * STEP..].iter_mut().zip(terms) {
                        *packed = bf16(*term);
                    }
                }
            }
        });
    });
    Ok(packed)
}

/// The right factor: for each block of columns and each step, two tiles of 16 columns, whose
/// elements are pairs of consecutive terms of a column.
fn packed_columns(b: View<'_>, steps: usize) -> Result<Vec<u32>> {
    let (terms, columns) = (b.shape.rows, b.shape.columns);
    let (down, across) = b.shape.strides;
    if b.elements.len() <= (terms - 1) * down + (columns - 1) * across {
        bail!("{:?} is not inside its tensor", b.shape);
    }
    let mut packed = vec![0; columns.div_ceil(BLOCK) * steps * PAIRS];
    packed.par_chunks_mut(steps * PAIRS).enumerate().for_each(|(at, packed)| {
        let left = at * BLOCK;
        let width = BLOCK.min(columns - left);
        wide(|| {
            for (step, packed) in packed.chunks_mut(PAIRS).enumerate() {
                let from = step * STEP;
                let sizes = (STEP.min(terms - from), width);
                let first = &b.elements[from * down + left * across..];
                match (down, across) {
                    (_, 1) => pack_rows(first, down, sizes, packed),
                    (1, _) => pack_columns(first, across, sizes, packed),
                    _ => pack_each(first, (down, across), sizes, packed),
                }
            }
        });
    });
    Ok(packed)
}

/// Where a step has a pair of terms of a column.
fn place(pair: usize, column: usize) -> usize {
    column / 16 * (PAIRS / 2) + pair * 16 + column % 16
}

#[inline(always)]
fn pair(one: f32, other: f32) -> u32 {
    u32::from(bf16(other)) << 16 | u32::from(bf16(one))
}

/// Elements of a row are neighbours.
#[inline(always)]
fn pack_rows(first: &[f32], down: usize, sizes: (usize, usize), packed: &mut [u32]) {
    if sizes != (STEP, BLOCK) {
        return pack_each(first, (down, 1), sizes, packed);
    }
    let (halves, _) = packed.as_chunks_mut::<{ PAIRS / 2 }>();
    for (half, pairs) in halves.iter_mut().enumerate() {
        let (pairs, _) = pairs.as_chunks_mut::<16>();
        for (at, pairs) in pairs.iter_mut().enumerate() {
            let row = |term: usize| &first[term * down + half * 16..][..16];
            for ((packed, one), other) in pairs.iter_mut().zip(row(2 * at)).zip(row(2 * at + 1)) {
                *packed = pair(*one, *other);
            }
        }
    }
}

/// Elements of a column are neighbours.
#[inline(always)]
fn pack_columns(first: &[f32], across: usize, sizes: (usize, usize), packed: &mut [u32]) {
    if sizes != (STEP, BLOCK) {
        return pack_each(first, (1, across), sizes, packed);
    }
    for column in 0..BLOCK {
        let (terms, _) = first[column * across..][..STEP].as_chunks::<2>();
        let mut pairs = [0; STEP / 2];
        for (packed, [one, other]) in pairs.iter_mut().zip(terms) {
            *packed = pair(*one, *other);
        }
        for (at, pair) in pairs.into_iter().enumerate() {
            packed[place(at, column)] = pair;
        }
    }
}

fn pack_each(
    first: &[f32],
    (down, across): (usize, usize),
    sizes: (usize, usize),
    packed: &mut [u32],
) {
    for column in 0..sizes.1 {
        for at in 0..sizes.0.div_ceil(2) {
            let term =
                |term| if term < sizes.0 { first[term * down + column * across] } else { 0.0 };
            packed[place(at, column)] = pair(term(2 * at), term(2 * at + 1));
        }
    }
}

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
mod tiles {
    use std::arch::asm;
    use std::arch::x86_64::{__cpuid, __cpuid_count};
    use std::marker::PhantomData;
    use std::sync::LazyLock;

    use super::{Aligned, BLOCK, FACTOR, PAIRS};

    /// Whether Linux lets this process use tiles; asked once.
    pub(super) fn are_available() -> bool {
        static ANSWER: LazyLock<bool> = LazyLock::new(|| {
            let (tiles, bf16) = (1 << 24, 1 << 22);
            if __cpuid(0).eax < 7 || !__cpuid_count(7, 0).edx & (tiles | bf16) != 0 {
                return false;
            }
            let (arch_prctl, request_permission, tile_data) = (158_i64, 0x1023_i64, 18_i64);
            let answer: i64;
            // SAFETY: the call changes only what the kernel saves of registers.
            unsafe {
                asm!(
                    "syscall",
                    inlateout("rax") arch_prctl => answer,
                    in("rdi") request_permission,
                    in("rsi") tile_data,
                    out("rcx") _,
                    out("r11") _,
                    options(nostack),
                );
            }
            answer == 0
        });
        *ANSWER
    }

    /// All eight tiles of this thread have 16 rows of 64 bytes.
    pub(super) struct Config {
        /// It stays in its thread.
        of_thread: PhantomData<*const ()>,
    }

    impl Config {
        pub(super) fn new() -> Config {
            let mut bytes = Aligned([0_u8; 64]);
            bytes.0[0] = 1;
            for tile in 0..8 {
                bytes.0[16 + 2 * tile] = 64;
                bytes.0[48 + tile] = 16;
            }
            // SAFETY: the products of this module are the only code that uses tiles, and
            // `are_available` was asked.
            unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const bytes, options(nostack)) };
            Config { of_thread: PhantomData }
        }
    }

    impl Drop for Config {
        fn drop(&mut self) {
            let PhantomData = self.of_thread;
            // SAFETY: as in `new`.
            unsafe { asm!("tilerelease", options(nostack)) };
        }
    }

    /// Tiles 0 to 3 are the product; 4 and 5 rows of `a`, 6 and 7 columns of `b`.
    pub(super) fn block(a: &[u16], b: &[u32], product: &mut [f32; BLOCK * BLOCK]) {
        let steps = (a.len() / FACTOR).min(b.len() / PAIRS);
        if steps == 0 {
            return product.fill(0.0);
        }
        // SAFETY: each step reads 2,048 bytes of both factors, which they have, and the end
        // writes 4,096 bytes of the product. The tiles have a `Config`.
        unsafe {
            asm!(
                "tilezero tmm0",
                "tilezero tmm1",
                "tilezero tmm2",
                "tilezero tmm3",
                "2:",
                "tileloadd tmm4, [{a} + {row}*1]",
                "tileloadd tmm6, [{b} + {row}*1]",
                "tileloadd tmm7, [{b} + {row}*1 + 1024]",
                "tdpbf16ps tmm0, tmm4, tmm6",
                "tileloadd tmm5, [{a} + {row}*1 + 1024]",
                "tdpbf16ps tmm1, tmm4, tmm7",
                "tdpbf16ps tmm2, tmm5, tmm6",
                "tdpbf16ps tmm3, tmm5, tmm7",
                "add {a}, 2048",
                "add {b}, 2048",
                "dec {steps}",
                "jnz 2b",
                "tilestored [{product} + {line}*1], tmm0",
                "tilestored [{product} + {line}*1 + 64], tmm1",
                "tilestored [{product} + {line}*1 + 2048], tmm2",
                "tilestored [{product} + {line}*1 + 2112], tmm3",
                a = inout(reg) a.as_ptr() => _,
                b = inout(reg) b.as_ptr() => _,
                steps = inout(reg) steps => _,
                row = in(reg) 64_usize,
                line = in(reg) 128_usize,
                product = in(reg) product.as_mut_ptr(),
                out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                options(nostack),
            );
        }
    }
}

#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
mod tiles {
    use super::BLOCK;

    pub(super) fn are_available() -> bool {
        false
    }

    pub(super) struct Config;

    impl Config {
        pub(super) fn new() -> Config {
            Config
        }
    }

    /// Never called: [`are_available`] is false.
    pub(super) fn block(_: &[u16], _: &[u32], product: &mut [f32; BLOCK * BLOCK]) {
        product.fill(f32::NAN);
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};

    use super::*;
    use crate::in_place::with_elements;
    use crate::ops::tests::{check_close, random};

    /// What tiles compute, from the same packed factors.
    fn in_loops(a: &[u16], b: &[u32], product: &mut [f32; BLOCK * BLOCK]) {
        product.fill(0.0);
        for (a, b) in a.chunks(FACTOR).zip(b.chunks(PAIRS)) {
            for (at, sum) in product.iter_mut().enumerate() {
                for term in 0..STEP {
                    let pair = b[place(term / 2, at % BLOCK)];
                    let b = if term % 2 == 0 { pair << 16 } else { pair & 0xffff_0000 };
                    let a = u32::from(a[at / BLOCK * STEP + term]) << 16;
                    *sum += f32::from_bits(a) * f32::from_bits(b);
                }
            }
        }
    }

    fn rounded(matrix: &Tensor) -> Tensor {
        matrix.to_dtype(DType::BF16).unwrap().to_dtype(DType::F32).unwrap()
    }

    #[track_caller]
    fn check(rows: usize, terms: usize, columns: usize) {
        let (a, b) = (random(&[rows, terms], 1), random(&[terms, columns], 2));
        let before = random(&[rows, columns], 3);
        let expected = rounded(&a).matmul(&rounded(&b)).unwrap();
        let added = (&before + &expected).unwrap();
        let turned = b.t().unwrap().contiguous().unwrap();
        for (b, transposed) in [(&b, false), (&turned, true)] {
            let mut sum = before.flatten_all().unwrap().to_vec1().unwrap();
            with_elements([&a, b], |[a, b]| {
                let a = View::rows(a, rows, terms, terms);
                let b = match transposed {
                    false => View::rows(b, terms, columns, columns),
                    true => View::rows(b, columns, terms, terms).t(),
                };
                multiply(&mut sum, add, (a, b), in_loops, || ())
            })
            .unwrap();
            let sum = Tensor::from_vec(sum, (rows, columns), &Device::Cpu).unwrap();
            check_close(&sum, &added, 1e-5);
            if is_available() {
                let b = if transposed { b.t().unwrap() } else { b.clone() };
                check_close(&product(None, &a, &b).unwrap(), &expected, 1e-5);
                check_close(&product(Some(before.copy().unwrap()), &a, &b).unwrap(), &added, 1e-5);
            }
        }
    }

    #[test]
    fn a_product_is_that_of_the_rounded_factors() {
        for (rows, terms, columns) in
            [(1, 1, 1), (5, 3, 7), (32, 32, 32), (33, 40, 65), (130, 96, 530), (300, 65, 31)]
        {
            check(rows, terms, columns);
        }
    }

    #[test]
    fn rounding_is_that_of_bf16() {
        let ties = [1.0 + 1.0 / 256.0, 1.0 + 3.0 / 256.0];
        for value in [0.0, -1.5, 0.1, ties[0], ties[1], 3.4e38, f32::INFINITY, 1e-40] {
            let value: f32 = value;
            let expected = Tensor::new(value, &Device::Cpu).unwrap().to_dtype(DType::BF16).unwrap();
            let expected = expected.to_dtype(DType::F32).unwrap().to_scalar::<f32>().unwrap();
            assert_eq!(f32::from_bits(u32::from(bf16(value)) << 16), expected, "{value}");
        }
        assert!(f32::from_bits(u32::from(bf16(f32::NAN)) << 16).is_nan());
    }
}
