//! The answer that fixes a fault: the line as it is, and the line as it should be.

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
        let repairs = repaired(&self.faulty, &answer).is_ok_and(|text| text == self.truth);
        (differing.next().is_none() && repairs).then_some(answer)
    }
}

/// The method after an answer that changes one of its lines; otherwise the answer itself,
/// which is the method.
pub(super) fn repaired(faulty: &str, answer: &str) -> Result<String, String> {
    let lines: Vec<&str> = answer.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
    let Some(is) = lines.first().and_then(|line| line.strip_prefix('-')) else {
        return Ok(answer.to_string());
    };
    let [_, should] = lines.as_slice() else {
        return Err(format!(
            "A change is two lines, `- ` with the line as it stands and `+ ` with the line as it should be; this has {}.",
            lines.len()
        ));
    };
    let Some(should) = should.strip_prefix('+') else {
        return Err(format!("The second line of a change begins with `+`, not `{should}`."));
    };
    let (is, should) = (is.trim(), should.trim());
    match faulty.lines().filter(|line| line.trim() == is).count() {
        0 => Err(format!("No line of the method is `{is}`.")),
        1 => Ok(faulty
            .split_inclusive('\n')
            .map(|line| match line.trim() == is {
                true => line.replacen(is, should, 1),
                false => line.to_string(),
            })
            .collect()),
        several => Err(format!("{several} lines of the method are `{is}`; send the whole method.")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAULTY: &str = "def f(self):\n    if not (a):\n        return 1\n    return 1\n";

    #[test]
    fn an_answer_is_a_change_of_one_line_or_a_method() {
        #[track_caller]
        fn check(answer: &str, expected: Result<&str, &str>) {
            let found = repaired(FAULTY, answer);
            assert_eq!(found.as_deref().map_err(String::as_str), expected);
        }
        let right = FAULTY.replace("not (a)", "a");
        check("- if not (a):\n+ if a:", Ok(&right));
        check("\n-if not (a):\n\n+ if a:\n", Ok(&right));
        check("def f(self):\n    - 1\n", Ok("def f(self):\n    - 1\n"));
        check("- if b:\n+ if a:", Err("No line of the method is `if b:`."));
        check(
            "- return 1\n+ return 2",
            Err("2 lines of the method are `return 1`; send the whole method."),
        );
        check(
            "- if not (a):\n  if a:",
            Err("The second line of a change begins with `+`, not `if a:`."),
        );
        let three = repaired(FAULTY, "- a\n+ b\n+ c").unwrap_err();
        assert!(three.ends_with("this has 3."), "{three}");
    }

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
