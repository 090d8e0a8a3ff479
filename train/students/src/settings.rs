//! The settings of a training; the defaults are the paper's.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// Old keys of settings, and the keys that replaced them.
const RENAMED: [(&str, &str); 7] = [
    ("warmup", "warmup_steps"),
    ("schedule", "lr_scheduler"),
    ("epsilon", "adam_epsilon"),
    ("clip", "max_grad_norm"),
    ("batch", "batch_size"),
    ("accumulation", "gradient_accumulation_steps"),
    ("max_tokens", "max_length"),
];

/// Which parameters are trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// Low-rank adapters (Hu et al. 2021, as in `peft`).
    Lora,
    /// All weights.
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

/// A matrix of a layer that can have an adapter.
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
    /// All of them, in the order of a layer.
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

    /// The module that contains it: `self_attn`.
    pub fn part(self) -> &'static str {
        match self {
            Target::QProj | Target::KProj | Target::VProj | Target::OProj => "self_attn",
            Target::GateProj | Target::UpProj | Target::DownProj => "mlp",
        }
    }
}

/// The dtype that a model computes in. Trained parameters are always f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 32 bits.
    F32,
    /// 16 bits with the range of 32.
    Bf16,
}

/// How the frozen matrices of a base model are held while an adapter is trained.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BaseDtype {
    /// In the dtype that the model computes in, which is f32 on a CPU.
    F32,
    /// Rounded to bf16; each block is converted when it is used.
    Bf16,
    /// As a GGUF file stores them; each block is dequantised when it is used.
    Quantized,
}

/// How exact products of f32 matrices with frozen ones are. The names are those of PyTorch's
/// `set_float32_matmul_precision`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MatmulPrecision {
    /// In f32.
    #[default]
    Highest,
    /// Factors are rounded to bf16, sums are f32; only on processors with AMX, f32 elsewhere.
    Medium,
}

/// Learning rate schedule after the warmup.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Schedule {
    /// Half a cosine, down to 0.
    Cosine,
    /// A straight line, down to 0.
    Linear,
    /// No decay.
    Constant,
}

/// Everything that determines the result of a training, besides the model and
/// the rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Which parameters are trained.
    pub method: Method,
    /// Rank of the adapters.
    pub rank: usize,
    /// An adapter is scaled by `alpha / rank`.
    pub alpha: f64,
    /// Dropout probability of an adapter's input.
    pub dropout: f64,
    /// Matrices with an adapter.
    pub targets: Vec<Target>,
    /// The peak learning rate.
    pub learning_rate: f64,
    /// Steps of linear warmup to the peak.
    pub warmup_steps: usize,
    /// The learning rate after the warmup.
    pub lr_scheduler: Schedule,
    /// AdamW's decay rate of the mean of gradients.
    pub adam_beta1: f64,
    /// AdamW's decay rate of the mean of squared gradients.
    pub adam_beta2: f64,
    /// AdamW's epsilon.
    pub adam_epsilon: f64,
    /// AdamW's weight decay; not applied to norms and biases.
    pub weight_decay: f64,
    /// Maximum gradient norm; larger gradients are scaled down.
    pub max_grad_norm: f64,
    /// Rows per batch.
    pub batch_size: usize,
    /// Batches per optimiser step.
    pub gradient_accumulation_steps: usize,
    /// Number of epochs.
    pub epochs: usize,
    /// Maximum length of a row, in tokens.
    pub max_length: usize,
    /// Whether prompts carry loss too, whatever the dataset's loss policy; for pretraining.
    /// The validation loss still covers answers only. (LLaMA-Factory's name.)
    #[serde(default)]
    pub train_on_prompt: bool,
    /// Seed of row order, dropout and adapter initialisation.
    pub seed: u64,
}

impl Settings {
    /// The paper's defaults (table 4.1; for full fine-tunes, its text).
    pub fn of(method: Method) -> Settings {
        let (learning_rate, warmup_steps) = match method {
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
            warmup_steps,
            lr_scheduler: Schedule::Cosine,
            adam_beta1: 0.9,
            adam_beta2: 0.999,
            adam_epsilon: 1e-8,
            weight_decay: 0.001,
            max_grad_norm: 1.0,
            batch_size: 1,
            gradient_accumulation_steps: 8,
            epochs: 10,
            max_length: 32_768,
            train_on_prompt: false,
            seed: 42,
        }
    }

    /// The paper's defaults, overridden by a TOML file with the keys of `train.json`.
    ///
    /// # Errors
    /// The fault of the file.
    pub fn read(method: Method, text: &str) -> Result<Settings, String> {
        let wrong = |why: serde_json::Error| why.to_string();
        let read: toml::Table = toml::from_str(text).map_err(|why| why.to_string())?;
        let mut given = object(&read).map_err(wrong)?;
        Settings::rename_old_keys(&mut given);
        let mut all = object(&Settings::of(method)).map_err(wrong)?;
        all.extend(given);
        let settings: Settings = serde_json::from_value(all.into()).map_err(wrong)?;
        match settings.method == method {
            true => Ok(settings),
            false => {
                let (read, asked) = (settings.method.name(), method.name());
                Err(format!("its method is {read}, not {asked}"))
            }
        }
    }

    /// Renames the keys of older settings files and records, in place.
    pub fn rename_old_keys(table: &mut Map<String, Value>) {
        for (old, new) in RENAMED {
            if let Some(value) = table.remove(old) {
                table.entry(new).or_insert(value);
            }
        }
        if let Some(Value::Array(betas)) = table.get("betas")
            && let [beta1, beta2] = betas.as_slice()
        {
            let (beta1, beta2) = (beta1.clone(), beta2.clone());
            table.remove("betas");
            table.entry("adam_beta1").or_insert(beta1);
            table.entry("adam_beta2").or_insert(beta2);
        }
    }

    /// Rows per step.
    pub fn rows_per_step(&self) -> usize {
        self.batch_size * self.gradient_accumulation_steps
    }

    /// Steps per epoch of `rows` rows; the last step may have fewer rows.
    pub fn steps_per_epoch(&self, rows: usize) -> usize {
        rows.div_ceil(self.rows_per_step())
    }

    /// The first invalid value, if any.
    pub fn fault(&self) -> Option<String> {
        let positive = [
            ("rank", self.rank),
            ("batch-size", self.batch_size),
            ("gradient-accumulation-steps", self.gradient_accumulation_steps),
            ("epochs", self.epochs),
            ("max-length", self.max_length),
        ];
        if let Some((name, _)) = positive.iter().find(|(_, value)| *value == 0) {
            return Some(format!("--{name} is 0; it must be at least 1"));
        }
        let shares = [
            ("dropout", self.dropout),
            ("adam-beta1", self.adam_beta1),
            ("adam-beta2", self.adam_beta2),
        ];
        if let Some((name, value)) = shares.iter().find(|(_, share)| !(0.0..1.0).contains(share)) {
            return Some(format!("--{name} is {value}; it must be at least 0 and below 1"));
        }
        let amounts = [
            ("lr", self.learning_rate),
            ("alpha", self.alpha),
            ("max-grad-norm", self.max_grad_norm),
            ("adam-epsilon", self.adam_epsilon),
        ];
        if let Some((name, value)) = amounts.iter().find(|(_, v)| !(v.is_finite() && *v > 0.0)) {
            return Some(format!("--{name} is {value}; it must be above 0"));
        }
        if self.method == Method::Lora && self.targets.is_empty() {
            return Some("--target is empty; name at least one, such as q_proj".into());
        }
        None
    }

    /// The learning rate of a step, counted from 0, as in `transformers`'
    /// schedules.
    pub fn rate(&self, step: usize, steps: usize) -> f64 {
        if step < self.warmup_steps {
            return self.learning_rate * step as f64 / self.warmup_steps as f64;
        }
        let after = steps.saturating_sub(self.warmup_steps).max(1);
        let gone = (step - self.warmup_steps) as f64 / after as f64;
        let share = match self.lr_scheduler {
            Schedule::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * gone).cos()),
            Schedule::Linear => 1.0 - gone,
            Schedule::Constant => 1.0,
        };
        self.learning_rate * share.max(0.0)
    }
}

fn object(of: &impl Serialize) -> Result<Map<String, Value>, serde_json::Error> {
    serde_json::from_value(serde_json::to_value(of)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_those_of_the_paper() {
        let settings = Settings::of(Method::Lora);
        assert_eq!(settings.steps_per_epoch(5300), 663);
        assert_eq!(settings.steps_per_epoch(5300) * settings.epochs, 6630);
    }

    #[track_caller]
    fn check(lr_scheduler: Schedule, step: usize, expected: f64) {
        let settings = Settings { lr_scheduler, warmup_steps: 10, ..Settings::of(Method::Lora) };
        let rate = settings.rate(step, 110) / settings.learning_rate;
        assert!((rate - expected).abs() < 1e-12, "{lr_scheduler:?} at {step}: {rate}");
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
    fn old_keys_are_read() {
        let settings = Settings::of(Method::Lora);
        let Value::Object(mut old) = serde_json::to_value(&settings).unwrap() else { panic!() };
        for (was, now) in RENAMED {
            let value = old.remove(now).unwrap();
            old.insert(was.into(), value);
        }
        let [Some(beta1), Some(beta2)] = ["adam_beta1", "adam_beta2"].map(|key| old.remove(key))
        else {
            panic!()
        };
        old.insert("betas".into(), vec![beta1, beta2].into());
        Settings::rename_old_keys(&mut old);
        assert_eq!(serde_json::from_value::<Settings>(old.into()).unwrap(), settings);
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
