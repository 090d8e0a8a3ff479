//! Shards: the parts of a run that several processes or machines work on.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The most shards that a run can have.
const MAX_SHARDS: u32 = 10_000;
/// Bytes per token, roughly.
const BYTES_PER_TOKEN: u64 = 4;
/// What every episode costs, whatever its task, in the unit of [`expected_cost`].
const SAME: u64 = 1_000;
/// A second of tests, in the same unit.
const SECOND: f64 = 1_000.0;
/// Seconds of tests that count at most.
const MAX_SECONDS: f64 = 86_400.0;

/// Shard I of N, counted from 1: `2/4`.
///
/// ```
/// use fixfly_runtime::Shard;
///
/// let shard: Shard = "2/4".parse().unwrap();
/// assert_eq!((shard.index(), shard.of(), shard.to_string()), (2, 4, "2/4".into()));
/// assert!("5/4".parse::<Shard>().is_err());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Shard {
    index: u32,
    of: u32,
}

/// The text is not a shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it must be I/N, such as 2/4: shard I of N, with I from 1 to N and N at most {MAX_SHARDS}")]
pub struct NotAShard;

impl Shard {
    /// Its number, from 1.
    pub fn index(self) -> u32 {
        self.index
    }

    /// The number of shards.
    pub fn of(self) -> u32 {
        self.of
    }
}

impl FromStr for Shard {
    type Err = NotAShard;

    fn from_str(text: &str) -> Result<Self, NotAShard> {
        let number = |text: &str| match text.bytes().all(|byte| byte.is_ascii_digit()) {
            true => text.parse::<u32>().map_err(|_| NotAShard),
            false => Err(NotAShard),
        };
        let (index, of) = text.split_once('/').ok_or(NotAShard)?;
        let (index, of) = (number(index)?, number(of)?);
        match (1..=of).contains(&index) && of <= MAX_SHARDS {
            true => Ok(Shard { index, of }),
            false => Err(NotAShard),
        }
    }
}

impl TryFrom<String> for Shard {
    type Error = NotAShard;

    fn try_from(text: String) -> Result<Self, NotAShard> {
        text.parse()
    }
}

impl From<Shard> for String {
    fn from(shard: Shard) -> String {
        shard.to_string()
    }
}

impl Display for Shard {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.of)
    }
}

/// Which shards of a run are there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Shards {
    /// The number of shards of the run.
    pub of: u32,
    /// Those that are there, from 1.
    pub here: BTreeSet<u32>,
}

impl Shards {
    /// Those that are not there.
    pub fn missing(&self) -> Vec<u32> {
        (1..=self.of).filter(|index| !self.here.contains(index)).collect()
    }
}

/// `3 of 4 shards, missing: 2`.
impl Display for Shards {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} shards", self.here.len(), self.of)?;
        match &*self.missing() {
            [] => Ok(()),
            missing => write!(f, ", missing: {}", ranges(missing)),
        }
    }
}

/// Ascending numbers, with a dash for three or more in a row: `1, 3-7`.
fn ranges(numbers: &[u32]) -> String {
    let rows = numbers.chunk_by(|one, next| one + 1 == *next);
    let text = |row: &[u32]| match row {
        [first, _, .., last] => format!("{first}-{last}"),
        row => row.iter().map(u32::to_string).collect::<Vec<_>>().join(", "),
    };
    rows.map(text).collect::<Vec<_>>().join(", ")
}

/// The expected cost of an episode, from facts of its task: `bytes` of its statement and the
/// recorded seconds of its tests. A thousandth of a second of tests costs as much as a token.
pub(crate) fn expected_cost(bytes: usize, test_seconds: Option<f64>) -> u64 {
    let seconds = test_seconds.filter(|seconds| seconds.is_finite()).unwrap_or_default();
    SAME + bytes as u64 / BYTES_PER_TOKEN + (seconds.clamp(0.0, MAX_SECONDS) * SECOND) as u64
}

/// The shard of each task, from 1. A task is its id and its expected cost. The result does not
/// depend on the order of the tasks, and no two shards differ by more than the most expensive
/// task costs.
///
/// The tasks go, the most expensive first, to the shard that has the least so far.
pub(crate) fn divide(tasks: &[(&str, u64)], of: u32) -> Vec<u32> {
    let mut order: Vec<usize> = (0..tasks.len()).collect();
    order.sort_by_key(|at| (Reverse(tasks[*at].1), tasks[*at].0));
    let mut loads: BinaryHeap<Reverse<(u64, u32)>> =
        (1..=of).map(|index| Reverse((0, index))).collect();
    let mut shards = vec![0; tasks.len()];
    for at in order {
        if let Some(mut least) = loads.peek_mut() {
            let Reverse((load, index)) = &mut *least;
            *load += tasks[at].1;
            shards[at] = *index;
        }
    }
    shards
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_shard_is_two_numbers() {
        #[track_caller]
        fn check(text: &str, expected: Option<(u32, u32)>) {
            let shard = text.parse::<Shard>().ok();
            assert_eq!(shard.map(|shard| (shard.index(), shard.of())), expected, "{text:?}");
        }
        check("1/1", Some((1, 1)));
        check("2/4", Some((2, 4)));
        check("10000/10000", Some((10_000, 10_000)));
        for wrong in
            ["", "1", "0/4", "5/4", "1/0", "1/10001", "-1/4", "+1/4", "1/ 4", "1/4/8", "a/b"]
        {
            check(wrong, None);
        }
    }

    #[test]
    fn shards_that_are_missing_are_named() {
        #[track_caller]
        fn check(here: &[u32], of: u32, expected: &str) {
            let shards = Shards { of, here: here.iter().copied().collect() };
            assert_eq!(shards.to_string(), expected);
        }
        check(&[1, 2, 3], 3, "3 of 3 shards");
        check(&[1, 3], 4, "2 of 4 shards, missing: 2, 4");
        check(&[5], 9, "1 of 9 shards, missing: 1-4, 6-9");
        check(&[3, 4], 4, "2 of 4 shards, missing: 1, 2");
    }

    #[test]
    fn a_cost_comes_from_bytes_and_seconds() {
        #[track_caller]
        fn check(bytes: usize, seconds: Option<f64>, expected: u64) {
            assert_eq!(expected_cost(bytes, seconds), expected);
        }
        check(0, None, 1_000);
        check(4_000, Some(0.25), 2_250);
        check(0, Some(f64::NAN), 1_000);
        check(0, Some(-1.0), 1_000);
        check(0, Some(f64::MAX), 86_401_000);
    }

    /// The tasks of each shard, in one word.
    #[track_caller]
    fn check(tasks: &[(&str, u64)], expected: &[&str]) {
        let of = u32::try_from(expected.len()).unwrap();
        let shards = divide(tasks, of);
        let of_shard = |index: u32| -> String {
            let own = tasks.iter().zip(&shards).filter(|(_, shard)| **shard == index);
            own.map(|((id, _), _)| *id).collect()
        };
        assert_eq!((1..=of).map(of_shard).collect::<Vec<_>>(), expected);
    }

    #[test]
    fn tasks_are_divided_by_what_they_cost() {
        check(&[("a", 1), ("b", 1), ("c", 1), ("d", 1)], &["ac", "bd"]);
        check(&[("a", 1), ("b", 1), ("c", 1), ("d", 3)], &["d", "abc"]);
        check(&[("a", 5), ("b", 4), ("c", 3), ("d", 3), ("e", 3)], &["ad", "bce"]);
        check(&[("a", 1), ("b", 1)], &["a", "b", ""]);
        check(&[], &["", ""]);
        check(&[("a", 7), ("b", 2)], &["ab"]);
    }

    fn tasks() -> impl Strategy<Value = Vec<(String, u64)>> {
        let costs = prop_oneof![Just(1_000u64), 1u64..2_000, 1u64..1_000_000];
        let tasks = prop::collection::btree_map("[a-e]{1,6}", costs, 0..60);
        tasks.prop_map(|tasks| tasks.into_iter().collect::<Vec<_>>()).prop_shuffle()
    }

    proptest! {
        #[test]
        fn shards_are_disjoint_complete_even_and_independent_of_the_order(
            (tasks, of) in (tasks(), 1u32..20),
            turn in 0usize..60,
        ) {
            let named: Vec<(&str, u64)> = tasks.iter().map(|(id, cost)| (&**id, *cost)).collect();
            let shards = divide(&named, of);
            // One shard each: nothing is missing and nothing is in two.
            prop_assert_eq!(shards.len(), named.len());
            prop_assert!(shards.iter().all(|shard| (1..=of).contains(shard)));
            let load = |index: u32| -> u64 {
                let own = named.iter().zip(&shards).filter(|(_, shard)| **shard == index);
                own.map(|((_, cost), _)| cost).sum()
            };
            let loads: Vec<u64> = (1..=of).map(load).collect();
            let most = named.iter().map(|(_, cost)| *cost).max().unwrap_or_default();
            prop_assert!(loads.iter().max().unwrap() - loads.iter().min().unwrap() <= most);
            let used = loads.iter().filter(|load| **load > 0).count();
            prop_assert_eq!(used, named.len().min(of as usize));
            let mut turned: Vec<(&str, u64, u32)> =
                named.iter().zip(&shards).map(|((id, cost), shard)| (*id, *cost, *shard)).collect();
            if !turned.is_empty() {
                let middle = turn % turned.len();
                turned.rotate_left(middle);
            }
            let again: Vec<(&str, u64)> = turned.iter().map(|(id, cost, _)| (*id, *cost)).collect();
            let expected: Vec<u32> = turned.iter().map(|(.., shard)| *shard).collect();
            prop_assert_eq!(divide(&again, of), expected);
        }
    }
}
