//! Compares gradients and steps with those of PyTorch, transformers and peft.

use std::path::Path;

use candle_core::{Device, Tensor, safetensors};
use tempfile::TempDir;

use super::{KINDS, base, learn, model, rows, settings};
use crate::model::Chunks;
use crate::ops::Dropout;
use crate::ops::tests::{check_close, random};
use crate::optimiser::{AdamW, clipped};
use crate::params::Grads;
use crate::pass::Pass;
use crate::settings::Method;

/// Results of PyTorch, transformers and peft for the same models and rows, written by
/// `scripts/goldens/train.py`.
fn golden(kind: &str) -> serde_json::Value {
    let all: serde_json::Value =
        serde_json::from_str(include_str!("../goldens/goldens.json")).unwrap();
    all[kind].clone()
}

#[test]
fn gradients_are_those_of_pytorch() {
    let folder = TempDir::new().unwrap();
    let stored = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/goldens");
    for kind in KINDS {
        let (base, golden) = (base(folder.path(), kind), golden(kind));
        let lora =
            model(&base, &settings(Method::Lora), Chunks { queries: 4, ..Chunks::default() });
        let (loss, grads) = learn(&lora, &rows(), 30, 0.0);
        assert!(
            (loss / golden["lora_loss"].as_f64().unwrap() - 1.0).abs() < 2e-6,
            "{kind}: {loss}"
        );
        let right =
            safetensors::load(stored.join(format!("{kind}.safetensors")), &Device::Cpu).unwrap();
        assert_eq!(right.len(), grads.len());
        for (grad, param) in grads.iter().zip(lora.params.all()) {
            check_close(grad, &right[&param.name], 2e-5);
        }
        let full = model(&base, &settings(Method::Full), Chunks::default());
        let (loss, grads) = learn(&full, &rows(), 1000, 0.0);
        assert!(
            (loss / golden["full_loss"].as_f64().unwrap() - 1.0).abs() < 2e-6,
            "{kind}: {loss}"
        );
        let right = golden["full"].as_object().unwrap();
        assert_eq!(right.len(), grads.len());
        for (grad, param) in grads.iter().zip(full.params.all()) {
            let sum = |t: Tensor| t.sum_all().unwrap().to_scalar::<f32>().unwrap();
            let length = sum(grad.sqr().unwrap()).sqrt();
            let along = sum((grad * random(grad.dims(), 9)).unwrap());
            let [right_length, right_along] =
                [0, 1].map(|at| right[&param.name][at].as_f64().unwrap() as f32);
            let off = (length - right_length).abs().max((along - right_along).abs()) / right_length;
            assert!(off < 2e-5, "{kind} {}: {off} off", param.name);
        }
    }
}

#[test]
fn twenty_steps_are_those_of_pytorch() {
    let folder = TempDir::new().unwrap();
    for kind in KINDS {
        let (base, golden) = (base(folder.path(), kind), golden(kind));
        let settings = settings(Method::Lora);
        let mut model = model(&base, &settings, Chunks::default());
        let mut optimiser = AdamW::new(&model.params).unwrap();
        for (step, right) in golden["steps"].as_array().unwrap().iter().enumerate() {
            let [right_loss, right_norm, right_rate] =
                [0, 1, 2].map(|at| right[at].as_f64().unwrap());
            let passes = Pass::pack(&rows(), 40);
            let learned: usize = passes.iter().map(|pass| pass.targets.len()).sum();
            let mut grads = Grads::new(&model.params);
            let mut loss = 0.0;
            for pass in &passes {
                let weight = 1.0 / learned as f64;
                loss += model.learn(pass, weight, &Dropout::none(), &mut grads).unwrap() * weight;
            }
            let (norm, rate) = (grads.norm().unwrap(), settings.rate(step, 20));
            assert!(
                (loss / right_loss - 1.0).abs() < 2e-4,
                "{kind} {step}: {loss}, not {right_loss}"
            );
            assert!(
                (norm / right_norm - 1.0).abs() < 2e-3,
                "{kind} {step}: {norm}, not {right_norm}"
            );
            assert!((rate - right_rate).abs() < 1e-12);
            let scale = clipped(norm, settings.max_grad_norm);
            optimiser.step(&mut model.params, &grads, scale, rate, &settings).unwrap();
        }
    }
}
