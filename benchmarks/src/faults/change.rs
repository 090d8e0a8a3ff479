//! The answer that fixes a fault: the line as it is, and the line as it should be.

use fixfly_runtime::answer::{EditForm, repaired};

/// A method as it is, and as it should be.
pub(super) struct Pair {
    pub(super) faulty: String,
    pub(super) truth: String,
}

impl Pair {
    /// The answer for the one line that differs: as it is, and as it should be. `None` if
    /// more differs, or if another line is equal to it.
    pub(super) fn change(&self) -> Option<String> {
        let (is, should) = (self.faulty.lines(), self.truth.lines());
        if is.clone().count() != should.clone().count() {
            return None;
        }
        let mut differing = is.zip(should).filter(|(is, should)| is != should);
        let (is, should) = differing.next()?;
        let answer = format!("- {}\n+ {}", is.trim(), should.trim());
        let repairs =
            repaired(&self.faulty, &answer, EditForm::Line).is_ok_and(|text| text == self.truth);
        (differing.next().is_none() && repairs).then_some(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAULTY: &str = "def f(self):\n    if not (a):\n        return 1\n    return 1\n";

    #[test]
    fn a_change_repairs_its_own_fault() {
        let pair = |truth: &str| Pair { faulty: FAULTY.into(), truth: truth.into() };
        let change = pair(&FAULTY.replace("not (a)", "a")).change();
        assert_eq!(change.as_deref(), Some("- if not (a):\n+ if a:"));
        assert_eq!(pair(FAULTY).change(), None);
        // A line that occurs twice, and two lines.
        assert_eq!(pair(&FAULTY.replacen("return 1", "return 2", 1)).change(), None);
        assert_eq!(pair(&FAULTY.replace("return 1", "return 2")).change(), None);
    }
}
