//! Checks instances by their grades without a patch and with the gold patch.

use std::collections::BTreeMap;

use fixfly_runtime::BenchmarkError;

use super::batch::{Grades, Job};
use super::grade::Grade;
use super::grader::Grader;
use super::instance::Instance;
use super::verdict::Graded;

/// The grades of one instance, in the order of the rounds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GoldCheck {
    /// Without a patch.
    pub before: Vec<Graded>,
    /// With the gold patch.
    pub after: Vec<Graded>,
}

/// The grades of all instances.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GoldChecks {
    checks: BTreeMap<String, GoldCheck>,
    /// The infrastructure failures, with their instances.
    pub failures: Vec<String>,
}

/// How many instances are what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GoldCounts {
    /// Valid.
    pub valid: usize,
    /// Resolved without a patch, in every round.
    pub before: usize,
    /// Resolved with the gold patch, in every round.
    pub after: usize,
    /// Resolved with the gold patch by the log alone, in the first round.
    pub by_log: usize,
}

/// The jobs that grade each instance with the gold patch, or without a patch.
pub fn jobs(grader: &Grader, gold: bool, force: bool) -> Vec<Job> {
    let job = |instance: &Instance| Job {
        instance: instance.clone(),
        patch: if gold { instance.patch.clone() } else { String::new() },
        cleaned: false,
        force,
    };
    grader.instances().iter().map(job).collect()
}

impl GoldChecks {
    /// Adds the grades of a round with the gold patch, or without a patch.
    pub fn add(&mut self, gold: bool, grades: Grades) {
        self.failures.extend(grades.failures);
        for graded in grades.graded {
            let check = self.checks.entry(graded.id.clone()).or_default();
            let side = if gold { &mut check.after } else { &mut check.before };
            side.push(graded);
        }
    }

    /// The grades of an instance, if it has any.
    pub fn of(&self, instance: &Instance) -> Option<&GoldCheck> {
        self.checks.get(&instance.id)
    }

    /// Counts the instances.
    pub fn counts(&self) -> GoldCounts {
        let count =
            |is: fn(&GoldCheck) -> bool| self.checks.values().filter(|check| is(check)).count();
        GoldCounts {
            valid: count(GoldCheck::is_valid),
            before: count(|check| all_resolved(&check.before)),
            after: count(|check| all_resolved(&check.after)),
            by_log: count(|check| {
                let first = check.after.first();
                first.is_some_and(|graded| graded.by_log.as_ref().is_ok_and(Grade::resolved))
            }),
        }
    }

    /// A table of the instances, and the totals, after that many rounds and seconds.
    ///
    /// # Errors
    /// One sentence if an instance has no specification.
    pub fn text(
        &self,
        grader: &Grader,
        repeat: u32,
        seconds: f64,
    ) -> Result<String, BenchmarkError> {
        let mut text = format!(
            "{:<40} {:<8} {:<8} {:>16}  {:<10} {:>8} {:>8}\n",
            "instance", "version", "python", "fail-to-pass", "with gold", "before s", "after s"
        );
        let mut flaky = Vec::new();
        for instance in grader.instances() {
            let Some(check) = self.of(instance) else { continue };
            let GoldCheck { before, after } = check;
            flaky.extend(check.is_flaky().then_some(instance.id.as_str()));
            let took = |all: &[Graded]| {
                all.first()
                    .and_then(|graded| graded.evaluation.as_ref())
                    .map_or(0.0, |seen| seen.seconds)
            };
            text += &format!(
                "{:<40} {:<8} {:<8} {:>16}  {:<10} {:>8.1} {:>8.1}\n",
                instance.id,
                instance.version,
                grader.python(instance)?,
                format!("{} of {} pass", check.fixed_before(), instance.fail_to_pass.len()),
                after.first().map_or("none", Graded::word),
                took(before),
                took(after),
            );
            for why in after.iter().flat_map(|graded| &graded.disagreements).take(5) {
                text += &format!("    {why}\n");
            }
        }
        let all = grader.instances().len();
        let GoldCounts { valid, before, after, by_log } = self.counts();
        text += &format!(
            "{valid} of {all} instances are valid, checked {} times each: resolved without a patch {before} of {all}, \
             with the gold patch {after} of {all} ({by_log} of {all} by the log alone); {:.0} s in total\n",
            repeat, seconds,
        );
        match flaky.as_slice() {
            [] => {}
            flaky => text += &format!("flaky: {}\n", flaky.join(", ")),
        }
        Ok(text)
    }
}

impl GoldCheck {
    /// Whether the instance is resolved with the gold patch, and never without it.
    pub fn is_valid(&self) -> bool {
        self.after.iter().all(Graded::resolved) && !self.before.iter().any(Graded::resolved)
    }

    /// Whether two rounds have different grades.
    pub fn is_flaky(&self) -> bool {
        let same = |all: &[Graded]| all.windows(2).all(|two| two[0].grade() == two[1].grade());
        !same(&self.before) || !same(&self.after)
    }

    /// The number of tests to be fixed that already pass without a patch.
    pub fn fixed_before(&self) -> usize {
        self.before.first().map_or(0, |graded| match graded.grade() {
            Grade::NoRun => 0,
            Grade::Ran { tests, .. } => tests.fail_to_pass[0].len(),
        })
    }
}

fn all_resolved(side: &[Graded]) -> bool {
    !side.is_empty() && side.iter().all(Graded::resolved)
}

#[cfg(test)]
mod tests {
    use super::super::grade::{Resolution, Tests};
    use super::*;

    fn graded(id: &str, resolution: Resolution) -> Graded {
        let grade = Grade::Ran { tests: Tests::default(), resolution };
        Graded { by_log: Ok(grade), ..Graded::nothing(id) }
    }

    #[test]
    fn an_instance_is_valid_if_only_the_gold_patch_resolves_it() {
        use Resolution::{Full, No};
        let mut checks = GoldChecks::default();
        let rounds = [
            (false, [("valid", No), ("solved before", Full), ("flaky", No)]),
            (true, [("valid", Full), ("solved before", Full), ("flaky", Full)]),
            (true, [("valid", Full), ("solved before", Full), ("flaky", No)]),
        ];
        for (gold, grades) in rounds {
            let graded = grades.map(|(id, resolution)| graded(id, resolution)).to_vec();
            checks.add(gold, Grades { graded, failures: Vec::new() });
        }
        assert_eq!(checks.counts(), GoldCounts { valid: 1, before: 1, after: 2, by_log: 3 });
        let flaky = checks.checks.iter().filter(|(_, check)| check.is_flaky());
        assert_eq!(flaky.map(|(id, _)| id.as_str()).collect::<Vec<_>>(), ["flaky"]);
    }
}
