//! Compares gradients with finite differences, and with themselves under other compute
//! settings.

use candle_core::{DType, Device, Tensor};
use tempfile::TempDir;

use super::{KINDS, base, learn, model, rows, settings};
use crate::base_model::Base;
use crate::model::{Chunks, Model};
use crate::ops::tests::check_close;
use crate::settings::{BaseDtype, MatmulPrecision, Method};

#[test]
fn little_changes_do_what_the_gradient_says() {
    let folder = TempDir::new().unwrap();
    for (kind, method) in KINDS.iter().flat_map(|kind| [(kind, Method::Lora), (kind, Method::Full)])
    {
        let base = base(folder.path(), kind);
        let mut model = model(&base, &settings(method), Chunks::default());
        let (rows, rate) = (rows(), if method == Method::Lora { 0.3 } else { 0.0 });
        let (_, grads) = learn(&model, &rows, 100, rate);
        for (at, grad) in grads.iter().enumerate() {
            // Along the gradient, the loss changes by the squared norm of the gradient.
            let value = model.params.all()[at].value.clone();
            let length = grad.sqr().unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap().sqrt();
            let step = 0.01 / f64::from(length.max(1e-3));
            let mut moved = |by: f64| {
                model.params.set(at, (&value + (grad * by).unwrap()).unwrap()).unwrap();
                let loss = learn(&model, &rows, 100, rate).0;
                model.params.set(at, value.clone()).unwrap();
                loss
            };
            let slope = (moved(step) - moved(-step)) / (2.0 * step);
            let expected = f64::from(length * length);
            let off = (slope - expected).abs() / expected.max(1e-4);
            let name = &model.params.all()[at].name;
            assert!(off < 0.02, "{kind} {method:?} {name}: {expected} where changes give {slope}");
        }
    }
}

#[test]
fn how_much_at_a_time_changes_nothing() {
    let folder = TempDir::new().unwrap();
    for kind in KINDS {
        let base = base(folder.path(), kind);
        for method in [Method::Lora, Method::Full] {
            let settings = settings(method);
            let rate = if method == Method::Lora { 0.2 } else { 0.0 };
            let rows = rows();
            let plain = model(&base, &settings, Chunks::default());
            let (loss, grads) = learn(&plain, &rows, 1, rate);
            for (pass, queries, logits, layers) in
                [(30, 256, 1 << 20, 0), (1000, 3, 16, 1), (1000, 1, 1 << 10, 2), (1, 4, 1, 0)]
            {
                let no_recompute_layers = Some(layers);
                let other =
                    model(&base, &settings, Chunks { queries, logits, no_recompute_layers });
                let (other_loss, other_grads) = learn(&other, &rows, pass, rate);
                assert!(
                    (other_loss / loss - 1.0).abs() < 1e-6,
                    "{kind}: {other_loss} is not {loss}"
                );
                grads
                    .iter()
                    .zip(&other_grads)
                    .for_each(|(one, other)| check_close(other, one, 2e-5));
            }
        }
    }
}

#[test]
fn recomputed_layers_give_the_same_bits() {
    let folder = TempDir::new().unwrap();
    for kind in KINDS {
        let base = base(folder.path(), kind);
        for (method, rate) in [(Method::Lora, 0.2), (Method::Full, 0.0)] {
            let bits = |layers| {
                let chunks = Chunks { no_recompute_layers: Some(layers), ..Chunks::default() };
                let model = model(&base, &settings(method), chunks);
                let (loss, grads) = learn(&model, &rows(), 40, rate);
                let all = |grad: &Tensor| grad.flatten_all().unwrap().to_vec1::<f32>().unwrap();
                let grads: Vec<u32> = grads.iter().flat_map(all).map(f32::to_bits).collect();
                (loss.to_bits(), grads)
            };
            let expected = bits(0);
            for layers in [1, 2, 100] {
                assert!(bits(layers) == expected, "{kind} {method:?}: {layers} layers differ");
            }
        }
    }
}

#[test]
fn sixteen_bits_come_close() {
    let folder = TempDir::new().unwrap();
    let base = base(folder.path(), "qwen3");
    let settings = settings(Method::Lora);
    let exact = model(&base, &settings, Chunks::default());
    let (opened, held) = (Base::open(&base).unwrap(), (BaseDtype::F32, MatmulPrecision::Highest));
    let mut coarse =
        Model::load(&opened, &settings, Chunks::default(), held, &Device::Cpu, DType::BF16)
            .unwrap();
    for at in 0..coarse.params.all().len() {
        coarse.params.set(at, exact.params.all()[at].value.clone()).unwrap();
    }
    let (rows, rate) = (rows(), 0.1);
    let (loss, grads) = learn(&exact, &rows, 100, rate);
    let (other, others) = learn(&coarse, &rows, 100, rate);
    assert!((other / loss - 1.0).abs() < 0.01, "{other} is not {loss}");
    let length =
        |t: &Tensor| t.sqr().unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap().sqrt();
    for (one, other) in grads.iter().zip(&others) {
        let off = length(&(one - other).unwrap()) / length(one);
        assert!(off < 0.06, "a gradient is {off} off");
    }
}
