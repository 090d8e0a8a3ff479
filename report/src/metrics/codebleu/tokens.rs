//! Splits Python text as `tokenize` of Python 3.11 does, as far as comments and docstrings
//! depend on it. The benchmarks' parser cannot replace it: that parser accepts less, and
//! CodeBLEU also scores code that no parser accepts.

/// The kinds of tokens that matter here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Comment,
    String,
    Indent,
    /// The end of a statement.
    Newline,
    /// All others, including ends of lines inside a statement.
    Other,
}

/// A token. Positions are line and column, in characters.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Token {
    pub(super) kind: Kind,
    pub(super) text: String,
    pub(super) start: (usize, usize),
    pub(super) end: (usize, usize),
}

/// Tokenises the text. `None` if `tokenize` raises: for brackets or strings that are not
/// closed, and for inconsistent indentation.
pub(super) fn tokens(source: &str) -> Option<Vec<Token>> {
    let mut reader =
        Reader { out: Vec::new(), indents: vec![0], depth: 0, continued: false, open: None };
    let lines: Vec<Vec<char>> =
        source.split_inclusive('\n').map(|line| line.chars().collect()).collect();
    for (number, line) in lines.iter().enumerate() {
        reader.line(number, line)?;
    }
    if reader.open.is_some() || reader.depth != 0 || reader.continued {
        return None;
    }
    Some(reader.out)
}

/// A string literal that continues on the next line.
struct Open {
    text: String,
    start: (usize, usize),
    quote: Quote,
}

#[derive(Clone, Copy)]
struct Quote {
    letter: char,
    /// 1 or 3.
    times: usize,
}

struct Reader {
    out: Vec<Token>,
    indents: Vec<usize>,
    depth: isize,
    continued: bool,
    open: Option<Open>,
}

impl Reader {
    fn line(&mut self, number: usize, line: &[char]) -> Option<()> {
        let mut at = 0;
        if let Some(open) = self.open.take() {
            match self.go_on(open, number, line) {
                Some(end) => at = end,
                None => return Some(()),
            }
        } else if self.depth == 0 && !self.continued {
            match self.indentation(number, line)? {
                Some(end) => at = end,
                None => return Some(()),
            }
        } else {
            self.continued = false;
        }
        while at < line.len() {
            match line[at] {
                ' ' | '\t' | '\x0c' => at += 1,
                _ => at = self.token(number, line, at),
            }
        }
        Some(())
    }

    fn put(&mut self, kind: Kind, number: usize, line: &[char], from: usize, to: usize) {
        let text = line[from..to].iter().collect();
        self.out.push(Token { kind, text, start: (number, from), end: (number, to) });
    }

    /// The end of an open string, if it is on this line.
    fn go_on(&mut self, mut open: Open, number: usize, line: &[char]) -> Option<usize> {
        let end = end_of_string(line, 0, open.quote);
        let upto = end.unwrap_or(line.len());
        open.text.extend(&line[..upto]);
        let goes_on = open.quote.times == 3 || line.ends_with(&['\\', '\n']);
        if end.is_none() && goes_on {
            self.open = Some(open);
            return None;
        }
        // A string that is not closed is a token, but not a string.
        let kind = if end.is_some() { Kind::String } else { Kind::Other };
        let Open { text, start, .. } = open;
        self.out.push(Token { kind, text, start, end: (number, upto) });
        end
    }

    /// The position of the first token of a logical line, if there is one.
    fn indentation(&mut self, number: usize, line: &[char]) -> Option<Option<usize>> {
        let (mut column, mut at) = (0, 0);
        while let Some(letter) = line.get(at) {
            match letter {
                ' ' => column += 1,
                '\t' => column = (column / 8 + 1) * 8,
                '\x0c' => column = 0,
                _ => break,
            }
            at += 1;
        }
        let Some(&letter) = line.get(at) else { return Some(None) };
        if letter == '#' {
            let end = end_of_line(line);
            self.put(Kind::Comment, number, line, at, end);
            at = end;
        }
        if matches!(letter, '#' | '\r' | '\n') {
            self.put(Kind::Other, number, line, at, line.len());
            return Some(None);
        }
        if column > *self.indents.last()? {
            self.indents.push(column);
            self.put(Kind::Indent, number, line, 0, at);
        }
        while column < *self.indents.last()? {
            if !self.indents.contains(&column) {
                return None;
            }
            self.indents.pop();
            self.put(Kind::Other, number, line, at, at);
        }
        Some(Some(at))
    }

    /// Reads the token that starts here; returns its end.
    fn token(&mut self, number: usize, line: &[char], at: usize) -> usize {
        let word = at + line[at..].iter().take_while(|l| l.is_alphanumeric() || **l == '_').count();
        let prefix: String = line[at..word].iter().collect();
        if let Some(end) = is_prefix(&prefix).then(|| self.string(number, line, at, word)).flatten()
        {
            return end;
        }
        let (kind, end) = match line[at] {
            '#' => (Kind::Comment, end_of_line(line)),
            '\r' | '\n' => {
                let kind = if self.depth > 0 { Kind::Other } else { Kind::Newline };
                (kind, line.len())
            }
            '\\' if matches!(line[at + 1..], ['\n'] | ['\r', '\n']) => {
                self.continued = true;
                return line.len();
            }
            letter => {
                self.depth += match letter {
                    '(' | '[' | '{' => 1,
                    ')' | ']' | '}' => -1,
                    _ => 0,
                };
                (Kind::Other, word.max(at + 1))
            }
        };
        self.put(kind, number, line, at, end);
        end
    }

    /// The end of the string whose quotes are at `quote`, or the end of the line if it
    /// continues; `None` if this is not a string.
    fn string(&mut self, number: usize, line: &[char], at: usize, quote: usize) -> Option<usize> {
        let letter = *line.get(quote).filter(|letter| matches!(letter, '"' | '\''))?;
        let times = if line[quote..].starts_with(&[letter; 3]) { 3 } else { 1 };
        let quoted = Quote { letter, times };
        if let Some(end) = end_of_string(line, quote + times, quoted) {
            self.put(Kind::String, number, line, at, end);
            return Some(end);
        }
        if times == 1 && !line.ends_with(&['\\', '\n']) {
            return None;
        }
        let text = line[at..].iter().collect();
        self.open = Some(Open { text, start: (number, at), quote: quoted });
        Some(line.len())
    }
}

fn is_prefix(word: &str) -> bool {
    matches!(
        word.to_ascii_lowercase().as_str(),
        "" | "b" | "r" | "u" | "f" | "br" | "rb" | "fr" | "rf"
    )
}

/// The position after the closing quotes, on this line.
fn end_of_string(line: &[char], mut at: usize, quote: Quote) -> Option<usize> {
    while at < line.len() {
        if line[at] == '\\' {
            at += 2;
        } else if line[at..].starts_with(&[quote.letter; 3][..quote.times]) {
            return Some(at + quote.times);
        } else {
            at += 1;
        }
    }
    None
}

fn end_of_line(line: &[char]) -> usize {
    let mut end = line.len();
    while end > 0 && matches!(line[end - 1], '\r' | '\n') {
        end -= 1;
    }
    end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_those_of_python() {
        #[track_caller]
        fn check(source: &str, expected: &[(Kind, &str)]) {
            let found = tokens(source).map(|tokens| {
                tokens.into_iter().map(|token| (token.kind, token.text)).collect::<Vec<_>>()
            });
            let expected = expected.iter().map(|(kind, text)| (*kind, text.to_string())).collect();
            assert_eq!(found, Some(expected));
        }
        use Kind::*;
        check("a = rb'x' # c", &[(Other, "a"), (Other, "="), (String, "rb'x'"), (Comment, "# c")]);
        check(
            "if a:\n\tb\nc\n",
            &[
                (Other, "if"),
                (Other, "a"),
                (Other, ":"),
                (Newline, "\n"),
                (Indent, "\t"),
                (Other, "b"),
                (Newline, "\n"),
                (Other, ""),
                (Other, "c"),
                (Newline, "\n"),
            ],
        );
        check(
            "(\n'''a\nb''')",
            &[(Other, "("), (Other, "\n"), (String, "'''a\nb'''"), (Other, ")")],
        );
        check("it's", &[(Other, "it"), (Other, "'"), (Other, "s")]);
        check("'a\\\nb'", &[(String, "'a\\\nb'")]);
    }

    #[test]
    fn what_does_not_end_is_refused() {
        for source in ["(", "'''a", "a)", "if a:\n    b\n  c", "a \\\n"] {
            assert_eq!(tokens(source), None, "{source}");
        }
    }
}
