//! What datasets need to know about a programming language.

/// Compares and cuts source text.
pub trait Language {
    /// A hash that layout and comments do not change; `None` if the text is not exactly one
    /// function.
    fn tree_hash(&self, source: &str) -> Option<String>;

    /// Hashes of runs of tokens, sorted and without duplicates.
    fn shingles(&self, source: &str) -> Vec<u64>;

    /// The functions and methods of a file, as their paths in it and dedented source.
    fn methods(&self, text: &str) -> Vec<(String, String)>;

    /// The text without the functions and methods of these paths.
    fn without(&self, text: &str, names: &[String]) -> String;
}
