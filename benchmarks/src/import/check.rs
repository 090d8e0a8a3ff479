//! Checks a program of a set by its tests: the correct one passes, the faulty one does not.

use std::collections::BTreeMap;
use std::sync::Arc;

use fixfly_runtime::{BenchmarkError, Host, Outcome, Sandbox, SandboxError};

use super::set::{LeftOut, Program};
use crate::build::first_failure;
use crate::manifest::RunPath;
use crate::places::base64;
use crate::project::Project;
use crate::server::{Answer, Collected, Limits, Request, Server};

/// Tests that take longer with the correct program, in CPU seconds, are too slow.
const SLOWEST: f64 = 10.0;
/// How often a program is tried if its sandbox breaks.
const TRIES: u32 = 3;

/// What the tests of a program are.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Facts {
    /// The ids of those that the correct program passes.
    pub(super) tests: Vec<String>,
    /// Their CPU seconds with the correct program.
    pub(super) seconds: f64,
}

/// The tests of a project, by file.
pub(super) struct Tests {
    groups: BTreeMap<String, Vec<String>>,
    /// The files that cannot be imported, by path or module, and why.
    broken: Vec<(String, String)>,
}

pub(super) struct Checker {
    pub(super) project: Arc<Project>,
    pub(super) host: Arc<dyn Host>,
}

impl Tests {
    /// The tests of a program, or why there are none.
    fn of(&self, program: &Program) -> Result<Vec<String>, LeftOut> {
        let file = &program.tests;
        if let Some(tests) = self.groups.get(file).filter(|tests| !tests.is_empty()) {
            return Ok(tests.clone());
        }
        let module = file.trim_end_matches(".py").replace('/', ".");
        let why = self.broken.iter().find(|(name, _)| *name == module || name.starts_with(file));
        let why = why.map_or_else(|| format!("{file} has no test"), |(_, why)| why.clone());
        Err(LeftOut::new(&program.task_id, "its tests cannot be loaded", why))
    }
}

impl Checker {
    /// Finds the tests of the project.
    pub(super) async fn tests(&self) -> Result<Tests, BenchmarkError> {
        let sandbox = self.host.open(self.project.spec()).await?;
        let config = self.project.server(false);
        let server = Server { sandbox: &*sandbox, config: &config };
        let answer = server.collect(None).await;
        sandbox.close().await?;
        let Collected { groups, broken, .. } = answer?;
        let groups = groups.into_values().map(|part| (part.file, part.tests)).collect();
        Ok(Tests { groups, broken })
    }

    /// Checks a program, again if its sandbox breaks.
    pub(super) async fn check(
        self: Arc<Self>,
        program: Program,
        tests: Arc<Tests>,
    ) -> Result<(Program, Result<Facts, LeftOut>), BenchmarkError> {
        let ids = match tests.of(&program) {
            Ok(ids) => ids,
            Err(left_out) => return Ok((program, Err(left_out))),
        };
        let mut tries = 0;
        loop {
            tries += 1;
            let sandbox = self.host.open(self.project.spec()).await?;
            let found = self.look(&program, &ids, &*sandbox).await;
            let closed = sandbox.close().await;
            match found {
                Ok(found) => {
                    closed?;
                    return Ok((program, found));
                }
                Err(BenchmarkError::Sandbox(why)) if tries < TRIES => {
                    tracing::warn!(program = program.task_id, %why, "a sandbox broke; the program is checked again");
                }
                Err(BenchmarkError::Sandbox(why @ SandboxError::Process { .. })) => {
                    let why = why.to_string();
                    let why = LeftOut::new(&program.task_id, "its tests cannot be set up", why);
                    return Ok((program, Err(why)));
                }
                Err(why) => return Err(why),
            }
        }
    }

    async fn look(
        &self,
        program: &Program,
        tests: &[String],
        sandbox: &dyn Sandbox,
    ) -> Result<Result<Facts, LeftOut>, BenchmarkError> {
        let left_out =
            |reason: &str, why: String| Ok(Err(LeftOut::new(&program.task_id, reason, why)));
        let correct = self.run(program, &program.correct, tests, SLOWEST, sandbox).await?;
        if !correct.report().passed_or_skipped() {
            let why = first_failure(&correct);
            return left_out("its correct program fails its tests", why);
        }
        let tests: Vec<String> = correct.passed().map(str::to_string).collect();
        if tests.is_empty() {
            return left_out("its tests are all skipped", String::new());
        }
        let seconds = correct.cpu.min(SLOWEST);
        let again = self.run(program, &program.correct, &tests, seconds, sandbox).await?;
        if again.outcome != Outcome::Passed {
            return left_out("flaky: its correct program failed once", first_failure(&again));
        }
        if again.cpu > SLOWEST {
            return left_out("its tests are slow", format!("{} CPU seconds", again.cpu));
        }
        let faulty = self.run(program, &program.faulty, &tests, again.cpu, sandbox).await?;
        Ok(match why_not(faulty.outcome) {
            Some((reason, why)) => Err(LeftOut::new(&program.task_id, reason, why)),
            None => Ok(Facts { tests, seconds: (again.cpu * 100.0).round() / 100.0 }),
        })
    }

    /// Runs tests with `text` as the program. Its tests take that many CPU seconds.
    async fn run(
        &self,
        program: &Program,
        text: &str,
        tests: &[String],
        seconds: f64,
        sandbox: &dyn Sandbox,
    ) -> Result<Answer, BenchmarkError> {
        let config = self.project.server(false);
        let request = Request {
            path: RunPath::Cold,
            file: program.file.clone(),
            content: base64(text.as_bytes()),
            tests: tests.to_vec(),
            reversed: false,
            shared: false,
            limits: Limits::for_tests(seconds),
            // Only the hot path reads it.
            methods: Vec::new(),
        };
        Server { sandbox, config: &config }.run(&request).await
    }
}

/// Why the tests of a fault do not decide about it, by how they end: the reason and the
/// evidence.
pub(super) fn why_not(faulty: Outcome) -> Option<(&'static str, String)> {
    match faulty {
        Outcome::Failed
        | Outcome::TimedOut
        | Outcome::Crashed
        | Outcome::OutOfMemory
        | Outcome::Exited => None,
        Outcome::Passed => Some(("no test catches its fault", "its tests pass".to_string())),
        other => {
            let why = format!("its tests end with: {}", other.name());
            Some(("its tests cannot judge its fault", why))
        }
    }
}
