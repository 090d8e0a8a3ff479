//! Methods of Python's strings.

use minijinja::value::Tuple;
use minijinja::{Error, ErrorKind, Value};

use super::{arguments, flag, whole, wrong};

/// The result of a method; `None` if minijinja's own is the same as Python's.
pub(super) fn method(text: &str, name: &str, given: &[Value]) -> Result<Option<Value>, Error> {
    let result = match name {
        "strip" | "lstrip" | "rstrip" => strip(text, name, given)?,
        "split" | "rsplit" => split(text, name == "rsplit", given)?,
        "splitlines" => {
            let [keep_ends] = arguments(given, ["keepends"])?;
            lines(text, flag(keep_ends.as_ref())).into_iter().collect()
        }
        "partition" | "rpartition" => {
            let separator = needed(given, "sep")?;
            partition(text, &separator, name == "rpartition")
        }
        "removeprefix" => {
            let prefix = needed(given, "prefix")?;
            text.strip_prefix(&*prefix).unwrap_or(text).into()
        }
        "removesuffix" => {
            let suffix = needed(given, "suffix")?;
            text.strip_suffix(&*suffix).unwrap_or(text).into()
        }
        "replace" => {
            let [old, new, count] = arguments(given, ["old", "new", "count"])?;
            let (old, new) = (string(old)?, string(new)?);
            match whole(&count)?.map(usize::try_from) {
                Some(Ok(count)) => text.replacen(&*old, &new, count).into(),
                _ => text.replace(&*old, &new).into(),
            }
        }
        "startswith" | "endswith" => ends(text, name == "startswith", given)?,
        "find" | "rfind" | "index" | "rindex" | "count" => found(text, name, given)?,
        "ljust" | "rjust" | "center" | "zfill" => padded(text, name, given)?,
        "isspace" => (!text.is_empty() && text.chars().all(is_space)).into(),
        "title" => title(text).into(),
        "swapcase" => swapped(text).into(),
        "casefold" => text.to_lowercase().replace('ß', "ss").into(),
        _ => return Ok(None),
    };
    Ok(Some(result))
}

fn string(value: Option<Value>) -> Result<String, Error> {
    let value = value.ok_or_else(|| Error::from(ErrorKind::MissingArgument))?;
    let text = value.as_str().map(String::from);
    text.ok_or_else(|| wrong(format!("expected a string, not {}", value.kind())))
}

/// The only argument of a method.
fn needed(given: &[Value], name: &str) -> Result<String, Error> {
    let [only] = arguments(given, [name])?;
    string(only)
}

/// What Python counts as whitespace: more than Unicode does.
fn is_space(letter: char) -> bool {
    letter.is_whitespace() || matches!(letter, '\x1c'..='\x1f')
}

fn strip(text: &str, name: &str, given: &[Value]) -> Result<Value, Error> {
    let [letters] = arguments(given, ["chars"])?;
    let letters = letters.map(|letters| string(Some(letters))).transpose()?;
    let goes = |letter| letters.as_ref().map_or(is_space(letter), |all| all.contains(letter));
    let text = if name == "rstrip" { text } else { text.trim_start_matches(goes) };
    Ok(Value::from(if name == "lstrip" { text } else { text.trim_end_matches(goes) }))
}

fn split(text: &str, from_right: bool, given: &[Value]) -> Result<Value, Error> {
    let [separator, most] = arguments(given, ["sep", "maxsplit"])?;
    let most = whole(&most)?.and_then(|most| usize::try_from(most).ok());
    let Some(separator) = separator else {
        return Ok(words(text, from_right, most.unwrap_or(usize::MAX)).into_iter().collect());
    };
    let separator = string(Some(separator))?;
    if separator.is_empty() {
        return Err(wrong("empty separator".into()));
    }
    let parts = most.map_or(usize::MAX, |most| most.saturating_add(1));
    let mut parts: Vec<&str> = match from_right {
        true => text.rsplitn(parts, &*separator).collect(),
        false => text.splitn(parts, &*separator).collect(),
    };
    if from_right {
        parts.reverse();
    }
    Ok(parts.into_iter().collect())
}

/// Words between whitespace; after so many splits the rest is one word.
fn words(text: &str, from_right: bool, most: usize) -> Vec<&str> {
    let (mut words, mut rest) = (Vec::new(), text);
    loop {
        rest = match from_right {
            true => rest.trim_end_matches(is_space),
            false => rest.trim_start_matches(is_space),
        };
        if rest.is_empty() {
            break;
        }
        let cut = match from_right {
            _ if words.len() == most => None,
            true => rest.rfind(is_space).map(|at| {
                let width = rest[at..].chars().next().map_or(1, char::len_utf8);
                (&rest[at + width..], &rest[..at])
            }),
            false => rest.find(is_space).map(|at| (&rest[..at], &rest[at..])),
        };
        let (word, after) = cut.unwrap_or((rest, ""));
        words.push(word);
        rest = after;
    }
    if from_right {
        words.reverse();
    }
    words
}

fn lines(text: &str, keep_ends: bool) -> Vec<&str> {
    let ends = |letter| {
        matches!(
            letter,
            '\n' | '\r' | '\x0b' | '\x0c' | '\x1c'..='\x1e' | '\u{85}' | '\u{2028}' | '\u{2029}'
        )
    };
    let (mut lines, mut rest) = (Vec::new(), text);
    while let Some(at) = rest.find(ends) {
        let after = &rest[at..];
        let width = match after.starts_with("\r\n") {
            true => 2,
            false => after.chars().next().map_or(1, char::len_utf8),
        };
        lines.push(&rest[..if keep_ends { at + width } else { at }]);
        rest = &after[width..];
    }
    if !rest.is_empty() {
        lines.push(rest);
    }
    lines
}

fn partition(text: &str, separator: &str, from_right: bool) -> Value {
    let cut = if from_right { text.rsplit_once(separator) } else { text.split_once(separator) };
    let parts = match cut {
        Some((before, after)) => [before, separator, after],
        None if from_right => ["", "", text],
        None => [text, "", ""],
    };
    Value::from(Tuple::from(parts.map(Value::from)))
}

/// The part of a text that a method looks at, and where it starts, in characters.
/// `None` if it starts behind the end.
fn window<'a>(
    text: &'a str,
    from: &Option<Value>,
    to: &Option<Value>,
) -> Result<Option<(&'a str, usize)>, Error> {
    let count = text.chars().count() as i64;
    let place = |at: i64| if at < 0 { (at + count).max(0) } else { at };
    let from = place(whole(from)?.unwrap_or(0));
    let to = place(whole(to)?.unwrap_or(count)).min(count);
    if from > to {
        return Ok(None);
    }
    let byte = |at: i64| text.char_indices().nth(at as usize).map_or(text.len(), |(at, _)| at);
    Ok(Some((&text[byte(from)..byte(to)], from as usize)))
}

fn ends(text: &str, at_start: bool, given: &[Value]) -> Result<Value, Error> {
    let [what, from, to] = arguments(given, ["prefix", "start", "end"])?;
    let what = what.ok_or_else(|| Error::from(ErrorKind::MissingArgument))?;
    let Some((text, _)) = window(text, &from, &to)? else { return Ok(false.into()) };
    let fits = |part: &str| if at_start { text.starts_with(part) } else { text.ends_with(part) };
    if let Some(part) = what.as_str() {
        return Ok(fits(part).into());
    }
    for part in what.try_iter()? {
        if fits(&string(Some(part))?) {
            return Ok(true.into());
        }
    }
    Ok(false.into())
}

fn found(text: &str, name: &str, given: &[Value]) -> Result<Value, Error> {
    let [what, from, to] = arguments(given, ["sub", "start", "end"])?;
    let what = string(what)?;
    let window = window(text, &from, &to)?;
    if name == "count" {
        return Ok(window.map_or(0, |(text, _)| text.matches(&*what).count()).into());
    }
    let place = window.and_then(|(text, before)| {
        let at = if name.starts_with('r') { text.rfind(&*what) } else { text.find(&*what) };
        at.map(|at| before + text[..at].chars().count())
    });
    match place {
        Some(place) => Ok(place.into()),
        None if name.ends_with("find") => Ok((-1).into()),
        None => Err(wrong("substring not found".into())),
    }
}

fn padded(text: &str, name: &str, given: &[Value]) -> Result<Value, Error> {
    let [width, fill] = arguments(given, ["width", "fillchar"])?;
    let fill = fill.map(|fill| string(Some(fill))).transpose()?.unwrap_or_else(|| " ".into());
    let width = whole(&width)?.ok_or_else(|| Error::from(ErrorKind::MissingArgument))?;
    let width = usize::try_from(width).unwrap_or(0);
    let missing = width.saturating_sub(text.chars().count());
    let (before, after) = match name {
        "ljust" => (0, missing),
        // Python puts the odd one to the left if the width is odd.
        "center" => {
            let before = missing / 2 + (missing & width & 1);
            (before, missing - before)
        }
        _ => (missing, 0),
    };
    if name != "zfill" {
        return Ok(format!("{}{text}{}", fill.repeat(before), fill.repeat(after)).into());
    }
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let sign = &text[..text.len() - digits.len()];
    Ok(format!("{sign}{}{digits}", "0".repeat(before)).into())
}

/// The first letter of each run of letters in upper case, the others in lower case.
fn title(text: &str) -> String {
    let (mut title, mut inside) = (String::with_capacity(text.len()), false);
    for letter in text.chars() {
        match inside {
            true => title.extend(letter.to_lowercase()),
            false => {
                // `ß` becomes `Ss`.
                let mut upper = letter.to_uppercase();
                title.extend(upper.next());
                title.extend(upper.flat_map(char::to_lowercase));
            }
        }
        inside = letter.is_lowercase() || letter.is_uppercase();
    }
    title
}

fn swapped(text: &str) -> String {
    let mut swapped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter.is_uppercase() {
            true => swapped.extend(letter.to_lowercase()),
            false => swapped.extend(letter.to_uppercase()),
        }
    }
    swapped
}
