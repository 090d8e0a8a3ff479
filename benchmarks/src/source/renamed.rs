//! Renamed copies of methods, so that nobody can know them by heart.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::mem;
use std::ops::Range;

use ruff_python_ast::token::TokenKind;
use ruff_text_size::Ranged;

use super::mutants::next;
use super::parsed::{Parsed, bytes};
use super::reserved::{ends_reserved, is_reserved};

/// Minimum number of letters of a word in a string or comment; shorter ones are
/// conversions, prefixes and the like. New words are no shorter, so that none is equal to
/// one that stays.
const WORD: usize = 3;

/// How often a word is drawn before one is made.
const DRAWS: usize = 32;

/// The words that a project uses in its names.
pub struct Words(Vec<String>);

impl Words {
    /// The words of the names, strings and comments in these texts.
    pub fn of<'t>(texts: impl Iterator<Item = &'t str>) -> Words {
        let mut words = BTreeSet::new();
        for text in texts {
            let Ok(parsed) = Parsed::of(text) else { continue };
            for name in names(&parsed) {
                let parts = parts(&text[name]).into_iter().map(str::to_lowercase);
                words.extend(parts.filter(|part| can_be_name(part)));
            }
        }
        Words(words.into_iter().collect())
    }

    /// Replaces the words of texts that belong together: the same word by the same word,
    /// and no two words by one. So distinct names stay distinct, and no name becomes one
    /// to which Python gives a meaning. Text that is not Python stays as it is.
    pub fn renamed<const N: usize>(&self, texts: [&str; N], seed: u64) -> [String; N] {
        let mut given = Given { words: &self.0, of: HashMap::new(), taken: HashSet::new(), seed };
        texts.map(|text| given.text(text))
    }
}

/// Whether a word can be part of a new name.
fn can_be_name(word: &str) -> bool {
    word.len() >= WORD && word.bytes().all(|b| b.is_ascii_lowercase()) && !ends_reserved(word)
}

/// Which word replaces which.
struct Given<'w> {
    words: &'w [String],
    of: HashMap<String, String>,
    taken: HashSet<String>,
    seed: u64,
}

impl Given<'_> {
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
        if !part.starts_with(|c: char| c.is_ascii_alphabetic()) {
            return part.to_string();
        }
        let word = self.word(&part.to_lowercase());
        match part.strip_prefix(|c: char| c.is_ascii_uppercase()) {
            None => word,
            Some(rest) if rest.chars().any(|c| c.is_ascii_lowercase()) => {
                word[..1].to_uppercase() + &word[1..]
            }
            Some(_) => word.to_uppercase(),
        }
    }

    /// The replacement of a word. A single letter becomes a single letter, so that names
    /// in camel case can still be cut where words meet.
    fn word(&mut self, word: &str) -> String {
        if let Some(given) = self.of.get(word) {
            return given.clone();
        }
        let new = if word.len() == 1 { self.letter(word) } else { self.drawn(word) };
        self.taken.insert(new.clone());
        self.of.insert(word.to_string(), new.clone());
        new
    }

    fn letter(&mut self, letter: &str) -> String {
        let free = ('a'..='z').map(String::from).filter(|other| !self.taken.contains(other));
        let free: Vec<String> = free.collect();
        let others: Vec<&String> = free.iter().filter(|other| *other != letter).collect();
        let at = self.below(others.len());
        others.get(at).map_or_else(|| letter.to_string(), |other| other.to_string())
    }

    fn drawn(&mut self, word: &str) -> String {
        for _ in 0..DRAWS {
            let at = self.below(self.words.len());
            match self.words.get(at) {
                Some(new) if new != word && !self.taken.contains(new) => return new.clone(),
                _ => {}
            }
        }
        loop {
            let new = self.made();
            if new != word && !self.taken.contains(&new) && can_be_name(&new) {
                return new;
            }
        }
    }

    /// A word of three syllables, for projects with too few words.
    fn made(&mut self) -> String {
        let mut letter = |letters: &str| letters.chars().nth(self.below(letters.len()));
        let mut syllable = || [letter("bdfgklmnprstvz"), letter("aeiou")];
        [syllable(), syllable(), syllable()].into_iter().flatten().flatten().collect()
    }

    /// A random number below `count`; 0 if there is none.
    fn below(&mut self, count: usize) -> usize {
        let drawn = next(&mut self.seed).checked_rem(count as u64);
        drawn.and_then(|drawn| usize::try_from(drawn).ok()).unwrap_or_default()
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
            TokenKind::String
            | TokenKind::FStringMiddle
            | TokenKind::TStringMiddle
            | TokenKind::Comment => {
                let words = words(text).into_iter();
                found.extend(words.map(|word| span.start + word.start..span.start + word.end));
            }
            _ => {}
        }
    }
    found
}

fn is_kept(name: &str) -> bool {
    is_reserved(name) || !name.is_ascii()
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
        // The characters that `\N{…}` names exist; others may not.
        if text[..start].ends_with("\\N{") {
            rest = text[start..].find('}').map_or(text.len(), |end| start + end);
            continue;
        }
        let is_escape = text[..start].ends_with('\\');
        let letters = word.bytes().filter(u8::is_ascii_alphabetic).count();
        let is_name = !word.starts_with(|c: char| c.is_ascii_digit());
        if !is_escape && letters >= WORD && is_name && !is_kept(word) {
            found.push(start..rest);
        }
    }
    found
}

/// The parts of `HTTPResponse_old2`: `HTTP`, `Response`, `_`, `old`, `2`.
pub(super) fn parts(name: &str) -> Vec<&str> {
    let kind = |c: char| match c {
        _ if c.is_ascii_lowercase() => 0,
        _ if c.is_ascii_uppercase() => 1,
        _ => 2,
    };
    let letters: Vec<(usize, char)> = name.char_indices().collect();
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
    cuts.push(name.len());
    let pieces = cuts.windows(2).map(|pair| &name[pair[0]..pair[1]]);
    pieces.filter(|piece| !piece.is_empty()).collect()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use std::fs;
    use std::path::Path;

    use proptest::prelude::*;

    use super::super::{methods, source_of};
    use super::*;

    const METHOD: &str = r##"def get_name(self, default=None):
    """Return the name."""
    if self.name is None:  # HTTPName is old
        return f"{self.name!r}: %s\n" % super().get_name(len(default))
    return 'a name\nXX' + "the nameXX" + __name__
"##;

    /// Methods whose names are hard to replace.
    const HARD: [&str; 5] = [
        METHOD,
        "def x(self, X, xY, Xy, x_y, x2, X2, _x, __x, x_, HTTPx, HTTPX, aB, AB, Ab):\n    return x.match(X, is_a=id, None_=1, trueFalse=True)\n",
        "def f(self, é, éa, a, b, c):\n    match a:\n        case {'key': _, **rest}: return \"\\N{LATIN SMALL LETTER A}\\x41bc\\nabc %(key)s\"\n        case Value(error=[b, *_]) | Value(error=(b,)): return rb'\\dabc' + b'key'\n",
        "async def value_error(self, *args: 'List[str]', stop_iteration=0x1F, **kwargs) -> \"list\":\n    '''Lines\n    of text.''' # noqa: E501\n    return [i async for i in {f'{args=}{kwargs[\"a_key\"]:>{i}} {{abc}}': await i}] if i else print\n",
        "def not_in(self, ValueErrors, list_of, str_, _, __, ___):\n    global is_none\n    lambda *, __private, __dunder__: (_, __, '_protected __dunder__ 3rd')\n",
    ];

    /// The names, and the kinds and texts of all other tokens, which must stay.
    fn tokens(text: &str) -> (Vec<&str>, Vec<(TokenKind, &str)>) {
        let parsed = Parsed::of(text).unwrap();
        let (mut names, mut others) = (Vec::new(), Vec::new());
        let mut before = TokenKind::Newline;
        for token in parsed.tokens() {
            let span = &text[bytes(token.range())];
            let follows_mark = mem::replace(&mut before, token.kind()) == TokenKind::Exclamation;
            match token.kind() {
                TokenKind::Name if !follows_mark => names.push(span),
                kind @ (TokenKind::String
                | TokenKind::FStringMiddle
                | TokenKind::TStringMiddle
                | TokenKind::Comment) => others.push((kind, "")),
                kind => others.push((kind, span)),
            }
        }
        (names, others)
    }

    /// Checks what holds for each renamed copy of each method.
    #[track_caller]
    fn check(words: &Words, text: &str, seed: u64) {
        let [copy] = words.renamed([text], seed);
        let ((from, rest), (to, same)) = (tokens(text), tokens(&copy));
        assert_eq!(rest, same, "{text}\n{copy}");
        assert_eq!(from.len(), to.len(), "{text}\n{copy}");
        let (mut forth, mut back) = (HashMap::new(), HashMap::new());
        for (old, new) in from.into_iter().zip(to) {
            assert_eq!(*forth.entry(old).or_insert(new), new, "{text}\n{copy}");
            assert_eq!(*back.entry(new).or_insert(old), old, "{text}\n{copy}");
            assert!(old == new || !is_reserved(new), "{new}\n{text}\n{copy}");
            assert!(!is_kept(old) || old == new, "{old}\n{text}\n{copy}");
            assert!(is_kept(old) || style(old) == style(new), "{old} {new}");
        }
    }

    /// The cases of a name's words (lower, upper, capitalised), and what joins them.
    fn style(name: &str) -> String {
        let style = |part: &&str| match part.as_bytes() {
            [b'A'..=b'Z', rest @ ..] if rest.iter().any(u8::is_ascii_lowercase) => "c".to_string(),
            [b'A'..=b'Z', ..] => "u".to_string(),
            [b'a'..=b'z', ..] => "l".to_string(),
            _ => part.to_string(),
        };
        parts(name).iter().map(style).collect()
    }

    fn python(folder: &Path, found: &mut Vec<String>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.extension().is_some_and(|ending| ending == "py") {
                true => found.extend(fs::read_to_string(&path).ok()),
                false if path.is_dir() => python(&path, found),
                false => {}
            }
        }
    }

    proptest! {
        #[test]
        fn a_copy_differs_in_words_only_and_distinct_names_stay_distinct(
            seed: u64,
            pool in proptest::sample::select(vec!["pass", "value_error = stop_iteration", METHOD]),
        ) {
            let words = Words::of([pool].into_iter());
            HARD.iter().for_each(|text| check(&words, text, seed));
        }
    }

    #[test]
    fn all_methods_of_django_can_be_renamed() {
        if std::env::var_os("FIXFLY_TEST_DJANGO").is_none() {
            return;
        }
        let mut texts = Vec::new();
        python(&crate::django::folder().join("source/django"), &mut texts);
        let found = texts.iter().map(|text| (text, methods(text).unwrap_or_default()));
        let methods: Vec<String> = found
            .flat_map(|(text, found)| found.into_iter().map(move |method| source_of(text, &method)))
            .collect();
        assert!(methods.len() > 5000, "{}", methods.len());
        let words = Words::of(methods.iter().map(String::as_str));
        for (seed, method) in (0..).zip(&methods) {
            check(&words, method, seed);
        }
    }

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
    }

    #[test]
    fn numbers_keywords_and_the_ends_of_builtins_are_no_words_for_names() {
        #[track_caller]
        fn check(text: &str, expected: &[&str]) {
            assert_eq!(Words::of([text].into_iter()).0, expected);
        }
        check("x1.a743(b_331='ups')", &["ups"]);
        check("is_not_none = MyValueError('True list')", &["value"]);
        check("None_ = True_ = stopIteration = pk", &["stop"]);
        check("def (", &[]);
    }

    #[test]
    fn the_same_word_becomes_the_same_other_word_everywhere() {
        let pool = "def alpha_beta(gamma, delta):\n    return 'epsilon zeta eta theta iota kappa'";
        let words = Words::of([pool].into_iter());
        let fixed = METHOD.replace("is None", "is not None");
        let [faulty, truth] = words.renamed([METHOD, &fixed], 3);
        insta::assert_snapshot!(faulty);
        let differing = faulty.lines().zip(truth.lines()).filter(|(one, other)| one != other);
        assert_eq!(differing.count(), 1);
        let [again] = words.renamed([METHOD], 3);
        assert_eq!(again, faulty);
        let [other] = words.renamed([METHOD], 4);
        assert_ne!(other, faulty);
    }

    #[test]
    fn what_is_not_python_stays_and_words_are_made_where_there_are_none() {
        let words = Words::of(["def f(): pass"].into_iter());
        assert_eq!(words.renamed(["def ("], 0), ["def ("]);
        let [copy] = words.renamed(["one = two"], 0);
        let (one, two) = copy.split_once(" = ").unwrap();
        assert!(one != two && can_be_name(one) && can_be_name(two), "{copy}");
    }
}
