//! Jaccard similarity of 4-grams.

use std::collections::HashSet;
use std::hash::Hash;

/// Words or characters per n-gram.
const GRAM: usize = 4;

/// |A ∩ B| / |A ∪ B| of the 4-grams of words, which whitespace separates. A text of fewer
/// than four words is one n-gram. 0 if neither text has a word.
pub(crate) fn jaccard_words(one: &str, other: &str) -> f64 {
    let words = |text| str::split_whitespace(text).collect::<Vec<_>>();
    jaccard(&words(one), &words(other))
}

/// The same for 4-grams of characters, including whitespace.
pub(crate) fn jaccard_characters(one: &str, other: &str) -> f64 {
    let characters = |text: &str| text.chars().collect::<Vec<_>>();
    jaccard(&characters(one), &characters(other))
}

fn jaccard<T: Eq + Hash>(one: &[T], other: &[T]) -> f64 {
    let grams =
        |units| <[T]>::windows(units, GRAM.min(<[T]>::len(units)).max(1)).collect::<HashSet<_>>();
    let (one, other) = (grams(one), grams(other));
    let shared = one.intersection(&other).count();
    match one.len() + other.len() - shared {
        0 => 0.0,
        all => shared as f64 / all as f64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_scikit_learns() {
        for text in super::super::goldens::goldens().texts {
            let words = jaccard_words(&text.one, &text.other);
            assert!((words - text.words).abs() < 1e-9, "{words}: {text:?}");
            let characters = jaccard_characters(&text.one, &text.other);
            assert!((characters - text.characters).abs() < 1e-9, "{characters}: {text:?}");
        }
    }

    #[test]
    fn short_texts_are_one_gram() {
        assert_eq!(jaccard_words("a b", "a  b"), 1.0);
        assert_eq!(jaccard_words("a b", "a"), 0.0);
        assert_eq!(jaccard_words("", " "), 0.0);
        assert_eq!(jaccard_characters("ab", "ab"), 1.0);
    }
}
