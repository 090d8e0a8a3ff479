//! CodeBLEU (Ren et al., 2020) of Python methods, in two named variants.
//!
//! The score is the mean of four parts: BLEU-4 over words; n-gram recall in which keywords
//! have five times the weight; the share of the reference's syntax sub-trees that the
//! candidate has; and the share of the reference's data flow that it has. Words are
//! separated by whitespace.

mod comments;
mod dataflow;
mod ngrams;
mod syntax;
mod tokens;

use std::ops::AddAssign;

use serde::Serialize;
use tree_sitter::{Parser, Tree};

use ngrams::Ngrams;

/// The implementation of CodeBLEU.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Variant {
    /// The package `codebleu` 0.7 on PyPI. Removes comments and docstrings before it
    /// compares syntax and data flow. A data flow score of 0 counts as 1, as does a
    /// reference without data flow.
    Package,
    /// `microsoft/CodeXGLUE`, code-to-code-trans. Removes comments by Java's rules, so that
    /// Python's comments stay and `//` truncates a line. `match`, `case` and `type` are not
    /// keywords. Without data flow, that part is 0.
    CodeXGlue,
}

impl Variant {
    /// Both variants.
    pub(crate) const ALL: [Variant; 2] = [Variant::Package, Variant::CodeXGlue];

    /// Its name in `goldens.json`.
    #[cfg(test)]
    fn name(self) -> &'static str {
        match self {
            Variant::Package => "package",
            Variant::CodeXGlue => "codexglue",
        }
    }
}

/// Matches and their total, summed over pairs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Matches {
    found: usize,
    of: usize,
}

impl Matches {
    fn share(self) -> f64 {
        if self.of == 0 { 0.0 } else { self.found as f64 / self.of as f64 }
    }
}

impl AddAssign for Matches {
    fn add_assign(&mut self, other: Self) {
        self.found += other.found;
        self.of += other.of;
    }
}

/// The counts from comparing one candidate with its reference. Their sum gives the corpus
/// score, which is not the mean of the scores.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Compared {
    variant: Variant,
    ngrams: Ngrams,
    syntax: Matches,
    dataflow: Matches,
}

/// The score and its four parts, 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct CodeBleu {
    /// The weighted sum.
    pub(crate) score: f64,
    /// BLEU-4.
    pub(crate) ngram: f64,
    /// Recall of n-grams, keywords weighing more.
    pub(crate) weighted_ngram: f64,
    /// Syntax sub-trees.
    pub(crate) syntax: f64,
    /// Data flow edges.
    pub(crate) dataflow: f64,
}

impl Compared {
    /// Compares a candidate with its reference. Accepts any text.
    pub(crate) fn of(variant: Variant, reference: &str, candidate: &str) -> Self {
        let (reference, candidate) = (reference.trim(), candidate.trim());
        let [reference_code, candidate_code] = [reference, candidate].map(|text| match variant {
            Variant::Package => comments::without_python(text),
            Variant::CodeXGlue => comments::without_java(text),
        });
        let trees = (parse(&reference_code), parse(&candidate_code));
        Compared {
            variant,
            ngrams: Ngrams::of(variant, reference, candidate),
            syntax: syntax::matches(&trees.0, &trees.1),
            dataflow: dataflow::matches((&trees.0, &reference_code), (&trees.1, &candidate_code)),
        }
    }

    /// The sum over pairs; `None` if there are none.
    pub(crate) fn sum<'a>(all: impl IntoIterator<Item = &'a Compared>) -> Option<Compared> {
        let mut all = all.into_iter();
        let mut sum = all.next()?.clone();
        for compared in all {
            sum.ngrams += &compared.ngrams;
            sum.syntax += compared.syntax;
            sum.dataflow += compared.dataflow;
        }
        Some(sum)
    }

    /// The score.
    pub(crate) fn score(&self) -> CodeBleu {
        let (ngram, weighted_ngram) = (self.ngrams.bleu(), self.ngrams.weighted());
        let (syntax, dataflow) = (self.syntax.share(), self.dataflow.share());
        let earned = match self.variant {
            Variant::Package if dataflow == 0.0 => 1.0,
            _ => dataflow,
        };
        let score = 0.25 * (ngram + weighted_ngram + syntax + earned);
        CodeBleu { score, ngram, weighted_ngram, syntax, dataflow }
    }
}

/// Maximum depth of a syntax tree. Deeper trees, which no person writes, match nothing: the
/// reference implementations fail on them, too, because of Python's recursion limit.
const DEEPEST: usize = 300;

/// Maximum length of parsed code, in bytes.
const LONGEST: usize = 100_000;

fn parse(code: &str) -> Option<Tree> {
    if code.len() > LONGEST {
        return None;
    }
    let mut parser = Parser::new();
    // Fails only if the versions of grammar and library differ; both are pinned.
    parser.set_language(&tree_sitter_python::language()).ok()?;
    let tree = parser.parse(code, None)?;
    (depth(&tree) <= DEEPEST).then_some(tree)
}

fn depth(tree: &Tree) -> usize {
    let mut cursor = tree.walk();
    let (mut depth, mut deepest) = (0, 0);
    loop {
        deepest = deepest.max(depth);
        if cursor.goto_first_child() {
            depth += 1;
            continue;
        }
        while !cursor.goto_next_sibling() {
            if !cursor.goto_parent() {
                return deepest;
            }
            depth -= 1;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use super::super::goldens::{Code, Scores, goldens};
    use super::*;

    #[track_caller]
    fn check(found: CodeBleu, expected: &Scores, what: &str) {
        for (part, found, expected) in [
            ("ngram", found.ngram, expected.ngram),
            ("weighted ngram", found.weighted_ngram, expected.weighted_ngram),
            ("syntax", found.syntax, expected.syntax),
            ("dataflow", found.dataflow, expected.dataflow),
            ("score", found.score, expected.codebleu),
        ] {
            assert!((found - expected).abs() < 1e-9, "{part}: {found} is not {expected}\n{what}");
        }
    }

    fn check_all(variant: Variant, expected: fn(&Code) -> &Scores) {
        let goldens = goldens();
        assert!(goldens.code.len() >= 200);
        let mut all = Vec::new();
        for code in &goldens.code {
            let compared = Compared::of(variant, &code.reference, &code.prediction);
            let what = format!("{}\n--\n{}", code.reference, code.prediction);
            check(compared.score(), expected(code), &what);
            all.push(compared);
        }
        let corpus = Compared::sum(&all).unwrap().score();
        check(corpus, &goldens.corpus[variant.name()], "the corpus");
    }

    #[test]
    fn it_is_the_packages() {
        check_all(Variant::Package, |code| &code.package);
    }

    #[test]
    fn it_is_codexglues() {
        check_all(Variant::CodeXGlue, |code| &code.codexglue);
    }

    #[test]
    fn the_unchanged_package_says_the_same_where_it_always_says_the_same() {
        let code = goldens().code;
        let stable: Vec<&Code> = code.iter().filter(|code| code.stock.is_some()).collect();
        let same = stable.iter().filter(|code| {
            let found = Compared::of(Variant::Package, &code.reference, &code.prediction).score();
            code.stock.is_some_and(|stock| (found.score - stock).abs() < 1e-9)
        });
        // For 2 of them, four hash seeds agree by chance on another order of merged names.
        assert_eq!((code.len(), stable.len(), same.count()), (252, 245, 243));
    }

    #[test]
    fn hostile_text_is_scored_too() {
        for text in
            ["", "\0", "(".repeat(LONGEST + 1).as_str(), &"[".repeat(1_000), "é\u{301}\r\n\t'"]
        {
            for variant in Variant::ALL {
                let score = Compared::of(variant, "def f(self):\n    return 1", text).score().score;
                assert!((0.0..=1.0).contains(&score), "{score}");
                let score = Compared::of(variant, text, text).score().score;
                assert!((0.0..=1.0 + 1e-9).contains(&score), "{score}");
            }
        }
    }
}
