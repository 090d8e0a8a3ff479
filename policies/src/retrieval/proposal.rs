//! A proposal: a candidate, its origin, and the evidence for it.

use std::collections::BTreeSet;

use super::python::Answer;
use super::rewrite::returns;
use super::target::Target;
use super::words::likeness;

/// A candidate to try.
#[derive(Clone, Debug)]
pub(super) struct Proposal {
    pub(super) code: String,
    pub(super) idea: Idea,
    /// What it was made from, for readers of reports.
    pub(super) from: String,
    pub(super) evidence: Evidence,
}

impl Proposal {
    /// Its idea and what it was made from, for records.
    pub(super) fn origin(&self) -> String {
        format!("{} from {}", self.idea.label(), self.from)
    }

    /// A proposal deduced from the declaration and the class alone.
    pub(super) fn guess(target: &Target<'_>, idea: Idea, lines: &str, prior: f32) -> Self {
        Proposal {
            code: target.with_lines(lines),
            idea,
            from: if target.method.is_function() { "the file" } else { "the class" }.into(),
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
    /// A similar method by BM25.
    Similar,
    /// The asynchronous form of a synchronous method, or the other way round.
    Twin,
    /// A call of the base class's method.
    Super,
    /// A constructor that stores its arguments.
    Init,
    /// An attribute that is read, tested or set.
    Accessor,
    /// The same call on an attribute of the object.
    Delegate,
    /// A constant value.
    Constant,
    /// An earlier attempt, repaired where a test failed.
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

/// The evidence for and against a proposal.
pub(super) type Evidence = Vec<(Sign, f32)>;

/// A kind of evidence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sign {
    /// How likely the idea itself is.
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
    /// Number of other sources of the same code, on a logarithmic scale.
    Votes,
    /// Number of names that are undefined in the file.
    MissingNames,
    /// Number of attributes that the class does not visibly have.
    UnknownAttributes,
    UnusedArguments,
    /// Share of its names and strings that the class does not use elsewhere.
    ForeignToClass,
    /// Share of its names and strings that the file does not use elsewhere.
    ForeignToFile,
    /// How many words it shares with the description.
    Described,
    /// Whether it returns a value.
    Returns,
    /// Length, on a logarithmic scale.
    Length,
}

/// The evidence in the code itself.
pub(super) fn plausibility(target: &Target<'_>, answer: &Answer) -> Evidence {
    let Answer { function, words, .. } = answer;
    let names = &function.names;
    let missing = names.free.iter().filter(|name| !target.names.contains(*name)).count();
    let known = |name: &&String| {
        // The first parameter of a function is of any class.
        target.method.is_function()
            || target.attributes.contains_key(*name)
            || names.set.contains(*name)
            || name.starts_with("__")
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

/// Whether `text` contains `name` as a whole word.
pub(super) fn mentions(text: &str, name: &str) -> bool {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == name)
}
