//! The two parts of CodeBLEU that count n-grams.

use std::collections::HashMap;
use std::ops::AddAssign;

use super::{Matches, Variant};

/// Length of the longest n-gram.
const ORDERS: usize = 4;
/// The count that replaces 0 matches (NLTK's smoothing method 1).
const SMOOTHING: f64 = 0.1;
/// Weight of a word that is not a keyword; a keyword weighs 1.
const WORD: f64 = 0.2;

/// In the order of the package.
const KEYWORDS: [&str; 38] = [
    "False", "None", "True", "and", "as", "assert", "async", "await", "break", "class", "continue",
    "def", "del", "elif", "else", "except", "finally", "for", "from", "global", "if", "import",
    "in", "is", "lambda", "nonlocal", "not", "or", "pass", "raise", "return", "try", "while",
    "with", "yield", "match", "case", "type",
];
const NOT_IN_CODEXGLUE: [&str; 3] = ["match", "case", "type"];

/// Counts of one pair, or sums of them.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Ngrams {
    /// Matches among the candidate's n-grams.
    precision: [Matches; ORDERS],
    /// Matches among the reference's n-grams.
    recall: [Matches; ORDERS],
    /// Weighted recall of words: matches and total.
    weighed: (f64, f64),
    reference: usize,
    candidate: usize,
    pairs: usize,
}

impl Ngrams {
    pub(super) fn of(variant: Variant, reference: &str, candidate: &str) -> Self {
        let reference: Vec<&str> = reference.split_whitespace().collect();
        let candidate: Vec<&str> = candidate.split_whitespace().collect();
        let mut counts = Ngrams {
            reference: reference.len(),
            candidate: candidate.len(),
            pairs: 1,
            ..Ngrams::default()
        };
        for order in 1..=ORDERS {
            let (of, in_candidate) = (grams(&reference, order), grams(&candidate, order));
            let shared = |gram: &[&str], count: usize, others: &HashMap<&[&str], usize>| {
                count.min(others.get(gram).copied().unwrap_or_default())
            };
            let found = of.iter().map(|(gram, count)| shared(gram, *count, &in_candidate)).sum();
            // A text without n-grams of this length counts as one miss.
            let all = |grams: &HashMap<_, usize>| grams.values().sum::<usize>().max(1);
            counts.precision[order - 1] = Matches { found, of: all(&in_candidate) };
            counts.recall[order - 1] = Matches { found, of: all(&of) };
            if order == 1 {
                let weight = |gram: &[&str]| if is_keyword(variant, gram[0]) { 1.0 } else { WORD };
                for (gram, count) in &of {
                    counts.weighed.0 += weight(gram) * shared(gram, *count, &in_candidate) as f64;
                    counts.weighed.1 += weight(gram) * *count as f64;
                }
                counts.weighed.1 = counts.weighed.1.max(1.0);
            }
        }
        counts
    }

    /// BLEU-4.
    pub(super) fn bleu(&self) -> f64 {
        self.mean(self.precision.map(|m| (m.found as f64, m.of as f64)), self.reference)
    }

    /// The same for the reference's n-grams, with weighted keywords. Both variants use 2 as
    /// the length of each reference here, because it is a pair of words and weights. Short
    /// candidates are therefore hardly penalised.
    pub(super) fn weighted(&self) -> f64 {
        let mut parts = self.recall.map(|m| (m.found as f64, m.of as f64));
        parts[0] = self.weighed;
        self.mean(parts, 2 * self.pairs)
    }

    fn mean(&self, parts: [(f64, f64); ORDERS], reference: usize) -> f64 {
        if parts[0].0 == 0.0 {
            return 0.0;
        }
        let log = |(found, of): (f64, f64)| {
            ((if found == 0.0 { SMOOTHING } else { found }) / of).ln() / ORDERS as f64
        };
        self.brevity(reference) * parts.map(log).iter().sum::<f64>().exp()
    }

    /// The brevity penalty.
    fn brevity(&self, reference: usize) -> f64 {
        match self.candidate > reference {
            true => 1.0,
            false => (1.0 - reference as f64 / self.candidate as f64).exp(),
        }
    }
}

impl AddAssign<&Ngrams> for Ngrams {
    fn add_assign(&mut self, other: &Ngrams) {
        for order in 0..ORDERS {
            self.precision[order] += other.precision[order];
            self.recall[order] += other.recall[order];
        }
        self.weighed.0 += other.weighed.0;
        self.weighed.1 += other.weighed.1;
        self.reference += other.reference;
        self.candidate += other.candidate;
        self.pairs += other.pairs;
    }
}

fn grams<'w, 't>(words: &'w [&'t str], order: usize) -> HashMap<&'w [&'t str], usize> {
    let mut counts = HashMap::new();
    for gram in words.windows(order) {
        *counts.entry(gram).or_default() += 1;
    }
    counts
}

fn is_keyword(variant: Variant, word: &str) -> bool {
    let left_out = variant == Variant::CodeXGlue && NOT_IN_CODEXGLUE.contains(&word);
    KEYWORDS.contains(&word) && !left_out
}
