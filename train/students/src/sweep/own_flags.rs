//! The flags that a sweep sets itself, and that its tables therefore may not set. They are
//! checked when the file is read: a stage finds them only after hours of other stages.

use toml::Table;

use super::Sweep;
use crate::settings::Method;

/// What every run gets from the sweep.
const RUN: [&str; 4] = ["benchmark", "policy", "split", "output"];
const TRAIN: [&str; 3] = ["base", "dataset", "output"];
const DATASET: [&str; 5] = ["runs", "recipe", "format", "tokenizer", "output"];

impl Sweep {
    /// The first flag in a table that the sweep sets itself, or that two tables set for one
    /// command, in a sentence. Flags are written with `-`.
    pub(super) fn own_flag(&self) -> Option<String> {
        let run = self.own_of_runs();
        let with = |more: &[&'static str]| [&run[..], more].concat();
        let students: &[&str] = if self.dataset.is_empty() { &[] } else { &["lora"] };
        let of_models = [&with(&["model", "seed"])[..], students].concat();
        let of_models = [&of_models[..], self.thinking()].concat();
        let mut tables: Vec<(&str, &Table, &[&str])> = vec![
            ("run", &self.run, &of_models),
            ("validation", &self.validation, &of_models),
            ("export", &self.export, &["from", "output"]),
        ];
        tables.extend(self.control.iter().map(|one| ("control", &one.flags, &of_models[..])));
        let of_tasks = with(&["turns"]);
        tables.push(("tasks", &self.tasks, &of_tasks));
        let of_attempts = [&with(&["model"])[..], self.thinking()].concat();
        let of_students = [&of_attempts[..], &["lora"]].concat();
        tables.extend(self.attempts.iter().map(|one| {
            let own = match (&one.policy, &one.student) {
                (Some(_), _) => &run[..],
                (None, Some(_)) => &of_students[..],
                (None, None) => &of_attempts[..],
            };
            ("attempts", &one.flags, own)
        }));
        let train = self.own_of_trainings();
        tables.extend(
            [("train", &self.train), ("lora", &self.lora), ("full", &self.full)]
                .map(|(name, flags)| (name, flags, &train[..])),
        );
        tables.extend(self.dataset.iter().map(|one| ("dataset.flags", &one.flags, &DATASET[..])));
        for model in &self.model {
            let init = model.init.iter().map(|flags| ("model.init", flags, &TRAIN[1..]));
            let pretrain = model.pretrain.iter().map(|flags| ("model.pretrain", flags, &TRAIN[..]));
            tables.extend(init.chain(pretrain));
        }
        let own = |(name, flags, own): (&str, &Table, &[&str])| {
            let key = flags.keys().find(|key| own.contains(&key.as_str()))?;
            Some(format!("remove `{key}` from [{name}]: the sweep sets it itself"))
        };
        tables.into_iter().find_map(own).or_else(|| self.twice())
    }

    /// A flag of a method that all methods have.
    fn twice(&self) -> Option<String> {
        [("lora", &self.lora), ("full", &self.full)].into_iter().find_map(|(name, flags)| {
            let key = flags.keys().find(|key| self.train.contains_key(*key))?;
            Some(format!("`{key}` is in [train] and in [{name}]; keep one of them"))
        })
    }

    fn own_of_runs(&self) -> Vec<&'static str> {
        let mut own = RUN.to_vec();
        let has_folder = self.build.is_some() || self.benchmark_dir.is_some();
        own.extend(has_folder.then_some("benchmark-dir"));
        own.extend(self.prompts.is_some().then_some("prompts"));
        own
    }

    fn own_of_trainings(&self) -> Vec<&'static str> {
        let mut own = TRAIN.to_vec();
        own.extend(self.methods.contains(&Method::Lora).then_some("rank"));
        own.extend((!self.seeds.is_empty()).then_some("seed"));
        own
    }

    fn thinking(&self) -> &'static [&'static str] {
        if self.modes.is_empty() { &[] } else { &["think"] }
    }
}
