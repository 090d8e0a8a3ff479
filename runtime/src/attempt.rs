//! The loop: open this file first.

use std::time::Instant;

use crate::admission::Permit;
use crate::benchmark::{Benchmark, BenchmarkError};
use crate::budget::{Budget, Limit};
use crate::change::{Change, LeftOut};
use crate::episode::{Boundary, End, Episode, FailureKind, Provenance, Verdict};
use crate::feedback::Earlier;
use crate::policy::{Policy, PolicyError, View};
use crate::sandbox::{Host, Sandbox, SandboxError};
use crate::task::{Lifetime, Task};
use crate::templates::Templates;
use crate::tool::{Tool, ToolContext, ToolError};
use crate::turn::{Action, Call, Observation, Outcome, Timings, Turn};

/// The parts that all attempts of a run share.
pub struct Attempt<'a> {
    /// The policy's name and the policy.
    pub policy: (&'a str, &'a dyn Policy),
    /// All tools; a task names those it allows.
    pub tools: &'a [Box<dyn Tool>],
    /// Opens sandboxes.
    pub host: &'a dyn Host,
    /// Judges the result.
    pub benchmark: &'a dyn Benchmark,
    /// The wording of the conversation.
    pub templates: &'a Templates,
}

/// Runs the loop until the task is solved, the policy submits or a limit is reached. Never
/// returns an error: the episode records failures.
///
/// `started` is the wall-clock time, RFC 3339; it is only recorded.
pub async fn attempt(
    with: &Attempt<'_>,
    task: &Task,
    sample: u32,
    seed: u64,
    started: String,
) -> Episode {
    let clock = Instant::now();
    let (turns, sandbox, memory) = (Vec::new(), None, None);
    let (earlier, tokens, usd) = (task.statement.earlier(&turns), 0, 0.0);
    let mut course = AttemptState {
        with,
        task,
        sample,
        seed,
        clock,
        turns,
        earlier,
        tokens,
        usd,
        sandbox,
        memory,
    };
    let Ended { end, judged, left_out } = match course.run().await {
        Ok(ended) => ended,
        Err(Broke { at, kind, why }) => Ended::at(End::Failed { at, kind, why }),
    };
    if let Some(sandbox) = course.sandbox.take()
        && let Err(error) = sandbox.close().await
    {
        tracing::warn!(task = task.id, %error, "a sandbox was not closed cleanly");
    }
    let (patch, verdict) = judged.unzip();
    Episode {
        schema: task.statement.schema(),
        task: task.clone(),
        policy: with.policy.0.to_string(),
        provenance: Provenance {
            fixfly: env!("CARGO_PKG_VERSION").to_string(),
            sample,
            seed,
            isolation: with.host.isolation(),
            started,
            seconds: clock.elapsed().as_secs_f64(),
        },
        turns: course.turns,
        end,
        patch,
        left_out,
        verdict,
    }
}

/// How an attempt ended, the judged patch, if any, and what that patch lacks.
struct Ended {
    end: End,
    judged: Option<(String, Verdict)>,
    left_out: Vec<LeftOut>,
}

impl Ended {
    /// An end without a change.
    fn at(end: End) -> Ended {
        Ended { end, judged: None, left_out: Vec::new() }
    }
}

/// A failure of something other than the candidate.
struct Broke {
    at: Boundary,
    kind: FailureKind,
    why: String,
}

impl From<SandboxError> for Broke {
    fn from(error: SandboxError) -> Self {
        Broke { at: Boundary::Sandbox, kind: FailureKind::Infrastructure, why: error.to_string() }
    }
}

impl From<BenchmarkError> for Broke {
    fn from(error: BenchmarkError) -> Self {
        match error {
            BenchmarkError::Sandbox(error) => error.into(),
            error @ (BenchmarkError::Broken(_) | BenchmarkError::Bug { .. }) => Broke {
                at: Boundary::Benchmark,
                kind: FailureKind::Infrastructure,
                why: error.to_string(),
            },
        }
    }
}

impl From<PolicyError> for Broke {
    fn from(error: PolicyError) -> Self {
        let kind = match error {
            PolicyError::Infrastructure(_) => FailureKind::Infrastructure,
            PolicyError::Model(_) => FailureKind::Model,
            PolicyError::Spent(_) => unreachable!("a spent budget ends the loop in order"),
        };
        Broke { at: Boundary::Policy, kind, why: error.to_string() }
    }
}

/// An attempt in progress.
struct AttemptState<'a> {
    with: &'a Attempt<'a>,
    task: &'a Task,
    sample: u32,
    seed: u64,
    clock: Instant,
    turns: Vec<Turn>,
    /// What feedback needs of the turns.
    earlier: Earlier,
    /// Prompt and completion tokens of the turns.
    tokens: u64,
    /// US dollars of the turns, as far as they are known.
    usd: f64,
    sandbox: Option<Box<dyn Sandbox>>,
    /// Memory of the sandbox that it keeps.
    memory: Option<Permit>,
}

impl AttemptState<'_> {
    async fn run(&mut self) -> Result<Ended, Broke> {
        loop {
            if let Some(limit) = self.limit_met() {
                return self.hand_in(End::BudgetSpent { limit }).await;
            }
            let acting = Instant::now();
            let action = match self.with.policy.1.act(self.view()).await {
                Ok(action) => action,
                Err(PolicyError::Spent(limit)) => {
                    return self.hand_in(End::BudgetSpent { limit }).await;
                }
                Err(error) => return Err(error.into()),
            };
            let act_ms = millis(acting);
            if action.call == Call::Submit {
                return self.hand_in(End::Submitted).await;
            }
            let calling = Instant::now();
            let mut observation = self.observe(&action.call).await?;
            let verdict = match observation.outcome {
                Outcome::Passed => Some(self.confirm(&mut observation).await?),
                _ => None,
            };
            let submitted = observation.outcome == Outcome::Submitted;
            let solved = match verdict.filter(|verdict| verdict.solved) {
                Some(verdict) => Some((self.patch(&observation)?, verdict)),
                None => None,
            };
            self.push(action, observation, Timings { act_ms, call_ms: millis(calling) });
            if submitted {
                return self.end_with_last(End::Submitted).await;
            }
            if solved.is_some() {
                return Ok(Ended { judged: solved, ..Ended::at(End::Solved) });
            }
        }
    }

    /// Ends the episode with the change in the sandbox, which is judged even if a limit
    /// ended the episode.
    async fn hand_in(&self, end: End) -> Result<Ended, Broke> {
        let change = match (&self.sandbox, self.with.benchmark.work_tree()) {
            (Some(sandbox), Some(tree)) => tree.change(self.task, &**sandbox).await?,
            _ => Change::default(),
        };
        match change.patch {
            Some(patch) => {
                let verdict = self.judge(&patch).await?;
                let judged = Some((patch, verdict));
                Ok(Ended { end, judged, left_out: change.left_out })
            }
            None if !change.left_out.is_empty() => {
                Ok(Ended { left_out: change.left_out, ..Ended::at(end) })
            }
            None => self.end_with_last(end).await,
        }
    }

    /// Ends the episode with the last submission. It is judged here unless its tests ran
    /// when it was submitted, as they do for every candidate.
    async fn end_with_last(&self, end: End) -> Result<Ended, Broke> {
        let mut seen = self.turns.iter().rev().map(|turn| &turn.observation);
        let last = seen.find_map(|seen| Some((seen, seen.submission()?)));
        let left_out = self.turns.last().map(|turn| turn.observation.left_out.clone());
        let judged = match last.filter(|(seen, _)| seen.tests.is_none()) {
            Some((seen, submission)) => {
                let verdict = self.judge(submission).await?;
                Some((self.patch(seen)?, verdict))
            }
            None => None,
        };
        Ok(Ended { end, judged, left_out: left_out.unwrap_or_default() })
    }

    /// The submission as a diff.
    fn patch(&self, seen: &Observation) -> Result<String, Broke> {
        match (&seen.candidate, self.with.benchmark.evaluator()) {
            (Some(candidate), Some(evaluator)) => Ok(evaluator.patch(self.task, candidate)?),
            _ => Ok(seen.patch.clone().unwrap_or_default()),
        }
    }

    fn view(&self) -> View<'_> {
        View {
            task: self.task,
            tools: self.with.tools,
            turns: &self.turns,
            templates: self.with.templates,
            sample: self.sample,
            seed: self.seed,
        }
    }

    async fn observe(&mut self, call: &Call) -> Result<Observation, Broke> {
        let (name, args) = match call {
            Call::Tool { name, args } => (name, args),
            Call::Malformed(why) => return Ok(Observation::refused(why.clone())),
            Call::Submit => unreachable!("a submission ends the loop"),
        };
        let allowed = self.task.tools.contains(name);
        let tool = self.with.tools.iter().find(|tool| allowed && tool.spec().name == *name);
        let Some(tool) = tool else {
            let there = self.task.tools.join(", ");
            return Ok(Observation::refused(format!(
                "there is no tool `{name}`; there is: {there}"
            )));
        };
        let sandbox = match self.sandbox.take() {
            Some(sandbox) => sandbox,
            None => {
                self.wait_for_memory().await;
                self.with.host.open(&self.task.sandbox).await?
            }
        };
        let context = ToolContext {
            task: self.task,
            turns: &self.turns,
            sandbox: &*sandbox,
            benchmark: self.with.benchmark,
        };
        let called = tool.call(args.clone(), context).await;
        if let Some(memory) = &mut self.memory {
            memory.settle();
        }
        match self.task.sandbox.lifetime {
            Lifetime::Episode => self.sandbox = Some(sandbox),
            Lifetime::Turn => sandbox.close().await?,
        }
        match called {
            Ok(observation) => Ok(observation),
            Err(ToolError::Refused(why)) => Ok(Observation::refused(why)),
            Err(ToolError::Sandbox(error)) => Err(error.into()),
            Err(ToolError::Benchmark(error)) => Err(error.into()),
        }
    }

    /// Waits for memory for the sandbox that it keeps for all of its turns. The judge's sandbox,
    /// beside that one, never waits: episodes would wait for each other.
    async fn wait_for_memory(&mut self) {
        let admission = match self.task.sandbox.lifetime {
            Lifetime::Episode => self.with.host.admission(),
            Lifetime::Turn => None,
        };
        if let Some(admission) = admission {
            let waiting = Instant::now();
            self.memory = Some(admission.memory(self.task.sandbox.limits.memory_mb).await);
            // It is no part of the time that the episode may take.
            self.clock += waiting.elapsed();
        }
    }

    /// Lets the benchmark judge a pass before the policy sees it. If the benchmark rejects
    /// the pass, the observation shows the judge's results.
    async fn confirm(&self, observation: &mut Observation) -> Result<Verdict, Broke> {
        let verdict = self.judge(observation.submission().unwrap_or_default()).await?;
        if !verdict.solved {
            show_rejection(observation, &verdict);
        }
        Ok(verdict)
    }

    async fn judge(&self, submission: &str) -> Result<Verdict, Broke> {
        let Attempt { host, benchmark, .. } = self.with;
        Ok(judge_unused(*host, *benchmark, self.task, submission).await?)
    }

    fn push(&mut self, action: Action, observation: Observation, timings: Timings) {
        let mut left = self.left();
        left.turns = left.turns.saturating_sub(1);
        let before = (&self.turns[..], &self.earlier);
        let asked = &self.task.statement;
        let feedback = asked.feedback_after(before, &action.call, &observation, left);
        self.tokens += action.usage.prompt_tokens + action.usage.completion_tokens;
        self.usd += action.usage.usd.unwrap_or_default();
        self.turns.push(Turn { action, observation, feedback, timings });
        self.earlier.add_last(&self.turns);
    }

    fn left(&self) -> Budget {
        let (budget, tokens, usd) = (&self.task.budget, self.tokens, self.usd);
        Budget {
            turns: budget.turns.saturating_sub(self.turns.len() as u32),
            tokens: budget.tokens.map(|budget| budget.saturating_sub(tokens)),
            seconds: budget.seconds.map(|s| s.saturating_sub(self.clock.elapsed().as_secs())),
            usd: budget.usd.map(|budget| (budget - usd).max(0.0)),
        }
    }

    fn limit_met(&self) -> Option<Limit> {
        let is_malformed = |turn: &Turn| matches!(turn.action.call, Call::Malformed(_));
        let last = |limit: usize| self.turns.iter().rev().take(limit);
        match self.task.statement.malformed_limit() {
            Some(limit) if self.turns.len() >= limit && last(limit).all(is_malformed) => {
                Some(Limit::Malformed)
            }
            _ => self.left().limit_met(),
        }
    }
}

/// Judges a submission in an unused sandbox of the host that reaches verdicts.
pub(crate) async fn judge_unused(
    host: &dyn Host,
    benchmark: &dyn Benchmark,
    task: &Task,
    submission: &str,
) -> Result<Verdict, BenchmarkError> {
    let fresh = match host.judge() {
        Some(judge) => judge.open(&task.sandbox).await?,
        None => host.open(&task.sandbox).await?,
    };
    let verdict = benchmark.judge(task, submission, &*fresh).await;
    fresh.close().await?;
    verdict
}

/// Makes the observation of a pass that the benchmark rejected.
pub(crate) fn show_rejection(observation: &mut Observation, verdict: &Verdict) {
    let why = match &verdict.tampering {
        Some(how) => {
            observation.outcome = Outcome::Tampered;
            format!("The tests passed, but {how}: this does not count as a pass.")
        }
        None => {
            observation.outcome = Outcome::Failed;
            "The tests passed, but failed when run again from a clean start.".to_string()
        }
    };
    observation.text = why;
    observation.tests = Some(verdict.tests.clone());
}

fn millis(since: Instant) -> u64 {
    since.elapsed().as_millis() as u64
}
