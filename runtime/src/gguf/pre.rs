//! llama.cpp's rules for cutting text into words, by the names of `tokenizer.ggml.pre`.

use std::sync::LazyLock;

use serde::Deserialize;
use serde_json::{Value as Json, json};

/// Made by `scripts/goldens/pre.py` from llama.cpp's source. A test reads all of it.
static RULES: LazyLock<Vec<PreRule>> =
    LazyLock::new(|| serde_json::from_str(include_str!("pre.json")).unwrap_or_default());

/// A rule of llama.cpp.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PreRule {
    /// The name that exports use.
    pub name: String,
    /// Other names of the same rule.
    pub aliases: Vec<String>,
    /// Patterns, one after the other.
    pub splits: Vec<String>,
    /// Whether a word of the vocabulary is one token, whatever the merges make of it.
    pub ignore_merges: bool,
    /// The names by which a text begins with the token `bos` if the file does not state it.
    pub adds_bos: Vec<String>,
}

/// All rules that fixfly applies.
pub fn pre_rules() -> &'static [PreRule] {
    &RULES
}

impl PreRule {
    /// The rule with this name.
    ///
    /// # Errors
    /// One sentence with the names that are supported.
    pub fn find(name: &str) -> Result<&'static PreRule, String> {
        let called = |rule: &&PreRule| rule.names().any(|one| one == name);
        pre_rules().iter().find(called).ok_or_else(|| {
            let names: Vec<_> = pre_rules().iter().flat_map(PreRule::names).collect();
            format!(
                "its pre-tokenizer is `{name}` (`tokenizer.ggml.pre`), and fixfly applies only {}; use the model's tokenizer.json, or its Hugging Face folder as the base",
                names.join(", ")
            )
        })
    }

    /// All names of the rule.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.name).chain(&self.aliases).map(String::as_str)
    }

    /// The rule as the `pre_tokenizer` of a `tokenizer.json`.
    pub fn pre_tokenizer(&self) -> Json {
        let split = |pattern: &String| {
            json!({"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated",
                "invert": false})
        };
        let bytes = json!({"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": false,
            "use_regex": false});
        let parts: Vec<_> = self.splits.iter().map(split).chain([bytes]).collect();
        json!({"type": "Sequence", "pretokenizers": parts})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(name: &str, expected: &str, adds_bos: bool) {
        let rule = PreRule::find(name).unwrap();
        assert_eq!(
            (&*rule.name, rule.adds_bos.iter().any(|one| one == name)),
            (expected, adds_bos)
        );
    }

    #[test]
    fn every_name_of_llama_cpp_has_its_rule() {
        assert_eq!(pre_rules().len(), 25);
        check("qwen2", "qwen2", false);
        check("deepseek-r1-qwen", "qwen2", false);
        check("llama3", "llama-bpe", true);
        check("glm4", "llama-bpe", false);
        check("smollm", "smollm", false);
        check("tekken", "tekken", true);
    }

    #[test]
    fn an_unknown_name_is_refused_with_the_names_that_there_are() {
        let why = PreRule::find("kimi-k2").unwrap_err();
        assert!(why.starts_with("its pre-tokenizer is `kimi-k2`"), "{why}");
        assert!(
            why.contains("gpt-2, mpt") && why.contains("qwen2") && !why.contains('\n'),
            "{why}"
        );
    }
}
