//! Trained parameters: f32 tensors, their copies in the model's dtype, and their gradients.

use candle_core::{DType, Device, Result, Tensor};

use crate::amx;
use crate::in_place::{add, add_product, is_f32_on_cpu};
use crate::settings::MatmulPrecision;

/// A trained tensor.
pub(crate) struct Param {
    /// Its name in files.
    pub(crate) name: String,
    /// Its value, in f32.
    pub(crate) value: Tensor,
    /// Whether weight decay applies to it.
    pub(crate) decays: bool,
    used: Tensor,
}

/// All parameters, and the dtype that the model computes in.
pub(crate) struct Params {
    all: Vec<Param>,
    dtype: DType,
    precision: MatmulPrecision,
}

/// A tensor of a model: frozen or trained.
pub(crate) enum Weight {
    Fixed(Tensor),
    Learned(usize),
}

impl Params {
    pub(crate) fn new(dtype: DType) -> Params {
        Params { all: Vec::new(), dtype, precision: MatmulPrecision::Highest }
    }

    /// `precision` is one that this processor has, and `Highest` if matrices are trained.
    pub(crate) fn with_precision(self, precision: MatmulPrecision) -> Params {
        Params { precision, ..self }
    }

    /// `a b`, added to `sum`, in its memory, if there is one; `b` is a matrix of the
    /// model.
    pub(crate) fn product(&self, sum: Option<Tensor>, a: &Tensor, b: &Tensor) -> Result<Tensor> {
        let is_rounded = self.precision == MatmulPrecision::Medium;
        match sum {
            sum if is_rounded && is_f32_on_cpu(a) && is_f32_on_cpu(b) => amx::product(sum, a, b),
            None => a.matmul(b),
            Some(sum) => add_product(sum, 1.0, a, b),
        }
    }

    /// Adds a parameter and returns its index.
    pub(crate) fn add(&mut self, name: String, value: &Tensor, decays: bool) -> Result<usize> {
        let value = value.to_dtype(DType::F32)?;
        let used = value.to_dtype(self.dtype)?;
        self.all.push(Param { name, value, decays, used });
        Ok(self.all.len() - 1)
    }

    /// The copy that the model computes with.
    pub(crate) fn used(&self, at: usize) -> &Tensor {
        &self.all[at].used
    }

    /// The tensor that the model computes with, trained or not.
    pub(crate) fn weight<'a>(&'a self, weight: &'a Weight) -> &'a Tensor {
        match weight {
            Weight::Fixed(tensor) => tensor,
            Weight::Learned(at) => self.used(*at),
        }
    }

    pub(crate) fn all(&self) -> &[Param] {
        &self.all
    }

    pub(crate) fn set(&mut self, at: usize, value: Tensor) -> Result<()> {
        let param = &mut self.all[at];
        param.used = value.to_dtype(self.dtype)?;
        param.value = value;
        Ok(())
    }
}

/// Gradients of [`Params`], in the same order, in f32.
pub(crate) struct Grads(Vec<Option<Tensor>>);

impl Grads {
    pub(crate) fn new(params: &Params) -> Grads {
        Grads(vec![None; params.all.len()])
    }

    pub(crate) fn add(&mut self, at: usize, grad: &Tensor) -> Result<()> {
        let grad = grad.to_dtype(DType::F32)?;
        self.0[at] = Some(match self.0[at].take() {
            None => grad,
            Some(sum) => add(sum, &grad)?,
        });
        Ok(())
    }

    /// Adds `scale · a b`.
    pub(crate) fn add_product(
        &mut self,
        at: usize,
        scale: f64,
        a: &Tensor,
        b: &Tensor,
    ) -> Result<()> {
        let Some(sum) = self.0[at].take() else {
            let product = a.matmul(b)?;
            return self.add(at, &if scale == 1.0 { product } else { (product * scale)? });
        };
        self.0[at] = Some(add_product(sum, scale, a, b)?);
        Ok(())
    }

    /// Adds the gradients of a copy on another device.
    pub(crate) fn add_all(&mut self, other: &Grads, device: &Device) -> Result<()> {
        for (at, grad) in other.0.iter().enumerate() {
            if let Some(grad) = grad {
                self.add(at, &grad.to_device(device)?)?;
            }
        }
        Ok(())
    }

    pub(crate) fn get(&self, at: usize) -> Option<&Tensor> {
        self.0[at].as_ref()
    }

    /// The norm over all gradients.
    pub(crate) fn norm(&self) -> Result<f64> {
        let mut sum = 0.0;
        for grad in self.0.iter().flatten() {
            sum += f64::from(grad.sqr()?.sum_all()?.to_scalar::<f32>()?);
        }
        Ok(sum.sqrt())
    }
}
