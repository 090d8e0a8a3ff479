//! A table of the results of `fixfly reason`.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::answers::{Answered, Answers, Outcome, Tally};

impl Answers {
    /// A table of the results for these rows, `spared` of which kept their trace.
    pub fn table(&self, rows: &[String], spared: usize, max_attempts: u32) -> String {
        let Tally { answers: asked, accepted, leaky, leaks, rejected, usage } = &self.tally;
        let mut dropped = BTreeMap::new();
        for row in rows.iter().filter(|row| self.next(row, max_attempts).is_none()) {
            if let Some(Answered { outcome: Outcome::Rejected { why, .. }, .. }) = self.last(row) {
                *dropped.entry(why.as_str()).or_insert(0) += 1;
            }
        }
        let mut text = format!("{:>8}  rows\n", rows.len());
        let mut line = |count: usize, what: &str| {
            let _ = writeln!(text, "{count:>8}  {what}");
        };
        if spared > 0 {
            line(spared, "traces that were already short enough");
        }
        line(*accepted, "traces accepted");
        line(dropped.values().sum(), "rows dropped without an accepted answer");
        for (why, count) in dropped {
            line(count, &format!("  last answer: {why}"));
        }
        line(*asked, "answers");
        for (why, count) in rejected {
            line(*count, &format!("  rejected: {why}"));
        }
        line(*leaky, "traces that mentioned the given solution");
        line(*leaks, "  sentences removed from them");
        let counted = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
        line(counted(usage.prompt_tokens), "prompt tokens");
        line(counted(usage.completion_tokens), "completion tokens");
        if let Some(usd) = usage.usd {
            let _ = writeln!(text, "{:>8}  spent", format!("${usd:.4}"));
        }
        text
    }
}
