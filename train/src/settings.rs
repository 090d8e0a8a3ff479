//! What a training does: the thesis' values, each of which may be another.

use serde::{Deserialize, Serialize};

/// What is learned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// Small matrices beside the model's own (Hu et al. 2021, as `peft` does it).
    Lora,
    /// Every weight.
    Full,
}

impl Method {
    /// Its name in files and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Method::Lora => "lora",
            Method::Full => "full",
        }
    }
}

/// A matrix of a layer that an adapter may sit beside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the names are Hugging Face's")]
pub enum Target {
    QProj,
    KProj,
    VProj,
    OProj,
    GateProj,
    UpProj,
    DownProj,
}

impl Target {
    /// All, in the order of a layer.
    pub const ALL: [Target; 7] = [
        Target::QProj,
        Target::KProj,
        Target::VProj,
        Target::OProj,
        Target::GateProj,
        Target::UpProj,
        Target::DownProj,
    ];

    /// Hugging Face's name: `q_proj`.
    pub fn name(self) -> &'static str {
        match self {
            Target::QProj => "q_proj",
            Target::KProj => "k_proj",
            Target::VProj => "v_proj",
            Target::OProj => "o_proj",
            Target::GateProj => "gate_proj",
            Target::UpProj => "up_proj",
            Target::DownProj => "down_proj",
        }
    }

    /// The part of the layer it is in: `self_attn`.
    pub fn part(self) -> &'static str {
        match self {
            Target::QProj | Target::KProj | Target::VProj | Target::OProj => "self_attn",
            Target::GateProj | Target::UpProj | Target::DownProj => "mlp",
        }
    }
}

/// The numbers that a model computes with. What is learned is always f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32 bits.
    F32,
    /// 16 bits with the range of 32.
    Bf16,
}

/// How the learning rate goes on after the warm-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Schedule {
    /// Half a cosine, down to nothing.
    Cosine,
    /// A straight line, down to nothing.
    Linear,
    /// It stays.
    Constant,
}

/// Everything that decides what comes out of a training, besides the model and
/// the rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// What is learned.
    pub method: Method,
    /// Columns of an adapter's matrices.
    pub rank: usize,
    /// An adapter counts `alpha / rank` times.
    pub alpha: f64,
    /// Share of an adapter's input that is left out.
    pub dropout: f64,
    /// Matrices that have an adapter.
    pub targets: Vec<Target>,
    /// The highest learning rate.
    pub learning_rate: f64,
    /// Steps until it is reached.
    pub warmup: usize,
    /// What it does from then on.
    pub schedule: Schedule,
    /// AdamW's memory of gradients and of their squares.
    pub betas: (f64, f64),
    /// AdamW's epsilon.
    pub epsilon: f64,
    /// AdamW's weight decay; norms and biases have none.
    pub weight_decay: f64,
    /// The longest gradient; longer ones are scaled down.
    pub clip: f64,
    /// Rows at a time.
    pub batch: usize,
    /// Batches in a step.
    pub accumulation: usize,
    /// Times each row is seen.
    pub epochs: usize,
    /// The longest row, in tokens.
    pub max_tokens: usize,
    /// Whether prompts are learned too, whatever the dataset's loss policy: for
    /// a model that has not learned its language yet. The loss on validation
    /// rows stays that of their answers. (LLaMA-Factory's name.)
    #[serde(default)]
    pub train_on_prompt: bool,
    /// What orders rows, leaves out and begins adapters.
    pub seed: u64,
}

impl Settings {
    /// The thesis' values (table 4.1; a full fine-tune's as its text has them).
    pub fn of(method: Method) -> Settings {
        let (learning_rate, warmup) = match method {
            Method::Lora => (1e-4, 10),
            Method::Full => (5e-6, 100),
        };
        Settings {
            method,
            rank: 32,
            alpha: 64.0,
            dropout: 0.05,
            targets: Target::ALL[..4].to_vec(),
            learning_rate,
            warmup,
            schedule: Schedule::Cosine,
            betas: (0.9, 0.999),
            epsilon: 1e-8,
            weight_decay: 0.001,
            clip: 1.0,
            batch: 1,
            accumulation: 8,
            epochs: 10,
            max_tokens: 32_768,
            train_on_prompt: false,
            seed: 42,
        }
    }

    /// Rows in a step.
    pub fn rows_per_step(&self) -> usize {
        self.batch * self.accumulation
    }

    /// Steps in an epoch of so many rows; the last may be a short one.
    pub fn steps_per_epoch(&self, rows: usize) -> usize {
        rows.div_ceil(self.rows_per_step())
    }

    /// What is wrong with these values, if anything is.
    pub fn fault(&self) -> Option<String> {
        let positive = [
            ("rank", self.rank),
            ("batch", self.batch),
            ("accumulation", self.accumulation),
            ("epochs", self.epochs),
            ("max-tokens", self.max_tokens),
        ];
        if let Some((name, _)) = positive.iter().find(|(_, value)| *value == 0) {
            return Some(format!("--{name} is 0; it must be at least 1"));
        }
        let shares = [("dropout", self.dropout), ("beta1", self.betas.0), ("beta2", self.betas.1)];
        if let Some((name, value)) = shares.iter().find(|(_, share)| !(0.0..1.0).contains(share)) {
            return Some(format!("--{name} is {value}; it must be at least 0 and below 1"));
        }
        let amounts = [
            ("lr", self.learning_rate),
            ("alpha", self.alpha),
            ("clip", self.clip),
            ("epsilon", self.epsilon),
        ];
        if let Some((name, value)) = amounts.iter().find(|(_, v)| !(v.is_finite() && *v > 0.0)) {
            return Some(format!("--{name} is {value}; it must be above 0"));
        }
        if self.method == Method::Lora && self.targets.is_empty() {
            return Some("no --target is named: name at least one, as q_proj".into());
        }
        None
    }

    /// The learning rate of a step, counted from 0, as `transformers`' schedules
    /// have it.
    pub fn rate(&self, step: usize, steps: usize) -> f64 {
        if step < self.warmup {
            return self.learning_rate * step as f64 / self.warmup as f64;
        }
        let gone = (step - self.warmup) as f64 / steps.saturating_sub(self.warmup).max(1) as f64;
        let share = match self.schedule {
            Schedule::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * gone).cos()),
            Schedule::Linear => 1.0 - gone,
            Schedule::Constant => 1.0,
        };
        self.learning_rate * share.max(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_thesis_steps() {
        let settings = Settings::of(Method::Lora);
        assert_eq!(settings.steps_per_epoch(5300), 663);
        assert_eq!(settings.steps_per_epoch(5300) * settings.epochs, 6630);
    }

    #[track_caller]
    fn check(schedule: Schedule, step: usize, expected: f64) {
        let settings = Settings { schedule, warmup: 10, ..Settings::of(Method::Lora) };
        let rate = settings.rate(step, 110) / settings.learning_rate;
        assert!((rate - expected).abs() < 1e-12, "{schedule:?} at {step}: {rate}");
    }

    #[test]
    fn rates_rise_and_fall() {
        check(Schedule::Cosine, 0, 0.0);
        check(Schedule::Cosine, 5, 0.5);
        check(Schedule::Cosine, 10, 1.0);
        check(Schedule::Cosine, 60, 0.5);
        check(Schedule::Cosine, 110, 0.0);
        check(Schedule::Linear, 35, 0.75);
        check(Schedule::Constant, 109, 1.0);
    }

    #[test]
    fn faults_name_the_flag() {
        let fault = |change: &dyn Fn(&mut Settings)| {
            let mut settings = Settings::of(Method::Lora);
            change(&mut settings);
            settings.fault().unwrap_or_default()
        };
        assert_eq!(fault(&|_| ()), "");
        assert_eq!(fault(&|s| s.rank = 0), "--rank is 0; it must be at least 1");
        assert_eq!(
            fault(&|s| s.dropout = 1.0),
            "--dropout is 1; it must be at least 0 and below 1"
        );
        assert_eq!(fault(&|s| s.learning_rate = f64::NAN), "--lr is NaN; it must be above 0");
        assert!(fault(&|s| s.targets.clear()).contains("--target"));
    }
}
