//! Random choices that a seed repeats.

use std::time::{SystemTime, UNIX_EPOCH};

/// Random numbers. The instants of faults are random beside them: machines differ in speed.
pub(super) struct Chance(u64);

impl Chance {
    /// Of `FIXFLY_CHAOS_SEED`, or else of the clock. Prints the seed, which a failed test
    /// shows.
    pub(super) fn new() -> Chance {
        let given = std::env::var("FIXFLY_CHAOS_SEED").ok().map(|seed| seed.parse().unwrap());
        let clock = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u32;
        let seed = given.unwrap_or_else(|| u64::from(clock()));
        eprintln!("FIXFLY_CHAOS_SEED={seed}");
        Chance(seed)
    }

    /// A number below `limit`.
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % limit
    }
}
