//! The folder of a plan: its scripts, its submissions, what its jobs wrote.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::path::Path;

use fixfly_runtime::{Recording, read_run};

use super::files::{
    Submission, Submissions, last_line, lock, optional, read, unchanged, write, write_scripts,
};
use super::job::JobFile;
use super::script::{self, own_folder};
use super::slurm::{Queue, SlurmState};
use super::state::{Part, PartState, Survey, state_of};
use super::steps::{Step, steps};
use super::words::ranges;
use super::{ClusterError, Kind, Plan, PlannedJob, Retry, slurm};

/// The folder of a plan, held by this process.
#[derive(Debug)]
pub struct Cluster {
    /// Its plan.
    pub plan: Plan,
    submissions: Submissions,
    /// Held, but never read.
    _lock: File,
}

impl Cluster {
    /// Makes the folder of a plan, or opens it if it has the same commands. Writes the scripts.
    ///
    /// # Errors
    /// [`ClusterError`], before anything is submitted.
    pub fn create(plan: Plan) -> Result<Cluster, ClusterError> {
        let own = own_folder(&plan.output);
        for name in ["scripts", "logs", "state"] {
            let folder = own.join(name);
            fs::create_dir_all(&folder).map_err(ClusterError::io("make", &folder))?;
        }
        // A container can only see folders that are there.
        for folder in plan.jobs.iter().filter_map(|job| job.output.parent()) {
            fs::create_dir_all(folder).map_err(ClusterError::io("make", folder))?;
        }
        let lock = lock(&plan.output)?;
        let (mut plan, submissions) = (plan, optional::<Submissions>(&own.join("jobs.json"))?);
        if own.join("plan.json").exists() {
            let then: Plan = read(&own.join("plan.json"))?;
            plan.take_stages(&then);
            unchanged(&then, &plan, &submissions)?;
        }
        write_scripts(&plan.scripts())?;
        write(&own.join("plan.json"), &plan)?;
        Ok(Cluster { plan, submissions, _lock: lock })
    }

    /// Opens the folder of a plan.
    ///
    /// # Errors
    /// [`ClusterError`] if there is none.
    pub fn open(output: &Path) -> Result<Cluster, ClusterError> {
        let own = own_folder(output);
        let file = own.join("plan.json");
        if !file.is_file() {
            return Err(ClusterError::NoPlan(output.into()));
        }
        let lock = lock(output)?;
        let (plan, submissions) = (read(&file)?, optional(&own.join("jobs.json"))?);
        Ok(Cluster { plan, submissions, _lock: lock })
    }

    /// The state of every part.
    ///
    /// # Errors
    /// [`ClusterError`] if Slurm does not answer, or is not the one that has the jobs.
    pub fn survey(&mut self) -> Result<Survey, ClusterError> {
        let now = slurm::place()?;
        if self.submissions.place.is_empty() {
            self.submissions.place.clone_from(&now);
        }
        if self.submissions.place != now {
            let (folder, then) = (self.plan.output.clone(), self.submissions.place.clone());
            return Err(ClusterError::Elsewhere { folder, then, now });
        }
        let mut queue = slurm::queue()?;
        self.adopt(&queue)?;
        let unknown = self.unknown(&queue);
        if !unknown.is_empty() {
            for (id, job) in slurm::ended(&unknown) {
                queue.entry(id).or_insert(job);
            }
        }
        let jobs = self.plan.jobs.iter();
        let parts =
            jobs.map(|job| (1..=job.parts).map(|part| self.part(job, part, &queue)).collect());
        Ok(Survey { parts: parts.collect() })
    }

    /// Finds the jobs whose ids a killed process did not record, by their names.
    fn adopt(&mut self, queue: &Queue) -> Result<(), ClusterError> {
        let by_name: HashMap<&str, &str> = queue
            .iter()
            .map(|(id, job)| (&*job.name, id.split('_').next().unwrap_or(id)))
            .collect();
        let before = self.submissions.jobs.len();
        let mut found = false;
        for submission in self.submissions.jobs.iter_mut().filter(|job| job.id.is_none()) {
            submission.id = by_name.get(&*submission.name).and_then(|id| id.parse().ok());
            found |= submission.id.is_some();
        }
        self.submissions.jobs.retain(|job| job.id.is_some());
        match found || self.submissions.jobs.len() < before {
            true => self.save(),
            false => Ok(()),
        }
    }

    /// The ids of parts that neither the queue nor their own files explain.
    fn unknown(&self, queue: &Queue) -> Vec<u64> {
        let mut ids = Vec::new();
        for job in &self.plan.jobs {
            for part in 1..=job.parts {
                let Some(submission) = self.latest(job, part) else { continue };
                let element = submission.element(job, part).unwrap_or_default();
                let explained =
                    queue.contains_key(&element) || self.files(job, part).exit().is_some();
                ids.extend(submission.id.filter(|_| !explained));
            }
        }
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    fn latest(&self, job: &PlannedJob, part: u32) -> Option<&Submission> {
        let is_of = |one: &&Submission| one.job == job.name && one.parts.contains(&part);
        self.submissions.jobs.iter().rev().find(is_of)
    }

    fn files(&self, job: &PlannedJob, part: u32) -> JobFile {
        JobFile::new(script::state(&self.plan, job, part))
    }

    fn part(&self, job: &PlannedJob, number: u32, queue: &Queue) -> Part {
        let Some(submission) = self.latest(job, number) else {
            return Part::new(number);
        };
        let id = submission.element(job, number);
        let found = id.as_ref().and_then(|id| queue.get(id));
        let mut state = state_of(self.files(job, number).exit(), found);
        // A merge has its record when it is complete, and is refused a second time.
        let is_merged = || job.kind == Kind::Merge && job.output.join("run.json").exists();
        if matches!(state, PartState::Lost(_)) && is_merged() {
            state = PartState::Done;
        }
        if let PartState::Failed(why) = &mut state
            && let Some(last) = last_line(&script::log(&self.plan, job, number))
        {
            *why = format!("{last} ({why})");
        }
        let queued =
            found.is_some_and(|job| matches!(job.state, SlurmState::Pending | SlurmState::Running));
        let of_job = self.submissions.jobs.iter().filter(|one| one.job == job.name);
        let lost = of_job.filter(|one| one.lost.contains(&number)).count();
        Part { number, state, id, queued, lost: u32::try_from(lost).unwrap_or(u32::MAX) }
    }

    /// The sweeps whose next stages are to be added: some of their stages ended since the last
    /// time, and what they come after is done.
    pub fn sweeps(&self, survey: &Survey) -> Vec<PlannedJob> {
        let is_done = |name: &str| survey.is_job_done(&self.plan, name);
        let waits = |job: &&PlannedJob| {
            job.kind == Kind::Sweep
                && job.held
                && job.after.iter().all(|name| is_done(name))
                && job.looked != Some(self.done_stages(job, survey))
        };
        self.plan.jobs.iter().filter(waits).cloned().collect()
    }

    fn done_stages(&self, sweep: &PlannedJob, survey: &Survey) -> usize {
        let stages = self.plan.jobs.iter().filter(|job| job.sweep.as_ref() == Some(&sweep.name));
        stages.filter(|job| survey.is_job_done(&self.plan, &job.name)).count()
    }

    /// Adds the stages of a sweep that are ready. If there are none, the sweep itself follows.
    ///
    /// # Errors
    /// [`ClusterError`] if a file cannot be written.
    pub fn add_stages(
        &mut self,
        sweep: &str,
        ready: &[String],
        survey: &mut Survey,
    ) -> Result<(), ClusterError> {
        let Some(at) = self.plan.jobs.iter().position(|job| job.name == sweep) else {
            return Ok(());
        };
        let done = self.done_stages(&self.plan.jobs[at], survey);
        self.plan.jobs[at].looked = Some(done);
        self.plan.jobs[at].held = !ready.is_empty();
        let stages = ready.iter().map(|name| self.plan.jobs[at].stage(name));
        let new = stages.filter(|job| self.plan.job(&job.name).is_none()).collect::<Vec<_>>();
        write_scripts(&new.iter().map(|job| self.plan.script(job)).collect::<Vec<_>>())?;
        for job in new.into_iter().rev() {
            survey.parts.insert(at, vec![Part::new(1)]);
            self.plan.jobs.insert(at, job);
        }
        write(&own_folder(&self.plan.output).join("plan.json"), &self.plan)
    }

    /// How many episodes a part recorded, and how many it will have, as far as they are known.
    pub fn episodes(&self, job: &PlannedJob, part: u32) -> (Option<usize>, Option<usize>) {
        if !job.records {
            return (None, None);
        }
        let run = job.run_directory(part);
        let recorded = Recording::open(&run).ok().map(|recorded| recorded.len());
        let expected = || read_run(&run).ok()?.expected_episodes();
        (recorded, (job.kind != Kind::Merge).then(expected).flatten())
    }

    /// Submits what is not in the queue, running or done. Returns a line for each call of
    /// sbatch. Changes the survey to what is so now.
    ///
    /// # Errors
    /// [`ClusterError`]; what was submitted before it is recorded.
    pub fn submit(
        &mut self,
        survey: &mut Survey,
        retry: Retry,
    ) -> Result<Vec<String>, ClusterError> {
        let mut lines = Vec::new();
        for step in steps(&self.plan, &survey.parts, retry) {
            lines.push(self.step(&step, survey)?);
        }
        Ok(lines)
    }

    fn step(&mut self, step: &Step, survey: &mut Survey) -> Result<String, ClusterError> {
        let job = self.plan.jobs[step.job].clone();
        if !step.cancel.is_empty() {
            slurm::cancel(&step.cancel)?;
        }
        for part in &step.parts {
            let file = self.files(&job, *part).exit_file();
            match fs::remove_file(&file) {
                Err(why) if why.kind() != io::ErrorKind::NotFound => {
                    return Err(ClusterError::io("remove", &file)(why));
                }
                _ => {}
            }
        }
        let mut more = Vec::new();
        if job.parts > 1 {
            more.push(format!("--array={}{}", ranges(&step.parts), job.options.at_once()));
        }
        let before = self.dependencies(&job, survey);
        if !before.is_empty() {
            more.push(format!("--dependency=afterok:{}", before.join(":")));
        }
        let tries = self.submissions.jobs.iter().filter(|one| one.job == job.name).count() + 1;
        let name = format!("fixfly-{}-{}-{tries}", job.name, self.plan.id);
        let (parts, lost) = (step.parts.clone(), step.lost.clone());
        let submission = Submission { job: job.name.clone(), name, id: None, parts, lost };
        self.submissions.jobs.push(submission.clone());
        self.save()?;
        let script = script::file(&self.plan, &job);
        let id = slurm::submit(&script, &submission.name, &more);
        if id.is_err() {
            self.submissions.jobs.pop();
        } else if let Some(last) = self.submissions.jobs.last_mut() {
            last.id = id.as_ref().ok().copied();
        }
        self.save()?;
        let id = id?;
        for part in survey.parts[step.job].iter_mut().filter(|p| step.parts.contains(&p.number)) {
            part.state = PartState::Pending(String::new());
            part.id = Submission { id: Some(id), ..submission.clone() }.element(&job, part.number);
            part.queued = true;
        }
        let of = if job.parts > 1 { format!(" {}", ranges(&step.parts)) } else { String::new() };
        let after =
            if before.is_empty() { String::new() } else { format!(", after {}", before.join(" ")) };
        let again = if step.lost.is_empty() { "submitted" } else { "submitted again" };
        Ok(format!("{}{of}: {again} as job {id}{after}", job.name))
    }

    /// The jobs that have to end well before this one starts. Whole arrays where all of an
    /// array counts, else its elements.
    fn dependencies(&self, job: &PlannedJob, survey: &Survey) -> Vec<String> {
        let mut ids = Vec::new();
        for (before, parts) in self.plan.jobs.iter().zip(&survey.parts) {
            if !job.after.contains(&before.name) {
                continue;
            }
            for part in parts.iter().filter(|part| part.state != PartState::Done) {
                let Some(submission) = self.latest(before, part.number) else { continue };
                let all = submission.parts.iter().all(|part| {
                    self.latest(before, *part).is_some_and(|latest| latest.id == submission.id)
                });
                let id = match all {
                    true => submission.id.map(|id| id.to_string()),
                    false => submission.element(before, part.number),
                };
                ids.extend(id.filter(|id| !ids.contains(id)));
            }
        }
        ids
    }

    fn save(&self) -> Result<(), ClusterError> {
        write(&own_folder(&self.plan.output).join("jobs.json"), &self.submissions)
    }
}
