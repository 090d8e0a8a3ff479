//! The settings of a training, as flags and as a file.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser};
use fixfly_students::{Method, Schedule, Settings, Target};

use super::named;
use crate::failure::Usage;

/// The defaults are the paper's.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Hyperparameters")]
pub(super) struct Hyper {
    /// TOML file of settings, with the keys of train.json; flags override it
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,

    /// Rank of the adapter [default: 32]
    #[arg(long, value_name = "N")]
    rank: Option<usize>,

    /// Scale of the adapter: alpha / rank [default: twice the rank]
    #[arg(long, value_name = "X")]
    alpha: Option<f64>,

    /// Dropout probability of the adapter's input [default: 0.05]
    #[arg(long, value_name = "SHARE")]
    dropout: Option<f64>,

    /// Matrices that get an adapter, or `all` [default: q_proj,k_proj,v_proj,o_proj]
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = target_names())]
    target: Vec<String>,

    /// Peak learning rate [default: 1e-4; full: 5e-6]
    #[arg(long, value_name = "X")]
    lr: Option<f64>,

    /// Steps of linear warmup to the peak learning rate [default: 10; full: 100]
    #[arg(long, value_name = "STEPS")]
    warmup_steps: Option<usize>,

    /// Learning rate schedule after the warmup [default: cosine]
    #[arg(long, value_name = "NAME", value_parser = named::<Schedule>(&["cosine", "linear", "constant"]))]
    lr_scheduler: Option<Schedule>,

    /// AdamW's beta1, the decay rate of the gradients' mean [default: 0.9]
    #[arg(long, value_name = "X")]
    adam_beta1: Option<f64>,

    /// AdamW's beta2, the decay rate of the squared gradients' mean [default: 0.999]
    #[arg(long, value_name = "X")]
    adam_beta2: Option<f64>,

    /// AdamW's epsilon [default: 1e-8]
    #[arg(long, value_name = "X")]
    adam_epsilon: Option<f64>,

    /// AdamW's weight decay [default: 0.001]
    #[arg(long, value_name = "X")]
    weight_decay: Option<f64>,

    /// Maximum gradient norm; larger gradients are scaled down [default: 1.0]
    #[arg(long, value_name = "X")]
    max_grad_norm: Option<f64>,

    /// Rows per batch [default: 1]
    #[arg(long, value_name = "N")]
    batch_size: Option<usize>,

    /// Batches per optimiser step [default: 8]
    #[arg(long, value_name = "N")]
    gradient_accumulation_steps: Option<usize>,

    /// Passes over the dataset; each ends with a checkpoint [default: 10]
    #[arg(long, value_name = "N")]
    epochs: Option<usize>,

    /// Maximum length of a row, in tokens; a longer row is an error [default: 32768]
    #[arg(long, value_name = "N")]
    max_length: Option<usize>,

    /// Train on prompts too: for pretraining
    #[arg(long)]
    train_on_prompt: bool,

    /// Seed of row order, dropout and adapter initialisation [default: 42]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
}

/// The name of all matrices together.
const ALL: &str = "all";

fn target_names() -> PossibleValuesParser {
    let names = Target::ALL.map(|target| PossibleValue::new(target.name()));
    PossibleValuesParser::new(names.into_iter().chain([PossibleValue::new(ALL).help("All seven")]))
}

impl Hyper {
    /// The settings that result from the flags and the file.
    pub(super) fn settings(&self, method: Method) -> anyhow::Result<Settings> {
        let mut settings = self.file(method)?;
        if let Some(rank) = self.rank {
            settings.rank = rank;
            settings.alpha = 2.0 * rank as f64;
        }
        if !self.target.is_empty() {
            settings.targets = targets(&self.target);
        }
        set(&mut settings.lr_scheduler, self.lr_scheduler);
        set(&mut settings.alpha, self.alpha);
        set(&mut settings.dropout, self.dropout);
        set(&mut settings.learning_rate, self.lr);
        set(&mut settings.warmup_steps, self.warmup_steps);
        set(&mut settings.adam_beta1, self.adam_beta1);
        set(&mut settings.adam_beta2, self.adam_beta2);
        set(&mut settings.adam_epsilon, self.adam_epsilon);
        set(&mut settings.weight_decay, self.weight_decay);
        set(&mut settings.max_grad_norm, self.max_grad_norm);
        set(&mut settings.batch_size, self.batch_size);
        set(&mut settings.gradient_accumulation_steps, self.gradient_accumulation_steps);
        set(&mut settings.epochs, self.epochs);
        set(&mut settings.max_length, self.max_length);
        settings.train_on_prompt |= self.train_on_prompt;
        set(&mut settings.seed, self.seed);
        match settings.fault() {
            None => Ok(settings),
            Some(fault) => Err(Usage(fault).into()),
        }
    }

    /// The paper's defaults, overridden by the file.
    fn file(&self, method: Method) -> anyhow::Result<Settings> {
        let Some(file) = &self.settings else { return Ok(Settings::of(method)) };
        let shown = file.display();
        let text =
            fixfly_runtime::read_text(file).with_context(|| format!("cannot read {shown}"))?;
        Ok(Settings::read(method, &text).map_err(|why| Usage(format!("{shown}: {why}")))?)
    }
}

fn set<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

fn targets(names: &[String]) -> Vec<Target> {
    let chosen = |target: &Target| names.iter().any(|name| [target.name(), ALL].contains(&&**name));
    Target::ALL.into_iter().filter(chosen).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_hugging_face() {
        let targets =
            |names: &[&str]| targets(&names.iter().map(ToString::to_string).collect::<Vec<_>>());
        assert_eq!(targets(&["all"]), Target::ALL);
        assert_eq!(targets(&["down_proj", "q_proj"]), [Target::QProj, Target::DownProj]);
    }

    #[track_caller]
    fn check(text: &str, flags: Hyper, expected: &dyn Fn(&Settings) -> bool) {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("settings.toml");
        std::fs::write(&file, text).unwrap();
        let hyper = Hyper { settings: Some(file), ..flags };
        let settings = hyper.settings(Method::Lora).unwrap();
        assert!(expected(&settings), "{settings:?}");
    }

    #[test]
    fn flags_override_a_file_and_a_file_overrides_the_defaults() {
        let text = "rank = 16\nalpha = 16.0\nepochs = 3\ntargets = [\"q_proj\"]";
        check(text, Hyper::default(), &|s| {
            (s.rank, s.alpha, s.epochs, s.seed) == (16, 16.0, 3, 42)
        });
        let old = "warmup = 7\nbetas = [0.8, 0.99]\nmax_tokens = 9";
        check(old, Hyper::default(), &|s| {
            (s.warmup_steps, s.adam_beta1, s.adam_beta2, s.max_length) == (7, 0.8, 0.99, 9)
        });
        let flags = Hyper { epochs: Some(5), rank: Some(64), ..Hyper::default() };
        check(text, flags, &|s| (s.rank, s.alpha, s.epochs) == (64, 128.0, 5));
    }
}
