//! The benchmark of methods: tasks, evaluation and verdicts over a [`Project`].

use std::collections::{BTreeMap, HashMap};
use std::slice;

use async_trait::async_trait;
use fixfly_runtime::{
    Answer, Benchmark, BenchmarkError, Evaluator, Example, GroundTruth, Host, Observation, Outcome,
    Sandbox, Split, Tally, Task, Verdict,
};

use crate::manifest::{Item, Manifest, RunPath, short_hash};
use crate::observe::observation;
use crate::places::{Place, Places, Reduced};
use crate::project::Project;
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
        self.without_copies(self.project.task(&self.name, id, place), slice::from_ref(place))
    }

    fn item_task(&self, item: &Item) -> Result<Task, BenchmarkError> {
        let places = self.project.places(item)?;
        Ok(match places.each() {
            [place] => self.task(&item.id, place),
            several => {
                let task = self.project.joint_task(&self.name, &item.id, &places);
                self.without_copies(task, several)
            }
        })
    }

    /// The task; its prompt hides copies of the methods' bodies, if that is wanted.
    fn without_copies(&self, mut task: Task, places: &[Place]) -> Task {
        if self.manifest.header.mask_copies {
            let content =
                places.iter().fold(task.statement.content().to_string(), |text, place| {
                    source::masked(&text, &place.text[place.method.body.clone()])
                });
            task.statement.set_content(content);
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
        places: &Places,
        sources: &[String],
        path: RunPath,
        tests: Vec<String>,
        limits: Limits,
        sandbox: &dyn Sandbox,
    ) -> Result<server::Answer, BenchmarkError> {
        let server = Server { sandbox, config: &self.config };
        let request = places.request(sources, path, tests, limits);
        let shares = path == RunPath::Cold && self.project.shares();
        server.run(&if shares { request.sharing(&sources[0]) } else { request }).await
    }

    /// Runs a passing candidate again, each of its methods in turn with a body that raises at
    /// its end. True if the tests still pass: they do not depend on that method. If the
    /// original method also passes like this (such as a generator that its tests never
    /// exhaust), the control proves nothing of it.
    async fn survives_sabotage(
        &self,
        item: &Item,
        places: &Places,
        candidate: &[String],
        sandbox: &dyn Sandbox,
    ) -> Result<bool, BenchmarkError> {
        let truths = places.truths();
        for at in 0..candidate.len() {
            if self.passes_sabotaged(item, places, (candidate, at), sandbox).await?
                && !self.passes_sabotaged(item, places, (&truths, at), sandbox).await?
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Whether the item tests pass with these sources, one of them sabotaged.
    async fn passes_sabotaged(
        &self,
        item: &Item,
        places: &Places,
        (sources, at): (&[String], usize),
        sandbox: &dyn Sandbox,
    ) -> Result<bool, BenchmarkError> {
        let Ok(sabotaged) = source::sabotaged(&sources[at]) else { return Ok(false) };
        let mut sources = sources.to_vec();
        sources[at] = sabotaged;
        let limits = Limits::for_tests(item.seconds);
        let answer =
            self.run(places, &sources, item.path, item.tests.ids(), limits, sandbox).await?;
        Ok(answer.outcome == Outcome::Passed)
    }

    /// Runs the item tests and the hidden tests in one process on the reference path. The
    /// result counts only if all pass, so that a failing hidden test cannot affect the item
    /// tests.
    async fn together(
        &self,
        item: &Item,
        places: &Places,
        sources: &[String],
        sandbox: &dyn Sandbox,
    ) -> Result<server::Answer, BenchmarkError> {
        let tests = [item.tests.ids(), item.wider.ids()].concat();
        let limits = Limits::for_tests(item.seconds + item.wider.len() as f64);
        self.run(places, sources, RunPath::Cold, tests, limits, sandbox).await
    }

    async fn wider(
        &self,
        item: &Item,
        places: &Places,
        sources: &[String],
        sandbox: &dyn Sandbox,
    ) -> Result<(Option<Tally>, Vec<String>), BenchmarkError> {
        if item.wider.is_empty() {
            return Ok((None, Vec::new()));
        }
        let limits = Limits::for_tests(item.seconds + item.wider.len() as f64);
        let answer =
            self.run(places, sources, item.path, item.wider.ids(), limits, sandbox).await?;
        let failed: Vec<String> = answer.bad().map(|result| result.id.clone()).collect();
        let total = answer.results.len();
        Ok((Some(Tally { passed: total - failed.len(), total }), failed))
    }
}

#[async_trait]
impl Benchmark for Methods {
    async fn tasks(&self, split: Split) -> Result<Vec<Task>, BenchmarkError> {
        let items = self.manifest.items.iter().filter(|item| item.split == split);
        items.map(|item| self.item_task(item)).collect()
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
        let places = self.project.places(item)?;
        let sources = &*places.reduced(&task.id, candidate)?;
        let limits = Limits::for_tests(item.seconds);
        let mut answer = self.together(item, &places, sources, fresh).await?;
        let together = answer.outcome == Outcome::Passed;
        if together {
            answer.results.truncate(item.tests.len());
        } else {
            let tests = item.tests.ids();
            answer = self.run(&places, sources, RunPath::Cold, tests, limits, fresh).await?;
        }
        let normal = |source: &String| source::normal_form(source);
        let mut verdict = Verdict {
            exact_match: sources.iter().map(normal).eq(places.truths().iter().map(normal)),
            ..first_verdict(&answer, &source::joined(sources))
        };
        if verdict.solved && self.survives_sabotage(item, &places, sources, fresh).await? {
            survived(&mut verdict);
        }
        if verdict.solved && together {
            let total = item.wider.len();
            verdict.wider = (total > 0).then_some(Tally { passed: total, total });
            verdict.hidden_tests_pass = verdict.wider.map(|_| true);
        } else if verdict.solved {
            (verdict.wider, verdict.wider_failed) =
                self.wider(item, &places, sources, fresh).await?;
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
        let places = self.project.places(item)?;
        let Reduced { sources, notes } = match places.candidate(candidate) {
            Ok(candidate) => candidate,
            Err(why) => return Ok(Observation::invalid(why)),
        };
        let limits = Limits::for_tests(item.seconds);
        let answer =
            self.run(&places, &sources, item.path, item.tests.ids(), limits, sandbox).await?;
        let report = answer.report();
        Ok(Observation {
            text: observation(answer.outcome, &report, &notes),
            outcome: answer.outcome,
            tests: Some(report),
            candidate: Some(source::joined(&sources)),
            patch: None,
            left_out: Vec::new(),
        })
    }

    fn patch(&self, task: &Task, candidate: &str) -> Result<String, BenchmarkError> {
        let places = self.project.places(self.item(task)?)?;
        let sources = places.recorded(&task.id, candidate)?;
        Ok(patch(places.file(), &places.spliced(&places.stubs()), &places.spliced(&sources)))
    }
}

impl GroundTruth for Methods {
    fn examples(&self) -> Result<Vec<Example>, BenchmarkError> {
        let items = self.manifest.items.iter().filter(|item| item.split == Split::Train);
        let places = items.map(|item| self.project.places(item)).collect::<Result<Vec<_>, _>>()?;
        let example = |place: &Place| {
            let mut method = self.project.statement(place);
            method.content.clear();
            Example { id: place.id(), method, source: place.truth() }
        };
        Ok(places.iter().flat_map(Places::each).map(example).collect())
    }

    fn answer(&self, task: &Task, answer: Answer) -> Result<String, BenchmarkError> {
        let places = self.project.places(self.item(task)?)?;
        Ok(source::joined(&match answer {
            Answer::Truth => places.truths(),
            Answer::Stub => places.stubs(),
        }))
    }
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
