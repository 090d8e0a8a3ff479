//! The names of files in the headers of patches, as git and patch(1) read them.

use std::sync::LazyLock;

use regex::bytes::Regex;

/// Reads a name in C's notation, `"a/tests/test_\303\251.py"`. Returns the name and what
/// follows it; `None` if the text is no such name.
pub(super) fn unquoted(text: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut rest = text.strip_prefix(b"\"")?;
    let mut name = Vec::new();
    loop {
        let (byte, after) = rest.split_first()?;
        rest = after;
        match byte {
            b'"' => return Some((name, rest)),
            b'\\' => {
                let (escaped, after) = unescaped(rest)?;
                name.push(escaped);
                rest = after;
            }
            byte => name.push(*byte),
        }
    }
}

/// The byte of an escape, without its backslash, and what follows it.
fn unescaped(text: &[u8]) -> Option<(u8, &[u8])> {
    let (byte, rest) = text.split_first()?;
    let byte = match byte {
        b'a' => 7,
        b'b' => 8,
        b't' => b'\t',
        b'n' => b'\n',
        b'v' => 11,
        b'f' => 12,
        b'r' => b'\r',
        b'\\' | b'"' => *byte,
        b'0'..=b'3' => {
            let digits =
                text.get(..3).filter(|digits| digits.iter().all(|d| (b'0'..=b'7').contains(d)))?;
            let byte = digits.iter().fold(0, |byte, digit| byte << 3 | (digit - b'0'));
            return Some((byte, &text[3..]));
        }
        _ => return None,
    };
    Some((byte, rest))
}

/// A name as git prints it: in quotes if it holds a control character or is no UTF-8.
pub fn shown(name: &[u8]) -> String {
    match std::str::from_utf8(name) {
        Ok(name) if !name.contains(|c: char| c.is_control() || c == '"' || c == '\\') => {
            name.into()
        }
        _ => quoted(name),
    }
}

/// A name in quotes, in C's notation, as git writes and reads it.
pub fn quoted(name: &[u8]) -> String {
    let mut quoted = String::from("\"");
    for byte in name {
        match byte {
            b'"' | b'\\' => quoted.extend(['\\', char::from(*byte)]),
            b' '..=b'~' => quoted.push(char::from(*byte)),
            byte => quoted += &format!("\\{byte:03o}"),
        }
    }
    quoted + "\""
}

/// Bytes at which git or patch(1) may end a name.
fn ends_name(byte: &u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r' | 11 | 12 | 0)
}

/// All names that the text after a keyword such as `--- ` may stand for. The two programs do
/// not agree where a name ends and a date begins.
pub(super) fn readings(text: &[u8]) -> Vec<Vec<u8>> {
    let text = &text[text.iter().take_while(|byte| ends_name(byte)).count()..];
    let mut names: Vec<Vec<u8>> = unquoted(text).map(|(name, _)| name).into_iter().collect();
    // The first byte of each run of white space.
    let is_start = |at: &usize| ends_name(&text[*at]) && (*at == 0 || !ends_name(&text[*at - 1]));
    let runs: Vec<usize> = (0..text.len()).filter(is_start).collect();
    let special = |byte: u8| text.iter().position(|other| *other == byte);
    let tab = special(b'\t');
    let before_tab = tab.and_then(|tab| runs.iter().rfind(|start| **start <= tab).copied());
    // A date has at most six words.
    let last = runs.iter().rev().take(6).copied();
    let ends = [Some(text.len()), runs.first().copied(), tab, before_tab, special(0)];
    names.extend(ends.into_iter().flatten().chain(last).map(|end| text[..end].to_vec()));
    for name in &mut names {
        name.truncate(name.iter().position(|byte| *byte == 0).unwrap_or(name.len()));
    }
    names.retain(|name| !name.is_empty() && name != b"/dev/null");
    names.sort_unstable();
    names.dedup();
    names
}

/// All names that the text after `diff --git ` may stand for.
pub(super) fn git_readings(text: &[u8]) -> Vec<Vec<u8>> {
    let mut names = Vec::new();
    for strip in [0, 1] {
        names.extend(git_line(text, strip));
    }
    names.extend(words(text).into_iter().flat_map(readings));
    names
}

/// The words after `diff --git `: the first name, what follows it, and that from the next
/// quotation mark on, as the first name may have spaces if the second one is in quotes.
fn words(text: &[u8]) -> [&[u8]; 3] {
    let text = text.trim_ascii_start();
    let end = match unquoted(text) {
        Some((_, rest)) => text.len() - rest.len(),
        None => text.iter().position(ends_name).unwrap_or(text.len()),
    };
    let (first, rest) = text.split_at(end);
    let quote = rest.iter().position(|byte| *byte == b'"').unwrap_or(rest.len());
    [first, rest, &rest[quote..]]
}

/// Whether a name in quotes does not end in its line. git reads on in the next one.
pub(super) fn is_unended(text: &[u8], is_git: bool) -> bool {
    let is_unended = |text: &[u8]| {
        let text = text.trim_ascii_start();
        text.starts_with(b"\"") && unquoted(text).is_none()
    };
    is_unended(text) || is_git && words(text).into_iter().any(is_unended)
}

/// The file that a name means in the tree, with and without its first component: empty
/// components and `.` do not count, and `..` leaves the one before.
pub(super) fn paths(name: &[u8]) -> [Vec<u8>; 2] {
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in name.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => _ = parts.pop(),
            part => parts.push(part),
        }
    }
    [parts.join(&b'/'), parts.get(1..).unwrap_or_default().join(&b'/')]
}

/// The path to which a symbolic link leads; `None` if it is not in the tree.
pub(super) fn followed(link: &[u8], target: &[u8]) -> Option<Vec<u8>> {
    let mut parts: Vec<&[u8]> = link.split(|byte| *byte == b'/').collect();
    parts.pop();
    for part in target.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => _ = parts.pop()?,
            part => parts.push(part),
        }
    }
    (!target.starts_with(b"/")).then(|| parts.join(&b'/'))
}

/// Whether a name leads out of the tree, or to git's own files. patch(1) would change these.
pub(super) fn is_outside(name: &[u8]) -> bool {
    name.split(|byte| *byte == b'/').any(|part| part == b".." || part.eq_ignore_ascii_case(b".git"))
}

/// Removes the first components of a name as `git apply -p` does.
fn stripped(name: &[u8], strip: usize) -> Option<&[u8]> {
    (0..strip).try_fold(name, |name, _| {
        name.iter().position(|byte| *byte == b'/').map(|at| &name[at + 1..])
    })
}

fn squashed(name: &[u8]) -> Vec<u8> {
    let mut squashed = name.to_vec();
    squashed.dedup_by(|next, previous| *next == b'/' && *previous == b'/');
    squashed
}

/// The end of a name without its date, as git finds it in a diff that is not git's.
static DATE: LazyLock<Regex> = LazyLock::new(|| {
    let date =
        r"(?-u)(?:\t| +)(?:\d\d)?\d\d-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)?(?: [-+]\d\d:?\d\d)?$";
    Regex::new(date).unwrap_or_else(|e| unreachable!("a fixed pattern: {e}"))
});

/// The name that `git apply` reads after `--- ` or `+++ `, for one number of components to
/// remove.
pub(super) fn git_name(text: &[u8], strip: usize) -> Option<Vec<u8>> {
    if let Some((name, _)) = unquoted(text) {
        return stripped(&name, strip).map(squashed);
    }
    let date = DATE.find(text).map(|date| date.start()).filter(|at| *at > 0);
    let end = date.or_else(|| text.iter().position(|byte| matches!(byte, b'\t' | b'\r')));
    let name = stripped(&text[..end.unwrap_or(text.len())], strip)?;
    Some(squashed(name)).filter(|name| !name.is_empty())
}

/// Whether git takes the date after a name for that of a file that is not there.
pub(super) fn is_epoch(text: &[u8]) -> bool {
    static EPOCH: LazyLock<Regex> = LazyLock::new(|| {
        let date =
            r"(?-u)\t(1969-12-31|1970-01-01) (\d\d):(\d\d):00(?:\.0+)? ([-+])(\d\d):?(\d\d)\r?$";
        Regex::new(date).unwrap_or_else(|e| unreachable!("a fixed pattern: {e}"))
    });
    let Some(found) = EPOCH.captures(text) else { return false };
    let number = |at: usize| -> i64 {
        found[at].iter().fold(0, |number, digit| number * 10 + i64::from(digit - b'0'))
    };
    let day = if &found[1] == b"1970-01-01" { 0 } else { -24 * 60 };
    let offset = number(5) * 60 + number(6);
    let offset = if &found[4] == b"-" { -offset } else { offset };
    day + number(2) * 60 + number(3) == offset
}

/// The single name on a line `diff --git`, as `git apply` reads it; `None` if both differ.
pub(super) fn git_line(text: &[u8], strip: usize) -> Option<Vec<u8>> {
    let tail = |text: &[u8]| match unquoted(text) {
        Some((name, _)) => stripped(&name, strip).map(<[u8]>::to_vec),
        None => stripped(text, strip).map(<[u8]>::to_vec),
    };
    if let Some((name, rest)) = unquoted(text) {
        let name = stripped(&name, strip)?;
        return (tail(rest.trim_ascii_start())? == name).then(|| name.to_vec());
    }
    let text = text.strip_suffix(b"\r").unwrap_or(text);
    let is_split = |at: &usize| matches!(text[*at], b' ' | b'\t');
    (0..text.len()).filter(is_split).find_map(|at| {
        let (name, rest) = (stripped(&text[..at], strip)?, &text[at + 1..]);
        (!name.is_empty() && tail(rest)? == name).then(|| name.to_vec())
    })
}
