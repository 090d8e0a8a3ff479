//! The names that a module lends to other files.

use super::tokens::{Kind, Token, after_group};

/// A name and its line.
pub(super) type Name = (usize, String);

/// Modules, and everything that is `pub` in some degree, with its variants, fields and
/// methods.
pub(super) fn names(tokens: &[Token]) -> Vec<Name> {
    let mut names = Vec::new();
    for at in 0..tokens.len() {
        if tokens[at].is("mod") {
            names.extend(name(tokens, at + 1));
        } else if tokens[at].is("pub") {
            item(tokens, after_visibility(tokens, at), &mut names);
        }
    }
    names
}

/// The names that a file writes into records where they differ from its own.
pub(super) fn recorded_names(tokens: &[Token]) -> Vec<Name> {
    let renamed = tokens.windows(3).filter_map(|window| match window {
        [rename, equals, text]
            if rename.is("rename") && equals.is("=") && text.kind == Kind::Text =>
        {
            Some((text.line, text.text.clone()))
        }
        _ => None,
    });
    renamed.collect()
}

fn name(tokens: &[Token], at: usize) -> Option<Name> {
    tokens.get(at).filter(|name| name.is_word()).map(|name| (name.line, name.text.clone()))
}

fn after_visibility(tokens: &[Token], at: usize) -> usize {
    match tokens.get(at + 1) {
        Some(next) if next.is("(") => after_group(tokens, at + 1),
        _ => at + 1,
    }
}

/// The names of the item whose keyword is at `at`, or behind its qualifiers.
fn item(tokens: &[Token], mut at: usize, names: &mut Vec<Name>) {
    let is = |at: usize, words: &[&str]| {
        tokens.get(at).is_some_and(|token| words.iter().any(|word| token.is(word)))
    };
    let is_abi = |at: usize| tokens.get(at).is_some_and(|token| token.kind == Kind::Text);
    while is(at, &["async", "unsafe", "extern"])
        || is_abi(at)
        || is(at, &["const"]) && is(at + 1, &["fn", "unsafe", "async"])
    {
        at += 1;
    }
    if is(at, &["fn", "struct", "trait", "enum", "const", "static", "type", "union"]) {
        names.extend(name(tokens, at + 1));
        match tokens[at].text.as_str() {
            "enum" => variants(body(tokens, at), names),
            "trait" => methods(body(tokens, at), names),
            _ => {}
        }
    } else if is(at + 1, &[":"]) {
        names.extend(name(tokens, at));
    }
}

/// What stands between the braces of an item.
fn body(tokens: &[Token], at: usize) -> &[Token] {
    let open = tokens.iter().enumerate().skip(at).find(|(_, token)| token.is("{"));
    open.map_or(&[][..], |(open, _)| &tokens[open + 1..after_group(tokens, open) - 1])
}

fn methods(body: &[Token], names: &mut Vec<Name>) {
    for at in 0..body.len() {
        if body[at].is("fn") {
            names.extend(name(body, at + 1));
        }
    }
}

/// The variants of an enum, and the fields of each.
fn variants(body: &[Token], names: &mut Vec<Name>) {
    let (mut at, mut begins) = (0, true);
    while at < body.len() {
        let token = &body[at];
        if token.is("#") {
            at = after_group(body, at + 1);
            continue;
        }
        if begins {
            names.extend(name(body, at));
            begins = false;
        }
        begins |= token.is(",");
        at = match token.is("{") || token.is("(") {
            true => {
                let after = after_group(body, at);
                if token.is("{") {
                    fields(&body[at + 1..after - 1], names);
                }
                after
            }
            false => at + 1,
        };
    }
}

fn fields(body: &[Token], names: &mut Vec<Name>) {
    let mut at = 0;
    while at < body.len() {
        if body[at].is("#") {
            at = after_group(body, at + 1);
            continue;
        }
        if body.get(at + 1).is_some_and(|next| next.is(":")) {
            names.extend(name(body, at));
        }
        at += 1;
    }
}

mod tests {
    use super::super::tokens::tokens;
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        let found = names(&tokens(text));
        let found: Vec<&str> = found.iter().map(|(_, name)| name.as_str()).collect();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn a_name_that_other_files_may_use_is_found() {
        check("pub fn a(b: C) -> D { let e = f; }", &["a"]);
        check("pub(crate) async fn a() {} pub const unsafe fn b() {}", &["a", "b"]);
        check("pub unsafe extern \"C\" fn a() {}", &["a"]);
        check("pub const A: u8 = 0; pub static B: u8 = 0; pub type C = D;", &["A", "B", "C"]);
        check("pub struct A<B: C> { pub d: E, f: G, pub(super) h: a::B }", &["A", "d", "h"]);
        check("pub trait A { const B: C; fn d(&self, e: F); async fn g() {} }", &["A", "d", "g"]);
        check("mod a; pub(crate) mod b { pub fn c() {} }", &["a", "b", "c"]);
        check(
            "pub enum A { #[error(\"b: {b}\")] C { #[serde(x = y)] d: E<F>, g: H }, I(J), K = 1, L }",
            &["A", "C", "d", "g", "I", "K", "L"],
        );
    }

    #[test]
    fn a_file_s_own_names_are_not() {
        check("fn a() {} struct B { c: D } enum E { F } pub use g::H; const I: u8 = 0;", &[]);
        check("#[cfg(test)] pub fn a() {}", &[]);
        assert_eq!(recorded_names(&tokens("#[serde(rename = \"a\")]")), [(1, "a".to_owned())]);
    }
}
