//! `--gold`: checks that the instances are valid.

use std::sync::Arc;
use std::time::Instant;

use fixfly_benchmarks::swebench::gold::{self, GoldChecks};

use super::{Swebench, all, conclude};
use crate::flags::host;
use crate::terminal::{Terminal, print};

/// Grades each instance without a patch and with the gold patch, `--repeat` times.
pub(super) async fn check(flags: &Swebench, terminal: &Terminal) -> anyhow::Result<()> {
    let host = host(&flags.sandbox, &flags.docker_host)?;
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
    let seconds = start.elapsed().as_secs_f64();
    print(&checks.text(&grader, flags.repeat, seconds)?)?;
    conclude(&checks.failures, &[])?;
    let (all, valid) = (grader.instances().len(), checks.counts().valid);
    match valid == all {
        true => Ok(()),
        false => anyhow::bail!("{} of {all} instances are not valid", all - valid),
    }
}
