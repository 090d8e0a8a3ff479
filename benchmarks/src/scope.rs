//! Which files of a project, and which functions and methods of a file, may be items.

use crate::source::{self, MethodDef, SyntaxError};

/// Whether a file belongs to the project, not to its tests or their helpers.
pub(crate) fn is_project_file(file: &str, framework: &str) -> bool {
    if !file.ends_with(".py") {
        return false;
    }
    if framework == "django" {
        return file.starts_with("django/") && !file.starts_with("django/test/");
    }
    let mut parts: Vec<&str> = file.split('/').collect();
    let name = parts.pop().unwrap_or_default();
    let helper = ["setup.py", "conftest.py", "tests.py", "noxfile.py"].contains(&name);
    let test = name.starts_with("test_") || name.ends_with("_test.py");
    let aside = ["tests", "test", "testing", "docs", "doc", "examples", "benchmarks", "scripts"];
    !helper && !test && !parts.iter().any(|part| aside.contains(part) || part.starts_with('.'))
}

/// Whether only methods are items, by their names alone, as in the manifest that fixfly ships.
pub(crate) fn is_by_name(framework: &str) -> bool {
    framework == "django"
}

/// The functions and methods of a file that may be items.
pub(crate) fn methods_of(text: &str, framework: &str) -> Result<Vec<MethodDef>, SyntaxError> {
    match is_by_name(framework) {
        true => source::methods_by_name(text),
        false => source::methods(text),
    }
}

/// Number of functions and methods in a text; if it does not parse, of lines that define one.
pub(crate) fn count_methods(text: &str, framework: &str) -> usize {
    let is_definition = |line: &&str| {
        let code = line.trim_start();
        let is_method = code.len() < line.len() || !is_by_name(framework);
        is_method && (code.starts_with("def ") || code.starts_with("async def "))
    };
    methods_of(text, framework)
        .map_or_else(|_| text.lines().filter(is_definition).count(), |all| all.len())
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a failed test may panic")]
mod tests {
    use super::*;

    const TEXT: &str = "def f(): pass\n\n\nclass A:\n    @property\n    def x(self): pass\n\n    @x.setter\n    def x(self, v): pass\n";

    #[test]
    fn django_has_methods_only_and_other_projects_have_functions() {
        #[track_caller]
        fn check(framework: &str, expected: &[(&str, bool)]) {
            let found = methods_of(TEXT, framework).unwrap();
            let found: Vec<_> = found.iter().map(|m| (m.path(), m.unique)).collect();
            let expected: Vec<_> =
                expected.iter().map(|(path, u)| (path.to_string(), *u)).collect();
            assert_eq!(found, expected);
            assert_eq!(count_methods(TEXT, framework), expected.len());
            // Without a parser, lines are counted.
            assert_eq!(count_methods(&format!("{TEXT}("), framework), expected.len());
        }
        check("django", &[("A.x", false), ("A.x", false)]);
        check("pytest", &[("f", true), ("A.x", true), ("A.x.setter", true)]);
        check("unittest", &[("f", true), ("A.x", true), ("A.x.setter", true)]);
    }
}
