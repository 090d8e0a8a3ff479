//! The benchmark of methods: tasks, evaluation and verdicts over a [`Project`].

use std::collections::{BTreeMap, HashMap};

use async_trait::async_trait;
use fixfly_runtime::{
    Answer, Benchmark, BenchmarkError, Evaluator, Example, GroundTruth, Host, Observation, Outcome,
    Sandbox, Split, Statement, Tally, Task, Verdict,
};

use crate::manifest::{Item, Manifest, RunPath, short_hash};
use crate::observe::observation;
use crate::project::{Place, Project};
use crate::server::{self, Config, Limits, Server};
use crate::source;
use crate::support::{PARTIAL_SANDBOXES, Support};

/// Functions and methods of one project to write, judged by the project's own tests.
pub struct Methods {
    name: String,
    project: Project,
    manifest: Manifest,
    by_id: HashMap<String, usize>,
    config: Config,
    support: HashMap<&'static str, Support>,
}

impl Methods {
    /// Creates the benchmark of an opened project.
    pub fn new(name: &str, project: Project, manifest: Manifest) -> Self {
        let by_id = manifest.items.iter().enumerate().map(|(at, i)| (i.id.clone(), at)).collect();
        let config = project.server(false);
        let support = HashMap::new();
        Methods { name: name.to_string(), project, manifest, by_id, config, support }
    }

    /// Adds the items that partial sandboxes support.
    pub fn with_support(
        mut self,
        support: impl IntoIterator<Item = (&'static str, Support)>,
    ) -> Self {
        self.support.extend(support);
        self
    }

    /// The manifest of the items.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The project of the items.
    pub(crate) fn project(&self) -> &Project {
        &self.project
    }

    /// All functions and methods of the project, whether they are items or not.
    pub(crate) fn places(&self) -> Vec<Place> {
        self.project.methods()
    }

    /// The task to write a method, whether the method is an item or not.
    pub(crate) fn task(&self, id: &str, place: &Place) -> Task {
        let mut task = self.project.task(&self.name, id, place);
        if self.manifest.header.mask_copies
            && let Statement::Method(method) = &mut task.statement
        {
            method.content =
                source::masked(&method.content, &place.text[place.method.body.clone()]);
        }
        task
    }

    /// Whether a method is an item. Only items have tests.
    pub(crate) fn is_item(&self, id: &str) -> bool {
        self.by_id.contains_key(id)
    }

    fn item(&self, task: &Task) -> Result<&Item, BenchmarkError> {
        let at = self.by_id.get(&task.id).ok_or_else(|| {
            let Task { id, .. } = task;
            BenchmarkError::Broken(format!("the benchmark {} has no item {id}", self.name))
        })?;
        Ok(&self.manifest.items[*at])
    }

    async fn run(
        &self,
        place: &Place,
        candidate: &str,
        path: RunPath,
        tests: Vec<String>,
        limits: Limits,
        sandbox: &dyn Sandbox,
    ) -> Result<server::Answer, BenchmarkError> {
        let server = Server { sandbox, config: &self.config };
        let request = place.request(candidate, path, tests, limits);
        let shares = path == RunPath::Cold && self.project.shares();
        server.run(&if shares { request.sharing(candidate) } else { request }).await
    }

    /// Runs a passing candidate again with a body that raises at its end. True if the tests
    /// still pass: they do not depend on the method. If the original method also passes
    /// like this (such as a generator that its tests never exhaust), the control proves
    /// nothing, and this returns false.
    async fn survives_sabotage(
        &self,
        item: &Item,
        place: &Place,
        candidate: &str,
        sandbox: &dyn Sandbox,
    ) -> Result<bool, BenchmarkError> {
        for method in [candidate, &place.truth()] {
            let Ok(sabotaged) = source::sabotaged(method) else { return Ok(false) };
            let limits = Limits::for_tests(item.seconds);
            let answer =
                self.run(place, &sabotaged, item.path, item.tests.ids(), limits, sandbox).await?;
            if answer.outcome != Outcome::Passed {
                return Ok(method != candidate);
            }
        }
        Ok(false)
    }

    /// Runs the item tests and the hidden tests in one process on the reference path. The
    /// result counts only if all pass, so that a failing hidden test cannot affect the item
    /// tests.
    async fn together(
        &self,
        item: &Item,
        place: &Place,
        candidate: &str,
        sandbox: &dyn Sandbox,
    ) -> Result<server::Answer, BenchmarkError> {
        let tests = [item.tests.ids(), item.wider.ids()].concat();
        let limits = Limits::for_tests(item.seconds + item.wider.len() as f64);
        self.run(place, candidate, RunPath::Cold, tests, limits, sandbox).await
    }

    async fn wider(
        &self,
        item: &Item,
        place: &Place,
        candidate: &str,
        sandbox: &dyn Sandbox,
    ) -> Result<(Option<Tally>, Vec<String>), BenchmarkError> {
        if item.wider.is_empty() {
            return Ok((None, Vec::new()));
        }
        let limits = Limits::for_tests(item.seconds + item.wider.len() as f64);
        let answer =
            self.run(place, candidate, item.path, item.wider.ids(), limits, sandbox).await?;
        let failed: Vec<String> = answer.bad().map(|result| result.id.clone()).collect();
        let total = answer.results.len();
        Ok((Some(Tally { passed: total - failed.len(), total }), failed))
    }
}

#[async_trait]
impl Benchmark for Methods {
    async fn tasks(&self, split: Split) -> Result<Vec<Task>, BenchmarkError> {
        let items = self.manifest.items.iter().filter(|item| item.split == split);
        items.map(|item| Ok(self.task(&item.id, &self.project.place(item)?))).collect()
    }

    fn evaluator(&self) -> Option<&dyn Evaluator> {
        Some(self)
    }

    async fn judge(
        &self,
        task: &Task,
        candidate: &str,
        fresh: &dyn Sandbox,
    ) -> Result<Verdict, BenchmarkError> {
        let item = self.item(task)?;
        let place = self.project.place(item)?;
        let candidate = &*reduced(task, candidate, &place)?;
        let limits = Limits::for_tests(item.seconds);
        let mut answer = self.together(item, &place, candidate, fresh).await?;
        let together = answer.outcome == Outcome::Passed;
        if together {
            answer.results.truncate(item.tests.len());
        } else {
            let tests = item.tests.ids();
            answer = self.run(&place, candidate, RunPath::Cold, tests, limits, fresh).await?;
        }
        let mut verdict = Verdict {
            exact_match: source::normal_form(candidate) == source::normal_form(&place.truth()),
            ..first_verdict(&answer, candidate)
        };
        if verdict.solved && self.survives_sabotage(item, &place, candidate, fresh).await? {
            survived(&mut verdict);
        }
        if verdict.solved && together {
            let total = item.wider.len();
            verdict.wider = (total > 0).then_some(Tally { passed: total, total });
            verdict.hidden_tests_pass = verdict.wider.map(|_| true);
        } else if verdict.solved {
            (verdict.wider, verdict.wider_failed) =
                self.wider(item, &place, candidate, fresh).await?;
            verdict.hidden_tests_pass = verdict.wider.map(|tally| tally.passed == tally.total);
        }
        Ok(verdict)
    }

    fn unsupported(&self, task: &Task, sandbox: &str) -> Option<String> {
        if !PARTIAL_SANDBOXES.contains(&sandbox) {
            return None;
        }
        let item_support =
            self.item(task).ok().and_then(|item| self.support.get(sandbox)?.get(item));
        match item_support {
            Some(found) => found.why.clone(),
            None => Some(format!("not probed in {sandbox} yet (see `fixfly bench probe --help`)")),
        }
    }

    fn test_seconds(&self, task: &Task) -> Option<f64> {
        self.item(task).ok().map(|item| item.seconds)
    }

    fn facts(&self) -> BTreeMap<String, String> {
        let header = &self.manifest.header;
        let fact = |name: &str, value: &str| (name.to_string(), value.to_string());
        BTreeMap::from([
            fact("package", &header.source.package),
            fact("version", &header.source.version),
            fact("source_sha256", &header.source.sha256),
            fact("framework", &header.framework),
            fact("manifest_hash", &short_hash(self.manifest.text().as_bytes())),
        ])
    }

    fn ground_truth(&self) -> &dyn GroundTruth {
        self
    }
}

#[async_trait]
impl Evaluator for Methods {
    async fn evaluate(
        &self,
        task: &Task,
        candidate: &str,
        sandbox: &dyn Sandbox,
    ) -> Result<Observation, BenchmarkError> {
        let item = self.item(task)?;
        let place = self.project.place(item)?;
        let candidate = match source::candidate_for(candidate, &place.method, &place.text) {
            Ok(candidate) => candidate,
            Err(invalid) => return Ok(Observation::invalid(invalid.to_string())),
        };
        let limits = Limits::for_tests(item.seconds);
        let answer = self
            .run(&place, &candidate.source, item.path, item.tests.ids(), limits, sandbox)
            .await?;
        let report = answer.report();
        Ok(Observation {
            text: observation(answer.outcome, &report, &candidate.notes),
            outcome: answer.outcome,
            tests: Some(report),
            candidate: Some(candidate.source),
            patch: None,
            left_out: Vec::new(),
        })
    }

    fn patch(&self, task: &Task, candidate: &str) -> Result<String, BenchmarkError> {
        let place = self.project.place(self.item(task)?)?;
        let spliced = source::spliced(&place.text, &place.method, candidate);
        Ok(patch(&place.file, &place.stubbed(), &spliced))
    }
}

impl GroundTruth for Methods {
    fn examples(&self) -> Result<Vec<Example>, BenchmarkError> {
        let items = self.manifest.items.iter().filter(|item| item.split == Split::Train);
        items
            .map(|item| {
                let place = self.project.place(item)?;
                let mut method = self.project.statement(&place);
                method.content.clear();
                Ok(Example { id: item.id.clone(), method, source: place.truth() })
            })
            .collect()
    }

    fn answer(&self, task: &Task, answer: Answer) -> Result<String, BenchmarkError> {
        let place = self.project.place(self.item(task)?)?;
        Ok(match answer {
            Answer::Truth => place.truth(),
            Answer::Stub => source::stub(&place.text, &place.method),
        })
    }
}

/// A submitted candidate without all but its method: nothing else may be written to the file,
/// whatever the policy submitted.
pub(crate) fn reduced(
    task: &Task,
    candidate: &str,
    place: &Place,
) -> Result<String, BenchmarkError> {
    let candidate = source::candidate(candidate, &place.method.name)
        .map_err(|why| BenchmarkError::Broken(format!("{}: invalid candidate: {why}", task.id)))?;
    Ok(candidate.source)
}

/// The verdict after the tests that decide, before the sabotage control and other tests.
pub(crate) fn first_verdict(answer: &server::Answer, candidate: &str) -> Verdict {
    let tampered = answer.outcome == Outcome::Tampered;
    Verdict {
        solved: answer.outcome == Outcome::Passed,
        tests: answer.report(),
        review: source::review(candidate).unwrap_or_default(),
        tampering: tampered.then(|| "a test that must fail did not".to_string()),
        ..Verdict::default()
    }
}

/// The tests also pass with the sabotaged candidate, so they prove nothing.
pub(crate) fn survived(verdict: &mut Verdict) {
    verdict.solved = false;
    verdict.tampering = Some("they also pass when the method raises".to_string());
}

/// Evaluates a candidate in a sandbox opened for it.
pub(crate) async fn evaluate(
    host: &dyn Host,
    evaluator: &dyn Evaluator,
    task: &Task,
    code: &str,
) -> Result<Observation, BenchmarkError> {
    let sandbox = host.open(&task.sandbox).await?;
    let observed = evaluator.evaluate(task, code, &*sandbox).await;
    sandbox.close().await?;
    observed
}

/// A unified diff with git's file names.
pub(crate) fn patch(file: &str, from: &str, to: &str) -> String {
    let mut options = diffy::DiffOptions::new();
    options.set_original_filename(format!("a/{file}")).set_modified_filename(format!("b/{file}"));
    options.create_patch(from, to).to_string()
}
