//! What a converter makes of a published set: programs with a fault, and their tests.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::source::{NoFunction, is_same_beside, top_function};

/// The programs of a set, and what else their project needs.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Set {
    /// The name of the set.
    pub(super) name: &'static str,
    /// `unittest`, or `pytest` if a program has tests of its own for it.
    pub(super) framework: &'static str,
    /// The programs, in the order of the set.
    pub(super) programs: Vec<Program>,
    /// Those that cannot be tasks.
    pub(super) left_out: Vec<LeftOut>,
    /// The tests and the files that they need, by path in the project.
    pub(super) files: BTreeMap<String, String>,
}

/// A program with one fault.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Program {
    /// Its name in the set.
    pub(super) task_id: String,
    /// The kind of its fault, in the set's words.
    pub(super) bug_type: Option<String>,
    /// Path of the module in the project.
    pub(super) file: String,
    /// The function to repair.
    pub(super) function: String,
    /// The module without the fault.
    pub(super) correct: String,
    /// The module with the fault.
    pub(super) faulty: String,
    /// Path of the file of its tests.
    pub(super) tests: String,
}

/// A program that is no task, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct LeftOut {
    /// Its name in the set.
    pub(super) task_id: String,
    /// Why; the same for many.
    pub(super) reason: String,
    /// What shows it.
    pub(super) evidence: String,
}

impl LeftOut {
    pub(super) fn new(task_id: &str, reason: &str, evidence: impl Into<String>) -> LeftOut {
        LeftOut { task_id: task_id.into(), reason: reason.into(), evidence: evidence.into() }
    }
}

impl Program {
    /// A program whose modules differ in one function only. Both get the comments and the
    /// strings beside the function that the faulty module has: in QuixBugs these describe
    /// what the function does, and only the faulty module has them.
    pub(super) fn paired(self) -> Result<Program, LeftOut> {
        let left_out = |reason: &str, why: String| LeftOut::new(&self.task_id, reason, why);
        let function = |which: &str, text: &str| {
            top_function(text, &self.function).map_err(|why| match why {
                NoFunction::Syntax(_) => {
                    left_out("its program is not Python", format!("the {which} program: {why}"))
                }
                NoFunction::Count { .. } => {
                    left_out("its function is not found", format!("the {which} program: {why}"))
                }
            })
        };
        let correct = &self.correct[function("correct", &self.correct)?.span];
        let span = function("faulty", &self.faulty)?.span;
        if !is_same_beside(&self.correct, &self.faulty, &self.function).unwrap_or_default() {
            let why = format!("they differ outside `{}`", self.function);
            return Err(left_out("its fault is not in one function", why));
        }
        if correct == &self.faulty[span.clone()] {
            return Err(left_out("it has no fault", "both functions are the same".into()));
        }
        let [before, after] = [&self.faulty[..span.start], &self.faulty[span.end..]];
        let correct = format!("{before}{correct}{after}");
        Ok(Program { correct, ..self })
    }
}

/// A text with `\n` at the end of each line, the last one included.
pub(super) fn unix(text: &str) -> String {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    if text.is_empty() || text.ends_with('\n') { text } else { text + "\n" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(correct: &str, faulty: &str, expected: Result<&str, (&str, &str)>) {
        let program = Program {
            task_id: "a".into(),
            bug_type: None,
            file: "s/a.py".into(),
            function: "f".into(),
            correct: correct.into(),
            faulty: faulty.into(),
            tests: "tests/test_a.py".into(),
        };
        let paired = program.paired();
        let found = paired.as_ref().map(|program| &*program.correct);
        assert_eq!(found.map_err(|why| (&*why.reason, &*why.evidence)), expected);
    }

    #[test]
    fn the_two_programs_of_a_task_differ_in_its_function_only() {
        check(
            "def f(a):\n    return a\n",
            "# why\n\ndef f(a):\n    return -a\n\n'''About f.'''\n",
            Ok("# why\n\ndef f(a):\n    return a\n\n'''About f.'''\n"),
        );
        check(
            "def g(): return 1\n\ndef f(): return g()\n",
            "def g(): return 2\n\ndef f(): return g()\n",
            Err(("its fault is not in one function", "they differ outside `f`")),
        );
        check(
            "def f(): return 1\n",
            "def f(): return 1\n",
            Err(("it has no fault", "both functions are the same")),
        );
        let why = "the faulty program: `f` is defined 0 times at the top of the module";
        check("def f(): pass\n", "def g(): pass\n", Err(("its function is not found", why)));
    }

    #[test]
    fn a_program_in_another_language_is_left_out() {
        let program = Program {
            task_id: "Rust/1".into(),
            bug_type: None,
            file: "s/a.py".into(),
            function: "f".into(),
            correct: "fn f() -> i32 { 1 }\n".into(),
            faulty: "fn f() -> i32 { 2 }\n".into(),
            tests: "tests/test_a.py".into(),
        };
        let why = program.paired().map_err(|left_out| left_out.reason);
        assert_eq!(why, Err("its program is not Python".to_string()));
    }
}
