//! Proposals that repair an earlier attempt where a test failed.

use fixfly_runtime::{TestFailure, Turn};

use super::code;
use super::constructor::beginning;
use super::proposal::{Idea, Proposal, Sign, mentions};
use super::python::Function;
use super::rewrite::{drop_argument, drop_line, first_line, last_line, returning, returns, swap};
use super::target::Target;

use super::words::likeness;

/// A change to a body, and the log-odds that it fixes the failure.
#[derive(Debug, PartialEq)]
struct Edit {
    name: &'static str,
    body: String,
    odds: f32,
}

/// Edits of the attempts that passed the most tests.
pub(super) fn propose(target: &Target<'_>, turns: &[Turn]) -> Vec<Proposal> {
    let passed = |turn: &Turn| turn.observation.tests.as_ref().map(|tests| tests.count_passed());
    let most = turns.iter().filter_map(passed).max();
    let best = turns.iter().filter(|turn| passed(turn) == most);
    best.flat_map(|turn| attempt(target, turn)).collect()
}

fn attempt(target: &Target<'_>, turn: &Turn) -> Vec<Proposal> {
    let (Some(tests), Some(function)) = (&turn.observation.tests, Function::read(code(turn)))
    else {
        return Vec::new();
    };
    let gained = tests.count_passed() as f32 / tests.results.len().max(1) as f32;
    let failures = tests.results.iter().filter_map(|result| result.failure.as_ref());
    let edits = failures.flat_map(|failure| fixes(target, &function, failure));
    let proposal = |edit: Edit| Proposal {
        code: target.with_body(&edit.body),
        idea: Idea::Edit,
        from: edit.name.into(),
        evidence: vec![(Sign::Prior, edit.odds + 2.0 * gained)],
    };
    edits.map(proposal).collect()
}

/// Edits that could fix one failure.
fn fixes(target: &Target<'_>, function: &Function, failure: &TestFailure) -> Vec<Edit> {
    let message = failure.message.as_str();
    let mut edits = match failure.exception.rsplit('.').next().unwrap_or_default() {
        "AttributeError" => attribute(target, function, message),
        "NameError" | "UnboundLocalError" => name(target, function, message),
        "TypeError" => call(function, message),
        "KeyError" => key(target, function, message),
        "AssertionError" => comparison(target, function, message),
        _ => Vec::new(),
    };
    edits.extend(place(target, function, &failure.traceback));
    edits.extend(base_call(target, function));
    edits.retain(|edit| edit.body != function.body);
    edits
}

/// The text between the first quotes after `start`.
fn quoted<'m>(message: &'m str, start: &str) -> Option<&'m str> {
    let (_, rest) = message.split_once(start)?;
    let (_, rest) = rest.split_once('\'')?;
    rest.split_once('\'').map(|(quoted, _)| quoted)
}

/// Edits for a missing attribute: use a similar attribute of the class, or set it in
/// the constructor.
fn attribute(target: &Target<'_>, function: &Function, message: &str) -> Vec<Edit> {
    let Some(missing) = quoted(message, "has no attribute") else { return Vec::new() };
    let mut edits = Vec::new();
    if target.name() == "__init__" && !function.names.set.contains(missing) {
        let value =
            function.arguments().iter().find(|param| missing.trim_start_matches('_') == param.name);
        let value = value.map_or(beginning(&target.class.text, missing), |param| &param.name);
        let line = format!("self.{missing} = {value}");
        edits.push(Edit { name: "start", body: last_line(&function.body, &line), odds: 0.5 });
        edits.push(Edit { name: "start", body: first_line(&function.body, &line), odds: -0.5 });
    }
    if mentions(&function.body, missing) {
        let near = nearest(missing, target.attributes.keys());
        edits.extend(near.into_iter().map(|(other, alike)| Edit {
            name: "attribute",
            body: swap(&function.body, missing, other),
            odds: alike * 2.0 - 1.5,
        }));
    }
    edits
}

/// The two names most similar to a missing one.
fn nearest<'n>(missing: &str, names: impl Iterator<Item = &'n String>) -> Vec<(&'n str, f32)> {
    let mut near: Vec<_> = names
        .filter(|name| *name != missing)
        .map(|name| (name.as_str(), likeness(name, missing)))
        .filter(|(_, alike)| *alike > 0.0)
        .collect();
    near.sort_by(|a, b| b.1.total_cmp(&a.1));
    near.truncate(2);
    near
}

/// Edits for an undefined name: import it, or use a similar one.
fn name(target: &Target<'_>, function: &Function, message: &str) -> Vec<Edit> {
    let Some(missing) = quoted(message, "") else { return Vec::new() };
    let mut edits = Vec::new();
    if STANDARD.split_ascii_whitespace().any(|module| module == missing) {
        let body = first_line(&function.body, &format!("import {missing}"));
        edits.push(Edit { name: "import", body, odds: 0.5 });
    }
    let params = function.params.iter().map(|param| &param.name);
    let near = nearest(missing, target.module.names.iter().chain(params));
    edits.extend(near.into_iter().map(|(other, alike)| Edit {
        name: "name",
        body: swap(&function.body, missing, other),
        odds: alike * 2.0 - 2.0,
    }));
    let own = format!("self.{missing}");
    if target.attributes.contains_key(missing) {
        edits.push(Edit { name: "name", body: swap(&function.body, missing, &own), odds: 0.0 });
    }
    edits
}

/// Edits for a call that does not match the signature of what it calls.
fn call(function: &Function, message: &str) -> Vec<Edit> {
    let body = &function.body;
    let mut edits = Vec::new();
    if let Some(argument) = quoted(message, "unexpected keyword argument") {
        edits.push(Edit { name: "argument", body: drop_argument(body, argument), odds: 0.0 });
    }
    if message.contains("object is not callable") {
        edits.push(Edit { name: "call", body: body.replace("()", ""), odds: -1.0 });
    }
    if message.contains("'await' expression") {
        edits.push(Edit { name: "await", body: body.replace("await ", ""), odds: 0.5 });
    }
    if message.contains("coroutine") {
        edits.push(Edit {
            name: "await",
            body: body.replace("return ", "return await "),
            odds: 0.0,
        });
    }
    if message.contains("takes no arguments") || message.contains("takes 1 positional argument") {
        let forward = format!("super().{}({})", function.name, function.forward());
        let bare = format!("super().{}()", function.name);
        edits.push(Edit { name: "argument", body: body.replace(&forward, &bare), odds: 0.0 });
    }
    edits
}

/// Edits for a missing key: use a similar string of the class.
fn key(target: &Target<'_>, function: &Function, message: &str) -> Vec<Edit> {
    let missing = message.trim_matches(['\'', '"']);
    let strings = strings(&target.class.text);
    let near = nearest(missing, strings.iter());
    let edit = |(other, alike): (&str, f32)| Edit {
        name: "key",
        body: function.body.replace(&format!("\"{missing}\""), &format!("\"{other}\"")),
        odds: alike * 2.0 - 2.0,
    };
    near.into_iter().map(edit).collect()
}

fn strings(text: &str) -> Vec<String> {
    let parts = text.split('"').skip(1).step_by(2);
    parts.filter(|part| part.len() < 40 && !part.contains('\n')).map(str::to_string).collect()
}

/// Edits for a failed comparison whose message shows both values.
fn comparison(target: &Target<'_>, function: &Function, message: &str) -> Vec<Edit> {
    let body = &function.body;
    let line = message.lines().next().unwrap_or_default();
    if line.contains("is not true") || line.contains("is not false") {
        return vec![Edit { name: "negation", body: returning(body, "not (", ")"), odds: -1.0 }];
    }
    let Some((was, expected)) = line.split_once(" != ") else { return Vec::new() };
    let (was, expected) = (was.trim(), expected.split(" : ").next().unwrap_or(expected).trim());
    let mut edits = Vec::new();
    if was == "None" && !returns(body) {
        for value in
            ["self"].into_iter().chain(function.arguments().iter().map(|p| p.name.as_str()))
        {
            let body = last_line(body, &format!("return {value}"));
            edits.push(Edit { name: "return", body, odds: -0.5 });
        }
    }
    if matches!((was, expected), ("True", "False") | ("False", "True")) {
        edits.push(Edit { name: "negation", body: returning(body, "not (", ")"), odds: -0.5 });
    }
    if was.len() > 2 || was.parse::<i64>().is_ok() {
        for (from, to) in [(was.to_string(), expected.to_string()), double(was, expected)] {
            edits.push(Edit { name: "constant", body: swap_literal(body, &from, &to), odds: -0.5 });
        }
    }
    for (kind, opens, closes) in
        [("list", '[', ']'), ("tuple", '(', ')'), ("str", '\'', '\''), ("set", '{', '}')]
    {
        let like = |text: &str| text.starts_with(opens) && text.ends_with(closes);
        if like(expected) && !like(was) && was != "None" {
            let body = returning(body, &format!("{kind}("), ")");
            edits.push(Edit { name: "kind", body, odds: -0.5 });
        }
    }
    if function.arguments().is_empty() && is_literal(expected) && target.name() != "__init__" {
        let body = format!("    return {}", double(was, expected).1);
        edits.push(Edit { name: "constant", body, odds: -2.5 });
    }
    edits
}

fn is_literal(text: &str) -> bool {
    let string = text.starts_with('\'') && text.ends_with('\'') && text.matches('\'').count() == 2;
    string || matches!(text, "True" | "False" | "None") || text.parse::<i64>().is_ok()
}

/// Both literals in double quotes.
fn double(was: &str, expected: &str) -> (String, String) {
    (was.replace('\'', "\""), expected.replace('\'', "\""))
}

fn swap_literal(body: &str, from: &str, to: &str) -> String {
    match body.match_indices(from).count() {
        1 => body.replace(from, to),
        _ => body.to_string(),
    }
}

/// The edit that drops the method's line in the traceback.
fn place(target: &Target<'_>, function: &Function, traceback: &str) -> Option<Edit> {
    let marker = format!(", in {}", target.name());
    let mut lines = traceback.lines();
    let mut failing = None;
    while let Some(line) = lines.next() {
        if line.trim_end().ends_with(&marker) {
            failing = lines.next().map(str::trim).or(failing);
        }
    }
    let body = drop_line(&function.body, failing?)?;
    Some(Edit { name: "drop", body, odds: -1.5 })
}

/// The edit that adds a call of the base class's method, or removes it.
fn base_call(target: &Target<'_>, function: &Function) -> Option<Edit> {
    if !target.has_bases() {
        return None;
    }
    let wait = if function.is_async { "await " } else { "" };
    let call = format!("{wait}super().{}({})", target.name(), function.forward());
    let edit = match function.body.contains("super()") {
        true => Edit { name: "base", body: drop_line(&function.body, &call)?, odds: -3.5 },
        false => Edit { name: "base", body: first_line(&function.body, &call), odds: -3.0 },
    };
    Some(edit)
}

/// Modules that a body may have forgotten to import.
const STANDARD: &str = "\
    asyncio base64 collections contextlib copy csv datetime decimal functools glob hashlib hmac \
    html importlib inspect io itertools json locale logging math operator os pathlib pickle posixpath \
    random re secrets shutil signal socket string struct sys tempfile textwrap threading time \
    traceback types unicodedata urllib uuid warnings weakref zoneinfo";

#[cfg(test)]
mod tests {
    use fixfly_runtime::{DescribedBy, Method};

    use super::*;

    const CONTENT: &str = "\
class Parser(Base):
    def feed(self, text):
        self._parts.append(text)
        self.fed_text = text
        return {\"kind\": self.kind}
";

    fn method(declaration: &str) -> Method {
        let function = Function::read(&format!("{declaration} pass")).unwrap();
        Method {
            file: "parser.py".into(),
            class_name: "Parser".into(),
            name: function.name,
            declaration: declaration.into(),
            decorators: Vec::new(),
            description: String::new(),
            described_by: DescribedBy::Nothing,
            content: CONTENT.into(),
            faulty: None,
            options: fixfly_runtime::FaultOptions::default(),
        }
    }

    /// Checks that `expected` is among the edits of `body` after this failure.
    #[track_caller]
    fn check(declaration: &str, body: &str, exception: &str, message: &str, expected: &str) {
        let method = method(declaration);
        let target = Target::read(&method);
        let function = Function::read(&target.with_lines(body)).unwrap();
        let failure = TestFailure {
            exception: exception.into(),
            message: message.into(),
            traceback: String::new(),
            output: String::new(),
        };
        let edits = fixes(&target, &function, &failure);
        let bodies: Vec<_> = edits.iter().map(|edit| target.with_body(&edit.body)).collect();
        assert!(bodies.contains(&target.with_lines(expected)), "{bodies:#?}");
    }

    #[test]
    fn a_missing_attribute_is_replaced_or_begun() {
        let message = "'Parser' object has no attribute 'text'";
        check(
            "def f(self):",
            "return self.text",
            "AttributeError",
            message,
            "return self.fed_text",
        );
        let message = "'Parser' object has no attribute '_parts'";
        let expected = "self.x = x\nself._parts = []";
        check("def __init__(self, x):", "self.x = x", "AttributeError", message, expected);
        let message = "'Parser' object has no attribute 'kind'";
        let expected = "pass\nself.kind = kind";
        check("def __init__(self, kind):", "pass", "AttributeError", message, expected);
    }

    #[test]
    fn a_missing_name_is_imported_or_found() {
        let (from, message) = ("return re.I", "name 're' is not defined");
        check("def f(self):", from, "NameError", message, "import re\nreturn re.I");
        let (from, message) = ("return kind", "name 'kind' is not defined");
        check("def f(self):", from, "NameError", message, "return self.kind");
    }

    #[test]
    fn a_call_is_made_to_fit() {
        let message = "Parser.g() got an unexpected keyword argument 'b'";
        check("def f(self):", "return self.g(a, b=b)", "TypeError", message, "return self.g(a)");
        let message = "object NoneType can't be used in 'await' expression";
        check("async def f(self):", "await self.g()", "TypeError", message, "self.g()");
    }

    #[test]
    fn a_missing_key_is_replaced() {
        check(
            "def f(self, d):",
            "return d[\"the_kind\"]",
            "KeyError",
            "'the_kind'",
            "return d[\"kind\"]",
        );
    }

    #[test]
    fn a_comparison_says_what_was_expected() {
        let f = "def f(self):";
        check(f, "return self.a", "AssertionError", "True != False", "return not (self.a)");
        check(f, "return self.a", "AssertionError", "False is not true", "return not (self.a)");
        check(f, "self.a = 1", "AssertionError", "None != <x>", "self.a = 1\nreturn self");
        check(f, "return (1, 2)", "AssertionError", "(1, 2) != [1, 2]", "return list((1, 2))");
        check(f, "return \"a\" + x", "AssertionError", "'a' != 'b'", "return \"b\" + x");
    }

    #[test]
    fn the_base_class_is_asked_too() {
        let f = "def f(self, a):";
        check(f, "return a", "ValueError", "", "super().f(a)\nreturn a");
    }

    #[test]
    fn the_failing_line_is_dropped() {
        let method = method("def f(self):");
        let target = Target::read(&method);
        let function = Function::read(&target.with_lines("self.a()\nreturn 1")).unwrap();
        let traceback = "  File \"parser.py\", line 3, in f\n    self.a()\nValueError";
        let edit = place(&target, &function, traceback).unwrap();
        assert_eq!(edit.body, "    return 1");
    }
}
