//! `--gold`: checks that the instances are valid.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use fixfly_benchmarks::swebench::Graded;
use fixfly_benchmarks::swebench::grade::Grade;

use super::{Job, Swebench, all, conclude, host};
use crate::terminal::{Terminal, print};

/// Grades each instance without a patch and with the gold patch, `--repeat` times.
pub(super) async fn check(flags: &Swebench, terminal: &Terminal) -> anyhow::Result<()> {
    let host = host(flags)?;
    let grader = flags.issues.open(flags.issues.chosen()?, &*host, terminal).await?;
    let grader = Arc::new(grader);
    let start = Instant::now();
    let mut seen: BTreeMap<String, [Vec<Graded>; 2]> = BTreeMap::new();
    let mut broken = Vec::new();
    for round in 0..flags.repeat {
        for (side, gold) in [false, true].into_iter().enumerate() {
            let jobs = grader.instances().iter().map(|instance| Job {
                instance: instance.clone(),
                patch: if gold { instance.patch.clone() } else { String::new() },
                force: flags.force || round > 0,
            });
            let (graded, failed) = all(flags, &grader, &host, jobs.collect(), terminal).await?;
            broken.extend(failed);
            for one in graded {
                seen.entry(one.id.clone()).or_default()[side].push(one);
            }
        }
    }
    let mut text = format!(
        "{:<40} {:<8} {:<8} {:>16}  {:<10} {:>8} {:>8}\n",
        "instance", "version", "python", "fail-to-pass", "with gold", "before s", "after s"
    );
    let (mut valid, mut flaky) = (0, Vec::new());
    for instance in grader.instances() {
        let Some([before, after]) = seen.get(&instance.id) else { continue };
        let is_valid = after.iter().all(Graded::resolved) && !before.iter().any(Graded::resolved);
        valid += usize::from(is_valid);
        let same = |all: &[Graded]| all.windows(2).all(|two| two[0].grade() == two[1].grade());
        if !same(before) || !same(after) {
            flaky.push(instance.id.as_str());
        }
        let fixed_before = before.first().map_or(0, |graded| fixed(&graded.grade()));
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
            format!("{} of {} pass", fixed_before, instance.fail_to_pass.len()),
            after.first().map_or("none", Graded::word),
            seconds(before),
            seconds(after),
        );
        for why in after.iter().flat_map(|graded| &graded.disagreements).take(5) {
            text += &format!("    {why}\n");
        }
    }
    let all = grader.instances().len();
    let count = |side: usize| {
        seen.values()
            .filter(|sides| !sides[side].is_empty() && sides[side].iter().all(Graded::resolved))
            .count()
    };
    let by_log = seen
        .values()
        .filter(|sides| {
            sides[1].first().is_some_and(|g| g.by_log.as_ref().is_ok_and(Grade::resolved))
        })
        .count();
    text += &format!(
        "{valid} of {all} instances are valid, checked {} times each: resolved without a patch {} of {all}, \
         with the gold patch {} of {all} ({by_log} of {all} by the log alone); {:.0} s in total\n",
        flags.repeat,
        count(0),
        count(1),
        start.elapsed().as_secs_f64(),
    );
    match flaky.as_slice() {
        [] => {}
        flaky => text += &format!("flaky: {}\n", flaky.join(", ")),
    }
    print(&text)?;
    conclude(&broken)?;
    match valid == all {
        true => Ok(()),
        false => anyhow::bail!("{} of {all} instances are not valid", all - valid),
    }
}

fn fixed(grade: &Grade) -> usize {
    match grade {
        Grade::NoRun => 0,
        Grade::Ran { tests, .. } => tests.fail_to_pass[0].len(),
    }
}
