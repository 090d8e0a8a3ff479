//! The task, as the policy sees it.

use std::ops::Range;

use fixfly_runtime::{DescribedBy, Episode, Issue, JointMethods, Method, Statement};
use serde::Serialize;

use super::{Fact, paint, place};

#[derive(Default, Serialize)]
pub(super) struct TaskView {
    id_html: String,
    kind: &'static str,
    /// `method` or `function`.
    noun: &'static str,
    facts: Vec<Fact>,
    description_html: String,
    /// Where the description comes from.
    described_by: &'static str,
    declaration_html: String,
    faulty_html: Option<String>,
    /// The file, and what of it is marked.
    file_html: Option<String>,
    file_name_html: String,
    marked: bool,
    /// Whether the line of the method is known.
    placed: bool,
    class_html: String,
    tools_html: String,
}

impl TaskView {
    pub(super) fn of(episode: &Episode) -> TaskView {
        let task = &episode.task;
        let view = match &task.statement {
            Statement::Method(method) => of_method(method, place::of(episode, method)),
            Statement::Issue(issue) => of_issue(issue),
            Statement::Methods(joint) => of_joint(joint),
        };
        TaskView {
            id_html: paint::text(&task.id),
            tools_html: paint::text(&task.tools.join(", ")),
            ..view
        }
    }
}

fn of_method(method: &Method, place: Option<usize>) -> TaskView {
    let marked = class_lines(&method.content, &method.class_name);
    let first = method.declaration.lines().next().unwrap_or_default();
    let depth = match method.is_function() {
        true => 0,
        false => 1 + method.class_name.matches('.').count(),
    };
    let indent = " ".repeat(4 * depth);
    let missing = format!("{indent}{first} …");
    let missing = place.map(|at| (at, &*missing));
    TaskView {
        kind: match (method.faulty.is_some(), method.is_function()) {
            (true, false) => "repair a method",
            (false, false) => "write a method",
            (true, true) => "repair a function",
            (false, true) => "write a function",
        },
        noun: method.noun(),
        description_html: paint::long(&method.description),
        described_by: match method.described_by {
            DescribedBy::Docstring if method.is_function() => "the function's docstring",
            DescribedBy::Docstring => "the method's docstring",
            DescribedBy::Reference => "the project's reference documentation",
            DescribedBy::Overridden => "the documentation of the method that it overrides",
            DescribedBy::Class => "the docstring of the class",
            DescribedBy::Nothing => "nothing: there are only the name and the code around it",
        },
        declaration_html: paint::snippet(&declaration(method)),
        faulty_html: method.faulty.as_ref().map(|faulty| paint::python(faulty, 0..0)),
        file_name_html: paint::text(&method.file),
        marked: !marked.is_empty(),
        placed: place.is_some(),
        class_html: paint::text(&method.class_name),
        file_html: (!method.content.is_empty())
            .then(|| paint::python_around(&method.content, marked, missing)),
        ..TaskView::default()
    }
}

/// Its decorators and its declaration.
fn declaration(method: &Method) -> String {
    let lines = method.decorators.iter().chain([&method.declaration]);
    lines.map(String::as_str).collect::<Vec<_>>().join("\n")
}

fn of_joint(joint: &JointMethods) -> TaskView {
    let methods = || joint.methods.iter();
    let descriptions = methods().map(|method| {
        let class = method.class_name.as_str();
        let dot = if class.is_empty() { "" } else { "." };
        format!("{class}{dot}{}: {}", method.name, method.description)
    });
    let file = methods().next().map_or("", |method| &method.file);
    TaskView {
        kind: "write several definitions of one file",
        noun: "definitions",
        declaration_html: paint::snippet(
            &methods().map(declaration).collect::<Vec<_>>().join("\n\n\n"),
        ),
        description_html: paint::long(&descriptions.collect::<Vec<_>>().join("\n\n")),
        described_by: "the docstrings and the documentation, as far as there are any",
        file_name_html: paint::text(file),
        file_html: (!joint.content.is_empty()).then(|| paint::python(&joint.content, 0..0)),
        ..TaskView::default()
    }
}

fn of_issue(issue: &Issue) -> TaskView {
    TaskView {
        kind: "resolve an issue",
        facts: vec![
            Fact::new("repository", &issue.repo),
            Fact::new("version", &issue.version),
            Fact::new("work tree", &issue.root),
            Fact::new("history shown", issue.history.to_string()),
        ],
        description_html: paint::long(&issue.text),
        described_by: "the issue",
        ..TaskView::default()
    }
}

/// The lines of a class, by its qualified name and by indentation, counted from 0; empty if
/// it is not found.
fn class_lines(content: &str, qualified: &str) -> Range<usize> {
    let lines: Vec<&str> = content.lines().collect();
    let mut found = 0..lines.len();
    for name in qualified.split('.') {
        let opens = |line: &str| {
            let rest = line.trim_start().strip_prefix("class ").map(str::trim_start);
            let rest = rest.and_then(|rest| rest.strip_prefix(name));
            rest.is_some_and(|rest| rest.trim_start().starts_with([':', '(', '[']))
        };
        let Some(from) = found.clone().find(|at| opens(lines[*at])) else { return 0..0 };
        let depth = |line: &str| line.len() - line.trim_start().len();
        let ends =
            |at: &usize| !lines[*at].trim().is_empty() && depth(lines[*at]) <= depth(lines[from]);
        let end = (from + 1..found.end).find(ends).unwrap_or(found.end);
        let last = (from..end).rfind(|at| !lines[*at].trim().is_empty()).unwrap_or(from);
        found = from..last + 1;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_stands_at_the_margin_and_no_class_is_marked() {
        let method = Method {
            file: "a.py".into(),
            class_name: String::new(),
            name: "f".into(),
            declaration: "def f(a):".into(),
            decorators: Vec::new(),
            description: "Adds.".into(),
            described_by: DescribedBy::Docstring,
            content: "import b\n\n\nclass A:\n    pass\n".into(),
            faulty: None,
            options: fixfly_runtime::FaultOptions::default(),
        };
        let view = of_method(&method, Some(3));
        assert_eq!((view.kind, view.noun, view.marked), ("write a function", "function", false));
        assert_eq!(view.described_by, "the function's docstring");
        let file = view.file_html.unwrap();
        assert!(file.contains("</i>def f(a): …</span>"), "{file}");
        assert!(!file.contains("class=\"place\""), "{file}");
        let method = Method { class_name: "A".into(), faulty: Some("x".into()), ..method };
        let view = of_method(&method, Some(3));
        assert_eq!((view.kind, view.noun, view.marked), ("repair a method", "method", true));
        assert!(view.file_html.unwrap().contains("</i>    def f(a): …</span>"));
    }

    #[test]
    fn a_class_is_found_by_its_qualified_name() {
        let content = "import a\n\nclass A:\n    class B(C):\n        x = 1\n\n    y = 2\n\n\nclass AB:\n    pass\n";
        let check = |name: &str, expected: Range<usize>| {
            assert_eq!(class_lines(content, name), expected, "{name}");
        };
        check("A", 2..7);
        check("A.B", 3..5);
        check("AB", 9..11);
        check("B.A", 0..0);
        check("C", 0..0);
    }
}
