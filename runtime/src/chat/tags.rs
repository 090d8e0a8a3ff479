//! Reads a template's source as transformers' Jinja does, before minijinja parses it.

/// The source with line feeds only, and with each `{% generation %}` block as a
/// `{% with %}` block: both render their body in a scope of its own. transformers marks
/// the text of these blocks for a mask of assistant tokens; fixfly marks answers itself.
pub(super) fn prepared(template: &str) -> String {
    let source = template.replace("\r\n", "\n").replace('\r', "\n");
    let mut prepared = String::with_capacity(source.len());
    let mut rest = source.as_str();
    while let Some(at) = start(rest) {
        let (text, tagged) = rest.split_at(at);
        prepared.push_str(text);
        let length = length(tagged);
        let (tag, after) = tagged.split_at(length);
        match generation(tag) {
            Some((from, to, word)) => {
                prepared.push_str(&tag[..from]);
                prepared.push_str(word);
                prepared.push_str(&tag[to..]);
            }
            None => prepared.push_str(tag),
        }
        rest = after;
    }
    prepared + rest
}

/// Where the next tag, expression or comment starts.
fn start(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    bytes.windows(2).position(|pair| matches!(pair, b"{{" | b"{%" | b"{#"))
}

/// The length of what starts here. A raw block is one piece.
fn length(tagged: &str) -> usize {
    let end = match &tagged[..2] {
        "{#" => tagged.find("#}").map(|at| at + 2),
        "{{" => closing(tagged, "}}"),
        _ => closing(tagged, "%}"),
    };
    let Some(end) = end else { return tagged.len() };
    if word(&tagged[..end]).is_none_or(|(_, word)| word != "raw") {
        return end;
    }
    let mut from = end;
    while let Some(at) = tagged[from..].find("{%") {
        let tag = &tagged[from + at..];
        let Some(end) = tag.find("%}") else { break };
        from += at + 2;
        if word(&tag[..end + 2]).is_some_and(|(_, word)| word == "endraw") {
            return from + end;
        }
    }
    tagged.len()
}

/// The end of a tag or an expression. Strings and brackets can contain its closing mark.
fn closing(tagged: &str, mark: &str) -> Option<usize> {
    let (mut quote, mut depth, mut escaped) = (None, 0_usize, false);
    for (at, letter) in tagged.char_indices().skip(2) {
        match (quote, letter) {
            (Some(_), _) if escaped => escaped = false,
            (Some(_), '\\') => escaped = true,
            (Some(open), _) if open == letter => quote = None,
            (Some(_), _) => {}
            (None, '\'' | '"') => quote = Some(letter),
            (None, _) if depth == 0 && tagged[at..].starts_with(mark) => {
                return Some(at + mark.len());
            }
            (None, '(' | '[' | '{') => depth += 1,
            (None, ')' | ']' | '}') => depth = depth.saturating_sub(1),
            (None, _) => {}
        }
    }
    None
}

/// The first word of a tag and where it starts; `None` if this is no tag.
fn word(tag: &str) -> Option<(usize, &str)> {
    let inner = tag.strip_prefix("{%")?;
    let inner = inner.strip_prefix(['-', '+']).unwrap_or(inner).trim_start();
    let length = inner.find(|letter: char| !letter.is_alphanumeric() && letter != '_')?;
    Some((tag.len() - inner.len(), &inner[..length]))
}

/// Where the word of a generation tag is, and the word to write instead.
fn generation(tag: &str) -> Option<(usize, usize, &'static str)> {
    let (from, word) = word(tag)?;
    let to = from + word.len();
    let rest = tag[to..].strip_suffix("%}")?;
    let alone = rest.trim_start().trim_end_matches(['-', '+']).is_empty();
    match word {
        "generation" if alone => Some((from, to, "with")),
        "endgeneration" if alone => Some((from, to, "endwith")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(template: &str, expected: &str) {
        assert_eq!(prepared(template), expected);
    }

    #[test]
    fn a_generation_tag_becomes_a_scope() {
        check("a{% generation %}b{% endgeneration %}c", "a{% with %}b{% endwith %}c");
        check("{%- generation -%} b {%+ endgeneration+%}", "{%- with -%} b {%+ endwith+%}");
        check("{%generation%}{%\n  endgeneration\n%}", "{%with%}{%\n  endwith\n%}");
    }

    #[test]
    fn what_only_looks_like_the_tag_stays() {
        for same in [
            "{# {% generation %} #}",
            "{{ '{% generation %}' }}",
            "{{ \"\\\"{% generation %}\" }}",
            "{% set generation = 1 %}{% if generation %}{% endif %}",
            "{% generation = 1 %}",
            "{% raw %}{% generation %}{%- endraw -%}",
            "{% raw %}{{ '{% generation %}",
            "{{ {'a': {'b': '%}'}} }}generation",
            "generation {%",
            "",
        ] {
            check(same, same);
        }
        check("{% raw %}{{{% endraw %}{% generation %}", "{% raw %}{{{% endraw %}{% with %}");
        check("{{ {'a': {}} }}{% generation %}", "{{ {'a': {}} }}{% with %}");
        check("é{# '#}{% generation %}", "é{# '#}{% with %}");
    }

    #[test]
    fn lines_end_as_jinja_reads_them() {
        check("a\r\n{% if x %}\rb", "a\n{% if x %}\nb");
    }
}
