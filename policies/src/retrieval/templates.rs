//! Proposals deduced from the declaration and the class alone.

use super::proposal::{Idea, Proposal};
use super::python::{Function, ParamKind};
use super::target::Target;
use super::words::{likeness, words};

pub(super) fn propose(target: &Target<'_>) -> Vec<Proposal> {
    let mut proposals = base(target);
    proposals.extend(lazy(target));
    proposals.extend(checks(target));
    proposals.extend(accessors(target));
    proposals.extend(delegates(target));
    proposals.extend(constants(target));
    proposals
}

/// Calls of the base class's method.
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

/// Reads of an attribute that is computed on first use.
fn lazy(target: &Target<'_>) -> Vec<Proposal> {
    let name = target.name().trim_start_matches("get_");
    let private = format!("_{name}");
    if !target.attributes.contains_key(&private) || !target.function.arguments().is_empty() {
        return Vec::new();
    }
    let makers = target.class.methods.iter().filter(|method| {
        method.arguments().is_empty()
            && method.name != target.name()
            && likeness(&method.name, name) > 0.0
            || method.names.set.contains(&private)
    });
    let lines = makers.flat_map(|maker| {
        let made = match maker.names.set.contains(&private) {
            true => format!("self.{}()", maker.name),
            false => format!("self.{private} = self.{}()", maker.name),
        };
        let rest = format!("    {made}\nreturn self.{private}");
        [
            (format!("if self.{private} is None:\n{rest}"), -1.0),
            (format!("if not hasattr(self, \"{private}\"):\n{rest}"), -1.5),
        ]
    });
    lines.map(|(lines, prior)| Proposal::guess(target, Idea::Accessor, &lines, prior)).collect()
}

/// Calls of all checks of the class.
fn checks(target: &Target<'_>) -> Vec<Proposal> {
    let checks = target.class.methods.iter().filter(|method| method.name.starts_with("_check"));
    let own = target.function.arguments();
    let call = |method: &Function| {
        let passed = method.arguments().iter().filter(|param| {
            param.kind == ParamKind::DoubleStar || own.iter().any(|own| own.name == param.name)
        });
        let mut passing = method.clone();
        passing.params = passed.cloned().collect();
        format!("    *self.{}({}),", method.name, passing.forward())
    };
    let calls: Vec<String> = checks.map(call).collect();
    if target.name() != "check" || calls.is_empty() {
        return Vec::new();
    }
    let base = match target.has_bases() {
        true => format!("    *super().check({}),\n", target.function.forward()),
        false => String::new(),
    };
    let with = format!("return [\n{base}{}\n]", calls.join("\n"));
    let without = format!("return [\n{}\n]", calls.join("\n"));
    vec![
        Proposal::guess(target, Idea::Delegate, &with, 2.0),
        Proposal::guess(target, Idea::Delegate, &without, 1.5),
    ]
}

/// The attributes whose names are most similar to the method's name without its verb.
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

/// The same call on an attribute of the object, or on a function of that name.
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

/// Constant values, likeliest first.
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
    // A function has no object to return.
    let possible =
        |(_, lines): &(usize, &&str)| **lines != "return self" || !target.method.is_function();
    lines.iter().enumerate().filter(possible).map(guess).collect()
}
