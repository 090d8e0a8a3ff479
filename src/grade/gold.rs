//! `--gold`: checks that the instances are valid.

use std::sync::Arc;
use std::time::Instant;

use fixfly_benchmarks::swebench::Graded;
use fixfly_benchmarks::swebench::gold::{self, GoldCheck, GoldChecks, GoldCounts};

use super::{Swebench, all, conclude};
use crate::flags::host;
use crate::terminal::{Terminal, print};

/// Grades each instance without a patch and with the gold patch, `--repeat` times.
pub(super) async fn check(flags: &Swebench, terminal: &Terminal) -> anyhow::Result<()> {
    let host = host(&flags.sandbox)?;
    let grader = flags.issues.open(flags.issues.selected()?, &*host, terminal).await?;
    let grader = Arc::new(grader);
    let start = Instant::now();
    let mut checks = GoldChecks::default();
    for round in 0..flags.repeat {
        for gold in [false, true] {
            let jobs = gold::jobs(&grader, gold, flags.force || round > 0);
            checks.add(gold, all(flags, &grader, &host, jobs, terminal).await?);
        }
    }
    let mut text = format!(
        "{:<40} {:<8} {:<8} {:>16}  {:<10} {:>8} {:>8}\n",
        "instance", "version", "python", "fail-to-pass", "with gold", "before s", "after s"
    );
    let mut flaky = Vec::new();
    for instance in grader.instances() {
        let Some(check) = checks.of(instance) else { continue };
        let GoldCheck { before, after } = check;
        flaky.extend(check.is_flaky().then_some(instance.id.as_str()));
        let seconds = |all: &[Graded]| {
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
            seconds(before),
            seconds(after),
        );
        for why in after.iter().flat_map(|graded| &graded.disagreements).take(5) {
            text += &format!("    {why}\n");
        }
    }
    let all = grader.instances().len();
    let GoldCounts { valid, before, after, by_log } = checks.counts();
    text += &format!(
        "{valid} of {all} instances are valid, checked {} times each: resolved without a patch {before} of {all}, \
         with the gold patch {after} of {all} ({by_log} of {all} by the log alone); {:.0} s in total\n",
        flags.repeat,
        start.elapsed().as_secs_f64(),
    );
    match flaky.as_slice() {
        [] => {}
        flaky => text += &format!("flaky: {}\n", flaky.join(", ")),
    }
    print(&text)?;
    conclude(&checks.failures, &[])?;
    match valid == all {
        true => Ok(()),
        false => anyhow::bail!("{} of {all} instances are not valid", all - valid),
    }
}
