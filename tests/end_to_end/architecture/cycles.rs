//! Which modules at the top of a crate refer to each other, and in which cycles.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::sources::{Module, Read, modules};
use super::tokens::Token;

/// One module at the top of a crate refers to another.
#[derive(Debug)]
struct Edge {
    from: String,
    to: String,
    /// `file:line: path`
    place: String,
}

/// A path as it is written.
struct Written {
    line: usize,
    parts: Vec<String>,
    /// The name by which a `use` makes it known.
    name: Option<String>,
}

/// The cycles of the crate with that root, each with its edges. Empty if there is none.
pub(super) fn cycles(root: &Path, read: Read) -> Vec<String> {
    let edges = edges(&modules(root, read));
    let reached = reached(&edges);
    let mut cycles = BTreeSet::new();
    for (from, targets) in &reached {
        if targets.contains(from) {
            let cycle: Vec<&String> =
                targets.iter().copied().filter(|to| reached[to].contains(from)).collect();
            cycles.insert(cycle);
        }
    }
    cycles.into_iter().map(|cycle| shown(&cycle, &edges)).collect()
}

fn shown(cycle: &[&String], edges: &[Edge]) -> String {
    let is_inside = |edge: &&Edge| cycle.contains(&&edge.from) && cycle.contains(&&edge.to);
    let lines = edges.iter().filter(is_inside);
    let lines = lines.map(|edge| format!("\n    {} -> {}  {}", edge.from, edge.to, edge.place));
    let names: Vec<&str> = cycle.iter().map(|name| name.as_str()).collect();
    format!("{}:{}", names.join(", "), lines.collect::<String>())
}

/// What can be reached from each module.
fn reached(edges: &[Edge]) -> BTreeMap<&String, BTreeSet<&String>> {
    let mut reached: BTreeMap<&String, BTreeSet<&String>> = BTreeMap::new();
    for edge in edges {
        reached.entry(&edge.from).or_default().insert(&edge.to);
        reached.entry(&edge.to).or_default();
    }
    loop {
        let before: usize = reached.values().map(BTreeSet::len).sum();
        for from in reached.keys().copied().collect::<Vec<_>>() {
            let further = reached[from].iter().flat_map(|to| reached[*to].iter().copied());
            let further: Vec<&String> = further.collect();
            reached.entry(from).or_default().extend(further);
        }
        if reached.values().map(BTreeSet::len).sum::<usize>() == before {
            return reached;
        }
    }
}

/// The edges between the modules at the top, in the order of the files.
fn edges(modules: &[Module]) -> Vec<Edge> {
    let tops: BTreeSet<&String> = modules.iter().filter_map(|module| module.path.first()).collect();
    let root = modules.iter().find(|module| module.path.is_empty()).expect("a crate has a root");
    let exports = exports(root, &tops);
    let mut edges = Vec::new();
    for module in modules {
        let Some(from) = module.path.first() else { continue };
        for written in paths(&module.tokens) {
            let Some(path) = absolute(&written.parts, &module.path) else { continue };
            let place = format!("{}:{}: {}", module.file.display(), written.line, path.join("::"));
            let Some(first) = path.first() else { continue };
            assert_ne!(first, "*", "this hides what the module refers to: {place}");
            let to = tops.get(first).copied().or(exports.get(first));
            if let Some(to) = to.filter(|to| *to != from) {
                edges.push(Edge { from: from.clone(), to: to.clone(), place });
            }
        }
    }
    edges
}

/// What the root makes known of its modules: the name, and the module it comes from.
fn exports(root: &Module, tops: &BTreeSet<&String>) -> BTreeMap<String, String> {
    let known = paths(&root.tokens).into_iter().filter_map(|written| {
        let path = absolute(&written.parts, &[]).unwrap_or(written.parts);
        let top = path.first().filter(|first| tops.contains(first))?;
        Some((written.name?, top.clone()))
    });
    known.collect()
}

/// The path from the crate's root; none if it does not begin in this crate. A path
/// that begins with a module beside it stays below the same top.
fn absolute(parts: &[String], module: &[String]) -> Option<Vec<String>> {
    let (first, mut rest) = parts.split_first()?;
    let mut base = match first.as_str() {
        "crate" => Vec::new(),
        "self" => module.to_vec(),
        "super" => module.split_last()?.1.to_vec(),
        _ => return None,
    };
    while let [first, others @ ..] = rest
        && first == "super"
    {
        base.pop();
        rest = others;
    }
    base.extend_from_slice(rest);
    Some(base)
}

/// All paths of a module: those of its `use` items, and those in its code that begin
/// with `crate`, `self` or `super`.
fn paths(tokens: &[Token]) -> Vec<Written> {
    let (mut found, mut at) = (Vec::new(), 0);
    while at < tokens.len() {
        let next = tokens.get(at + 1);
        // `use<'a>` captures a lifetime.
        if tokens[at].is("use") && next.is_some_and(|next| !next.is("<")) {
            at = tree(tokens, at + 1, &[], &mut found);
            continue;
        }
        let begins = ["crate", "self", "super"].iter().any(|first| tokens[at].is(first));
        let is_visibility = at > 0 && tokens[at - 1].is("in");
        if begins && !is_visibility && next.is_some_and(|next| next.is("::")) {
            let line = tokens[at].line;
            let mut parts = vec![tokens[at].text.clone()];
            while let [colons, part, ..] = &tokens[at + 1..]
                && colons.is("::")
                && part.is_word()
            {
                parts.push(part.text.clone());
                at += 2;
            }
            found.push(Written { line, parts, name: None });
        }
        at += 1;
    }
    found
}

/// Reads what stands after `use`, or between the braces of one; the index after it.
fn tree(tokens: &[Token], mut at: usize, before: &[String], found: &mut Vec<Written>) -> usize {
    let mut parts = before.to_vec();
    while let Some(token) = tokens.get(at) {
        if token.is("{") {
            at += 1;
            while at < tokens.len() && !tokens[at].is("}") {
                at = tree(tokens, at, &parts, found);
                at += usize::from(tokens.get(at).is_some_and(|token| token.is(",")));
            }
            return at + 1;
        }
        at += 1;
        if !token.is("::") {
            parts.push(token.text.clone());
            if tokens.get(at).is_none_or(|next| !next.is("::")) {
                let mut name = token.text.clone();
                if let [renames, other, ..] = &tokens[at..]
                    && renames.is("as")
                {
                    (name, at) = (other.text.clone(), at + 2);
                }
                found.push(Written { line: token.line, parts, name: Some(name) });
                return at;
            }
        }
    }
    at
}

mod tests {
    use super::*;

    fn read_by<'a>(files: &'a [(&'a str, &'a str)]) -> impl Fn(&Path) -> Option<String> + 'a {
        move |file| {
            let found = files.iter().find(|(name, _)| file == Path::new(name));
            found.map(|(_, text)| (*text).to_owned())
        }
    }

    /// The edges of a crate of these files, as `from -> to file:line`.
    #[track_caller]
    fn check(files: &[(&str, &str)], expected: &[&str]) {
        let found = edges(&modules(Path::new("lib.rs"), &read_by(files)));
        let found = found.iter().map(|edge| {
            let place = edge.place.rsplit_once(": ").unwrap().0;
            format!("{} -> {} {place}", edge.from, edge.to)
        });
        let mut found: Vec<String> = found.collect();
        found.dedup();
        assert_eq!(found, expected, "{files:?}");
    }

    #[test]
    fn each_way_to_name_a_module_is_an_edge() {
        const ROOT: &str = "mod a; mod b; mod c; pub use c::{Item, Other as Named}; use b::hidden;";
        for text in [
            "fn f() { crate::b::g() }",
            "use crate::b;",
            "use crate::b::*;",
            "use crate::{b as x};",
            "use std::fmt; use crate::{Local, b::{g, h}};",
            "use super::b::g;",
            "fn f(x: &super::b::T) {}",
            "use self::super::b;",
            "use crate::hidden;",
            "macro_rules! m { () => { $crate::b::g() } }",
            "mod inside { fn f() { super::super::b::g() } }",
        ] {
            let files = [("lib.rs", ROOT), ("a.rs", text), ("b.rs", ""), ("c.rs", "")];
            check(&files, &["a -> b a.rs:1"]);
        }
        for text in ["use crate::Item;", "fn f() -> crate::Named {}"] {
            let files = [("lib.rs", ROOT), ("a.rs", text), ("b.rs", ""), ("c.rs", "")];
            check(&files, &["a -> c a.rs:1"]);
        }
    }

    #[test]
    fn what_names_no_other_module_is_none() {
        for text in [
            "use other::b;",
            "pub(crate) fn f() {}",
            "pub(in crate::b) fn f() {}",
            "// crate::b\nconst A: &str = \"crate::b\";",
            "#[cfg(test)] mod tests { use crate::b; }",
            "#[cfg(test)] mod tests;",
            "fn f() -> impl Sized + use<> {}",
            "use self::b; mod b { use super::c; }",
            "use crate::a::b; use super::a;",
            "use crate::Local;",
        ] {
            check(&[("lib.rs", "mod a; mod b; struct Local;"), ("a.rs", text), ("b.rs", "")], &[]);
        }
    }

    #[test]
    fn the_modules_inside_a_module_are_part_of_it() {
        let inside = "use super::super::b;\nuse crate::{\n    b,\n};";
        let files =
            [("lib.rs", "mod a; mod b;"), ("a.rs", "mod c;"), ("a/c.rs", inside), ("b.rs", "")];
        check(&files, &["a -> b a/c.rs:1", "a -> b a/c.rs:3"]);
        let files = [
            ("lib.rs", "#[cfg(x)] mod a; #[cfg(not(x))] #[path = \"a/none.rs\"] mod a; mod b;"),
            ("a/mod.rs", "fn f() {}\nuse crate::b;"),
            ("a/none.rs", "use crate::b;"),
            ("b.rs", ""),
        ];
        check(&files, &["a -> b a/mod.rs:2", "a -> b a/none.rs:1"]);
    }

    #[test]
    #[should_panic(expected = "this hides what the module refers to: a.rs:2: *")]
    fn everything_of_the_root_may_not_be_imported() {
        check(&[("lib.rs", "mod a;"), ("a.rs", "\nuse crate::*;")], &[]);
    }

    #[test]
    fn each_cycle_is_shown_with_its_edges() {
        let files = [
            ("lib.rs", "mod a; mod b; mod c; mod d; mod e;"),
            ("a.rs", "use crate::b;"),
            ("b.rs", "use crate::c;"),
            ("c.rs", "\nuse crate::a::X;"),
            ("d.rs", "use crate::{a, e};"),
            ("e.rs", "use crate::d;"),
        ];
        let found = cycles(Path::new("lib.rs"), &read_by(&files));
        let expected = [
            "a, b, c:\n    a -> b  a.rs:1: b\n    b -> c  b.rs:1: c\n    c -> a  c.rs:2: a::X",
            "d, e:\n    d -> e  d.rs:1: e\n    e -> d  e.rs:1: d",
        ];
        assert_eq!(found, expected);
        let chain = [("lib.rs", "mod a; mod b;"), ("a.rs", "use crate::b;"), ("b.rs", "")];
        assert!(cycles(Path::new("lib.rs"), &read_by(&chain)).is_empty());
    }
}
