//! What datasets need from the language of a benchmark.

/// How source text is compared and cut.
pub trait Language {
    /// A hash that layout and comments do not change; `None` where the text is
    /// not one function.
    fn tree_hash(&self, source: &str) -> Option<String>;

    /// Hashed runs of tokens, sorted, each once.
    fn shingles(&self, source: &str) -> Vec<u64>;

    /// The methods of a file: qualified name and dedented source.
    fn methods(&self, text: &str) -> Vec<(String, String)>;

    /// The file without the methods of these qualified names.
    fn without(&self, text: &str, names: &[String]) -> String;
}
