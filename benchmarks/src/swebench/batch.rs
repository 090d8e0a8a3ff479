//! Grades many patches in parallel.

use std::sync::Arc;

use fixfly_runtime::{BenchmarkError, Host, Parallel};

use super::grader::Grader;
use super::instance::Instance;
use super::prediction::Prediction;
use super::verdict::Graded;

/// A patch to grade.
#[derive(Clone, Debug, PartialEq)]
pub struct Job {
    /// The instance.
    pub instance: Instance,
    /// The patch; empty if there is none.
    pub patch: String,
    /// Whether tests were removed from it.
    pub cleaned: bool,
    /// Whether to grade it again if it has a grade.
    pub force: bool,
}

/// The grades of many patches.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Grades {
    /// The grades, in the order of completion.
    pub graded: Vec<Graded>,
    /// The infrastructure failures that prevented the other grades, with their instances.
    pub failures: Vec<String>,
}

impl Grader {
    /// The patches of predictions whose instances are ready. If `clean`, only the parts
    /// that are a fix, and the paths that were dropped, with reasons.
    ///
    /// # Errors
    /// [`BenchmarkError`] if an instance is not ready.
    pub fn jobs(
        &self,
        predictions: &[Prediction],
        (clean, force): (bool, bool),
    ) -> Result<(Vec<Job>, Vec<String>), BenchmarkError> {
        let (mut jobs, mut dropped) = (Vec::new(), Vec::new());
        for prediction in predictions {
            let Ok(instance) = self.instance(&prediction.id) else { continue };
            let mut patch = prediction.patch.clone().unwrap_or_default();
            if clean {
                let cleaned = self.cleaned(instance, &patch)?;
                let paths = cleaned.dropped.iter();
                dropped.extend(paths.map(|what| format!("{}: dropped {what}", instance.id)));
                patch = cleaned.patch;
            }
            jobs.push(Job { instance: instance.clone(), patch, cleaned: clean, force });
        }
        Ok((jobs, dropped))
    }

    /// Grades patches, `parallel` at a time. `finished` is called after each; it gets the
    /// grade, if there is one.
    ///
    /// # Errors
    /// [`BenchmarkError::Bug`] if a grading panicked. Infrastructure failures are in the
    /// result.
    pub async fn grade_all(
        self: &Arc<Self>,
        host: &Arc<dyn Host>,
        (jobs, parallel): (Vec<Job>, usize),
        mut finished: impl FnMut(Option<&Graded>),
    ) -> Result<Grades, BenchmarkError> {
        let grades = jobs.into_iter().map(|job| {
            let (grader, host) = (self.clone(), host.clone());
            async move {
                let graded = grader.graded(&job, &*host).await;
                (job.instance.id, graded)
            }
        });
        let mut grades = Parallel::new(parallel, grades);
        let mut all = Grades::default();
        while let Some(graded) = grades.next().await {
            let (id, graded) = graded.map_err(BenchmarkError::bug("a patch"))?;
            finished(graded.as_ref().ok());
            match graded {
                Ok(graded) => all.graded.push(graded),
                Err(error) => all.failures.push(format!("{id}: {error}")),
            }
        }
        Ok(all)
    }
}
