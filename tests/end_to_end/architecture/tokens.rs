//! Rust text as tokens, without comments and without what only tests compile.

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    /// A name, a keyword or a number.
    Word,
    /// A string or a character; its text is what stands between the quotes.
    Text,
    /// Anything else; `::` is one token.
    Mark,
}

#[derive(Clone, Debug)]
pub(super) struct Token {
    pub(super) line: usize,
    pub(super) kind: Kind,
    pub(super) text: String,
}

impl Token {
    pub(super) fn is(&self, text: &str) -> bool {
        self.kind != Kind::Text && self.text == text
    }

    pub(super) fn is_word(&self) -> bool {
        self.kind == Kind::Word
    }
}

/// The tokens of a file's text.
pub(super) fn tokens(text: &str) -> Vec<Token> {
    let (mut tokens, mut at, mut line) = (Vec::new(), 0, 1);
    while let Some(first) = text[at..].chars().next() {
        let (kind, length) = piece(&text[at..], first);
        let piece = &text[at..at + length];
        if let Some(kind) = kind {
            let text = match kind {
                Kind::Text => inside(piece),
                Kind::Word => piece.trim_start_matches("r#"),
                Kind::Mark => piece,
            };
            tokens.push(Token { line, kind, text: text.to_owned() });
        }
        line += piece.matches('\n').count();
        at += length;
    }
    without_tests(&tokens)
}

/// The kind and the length of what the text begins with; no kind for what is left out.
fn piece(text: &str, first: char) -> (Option<Kind>, usize) {
    let is_part = |letter: char| letter.is_alphanumeric() || letter == '_';
    let word = |text: &str| text.find(|letter: char| !is_part(letter)).unwrap_or(text.len());
    if first.is_whitespace() {
        return (None, first.len_utf8());
    }
    if text.starts_with("//") {
        return (None, text.find('\n').unwrap_or(text.len()));
    }
    if text.starts_with("/*") {
        return (None, comment(text));
    }
    if let Some(length) = string(text) {
        return (Some(Kind::Text), length);
    }
    if first == '\'' {
        return match character(text) {
            Some(length) => (Some(Kind::Text), length),
            // A lifetime.
            None => (None, 1 + word(&text[1..])),
        };
    }
    if let Some(raw) = text.strip_prefix("r#") {
        return (Some(Kind::Word), 2 + word(raw));
    }
    match is_part(first) {
        true => (Some(Kind::Word), word(text)),
        false if text.starts_with("::") => (Some(Kind::Mark), 2),
        false => (Some(Kind::Mark), first.len_utf8()),
    }
}

/// What stands between a literal's quotes.
fn inside(literal: &str) -> &str {
    let quote = if literal.starts_with('\'') { '\'' } else { '"' };
    let after = literal.split_once(quote).map_or(literal, |(_, after)| after);
    after.rsplit_once(quote).map_or(after, |(inside, _)| inside)
}

/// Length of a block comment; others may be inside.
fn comment(text: &str) -> usize {
    let (mut at, mut depth) = (2, 1);
    while depth > 0 && at < text.len() {
        match &text.as_bytes()[at..] {
            [b'/', b'*', ..] => (at, depth) = (at + 2, depth + 1),
            [b'*', b'/', ..] => (at, depth) = (at + 2, depth - 1),
            _ => at += 1,
        }
    }
    at
}

/// Length of the string that the text begins with.
fn string(text: &str) -> Option<usize> {
    let after = text.strip_prefix(['b', 'c']).unwrap_or(text);
    if let Some(raw) = after.strip_prefix('r') {
        let inside = raw.trim_start_matches('#');
        if let Some(inside) = inside.strip_prefix('"') {
            let end = format!("\"{}", "#".repeat(raw.len() - inside.len() - 1));
            let start = text.len() - inside.len();
            return Some(inside.find(&end).map_or(text.len(), |at| start + at + end.len()));
        }
    }
    let inside = after.strip_prefix('"')?;
    Some(text.len() - inside.len() + quoted(inside, '"'))
}

/// Length of the character that the text begins with; none for a lifetime.
fn character(text: &str) -> Option<usize> {
    let inside = text.strip_prefix('\'')?;
    let mut letters = inside.chars();
    let (first, second) = (letters.next()?, letters.next()?);
    (first == '\\' || second == '\'').then(|| 1 + quoted(inside, '\''))
}

/// Length up to and with the quote that ends a literal.
fn quoted(inside: &str, quote: char) -> usize {
    let mut is_escaped = false;
    let end = inside.find(|letter: char| {
        let ends = letter == quote && !is_escaped;
        is_escaped = letter == '\\' && !is_escaped;
        ends
    });
    end.map_or(inside.len(), |end| end + 1)
}

/// The index after the group that opens at `at`.
pub(super) fn after_group(tokens: &[Token], at: usize) -> usize {
    let mut depth = 0;
    for (index, token) in tokens.iter().enumerate().skip(at) {
        if ["(", "[", "{"].iter().any(|open| token.is(open)) {
            depth += 1;
        } else if [")", "]", "}"].iter().any(|close| token.is(close)) {
            depth -= 1;
        }
        if depth == 0 {
            return index + 1;
        }
    }
    tokens.len()
}

/// Leaves out each item that only a test compiles.
fn without_tests(tokens: &[Token]) -> Vec<Token> {
    let (mut kept, mut at) = (Vec::new(), 0);
    while at < tokens.len() {
        if tokens[at].is("#") && tokens.get(at + 1).is_some_and(|next| next.is("[")) {
            let after = after_group(tokens, at + 1);
            if is_of_tests(&tokens[at + 2..after]) {
                at = after_item(tokens, after);
                continue;
            }
        }
        kept.push(tokens[at].clone());
        at += 1;
    }
    kept
}

/// Whether an attribute is `cfg(test)`, `cfg(all(test, …))` or a test's own.
fn is_of_tests(attribute: &[Token]) -> bool {
    let words: Vec<&str> = attribute.iter().map(|token| token.text.as_str()).collect();
    matches!(
        words.as_slice(),
        ["cfg", "(", "test", ")", ..]
            | ["cfg", "(", "all", "(", "test", ..]
            | ["test", "]"]
            | ["tokio", "::", "test", ..]
    )
}

/// The index after the item, the field or the statement that begins at `at`.
fn after_item(tokens: &[Token], mut at: usize) -> usize {
    while at < tokens.len() && tokens[at].is("#") {
        at = after_group(tokens, at + 1);
    }
    let first = at;
    while at < tokens.len() {
        let has = |word: &str| tokens[first..at].iter().any(|token| token.is(word));
        let token = &tokens[at];
        if token.is("}") {
            return at;
        }
        if token.is(";") || token.is(",") && has(":") && !has("fn") {
            return at + 1;
        }
        let opens = ["(", "[", "{"].iter().any(|open| token.is(open));
        let ends = token.is("{") && !has("use");
        at = if opens { after_group(tokens, at) } else { at + 1 };
        if ends {
            return at;
        }
    }
    at
}

mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        let found = tokens(text);
        let found: Vec<&str> = found.iter().map(|token| token.text.as_str()).collect();
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn comments_are_left_out_and_literals_are_one_token() {
        check("a // crate::b\n/* crate::c /* d */ e */ f", &["a", "f"]);
        check("/// crate::x\n//! y\nz", &["z"]);
        check(r#"a "crate::b \" c" d"#, &["a", r#"crate::b \" c"#, "d"]);
        check(r##"a r#"x " y"# b"##, &["a", r#"x " y"#, "b"]);
        check(r"'a' '\'' '{' &'static b<'c>", &["a", r"\'", "{", "&", "b", "<", ">"]);
        check("crate::b 0..9 r#type", &["crate", "::", "b", "0", ".", ".", "9", "type"]);
        assert_eq!(tokens("\"\n\"\n/*\n*/ a").last().unwrap().line, 4);
    }

    #[test]
    fn what_only_tests_compile_is_left_out() {
        check("#[cfg(test)] mod tests { a } b", &["b"]);
        check("#[cfg(test)] mod tests; b", &["b"]);
        check("#[cfg(all(test, feature = \"x\"))] #[path = \"y\"] mod z; b", &["b"]);
        check("#[cfg(test)] use a::{b, c}; d", &["d"]);
        check("struct A { #[cfg(test)] b: C, d: E }", &["struct", "A", "{", "d", ":", "E", "}"]);
        check("struct A { #[cfg(test)] b: C }", &["struct", "A", "{", "}"]);
        check("#[cfg(test)] fn a<B, C>(d: E) -> F { g } h", &["h"]);
        check("#[test] fn a() { b } #[tokio::test(flavor = \"x\")] async fn c() {} d", &["d"]);
        check(
            "#[cfg(not(test))] a",
            &["#", "[", "cfg", "(", "not", "(", "test", ")", ")", "]", "a"],
        );
    }
}
