//! An answer to try, why, and how likely it is to be right.

use std::collections::BTreeSet;

use super::python::Answer;
use super::rewrite::returns;
use super::target::Target;
use super::words::likeness;

/// An answer to try.
#[derive(Clone, Debug)]
pub(super) struct Proposal {
    pub(super) code: String,
    pub(super) idea: Idea,
    /// What it was made from, for readers of a report.
    pub(super) from: String,
    pub(super) evidence: Evidence,
}

impl Proposal {
    /// Deduced from the declaration and the class alone.
    pub(super) fn guess(target: &Target<'_>, idea: Idea, lines: &str, prior: f32) -> Self {
        Proposal {
            code: target.with_lines(lines),
            idea,
            from: "the class".into(),
            evidence: vec![(Sign::Prior, prior)],
        }
    }
}

/// Where a proposal comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Idea {
    /// The same name in another class.
    Sibling,
    /// Another name in the same class.
    Family,
    /// Near by BM25.
    Similar,
    /// The asynchronous form of a synchronous method, or the reverse.
    Twin,
    /// What the base class does.
    Super,
    /// A constructor that keeps its arguments.
    Init,
    /// An attribute read, tested or set.
    Accessor,
    /// The same call on something the object holds.
    Delegate,
    /// A value that needs no work.
    Constant,
    /// An earlier attempt, mended where a test failed.
    Edit,
}

impl Idea {
    /// Its name in records.
    pub(super) fn label(self) -> &'static str {
        match self {
            Idea::Sibling => "sibling",
            Idea::Family => "family",
            Idea::Similar => "similar",
            Idea::Twin => "twin",
            Idea::Super => "super",
            Idea::Init => "init",
            Idea::Accessor => "accessor",
            Idea::Delegate => "delegate",
            Idea::Constant => "constant",
            Idea::Edit => "edit",
        }
    }
}

/// What speaks for and against a proposal.
pub(super) type Evidence = Vec<(Sign, f32)>;

/// A kind of evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sign {
    /// How sure the idea itself is.
    Prior,
    SameFile,
    SameClass,
    SameFolder,
    ClassLikeness,
    NameLikeness,
    SameArguments,
    SameArity,
    SameDecorators,
    Description,
    Relevance,
    SharedBase,
    FromAncestor,
    NamesItself,
    /// Other sources that give the same code, on a logarithmic scale.
    Votes,
    /// Names that mean nothing in the file.
    MissingNames,
    /// Attributes the class is not seen to have.
    UnknownAttributes,
    UnusedArguments,
    /// Part of its names and strings that the class does not use elsewhere.
    ForeignToClass,
    /// Part of them that the file does not use elsewhere.
    ForeignToFile,
    /// Words it shares with the description.
    Described,
    /// Whether it gives a value back.
    Returns,
    /// Length, on a logarithmic scale.
    Length,
}

/// What the code itself says for or against it.
pub(super) fn plausibility(target: &Target<'_>, answer: &Answer) -> Evidence {
    let Answer { function, words, .. } = answer;
    let names = &function.names;
    let missing = names.free.iter().filter(|name| !target.names.contains(*name)).count();
    let known = |name: &&String| {
        target.attributes.contains_key(*name) || names.set.contains(*name) || name.starts_with("__")
    };
    let unknown = names.own.iter().filter(|name| !known(name)).count();
    let arguments = function.arguments();
    let unused = arguments.iter().filter(|argument| !words.contains(&argument.name));
    let part = |some: usize, all: usize| if all == 0 { 0.0 } else { some as f32 / all as f32 };
    let foreign = |known: &BTreeSet<String>| {
        part(words.iter().filter(|word| !known.contains(*word)).count(), words.len())
    };
    let description = &target.method.description;
    vec![
        (Sign::ForeignToClass, foreign(&target.class_words)),
        (Sign::ForeignToFile, foreign(&target.file_words)),
        (Sign::Described, likeness(description, &function.body)),
        (Sign::Returns, f32::from(u8::from(returns(&function.body)))),
        (Sign::MissingNames, missing.min(3) as f32),
        (Sign::UnknownAttributes, unknown.min(3) as f32),
        (Sign::UnusedArguments, part(unused.count(), arguments.len())),
        (Sign::Length, (function.body.len() as f32).ln()),
    ]
}

/// True where `name` stands in `text` as a word.
pub(super) fn mentions(text: &str, name: &str) -> bool {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == name)
}
