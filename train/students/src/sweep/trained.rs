//! The students of a sweep: their trainings, checkpoints and runs.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use fixfly_runtime::{Recording, ThinkingMode};

use super::artifacts::ArtifactStore;
use super::stage::{Stage, Verb};
use super::work::{Base, Served, SweepRun, Wanted, integer, label, thinking};
use super::{Checkpoints, Commands, Control, SweepError, VALIDATION};
use crate::checkpoint::{Checkpoint, checkpoints, choose};
use crate::settings::Method;

impl<C: Commands> SweepRun<'_, C> {
    /// The seeds of trainings; `None`: the default.
    pub(super) fn seeds(&self) -> Vec<Option<u32>> {
        match self.sweep.seeds.is_empty() {
            true => vec![None],
            false => self.sweep.seeds.iter().copied().map(Some).collect(),
        }
    }

    /// The students of a training: one for each checkpoint to run.
    pub(super) fn train(
        &self,
        model: &Base<'_>,
        (dataset, labels): (&Path, &toml::Table),
        (method, rank, seed): (Method, u32, Option<u32>),
    ) -> Result<Vec<Served>, C::Error> {
        let mut labels = labels.clone();
        labels.insert("method".into(), method.name().into());
        let dataset_name = labels.get("dataset").and_then(toml::Value::as_str).unwrap_or_default();
        let mut name = format!("{}-{dataset_name}-{}", model.name, method.name());
        let flags = match method {
            Method::Full => &self.sweep.full,
            Method::Lora => {
                name = format!("{name}-r{rank}");
                labels.insert("rank".into(), toml::Value::Integer(rank.into()));
                &self.sweep.lora
            }
        };
        name.extend(seed.map(|seed| format!("-s{seed}")));
        let mut stage = Stage::new("students", &name, Verb::Train(method));
        if method == Method::Lora {
            stage = stage.set("rank", rank);
        }
        if let Some(seed) = seed {
            stage = stage.set("seed", seed);
        }
        let base = &model.trained;
        let stage = stage.of(&[base]).path("base", base).path("dataset", dataset);
        let student = self.artifacts.make(&stage.with(&self.sweep.train)?.with(flags)?)?;
        let (mut students, mut waits) = (Vec::new(), false);
        for checkpoint in self.wanted(&student)? {
            let epoch = checkpoint.facts.epoch.unwrap_or(0);
            let name = format!("{name}-e{epoch}");
            let stage = Stage::new("adapters", &name, Verb::ExportGguf);
            let mut stage = stage.path("from", &checkpoint.folder);
            stage = match method {
                Method::Lora => stage.path("base", base),
                Method::Full => stage.with(&self.sweep.export)?,
            };
            let made = self.artifacts.make(&stage.file("gguf"));
            let Some(made) = self.artifacts.unless_waiting(made, &mut waits)? else { continue };
            let mut labels = labels.clone();
            labels.insert("epoch".into(), integer(epoch));
            let (whole, adapter) = match method {
                Method::Lora => (model.whole.clone(), Some(made)),
                Method::Full => (made, None),
            };
            students.push(Served { whole, adapter, name, labels });
        }
        ArtifactStore::<C>::nothing_waits(waits)?;
        Ok(students)
    }

    /// Runs the students of one training, and the controls of the one that is chosen.
    pub(super) fn run_trained(
        &mut self,
        mut students: Vec<Served>,
        dataset: &str,
    ) -> Result<(), C::Error> {
        let (mut splits, others) = (self.sweep.splits.clone(), self.splits(false));
        if self.sweep.checkpoints == Checkpoints::Validated {
            let validation = self.splits(true);
            let mut solved = BTreeMap::<usize, usize>::new();
            for (student, run) in
                self.run(&students, Wanted { splits: &validation, control: None })?
            {
                let recorded = Recording::open(&run).map_err(SweepError::from)?;
                *solved.entry(student).or_default() +=
                    recorded.summaries().iter().filter(|e| e.solved()).count();
            }
            // Of equals the last, as in reports.
            let best = solved.into_iter().max_by_key(|(_, solved)| *solved);
            students = students.into_iter().skip(best.map_or(0, |(at, _)| at)).take(1).collect();
            // Students of several seeds are one configuration, whatever their epochs.
            students.iter_mut().for_each(|student| drop(student.labels.remove("epoch")));
            splits = others.clone();
        }
        for student in &students {
            let student = (student.whole.clone(), student.adapter.clone());
            self.trained.insert(dataset.into(), student);
        }
        let (artifacts, mut waits) = (self.artifacts, false);
        let run = self.run(&students, Wanted { splits: &splits, control: None });
        artifacts.unless_waiting(run, &mut waits)?;
        for control in &self.sweep.control {
            let named = |name: &String| name == dataset;
            if control.datasets.is_empty() || control.datasets.iter().any(named) {
                let splits = if control.splits.is_empty() { &others } else { &control.splits };
                let run = self.run(&students, Wanted { splits, control: Some(control) });
                artifacts.unless_waiting(run, &mut waits)?;
            }
        }
        ArtifactStore::<C>::nothing_waits(waits)
    }

    /// The checkpoints of a training to run.
    fn wanted(&self, student: &Path) -> Result<Vec<Checkpoint>, SweepError> {
        let all = checkpoints(student)?;
        let ends = all.iter().filter(|one| one.facts.epoch.is_some());
        Ok(match self.sweep.checkpoints {
            Checkpoints::Chosen => choose(&all).into_iter().cloned().collect(),
            Checkpoints::All | Checkpoints::Validated => ends.cloned().collect(),
        })
    }

    /// Whether models reason, in each mode.
    pub(super) fn modes(&self) -> Vec<ThinkingMode> {
        match self.sweep.modes.is_empty() {
            true => vec![ThinkingMode::Default],
            false => self.sweep.modes.clone(),
        }
    }

    /// Runs each student in each mode on each split, `repeats` times. One engine serves
    /// all adapters of a model. Returns each run with the index of its student.
    pub(super) fn run(
        &mut self,
        students: &[Served],
        Wanted { splits, control }: Wanted<'_>,
    ) -> Result<Vec<(usize, PathBuf)>, C::Error> {
        let (mut made, mut waits) = (Vec::new(), false);
        // An engine has one set of flags.
        let at_once = if self.sweep.validation.is_empty() { splits.len() } else { 1 };
        let groups: Vec<&[String]> = splits.chunks(at_once.max(1)).collect();
        for (mode, splits) in
            self.modes().into_iter().flat_map(|mode| groups.iter().map(move |s| (mode, *s)))
        {
            let mut stages = Vec::new();
            for student in students.iter().enumerate() {
                for split in splits {
                    for repeat in 0..self.sweep.repeats {
                        stages
                            .push((student, self.once(student.1, mode, (split, control), repeat)?));
                    }
                }
            }
            let mut to_do = Vec::new();
            for ((_, served), stage) in &stages {
                to_do.extend(self.artifacts.to_do(stage)?.filter(|_| served.adapter.is_some()));
            }
            let mut swapped = self.artifacts.commands.students(&to_do)?.into_iter();
            for ((at, served), stage) in stages {
                let run = match served.adapter {
                    None => self.artifacts.make(&stage),
                    Some(_) => self.artifacts.make_by(&stage, |_| match swapped.next() {
                        Some(student) => self.artifacts.commands.run(student),
                        None => {
                            let why = format!("a student of {} is missing", served.name);
                            Err(SweepError::Broken(why).into())
                        }
                    }),
                };
                let Some(run) = self.artifacts.unless_waiting(run, &mut waits)? else { continue };
                let mut labels = served.labels.clone();
                if let Some(mode) = label(mode) {
                    labels.insert("mode".into(), mode.into());
                }
                if let Some(control) = control {
                    labels.insert("control".into(), control.name.clone().into());
                }
                labels.insert("path".into(), self.artifacts.within(&run).into());
                self.runs.push(labels);
                made.push((at, run));
            }
        }
        ArtifactStore::<C>::nothing_waits(waits)?;
        Ok(made)
    }

    fn once(
        &self,
        served: &Served,
        mode: ThinkingMode,
        (split, control): (&str, Option<&Control>),
        repeat: u64,
    ) -> Result<Stage, SweepError> {
        let said = label(mode).map_or_else(String::new, |mode| format!("-{mode}"));
        let of = control.map_or_else(String::new, |control| format!("-{}", control.name));
        let name = format!("{}{said}{of}-{split}-{repeat}", served.name);
        // `fixfly report RUN,label=VALUE` takes commas and equals signs for its own.
        let stage = self.runs(&name.replace([' ', '/', ',', '='], "-"), "llama", split);
        let mut stage = stage.path("model", &served.whole).of(&[&served.whole]);
        stage = stage.set("seed", i64::try_from(repeat).unwrap_or(i64::MAX));
        if let Some(adapter) = &served.adapter {
            stage = stage.path("lora", adapter);
        }
        let mut flags = self.sweep.run.clone();
        if split == VALIDATION {
            flags.extend(self.sweep.validation.clone());
        }
        flags.extend(control.iter().flat_map(|control| control.flags.clone()));
        thinking(stage, mode).with(&flags)
    }
}
