//! ROUGE-L (Lin, 2004), as the package `rouge-score` 0.1.2 computes it.

use std::collections::HashMap;

use serde::Serialize;

/// The longest common subsequence of words of two texts, as shares of their words.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub(crate) struct RougeL {
    /// Share of the candidate's words.
    pub(crate) precision: f64,
    /// Share of the reference's words.
    pub(crate) recall: f64,
    /// Harmonic mean of both, which papers report.
    pub(crate) f1: f64,
}

/// Words are lower-case `[a-z0-9]+`, not stemmed. All values are 0 if either text has no
/// word.
pub(crate) fn rouge_l(reference: &str, candidate: &str) -> RougeL {
    let (reference, candidate) = (reference.to_lowercase(), candidate.to_lowercase());
    let (reference, candidate) = (words(&reference), words(&candidate));
    let common = longest_common_subsequence(&reference, &candidate) as f64;
    if common == 0.0 {
        return RougeL::default();
    }
    let (precision, recall) = (common / candidate.len() as f64, common / reference.len() as f64);
    RougeL { precision, recall, f1: 2.0 * precision * recall / (precision + recall) }
}

fn words(text: &str) -> Vec<&str> {
    let apart = |letter: char| !(letter.is_ascii_lowercase() || letter.is_ascii_digit());
    text.split(apart).filter(|word| !word.is_empty()).collect()
}

/// The length of the longest common subsequence. Computes 64 cells of the table at a time
/// (Hyyrö, 2004): reasoning has thousands of words, and the table has a cell for each pair
/// of words.
fn longest_common_subsequence(one: &[&str], other: &[&str]) -> usize {
    let blocks = one.len().div_ceil(64);
    let mut places: HashMap<&str, Vec<u64>> = HashMap::new();
    for (at, word) in one.iter().enumerate() {
        places.entry(word).or_insert_with(|| vec![0; blocks])[at / 64] |= 1 << (at % 64);
    }
    let mut row = vec![u64::MAX; blocks];
    for matches in other.iter().filter_map(|word| places.get(word)) {
        let mut carry = false;
        for (bits, matches) in row.iter_mut().zip(matches) {
            let common = *bits & matches;
            let (sum, over) = bits.overflowing_add(common);
            let (sum, more) = sum.overflowing_add(u64::from(carry));
            carry = over | more;
            *bits = sum | (*bits & !matches);
        }
    }
    let zeros: u32 = row.iter().map(|bits| bits.count_zeros()).sum();
    zeros as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn it_is_the_packages() {
        for text in super::super::goldens::goldens().texts {
            let found = rouge_l(&text.one, &text.other);
            let found = [found.precision, found.recall, found.f1];
            for (found, expected) in found.iter().zip(text.rouge_l) {
                assert!((found - expected).abs() < 1e-9, "{found} is not {expected}: {text:?}");
            }
        }
    }

    fn by_table(one: &[&str], other: &[&str]) -> usize {
        let mut row = vec![0; other.len() + 1];
        for a in one {
            let mut diagonal = 0;
            for (at, b) in other.iter().enumerate() {
                let above = row[at + 1];
                row[at + 1] = if a == b { diagonal + 1 } else { row[at].max(above) };
                diagonal = above;
            }
        }
        row[other.len()]
    }

    proptest! {
        #[test]
        fn bits_count_what_the_table_counts(one in "[abc]{0,200}", other in "[abcd]{0,200}") {
            let split = |text: &'static str| text.split("").filter(|l| !l.is_empty()).collect::<Vec<_>>();
            let (one, other) = (split(Box::leak(one.into())), split(Box::leak(other.into())));
            prop_assert_eq!(longest_common_subsequence(&one, &other), by_table(&one, &other));
        }
    }
}
