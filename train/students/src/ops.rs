//! Functions and their backward passes. Each `x_back` takes the inputs and the gradient of
//! the output, and returns the gradients of the inputs.
//!
//! Norms, softmax and the loss are computed in f32, whatever the model's dtype.

mod attention;
mod cpu;
mod dropout;
mod heads;
mod loss;
mod rotary;

use candle_core::{D, DType, Result, Tensor};
use candle_nn::ops::{rms_norm, sigmoid};

pub(crate) use attention::{Attention, RowSpan};
pub(crate) use dropout::Dropout;
pub(crate) use loss::Head;
pub(crate) use rotary::{join, rotate, rotated_join, split, split_rotated};

/// Root-mean-square norm (Zhang and Sennrich 2019).
pub(crate) fn norm(x: &Tensor, weight: &Tensor, epsilon: f64) -> Result<Tensor> {
    match x.device().is_cpu() && x.dtype() == DType::F32 {
        true => cpu::norm(x, weight, epsilon),
        false => rms_norm(x, weight, epsilon as f32),
    }
}

/// Returns the gradient of `x`, and that of the weight if it is `learned`.
pub(crate) fn norm_back(
    x: &Tensor,
    weight: &Tensor,
    epsilon: f64,
    dy: &Tensor,
    learned: bool,
) -> Result<(Tensor, Option<Tensor>)> {
    if !learned && x.device().is_cpu() && x.dtype() == DType::F32 {
        return Ok((cpu::norm_back(x, weight, epsilon, dy)?, None));
    }
    // y = x r w with r = (mean x² + ε)^-½, so dx = r (dy w - x r mean(dy w x r)).
    let dtype = x.dtype();
    let [x, dy] = [x, dy].map(|tensor| tensor.to_dtype(DType::F32));
    let (x, dy, weight) = (x?, dy?, weight.to_dtype(DType::F32)?);
    let r = (x.sqr()?.mean_keepdim(D::Minus1)? + epsilon)?.sqrt()?.recip()?;
    let scaled = x.broadcast_mul(&r)?;
    let dw = match learned {
        true => {
            let each = (&dy * &scaled)?;
            Some(each.reshape(((), weight.dim(0)?))?.sum(0)?)
        }
        false => None,
    };
    let g = dy.broadcast_mul(&weight)?;
    let mean = (&g * &scaled)?.mean_keepdim(D::Minus1)?;
    let dx = (g - scaled.broadcast_mul(&mean)?)?.broadcast_mul(&r)?;
    Ok((dx.to_dtype(dtype)?, dw))
}

/// `silu(gate) * up` (SwiGLU, Shazeer 2020).
pub(crate) fn gated(gate: &Tensor, up: &Tensor) -> Result<Tensor> {
    match gate.device().is_cpu() && gate.dtype() == DType::F32 {
        true => cpu::gated(gate, up),
        false => gate.silu()? * up,
    }
}

/// Returns the gradients of `gate` and `up`.
pub(crate) fn gated_back(gate: &Tensor, up: &Tensor, dy: &Tensor) -> Result<(Tensor, Tensor)> {
    if gate.device().is_cpu() && gate.dtype() == DType::F32 {
        return cpu::gated_back(gate, up, dy);
    }
    gated_back_composed(gate, up, dy)
}

fn gated_back_composed(gate: &Tensor, up: &Tensor, dy: &Tensor) -> Result<(Tensor, Tensor)> {
    let share = sigmoid(gate)?;
    let silu = (gate * &share)?;
    let slope = (&share + (&silu * (1.0 - &share)?)?)?;
    Ok((((dy * up)? * slope)?, (dy * silu)?))
}

#[cfg(test)]
pub(crate) mod tests {
    use candle_core::Device;

    use super::*;

    /// Pseudo-random numbers that are the same in each run.
    pub(crate) fn random(sizes: &[usize], seed: u64) -> Tensor {
        let count: usize = sizes.iter().product();
        let numbers: Vec<f32> =
            (0..count as u64).map(|at| crate::chance::unit(seed, at) as f32 * 2.0 - 1.0).collect();
        Tensor::from_vec(numbers, sizes, &Device::Cpu).unwrap()
    }

    /// Compares a backward pass with finite differences of `Σ f(x)·dy`, summed in f64.
    #[track_caller]
    pub(crate) fn check_slope(x: &Tensor, dy: &Tensor, f: impl Fn(&Tensor) -> Tensor, dx: &Tensor) {
        let sizes = x.dims().to_vec();
        let numbers: Vec<f32> = x.flatten_all().unwrap().to_vec1().unwrap();
        let dx: Vec<f32> = dx.flatten_all().unwrap().to_vec1().unwrap();
        let dy: Vec<f32> = dy.flatten_all().unwrap().to_vec1().unwrap();
        let value = |numbers: Vec<f32>| -> f64 {
            let y = f(&Tensor::from_vec(numbers, &*sizes, &Device::Cpu).unwrap());
            let y: Vec<f32> = y.flatten_all().unwrap().to_vec1().unwrap();
            y.iter().zip(&dy).map(|(y, dy)| f64::from(*y) * f64::from(*dy)).sum()
        };
        let scale = dx.iter().fold(0.1_f32, |most, one| most.max(one.abs()));
        let step = 4e-3_f32;
        for at in (0..numbers.len()).step_by(numbers.len().div_ceil(40)) {
            let moved = |by: f32| {
                let mut moved = numbers.clone();
                moved[at] += by;
                value(moved)
            };
            let slope = (moved(step) - moved(-step)) / f64::from(2.0 * step);
            let off = (slope - f64::from(dx[at])).abs() / f64::from(scale);
            assert!(off < 4e-3, "at {at}: {} where little changes give {slope}", dx[at]);
        }
    }

    #[track_caller]
    pub(crate) fn check_close(one: &Tensor, other: &Tensor, most: f32) {
        let off = |t: Tensor| t.abs().unwrap().flatten_all().unwrap().max(0).unwrap();
        let off = |t: Tensor| off(t).to_dtype(DType::F32).unwrap().to_scalar::<f32>().unwrap();
        let scale = off(other.clone()).max(1e-6);
        let apart = off((one - other).unwrap()) / scale;
        assert!(apart <= most, "{apart} apart, of {scale}");
    }

    #[test]
    fn a_norm_runs_back() {
        let (x, dy) = (random(&[5, 16], 1), random(&[5, 16], 2));
        let weight = random(&[16], 3);
        let f = |x: &Tensor| norm(x, &weight, 1e-5).unwrap();
        let (fast, _) = norm_back(&x, &weight, 1e-5, &dy, false).unwrap();
        let (dx, dw) = norm_back(&x, &weight, 1e-5, &dy, true).unwrap();
        check_close(&fast, &dx, 1e-6);
        check_close(&f(&x), &rms_norm(&x, &weight, 1e-5).unwrap(), 1e-6);
        check_slope(&x, &dy, f, &dx);
        check_slope(&weight, &dy, |weight| norm(&x, weight, 1e-5).unwrap(), &dw.unwrap());
    }

    #[test]
    fn a_gate_runs_back() {
        let [gate, up, dy] = [4, 5, 6].map(|seed| random(&[6, 24], seed));
        let gate = (gate * 4.0).unwrap();
        let (dgate, dup) = gated_back(&gate, &up, &dy).unwrap();
        check_slope(&gate, &dy, |gate| gated(gate, &up).unwrap(), &dgate);
        check_slope(&up, &dy, |up| gated(&gate, up).unwrap(), &dup);
        let [gate, up, dy] = [4, 5, 6].map(|seed| random(&[90, 100], seed));
        let composed = gated_back_composed(&gate, &up, &dy).unwrap();
        let (dgate, dup) = gated_back(&gate, &up, &dy).unwrap();
        check_close(&dgate, &composed.0, 2e-6);
        check_close(&dup, &composed.1, 2e-6);
        check_close(&gated(&gate, &up).unwrap(), &(gate.silu().unwrap() * up).unwrap(), 1e-6);
    }
}
