//! Finds llama.cpp's name for how a tokenizer cuts text into words.
//!
//! Nothing in a `tokenizer.json` has this name. llama.cpp's converter looks it up by a hash
//! of the tokens of a text. Here, the tokenizer and each rule of llama.cpp cut a text of
//! many kinds of words, and the rule is the one that makes the same words. Fine-tuned
//! vocabularies are found too, and what llama.cpp would cut otherwise is refused.

use std::collections::HashSet;

use fixfly_runtime::{PreRule, pre_rules};
use serde_json::{Value, json};
use tokenizers::{
    OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer, PreTokenizerWrapper, Tokenizer,
};

/// Words of code and prose, digits, spaces and line ends in many scripts.
const PROBE: &str = include_str!("probe.txt");

/// The value of `tokenizer.ggml.pre` for a tokenizer.
///
/// # Errors
/// One sentence, if llama.cpp has no such rule.
pub(super) fn pre(tokenizer: &Value) -> Result<String, String> {
    let pre_tokenizer = &tokenizer["pre_tokenizer"];
    let own = words(pre_tokenizer)?;
    let same = |rule: &&PreRule| words(&rule.pre_tokenizer()).is_ok_and(|words| words == own);
    let same: Vec<_> = pre_rules().iter().filter(same).collect();
    let Some(first) = same.first() else {
        return Err(format!(
            "llama.cpp has no rule that cuts words as its pre_tokenizer does ({})",
            kinds(pre_tokenizer)
        ));
    };
    let ignores = tokenizer["model"]["ignore_merges"] == Value::Bool(true);
    let named = same.iter().find(|rule| rule.ignore_merges == ignores);
    if named.is_none()
        && let Some(word) = unmerged(tokenizer)?
    {
        return Err(format!(
            "its model has ignore_merges {ignores}, but llama.cpp's rule `{}` has {}, and the word {word:?} would get other tokens",
            first.name, first.ignore_merges
        ));
    }
    Ok(named.unwrap_or(first).name.clone())
}

/// The words of the probe, as a pre-tokenizer cuts them.
fn words(pre_tokenizer: &Value) -> Result<Vec<String>, String> {
    let wrong = |why: &dyn std::fmt::Display| {
        format!("its pre_tokenizer ({}) cannot be used: {why}", kinds(pre_tokenizer))
    };
    let mut text = PreTokenizedString::from(PROBE);
    if !pre_tokenizer.is_null() {
        let read: Result<PreTokenizerWrapper, _> = serde_json::from_str(&pre_tokenizer.to_string());
        let read = read.map_err(|why| wrong(&why))?;
        read.pre_tokenize(&mut text).map_err(|why| wrong(&why))?;
    }
    let words = text.get_splits(OffsetReferential::Original, OffsetType::Byte);
    Ok(words.into_iter().map(|(word, ..)| word.to_string()).collect())
}

/// The types of a pre-tokenizer, as text.
fn kinds(pre_tokenizer: &Value) -> String {
    let kind = |one: &Value| one["type"].as_str().unwrap_or("none").to_string();
    match pre_tokenizer["pretokenizers"].as_array() {
        Some(parts) => parts.iter().map(kind).collect::<Vec<_>>().join(", "),
        None => kind(pre_tokenizer),
    }
}

/// A word of the vocabulary that the merges do not make; `None` if they make all of them,
/// so that `ignore_merges` changes nothing.
fn unmerged(tokenizer: &Value) -> Result<Option<String>, String> {
    let mut bare = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [],
        "normalizer": null, "pre_tokenizer": null, "post_processor": null, "decoder": null,
        "model": tokenizer["model"],
    });
    bare["model"]["ignore_merges"] = json!(false);
    let merges = Tokenizer::from_bytes(bare.to_string()).map_err(|why| why.to_string())?;
    let added = tokenizer["added_tokens"].as_array().into_iter().flatten();
    let added: HashSet<_> = added.filter_map(|token| token["content"].as_str()).collect();
    let vocab = tokenizer["model"]["vocab"].as_object().into_iter().flatten();
    for (word, _) in vocab.filter(|(word, _)| !added.contains(word.as_str())) {
        let tokens = merges.encode_fast(word.as_str(), false).map_err(|why| why.to_string())?;
        if tokens.len() != 1 {
            return Ok(Some(word.clone()));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    /// A tokenizer of single bytes and a few merged words.
    fn tokenizer(pre_tokenizer: &Value, ignore_merges: bool) -> Value {
        json!({
            "added_tokens": [],
            "pre_tokenizer": pre_tokenizer,
            "model": {"type": "BPE", "ignore_merges": ignore_merges, "merges": [["a", "b"]],
                "vocab": {"a": 0, "b": 1, "c": 2, "ab": 3}},
        })
    }

    #[derive(Deserialize)]
    struct Published {
        name: Option<String>,
        ignore_merges: bool,
        pre_tokenizer: Value,
    }

    #[test]
    fn published_pre_tokenizers_have_the_names_that_llama_cpp_gives_them() {
        let golden = include_str!("../goldens/pre_tokenizers.json");
        let golden: Vec<Published> = serde_json::from_str(golden).unwrap();
        assert!(golden.iter().filter(|one| one.name.is_none()).count() > 5);
        for Published { name, ignore_merges, pre_tokenizer } in golden {
            let found = pre(&tokenizer(&pre_tokenizer, ignore_merges));
            assert_eq!(found.as_ref().ok(), name.as_ref(), "{pre_tokenizer}, {found:?}");
        }
    }

    #[test]
    fn each_rule_cuts_the_probe() {
        let rules = pre_rules();
        let cuts: HashSet<_> =
            rules.iter().map(|rule| words(&rule.pre_tokenizer()).unwrap()).collect();
        // Some differ in `ignore_merges` only, or in how a pattern is written.
        assert_eq!((rules.len(), cuts.len()), (25, 22));
    }

    /// The folder `27-digits` of reported faults.
    #[test]
    fn digits_before_bytes_are_smollm_and_not_gpt_2() {
        let digits = json!({"type": "Sequence", "pretokenizers": [
            {"type": "Digits", "individual_digits": true},
            {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true},
        ]});
        assert_eq!(pre(&tokenizer(&digits, false)).unwrap(), "smollm");
    }

    #[test]
    fn a_refusal_names_the_pre_tokenizer() {
        let why = pre(&tokenizer(
            &json!({"type": "Metaspace", "replacement": "_", "prepend_scheme": "always", "split": true}),
            false,
        ));
        let why = why.unwrap_err();
        assert!(why.ends_with("(Metaspace)"), "{why}");
        let none = pre(&tokenizer(&Value::Null, false)).unwrap_err();
        assert!(none.ends_with("(none)"), "{none}");
    }

    #[test]
    fn ignore_merges_counts_where_it_changes_tokens() {
        let bytes = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true});
        // The merges make every word.
        assert_eq!(pre(&tokenizer(&bytes, true)).unwrap(), "gpt-2");
        let mut odd = tokenizer(&bytes, true);
        odd["model"]["vocab"]["abc"] = json!(4);
        let why = pre(&odd).unwrap_err();
        assert!(why.contains("ignore_merges true") && why.contains("\"abc\""), "{why}");
        odd["model"]["ignore_merges"] = json!(false);
        assert_eq!(pre(&odd).unwrap(), "gpt-2");
    }
}
