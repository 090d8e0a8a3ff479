//! Words in identifiers: how similar two names are, and how to replace a name in all
//! its spellings.

use std::collections::BTreeMap;

use ruff_python_ast::token::TokenKind;

use super::python::tokens;

/// The words of a text, in lower case: `getHTTPCode_2` is `get http code 2`.
pub(super) fn words(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut current = String::new();
    let chars: Vec<char> = text.chars().collect();
    for (at, &c) in chars.iter().enumerate() {
        let before = at.checked_sub(1).map(|at| chars[at]);
        let camel = c.is_uppercase()
            && (before.is_some_and(|before| !before.is_uppercase())
                || chars.get(at + 1).is_some_and(|next| next.is_lowercase()));
        if (camel || !c.is_alphanumeric()) && !current.is_empty() {
            words.push(std::mem::take(&mut current));
        }
        if c.is_alphanumeric() {
            current.extend(c.to_lowercase());
        }
    }
    if !current.is_empty() {
        words.push(current);
    }
    words
}

/// The share of words that two texts have in common, from 0 to 1.
pub(super) fn likeness(one: &str, other: &str) -> f32 {
    let (one, mut rest) = (words(one), words(other));
    let total = one.len() + rest.len();
    let mut shared = 0;
    for word in &one {
        if let Some(at) = rest.iter().position(|other| other == word) {
            rest.swap_remove(at);
            shared += 1;
        }
    }
    match total {
        0 => 0.0,
        _ => 2.0 * shared as f32 / total as f32,
    }
}

/// Replacements of whole identifiers and of spellings.
#[derive(Clone, Debug, Default)]
pub(super) struct Renaming {
    /// Variables.
    pub(super) names: BTreeMap<String, String>,
    /// Attributes.
    pub(super) attributes: BTreeMap<String, String>,
    /// Parts of identifiers and strings.
    pub(super) spellings: Vec<(String, String)>,
}

impl Renaming {
    /// Adds the replacement of `from` by `to` in every usual spelling.
    pub(super) fn spell(&mut self, from: &str, to: &str) {
        if from == to || from.is_empty() || to.is_empty() {
            return;
        }
        self.add(from.into(), to.into());
        let (from, to) = (words(from), words(to));
        let shared = |one: &[String], other: &[String]| {
            let most = one.len().min(other.len()) - 1;
            (0..most).take_while(|&at| one[at] == other[at]).count()
        };
        let (Some(_), Some(_)) = (from.first(), to.first()) else { return };
        let start = shared(&from, &to);
        let reversed = |words: &[String]| words.iter().rev().cloned().collect::<Vec<_>>();
        let end = shared(&reversed(&from[start..]), &reversed(&to[start..]));
        let (from, to) = (&from[start..from.len() - end], &to[start..to.len() - end]);
        for style in [snake, spaced, camel, upper] {
            self.add(style(from), style(to));
        }
    }

    fn add(&mut self, from: String, to: String) {
        let known = self.spellings.iter().any(|(known, _)| *known == from);
        if from != to && !from.is_empty() && !known {
            self.spellings.push((from, to));
        }
    }

    /// Applies all replacements to `code`.
    pub(super) fn apply(&self, code: &str) -> String {
        let mut renamed = String::with_capacity(code.len());
        let (mut at, mut after_dot) = (0, false);
        for token in tokens(code) {
            let (start, end) = (usize::from(token.range.start()), usize::from(token.range.end()));
            if start < at {
                continue;
            }
            renamed.push_str(&code[at..start]);
            renamed.push_str(&self.token(token.kind, &code[start..end], after_dot));
            after_dot = token.kind == TokenKind::Dot;
            at = end;
        }
        renamed.push_str(&code[at..]);
        renamed
    }

    fn token(&self, kind: TokenKind, text: &str, after_dot: bool) -> String {
        let whole = match kind {
            TokenKind::Name if after_dot => self.attributes.get(text),
            TokenKind::Name => self.names.get(text),
            TokenKind::String => self.attributes.get(text),
            TokenKind::FStringMiddle => None,
            _ => return text.to_string(),
        };
        whole.cloned().unwrap_or_else(|| self.respell(text))
    }

    /// Replaces all spellings in one pass, so that none undoes another.
    fn respell(&self, text: &str) -> String {
        let (mut spelled, mut at) = (String::with_capacity(text.len()), 0);
        while at < text.len() {
            let found = self.spellings.iter().find(|(from, _)| stands(text, at, from));
            match found {
                Some((from, to)) => {
                    spelled.push_str(to);
                    at += from.len();
                }
                None => {
                    let c = text[at..].chars().next().map_or(1, char::len_utf8);
                    spelled.push_str(&text[at..at + c]);
                    at += c;
                }
            }
        }
        spelled
    }
}

/// Whether `word` occurs at `at` as a separate word.
fn stands(text: &str, at: usize, word: &str) -> bool {
    if !text[at..].starts_with(word) {
        return false;
    }
    let before = text[..at].chars().next_back();
    let after = text[at + word.len()..].chars().next();
    let capital = word.starts_with(char::is_uppercase);
    let opens = match before {
        Some(before) if capital => !before.is_uppercase(),
        Some(before) => !before.is_alphanumeric(),
        None => true,
    };
    opens && !after.is_some_and(|after| after.is_lowercase() || after.is_numeric())
}

fn snake(words: &[String]) -> String {
    words.join("_")
}

fn spaced(words: &[String]) -> String {
    words.join(" ")
}

fn upper(words: &[String]) -> String {
    snake(words).to_uppercase()
}

fn camel(words: &[String]) -> String {
    let capital = |word: &String| {
        let mut chars = word.chars();
        chars.next().into_iter().flat_map(char::to_uppercase).chain(chars).collect::<String>()
    };
    words.iter().map(capital).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_in_every_style() {
        assert_eq!(words("getHTTPCode_2"), ["get", "http", "code", "2"]);
        assert_eq!(words("__init__"), ["init"]);
        assert_eq!(words("a sentence, with marks"), ["a", "sentence", "with", "marks"]);
    }

    #[track_caller]
    fn check(from: &str, to: &str, code: &str, expected: &str) {
        let mut renaming = Renaming::default();
        renaming.spell(from, to);
        assert_eq!(renaming.apply(code), expected);
    }

    #[test]
    fn a_name_is_replaced_wherever_it_is_spelled() {
        check("IntegerField", "CharField", "return \"IntegerField\"", "return \"CharField\"");
        check(
            "AddIndex",
            "RemoveIndex",
            "    self.add_index(x, added)",
            "    self.remove_index(x, added)",
        );
        check("as_oracle", "as_mysql", "f'ORACLE {oracle}'", "f'MYSQL {mysql}'");
        check("get", "set", "self.get(budget)", "self.set(budget)");
    }

    #[test]
    fn attributes_and_variables_are_apart() {
        let mut renaming = Renaming::default();
        renaming.names.insert("x".into(), "y".into());
        assert_eq!(renaming.apply("x.x(x, 'x')"), "y.x(y, 'x')");
    }
}
