//! Chooses few tests that kill many mutants.

use std::collections::BTreeSet;

/// How often each mutant must be killed, if that many tests kill it. Two results in about
/// two tests per item, as many as in the paper.
const TIMES: usize = 2;

/// The smallest set of `tests`, found greedily, that hits each of `kills` (sets of
/// positions in `tests`) [`TIMES`] times, or as often as possible. Earlier tests win ties,
/// and tests of a group that is already chosen win over others.
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
