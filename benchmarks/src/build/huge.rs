//! Refuses a project that is too large to be examined in one go, unless the user chose.

use std::collections::BTreeMap;

use fixfly_runtime::BenchmarkError;

use crate::project::Project;
use crate::server::Part;

/// More methods take more than a night on two processors.
const METHODS: usize = 5_000;
/// More tests take hours to be counted.
const TESTS: usize = 50_000;

/// Refuses a huge project, unless the user chose its files (`chosen`).
pub(super) fn check(
    project: &Project,
    parts: &BTreeMap<String, Part>,
    chosen: bool,
) -> Result<(), BenchmarkError> {
    // Django's methods are chosen by split.
    if chosen || project.framework == "django" {
        return Ok(());
    }
    let tests = parts.values().map(|part| part.tests.len()).sum();
    let methods = project.methods().len();
    match refusal(tests, methods) {
        Some(why) => Err(BenchmarkError::Broken(why)),
        None => Ok(()),
    }
}

fn refusal(tests: usize, methods: usize) -> Option<String> {
    (methods > METHODS || tests > TESTS).then(|| {
        format!(
            "the project is huge: {tests} tests and {methods} functions and methods; choose the \
             files to take items from, as --files 'src/package/*.py', or all with --files '*'"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_huge_projects_are_refused() {
        for (tests, methods, expected) in
            [(1, 1, false), (TESTS, METHODS, false), (TESTS + 1, 1, true), (1, METHODS + 1, true)]
        {
            assert_eq!(refusal(tests, methods).is_some(), expected, "{tests}, {methods}");
        }
    }
}
