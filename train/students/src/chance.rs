//! Counter-based random numbers: a number depends on its key, never on the state of a
//! generator. A recomputed layer therefore gets the same dropout, and a resumed training
//! draws the same numbers as one without interruption.

/// SplitMix64 (Steele et al. 2014).
#[inline(always)]
pub(crate) fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}

/// Combines several values into one key.
pub(crate) fn key(parts: &[u64]) -> u64 {
    parts.iter().fold(0, |key, part| mix(key ^ mix(*part)))
}

/// The random number at index `at`, at least 0 and below 1.
pub(crate) fn unit(key: u64, at: u64) -> f64 {
    (mix(key ^ mix(at)) >> 11) as f64 / (1_u64 << 53) as f64
}

/// Shuffles. The order depends only on the key.
pub(crate) fn shuffle<T>(things: &mut [T], key: u64) {
    for last in (1..things.len()).rev() {
        let other = (unit(key, last as u64) * (last + 1) as f64) as usize;
        things.swap(last, other);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_one_of_all_and_depends_on_the_key() {
        let order = |key| {
            let mut order: Vec<_> = (0..50).collect();
            shuffle(&mut order, key);
            order
        };
        assert_eq!(order(1), order(1));
        assert_ne!(order(1), order(2));
        let mut sorted = order(1);
        sorted.sort_unstable();
        assert_eq!(sorted, (0..50).collect::<Vec<_>>());
    }
}
