//! Measures how similar two methods are.

use std::collections::{BTreeSet, HashMap};
use std::hash::{Hash, Hasher};
use std::ops::Range;

use fixfly_runtime::hex;
use ruff_python_ast::Stmt;
use ruff_python_ast::comparable::ComparableStmt;
use ruff_python_ast::token::TokenKind;
use ruff_text_size::Ranged;
use sha2::{Digest, Sha256};

use super::lines::{self, Lines};
use super::parsed::{Function, Parsed, bytes};

/// Number of tokens in a shingle.
const SHINGLE: usize = 5;

/// Normalises a method's text for exact comparison: removes decorators, docstring,
/// comments, blank lines and white space at line ends. Of several functions, each is
/// normalised. Text that is not a function is only trimmed.
pub fn normal_form(source: &str) -> String {
    let source = lines::unix(source);
    let Ok(parsed) = Parsed::of(&source) else { return source.trim().to_string() };
    let functions: Vec<_> = parsed.functions().into_iter().map(|def| parsed.parts(def)).collect();
    if functions.is_empty() {
        return source.trim().to_string();
    }
    let docstrings = functions.iter().filter_map(|function| {
        Some(docstring_cut(&source, function.docstring.as_ref()?, function))
    });
    let mut cuts: Vec<Range<usize>> = (parsed.tokens().iter())
        .filter(|token| token.kind() == TokenKind::Comment)
        .map(|token| bytes(token.range()))
        .chain(docstrings)
        .collect();
    cuts.sort_by_key(|cut| cut.start);
    let mut strings = parsed.strings();
    strings.retain(|string| !cuts.iter().any(|cut| cut.contains(&string.start)));
    let all = Lines::of(&source);
    let mut out = String::new();
    let numbers = functions
        .iter()
        .flat_map(|function| all.number(function.span.start)..=all.number(function.span.end - 1));
    for number in numbers {
        let span = all.span(number);
        let kept = without(&source, &span, &cuts);
        if lines::is_inside(&strings, span.end) {
            out.push_str(&kept);
        } else if lines::is_inside(&strings, span.start) || !lines::is_blank(&kept) {
            out.push_str(kept.trim_end());
            out.push('\n');
        }
    }
    out.trim_end().to_string()
}

/// The span of the docstring, including what separates it from a statement on the same
/// line.
fn docstring_cut(source: &str, docstring: &Range<usize>, function: &Function<'_>) -> Range<usize> {
    let next = function.body.start;
    let shares_line = !source[docstring.end..next].contains('\n') && !function.body.is_empty();
    docstring.start..if shares_line { next } else { docstring.end }
}

/// The bytes of `span` that are in none of `cuts`.
fn without(source: &str, span: &Range<usize>, cuts: &[Range<usize>]) -> String {
    let mut out = String::new();
    let mut at = span.start;
    for cut in cuts.iter().filter(|cut| cut.start < span.end && span.start < cut.end) {
        out.push_str(&source[at..cut.start.max(at)]);
        at = cut.end.clamp(at, span.end);
    }
    out + &source[at..span.end]
}

/// A hash of a function's syntax tree: layout, comments, decorators and the docstring do
/// not count, names do. Of several functions, all count, in any order. `None` if it is not a
/// function. Only hashes of the same version of fixfly can be compared.
pub fn tree_hash(source: &str) -> Option<String> {
    let parsed = Parsed::of(source).ok()?;
    let mut functions = parsed.functions();
    functions.sort_by_key(|def| def.name.as_str());
    let mut hasher = Sha(Sha256::new());
    for def in &functions {
        let mut bare = (*def).clone();
        bare.decorator_list.clear();
        if parsed.parts(def).docstring.is_some() {
            bare.body.remove(0);
        }
        ComparableStmt::from(&Stmt::FunctionDef(bare)).hash(&mut hasher);
    }
    (!functions.is_empty()).then(|| hex(hasher.0.finalize()))
}

/// SHA-256 of what a value hashes; unlike the default hasher, it is the same in every run.
struct Sha(Sha256);

impl Hasher for Sha {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        self.0.clone().finalize().iter().take(8).fold(0, |sum, byte| sum << 8 | u64::from(*byte))
    }
}

/// The hashes of all runs of five code tokens in each function, sorted, without duplicates.
/// Comments, layout, decorators and the docstring do not count. A shorter function is one
/// run; text that is not a function has none.
pub fn shingles(source: &str) -> Vec<u64> {
    let Ok(parsed) = Parsed::of(source) else { return Vec::new() };
    let mut hashes = BTreeSet::new();
    for def in parsed.functions() {
        let tokens = code_tokens(&parsed, &parsed.parts(def));
        let runs = tokens.windows(SHINGLE.min(tokens.len()).max(1));
        hashes.extend(runs.map(|run| fnv(run.join("\0").as_bytes())));
    }
    hashes.into_iter().collect()
}

fn code_tokens<'p>(parsed: &Parsed<'p>, function: &Function<'_>) -> Vec<&'p str> {
    let is_code = |kind| {
        !matches!(
            kind,
            TokenKind::Comment
                | TokenKind::Newline
                | TokenKind::NonLogicalNewline
                | TokenKind::Indent
                | TokenKind::Dedent
                | TokenKind::EndOfFile
        )
    };
    let docstring = function.docstring.clone().unwrap_or_default();
    (parsed.tokens().iter())
        .filter(|token| is_code(token.kind()))
        .map(|token| bytes(token.range()))
        .filter(|span| function.span.start <= span.start && span.end <= function.span.end)
        .filter(|span| !docstring.contains(&span.start))
        .map(|span| &parsed.text[span])
        .collect()
}

/// The 64-bit FNV-1a hash.
fn fnv(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// Jaccard similarity of two sorted sets, from 0 to 1.
pub fn similarity(a: &[u64], b: &[u64]) -> f64 {
    let (mut i, mut j, mut shared) = (0, 0, 0_usize);
    while let (Some(x), Some(y)) = (a.get(i), b.get(j)) {
        shared += usize::from(x == y);
        i += usize::from(x <= y);
        j += usize::from(y <= x);
    }
    let all = a.len() + b.len() - shared;
    if all == 0 { 0.0 } else { shared as f64 / all as f64 }
}

/// All pairs of sets, by index, with a similarity of at least `threshold` (above 0).
///
/// The result is exact: two sets that are this similar must share one of the rarest few
/// members of each, so only such pairs are compared.
pub fn near_duplicates(sets: &[Vec<u64>], threshold: f64) -> Vec<(usize, usize)> {
    let mut frequency: HashMap<u64, usize> = HashMap::new();
    for member in sets.iter().flatten() {
        *frequency.entry(*member).or_default() += 1;
    }
    let mut holders: HashMap<u64, Vec<usize>> = HashMap::new();
    let mut pairs = Vec::new();
    for (at, set) in sets.iter().enumerate() {
        let mut rarest = set.clone();
        rarest.sort_by_key(|member| (frequency[member], *member));
        // Sets that share none of these have fewer members in common than the threshold
        // requires.
        rarest.truncate(set.len() + 1 - (threshold * set.len() as f64).ceil() as usize);
        rarest.truncate(set.len());
        let others: BTreeSet<usize> =
            rarest.iter().filter_map(|member| holders.get(member)).flatten().copied().collect();
        let alike = others.into_iter().filter(|&other| similarity(&sets[other], set) >= threshold);
        pairs.extend(alike.map(|other| (other, at)));
        for member in rarest {
            holders.entry(member).or_default().push(at);
        }
    }
    pairs.sort_unstable();
    pairs
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_does_not_count_is_left_out() {
        #[track_caller]
        fn check(source: &str, expected: &str) {
            assert_eq!(normal_form(source), expected);
        }
        check("def f(self): return 1\n\n", "def f(self): return 1");
        check(
            "@d\ndef f(self):  # a\n    '''Doc.\n\n    More.'''\n\n    # b\n    x = '''# c\n\n  y  \n'''  # d\n    return x  \n",
            "def f(self):\n    x = '''# c\n\n  y  \n'''\n    return x",
        );
        check("def f(self):\r\n    'a'; return 1", "def f(self):\n    return 1");
        check(" not python( ", "not python(");
        check(
            "def f(): return 1  # a\n\n\ndef g():\n    'b'\n    return 2\n",
            "def f(): return 1\ndef g():\n    return 2",
        );
    }

    #[test]
    fn trees_are_the_same_whatever_the_layout() {
        #[track_caller]
        fn check(a: &str, b: &str, expected: bool) {
            assert_eq!(tree_hash(a).unwrap() == tree_hash(b).unwrap(), expected);
        }
        check("def f(a):\n    'doc'\n    return (a)  # b", "@d\ndef f(a): return a", true);
        check("def f(a): return 'x'", "def f(a):\n  return \"x\"", true);
        check("def f(a): return a", "def f(b): return b", false);
        check("def f(a): return a", "async def f(a): return a", false);
        check("def f(a): 'x'; 'y'", "def f(a): 'z'; 'y'", true);
        check("def f(): 1\ndef g(): 2", "def g(): 2\n\n\ndef f():\n    1", true);
        check("def f(): 1\ndef g(): 2", "def f(): 1\ndef g(): 3", false);
        check("def f(): 1\ndef g(): 2", "def f(): 1", false);
        assert_eq!(tree_hash("x = 1"), None);
        assert_eq!(
            tree_hash("def f(): pass").unwrap()[..16],
            *"17f6f4fafe9bbba5",
            "hashes are recorded: a change makes old records useless"
        );
    }

    #[test]
    fn shingles_are_of_code() {
        #[track_caller]
        fn check(a: &str, b: &str, expected: f64) {
            assert!((similarity(&shingles(a), &shingles(b)) - expected).abs() < 1e-9);
        }
        check("def f(a):\n    'doc'\n    return a  # b", "@d\ndef f(a): return (\na)", 3.0 / 7.0);
        check("def f(a):\n    'doc'\n    return a  # b", "@d\ndef f(a): return a", 1.0);
        check("def f(): a", "def g(): b", 0.0);
        check("x", "x", 0.0);
        check("def f(): a\ndef g(): b", "def g(): b\ndef f(): a", 1.0);
        assert_eq!(shingles("def f(): pass").len(), 2);
    }

    proptest! {
        #[test]
        fn no_near_duplicate_is_missed(
            sets in proptest::collection::vec(proptest::collection::btree_set(0_u64..12, 0..9), 0..12),
            threshold in 0.05..1.0_f64,
        ) {
            let sets: Vec<Vec<u64>> = sets.into_iter().map(|set| set.into_iter().collect()).collect();
            let mut expected = Vec::new();
            for b in 0..sets.len() {
                for a in 0..b {
                    if similarity(&sets[a], &sets[b]) >= threshold {
                        expected.push((a, b));
                    }
                }
            }
            expected.sort_unstable();
            prop_assert_eq!(near_duplicates(&sets, threshold), expected);
        }
    }
}
