//! Small changes to the text of a body.

use ruff_python_ast::token::TokenKind;

use super::python::tokens;

/// Replaces `name` where it is a variable, an attribute or a whole string.
pub(super) fn swap(body: &str, name: &str, with: &str) -> String {
    let mut swapped = String::with_capacity(body.len());
    let mut at = 0;
    for token in tokens(body) {
        let (start, end) = (usize::from(token.range.start()), usize::from(token.range.end()));
        if start < at {
            continue;
        }
        let text = &body[start..end];
        swapped.push_str(&body[at..start]);
        swapped.push_str(if text == name { with } else { text });
        at = end;
    }
    swapped.push_str(&body[at..]);
    swapped
}

/// Inserts `line` before the body.
pub(super) fn first_line(body: &str, line: &str) -> String {
    format!("    {line}\n{body}")
}

/// Appends `line` to the body.
pub(super) fn last_line(body: &str, line: &str) -> String {
    format!("{}\n    {line}", body.trim_end())
}

/// Removes `line` from the body; `None` if there is no such line or no other.
pub(super) fn drop_line(body: &str, line: &str) -> Option<String> {
    let found = body.lines().any(|other| other.trim() == line);
    let rest: Vec<_> = body.lines().filter(|other| other.trim() != line).collect();
    (found && !rest.is_empty()).then(|| rest.join("\n"))
}

/// Removes the keyword argument `name` from the calls.
pub(super) fn drop_argument(body: &str, name: &str) -> String {
    let tokens = tokens(body);
    let is = |at: usize, kind| tokens.get(at).is_some_and(|token| token.kind == kind);
    let Some(start) = (0..tokens.len())
        .find(|&at| &body[tokens[at].range] == name && is(at + 1, TokenKind::Equal))
    else {
        return body.to_string();
    };
    let mut depth = 0i32;
    let end = (start..tokens.len()).find(|&at| {
        match tokens[at].kind {
            TokenKind::Lpar | TokenKind::Lsqb | TokenKind::Lbrace => depth += 1,
            TokenKind::Rpar | TokenKind::Rsqb | TokenKind::Rbrace => depth -= 1,
            _ => {}
        }
        depth < 0 || (depth == 0 && tokens[at].kind == TokenKind::Comma)
    });
    let Some(end) = end else { return body.to_string() };
    let comma_before = start.checked_sub(1).filter(|&at| is(at, TokenKind::Comma));
    let (from, to) = match (comma_before, is(end, TokenKind::Comma)) {
        (_, true) => (tokens[start].range.start(), tokens[end].range.end()),
        (Some(comma), false) => (tokens[comma].range.start(), tokens[end].range.start()),
        (None, false) => (tokens[start].range.start(), tokens[end].range.start()),
    };
    let rest = body[usize::from(to)..].strip_prefix(' ').unwrap_or(&body[usize::from(to)..]);
    format!("{}{rest}", &body[..usize::from(from)])
}

/// Whether the body returns a value.
pub(super) fn returns(body: &str) -> bool {
    body.lines().any(|line| line.trim_start().starts_with("return "))
}

/// Puts every one-line return value between `before` and `after`.
pub(super) fn returning(body: &str, before: &str, after: &str) -> String {
    let wrap = |line: &str| match line.split_once("return ") {
        Some((indent, value)) if indent.trim().is_empty() => {
            format!("{indent}return {before}{value}{after}")
        }
        _ => line.to_string(),
    };
    body.lines().map(wrap).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_swapped_whole() {
        assert_eq!(swap("    self.x(x, xy)", "x", "z"), "    self.z(z, xy)");
    }

    #[test]
    fn an_argument_is_dropped_with_its_comma() {
        let check = |body: &str, expected: &str| assert_eq!(drop_argument(body, "a"), expected);
        check("    f(a=1)", "    f()");
        check("    f(a=g(1, 2), b=2)", "    f(b=2)");
        check("    f(1, a=2)", "    f(1)");
        check("    f(b=1)", "    f(b=1)");
    }

    #[test]
    fn lines_come_and_go() {
        assert_eq!(drop_line("    a\n    b", "a").as_deref(), Some("    b"));
        assert_eq!(drop_line("    a", "a"), None);
        assert_eq!(last_line(&first_line("    b", "a"), "c"), "    a\n    b\n    c");
    }

    #[test]
    fn return_values_are_wrapped() {
        assert!(returns("    return 1"));
        assert_eq!(returning("    return a or b", "not (", ")"), "    return not (a or b)");
    }
}
