//! The rule: no path may take a tenth more instructions than the repository keeps for it.

use crate::kept::Counts;

/// Percent of a kept count by which a new one may be larger.
const TOLERANCE: u64 = 10;
/// How counts are renewed.
const RENEW: &str = "scripts/counts --write";

/// What a comparison found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// No path takes too many instructions.
    Holds,
    /// A path does.
    Regressed,
    /// No counts are kept for this key.
    Unknown,
}

/// Compares counts with those that are kept for the key. Returns the table, with what to do.
pub(crate) fn compared(key: &str, kept: Option<&Counts>, counts: &Counts) -> (String, Verdict) {
    let mut text = format!("{key}\n{:<10}{:>14}{:>14}{:>9}\n", "path", "kept", "now", "change");
    let (mut more, mut fewer) = (Vec::new(), Vec::new());
    for (path, now) in counts {
        let Some(then) = kept.and_then(|kept| kept.get(path)) else {
            text += &format!("{path:<10}{:>14}{now:>14}\n", "-");
            continue;
        };
        let change = *now as f64 / (*then).max(1) as f64 - 1.0;
        text += &format!("{path:<10}{then:>14}{now:>14}{:>+8.1}%\n", change * 100.0);
        let bound = |percent: u64| u128::from(*then) * u128::from(percent);
        if u128::from(*now) * 100 > bound(100 + TOLERANCE) {
            more.push(format!("{path} (+{:.1} %)", change * 100.0));
        } else if u128::from(*now) * 100 < bound(100 - TOLERANCE) {
            fewer.push(path.as_str());
        }
    }
    if kept.is_none() {
        text +=
            &format!("no counts are kept for this compiler and processor; `{RENEW}` adds them\n");
        return (text, Verdict::Unknown);
    }
    if !fewer.is_empty() {
        text += &format!("fewer instructions: {}; `{RENEW}` keeps that\n", fewer.join(", "));
    }
    if more.is_empty() {
        return (text, Verdict::Holds);
    }
    text += &format!(
        "error: more than {TOLERANCE} % more instructions: {}; make the code cheaper, or renew the \
         counts with `{RENEW}` and state the reason in the commit\n",
        more.join(", ")
    );
    (text, Verdict::Regressed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(all: &[(&str, u64)]) -> Counts {
        all.iter().map(|(path, count)| ((*path).to_owned(), *count)).collect()
    }

    #[test]
    fn a_tenth_more_instructions_fail_and_an_unknown_key_only_reports() {
        #[track_caller]
        fn check(kept: Option<&[(&str, u64)]>, now: &[(&str, u64)], expected: Verdict, line: &str) {
            let kept = kept.map(counts);
            let (text, verdict) = compared("key", kept.as_ref(), &counts(now));
            assert_eq!(verdict, expected, "{text}");
            assert!(text.contains(line), "`{line}` is not in:\n{text}");
        }
        let kept = Some(&[("turn", 1000), ("read", 500)][..]);
        check(kept, &[("turn", 1100), ("read", 500)], Verdict::Holds, "+10.0%");
        check(kept, &[("turn", 1101), ("read", 500)], Verdict::Regressed, "turn (+10.1 %); make");
        check(kept, &[("turn", 1101), ("read", 600)], Verdict::Regressed, "read (+20.0 %), turn");
        check(kept, &[("turn", 800), ("read", 500)], Verdict::Holds, "fewer instructions: turn; `");
        check(kept, &[("turn", 1000), ("new", 1)], Verdict::Holds, "new                    -");
        check(None, &[("turn", 9_999_999)], Verdict::Unknown, "no counts are kept for this");
        check(Some(&[]), &[("turn", 1)], Verdict::Holds, "turn");
    }
}
