//! What a training does, as flags and as a file.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser};
use fixfly_train::{Method, Schedule, Settings, Target};

use super::named;
use crate::failure::Usage;

/// Each is the thesis' where it is not given.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "What is learned, and how")]
pub(super) struct Hyper {
    /// TOML file of settings, as train.json has them; flags go before it
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,

    /// Rank of the adapter [default: 32]
    #[arg(long, value_name = "N")]
    rank: Option<usize>,

    /// An adapter counts alpha / rank times [default: twice the rank]
    #[arg(long, value_name = "X")]
    alpha: Option<f64>,

    /// Share of an adapter's input that is left out [default: 0.05]
    #[arg(long, value_name = "SHARE")]
    dropout: Option<f64>,

    /// Matrices with an adapter; `all` [default: q_proj,k_proj,v_proj,o_proj]
    #[arg(long, value_name = "NAMES", value_delimiter = ',', value_parser = target_names())]
    target: Vec<String>,

    /// Highest learning rate [default: 1e-4; full: 5e-6]
    #[arg(long, value_name = "X")]
    lr: Option<f64>,

    /// Steps until it is reached [default: 10; full: 100]
    #[arg(long, value_name = "STEPS")]
    warmup: Option<usize>,

    /// How it goes on from there [default: cosine]
    #[arg(long, value_name = "NAME", value_parser = named::<Schedule>(&["cosine", "linear", "constant"]))]
    schedule: Option<Schedule>,

    /// AdamW's memory of gradients [default: 0.9]
    #[arg(long, value_name = "X")]
    beta1: Option<f64>,

    /// AdamW's memory of their squares [default: 0.999]
    #[arg(long, value_name = "X")]
    beta2: Option<f64>,

    /// AdamW's epsilon [default: 1e-8]
    #[arg(long, value_name = "X")]
    epsilon: Option<f64>,

    /// [default: 0.001]
    #[arg(long, value_name = "X")]
    weight_decay: Option<f64>,

    /// The longest gradient [default: 1.0]
    #[arg(long, value_name = "X")]
    clip: Option<f64>,

    /// Rows at a time [default: 1]
    #[arg(long, value_name = "N")]
    batch: Option<usize>,

    /// Batches in a step [default: 8]
    #[arg(long, value_name = "N")]
    accumulation: Option<usize>,

    /// Times each row is seen, and checkpoints [default: 10]
    #[arg(long, value_name = "N")]
    epochs: Option<usize>,

    /// The longest row, in tokens; a longer one is an error [default: 32768]
    #[arg(long, value_name = "N")]
    max_tokens: Option<usize>,

    /// Learn prompts too: for a model that has not learned its language yet
    #[arg(long)]
    train_on_prompt: bool,

    /// What orders rows, leaves out and begins adapters [default: 42]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
}

/// Every matrix, by this name.
const ALL: &str = "all";

fn target_names() -> PossibleValuesParser {
    let names = Target::ALL.map(|target| PossibleValue::new(target.name()));
    PossibleValuesParser::new(names.into_iter().chain([PossibleValue::new(ALL).help("All seven")]))
}

impl Hyper {
    /// The settings they make together.
    pub(super) fn settings(&self, method: Method) -> anyhow::Result<Settings> {
        let mut settings = self.file(method)?;
        if let Some(rank) = self.rank {
            settings.rank = rank;
            settings.alpha = 2.0 * rank as f64;
        }
        if !self.target.is_empty() {
            settings.targets = targets(&self.target);
        }
        set(&mut settings.schedule, self.schedule);
        set(&mut settings.alpha, self.alpha);
        set(&mut settings.dropout, self.dropout);
        set(&mut settings.learning_rate, self.lr);
        set(&mut settings.warmup, self.warmup);
        set(&mut settings.betas.0, self.beta1);
        set(&mut settings.betas.1, self.beta2);
        set(&mut settings.epsilon, self.epsilon);
        set(&mut settings.weight_decay, self.weight_decay);
        set(&mut settings.clip, self.clip);
        set(&mut settings.batch, self.batch);
        set(&mut settings.accumulation, self.accumulation);
        set(&mut settings.epochs, self.epochs);
        set(&mut settings.max_tokens, self.max_tokens);
        settings.train_on_prompt |= self.train_on_prompt;
        set(&mut settings.seed, self.seed);
        match settings.fault() {
            None => Ok(settings),
            Some(fault) => Err(Usage(fault).into()),
        }
    }

    /// The thesis' settings, with what a file says in their place.
    fn file(&self, method: Method) -> anyhow::Result<Settings> {
        let settings = Settings::of(method);
        let Some(file) = &self.settings else { return Ok(settings) };
        let shown = file.display();
        let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {shown}"))?;
        let fault = |why: String| Usage(format!("{shown}: {why}"));
        let said: toml::Table = toml::from_str(&text).map_err(|why| fault(why.to_string()))?;
        let serde_json::Value::Object(mut all) = serde_json::to_value(&settings)? else {
            return Ok(settings);
        };
        for (key, value) in said {
            all.insert(key, serde_json::to_value(value)?);
        }
        let settings: Settings =
            serde_json::from_value(all.into()).map_err(|why| fault(why.to_string()))?;
        match settings.method == method {
            true => Ok(settings),
            false => Err(fault(format!(
                "its method is {}, not {}",
                settings.method.name(),
                method.name()
            ))
            .into()),
        }
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
    fn flags_go_before_a_file_and_a_file_before_the_thesis() {
        let text = "rank = 16\nalpha = 16.0\nepochs = 3\ntargets = [\"q_proj\"]";
        check(text, Hyper::default(), &|s| {
            (s.rank, s.alpha, s.epochs, s.seed) == (16, 16.0, 3, 42)
        });
        let flags = Hyper { epochs: Some(5), rank: Some(64), ..Hyper::default() };
        check(text, flags, &|s| (s.rank, s.alpha, s.epochs) == (64, 128.0, 5));
    }
}
