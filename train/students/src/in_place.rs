//! Sums on the CPU that reuse memory, with rayon's threads. candle's own operations make a
//! new tensor each time, and its element-wise ones wait for a second pool of threads.
//!
//! Functions that take a tensor by value change it: nothing else may hold its memory. On
//! other devices, in other dtypes, and for tensors with gaps they make a new tensor.

use candle_core::{
    CpuStorage, DType, InplaceOp2, InplaceOp3, Layout, Result, Storage, Tensor, bail,
};
use gemm::Parallelism;
use rayon::prelude::*;

/// Below this number of elements, threads cost more than they save.
pub(crate) const WORTH_SHARING: usize = 1 << 14;
/// Elements that a thread processes at once.
pub(crate) const PART: usize = 1 << 12;

/// Runs a loop with the widest vectors of this CPU.
#[inline(always)]
pub(crate) fn wide<T>(run: impl FnOnce() -> T) -> T {
    pulp::Arch::new().dispatch(run)
}

/// The elements of a contiguous f32 tensor.
pub(crate) fn elements<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match (storage, layout.contiguous_offsets()) {
        (CpuStorage::F32(all), Some((from, to))) => Ok(&all[from..to]),
        _ => bail!("the kernel needs a contiguous f32 tensor"),
    }
}

pub(crate) fn elements_mut<'a>(
    storage: &'a mut CpuStorage,
    layout: &Layout,
) -> Result<&'a mut [f32]> {
    match (storage, layout.contiguous_offsets()) {
        (CpuStorage::F32(all), Some((from, to))) => Ok(&mut all[from..to]),
        _ => bail!("the kernel needs a contiguous f32 tensor"),
    }
}

/// Calls `run` with the elements of f32 tensors on the CPU.
pub(crate) fn with_elements<const N: usize, T>(
    tensors: [&Tensor; N],
    run: impl FnOnce([&[f32]; N]) -> Result<T>,
) -> Result<T> {
    let tensors: Vec<Tensor> =
        tensors.iter().map(|tensor| tensor.contiguous()).collect::<Result<_>>()?;
    let guards: Vec<_> = tensors.iter().map(Tensor::storage_and_layout).collect();
    let mut slices = [&[][..]; N];
    for (slice, (storage, layout)) in slices.iter_mut().zip(&guards) {
        match &**storage {
            Storage::Cpu(storage) => *slice = elements(storage, layout)?,
            _ => bail!("the CPU kernel needs a tensor on the CPU"),
        }
    }
    run(slices)
}

/// Whether kernels of our own compute with this tensor.
pub(crate) fn is_f32_on_cpu(tensor: &Tensor) -> bool {
    tensor.device().is_cpu() && tensor.dtype() == DType::F32
}

/// `sum + other`, in the memory of `sum`.
pub(crate) fn add(sum: Tensor, other: &Tensor) -> Result<Tensor> {
    let is_fast = is_f32_on_cpu(&sum) && sum.is_contiguous() && is_f32_on_cpu(other);
    if !is_fast || sum.shape() != other.shape() {
        return sum + other;
    }
    sum.inplace_op2(&other.contiguous()?, &Add)?;
    Ok(sum)
}

struct Add;

impl InplaceOp2 for Add {
    fn name(&self) -> &'static str {
        "add-in-place"
    }

    fn cpu_fwd(
        &self,
        storage: &mut CpuStorage,
        layout: &Layout,
        other: &CpuStorage,
        other_layout: &Layout,
    ) -> Result<()> {
        let (sum, other) = (elements_mut(storage, layout)?, elements(other, other_layout)?);
        let add = |(sum, other): (&mut [f32], &[f32])| {
            wide(|| {
                for (sum, other) in sum.iter_mut().zip(other) {
                    *sum += other;
                }
            });
        };
        match sum.len() < WORTH_SHARING {
            true => add((sum, other)),
            false => sum.par_chunks_mut(PART).zip(other.par_chunks(PART)).for_each(add),
        }
        Ok(())
    }
}

/// Adds a vector to each row of a matrix, in its memory.
pub(crate) fn add_to_rows(sum: Tensor, row: &Tensor) -> Result<Tensor> {
    if !(is_f32_on_cpu(&sum) && sum.is_contiguous() && is_f32_on_cpu(row)) {
        return sum.broadcast_add(row);
    }
    sum.inplace_op2(row, &AddToRows)?;
    Ok(sum)
}

struct AddToRows;

impl InplaceOp2 for AddToRows {
    fn name(&self) -> &'static str {
        "add-to-rows"
    }

    fn cpu_fwd(
        &self,
        storage: &mut CpuStorage,
        layout: &Layout,
        row: &CpuStorage,
        row_layout: &Layout,
    ) -> Result<()> {
        let row = elements(row, row_layout)?;
        if row.is_empty() || layout.dims().last() != Some(&row.len()) {
            bail!("rows of {:?} do not have {} elements", layout.dims(), row.len());
        }
        let add = |sum: &mut [f32]| {
            wide(|| {
                for (sum, one) in sum.iter_mut().zip(row) {
                    *sum += one;
                }
            });
        };
        elements_mut(storage, layout)?.par_chunks_mut(row.len()).with_min_len(16).for_each(add);
        Ok(())
    }
}

/// `sum + scale · a b`, in the memory of `sum`: the product is never a tensor.
pub(crate) fn add_product(sum: Tensor, scale: f64, a: &Tensor, b: &Tensor) -> Result<Tensor> {
    if ![&sum, a, b].into_iter().all(is_f32_on_cpu) {
        let product = a.matmul(b)?.to_dtype(sum.dtype())?;
        return sum + (product * scale)?;
    }
    sum.inplace_op3(a, b, &AddProduct { scale: scale as f32 })?;
    Ok(sum)
}

struct AddProduct {
    scale: f32,
}

impl InplaceOp3 for AddProduct {
    fn name(&self) -> &'static str {
        "add-product"
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
        let CpuStorage::F32(sum) = sum else { bail!("the kernel needs f32 tensors") };
        let (a, b) = (View::new(a, a_layout)?, View::new(b, b_layout)?);
        let shape = Shape::of(sum_layout)?;
        let from = sum_layout.start_offset().min(sum.len());
        let threads = candle_core::utils::get_num_threads();
        let parallelism = match threads > 1 {
            true => Parallelism::Rayon(threads),
            false => Parallelism::None,
        };
        multiply((&mut sum[from..], shape), true, self.scale, a, b, parallelism)
    }
}

/// The shape of a matrix in a slice: element (i, j) is at `i · strides.0 + j · strides.1`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub(crate) rows: usize,
    pub(crate) columns: usize,
    pub(crate) strides: (usize, usize),
}

impl Shape {
    fn of(layout: &Layout) -> Result<Shape> {
        let (rows, columns) = layout.shape().dims2()?;
        match layout.stride() {
            [down, across] => Ok(Shape { rows, columns, strides: (*down, *across) }),
            _ => bail!("a matrix has two strides"),
        }
    }

    /// Rows whose first elements are `stride` apart.
    pub(crate) fn rows(rows: usize, columns: usize, stride: usize) -> Shape {
        Shape { rows, columns, strides: (stride, 1) }
    }

    fn transposed(self) -> Shape {
        let (down, across) = self.strides;
        Shape { rows: self.columns, columns: self.rows, strides: (across, down) }
    }

    /// Elements up to the last one of the matrix.
    fn end(self) -> usize {
        match (self.rows.checked_sub(1), self.columns.checked_sub(1)) {
            (Some(rows), Some(columns)) => rows * self.strides.0 + columns * self.strides.1 + 1,
            _ => 0,
        }
    }

    /// Whether no two elements are in the same place.
    fn is_injective(self) -> bool {
        let (down, across) = self.strides;
        let is_apart =
            |step: usize, other: usize, count: usize| step > other * count.saturating_sub(1);
        self.rows <= 1 && (self.columns <= 1 || across > 0)
            || self.columns <= 1 && down > 0
            || across > 0 && is_apart(down, across, self.columns)
            || down > 0 && is_apart(across, down, self.rows)
    }
}

/// A matrix in a slice.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) elements: &'a [f32],
    pub(crate) shape: Shape,
}

impl<'a> View<'a> {
    pub(crate) fn new(storage: &'a CpuStorage, layout: &Layout) -> Result<View<'a>> {
        let CpuStorage::F32(elements) = storage else { bail!("the kernel needs f32 tensors") };
        let from = layout.start_offset().min(elements.len());
        Ok(View { elements: &elements[from..], shape: Shape::of(layout)? })
    }

    /// Rows whose first elements are `stride` apart.
    pub(crate) fn rows(elements: &'a [f32], rows: usize, columns: usize, stride: usize) -> Self {
        View { elements, shape: Shape::rows(rows, columns, stride) }
    }

    pub(crate) fn t(self) -> View<'a> {
        View { shape: self.shape.transposed(), ..self }
    }
}

/// `sum = scale · a b`, added to what `sum` contains if it `adds`.
pub(crate) fn multiply(
    (sum, shape): (&mut [f32], Shape),
    adds: bool,
    scale: f32,
    a: View<'_>,
    b: View<'_>,
    parallelism: Parallelism,
) -> Result<()> {
    let (rows, inside, columns) = (a.shape.rows, a.shape.columns, b.shape.columns);
    let agree = (shape.rows, shape.columns, b.shape.rows) == (rows, columns, inside);
    let within = shape.end() <= sum.len()
        && a.shape.end() <= a.elements.len()
        && b.shape.end() <= b.elements.len();
    if !agree || !within || !shape.is_injective() {
        bail!("{:?} times {:?} is no {shape:?}", a.shape, b.shape);
    }
    let strides = |shape: Shape| (shape.strides.1 as isize, shape.strides.0 as isize);
    let (sum_strides, a_strides, b_strides) = (strides(shape), strides(a.shape), strides(b.shape));
    // SAFETY: each matrix is inside its slice, no two elements of `sum` are in the same place,
    // and `sum` is borrowed exclusively.
    unsafe {
        gemm::gemm(
            rows,
            columns,
            inside,
            sum.as_mut_ptr(),
            sum_strides.0,
            sum_strides.1,
            adds,
            a.elements.as_ptr(),
            a_strides.0,
            a_strides.1,
            b.elements.as_ptr(),
            b_strides.0,
            b_strides.1,
            1.0,
            scale,
            false,
            false,
            false,
            parallelism,
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::tests::{check_close, random};

    #[test]
    fn sums_in_place_are_those_of_candle() {
        for rows in [1, 3, 300] {
            let (one, other) = (random(&[rows, 70], 1), random(&[rows, 70], 2));
            let expected = (&one + &other).unwrap();
            let sum = add(one.copy().unwrap(), &other).unwrap();
            assert_eq!(sum.to_vec2::<f32>().unwrap(), expected.to_vec2::<f32>().unwrap());
            let row = random(&[70], 3);
            let expected = one.broadcast_add(&row).unwrap();
            let sum = add_to_rows(one.copy().unwrap(), &row).unwrap();
            assert_eq!(sum.to_vec2::<f32>().unwrap(), expected.to_vec2::<f32>().unwrap());
        }
    }

    #[test]
    fn a_product_is_added_whatever_the_strides() {
        for (m, k, n) in [(1, 1, 1), (5, 3, 7), (1, 40, 33), (33, 40, 1), (130, 65, 90)] {
            let (a, b) = (random(&[m, k], 1), random(&[k, n], 2));
            let columns = |matrix: &Tensor| matrix.t().unwrap().contiguous().unwrap().t().unwrap();
            for (a, b) in [(a.clone(), b.clone()), (columns(&a), columns(&b))] {
                let wider = random(&[m + 2, n], 3);
                let before = wider.narrow(0, 1, m).unwrap();
                let expected = (&before + (a.matmul(&b).unwrap() * 0.5).unwrap()).unwrap();
                let wider = wider.copy().unwrap();
                let sum = wider.narrow(0, 1, m).unwrap();
                check_close(&add_product(sum, 0.5, &a, &b).unwrap(), &expected, 2e-6);
                for at in [0, m + 1] {
                    let row = |matrix: &Tensor| matrix.get(at).unwrap().to_vec1::<f32>().unwrap();
                    assert_eq!(row(&wider), row(&random(&[m + 2, n], 3)), "row {at} was changed");
                }
            }
        }
    }

    #[test]
    fn matrices_that_do_not_fit_are_refused() {
        let mut sum = [0.0; 6];
        let of = |rows, columns, stride| Shape { rows, columns, strides: (stride, 1) };
        let mut check = |shape: Shape, a: Shape, b: Shape, expected: bool| {
            let view = |shape| View { elements: &[1.0; 6], shape };
            let sum = (&mut sum[..], shape);
            let done = multiply(sum, false, 1.0, view(a), view(b), Parallelism::None);
            assert_eq!(done.is_ok(), expected, "{shape:?} {a:?} {b:?}");
        };
        check(of(2, 3, 3), of(2, 2, 2), of(2, 3, 3), true);
        check(of(2, 3, 2), of(2, 2, 2), of(2, 3, 3), false);
        check(of(2, 3, 3), of(2, 2, 5), of(2, 3, 3), false);
        check(of(2, 3, 3), of(2, 1, 2), of(2, 3, 3), false);
        check(of(2, 3, 4), of(2, 2, 2), of(2, 3, 3), false);
    }

    #[test]
    fn sixteen_bits_are_summed_too() {
        let half = |seed| random(&[4, 4], seed).to_dtype(DType::BF16).unwrap();
        let (sum, a, b) = (half(1), half(2), half(3));
        let expected = (&sum + a.matmul(&b).unwrap()).unwrap();
        check_close(&add_product(sum.clone(), 1.0, &a, &b).unwrap(), &expected, 1e-2);
        check_close(&add(sum.clone(), &a).unwrap(), &(&sum + &a).unwrap(), 1e-6);
    }
}
