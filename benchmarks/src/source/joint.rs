//! Several functions and methods of one file at once: cut out, read in one answer, put back.

use std::slice;

use fixfly_runtime::answer::{Asked, NoMethod, method};
use ruff_text_size::TextRange;

use super::beside;
use super::candidate::{Answer, Found, Invalid, NO_DECORATORS, Wanted, module, named, syntax};
use super::lines;
use super::method::{MethodDef, all};
use super::parsed::Parsed;
use super::splice::{removed, spliced};

/// What is between two definitions of a joint answer.
const BETWEEN: &str = "\n\n\n";

/// Several methods as a model wrote them, ready to be spliced in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JointCandidate {
    /// One function for each method that is wanted, in that order, dedented, without decorators.
    pub sources: Vec<String>,
    /// What was removed from the answer, in words for the model.
    pub notes: Vec<String>,
}

/// Why an answer does not have each of several methods, in words that a model can act on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidJoint {
    /// There is no code.
    #[error("The answer is empty. {}", send(.wanted))]
    Empty {
        /// The requested methods.
        wanted: Vec<String>,
    },
    /// The answer is a diff.
    #[error("The answer is a diff. {}", send(.wanted))]
    Diff {
        /// The requested methods.
        wanted: Vec<String>,
    },
    /// Some methods are not there.
    #[error("The answer {}does not define {}. {}", defines(.found), named(.missing), send(.wanted))]
    Missing {
        /// The methods that are not there.
        missing: Vec<String>,
        /// The functions, and the classes without functions, that are.
        found: Vec<String>,
        /// The requested methods.
        wanted: Vec<String>,
    },
    /// A method needs functions or classes that were not asked for.
    #[error(
        "Send only {}: {} cannot be added. Define helpers inside `{user}`.",
        named(.wanted), named(.others)
    )]
    Others {
        /// The requested methods.
        wanted: Vec<String>,
        /// The other functions and classes.
        others: Vec<String>,
        /// The method that needs them.
        user: String,
    },
    /// There are statements beside the methods.
    #[error(
        "Line {line}, `{text}`, is outside the definitions. Send only {}, without examples or tests.",
        named(.wanted)
    )]
    Outside {
        /// The requested methods.
        wanted: Vec<String>,
        /// The line of the first such statement.
        line: usize,
        /// The start of that statement.
        text: String,
    },
    /// What is wrong with the code, or with one of the methods.
    #[error(transparent)]
    One(Invalid),
}

fn send(wanted: &[String]) -> String {
    let wanted = named(wanted);
    format!("Send one code block that defines {wanted}, each whole, from its `def` line on.")
}

fn defines(found: &[String]) -> String {
    if found.is_empty() { String::new() } else { format!("defines {}; it ", named(found)) }
}

/// Extracts each method of `wanted` from a model's answer, as
/// [`candidate_for`](super::candidate_for) does for one. Their names differ.
///
/// # Errors
/// [`InvalidJoint`] if the answer does not contain each of them exactly once.
pub fn joint_candidate(
    answer: &str,
    wanted: &[MethodDef],
    file: &str,
) -> Result<JointCandidate, InvalidJoint> {
    let names: Vec<String> = wanted.iter().map(|method| method.name.clone()).collect();
    let code = code(&lines::unix(answer), &names)?;
    let parsed = Parsed::of(&code).map_err(|error| InvalidJoint::One(syntax(&code, error)))?;
    let answers: Vec<Answer<'_>> =
        wanted.iter().map(|method| Answer::new(&parsed, Wanted::from(method), file)).collect();
    let found = all_found(&answers, &names, &parsed)?;
    let taken: Vec<TextRange> = found.iter().flat_map(Found::ranges).collect();
    let mut notes: Vec<String> = Vec::new();
    let mut left_out: Vec<String> = Vec::new();
    for (answer, found) in answers.iter().zip(&found) {
        let beside = answer.beside(found, &taken).map_err(|why| refused(why, &names))?;
        add(&mut left_out, beside);
        add(&mut notes, found.notes.clone());
    }
    // Another definition of one of them has a note of its own.
    left_out.retain(|one| !names.iter().any(|name| *one == named(slice::from_ref(name))));
    if !left_out.is_empty() {
        let (names, left_out) = (named(&names), left_out.join(", "));
        notes.push(format!("Only {names} are replaced; left out: {left_out}."));
    }
    if found.iter().any(|found| !found.def.decorator_list.is_empty()) {
        notes.push(NO_DECORATORS.into());
    }
    let sources = answers.iter().zip(&found).map(|(answer, found)| answer.source(found.def));
    Ok(JointCandidate { sources: sources.collect(), notes })
}

/// The code in an answer, dedented.
fn code(answer: &str, names: &[String]) -> Result<String, InvalidJoint> {
    let wanted = || names.to_vec();
    let missing =
        || InvalidJoint::Missing { missing: wanted(), found: Vec::new(), wanted: wanted() };
    let asked = Asked { names: names.iter().map(String::as_str).collect(), change: false };
    let code = method(answer, &asked).map_err(|why| match why {
        NoMethod::Empty(_) => InvalidJoint::Empty { wanted: wanted() },
        NoMethod::Diff(_) => InvalidJoint::Diff { wanted: wanted() },
        NoMethod::NoCode(_) | NoMethod::Undefined { .. } => missing(),
    })?;
    module(&code.text, &names.join("`, `")).map_err(|why| match why {
        Invalid::Empty { .. } => InvalidJoint::Empty { wanted: wanted() },
        Invalid::NoMethod { .. } => missing(),
        why => InvalidJoint::One(why),
    })
}

/// Each method; refused if some are not there.
fn all_found<'p>(
    answers: &[Answer<'p>],
    names: &[String],
    parsed: &'p Parsed<'p>,
) -> Result<Vec<Found<'p>>, InvalidJoint> {
    let found = answers.iter().map(Answer::found).collect::<Result<Vec<_>, _>>();
    let found = found.map_err(InvalidJoint::One)?;
    let is_there = found.iter().map(Option::is_some);
    let missing = names.iter().zip(is_there).filter(|(_, is_there)| !is_there);
    let missing: Vec<String> = missing.map(|(name, _)| name.clone()).collect();
    if missing.is_empty() {
        return Ok(found.into_iter().flatten().collect());
    }
    let mut there = Vec::new();
    beside::names(parsed.statements(), &mut there);
    Err(InvalidJoint::Missing { missing, found: there, wanted: names.to_vec() })
}

fn refused(why: Invalid, names: &[String]) -> InvalidJoint {
    let names = names.to_vec();
    match why {
        Invalid::Others { wanted: user, others } => {
            InvalidJoint::Others { wanted: names, others, user }
        }
        Invalid::Outside { line, text, .. } => InvalidJoint::Outside { wanted: names, line, text },
        why => InvalidJoint::One(why),
    }
}

/// Adds what is not there yet.
fn add(all: &mut Vec<String>, new: Vec<String>) {
    for one in new {
        if !all.contains(&one) {
            all.push(one);
        }
    }
}

/// One text of several methods: a joint answer. One method is itself.
pub fn joined(sources: &[String]) -> String {
    if let [one] = sources {
        return one.clone();
    }
    let sources: Vec<&str> = sources.iter().map(|source| source.trim_end()).collect();
    sources.join(BETWEEN)
}

/// The file as a policy sees it: without these methods, which are in the order of the text.
pub fn all_removed(text: &str, methods: &[MethodDef]) -> String {
    let mut rest = text.to_string();
    // The last one first: what is above it stays where it is.
    for method in methods.iter().rev() {
        // What was removed below may have left it alone in its block.
        let now = all(&rest).unwrap_or_default().into_iter().find(|now| now.span == method.span);
        rest = removed(&rest, now.as_ref().unwrap_or(method));
    }
    rest
}

/// The file with each source in place of its method; the methods are in the order of the text.
pub fn all_spliced(text: &str, methods: &[MethodDef], sources: &[String]) -> String {
    let pairs = methods.iter().zip(sources).rev();
    pairs.fold(text.to_string(), |text, (method, source)| spliced(&text, method, source))
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use proptest::prelude::*;

    use super::super::{methods, source_of, stub};
    use super::*;

    const FILE: &str = "\
import a


class A:
    class B:
        async def wait(self):
            return 1

    @property
    def x(self):
        return self._x

    @x.setter
    def x(self, value):
        self._x = value


@a.cached
def total(b):
    '''Adds.'''
    return b
";

    fn at(paths: &[&str]) -> Vec<MethodDef> {
        let mut found = methods(FILE).unwrap();
        found.retain(|method| paths.contains(&method.path().as_str()));
        assert_eq!(found.len(), paths.len());
        found
    }

    const THREE: [&str; 3] = ["A.B.wait", "A.x.setter", "total"];

    #[test]
    fn definitions_are_found_in_any_order_and_put_back() {
        let wanted = at(&THREE);
        let check = |answer: &str, notes: &[&str]| {
            let found = joint_candidate(answer, &wanted, FILE).unwrap();
            assert_eq!(found.notes, notes, "{answer}");
            let expected = FILE.replace("return 1", "return 2").replace("= value", "= 3");
            let expected = expected.replace("    '''Adds.'''\n    return b", "    return [b]");
            assert_eq!(all_spliced(FILE, &wanted, &found.sources), expected);
            let joined = joined(&found.sources);
            let again = joint_candidate(&joined, &wanted, "").unwrap();
            assert_eq!((again.sources, again.notes.len()), (found.sources, 0));
        };
        let wait = "async def wait(self):\n    return 2\n";
        let x = "def x(self, value):\n    self._x = 3\n";
        let total = "def total(b):\n    return [b]\n";
        check(&format!("{wait}\n{x}\n{total}"), &[]);
        check(&format!("Swapped:\n```python\n{total}\n{x}\n{wait}```\nDone."), &[]);
        let indent = |text: &str| text.replace('\n', "\n    ").trim_end().to_string();
        let classes = indent(&format!("class B:\n    {}\n\n@x.setter\n{x}", indent(wait)));
        let around = "around the method was left out.";
        check(
            &format!("import a\n\n\nclass A:\n    {classes}\n\n\n@a.cached\n{total}"),
            &[
                &format!("The class `B` {around}"),
                &format!("The class `A` {around}"),
                "Only `wait`, `x`, `total` are replaced; left out: `import a`.",
                NO_DECORATORS,
            ],
        );
        check(
            &format!("{wait}\n{x}\n{total}\n\ndef unused():\n    return 1\n"),
            &["Only `wait`, `x`, `total` are replaced; left out: `unused`."],
        );
        check(
            &format!("{wait}\n{x}\n{}\n{total}", total.replace("[b]", "b")),
            &["`total` is defined 2 times; the last definition was taken."],
        );
    }

    #[test]
    fn what_is_missing_is_named() {
        let wanted = at(&["A.x.setter", "total"]);
        let check = |answer: &str, expected: &str| {
            let why = joint_candidate(answer, &wanted, FILE).unwrap_err().to_string();
            assert_eq!(why, expected, "{answer}");
        };
        let x = "def x(self, value):\n    self._x = value\n";
        let total = "def total(b):\n    return b\n";
        let send =
            "Send one code block that defines `x`, `total`, each whole, from its `def` line on.";
        check(" ", &format!("The answer is empty. {send}"));
        check("I cannot.", &format!("The answer does not define `x`, `total`. {send}"));
        check(x, &format!("The answer defines `x`; it does not define `total`. {send}"));
        check(
            &format!("{x}\n\ndef totals(b):\n    return b\n"),
            &format!("The answer defines `x`, `totals`; it does not define `total`. {send}"),
        );
        check(
            &format!("```python\n{x}```\nand\n```python\n{total}```\n"),
            &format!("The answer defines `total`; it does not define `x`. {send}"),
        );
        check(
            &format!("{x}\n\ndef total(b):\n    return more(b)\n\n\ndef more(b):\n    return b\n"),
            "Send only `x`, `total`: `more` cannot be added. Define helpers inside `total`.",
        );
        check(
            &format!("from os import path\n{x}\n\ndef total(b):\n    return path.join(b)\n"),
            "Line 1, `from os import path`, is outside the method. Put the import inside `total`.",
        );
        check(
            &format!("LIMIT = 3\n{x}\n\ndef total(b):\n    return b + LIMIT\n"),
            "Line 1, `LIMIT = 3`, is outside the definitions. Send only `x`, `total`, without examples or tests.",
        );
        check(
            &format!("{x}\ndef total(b:\n    return b\n"),
            "Syntax error in line 5, column 5: Expected an expression.\n    return b",
        );
        check(
            "```diff\n-def x(self):\n+def total(b):\n```",
            &format!("The answer is a diff. {send}"),
        );
    }

    #[test]
    fn methods_may_use_each_other() {
        let wanted = at(&["A.B.wait", "total"]);
        let answer =
            "async def wait(self):\n    return total(1)\n\n\ndef total(b):\n    return b\n";
        assert_eq!(joint_candidate(answer, &wanted, FILE).unwrap().notes, [""; 0]);
    }

    #[test]
    fn all_are_removed_and_an_empty_block_says_so() {
        #[track_caller]
        fn check(text: &str, paths: &[&str], expected: &str) {
            let mut found = methods(text).unwrap();
            found.retain(|method| paths.contains(&method.path().as_str()));
            let rest = all_removed(text, &found);
            assert_eq!(rest, expected);
            methods(&rest).unwrap();
        }
        let two = "class A:\n    @d\n    def f(self): pass\n\n    def g(self):\n        return 1\n\n\nx = 1\n";
        check(two, &["A.f", "A.g"], "class A:\n    ...\n\n\nx = 1\n");
        check(
            "import a\n\n\ndef f(): pass\n\n\nclass A:\n    x = 1\n\n    def g(self): pass\n\n\ndef h(): pass\n",
            &["f", "A.g", "h"],
            "import a\n\n\nclass A:\n    x = 1\n",
        );
        check(
            FILE,
            &THREE,
            "import a\n\n\nclass A:\n    class B:\n        ...\n\n    @property\n    def x(self):\n        return self._x\n",
        );
    }

    proptest! {
        #[test]
        fn originals_give_the_file_back(
            blocks in proptest::collection::vec((0..6_usize, 0..4_usize), 1..7),
            end in proptest::sample::select(vec!["\n", "\r\n"]),
            chosen in proptest::collection::vec(any::<bool>(), 24),
        ) {
            let text = file(&blocks).replace('\n', end);
            let all = methods(&text).unwrap();
            let some = all.iter().zip(&chosen).filter(|(_, chosen)| **chosen);
            let some: Vec<MethodDef> = some.map(|(method, _)| method.clone()).collect();
            let sources: Vec<String> = some.iter().map(|method| source_of(&text, method)).collect();
            prop_assert_eq!(&all_spliced(&text, &some, &sources), &text);
            // As a model sees its own answer again: joined, in any order.
            let mut swapped = sources.clone();
            swapped.reverse();
            if !some.is_empty() {
                let found = joint_candidate(&joined(&swapped), &some, "").unwrap();
                prop_assert_eq!(&all_spliced(&text, &some, &found.sources), &text);
            }
            let rest = methods(&all_removed(&text, &some)).unwrap();
            prop_assert_eq!(rest.len(), all.len() - some.len());
            let stubs: Vec<String> = some.iter().map(|method| stub(&text, method)).collect();
            let stubbed = methods(&all_spliced(&text, &some, &stubs)).unwrap();
            let paths = |all: &[MethodDef]| all.iter().map(MethodDef::path).collect::<Vec<_>>();
            prop_assert_eq!(paths(&stubbed), paths(&all));
        }
    }

    /// Classes and functions of different names, one after the other.
    fn file(blocks: &[(usize, usize)]) -> String {
        let mut text = String::from("import a\n");
        for (at, (kind, filler)) in blocks.iter().enumerate() {
            let filler = ["", "# about\n", "x = 1\n", "\n\n\n"][*filler];
            text += &match kind {
                0 => format!("\n\n{filler}def f{at}(b):\n    return '''\n  b'''\n"),
                1 => format!("\n\n{filler}@a.d(\n    1)\nasync def f{at}(b): return b  # c\n"),
                2 => format!(
                    "\n\nclass A{at}:\n    def f{at}(self):\n        pass\n        # after\n\n    def g{at}(self): return 1\n{filler}"
                ),
                3 => format!(
                    "\n\nclass A{at}:\n    class B:\n        def f{at}(self):\n            yield 'ü'\n\n    @classmethod\n    def g{at}(cls):\n        'Doc.'\n        return cls\n{filler}"
                ),
                4 => format!(
                    "\n\nif a:\n    def f{at}(): return 1\nelse:\n    g{at} = None\n{filler}"
                ),
                _ => format!(
                    "\n\nclass A{at}:\n\tx = 1\n\n\t@property\n\tdef f{at}(self):\n\t\treturn 1\n{filler}"
                ),
            };
        }
        text
    }
}
