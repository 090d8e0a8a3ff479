//! A matrix of a model. A quantised one is dequantised a block of rows at a time, so that
//! only one block exists in the model's dtype.

use std::borrow::Cow;

use candle_core::quantized::{GgmlDType, QStorage, QTensor};
use candle_core::{CpuStorage, DType, Device, Result, Storage, Tensor, bail};
use rayon::prelude::*;

use crate::params::{Params, Weight};

/// Elements of a block: 64 MB in f32.
pub(crate) const BLOCK: usize = 1 << 24;
/// Elements that a thread dequantises at once: they fit in its cache.
const TILE: usize = 1 << 15;

/// A matrix, frozen or trained.
pub(crate) enum Matrix {
    /// In the model's dtype.
    Plain(Weight),
    /// Frozen, in the format of its file.
    Quantised(Quantised),
}

/// A frozen matrix in one of ggml's formats.
pub(crate) struct Quantised {
    /// Blocks of this many rows; the last one may have fewer.
    blocks: Vec<QTensor>,
    height: usize,
    /// The dtype that the model computes in.
    dtype: DType,
}

impl Matrix {
    /// The index of the parameter, if it is trained.
    pub(crate) fn learned(&self) -> Option<usize> {
        match self {
            Matrix::Plain(Weight::Learned(at)) => Some(*at),
            Matrix::Plain(Weight::Fixed(_)) | Matrix::Quantised(_) => None,
        }
    }

    /// `x Wᵀ`.
    pub(crate) fn forward(&self, params: &Params, x: &Tensor) -> Result<Tensor> {
        match self {
            Matrix::Plain(weight) => params.product(None, x, &params.weight(weight).t()?),
            Matrix::Quantised(matrix) => matrix.forward(params, x),
        }
    }

    /// `dy W`, the gradient of `x`; added to `sum`, in its memory, if there is one.
    pub(crate) fn back(&self, params: &Params, dy: &Tensor, sum: Option<Tensor>) -> Result<Tensor> {
        match self {
            Matrix::Plain(weight) => params.product(sum, dy, params.weight(weight)),
            Matrix::Quantised(matrix) => matrix.back(params, dy, sum),
        }
    }

    /// The rows of these numbers.
    pub(crate) fn rows(&self, params: &Params, numbers: &Tensor) -> Result<Tensor> {
        match self {
            Matrix::Plain(weight) => params.weight(weight).index_select(numbers, 0),
            Matrix::Quantised(matrix) => matrix.rows(numbers),
        }
    }
}

impl Quantised {
    /// A matrix whose bytes are in the order of its rows.
    pub(crate) fn new(
        bytes: &[u8],
        (rows, width): (usize, usize),
        kind: GgmlDType,
        dtype: DType,
        device: &Device,
    ) -> Result<Quantised> {
        let row = row_bytes(kind, width);
        if row == 0 || bytes.len() != rows * row {
            bail!("{} bytes are no matrix of {rows} x {width} in {kind:?}", bytes.len());
        }
        let height = (BLOCK / width).clamp(1, rows.max(1));
        let block = |bytes: &[u8]| {
            let storage = QStorage::from_data(Cow::Borrowed(bytes), device, kind)?;
            QTensor::new(storage, (bytes.len() / row, width))
        };
        let blocks = bytes.chunks(height * row).map(block).collect::<Result<_>>()?;
        Ok(Quantised { blocks, height, dtype })
    }

    /// A matrix rounded to bf16.
    pub(crate) fn bf16(matrix: &Tensor, dtype: DType, device: &Device) -> Result<Quantised> {
        let sizes = matrix.dims2()?;
        let rounded = QTensor::quantize(&matrix.to_device(&Device::Cpu)?, GgmlDType::BF16)?;
        Quantised::new(&rounded.data()?, sizes, GgmlDType::BF16, dtype, device)
    }

    fn forward(&self, params: &Params, x: &Tensor) -> Result<Tensor> {
        let part = |block| params.product(None, x, &dequantised(block, self.dtype)?.t()?);
        match &self.blocks[..] {
            [one] => part(one),
            all => Tensor::cat(&all.iter().map(part).collect::<Result<Vec<_>>>()?, 1),
        }
    }

    fn back(&self, params: &Params, dy: &Tensor, mut sum: Option<Tensor>) -> Result<Tensor> {
        if let [one] = &self.blocks[..] {
            return params.product(sum, dy, &dequantised(one, self.dtype)?);
        }
        for (at, block) in self.blocks.iter().enumerate() {
            let (height, _) = block.shape().dims2()?;
            let dy = dy.narrow(1, at * self.height, height)?.contiguous()?;
            sum = Some(params.product(sum, &dy, &dequantised(block, self.dtype)?)?);
        }
        sum.ok_or_else(|| candle_core::Error::Msg("a matrix has no rows".into()))
    }

    fn rows(&self, numbers: &Tensor) -> Result<Tensor> {
        if let [one] = &self.blocks[..] {
            return one.embedding(numbers)?.to_dtype(self.dtype);
        }
        let device = numbers.device();
        let all: Vec<u32> = numbers.to_vec1()?;
        let mut rows: Option<Tensor> = None;
        for (at, block) in self.blocks.iter().enumerate() {
            let within = |number: u32| number as usize / self.height == at;
            let places = all.iter().enumerate().filter(|(_, number)| within(**number));
            let (places, numbers): (Vec<u32>, Vec<u32>) = places
                .map(|(place, number)| (place as u32, number - (at * self.height) as u32))
                .unzip();
            if places.is_empty() {
                continue;
            }
            let found = block.embedding(&Tensor::new(numbers, device)?)?.to_dtype(self.dtype)?;
            let before = match rows {
                Some(rows) => rows,
                None => Tensor::zeros((all.len(), found.dim(1)?), self.dtype, device)?,
            };
            rows = Some(before.index_add(&Tensor::new(places, device)?, &found, 0)?);
        }
        rows.ok_or_else(|| candle_core::Error::Msg("no row of a matrix was named".into()))
    }

    /// Bytes that it holds.
    #[cfg(test)]
    pub(crate) fn bytes(&self) -> usize {
        self.blocks.iter().map(QTensor::storage_size_in_bytes).sum()
    }
}

/// Bytes of a row; 0 if the format has no rows of this width.
pub(crate) fn row_bytes(kind: GgmlDType, width: usize) -> usize {
    match width.is_multiple_of(kind.block_size()) {
        true => width / kind.block_size() * kind.type_size(),
        false => 0,
    }
}

/// A block in the model's dtype.
fn dequantised(block: &QTensor, dtype: DType) -> Result<Tensor> {
    let device = block.device();
    if !device.is_cpu() {
        return block.dequantize(&device)?.to_dtype(dtype);
    }
    // candle dequantises with one thread; a lookup of all rows is the same work in parts.
    let (rows, width) = block.shape().dims2()?;
    let tile = (TILE / width).max(1);
    let mut values = vec![0.0_f32; rows * width];
    values.par_chunks_mut(tile * width).enumerate().try_for_each(|(at, values)| {
        let from = at * tile;
        let numbers: Vec<u32> = (from..from + values.len() / width).map(|at| at as u32).collect();
        let found = block.embedding(&Tensor::new(numbers, &Device::Cpu)?)?;
        let (storage, layout) = found.storage_and_layout();
        match (&*storage, layout.contiguous_offsets()) {
            (Storage::Cpu(CpuStorage::F32(all)), Some((from, to))) => {
                values.copy_from_slice(&all[from..to]);
                Ok(())
            }
            _ => bail!("dequantised rows are no contiguous f32 tensor"),
        }
    })?;
    Tensor::from_vec(values, (rows, width), &Device::Cpu)?.to_dtype(dtype)
}

/// Seconds that one element takes to be dequantised on a device: the fastest of a few
/// measurements.
pub(crate) fn seconds_per_element(kind: GgmlDType, device: &Device) -> Result<f64> {
    let (rows, width) = (512, 4096);
    let bytes = vec![0; rows * row_bytes(kind, width)];
    let matrix = Quantised::new(&bytes, (rows, width), kind, DType::F32, device)?;
    let mut best = f64::INFINITY;
    for _ in 0..5 {
        let clock = std::time::Instant::now();
        for block in &matrix.blocks {
            dequantised(block, DType::F32)?;
        }
        device.synchronize()?;
        best = best.min(clock.elapsed().as_secs_f64());
    }
    Ok(best / (rows * width) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::tests::{check_close, random};
    use crate::tests::gguf::FORMATS;

    #[track_caller]
    fn check(kind: GgmlDType, height: usize) {
        let (rows, width) = (37, 256);
        let plain = QTensor::quantize(&random(&[rows, width], 3), kind).unwrap();
        let bytes = plain.data().unwrap();
        let device = &Device::Cpu;
        let mut matrix = Quantised::new(&bytes, (rows, width), kind, DType::F32, device).unwrap();
        if height < rows {
            let row = row_bytes(kind, width);
            let block = |bytes: &[u8]| {
                Quantised::new(bytes, (bytes.len() / row, width), kind, DType::F32, device)
                    .unwrap()
                    .blocks
            };
            matrix.blocks = bytes.chunks(height * row).flat_map(block).collect();
            matrix.height = height;
        }
        assert_eq!(matrix.bytes(), rows * row_bytes(kind, width), "{kind:?}");
        let plain = Matrix::Plain(Weight::Fixed(plain.dequantize(device).unwrap()));
        let (matrix, params) = (Matrix::Quantised(matrix), Params::new(DType::F32));
        let (x, dy) = (random(&[5, width], 1), random(&[5, rows], 2));
        let numbers = Tensor::new(&[36_u32, 0, 9, 9, 10, 20], device).unwrap();
        let all = |matrix: &Matrix| {
            [
                matrix.forward(&params, &x).unwrap(),
                matrix.back(&params, &dy, None).unwrap(),
                matrix.back(&params, &dy, Some(random(&[5, width], 4))).unwrap(),
                matrix.rows(&params, &numbers).unwrap(),
            ]
        };
        for (one, other) in all(&matrix).iter().zip(&all(&plain)) {
            check_close(one, other, 1e-6);
        }
    }

    #[test]
    fn a_quantised_matrix_computes_as_the_dequantised_one() {
        for kind in FORMATS {
            check(kind, 37);
            check(kind, 10);
        }
    }

    #[test]
    fn bytes_of_another_size_are_refused() {
        let of = |bytes: usize, width| {
            let bytes = vec![0; bytes];
            Quantised::new(&bytes, (2, width), GgmlDType::Q8_0, DType::F32, &Device::Cpu)
                .map(drop)
                .map_err(|why| why.to_string())
        };
        assert!(of(68, 32).is_ok());
        assert!(of(67, 32).unwrap_err().contains("67 bytes are no matrix of 2 x 32 in Q8_0"));
        assert!(of(68, 33).unwrap_err().contains("no matrix of 2 x 33"));
    }
}
