//! Renamed copies of methods, so that nobody can know them by heart.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::mem;
use std::ops::Range;

use ruff_python_ast::token::TokenKind;
use ruff_text_size::Ranged;

use super::mutants::next;
use super::parsed::{Parsed, bytes};

/// Names with the same meaning in all of Python.
const KEPT: &str = "self cls super object type len int str bool float bytes list dict set tuple \
    frozenset isinstance issubclass hasattr getattr setattr callable iter next range zip map filter \
    sorted reversed enumerate any all sum min max abs repr hash id property classmethod staticmethod \
    Exception ValueError TypeError KeyError IndexError AttributeError NotImplementedError";

/// The end of a mutated string.
const MARK: &str = "XX";

/// Minimum number of letters of a word in a string or comment; shorter ones are
/// conversions, prefixes and the like.
const WORD: usize = 3;

/// The words that a project uses in its names.
pub struct Words(Vec<String>);

impl Words {
    /// The words of the names, strings and comments in these texts.
    pub fn of<'t>(texts: impl Iterator<Item = &'t str>) -> Words {
        let mut words = BTreeSet::new();
        for text in texts {
            let Ok(parsed) = Parsed::of(text) else { continue };
            for name in names(&parsed) {
                let parts = parts(&text[name]).into_iter();
                words.extend(parts.filter(|part| part.len() > 1).map(str::to_lowercase));
            }
        }
        Words(words.into_iter().collect())
    }

    /// Replaces the words of texts that belong together: the same word by the same word,
    /// and no two words by one. Text that is not Python stays as it is.
    pub fn renamed<const N: usize>(&self, texts: [&str; N], seed: u64) -> [String; N] {
        let mut given = Given { words: &self.0, of: HashMap::new(), taken: HashSet::new(), seed };
        texts.map(|text| given.text(text))
    }
}

/// Which word replaces which.
struct Given<'w> {
    words: &'w [String],
    of: HashMap<String, &'w str>,
    taken: HashSet<&'w str>,
    seed: u64,
}

impl<'w> Given<'w> {
    fn text(&mut self, text: &str) -> String {
        let Ok(parsed) = Parsed::of(text) else { return text.to_string() };
        let (mut out, mut at) = (String::new(), 0);
        for name in names(&parsed) {
            out.push_str(&text[at..name.start]);
            for part in parts(&text[name.clone()]) {
                out.push_str(&self.part(part));
            }
            at = name.end;
        }
        out + &text[at..]
    }

    fn part(&mut self, part: &str) -> String {
        if part == MARK || !part.starts_with(|c: char| c.is_ascii_alphabetic()) {
            return part.to_string();
        }
        let word = self.word(&part.to_lowercase());
        match part.strip_prefix(|c: char| c.is_ascii_uppercase()) {
            None => word,
            Some("") => word[..1].to_uppercase(),
            Some(rest) if rest.chars().any(|c| c.is_ascii_lowercase()) => {
                word[..1].to_uppercase() + &word[1..]
            }
            Some(_) => word.to_uppercase(),
        }
    }

    /// The replacement of a word. If a project has too few words, it stays.
    fn word(&mut self, word: &str) -> String {
        if let Some(given) = self.of.get(word) {
            return given.to_string();
        }
        for _ in 0..self.words.len() {
            let at = next(&mut self.seed) % self.words.len() as u64;
            let drawn = self.words[usize::try_from(at).unwrap_or_default()].as_str();
            if self.taken.insert(drawn) {
                self.of.insert(word.to_string(), drawn);
                return drawn.to_string();
            }
        }
        word.to_string()
    }
}

/// The positions of names, and of words in strings and comments, except those that are
/// kept.
fn names(parsed: &Parsed<'_>) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut before = TokenKind::Newline;
    for token in parsed.tokens() {
        let span = bytes(token.range());
        let text = &parsed.text[span.clone()];
        // The `r` of `{name!r}` is not a name.
        let follows_mark = mem::replace(&mut before, token.kind()) == TokenKind::Exclamation;
        match token.kind() {
            TokenKind::Name if !is_kept(text) && !follows_mark => found.push(span),
            TokenKind::String | TokenKind::FStringMiddle | TokenKind::Comment => {
                let words = words(text).into_iter();
                found.extend(words.map(|word| span.start + word.start..span.start + word.end));
            }
            _ => {}
        }
    }
    found
}

fn is_kept(name: &str) -> bool {
    KEPT.split(' ').any(|kept| kept == name)
        || (name.starts_with("__") && name.ends_with("__"))
        || !name.is_ascii()
}

/// Words in running text. An escape after a backslash is not a word.
fn words(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let is_of_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut rest = 0;
    while let Some(start) = text[rest..].find(is_of_word).map(|at| rest + at) {
        let length = text[start..].find(|c| !is_of_word(c)).unwrap_or(text.len() - start);
        rest = start + length;
        let word = &text[start..rest];
        let is_escape = text[..start].ends_with('\\');
        let letters = word.strip_suffix(MARK).unwrap_or(word).len();
        if !is_escape && letters >= WORD && word.starts_with(|c: char| c.is_ascii_alphabetic()) {
            found.push(start..rest);
        }
    }
    found
}

/// The parts of `HTTPResponse_old2`: `HTTP`, `Response`, `_`, `old`, `2`.
fn parts(name: &str) -> Vec<&str> {
    let kind = |c: char| match c {
        _ if c.is_ascii_lowercase() => 0,
        _ if c.is_ascii_uppercase() => 1,
        _ => 2,
    };
    let (body, mark) = match name.strip_suffix(MARK) {
        Some(body) => (body, Some(MARK)),
        None => (name, None),
    };
    let letters: Vec<(usize, char)> = body.char_indices().collect();
    let mut cuts = vec![0];
    for (before, pair) in letters.windows(2).enumerate() {
        let ((_, one), (at, other)) = (pair[0], pair[1]);
        let after = letters.get(before + 2).is_some_and(|(_, c)| c.is_ascii_lowercase());
        let is_cut = match (kind(one), kind(other)) {
            (1, 0) | (0, 0) | (2, 2) => false,
            // The last of several capitals starts the next word.
            (1, 1) => after,
            _ => true,
        };
        if is_cut {
            cuts.push(at);
        }
    }
    cuts.push(body.len());
    let pieces = cuts.windows(2).map(|pair| &body[pair[0]..pair[1]]);
    pieces.chain(mark).filter(|piece| !piece.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const METHOD: &str = r##"def get_name(self, default=None):
    """Return the name."""
    if not (self.name is None):  # HTTPName is old
        return f"{self.name!r}: %s\n" % super().get_name(len(default))
    return 'a name\nXX' + "the nameXX" + __name__
"##;

    #[test]
    fn a_name_is_cut_where_words_meet() {
        #[track_caller]
        fn check(name: &str, expected: &[&str]) {
            assert_eq!(parts(name), expected);
        }
        check("HTTPResponse_old2", &["HTTP", "Response", "_", "old", "2"]);
        check("getName", &["get", "Name"]);
        check("__x", &["__", "x"]);
        check("MAX_SIZE", &["MAX", "_", "SIZE"]);
        check("nameXX", &["name", "XX"]);
        check("XX", &["XX"]);
    }

    #[test]
    fn the_same_word_becomes_the_same_other_word_everywhere() {
        let pool = "def alpha_beta(gamma, delta):\n    return 'epsilon zeta eta theta iota kappa'";
        let words = Words::of([pool].into_iter());
        let fixed = METHOD.replace("not (self.name is None)", "self.name is None");
        let [faulty, truth] = words.renamed([METHOD, &fixed], 3);
        insta::assert_snapshot!(faulty);
        assert!(Parsed::of(&faulty).is_ok());
        let differing = faulty.lines().zip(truth.lines()).filter(|(one, other)| one != other);
        assert_eq!(differing.count(), 1);
        let [again] = words.renamed([METHOD], 3);
        assert_eq!(again, faulty);
        let [other] = words.renamed([METHOD], 4);
        assert_ne!(other, faulty);
    }

    #[test]
    fn what_is_not_python_and_what_has_no_words_left_stays() {
        let words = Words::of(["def a(): 'only'"].into_iter());
        assert_eq!(words.renamed(["def ("], 0), ["def ("]);
        assert_eq!(words.renamed(["one = two"], 0), ["only = two"]);
    }
}
