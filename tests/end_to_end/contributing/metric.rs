//! Edit similarity of two texts.

/// 1 - d / n: d is the number of characters to insert, delete or replace, n the
/// length of the longer text. Two empty texts are equal.
pub(crate) fn edit_similarity(one: &str, other: &str) -> f64 {
    let (one, other): (Vec<char>, Vec<char>) = (one.chars().collect(), other.chars().collect());
    // Distances from what was read of `one` to each beginning of `other`.
    let mut distances: Vec<usize> = (0..=other.len()).collect();
    for (read, letter) in one.iter().enumerate() {
        let mut diagonal = read;
        distances[0] = read + 1;
        for (at, expected) in other.iter().enumerate() {
            let replaced = diagonal + usize::from(letter != expected);
            diagonal = distances[at + 1];
            distances[at + 1] = replaced.min(diagonal + 1).min(distances[at] + 1);
        }
    }
    match one.len().max(other.len()) {
        0 => 1.0,
        longer => 1.0 - distances[other.len()] as f64 / longer as f64,
    }
}

#[test]
fn it_is_rapidfuzz_s() {
    // Levenshtein.normalized_similarity of rapidfuzz 3.14.6.
    for (one, other, expected) in [
        ("return sum(self.prices)", "return sum(self.items)", 0.8260869565217391),
        ("naïve", "naive", 0.8),
        ("a", "", 0.0),
        ("", "", 1.0),
    ] {
        let found = edit_similarity(one, other);
        assert!((found - expected).abs() < 1e-9, "{one}, {other}: {found}");
    }
}
