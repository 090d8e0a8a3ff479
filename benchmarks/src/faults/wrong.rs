//! Wrong answers to a fault, for training data: changes of one line that do not fix it.

use std::collections::HashSet;

use fixfly_runtime::answer::{EditForm, repaired};
use fixfly_runtime::{BenchmarkError, Split, Task};

use super::change::Pair;
use super::{Fault, Faults, edit_form};

impl Faults {
    /// The changes of one line that lead from the method with this fault to another
    /// mutant, or to two faults at once. The line of a fault is among them.
    pub(super) fn wrong(&self, task: &Task) -> Result<Vec<String>, BenchmarkError> {
        let fault = self.fault(task)?;
        let Fault { id, split, .. } = fault;
        if *split != Split::Train {
            return Err(BenchmarkError::Broken(format!(
                "{id} is of the split {}: wrong answers are for training data, of the split train",
                split.name()
            )));
        }
        // No test runs renamed copies, so nobody attempts them.
        if fault.names().is_some() {
            return Ok(Vec::new());
        }
        let pair = self.pair(fault)?;
        let edit = edit_form(task);
        let mut seen = HashSet::new();
        let answers = self.pairs(&pair.truth).filter_map(|(_, other)| wrong(&pair, &other, edit));
        Ok(answers.filter(|answer| seen.insert(answer.clone())).collect())
    }
}

/// The change of the one line in which another mutant of the same method differs, made in
/// the method with the fault; `None` if that changes nothing or fixes the fault.
fn wrong(pair: &Pair, other: &Pair, edit: EditForm) -> Option<String> {
    let lines = other.faulty.lines().zip(other.truth.lines());
    let at = lines.clone().position(|(mutant, truth)| mutant != truth)?;
    let is = pair.faulty.lines().nth(at)?.trim();
    let should = other.faulty.lines().nth(at)?.trim();
    let answer = format!("- {is}\n+ {should}");
    let method = repaired(&pair.faulty, &answer, edit).ok()?;
    (method != pair.faulty && method != pair.truth).then_some(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRUTH: &str = "def f(self):\n    if a:\n        return 1\n    return 2\n";

    #[test]
    fn a_wrong_answer_changes_a_line_and_does_not_fix_the_fault() {
        #[track_caller]
        fn check(fault: &str, other: &str, expected: Option<&str>) {
            let pair = |faulty: &str| Pair { faulty: faulty.into(), truth: TRUTH.into() };
            for edit in [EditForm::Line, EditForm::Text] {
                assert_eq!(wrong(&pair(fault), &pair(other), edit).as_deref(), expected);
            }
        }
        let fault = TRUTH.replace("if a", "if not a");
        // Another change of the same line, one of another line, and the fault itself.
        check(&fault, &TRUTH.replace("if a", "if b"), Some("- if not a:\n+ if b:"));
        check(&fault, &TRUTH.replace("return 2", "return 3"), Some("- return 2\n+ return 3"));
        check(&fault, &fault, None);
        check(&fault, TRUTH, None);
        // Another line is equal to the one that would change.
        check(&TRUTH.replace("1", "2"), &TRUTH.replace("return 2", "return 3"), None);
    }
}
