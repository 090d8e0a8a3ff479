//! Proposals deduced from the declaration and the class alone.

use super::proposal::{Idea, Proposal};
use super::python::{Param, ParamKind};
use super::target::Target;
use super::words::{likeness, words};

pub(super) fn propose(target: &Target<'_>) -> Vec<Proposal> {
    let mut proposals = match target.name() {
        "__init__" => init(target),
        "__eq__" | "__hash__" => identity(target),
        _ => Vec::new(),
    };
    proposals.extend(base(target));
    proposals.extend(accessors(target));
    proposals.extend(delegates(target));
    proposals.extend(constants(target));
    proposals
}

/// What the base class does.
fn base(target: &Target<'_>) -> Vec<Proposal> {
    if !target.has_bases() || target.method.decorators.iter().any(|d| d == "@staticmethod") {
        return Vec::new();
    }
    let arguments = target.function.forward();
    let wait = if target.function.is_async { "await " } else { "" };
    let property = target.method.decorators.iter().any(|name| name.ends_with("property"));
    let call = match property {
        true => format!("super().{}", target.name()),
        false => format!("{wait}super().{}({arguments})", target.name()),
    };
    let silent = matches!(target.name(), "__init__" | "save" | "delete" | "close" | "flush");
    let (value, statement) = if silent { (-5.0, -3.5) } else { (-4.0, -5.5) };
    let propose = |lines: String, prior| Proposal::guess(target, Idea::Super, &lines, prior);
    vec![propose(format!("return {call}"), value), propose(call, statement)]
}

/// A constructor that keeps what it is given, passes on what the class does
/// not mention, and starts what the other methods rely on.
fn init(target: &Target<'_>) -> Vec<Proposal> {
    let arguments = target.function.arguments();
    let field = |param: &Param| {
        let private = format!("_{}", param.name);
        let known = |name: &String| target.attributes.contains_key(name);
        match param.kind {
            _ if known(&param.name) => Some(param.name.clone()),
            _ if known(&private) => Some(private),
            ParamKind::Positional | ParamKind::Keyword if !target.has_bases() => {
                Some(param.name.clone())
            }
            _ => None,
        }
    };
    let (kept, passed): (Vec<&Param>, Vec<_>) = arguments.iter().partition(|p| field(p).is_some());
    let keep = |param: &&Param| {
        let name = field(param).unwrap_or_default();
        format!("self.{name} = {}", param.name)
    };
    let keep: Vec<String> = kept.iter().map(keep).collect();
    let fresh: Vec<String> = fresh(target);
    let mut passing = target.function.clone();
    passing.params = passed.into_iter().cloned().collect();
    let some = [format!("super().__init__({})", passing.forward())];
    let all = [format!("super().__init__({})", target.function.forward())];
    let join = |parts: &[&[String]]| parts.concat().join("\n");
    let mut shapes = Vec::new();
    match target.has_bases() {
        true => {
            shapes.push((join(&[&keep, &some]), -1.5));
            shapes.push((join(&[&some, &keep]), -2.0));
            shapes.push((join(&[&keep, &all]), -3.0));
            shapes.push((join(&[&all, &keep, &fresh]), -3.5));
            shapes.push((join(&[&some, &keep, &fresh]), -2.5));
            shapes.push((join(&[&keep]), -3.5));
        }
        false => {
            shapes.push((join(&[&keep, &fresh]), -0.5));
            shapes.push((join(&[&keep]), -0.6));
        }
    }
    let shapes = shapes.into_iter().filter(|(lines, _)| !lines.is_empty());
    shapes.map(|(lines, prior)| Proposal::guess(target, Idea::Init, &lines, prior)).collect()
}

/// Attributes that the class reads and nothing visible gives it, with the
/// value their use suggests.
fn fresh(target: &Target<'_>) -> Vec<String> {
    let given = |name: &String| {
        target.class.attributes.contains_key(name)
            || target.class.methods.iter().any(|method| method.name == *name)
            || target.function.params.iter().any(|param| name.trim_start_matches('_') == param.name)
            || name.starts_with("__")
    };
    let read = target.attributes.iter().filter(|(name, count)| **count > 0 && !given(name));
    read.map(|(name, _)| format!("self.{name} = {}", beginning(&target.class.text, name))).collect()
}

/// The empty value of the kind that `self.{name}` is used as.
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

/// Equality and hash over what the constructor keeps.
fn identity(target: &Target<'_>) -> Vec<Proposal> {
    let init = target.class.methods.iter().find(|method| method.name == "__init__");
    let kept: Vec<&String> = init.iter().flat_map(|init| &init.names.set).collect();
    let Some(other) = target.function.arguments().first().map(|param| &param.name) else {
        let fields: Vec<_> = kept.iter().map(|name| format!("self.{name}")).collect();
        let lines = match fields.as_slice() {
            [one] => format!("return hash({one})"),
            _ => format!("return hash(({}))", fields.join(", ")),
        };
        return vec![Proposal::guess(target, Idea::Accessor, &lines, -2.5)];
    };
    let same = kept.iter().map(|name| format!("self.{name} == {other}.{name}"));
    let same = same.collect::<Vec<_>>().join(" and ");
    let class = target.class_word();
    let lines = [
        (format!("return isinstance({other}, {class}) and {same}"), -2.5),
        (
            format!(
                "if not isinstance({other}, {class}):\n    return NotImplemented\nreturn {same}"
            ),
            -2.7,
        ),
        (format!("return isinstance({other}, self.__class__) and {same}"), -2.6),
    ];
    let lines = lines.into_iter().filter(|_| !same.is_empty());
    lines.map(|(lines, prior)| Proposal::guess(target, Idea::Accessor, &lines, prior)).collect()
}

/// Attributes by how much their name, without a verb, is that of the method.
fn attributes_like<'t>(target: &'t Target<'_>, most: usize) -> Vec<(&'t str, f32)> {
    let subject = words(target.name());
    let verbs = ["get", "set", "has", "is", "check", "count"];
    let subject = match subject.split_first() {
        Some((verb, rest)) if verbs.contains(&verb.as_str()) && !rest.is_empty() => rest.join("_"),
        _ => subject.join("_"),
    };
    let others = target.attributes.iter().filter(|(name, _)| *name != target.name());
    let mut ranked: Vec<(&str, f32)> = others
        .map(|(name, count)| {
            let described = likeness(name, &target.method.description);
            let alike = likeness(name, &subject);
            (name.as_str(), alike + 0.5 * described + 0.02 * (*count as f32).min(5.0))
        })
        .collect();
    ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
    ranked.truncate(most);
    ranked
}

fn accessors(target: &Target<'_>) -> Vec<Proposal> {
    let name = target.name();
    let verb = words(name).into_iter().next().unwrap_or_default();
    let mut proposals = Vec::new();
    for (attribute, alike) in attributes_like(target, 4) {
        let method = target.has_method(attribute);
        let shapes: Vec<(String, f32)> = match (verb.as_str(), target.function.arguments()) {
            ("has" | "is", []) => vec![
                (format!("return bool(self.{attribute})"), 0.0),
                (format!("return self.{attribute} is not None"), -0.3),
                (format!("return self.{attribute}"), -0.5),
            ],
            (_, []) if method => vec![(format!("return self.{attribute}()"), -1.5)],
            (_, []) => vec![(format!("return self.{attribute}"), 0.0)],
            (_, [value]) if setter(target) => {
                vec![(format!("self.{attribute} = {}", value.name), 0.5)]
            }
            (_, [key]) if !method => vec![
                (format!("return self.{attribute}[{}]", key.name), -2.0),
                (format!("return self.{attribute}.get({})", key.name), -2.5),
            ],
            (_, _) if method => {
                let arguments = target.function.forward();
                vec![(format!("return self.{attribute}({arguments})"), -1.5)]
            }
            _ => Vec::new(),
        };
        for (lines, prior) in shapes {
            let prior = prior + 3.0 * alike - 5.0;
            proposals.push(Proposal::guess(target, Idea::Accessor, &lines, prior));
        }
    }
    proposals
}

fn setter(target: &Target<'_>) -> bool {
    target.name().starts_with("set_")
        || target.method.decorators.iter().any(|name| name.ends_with(".setter"))
}

/// The same call on something the object holds, or on a function of that name.
fn delegates(target: &Target<'_>) -> Vec<Proposal> {
    let arguments = target.function.forward();
    let name = target.name();
    let first = target.function.arguments().first().map_or("", |param| &param.name);
    let second = target.function.arguments().get(1).map_or("", |param| &param.name);
    let mut held: Vec<_> =
        target.attributes.iter().filter(|(n, _)| !target.has_method(n)).collect();
    held.sort_by(|a, b| b.1.cmp(a.1).then(a.0.cmp(b.0)));
    let mut proposals = Vec::new();
    for (rank, (attribute, _)) in held.into_iter().take(3).enumerate() {
        let lines = match name {
            "__len__" => format!("return len(self.{attribute})"),
            "__iter__" => format!("return iter(self.{attribute})"),
            "__bool__" => format!("return bool(self.{attribute})"),
            "__str__" => format!("return str(self.{attribute})"),
            "__hash__" => format!("return hash(self.{attribute})"),
            "__contains__" => format!("return {first} in self.{attribute}"),
            "__getitem__" => format!("return self.{attribute}[{first}]"),
            "__setitem__" => format!("self.{attribute}[{first}] = {second}"),
            "__delitem__" => format!("del self.{attribute}[{first}]"),
            "__getattr__" => format!("return getattr(self.{attribute}, {first})"),
            "__call__" => format!("return self.{attribute}({arguments})"),
            _ if name.starts_with("__") => continue,
            _ => format!("return self.{attribute}.{name}({arguments})"),
        };
        let prior = if name.starts_with("__") { -1.5 } else { -5.0 } - rank as f32;
        proposals.push(Proposal::guess(target, Idea::Delegate, &lines, prior));
    }
    if target.module.names.contains(name) {
        let lines = format!("return {name}({arguments})");
        proposals.push(Proposal::guess(target, Idea::Delegate, &lines, -2.0));
    }
    proposals
}

/// Values that need no work, likeliest first.
fn constants(target: &Target<'_>) -> Vec<Proposal> {
    let verb = words(target.name()).into_iter().next().unwrap_or_default();
    let yes_or_no = matches!(
        verb.as_str(),
        "has" | "is" | "can" | "supports" | "allow" | "allows" | "should" | "contains"
    );
    let lines: &[&str] = match yes_or_no {
        true => &["return True", "return False", "return None"],
        false => &["return self", "return []", "return None", "return {}", "return \"\""],
    };
    let start = if yes_or_no { -3.0 } else { -6.0 };
    let guess = |(rank, lines): (usize, &&str)| {
        Proposal::guess(target, Idea::Constant, lines, start - 0.5 * rank as f32)
    };
    lines.iter().enumerate().map(guess).collect()
}
