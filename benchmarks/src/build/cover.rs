//! Chooses few tests that kill much.

use std::collections::BTreeSet;

/// How often each mutant must be killed, where that many tests kill it. Two
/// gives about two tests an item, as many as the thesis reports.
const TIMES: usize = 2;

/// The fewest of `tests`, found greedily, so that each of `kills` (sets of
/// positions in `tests`) is hit [`TIMES`] times or as often as it can be.
/// Earlier tests win ties, and tests of a group already chosen win over others.
pub(crate) fn cover(
    tests: &[String],
    kills: &[BTreeSet<usize>],
    group: impl Fn(&str) -> String,
) -> Vec<usize> {
    let mut need: Vec<usize> = kills.iter().map(|kill| kill.len().min(TIMES)).collect();
    let mut chosen: Vec<usize> = Vec::new();
    while need.iter().any(|left| *left > 0) {
        let groups: BTreeSet<String> = chosen.iter().map(|at| group(&tests[*at])).collect();
        let worth = |at: usize| {
            let hits = (0..kills.len()).filter(|k| need[*k] > 0 && kills[*k].contains(&at)).count();
            let near = groups.is_empty() || groups.contains(&group(&tests[at]));
            (hits, near, std::cmp::Reverse(at))
        };
        let best = (0..tests.len()).filter(|at| !chosen.contains(at)).max_by_key(|at| worth(*at));
        let Some(best) = best.filter(|best| worth(*best).0 > 0) else { break };
        for (left, _) in need.iter_mut().zip(kills).filter(|(_, kill)| kill.contains(&best)) {
            *left = left.saturating_sub(1);
        }
        chosen.push(best);
    }
    chosen.sort_unstable();
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(tests: &[&str], kills: &[&[usize]], expected: &[usize]) {
        let tests: Vec<String> = tests.iter().map(|test| test.to_string()).collect();
        let kills: Vec<BTreeSet<usize>> =
            kills.iter().map(|k| k.iter().copied().collect()).collect();
        assert_eq!(cover(&tests, &kills, |test| test[..1].to_string()), expected);
    }

    #[test]
    fn each_mutant_is_killed_twice_where_it_can_be() {
        check(&["a1"], &[&[0]], &[0]);
        check(&["a1", "a2", "a3"], &[&[0, 1, 2]], &[0, 1]);
        check(&["a1", "a2", "a3"], &[&[0, 1, 2], &[2]], &[0, 2]);
        check(&["a1", "a2"], &[], &[]);
    }

    #[test]
    fn a_group_already_chosen_is_preferred() {
        check(&["a1", "b1", "a2"], &[&[0, 1, 2]], &[0, 2]);
    }
}
