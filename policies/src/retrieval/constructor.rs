//! Proposals for constructors, and for the methods that compare, hash or deconstruct
//! an object.

use super::corpus::Corpus;
use super::proposal::{Idea, Proposal};
use super::python::{Function, Param, ParamKind};
use super::target::Target;

pub(super) fn propose(target: &Target<'_>, corpus: &Corpus) -> Vec<Proposal> {
    let guess =
        |idea| move |(lines, prior): (String, f32)| Proposal::guess(target, idea, &lines, prior);
    match target.name() {
        "__init__" => init(target, corpus).into_iter().map(guess(Idea::Init)).collect(),
        "__eq__" => equal(target).into_iter().map(guess(Idea::Accessor)).collect(),
        "__hash__" => hash(target).into_iter().map(guess(Idea::Accessor)).collect(),
        "deconstruct" => deconstruct(target).into_iter().map(guess(Idea::Accessor)).collect(),
        _ => Vec::new(),
    }
}

/// A constructor that stores its arguments, passes those of the base class on, and
/// initialises the attributes that the other methods use.
fn init(target: &Target<'_>, corpus: &Corpus) -> Vec<(String, f32)> {
    let arguments = target.function.arguments();
    let base = base(target, corpus);
    let takes = |param: &Param| match (&base, param.kind) {
        (_, ParamKind::Star | ParamKind::DoubleStar) => true,
        (Some(base), _) => base.params.iter().any(|taken| taken.name == param.name),
        (None, _) => field(target, param).is_none(),
    };
    let passed = arguments.iter().filter(|param| target.has_bases() && takes(param));
    let mut passing = target.function.clone();
    passing.params = passed.cloned().collect();
    let mut named = passing.clone();
    for param in named.params.iter_mut().filter(|param| param.default.is_some()) {
        param.kind = ParamKind::Keyword;
    }
    let call = |passing: &Function| vec![format!("super().__init__({})", passing.forward())];
    let kept = |param: &&Param| !passing.params.contains(param) || field(target, param).is_some();
    let keep: Vec<String> = arguments
        .iter()
        .filter(|param| !matches!(param.kind, ParamKind::Star | ParamKind::DoubleStar))
        .filter(kept)
        .map(|param| keep(target, param))
        .collect();
    let fresh = fresh(target);
    let lines = |parts: &[&[String]]| parts.concat().join("\n");
    let mut shapes = match target.has_bases() {
        true => vec![
            (lines(&[&keep, &call(&passing)]), 0.3),
            (lines(&[&call(&passing), &keep]), 0.2),
            (lines(&[&call(&passing), &keep, &fresh]), 0.1),
            (lines(&[&keep, &fresh, &call(&named)]), 0.0),
            (lines(&[&keep, &call(&target.function)]), -0.5),
            (lines(&[&keep]), -1.0),
        ],
        false => vec![(lines(&[&keep, &fresh]), 0.5), (lines(&[&keep]), 0.4)],
    };
    shapes.retain(|(lines, _)| !lines.is_empty());
    shapes
}

/// The constructor of the base class, if it is known.
fn base(target: &Target<'_>, corpus: &Corpus) -> Option<Function> {
    let visible = |name: &String| {
        let class = target.module.classes.iter().find(|class| class.name == *name)?;
        class.methods.iter().find(|method| method.name == "__init__").cloned()
    };
    let recorded = |name: &String| {
        let mut constructors = corpus.named("__init__", target.method);
        constructors.find(|found| found.class_name == *name).map(|found| found.function.clone())
    };
    target.ancestors.iter().find_map(|name| visible(name).or_else(|| recorded(name)))
}

/// The attribute in which the class keeps a parameter.
fn field(target: &Target<'_>, param: &Param) -> Option<String> {
    let names = [param.name.clone(), format!("_{}", param.name)];
    names.into_iter().find(|name| target.attributes.get(name).is_some_and(|count| *count > 0))
}

fn keep(target: &Target<'_>, param: &Param) -> String {
    let name = field(target, param).unwrap_or_else(|| param.name.clone());
    let empty = beginning(&target.class.text, &name);
    match param.default.as_deref() {
        Some("None") if empty != "None" => format!("self.{name} = {} or {empty}", param.name),
        _ => format!("self.{name} = {}", param.name),
    }
}

/// Assignments of attributes that the class reads but never visibly sets, with the
/// value that their use suggests.
fn fresh(target: &Target<'_>) -> Vec<String> {
    let given = |name: &String| {
        let class = &target.class;
        class.attributes.contains_key(name)
            || class.methods.iter().any(|method| method.name == *name)
            || target.function.params.iter().any(|p| name.trim_start_matches('_') == p.name)
            || name.starts_with("__")
    };
    let read = target.attributes.iter().filter(|(name, count)| **count > 0 && !given(name));
    let line = |name: &String| format!("self.{name} = {}", beginning(&target.class.text, name));
    read.map(|(name, _)| line(name)).collect()
}

/// The empty value of the type that `self.{name}` is used as.
pub(super) fn beginning(text: &str, name: &str) -> &'static str {
    let used = |uses: &[&str]| uses.iter().any(|how| text.contains(&format!("self.{name}{how}")));
    if used(&[".append(", ".extend(", ".insert("]) {
        "[]"
    } else if used(&[".add(", ".discard("]) {
        "set()"
    } else if used(&["[", ".setdefault(", ".items(", ".update(", ".get(", ".values("]) {
        "{}"
    } else if used(&[" += 1", " -= 1"]) {
        "0"
    } else {
        "None"
    }
}

/// The attributes that the visible constructor sets.
fn fields<'t>(target: &'t Target<'_>) -> Vec<&'t String> {
    let init = target.class.methods.iter().find(|method| method.name == "__init__");
    init.iter().flat_map(|init| &init.names.set).collect()
}

fn equal(target: &Target<'_>) -> Vec<(String, f32)> {
    let fields = fields(target);
    let Some(other) = target.function.arguments().first().map(|param| &param.name) else {
        return Vec::new();
    };
    if fields.is_empty() {
        return Vec::new();
    }
    let same = fields.iter().map(|name| format!("self.{name} == {other}.{name}"));
    let same = same.collect::<Vec<_>>().join(" and ");
    let class = target.class_word();
    vec![
        (
            format!(
                "if not isinstance({other}, {class}):\n    return NotImplemented\nreturn {same}"
            ),
            0.0,
        ),
        (format!("return isinstance({other}, {class}) and {same}"), -0.2),
    ]
}

fn hash(target: &Target<'_>) -> Vec<(String, f32)> {
    let fields: Vec<_> = fields(target).iter().map(|name| format!("self.{name}")).collect();
    let lines = match fields.as_slice() {
        [] => return Vec::new(),
        [one] => format!("return hash({one})"),
        _ => format!("return hash(({}))", fields.join(", ")),
    };
    vec![(lines, 0.0)]
}

/// `deconstruct`: the arguments that create an equal object.
fn deconstruct(target: &Target<'_>) -> Vec<(String, f32)> {
    let init = target.class.methods.iter().find(|method| method.name == "__init__");
    let Some(init) = init else { return Vec::new() };
    let kept: Vec<&Param> =
        init.arguments().iter().filter(|param| init.names.set.contains(&param.name)).collect();
    let (optional, required): (Vec<&Param>, Vec<_>) =
        kept.iter().copied().partition(|param| param.default.is_some());
    let given = |param: &&Param| {
        let name = &param.name;
        let condition = match param.default.as_deref() {
            Some("False") => format!("self.{name}"),
            Some(default @ ("None" | "True")) => format!("self.{name} is not {default}"),
            Some(default) => format!("self.{name} != {default}"),
            None => String::new(),
        };
        format!("if {condition}:\n    kwargs[\"{name}\"] = self.{name}\n")
    };
    let set = |param: &&Param| format!("kwargs[\"{0}\"] = self.{0}\n", param.name);
    let optional: String = optional.iter().map(given).collect();
    let set: String = required.iter().map(set).collect();
    let entry = |param: &&Param| format!("    \"{0}\": self.{0},\n", param.name);
    let entries: String = required.iter().map(entry).collect();
    let shape = |start: String, end: &str| {
        let usual = target.method.content.contains(end);
        (format!("{start}{optional}{end}"), if usual { 2.5 } else { 0.5 })
    };
    let base = |taken: &str| format!("{taken} = super().deconstruct()\n{set}");
    vec![
        shape(base("name, path, args, kwargs"), "return name, path, args, kwargs"),
        shape(base("path, args, kwargs"), "return path, args, kwargs"),
        shape(
            format!("kwargs = {{\n{entries}}}\n"),
            "return (self.__class__.__qualname__, [], kwargs)",
        ),
    ]
}
